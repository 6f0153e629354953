"""What is sealed in a store file: its pages, its bodies and the keys of its journal's chain.

With scope ``full`` SQLite3 Multiple Ciphers encrypts and authenticates each page of the file, its log and its journals
(AEGIS-256 under a raw key), and bodies are sealed inside. With scope ``body`` the file is plain and only bodies are
sealed, in the form of the Rust Mimir.

The table ``journal_keys`` says from which row on the journal is chained with which key; no key stands for plain
SHA-256. Sealing, unsealing and a change of keys begin a new stretch with a new random key and leave all rows before as
they are: a hash that an auditor noted holds forever, and the first row of a new stretch binds all former ones, since
it covers the hash of the last of them. The keys are sealed with the store's own, so that changing that never changes
the chain. In a store that is not sealed the keys of former stretches stand readable: like plain SHA-256, they then show
accidents and not forgers. The last stretch of a sealed store always has a key.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeAlias

import apsw

from mimir.crypto import HEAD_BYTES, check_head, damaged_head, not_sealed
from mimir.errors import Conflict, Locked, StorageFailure
from mimir.store.codec import BodySeal

if TYPE_CHECKING:
    from mimir.crypto import Keys

RESEALING: Final = ".resealing"
"""What the name of a store is followed by while it is written anew under other keys."""

FULL: Final = "full"
BODY: Final = "body"

Stretch: TypeAlias = tuple[int, bytes | None]
"""The number of the first journal row of a stretch, and the key of its chain."""

KEY_LENGTH: Final = 32
_LAST: Final = "SELECT first_sequence, key FROM journal_keys ORDER BY first_sequence DESC LIMIT 1"


def read_head(path: str) -> bytes:
    """Return the first bytes of a file as they stand on the disk; none for one that is missing or empty.

    Read through SQLite: closing a file that was opened otherwise would drop the locks that this process holds on it.
    """
    flags = [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0]
    try:
        file = apsw.VFSFile("", os.path.abspath(path), flags)
    except apsw.CantOpenError:
        return b""
    try:
        return file.xRead(min(HEAD_BYTES, file.xFileSize()), 0)
    finally:
        file.xClose()


def use_page_key(connection: apsw.Connection, keys: Keys) -> None:
    """Let a connection encrypt and decrypt the pages of its file."""
    connection.execute("PRAGMA cipher=aegis", can_cache=False)
    connection.execute(f"PRAGMA key='raw:{keys.pages.hex()}{keys.check.hex()}'", can_cache=False)


def unlock_pages(connection: apsw.Connection, path: str, keys: Keys | None, scope: str) -> bool:
    """Give a connection the page key if its file needs one or is to be made with one; tell whether it has.

    Raises:
        Locked: the file is sealed, and the keys are missing or others.
        StorageFailure: it is sealed with these keys and damaged.
    """
    if path == ":memory:":
        return False
    head = read_head(path)
    if not head:
        sealed = keys is not None and scope != BODY
    else:
        try:
            sealed = check_head(head, keys, path)
        except Locked:
            if keys is not None and _opens(path, keys):
                # Only the check value at its beginning is wrong; the pages were encrypted with this key.
                raise damaged_head(path) from None
            raise
    if sealed and keys is not None:
        use_page_key(connection, keys)
    return sealed


def seal_of(connection: apsw.Connection, path: str, keys: Keys | None, scope: str, *, pages: bool) -> BodySeal | None:
    """Return how the bodies of a store are sealed; ``pages`` tells whether its pages are.

    Raises:
        Locked: bodies are sealed, and the keys are missing or others.
        Conflict: keys are given for a store that is not sealed, or it is sealed in another scope than asked for.
        StorageFailure: the keys of the journal are missing.
    """
    first, key = last_stretch(connection, path)
    sealed = key is not None
    if pages != sealed and pages:
        raise _no_stretch(path)
    if keys is None:
        if sealed:
            raise Locked(
                f"The memories in {path} are sealed, and no key was given.",
                hint="Name its key file with --encryption-key or MIMIR_ENCRYPTION_KEY_FILE.",
            )
        return None
    if not sealed:
        raise not_sealed(path)
    if scope and (scope == FULL) != pages:
        there = FULL if pages else BODY
        raise Conflict(
            f"The store {path} is sealed with --encryption-scope {there}, not {scope}.",
            hint=f"Leave the scope out, or change it with: mimir seal --encryption-scope {scope}",
        )
    if not pages and open_key(str(key), first, keys) is None:
        raise Locked(
            f"The memories in {path} are sealed with another key than the one given.",
            hint="Name the right key file with --encryption-key; the file was left untouched.",
        )
    return body_seal(keys, pages=pages)


def body_seal(keys: Keys, *, pages: bool) -> BodySeal:
    """Return how bodies are sealed in a file whose pages are encrypted, or in a plain one."""
    return BodySeal(keys.bodies if pages else keys.plain_file_bodies, original_form=not pages)


def last_stretch(connection: apsw.Connection, path: str) -> tuple[int, str | None]:
    """Return the first row and the stored key of the last stretch of the journal's chain."""
    row = connection.execute(_LAST).fetchone()
    if row is None:
        raise _no_stretch(path)
    return row[0], row[1]


def begin_stretch(connection: apsw.Connection, keys: Keys | None) -> None:
    """Let the journal be chained with a new key from its next row on, or without one if there are no ``keys``."""
    highest = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'journal'").get or 0
    last = connection.execute("SELECT coalesce(max(sequence), 0) FROM journal").get
    first = 1 + max(highest, last)
    key = None if keys is None else sealed_key(os.urandom(KEY_LENGTH), first, keys)
    connection.execute("INSERT OR REPLACE INTO journal_keys VALUES (?, ?)", (first, key))


def stretches(connection: apsw.Connection, path: str, keys: Keys | None) -> tuple[Stretch, ...]:
    """Return the stretches of the journal's chain with their keys, first the oldest.

    Raises:
        StorageFailure: a key is missing or was changed.
    """
    found: list[Stretch] = []
    for first, stored in connection.execute("SELECT first_sequence, key FROM journal_keys ORDER BY first_sequence"):
        key = None if stored is None else open_key(stored, first, keys)
        if stored is not None and key is None:
            raise StorageFailure(
                f"The key of the journal from row {first} on was changed in {path}.",
                hint="Restore a backup with: mimir restore",
            )
        found.append((first, key))
    if not found or found[0][0] != 1:
        raise _no_stretch(path)
    return tuple(found)


def sealed_key(key: bytes, first: int, keys: Keys | None) -> str:
    """Return the key of a stretch as it is stored."""
    return key.hex() if keys is None else keys.journal_keys.seal(key.hex(), _bound(first))


def open_key(stored: str, first: int, keys: Keys | None) -> bytes | None:
    """Return the key of a stretch from what is stored, or None when that is not authentic."""
    text = stored if keys is None else keys.journal_keys.open(stored, _bound(first))
    try:
        key = bytes.fromhex(text or "")
    except ValueError:
        return None
    return key if len(key) == KEY_LENGTH else None


def _bound(first: int) -> bytes:
    return b"journal_keys.key:%d" % first


def _no_stretch(path: str) -> StorageFailure:
    return StorageFailure(
        f"The keys of the journal are missing in {path}.", hint="Restore a backup with: mimir restore"
    )


def _opens(path: str, keys: Keys) -> bool:
    from pathlib import Path

    # As it stands on the disk, its log unread, so that nothing is made beside it.
    connection = apsw.Connection(
        Path(path).absolute().as_uri() + "?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
    try:
        use_page_key(connection, keys)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.Error:
        return False
    finally:
        connection.close()
    return True

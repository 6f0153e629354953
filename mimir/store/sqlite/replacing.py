"""A store file put in the place of another: complete and checked before it has the name, the former one overwritten.

Whoever opens the file meanwhile waits for its lock. When that is given up, what such a process holds is the former
file, overwritten with zeros, which it refuses as no database: nothing can be written into a file without a name.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

import apsw

from mimir.config import IS_WINDOWS
from mimir.crypto import Keys, bound_to, check_head, sync_folder
from mimir.errors import Busy, Conflict, InvalidInput, Locked, NotFound, StorageFailure
from mimir.progress import report
from mimir.store.codec import BODY_COLUMNS, UNREADABLE, BodySeal
from mimir.store.sqlite.connection import Database, Row, named, read_only_uri
from mimir.store.sqlite.files import (
    locked,
    make,
    naming_files,
    overwrite,
    own_name,
    remove,
    set_logs_aside,
    sync,
    unused,
)
from mimir.store.sqlite.schema import format_version
from mimir.store.sqlite.sealing import (
    BODY,
    RESEALING,
    begin_stretch,
    body_seal,
    read_head,
    seal_of,
    sealed_key,
    use_page_key,
)

BODIED: Final = {"entities": "''", "versions": "version_id"}
"""The tables that hold bodies, each with what tells a version from the memory itself."""

RESTORING: Final = ".restoring"
_BETWEEN: Final = ".between"
_PATIENCE_S: Final = 2.0
_ROWS: Final = 1_000
_VFS_BLOCK: Final = 1 << 16
"""SQLite's own files read and write at most 128 KiB at a time."""

_STEPS: Final = 20_000
"""Steps of SQLite's machine between two looks at how far a copy has come: a few milliseconds."""


def change_keys(
    path: str,
    old: Keys | None,
    new: Keys | None,
    scope: str,
    finish: Callable[[str], None] | None = None,
) -> int:
    """Write a store anew under other keys, or none, and put it in its own place; return how many bodies are unreadable.

    ``finish`` may add to the new file, whose path it gets, before it takes the place. Until then the former file holds
    everything, and from then on the new one; both are never there in part.

    Raises:
        Busy: another process has the store open.
        StorageFailure: the new file is not what the former one is; that one was left as it was.
    """
    path = os.path.realpath(path)
    target = path + RESEALING
    with naming_files(path), held_alone(path, old) as database:
        remove_leftovers(path)
        try:
            unreadable = copy_with_keys(database, target, new, scope)
            compare(contents(database), target, new)
            if finish is not None:
                finish(target)
            put_in_place(database, target)
        except BaseException:
            # Only while the store is held alone: what is found later may be another process's.
            remove_leftovers(path)
            raise
    return unreadable


def remove_leftovers(path: str) -> None:
    """Remove what a process left that was ended while it wrote a store anew; none does while this one is open."""
    target = os.path.realpath(path) + RESEALING
    # The file itself last: as long as anything is left it is there, and says so.
    for ending in (_BETWEEN, "-wal", "-shm", "-journal", ""):
        remove(target + ending)


def restore(source: str, path: str, keys: Keys | None) -> str:
    """Put a copy of a store in the place of the one at ``path``; return where that one was kept, or nothing.

    Raises:
        NotFound: there is no file to restore.
        InvalidInput: something else than a file is there.
        Busy: another process has the store open.
        StorageFailure: the file to restore is damaged, no store, or its copy is not what it is.
        Locked: it is sealed, and the keys are missing or others.
        Conflict: it is not sealed, and keys are given.
    """
    if not os.path.isfile(source):
        raise NotFound(f"There is no file {source!r}.", hint="Name a backup that mimir backup made.")
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise InvalidInput(f"{path} is a folder, a device or a pipe.", hint="Name a file with --db.")
    kept = ""
    with naming_files(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        target = own_name(path + RESTORING)
        try:
            _copy_checked(source, target, keys)
            if os.path.exists(path) and os.path.getsize(path):
                kept = unused(f"{path}.before-restore")
                try:
                    _swap(path, target, kept, keys)
                except (StorageFailure, Locked):
                    # It is damaged, or sealed with another key: it is kept byte by byte.
                    remove(kept)
                    _swap_unread(path, target, kept)
            else:
                kept = set_logs_aside(path, unused(f"{path}.before-restore"))
                os.replace(target, path)
            sync_folder(os.path.dirname(path))
        finally:
            remove(target)
    return kept


def contents(database: Database) -> dict[str, object]:
    """Return the number of rows of each table of a store, and a digest of every body and of whose it is."""
    with database.reading() as connection:
        return {**_counts(connection), **{f"bodies of {table}": _digest(database, table) for table in BODIED}}


def compare(expected: dict[str, object], path: str, keys: Keys | None) -> None:
    """Open a copy of a store and compare it with what it should hold.

    Raises:
        StorageFailure: it is damaged or holds something else.
    """
    copy = Database(path, durability="full", busy_timeout_ms=int(1000 * _PATIENCE_S), guard=format_version, keys=keys)
    try:
        found, sound = contents(copy), str(copy.execute("PRAGMA quick_check(1)").get)
    finally:
        copy.close()
    _require_equal(expected, found, sound, path)


@contextmanager
def held_alone(path: str, keys: Keys | None) -> Iterator[Database]:
    """Open a store that no other process has open, its log folded in, and keep every other process out.

    Raises:
        Busy: another process has it open.
    """
    database = Database(
        os.path.abspath(path),
        durability="full",
        busy_timeout_ms=int(1000 * _PATIENCE_S),
        guard=format_version,
        keys=keys,
        # What the store is copied into is named as a URI, since it has another key.
        flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI,
    )
    try:
        with database.naming_failures():
            connection = database.connection
            try:
                connection.execute("PRAGMA journal_mode=DELETE")
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
                connection.execute("BEGIN EXCLUSIVE")
                alone = connection.execute("PRAGMA journal_mode").get != "wal"
                connection.execute("COMMIT")
            except (apsw.BusyError, apsw.LockedError):
                alone = False
        if not alone:
            raise Busy(
                f"Another process has the store {path} open.",
                hint="End the servers and programs that use it, then try again; nothing was changed.",
            )
        yield database
    finally:
        database.close()


def copy_with_keys(database: Database, target: str, keys: Keys | None, scope: str) -> int:
    """Write everything in a store into a new file sealed with other keys, and return how many bodies are unreadable.

    What is neither under the old keys nor under the new ones is never on the disk. A body that was changed behind the
    store's back has `UNREADABLE` in its place.
    """
    pages = keys is not None and scope != BODY
    # Bodies are changed in a file whose pages are encrypted: of what is changed in place, free pages keep remains.
    between = keys if keys is not None and pages else Keys(os.urandom(32))
    first = target if pages else target + _BETWEEN
    size = os.path.getsize(database.path)
    make(target)
    try:
        with database.naming_failures():
            _vacuum_into(database.connection, first, between, size)
            connection = _connect(first)
            try:
                use_page_key(connection, between)
                # Only whole is it of any use: a file that was begun is thrown away.
                connection.execute("PRAGMA journal_mode=OFF")
                connection.execute("PRAGMA synchronous=OFF")
                connection.execute("PRAGMA cache_size=-32000")
                # What a memory says stays as it is: whoever follows its changes must not be told of one.
                connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
                new_seal = None if keys is None else body_seal(keys, pages=pages)
                with connection:
                    unreadable = _change_bodies(connection, database.seal, new_seal)
                    _change_stretches(connection, database, keys)
                if not pages:
                    _vacuum_into(connection, target, None, size)
            finally:
                connection.close()
    finally:
        if not pages:
            remove(first)
    return unreadable


def put_in_place(database: Database, complete: str) -> None:
    """Give a complete file the name of a store that is held alone, and overwrite the former one.

    A medium may keep what was overwritten: flash storage and file systems that copy on write do.
    """
    path = os.path.realpath(database.path)
    with suppress(OSError):
        os.chmod(complete, os.stat(path).st_mode & 0o777)
    sync(complete)
    former = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    # Closed last: closing it gives up the locks on the former file.
    try:
        if IS_WINDOWS:
            # No file that is open can be replaced there: whoever comes in between makes the replacing fail.
            database.close()
            os.close(former)
            os.replace(complete, path)
            return
        os.replace(complete, path)
        sync_folder(os.path.dirname(path))
        overwrite(former)
        database.close()
    except PermissionError as error:
        raise Busy(f"Another process has the store {path} open.", hint="End it, then try again.") from error
    finally:
        if not IS_WINDOWS:
            os.close(former)


def copy_pages(connection: apsw.Connection, target: str, keys: Keys | None) -> None:
    """Copy a file as its open snapshot shows it into a new one, with the same encryption of its pages."""
    remove(target)
    copy = _connect(target)
    try:
        if keys is not None:
            use_page_key(copy, keys)
        with _naming_full_disk(target), copy.backup("main", connection, "main") as backup:
            while not backup.done:
                backup.step(_ROWS)
                report(backup.page_count - backup.remaining, backup.page_count)
    finally:
        copy.close()
    sync(target)


def copy_sealed(path: str, target: str, keys: Keys) -> None:
    """Copy what is committed in a plain file into a new one whose pages are encrypted."""
    remove(target)
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        _vacuum_into(connection, target, keys, os.path.getsize(path))
    finally:
        connection.close()
    sync(target)


def _copy_checked(source: str, target: str, keys: Keys | None) -> None:
    """Copy a store that may be of an older format and compare the copy; nothing is written to ``source``."""
    sealed = check_head(read_head(source), keys, source)
    pages = keys if sealed else None
    try:
        connection = apsw.Connection(read_only_uri(source), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            if pages is not None:
                use_page_key(connection, pages)
            connection.execute("BEGIN")
            if format_version(connection, source, keys) <= 0:
                raise StorageFailure(f"{source} is no store of Mimir.", hint="Name a backup that mimir backup made.")
            seal_of(connection, source, keys, "", pages=sealed)
            copy_pages(connection, target, pages)
            expected = _counts(connection)
        finally:
            connection.close()
        copy = _connect(target)
        try:
            if pages is not None:
                use_page_key(copy, pages)
            _require_equal(expected, _counts(copy), str(copy.execute("PRAGMA quick_check(1)").get), target)
        finally:
            copy.close()
    except apsw.Error as error:
        raise named(error, source, sealed=sealed) from error


def _counts(connection: apsw.Connection) -> dict[str, object]:
    tables: list[Row] = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name <> 'journal_keys'"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    return {name: connection.execute(f'SELECT count(*) FROM "{name}"').get for (name,) in tables}


def bodies_of(database: Database, table: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each body of a table as it is read, with what tells whose it is: version, id, workspace, category, key."""
    for body, *names, version_id in database.execute(
        f"SELECT {', '.join(BODY_COLUMNS)}, {BODIED[table]} FROM {table} ORDER BY number"
    ):
        row = (names[0], names[1], names[2], names[3])
        yield (body if database.seal is None else database.seal.open(body, row, version_id)), (version_id, *row)


def _digest(database: Database, table: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    # As they are read, not as they are stored: two copies are sealed with other keys, or nonces.
    for body, owner in bodies_of(database, table):
        digest.update(bound_to(body, *owner))
    return digest.hexdigest()


def _require_equal(expected: dict[str, object], found: dict[str, object], sound: str, path: str) -> None:
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if sound != "ok" or different:
        raise StorageFailure(
            f"The copy {path} is not what was copied: {', '.join(different) if sound == 'ok' else sound}.",
            hint="Nothing was replaced; check the disk and try again.",
        )


def _swap(path: str, target: str, kept: str, keys: Keys | None) -> None:
    """Copy a store and put another file in its place."""
    try:
        with held_alone(path, keys) as database, database.naming_failures():
            copy_pages(database.connection, kept, keys if database.pages_sealed else None)
            put_in_place(database, target)
    except Conflict:
        # The backup is sealed, and what it replaces is not.
        with held_alone(path, None) as database, database.naming_failures():
            copy_pages(database.connection, kept, None)
            put_in_place(database, target)


def _swap_unread(path: str, target: str, kept: str) -> None:
    """Do the same with a file that cannot be read as a store, its log kept beside the copy.

    Raises:
        Busy: another process has it open.
    """
    with locked(path) as file:
        size = file.xFileSize()
        with open(kept, "xb", opener=partial(os.open, mode=0o600)) as copy:
            copy.writelines(file.xRead(min(_VFS_BLOCK, size - start), start) for start in range(0, size, _VFS_BLOCK))
            copy.flush()
            os.fsync(copy.fileno())
        set_logs_aside(path, kept)
        if IS_WINDOWS:
            file.xClose()
        os.replace(target, path)
        if not IS_WINDOWS:
            for start in range(0, size, _VFS_BLOCK):
                file.xWrite(bytes(min(_VFS_BLOCK, size - start)), start)


@contextmanager
def _naming_full_disk(target: str) -> Iterator[None]:
    # It need not be the disk of the store that is copied.
    try:
        yield
    except apsw.FullError as error:
        raise StorageFailure(
            f"The disk is full: {target} cannot be written.",
            hint="Free some space, or choose another place; nothing was changed.",
        ) from error


def _connect(path: str) -> apsw.Connection:
    make(path)
    # An absolute path is never read as a URI.
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(os.path.abspath(path), flags=flags)
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


def _vacuum_into(connection: apsw.Connection, target: str, keys: Keys | None, size: int) -> None:
    from pathlib import Path

    make(target)
    # Without the word key the new file would be sealed as the present one is.
    key = "" if keys is None else f"raw:{keys.pages.hex()}{keys.check.hex()}"

    def look() -> bool:
        report(min(size, os.path.getsize(target)), size)
        return False

    connection.set_progress_handler(look, _STEPS)
    try:
        connection.execute("PRAGMA temp_store=MEMORY")
        with _naming_full_disk(target):
            connection.execute(
                "VACUUM INTO ?", (f"{Path(target).absolute().as_uri()}?cipher=aegis&key={key}",), can_cache=False
            )
    finally:
        connection.set_progress_handler(None, 0)


def _change_bodies(connection: apsw.Connection, old: BodySeal | None, new: BodySeal | None) -> int:
    unreadable = done = 0
    total = connection.execute("SELECT (SELECT count(*) FROM entities) + (SELECT count(*) FROM versions)").get
    for table, version in BODIED.items():
        last = 0
        select = f"SELECT {', '.join(BODY_COLUMNS)}, {version}, number FROM {table}"
        while True:
            rows: list[Row] = connection.execute(
                f"{select} WHERE number > ? ORDER BY number LIMIT ?", (last, _ROWS)
            ).fetchall()
            if not rows:
                break
            changed = []
            for body, *names, version_id, number in rows:
                row = (names[0], names[1], names[2], names[3])
                text = body if old is None else old.open(body, row, version_id)
                unreadable += text is UNREADABLE
                changed.append((text if new is None else new.seal(text, row, version_id), number))
            connection.executemany(f"UPDATE {table} SET body_json = ? WHERE number = ?", changed)
            last, done = rows[-1][-1], done + len(rows)
            report(done, total)
    return unreadable


def _change_stretches(connection: apsw.Connection, database: Database, keys: Keys | None) -> None:
    connection.executemany(
        "UPDATE journal_keys SET key = ? WHERE first_sequence = ?",
        [(sealed_key(key, first, keys), first) for first, key in database.chain_stretches() if key is not None],
    )
    begin_stretch(connection, keys)

"""Keys and what is done with them: key files, subkeys, sealed texts, and what the first bytes of a store file tell.

Nothing here opens a store. The cipher library is imported when the first text is sealed or opened, so that a process
without a key never loads it.
"""

from __future__ import annotations

import binascii
import os
from contextlib import suppress
from functools import cached_property
from typing import Final

from mimir.config import IS_WINDOWS, expand
from mimir.errors import Conflict, InvalidInput, Locked, StorageFailure

KEY_BYTES: Final = 32
HEAD_BYTES: Final = 24
"""How much of a sealed file stands in clear: a check value of its key, then the size and form of its pages."""

PLAIN_HEAD: Final = b"SQLite format 3\0"
_CHECK_BYTES: Final = 16
# Pages of 4,096 bytes of which the cipher takes 64. Two bytes between may differ: they name the kind of the log.
_PAGE_SIZE: Final = b"\x10\x00"
_PAGE_FORM: Final = b"\x40\x40\x20\x20"

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
LEAST_SEALED_BYTES: Final = _NONCE_BYTES + _TAG_BYTES

_OTHERS: Final = 0o077


class Keys:
    """The subkeys of one key, each for one purpose.

    Derived by HKDF-SHA-256 (RFC 5869) without a salt, under labels of their own: knowing one tells nothing of another.
    `pages` encrypts the pages of a store file; `check` stands in clear at its beginning and tells this key from others.
    """

    def __init__(self, key: bytes) -> None:
        """Take a key of `KEY_BYTES` bytes."""
        self._key = key
        self.pages = subkey(key, "mimir pages")
        self.check = subkey(key, "mimir check")[:_CHECK_BYTES]

    @cached_property
    def bodies(self) -> FieldCipher:
        """What seals bodies in a file whose pages are encrypted."""
        return FieldCipher(subkey(self._key, "mimir bodies"))

    @cached_property
    def plain_file_bodies(self) -> FieldCipher:
        """What seals bodies in a file whose pages are not: the key itself, as the Rust Mimir uses it."""
        return FieldCipher(self._key)

    @cached_property
    def journal_keys(self) -> FieldCipher:
        """What seals the keys of the journal's chain."""
        return FieldCipher(subkey(self._key, "mimir journal keys"))

    def fit(self, head: bytes) -> bool:
        """Tell whether a file with this head is sealed with this key."""
        return head[:_CHECK_BYTES] == self.check


class FieldCipher:
    """AES-256-GCM over single texts: base64 of a random nonce of 12 bytes, the ciphertext and a tag of 16 bytes."""

    def __init__(self, key: bytes) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)
        self._invalid = InvalidTag

    def seal(self, text: str, bound_to: bytes) -> str:
        """Seal a text under a fresh nonce; it opens only with the same ``bound_to``."""
        nonce = os.urandom(_NONCE_BYTES)
        data = nonce + self._cipher.encrypt(nonce, text.encode(), bound_to)
        return binascii.b2a_base64(data, newline=False).decode()

    def open(self, sealed: str, bound_to: bytes) -> str | None:
        """Return the text that was sealed, or None when it was not, not with this key or not for ``bound_to``."""
        try:
            data = binascii.a2b_base64(sealed, strict_mode=True)
            if len(data) < LEAST_SEALED_BYTES:
                return None
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound_to).decode()
        except (self._invalid, binascii.Error, ValueError):
            return None


def subkey(key: bytes, label: str) -> bytes:
    """Derive 32 bytes for the purpose that ``label`` names: HKDF-SHA-256 (RFC 5869), no salt, one block."""
    # Imported with the first key: hashing costs a start 4 ms.
    import hmac

    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, label.encode() + b"\x01", "sha256")


def bound_as_original(category: str, key: str) -> bytes:
    """Return what the Rust Mimir binds a body to since its version 2.10: the category with its length, and the key."""
    return f"{len(category.encode())}:{category}:{key}".encode()


def bound_as_early_original(category: str, key: str) -> bytes:
    """Return what the Rust Mimir bound a body to before 2.10; a colon in either name makes it ambiguous."""
    return f"{category}:{key}".encode()


def looks_sealed(head: bytes) -> bool:
    """Tell whether a file with this head was sealed by Mimir, with whatever key."""
    return (
        len(head) >= HEAD_BYTES
        and not head.startswith(PLAIN_HEAD)
        and head[16:18] == _PAGE_SIZE
        and head[20:24] == _PAGE_FORM
    )


def bound_to(*parts: str) -> bytes:
    """Return what a text is bound to: each part with its length before it, so that no two lists give the same bytes."""
    return "".join(f"{len(part)}:{part}" for part in parts).encode()


def check_head(head: bytes, keys: Keys | None, path: str) -> bool:
    """Tell from the head of a file whether it is sealed with these keys; an empty head is that of a file to be made.

    True for a sealed file and False for a plain one, and for one that the database itself must judge.

    Raises:
        Locked: it is sealed, and the keys are missing or others.
        StorageFailure: it is sealed with these keys, and its head is damaged.
    """
    if keys is None:
        if looks_sealed(head):
            raise Locked(
                f"The store {path} is sealed, and no key was given.",
                hint="Name its key file with --encryption-key or MIMIR_ENCRYPTION_KEY_FILE.",
            )
        return False
    if keys.fit(head):
        if not looks_sealed(head):
            raise damaged_head(path)
        return True
    if looks_sealed(head):
        raise Locked(
            f"The store {path} is sealed with another key than the one given.",
            hint="Name the right key file with --encryption-key; the file was left untouched.",
        )
    return False


def damaged_head(path: str) -> StorageFailure:
    """Return the failure of a sealed file whose key is right and whose first bytes are not."""
    return StorageFailure(
        f"The key is right, but the first bytes of the sealed store {path} were changed.",
        hint="Restore a backup with: mimir restore; keep the damaged file for rescue.",
    )


def not_sealed(path: str) -> Conflict:
    """Return the failure of a key that is given for a store which is not sealed."""
    return Conflict(
        f"A key was given, but the store {path} is not sealed: what is in it is readable.",
        hint="Seal it with: mimir seal --encryption-key FILE; or leave the key out.",
    )


def read_key_file(path: str) -> bytes:
    """Return the key in a key file: one line, base64 of 32 bytes, white space around it ignored.

    A warning is logged when others than its owner may read it.

    Raises:
        Locked: it is missing, cannot be read, or holds something else.
    """
    path = expand(path)
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1024)
    except FileNotFoundError:
        hint = f"Make one with: mimir keygen --key-file {path}"
        raise Locked(f"There is no key file {path}.", hint=hint) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no valid name"
        raise Locked(f"The key file {path} cannot be read: {reason}.", hint="Name a file that you may read.") from None
    try:
        key = binascii.a2b_base64(text.strip(), strict_mode=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Locked(
            f"{path} is no key file: it does not hold base64 of {KEY_BYTES} bytes.",
            hint="Name the key file of this store; for a new store mimir keygen makes one.",
        )
    if mode & _OTHERS and not IS_WINDOWS:
        import logging

        logging.getLogger(__name__).warning(
            "mimir: warning: others may read the key file %s (mode %03o); run: chmod 600 %s", path, mode & 0o777, path
        )
    return key


def load_keys(path: str) -> Keys | None:
    """Return the keys of a key file, or None when none is named.

    Raises:
        Locked: it is missing, cannot be read, or holds something else.
    """
    return Keys(read_key_file(path)) if path else None


def write_key_file(path: str, *, force: bool = False) -> str:
    """Write a new random key into a key file that only its owner may read, and return where a former one was kept.

    Raises:
        Conflict: the file exists, and ``force`` is not set.
        InvalidInput: it cannot be written there, or something else than a file has the name.
    """
    path = expand(path)
    kept = ""
    if os.path.lexists(path) and not os.path.isfile(path) and not os.path.islink(path):
        raise InvalidInput(f"{path} is a folder, a device or a pipe, and no key file.", hint="Name a file.")
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        if force and os.path.lexists(path):
            kept = _unused(path)
            os.rename(path, kept)
        try:
            _write_new(path, binascii.b2a_base64(os.urandom(KEY_BYTES), newline=False))
        except OSError:
            if kept and not os.path.lexists(path):
                os.rename(kept, path)
            raise
    except FileExistsError as error:
        if not os.path.lexists(path):
            raise InvalidInput(
                f"The key file {path} cannot be written: {error.filename} is no folder.", hint="Choose another place."
            ) from None
        raise Conflict(
            f"The key file {path} exists; without it, what it sealed is lost.",
            hint="Choose another name, or keep it beside a new one with --force.",
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"The key file {path} cannot be written: {reason}.", hint="Choose another place.") from None
    return kept


def _write_new(path: str, content: bytes) -> None:
    # With this mode from the first byte, and only if nothing is there.
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(number)
        # A key that is gone after a loss of power, with the store it sealed still there, cannot be made again.
        sync_folder(os.path.dirname(path))
    except OSError:
        os.remove(path)
        raise


def sync_folder(path: str) -> None:
    """Wait until the names in a folder are on the disk, where the system lets one wait for that."""
    with suppress(OSError):
        number = os.open(path or ".", os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _unused(path: str) -> str:
    number = 1
    while os.path.lexists(name := f"{path}.former-{number}"):
        number += 1
    return name

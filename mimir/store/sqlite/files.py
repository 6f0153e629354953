"""Files as such: made, locked, named, put aside, overwritten and removed, whatever is in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import apsw

from mimir.config import IS_WINDOWS
from mimir.crypto import sync_folder
from mimir.errors import Busy, StorageFailure
from mimir.store import LOGS
from mimir.store.sqlite.connection import named

_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
"""Names that are made beside others can be guessed: who plants a link there must not choose what is overwritten."""

_BLOCK: Final = 1 << 20


def take_name(complete: str, path: str) -> None:
    """Give a complete file a name that another may have, which is lost with its logs.

    Raises:
        Busy: another process has it open as a store.
    """
    if os.path.exists(path):
        with locked(path) as file:
            if IS_WINDOWS:
                file.xClose()
            _take_name(complete, path)
    else:
        _take_name(complete, path)


def own_name(name: str) -> str:
    """Return ``name`` with the number of this process; what processes left that were ended over theirs is removed."""
    folder, begun = os.path.split(os.path.abspath(name))
    for one in os.listdir(folder):
        number, _, _ending = one.removeprefix(begun + "-").partition("-")
        if one.startswith(begun + "-") and number.isdigit() and _is_gone(int(number)):
            remove(os.path.join(folder, one))
    return f"{name}-{os.getpid()}"


def unused(name: str) -> str:
    """Return ``name`` with an ending that neither a file nor a log has yet."""
    candidate, number = f"{name}.bak", 1
    while any(os.path.exists(candidate + ending) for ending in ("", *LOGS)):
        number += 1
        candidate = f"{name}-{number}.bak"
    return candidate


def set_logs_aside(path: str, kept: str) -> str:
    """Name the logs at a path as those of another file, lest they be read into what comes there; return the last."""
    named_last = ""
    for ending in LOGS:
        with suppress(FileNotFoundError):
            os.replace(path + ending, kept + ending)
            named_last = kept + ending
    with suppress(FileNotFoundError):
        os.remove(path + "-shm")
    return named_last


def remove(path: str) -> None:
    """Overwrite a file that was begun and remove it, if it is there; of a link, nothing but the link."""
    with suppress(FileNotFoundError):
        if not os.path.islink(path):
            number = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) | _NO_LINK)
            try:
                overwrite(number)
            finally:
                os.close(number)
        os.remove(path)


def make(path: str) -> None:
    """Make an empty file, if there is none, that only its owner may read from the first byte."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600))


def sync(path: str) -> None:
    """Wait until what is in a file is on the disk."""
    number = os.open(path, os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def naming_files(path: str) -> Iterator[None]:
    """Turn each failure of the system inside the block into a StorageFailure that names the file."""
    try:
        yield
    except OSError as error:
        raise StorageFailure(
            f"{error.filename or path} cannot be written: {error.strerror}.",
            hint="Give yourself write permission for the file and its folder.",
        ) from error


@contextmanager
def locked(path: str) -> Iterator[apsw.VFSFile]:
    """Open a file that may be no store, and keep every other process out.

    Raises:
        Busy: another process has it open as a store.
    """
    try:
        file = apsw.VFSFile("", os.path.realpath(path), [apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_MAIN_DB, 0])
    except apsw.CantOpenError as error:
        raise named(error, path) from error
    try:
        for level in (apsw.SQLITE_LOCK_SHARED, apsw.SQLITE_LOCK_RESERVED, apsw.SQLITE_LOCK_EXCLUSIVE):
            file.xLock(level)
        yield file
    except apsw.BusyError:
        raise Busy(f"Another process has the store {path} open.", hint="End it, then try again.") from None
    except apsw.Error as error:
        raise named(error, path) from error
    finally:
        file.xClose()


def overwrite(number: int) -> None:
    """Write zeros over all of an open file, and wait until they are on the disk."""
    left = os.fstat(number).st_size
    os.lseek(number, 0, os.SEEK_SET)
    while left > 0:
        left -= os.write(number, bytes(min(left, _BLOCK)))
    os.fsync(number)


def _take_name(complete: str, path: str) -> None:
    for ending in (*LOGS, "-shm"):
        remove(path + ending)
    os.replace(complete, path)
    sync_folder(os.path.dirname(path))


def _is_gone(process: int) -> bool:
    # There, asking for a process by signal 0 would end it; what is left then stays.
    if IS_WINDOWS:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False

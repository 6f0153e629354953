"""A file system with faults between SQLite and the disk: calls that fail, processes that die, power that goes.

While a `Disk` is open, what this process opens through `apsw.Connection` lies on it, log and journals included. It
stands below the encryption of pages, so that it sees what a real disk would see.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeAlias

import apsw

CHANGING: Final = ("write", "sync", "truncate", "delete")
"""Calls after which something else is on the disk."""

CALLS: Final = ("open", "read", *CHANGING)
SECTOR: Final = 512

_FAILURES: Final = {
    "open": apsw.SQLITE_CANTOPEN,
    "read": apsw.SQLITE_IOERR_READ,
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "delete": apsw.SQLITE_IOERR_DELETE,
}

_CONNECTION: Final = apsw.Connection

Change: TypeAlias = tuple[int, bytes | None]
"""Bytes written at an offset, or None: cut off there."""


class Fault(NamedTuple):
    """What happens at the ``first``-th call of these kinds, counted from 1, and at the ``times - 1`` that follow.

    ``error`` fails the call; ``full`` fails a write for lack of space, half of it done; ``kill`` ends the process
    without notice, half of a write done; ``lie`` lets a sync succeed that has done nothing.
    """

    what: str
    calls: tuple[str, ...]
    first: int
    times: int = 1


class Image:
    """What a file would hold if the power failed now: what was synced, and any part of what was written since."""

    def __init__(self, content: bytes) -> None:
        self.synced = bytearray(content)
        self.changes: list[Change] = []

    def sync(self) -> None:
        """Make all that was written last."""
        for change in self.changes:
            _apply(self.synced, change)
        self.changes.clear()

    def after_power_loss(self, chance: random.Random) -> bytes:
        """Return one of the contents that the file may have: nothing unsynced is kept, all of it, or any sectors."""
        content = bytearray(self.synced)
        keep = chance.choice((0.0, 0.5, 1.0))
        for offset, data in self.changes:
            if data is None:
                if chance.random() < keep:
                    _apply(content, (offset, None))
                continue
            for start in range(0, len(data), SECTOR):
                if chance.random() < keep:
                    _apply(content, (offset + start, data[start : start + SECTOR]))
        return bytes(content)


CIPHERS: Final = "multipleciphers-"
"""What stands before the name of a file system when its files are encrypted."""

_disks: list[Disk] = []
"""All there ever were: SQLite may still point to one that nobody uses any more."""


class Disk(apsw.VFS):
    """The file system of this process while it is open, with at most one fault.

    ``counted`` tells how many calls of each kind there were; ``watcher`` is called before each.
    """

    def __init__(self, fault: Fault | None = None, *, recording: bool = False) -> None:
        self.base: Final = apsw.vfs_names()[0].removeprefix(CIPHERS)
        self.name: Final = f"faulty{len(_disks)}"
        _disks.append(self)
        self.fault = fault
        self.counted: Counter[str] = Counter()
        self.met = 0
        self.images: dict[str, Image] | None = {} if recording else None
        self.watcher: Callable[[str], None] | None = None
        self.lock = threading.RLock()
        self._counting = 0
        super().__init__(self.name, self.base)

    def __enter__(self) -> Self:
        """Let connections be opened on this disk, and return it."""
        vfs = CIPHERS + self.name
        apsw.Connection = partial(_CONNECTION, vfs=vfs)  # type: ignore[assignment,misc]  # where all look it up
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the process with the file system that it had before; files that are open stay with this one."""
        apsw.Connection = _CONNECTION  # type: ignore[misc]  # the same

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> DiskFile:  # noqa: N802 - SQLite's name
        """Open a file."""
        if self.called("open"):
            raise apsw.exception_for(apsw.SQLITE_CANTOPEN)
        return DiskFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        """Delete a file."""
        if self.called("delete"):
            raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE)
        super().xDelete(filename, syncdir)
        if self.images is not None:
            self.images.pop(filename, None)

    def called(self, call: str) -> str:
        """Count a call and return what is to befall it, if anything."""
        with self.lock:
            if self.watcher is not None:
                self.watcher(call)
            self.counted[call] += 1
            fault = self.fault
            if fault is None or call not in fault.calls:
                return ""
            self._counting += 1
            if not fault.first <= self._counting < fault.first + fault.times:
                return ""
            self.met += 1
            if fault.what == "kill" and call != "write":
                die()
            return fault.what

    def heal(self) -> None:
        """Let nothing fail from now on."""
        with self.lock:
            self.fault = None

    def image_of(self, name: str | None) -> Image | None:
        """Return what is known of a file when power is to fail; it begins as the file is."""
        if self.images is None or name is None:
            return None
        if name not in self.images:
            path = Path(name)
            self.images[name] = Image(path.read_bytes() if path.exists() else b"")
        return self.images[name]

    def lose_power(self, folder: Path, chance: random.Random) -> None:
        """Write into a folder what the files would hold if the power failed now."""
        folder.mkdir()
        for name, image in (self.images or {}).items():
            (folder / Path(name).name).write_bytes(image.after_power_loss(chance))


class DiskFile(apsw.VFSFile):
    """One open file of a `Disk`."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        plain = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._image = disk.image_of(plain)
        super().__init__(disk.base, name, flags)

    def excepthook(
        self,
        etype: type[BaseException] | None,  # noqa: ARG002 - SQLite's signature
        evalue: BaseException | None,  # noqa: ARG002 - the same
        etraceback: TracebackType | None,  # noqa: ARG002 - the same
    ) -> bool:
        """Keep quiet about the failures that were asked for."""
        return True

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        """Read bytes."""
        self._fail_if(self._disk.called("read"), "read")
        data: bytes = super().xRead(amount, offset)
        return data

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Write bytes."""
        with self._disk.lock:
            fate = self._disk.called("write")
            if fate in ("full", "kill"):
                super().xWrite(data[: len(data) // 2], offset)
            if fate == "kill":
                die()
            if fate == "full":
                raise apsw.exception_for(apsw.SQLITE_FULL)
            self._fail_if(fate, "write")
            super().xWrite(data, offset)
            self._change((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        """Cut the file off."""
        with self._disk.lock:
            self._fail_if(self._disk.called("truncate"), "truncate")
            super().xTruncate(newsize)
            self._change((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Make what was written last."""
        with self._disk.lock:
            fate = self._disk.called("sync")
            if fate == "lie":
                return
            self._fail_if(fate, "sync")
            # Whether the disk keeps its word is not what is tested: nothing here pulls a plug.
            if self._image is None:
                super().xSync(flags)
            else:
                self._image.sync()

    def _change(self, change: Change) -> None:
        if self._image is not None:
            self._image.changes.append(change)

    @staticmethod
    def _fail_if(fate: str, call: str) -> None:
        if fate:
            raise apsw.exception_for(_FAILURES[call])


def die() -> None:
    """End this process as a pulled plug or `kill -9` does: nothing is flushed, closed or told."""
    os.kill(os.getpid(), signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)


def _apply(content: bytearray, change: Change) -> None:
    offset, data = change
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data

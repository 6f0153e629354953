"""A server that writes down how long each call waited for locks: `python -m tests.faults.watched REPORT ARGUMENT...`.

Waiting is what a thread sleeps, in SQLite or in the pauses of ours, and what it stands before a lock of this process.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw

from mimir.cli import serve
from mimir.server.dispatch import Dispatcher
from tests.faults.vfs import CIPHERS

_NAME: Final = "watched"

_waited = threading.local()


def _add(seconds: float) -> None:
    _waited.seconds = getattr(_waited, "seconds", 0.0) + seconds


class Sleeps(apsw.VFS):
    """The default file system, with SQLite's own pauses counted; it stands below the encryption of pages."""

    def __init__(self) -> None:
        super().__init__(_NAME, apsw.vfs_names()[0].removeprefix(CIPHERS))

    def xSleep(self, microseconds: int) -> int:  # noqa: N802 - SQLite's name
        """Pause."""
        _add(microseconds / 1e6)
        slept: int = super().xSleep(microseconds)
        return slept


class Turn:
    """A lock of this process that counts how long threads stand before it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._lock = make()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock as `threading.Lock` does."""
        if self._lock.acquire(blocking=False):
            return True
        if not blocking:
            return False
        started = time.perf_counter()
        try:
            return bool(self._lock.acquire(timeout=timeout))
        finally:
            _add(time.perf_counter() - started)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a lock has
        return getattr(self._lock, name)

    def __enter__(self) -> bool:
        """Take the lock."""
        return self.acquire()

    def __exit__(self, *_error: object) -> None:
        """Give the lock back."""
        self._lock.release()


class Watched(Dispatcher):
    """The answers of a server, each with the time that it waited."""

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - as the dispatcher
        super().__init__(*arguments)
        self.waits: list[tuple[str, str, float]] = []

    def call(self, name: str, arguments: Any) -> tuple[bytes, bool]:  # noqa: ANN401 - any JSON
        """Run a tool."""
        _waited.seconds = 0.0
        answer = super().call(name, arguments)
        entry = self._entry(name)
        self.waits.append((name, entry["effect"] if entry else "", 1000 * _waited.seconds))
        return answer

    def close(self) -> None:
        """Close the store and write the report."""
        with suppress(Exception):
            super().close()
        Path(sys.argv[1]).write_text(json.dumps(self.waits), encoding="utf-8")


def main() -> int:
    """Serve with the arguments that follow the report's name."""
    sleep, make_rlock = time.sleep, threading.RLock

    def counted_sleep(seconds: float) -> None:
        _add(seconds)
        sleep(seconds)

    # What is put in place does the same as what it replaces, and counts.
    sleeps = Sleeps()
    for place, name, counting in (
        (apsw, "Connection", partial(apsw.Connection, vfs=CIPHERS + _NAME)),
        (time, "sleep", counted_sleep),
        (threading, "RLock", lambda: Turn(make_rlock)),
        (serve, "Dispatcher", Watched),
    ):
        setattr(place, name, counting)
    status = serve.serve(sys.argv[2:])
    # Not sooner: until then SQLite asks it to sleep.
    del sleeps
    return status


if __name__ == "__main__":
    sys.exit(main())

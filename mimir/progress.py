"""How far long work has come, told to whoever wants to know; and whether anybody still wants it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias

Listener: TypeAlias = Callable[[int, int | None], None]
"""Is called with how much is done and how much there is in all, None when that is not known."""

_LOOK_S: Final = 0.05
"""How often whoever waits looks whether anybody still wants it to, in seconds."""

_listener: Final[ContextVar[Listener | None]] = ContextVar("listener", default=None)
_asked: Final[ContextVar[Callable[[], bool] | None]] = ContextVar("asked", default=None)


class Cancelled(BaseException):
    """Ends work that nobody waits for any more; no operation catches it as a failure of its own."""


def report(done: int, total: int | None = None) -> None:
    """Tell the listener of this call, if there is one, that ``done`` of ``total`` memories, files or rows are done.

    Raises:
        Cancelled: nobody waits for the work any more.
    """
    stop_if_cancelled()
    listener = _listener.get()
    if listener is not None:
        listener(done, total)


def is_cancelled() -> bool:
    """Tell whether nobody waits any more for what this thread is doing."""
    asked = _asked.get()
    return asked is not None and asked()


def stop_if_cancelled() -> None:
    """End the work of this thread here if nobody waits for it any more.

    Raises:
        Cancelled: so it is.
    """
    if is_cancelled():
        raise Cancelled


def wait_until(done: Callable[[float], bool], seconds: float) -> bool:
    """Wait until ``done``, called with how long it may wait itself, returns true; tell whether that was in time.

    Raises:
        Cancelled: nobody waits for the work of this thread any more.
    """
    until = time.monotonic() + seconds
    while True:
        stop_if_cancelled()
        left = until - time.monotonic()
        if done(max(0.0, min(left, _LOOK_S))):
            return True
        if left <= 0:
            return False


def pause(seconds: float) -> None:
    """Wait.

    Raises:
        Cancelled: nobody waits for the work of this thread any more.
    """
    wait_until(threading.Event().wait, seconds)


@contextmanager
def reported_to(listener: Listener) -> Iterator[None]:
    """Let ``listener`` hear how far the work inside the block has come."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def cancelled_when(asked: Callable[[], bool]) -> Iterator[None]:
    """Let the work inside the block end, with `Cancelled`, soon after ``asked`` returns true.

    It is asked at every report, before every transaction, now and then inside a long statement of the store, and while
    another machine is waited for.
    """
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)

"""How far long work has come, told to whoever wants to know; and whether anybody still wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias

Listener: TypeAlias = Callable[[int, int | None], None]
"""Is called with how much is done and how much there is in all, None when that is not known."""

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

    It is asked at every report, before every transaction and now and then inside a long statement of the store.
    """
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)

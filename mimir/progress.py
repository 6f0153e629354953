"""How far long work has come, told to whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias

Listener: TypeAlias = Callable[[int, int | None], None]
"""Is called with how much is done and how much there is in all, None when that is not known."""

_listener: Final[ContextVar[Listener | None]] = ContextVar("listener", default=None)


def report(done: int, total: int | None = None) -> None:
    """Tell the listener of this call, if there is one, that ``done`` of ``total`` memories, files or rows are done."""
    listener = _listener.get()
    if listener is not None:
        listener(done, total)


@contextmanager
def reported_to(listener: Listener) -> Iterator[None]:
    """Let ``listener`` hear how far the work inside the block has come."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)

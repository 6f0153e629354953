"""A call that runs on a thread: cancelled from outside, and heard of while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mimir.progress import Cancelled, Listener, cancelled_when, reported_to, stop_if_cancelled

if TYPE_CHECKING:
    from mimir.model import Json
    from mimir.server.dispatch import Dispatcher
    from mimir.server.message import Request

PROGRESS_S: Final = 0.1
"""Least time between two notifications of progress, in seconds."""


class Call:
    """A request that was accepted and is not yet answered; any thread may set `cancelled`.

    ``tell`` is called with how far long work has come, never more often than every `PROGRESS_S`.
    """

    def __init__(self, request: Request, tell: Listener | None = None) -> None:
        self.request = request
        self.cancelled = False
        self._tell = tell
        self._told_done = -1
        self._told_at = 0.0

    def run(self, dispatcher: Dispatcher) -> bytes | None:
        """Return the reply, or None when the call was cancelled before it was finished."""
        try:
            with cancelled_when(self._is_cancelled), reported_to(self._report):
                stop_if_cancelled()
                return dispatcher.answer(self.request)
        except Cancelled:
            return None

    def _is_cancelled(self) -> bool:
        return self.cancelled

    def _report(self, done: int, total: int | None) -> None:
        if self._tell is None or done <= self._told_done:
            return
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_S or done == total:
            self._told_at, self._told_done = now, done
            self._tell(done, total)


def progress_token(request: Request) -> Json:
    """Return what the caller wants reports of progress to carry, or None when it wants none."""
    meta = request.params.get("_meta")
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return token if isinstance(token, (str, int)) and not isinstance(token, bool) else None

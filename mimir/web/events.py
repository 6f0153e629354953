"""Live changes: one thread looks at the store's counters while anyone listens, whichever process wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from mimir.engine import Engine
from mimir.errors import MimirError, Unavailable
from mimir.model import Filter

LOOK_S: Final = 0.4
"""How often the counters are looked at, in seconds."""

SILENCE_S: Final = 15.0
"""After how much silence a listener gets a comment, in seconds: it tells both ends that the other is there."""

MOST_LISTENERS: Final = 64
MOST_NAMED: Final = 200
"""Changed memories that one event names; of more it only says that there were."""


class Counters(Struct, frozen=True, kw_only=True):
    """Where the counters of the store stand."""

    change: int
    journal: int


class Change(Struct, frozen=True, kw_only=True):
    """What is told: where the counters stand now, and the ids of what changed since the last event, if few."""

    change: int
    journal: int
    entities: tuple[str, ...]
    many: bool


class Changes:
    """The listeners of one server, and what tells them."""

    def __init__(self, open_engine: Callable[[], Engine], *, look_s: float = LOOK_S) -> None:
        self._open_engine = open_engine
        self._look_s = look_s
        self._listeners: set[asyncio.Queue[Change | None]] = set()
        # One thread, and so one connection, whose version number is another one when somebody else has written.
        self._thread = ThreadPoolExecutor(1, "mimir-web-changes")
        self._mark: tuple[int, int] | None = None
        self._seen: Counters | None = None
        self._watching: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End every stream."""
        for listener in self._listeners:
            listener.put_nowait(None)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def listen(self) -> AsyncIterator[bytes]:
        """Yield server-sent events until the server stops.

        Raises:
            Unavailable: too many listen already.
        """
        if len(self._listeners) >= MOST_LISTENERS:
            raise Unavailable(f"{MOST_LISTENERS} pages listen already.", hint="Close some.")
        changes: asyncio.Queue[Change | None] = asyncio.Queue()
        self._listeners.add(changes)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        return self._events(changes)

    async def _events(self, changes: asyncio.Queue[Change | None]) -> AsyncIterator[bytes]:
        try:
            yield b"retry: 2000\n\n"
            while True:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        change = await changes.get()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if change is None:
                    return
                yield b"id: %d\nevent: change\ndata: %b\n\n" % (change.change, msgspec.json.encode(change))
        finally:
            self._listeners.discard(changes)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._listeners:
            # A store that is busy now is looked at again.
            with suppress(MimirError):
                change = await loop.run_in_executor(self._thread, self._look)
                if change is not None:
                    for listener in self._listeners:
                        listener.put_nowait(change)
            await asyncio.sleep(self._look_s)
        self._seen = None

    def _look(self) -> Change | None:
        engine = self._open_engine()
        store = engine.store
        mark = store.change_mark()
        if mark == self._mark and self._seen is not None:
            return None
        self._mark = mark
        with store.reading():
            now = Counters(change=store.change_counter(), journal=store.journal_end()[1])
            before, self._seen = self._seen, now
            if before is None or before == now:
                return None
            many = now.change - before.change > MOST_NAMED
            numbers = () if many else store.changed_since(before.change)
            readable = store.passing(Filter(include_archived=True, caller=engine.settings.agent_id), numbers)
            stored = store.load(readable)
        return Change(
            change=now.change,
            journal=now.journal,
            entities=tuple(stored[number].entity.id for number in numbers if number in stored),
            many=many,
        )

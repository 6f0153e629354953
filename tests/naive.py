"""A store as one would first think of it: plain lists in memory, no index, no interval, nothing clever.

It keeps, per identity, every state it ever had with the time from which it counted, and answers each question by
looking through all of them. Property tests compare the real store with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

RETIRED = ("deprecated", "superseded", "expired", "invalidated")

Identity = tuple[str, str]
"""Workspace and key; all memories are of one category."""


@dataclass(frozen=True)
class Assertion:
    """One thing that was said: a text, the period in which it holds, and its status."""

    text: str
    start: int | None
    end: int | None
    status: str

    def holds(self, instant: int) -> bool:
        return (self.start is None or self.start <= instant) and (self.end is None or instant < self.end)


@dataclass(frozen=True)
class State:
    """What was believed from a time on: all assertions that stood beside each other, the newest last."""

    since: int
    assertions: tuple[Assertion, ...]
    archived: bool = False

    @property
    def newest(self) -> Assertion:
        return self.assertions[-1]

    def at(self, valid_at: int | None) -> Assertion | None:
        """Return the newest assertion whose period contains an instant, or just the newest."""
        for assertion in reversed(self.assertions):
            if valid_at is None or assertion.holds(valid_at):
                return assertion
        return None


@dataclass
class Memory:
    """One memory: its states in order, the texts that were replaced, and its links."""

    id: str
    states: list[State]
    recorded: int
    replaced: list[str] = field(default_factory=list)
    links: set[tuple[str, str]] = field(default_factory=set)

    @property
    def now(self) -> State:
        return self.states[-1]

    def then(self, as_of: int) -> State | None:
        """Return the last state that counted at an instant."""
        found = None
        for state in self.states:
            if state.since <= as_of:
                found = state
        return found


class Refused(Exception):
    """The change is not possible."""


class NaiveStore:
    """Memories, journal and state in plain containers."""

    def __init__(self) -> None:
        self.memories: dict[Identity, Memory] = {}
        self.events: list[tuple[int, str, str]] = []
        self.values: dict[str, tuple[str, int | None]] = {}

    # memories

    def remember(
        self,
        identity: Identity,
        entity_id: str,
        text: str,
        start: int | None,
        end: int | None,
        status: str | None,
        now: int,
    ) -> None:
        memory = self.memories.get(identity)
        if memory is None:
            said = Assertion(text, start, end, status or "active")
            _check(said)
            self.memories[identity] = Memory(entity_id, [State(now, (said,))], now)
            return
        before = memory.now
        bounded = start is not None or end is not None
        new_text = text != before.newest.text
        revived = before.newest.status in RETIRED
        if not (new_text or revived):
            # What the call leaves out keeps its value; a new text, or one said anew, begins without a period.
            start = before.newest.start if start is None else start
            end = before.newest.end if end is None else end
        said = Assertion(text, start, end, status or ("active" if revived else before.newest.status))
        _check(said)
        if said == before.newest and not before.archived:
            return
        memory.recorded = max(now, memory.recorded + 1)
        beside = new_text and bounded
        kept = before.assertions if beside else before.assertions[:-1]
        memory.states.append(State(memory.recorded, (*kept, said)))
        memory.replaced.append(before.newest.text)

    def forget(self, identity: Identity, now: int) -> bool:
        memory = self.memories.get(identity)
        if memory is None or memory.now.archived:
            return False
        memory.states.append(replace(memory.now, since=max(now, memory.recorded), archived=True))
        return True

    def supersede(self, old: Identity, new: Identity, now: int) -> None:
        """Close the period of the old fact, then retire it; refused if it had itself replaced the new one."""
        memory = self.memories[old]
        if self.memories[new].now.newest.status in RETIRED and self._leads(memory.id, self.memories[new].id):
            raise Refused
        newest = memory.now.newest
        successor = self.memories[new].now.newest
        end = now if successor.start is None else successor.start
        if newest.start is not None and end <= newest.start:
            end = newest.start + 1
        self.memories[new].links.add((memory.id, "supersedes"))
        if newest.end is None or newest.end > end:
            self._amend(memory, replace(newest, end=end), now)
        if newest.status != "deprecated":
            self._amend(memory, replace(memory.now.newest, status="deprecated"), now)

    def _leads(self, start: str, target: str) -> bool:
        links = {memory.id: memory.links for memory in self.memories.values()}
        reached, ahead = set[str](), [start]
        while ahead:
            for entity_id, relationship in links.get(ahead.pop(), set()):
                if relationship == "supersedes" and entity_id not in reached:
                    reached.add(entity_id)
                    ahead.append(entity_id)
        return target in reached

    def _amend(self, memory: Memory, said: Assertion, now: int) -> None:
        memory.recorded = max(now, memory.recorded + 1)
        memory.replaced.append(memory.now.newest.text)
        assertions = (*memory.now.assertions[:-1], said)
        memory.states.append(replace(memory.now, since=memory.recorded, assertions=assertions))

    def purge(self) -> set[str]:
        """Erase what is archived, with every link to it; return the ids."""
        gone = {identity: memory.id for identity, memory in self.memories.items() if memory.now.archived}
        for identity in gone:
            del self.memories[identity]
        for memory in self.memories.values():
            memory.links = {link for link in memory.links if link[0] not in gone.values()}
        return set(gone.values())

    def recalled(
        self,
        words: Iterable[str],
        workspace: str | None,
        now: int,
        *,
        as_of: int | None = None,
        valid_at: int | None = None,
        include_archived: bool = False,
    ) -> set[Identity]:
        """Return which memories hold one of the words, as they stood and for the period asked for."""
        found = set()
        for identity, memory in self.memories.items():
            if workspace not in (None, identity[0]):
                continue
            timed = as_of is not None or valid_at is not None
            state = memory.now if as_of is None else memory.then(as_of)
            said = state.at(valid_at) if state else None
            if state is None or said is None:
                continue
            over = said.end is not None and said.status != "invalidated" and valid_at is not None
            if not include_archived and (state.archived or (said.status in RETIRED and not over)):
                continue
            if not timed and not include_archived and not said.holds(now):
                continue
            if set(words) & set(said.text.split()):
                found.add(identity)
        return found

    def as_of(self, identity: Identity, as_of: int, valid_at: int | None) -> tuple[str, bool] | None:
        """Return text and archived mark as believed at one instant about another."""
        memory = self.memories.get(identity)
        state = memory.then(as_of) if memory else None
        said = state.at(valid_at) if state else None
        return (said.text, state.archived) if state and said else None

    # graph

    def traverse(self, identity: Identity, depth: int) -> dict[str, int]:
        """Return the ids reached and the depth at which a depth-first walk meets each."""
        by_id = {memory.id: memory for memory in self.memories.values()}
        start = self.memories[identity]
        met = {start.id: 0}
        order: dict[str, int] = {}

        def walk(memory: Memory, level: int) -> None:
            if level > depth:
                return
            for target in sorted({target for target, _ in memory.links}):
                if target in by_id and target not in met:
                    met[target] = order[target] = level
                    walk(by_id[target], level + 1)

        walk(start, 1)
        return order

    # journal and state

    def timeline(self, event_type: str | None, since: int | None) -> list[tuple[int, str, str]]:
        return [
            event
            for event in reversed(self.events)
            if event_type in (None, event[1]) and (since is None or event[0] >= since)
        ]

    def state_set(self, key: str, value: str, ttl: int | None, now: int) -> None:
        self.values[key] = (value, None if ttl is None else now + ttl * 1_000)

    def state_now(self, now: int) -> dict[str, str]:
        return {key: value for key, value, _ in self._unexpired(now)}

    def _unexpired(self, now: int) -> Iterator[tuple[str, str, int | None]]:
        for key, (value, expires) in self.values.items():
            if expires is None or expires >= now:
                yield key, value, expires


def _check(said: Assertion) -> None:
    if said.start is not None and said.end is not None and said.end <= said.start:
        raise Refused

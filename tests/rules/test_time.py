"""Two axes of time: the rule agrees with a plain reading of what was said and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from mimir.model import Entity, Version
from mimir.rules.time import holds_at, in_force


class Said(NamedTuple):
    """One thing that was said: when, for which period, and whether the next saying put it right."""

    pause: int
    start: int | None
    end: int | None
    amended: bool


BOUND = st.none() | st.integers(0, 30)
SAYINGS = st.lists(st.builds(Said, st.integers(1, 5), BOUND, BOUND, st.booleans()), min_size=1, max_size=8)


def entity(recorded: int, start: int | None, end: int | None, body: str = "{}") -> Entity:
    return Entity(
        id="mem-1",
        category="c",
        key="k",
        body_json=body,
        recorded_at_unix_ms=recorded,
        valid_from_unix_ms=start,
        valid_to_unix_ms=end,
    )


def told(sayings: Sequence[Said]) -> tuple[Entity, list[Version]]:
    """Return the present entity and its closed versions, newest first."""
    recorded, states = 0, []
    for place, said in enumerate(sayings):
        recorded += said.pause
        states.append(entity(recorded, said.start, said.end, str(place)))
    closed = [
        Version(
            version_id=f"hist-{place}",
            entity=state,
            invalidated_at_unix_ms=states[place + 1].recorded_at_unix_ms,
            superseded_by="mem-1",
            amended=sayings[place].amended,
        )
        for place, state in enumerate(states[:-1])
    ]
    return states[-1], closed[::-1]


def speaks_of(said: Said, instant: int) -> bool:
    return (said.start is None or said.start <= instant) and (said.end is None or instant < said.end)


def plainly(sayings: Sequence[Said], as_of: int, valid_at: int | None) -> int | None:
    """Return which saying was in force: the last one heard that still stood and spoke of the instant."""
    heard: list[int] = []
    recorded = 0
    for place, said in enumerate(sayings):
        recorded += said.pause
        if recorded > as_of:
            break
        if heard and sayings[place - 1].amended and valid_at is not None:
            heard.remove(place - 1)
        heard.append(place)
    speaking = [place for place in heard if valid_at is None or speaks_of(sayings[place], valid_at)]
    return max(speaking, default=None)


@given(SAYINGS, st.integers(-1, 45), st.none() | st.integers(-1, 31))
def test_what_is_in_force_agrees_with_a_plain_reading(sayings: list[Said], as_of: int, valid_at: int | None) -> None:
    current, versions = told(sayings)
    found = in_force(current, versions, as_of, valid_at)
    body = None if found is None else (found.entity if isinstance(found, Version) else found).body_json
    expected = plainly(sayings, as_of, valid_at)
    assert body == (None if expected is None else str(expected))
    if expected is not None:
        assert isinstance(found, Version) == (expected < len(sayings) - 1)


@given(SAYINGS, st.integers(0, 45))
def test_without_a_validity_the_intervals_of_recording_decide(sayings: list[Said], as_of: int) -> None:
    current, versions = told(sayings)
    found = in_force(current, versions, as_of, None)
    if isinstance(found, Version):
        assert found.entity.recorded_at_unix_ms <= as_of < found.invalidated_at_unix_ms
    elif found is not None:
        assert current.recorded_at_unix_ms <= as_of
    else:
        assert as_of < min([current, *(version.entity for version in versions)], key=_recorded).recorded_at_unix_ms


def _recorded(one: Entity) -> int:
    return one.recorded_at_unix_ms


@given(BOUND, BOUND, st.integers(-1, 31))
def test_validity_is_a_half_open_interval(start: int | None, end: int | None, instant: int) -> None:
    low = -1000 if start is None else start
    high = 1000 if end is None else end
    assert holds_at(entity(0, start, end), instant) == (instant in range(low, high))

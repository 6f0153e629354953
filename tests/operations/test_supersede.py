"""One fact takes the place of another, on both axes of time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir import Conflict, InvalidInput, Memory, NotFound
from mimir.model import Recalled
from tests.conftest import OpenMemory
from tests.doubles import START_MS, FixedClock

MODES = ["fts5", "dense", "hybrid", ""]


def keys(answer: Recalled) -> list[str]:
    return sorted(hit.key for hit in answer.items)


def stored(memory: Memory, key: str) -> Any:  # noqa: ANN401 - an entity, whose fields are looked at
    (found,) = memory.store.find("home", key, None)
    return found.entity


def remember(memory: Memory, key: str, **fields: Any) -> str:  # noqa: ANN401 - any of remember's parameters
    return memory.remember("home", key, {"content": f"Anna lives in {key}"}, **fields).id


def supersede(memory: Memory, old: str, new: str, **more: Any) -> Any:  # noqa: ANN401 - as above
    return memory.supersede("home", old, "home", new, **more)


def test_the_old_fact_is_deprecated_closed_and_linked_from_the_new_one(memory: Memory, clock: FixedClock) -> None:
    old, new = remember(memory, "Berlin"), remember(memory, "Lisbon")
    clock.advance(10)
    answer = supersede(memory, "Berlin", "Lisbon", reason="she moved")
    assert (answer.from_entity_id, answer.from_entity_category, answer.from_entity_key) == (old, "home", "Berlin")
    assert (answer.to_entity_id, answer.to_entity_category, answer.to_entity_key) == (new, "home", "Lisbon")
    assert (answer.relationship, answer.status_updated) == ("supersedes", "deprecated")
    assert answer.from_valid_to_unix_ms == START_MS + 10
    before = stored(memory, "Berlin")
    assert (before.status, before.archive_reason, before.valid_to_unix_ms) == (
        "deprecated",
        "she moved",
        START_MS + 10,
    )
    assert before.last_accessed_unix_ms == stored(memory, "Lisbon").last_accessed_unix_ms == START_MS + 10
    (link,) = stored(memory, "Lisbon").links
    assert (link.target_id, link.relationship) == (old, "supersedes")
    assert before.links == ()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", ["Anna lives", "Berlin", ""])
def test_a_superseded_fact_leaves_default_recall_and_comes_back_when_asked_for(
    memory: Memory, clock: FixedClock, mode: str, query: str
) -> None:
    remember(memory, "Berlin")
    remember(memory, "Lisbon")
    clock.advance(10)
    supersede(memory, "Berlin", "Lisbon")
    assert "Berlin" not in keys(memory.recall(query, mode=mode))
    again = memory.recall(query, mode=mode, include_archived=True)
    assert [hit.status for hit in again.items if hit.key == "Berlin"] == ["deprecated"]


def test_validity_closes_before_the_status_flips_each_as_a_version(memory: Memory, clock: FixedClock) -> None:
    remember(memory, "Berlin")
    new = remember(memory, "Lisbon")
    clock.advance(10)
    supersede(memory, "Berlin", "Lisbon")
    closed, first = memory.history("home", "Berlin").versions
    assert (first.status, first.valid_to_unix_ms) == ("active", None)
    assert (closed.status, closed.valid_to_unix_ms) == ("active", START_MS + 10)
    assert first.invalidated_at_unix_ms == closed.recorded_at_unix_ms == START_MS + 10
    assert closed.invalidated_at_unix_ms == stored(memory, "Berlin").recorded_at_unix_ms == START_MS + 11
    assert {first.superseded_by, closed.superseded_by} == {new}


def test_as_of_tells_what_was_believed_before_during_and_after(memory: Memory, clock: FixedClock) -> None:
    remember(memory, "Berlin")
    remember(memory, "Lisbon")
    clock.advance(10)
    supersede(memory, "Berlin", "Lisbon")

    def berlin(as_of: int, valid_at: int | None = None) -> tuple[object, object] | None:
        answer = memory.as_of("home", "Berlin", as_of, valid_at_unix_ms=valid_at)
        return (answer.status, answer.valid_to_unix_ms) if answer.found else None

    end = START_MS + 10
    assert berlin(START_MS - 1) is None
    assert berlin(START_MS) == berlin(end - 1) == ("active", None)
    assert berlin(end) == ("active", end)
    assert berlin(end + 1) == berlin(end + 1_000) == ("deprecated", end)
    # What was believed before is not touched: then it was to hold for ever.
    assert berlin(end - 1, end + 500) == ("active", None)
    # What is believed now: it held until the end and not after.
    assert berlin(end + 1, end - 1) == ("deprecated", end)
    assert berlin(end + 1, end) is None
    assert berlin(end, end) is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", ["Anna lives", ""])
def test_recall_at_an_instant_finds_the_fact_that_held_then(
    memory: Memory, clock: FixedClock, mode: str, query: str
) -> None:
    remember(memory, "Berlin", valid_from_unix_ms=1_000)
    remember(memory, "Lisbon", valid_from_unix_ms=2_000)
    clock.advance(10)
    supersede(memory, "Berlin", "Lisbon")

    def at(**instants: int) -> list[str]:
        answer = memory.recall(query, mode=mode, include_archived=True, **instants)  # type: ignore[arg-type]  # instants
        return keys(answer)

    assert at(valid_at_unix_ms=999) == []
    assert at(valid_at_unix_ms=1_500) == ["Berlin"]
    assert at(valid_at_unix_ms=2_000) == ["Lisbon"]
    assert at(as_of_unix_ms=START_MS) == ["Berlin", "Lisbon"]
    assert at(as_of_unix_ms=START_MS + 20) == ["Berlin", "Lisbon"]
    assert keys(memory.recall(query, mode=mode, as_of_unix_ms=START_MS + 20)) == ["Lisbon"]
    assert at(as_of_unix_ms=START_MS, valid_at_unix_ms=5_000) == ["Berlin", "Lisbon"]
    assert at(as_of_unix_ms=START_MS + 20, valid_at_unix_ms=5_000) == ["Lisbon"]
    assert at(as_of_unix_ms=START_MS + 20, valid_at_unix_ms=1_500) == ["Berlin"]


def test_the_old_fact_ends_when_the_new_one_begins(memory: Memory) -> None:
    remember(memory, "Berlin", valid_from_unix_ms=1_000)
    remember(memory, "Lisbon", valid_from_unix_ms=2_000)
    assert supersede(memory, "Berlin", "Lisbon").from_valid_to_unix_ms == 2_000


def test_the_caller_can_say_when_the_old_fact_ended(memory: Memory) -> None:
    remember(memory, "Berlin")
    remember(memory, "Lisbon", valid_from_unix_ms=2_000)
    assert supersede(memory, "Berlin", "Lisbon", valid_to_unix_ms=1_500).from_valid_to_unix_ms == 1_500


def test_an_end_that_lies_earlier_is_kept(memory: Memory) -> None:
    remember(memory, "Berlin", valid_to_unix_ms=500)
    remember(memory, "Lisbon")
    assert supersede(memory, "Berlin", "Lisbon", valid_to_unix_ms=800).from_valid_to_unix_ms == 500
    assert memory.history("home", "Berlin").total == 1


def test_an_end_that_lies_later_is_brought_forward(memory: Memory) -> None:
    remember(memory, "Berlin", valid_to_unix_ms=START_MS + 1_000)
    remember(memory, "Lisbon")
    assert supersede(memory, "Berlin", "Lisbon").from_valid_to_unix_ms == START_MS


def test_a_fact_that_arrives_late_never_ends_before_it_begins(memory: Memory) -> None:
    remember(memory, "Lisbon", valid_from_unix_ms=1_000)
    remember(memory, "Berlin", valid_from_unix_ms=3_000)
    assert supersede(memory, "Berlin", "Lisbon").from_valid_to_unix_ms == 3_001
    remember(memory, "Rome", valid_from_unix_ms=3_000)
    with pytest.raises(InvalidInput, match="valid_to"):
        supersede(memory, "Rome", "Lisbon", valid_to_unix_ms=2_000)
    assert stored(memory, "Rome").status == "active"
    assert memory.history("home", "Rome").total == 0


def test_an_earlier_period_of_the_same_key_goes_on_to_hold(memory: Memory, clock: FixedClock) -> None:
    memory.remember("home", "Anna", {"content": "Bonn"}, valid_from_unix_ms=100, valid_to_unix_ms=200)
    clock.advance()
    memory.remember("home", "Anna", {"content": "Berlin"}, valid_from_unix_ms=200)
    remember(memory, "Lisbon", valid_from_unix_ms=300)
    clock.advance()
    memory.supersede("home", "Anna", "home", "Lisbon")

    def said(valid_at: int) -> object:
        answer = memory.as_of("home", "Anna", START_MS + 100, valid_at_unix_ms=valid_at)
        return json.loads(str(answer.body_json))["content"] if answer.found else None

    assert (said(150), said(250), said(350)) == ("Bonn", "Berlin", None)


def test_everything_within_one_millisecond_stays_in_order(memory: Memory) -> None:
    for city in ("Berlin", "Lisbon", "Rome"):
        remember(memory, city)
    supersede(memory, "Berlin", "Lisbon")
    supersede(memory, "Lisbon", "Rome")
    for city in ("Berlin", "Lisbon"):
        times = [version.recorded_at_unix_ms for version in reversed(memory.history("home", city).versions)]
        times.append(stored(memory, city).recorded_at_unix_ms)
        assert times == sorted(set(times))
        assert len(times) == 3


def test_superseding_the_same_fact_again_changes_no_version(memory: Memory, clock: FixedClock) -> None:
    remember(memory, "Berlin")
    remember(memory, "Lisbon")
    first = supersede(memory, "Berlin", "Lisbon", reason="moved")
    clock.advance(10)
    again = supersede(memory, "Berlin", "Lisbon")
    assert again == first
    assert memory.history("home", "Berlin").total == 2
    assert stored(memory, "Berlin").archive_reason == "moved"
    assert len(stored(memory, "Lisbon").links) == 1


def test_a_chain_of_three_leaves_the_last_one(memory: Memory, clock: FixedClock) -> None:
    for city in ("Berlin", "Lisbon", "Rome"):
        remember(memory, city)
    clock.advance()
    supersede(memory, "Berlin", "Lisbon")
    clock.advance()
    supersede(memory, "Lisbon", "Rome")
    assert keys(memory.recall("Anna lives")) == ["Rome"]
    reached = memory.traverse("home", "Rome", max_depth=5)
    assert {node.key for node in reached.traversed} >= {"Lisbon", "Berlin"}


def test_a_circle_is_refused_and_leaves_everything_as_it_was(memory: Memory) -> None:
    for city in ("Berlin", "Lisbon", "Rome"):
        remember(memory, city)
    supersede(memory, "Berlin", "Lisbon")
    supersede(memory, "Lisbon", "Rome")
    before = [stored(memory, city) for city in ("Berlin", "Lisbon", "Rome")]
    for old, new in (("Lisbon", "Berlin"), ("Rome", "Berlin"), ("Rome", "Lisbon")):
        with pytest.raises(Conflict, match="itself superseded"):
            supersede(memory, old, new)
    assert [stored(memory, city) for city in ("Berlin", "Lisbon", "Rome")] == before


def test_going_back_to_a_former_fact_is_possible_once_it_is_active_again(memory: Memory, clock: FixedClock) -> None:
    remember(memory, "Berlin")
    remember(memory, "Lisbon")
    supersede(memory, "Berlin", "Lisbon")
    clock.advance(10)
    memory.remember("home", "Berlin", {"content": "Anna lives in Berlin again"}, status="active")
    supersede(memory, "Lisbon", "Berlin")
    assert keys(memory.recall("Anna lives")) == ["Berlin"]


def test_archived_facts_can_supersede_and_be_superseded(memory: Memory) -> None:
    remember(memory, "Berlin")
    remember(memory, "Lisbon")
    memory.forget("home", "Berlin")
    memory.forget("home", "Lisbon")
    assert supersede(memory, "Berlin", "Lisbon").status_updated == "deprecated"
    assert stored(memory, "Berlin").archived


def test_the_link_bears_the_name_that_is_asked_for(memory: Memory) -> None:
    remember(memory, "Berlin")
    remember(memory, "Lisbon")
    assert supersede(memory, "Berlin", "Lisbon", relationship="replaces").relationship == "replaces"
    assert [link.relationship for link in stored(memory, "Lisbon").links] == ["replaces"]


def test_missing_facts_are_named(memory: Memory) -> None:
    remember(memory, "Berlin")
    with pytest.raises(NotFound, match="'From' entity not found: home/Rome"):
        supersede(memory, "Rome", "Berlin")
    with pytest.raises(NotFound, match="'To' entity not found: home/Rome"):
        supersede(memory, "Berlin", "Rome")
    assert stored(memory, "Berlin").status == "active"


def test_a_fact_cannot_supersede_itself(memory: Memory) -> None:
    remember(memory, "Berlin")
    with pytest.raises(InvalidInput, match="itself"):
        supersede(memory, "Berlin", "Berlin")
    assert stored(memory, "Berlin").links == ()


def test_facts_are_looked_for_in_the_named_workspace(memory: Memory) -> None:
    for workspace in ("a", "b"):
        remember(memory, "Berlin", workspace_hash=workspace)
        remember(memory, "Lisbon", workspace_hash=workspace)
    with pytest.raises(Conflict):
        supersede(memory, "Berlin", "Lisbon")
    supersede(memory, "Berlin", "Lisbon", workspace_hash="b")
    statuses = {one.entity.workspace_hash: one.entity.status for one in memory.store.find("home", "Berlin", None)}
    assert statuses == {"a": "active", "b": "deprecated"}


def test_private_facts_of_another_agent_are_out_of_reach(open_memory: OpenMemory) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    remember(mine, "Berlin", visibility="private")
    remember(mine, "Lisbon")
    with pytest.raises(NotFound):
        supersede(theirs, "Berlin", "Lisbon")
    with pytest.raises(NotFound):
        supersede(theirs, "Lisbon", "Berlin")


@given(
    moves=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"), st.integers(0, 3)), max_size=8),
    starts=st.fixed_dictionaries({key: st.none() | st.integers(1, 5) for key in "abcd"}),
)
def test_whatever_the_order_versions_increase_and_no_period_is_empty(
    memory: Memory, clock: FixedClock, moves: list[tuple[str, str, int]], starts: dict[str, int | None]
) -> None:
    category = f"home-{clock.new_id('', 6)}"
    for key, start in starts.items():
        memory.remember(category, key, {"content": key}, valid_from_unix_ms=start)
    for old, new, pause in moves:
        clock.advance(pause)
        try:
            memory.supersede(category, old, category, new)
        except (InvalidInput, Conflict):
            continue
    for key in starts:
        (found,) = memory.store.find(category, key, "")
        versions = memory.history(category, key).versions
        times = [version.recorded_at_unix_ms for version in reversed(versions)] + [found.entity.recorded_at_unix_ms]
        assert times == sorted(set(times))
        start, end = found.entity.valid_from_unix_ms, found.entity.valid_to_unix_ms
        assert start is None or end is None or start < end
        assert (found.entity.status == "deprecated") == (end is not None)


def test_a_superseded_fact_that_is_said_again_is_believed_again(memory: Memory, clock: FixedClock) -> None:
    memory.remember("fact", "old", {"content": "the port is 1"})
    memory.remember("fact", "new", {"content": "the port is 2"})
    clock.advance(5)
    memory.supersede("fact", "old", "fact", "new")
    clock.advance(5)
    memory.remember("fact", "old", {"content": "the port is 1"})
    (hit,) = (item for item in memory.recall("port").items if item.key == "old")
    assert (hit.status, hit.valid_to_unix_ms) == ("active", None)


def test_a_superseded_fact_is_found_for_the_time_at_which_it_held(memory: Memory, clock: FixedClock) -> None:
    memory.remember("fact", "old", {"content": "the port is 1"})
    memory.remember("fact", "new", {"content": "the port is 2"}, valid_from_unix_ms=clock.now_ms() + 100)
    memory.supersede("fact", "old", "fact", "new")
    held = memory.recall("port", valid_at_unix_ms=clock.now_ms() + 50)
    assert [(item.key, item.status) for item in held.items] == [("old", "deprecated")]
    assert [item.key for item in memory.recall("port", valid_at_unix_ms=clock.now_ms() + 150).items] == ["new"]

"""The two axes of time: history, as_of, forget, and recall at another instant."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir import Conflict, InvalidInput, Memory, NotFound
from mimir.model import Recalled
from mimir.operations.entities import AsOf
from tests.conftest import OpenMemory
from tests.doubles import START_MS, FixedClock


def content(body_json: object) -> object:
    assert isinstance(body_json, str)
    return json.loads(body_json)["content"]


def said(answer: AsOf) -> object:
    """Return the content of an as_of answer, or None when nothing was found."""
    return content(answer.body_json) if answer.found else None


def contents(answer: Recalled) -> list[object]:
    return [content(hit.body_json) for hit in answer.items]


# --- history


def test_a_change_of_text_leaves_the_old_text_in_history(memory: Memory, clock: FixedClock) -> None:
    entity_id = memory.remember("c", "k", {"content": "one"}, tags=["first"]).id
    clock.advance(10)
    memory.remember("c", "k", {"content": "two"}, tags=["second"])
    (version,) = memory.history("c", "k").versions
    assert content(version.body_json) == "one"
    assert version.tags == ("first",)
    assert version.id == version.superseded_by == entity_id
    assert version.version_id.startswith("hist-")
    assert len(version.version_id) == len("hist-") + 16
    assert (version.recorded_at_unix_ms, version.invalidated_at_unix_ms) == (START_MS, START_MS + 10)


@pytest.mark.parametrize(
    ("field", "value"), [("status", "deprecated"), ("valid_from_unix_ms", 5), ("valid_to_unix_ms", 1 << 50)]
)
def test_a_change_of_status_or_validity_leaves_a_version(memory: Memory, field: str, value: object) -> None:
    memory.remember("c", "k", {"content": "one"})
    memory.remember("c", "k", {"content": "one"}, **{field: value})  # type: ignore[arg-type]  # one of three fields
    (version,) = memory.history("c", "k").versions
    assert getattr(version, field) in ("active", None)


@pytest.mark.parametrize(
    ("field", "value"), [("tags", ["x"]), ("certainty", 0.9), ("always_on", True), ("type", "note")]
)
def test_the_same_text_with_other_marks_leaves_no_version(memory: Memory, field: str, value: object) -> None:
    memory.remember("c", "k", {"content": "one"})
    memory.remember("c", "k", {"content": "one"}, **{field: value})  # type: ignore[arg-type]  # one of four fields
    assert memory.history("c", "k").total == 0


def test_versions_written_within_one_millisecond_are_all_reachable(memory: Memory) -> None:
    for number in range(6):
        memory.remember("c", "k", {"content": number})
    trail = memory.history("c", "k").versions
    assert [content(version.body_json) for version in trail] == [4, 3, 2, 1, 0]
    assert all(version.recorded_at_unix_ms < version.invalidated_at_unix_ms for version in trail)
    for version in trail:
        answer = memory.as_of("c", "k", version.recorded_at_unix_ms)
        assert said(answer) == content(version.body_json)
    entity_id = memory.as_of("c", "k", 1 << 60).id
    assert isinstance(entity_id, str)
    assert memory.get_entity(entity_id).recorded_at_unix_ms == trail[0].invalidated_at_unix_ms


def test_versions_stay_in_order_when_the_clock_is_set_back(memory: Memory, clock: FixedClock) -> None:
    for number in range(4):
        memory.remember("c", "k", {"content": number})
        clock.advance(-1_000)
    trail = memory.history("c", "k").versions
    assert [content(version.body_json) for version in trail] == [2, 1, 0]
    assert all(version.recorded_at_unix_ms < version.invalidated_at_unix_ms for version in trail)


def test_the_intervals_of_a_history_join_without_gap_or_overlap(memory: Memory, clock: FixedClock) -> None:
    for number in range(6):
        memory.remember("c", "k", {"content": number})
        clock.advance(number % 3)
    trail = memory.history("c", "k").versions
    for newer, older in itertools.pairwise(trail):
        assert older.invalidated_at_unix_ms == newer.recorded_at_unix_ms


def test_a_history_is_read_in_pages(memory: Memory) -> None:
    for number in range(8):
        memory.remember("c", "k", {"content": number})
    first, second = memory.history("c", "k", limit=3), memory.history("c", "k", limit=3, offset=3)
    assert [content(version.body_json) for version in first.versions + second.versions] == [6, 5, 4, 3, 2, 1]
    assert (first.total, first.returned, first.limit, first.offset) == (7, 3, 3, 0)
    assert (second.total, second.returned, second.limit, second.offset) == (7, 3, 3, 3)
    assert memory.history("c", "k", limit=0).versions == ()
    assert memory.history("c", "k", offset=7).returned == 0


def test_a_history_shows_twenty_versions_unless_told(memory: Memory) -> None:
    for number in range(25):
        memory.remember("c", "k", {"content": number})
    trail = memory.history("c", "k")
    assert (trail.returned, trail.total) == (20, 24)


def test_an_unknown_key_has_an_empty_history(memory: Memory) -> None:
    trail = memory.history("c", "unknown")
    assert (trail.versions, trail.total, trail.returned) == ((), 0, 0)


def test_items_of_a_history_lift_their_body(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "one", "superseded_by": "forged", "id": "forged"})
    memory.remember("c", "k", {"content": "two"})
    wire = memory.history("c", "k").wire()["versions"][0]
    assert wire["content"] == "one"
    assert wire["superseded_by"] == wire["id"] != "forged"


# --- as_of


def test_as_of_answers_with_half_open_intervals(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "k", {"content": "one"})
    clock.advance(100)
    memory.remember("c", "k", {"content": "two"})
    assert said(memory.as_of("c", "k", START_MS - 1)) is None
    assert said(memory.as_of("c", "k", START_MS)) == "one"
    assert said(memory.as_of("c", "k", START_MS + 99)) == "one"
    assert said(memory.as_of("c", "k", START_MS + 100)) == "two"
    assert said(memory.as_of("c", "k", 1 << 60)) == "two"
    assert memory.as_of("c", "k", START_MS).invalidated_at_unix_ms == START_MS + 100
    assert memory.as_of("c", "k", 1 << 60).invalidated_at_unix_ms is None


@pytest.mark.parametrize("instant", [0, -1, -(1 << 62), 1 << 62])
def test_as_of_of_an_unknown_key_is_not_found_and_echoes(memory: Memory, instant: int) -> None:
    answer = memory.as_of("c", "unknown", instant)
    assert answer.found is False
    assert (answer.category, answer.key, answer.as_of_unix_ms) == ("c", "unknown", instant)


def test_a_status_can_be_seen_in_the_past(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "k", {"content": "one"})
    clock.advance(10)
    memory.remember("c", "k", {"content": "one"}, status="deprecated")
    assert memory.as_of("c", "k", START_MS + 9).status == "active"
    assert memory.as_of("c", "k", START_MS + 10).status == "deprecated"


def test_a_forgotten_memory_answers_marked_from_when_it_was_forgotten(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "k", {"content": "one"})
    clock.advance(10)
    memory.forget("c", "k")
    assert memory.as_of("c", "k", START_MS + 9).archived is False
    assert memory.as_of("c", "k", START_MS + 10).archived is True


@pytest.mark.parametrize("revived_with", ["one", "two"], ids=["same text", "new text"])
def test_the_past_of_a_revived_memory_is_still_marked_as_forgotten(
    memory: Memory, clock: FixedClock, revived_with: str
) -> None:
    memory.remember("c", "k", {"content": "one"})
    clock.advance(10)
    memory.forget("c", "k")
    clock.advance(10)
    memory.remember("c", "k", {"content": revived_with})
    assert memory.as_of("c", "k", START_MS + 9).archived is False
    assert memory.as_of("c", "k", START_MS + 15).archived is True
    assert memory.as_of("c", "k", START_MS + 20).archived is False


# --- validity


def test_successive_periods_stand_beside_each_other(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "office", {"content": "Berlin"}, valid_from_unix_ms=100, valid_to_unix_ms=200)
    clock.advance()
    memory.remember("c", "office", {"content": "Paris"}, valid_from_unix_ms=200, valid_to_unix_ms=300)
    clock.advance()
    memory.remember("c", "office", {"content": "Rome"}, valid_from_unix_ms=300)
    answers = {
        at: said(memory.as_of("c", "office", clock.now_ms(), valid_at_unix_ms=at))
        for at in (99, 100, 199, 200, 299, 300, 10**12)
    }
    assert answers == {
        99: None,
        100: "Berlin",
        199: "Berlin",
        200: "Paris",
        299: "Paris",
        300: "Rome",
        10**12: "Rome",
    }


def test_what_was_not_yet_recorded_was_not_believed(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "office", {"content": "Berlin"}, valid_from_unix_ms=100, valid_to_unix_ms=200)
    clock.advance()
    memory.remember("c", "office", {"content": "Paris"}, valid_from_unix_ms=200)
    assert said(memory.as_of("c", "office", START_MS, valid_at_unix_ms=250)) is None
    assert said(memory.as_of("c", "office", START_MS + 1, valid_at_unix_ms=250)) == "Paris"


def test_an_amended_text_replaces_what_was_said(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "office", {"content": "Berlln"}, valid_from_unix_ms=100, valid_to_unix_ms=200)
    clock.advance()
    memory.remember("c", "office", {"content": "Berlin"})
    assert said(memory.as_of("c", "office", START_MS + 1, valid_at_unix_ms=150)) == "Berlin"
    assert said(memory.as_of("c", "office", START_MS, valid_at_unix_ms=150)) == "Berlln"


def test_a_period_put_right_replaces_the_wrong_one(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "office", {"content": "Berlin"}, valid_from_unix_ms=100)
    clock.advance()
    memory.remember("c", "office", {"content": "Berlin"}, valid_from_unix_ms=100, valid_to_unix_ms=150)
    assert said(memory.as_of("c", "office", START_MS + 1, valid_at_unix_ms=160)) is None
    assert said(memory.as_of("c", "office", START_MS, valid_at_unix_ms=160)) == "Berlin"


def test_a_changed_text_does_not_inherit_the_period_of_the_former(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {"content": "one"}, valid_from_unix_ms=100, valid_to_unix_ms=200).id
    memory.remember("c", "k", {"content": "two"})
    entity = memory.get_entity(entity_id)
    assert (entity.valid_from_unix_ms, entity.valid_to_unix_ms) == (None, None)


def test_the_same_text_keeps_its_period(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {"content": "one"}, valid_from_unix_ms=100, valid_to_unix_ms=200).id
    memory.remember("c", "k", {"content": "one"}, tags=["x"])
    entity = memory.get_entity(entity_id)
    assert (entity.valid_from_unix_ms, entity.valid_to_unix_ms) == (100, 200)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.none() | st.integers(0, 10),
        st.none() | st.integers(0, 10),
    ),
    min_size=1,
    max_size=6,
)


@given(steps=STEPS)
def test_as_of_agrees_with_a_replay_of_what_was_said(memory: Memory, clock: FixedClock, steps: Any) -> None:  # noqa: ANN401
    """Without a valid_at, what was believed at each instant is simply the last thing said by then."""
    key = f"k{clock.now_ms()}"
    spoken: list[tuple[int, str]] = []
    for text, start, end in steps:
        if start is not None and end is not None and end <= start:
            continue
        now = clock.advance(5)
        try:
            memory.remember("replay", key, {"content": text}, valid_from_unix_ms=start, valid_to_unix_ms=end)
        except InvalidInput:
            continue
        spoken.append((now, text))
    for instant in range(START_MS, clock.advance(5), 5):
        before = [text for at, text in spoken if at <= instant]
        assert said(memory.as_of("replay", key, instant)) == (before[-1] if before else None)


# --- forget


def test_a_forgotten_memory_leaves_recall_and_stays_by_id(memory: Memory, clock: FixedClock) -> None:
    entity_id = memory.remember("c", "k", {"content": "zebra"}).id
    clock.advance(7)
    answer = memory.forget("c", "k", "no longer true")
    assert (answer.found, answer.archived, answer.category, answer.key) == (True, True, "c", "k")
    for mode in ("fts5", "dense", "hybrid", ""):
        assert memory.recall("zebra", mode=mode).items == ()
    assert memory.recall("").items == ()
    entity = memory.get_entity(entity_id)
    assert (entity.archived, entity.archive_reason) == (True, "no longer true")
    assert entity.last_accessed_unix_ms == START_MS + 7


def test_forget_without_a_reason_says_manual(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {}).id
    memory.forget("c", "k", "")
    assert memory.get_entity(entity_id).archive_reason == "manual"


def test_forget_keeps_the_entity_in_history(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "one"})
    memory.remember("c", "k", {"content": "two"})
    memory.forget("c", "k")
    assert [content(version.body_json) for version in memory.history("c", "k").versions] == ["one"]


def test_forgetting_twice_or_the_unknown_finds_nothing(memory: Memory) -> None:
    memory.remember("c", "k", {})
    assert memory.forget("c", "k").found is True
    entity_reason = memory.as_of("c", "k", 1 << 60)
    assert memory.forget("c", "k", "again").found is False
    assert memory.forget("c", "unknown").found is False
    assert isinstance(entity_reason.id, str)
    assert memory.get_entity(entity_reason.id).archive_reason == "manual"


@pytest.mark.parametrize("text", ["zebra", "walrus"], ids=["same text", "new text"])
def test_a_forgotten_memory_returns_to_every_arm_when_remembered(memory: Memory, clock: FixedClock, text: str) -> None:
    first = memory.remember("c", "k", {"content": "zebra"}, tags=["kept"])
    memory.forget("c", "k")
    clock.advance()
    second = memory.remember("c", "k", {"content": text})
    assert (second.id, second.action) == (first.id, "updated")
    for mode in ("fts5", "dense", "hybrid"):
        (hit,) = memory.recall(text, mode=mode, reinforce=False).items
        assert (hit.key, hit.archived, hit.archive_reason, hit.tags) == ("k", False, "", ("kept",))
    assert [hit.key for hit in memory.recall("", reinforce=False).items] == ["k"]
    if text == "walrus":
        assert memory.recall("zebra", mode="fts5").items == ()


# --- one key in several workspaces


def test_without_a_workspace_the_global_memory_is_meant(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "global"})
    memory.remember("c", "k", {"content": "a"}, workspace_hash="a")
    assert said(memory.as_of("c", "k", 1 << 60)) == "global"
    assert memory.forget("c", "k").found is True
    assert [hit.workspace_hash for hit in memory.recall("").items] == ["a"]


def test_without_a_workspace_the_only_memory_is_meant(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "a"}, workspace_hash="a")
    memory.remember("c", "k", {"content": "b"}, workspace_hash="a")
    assert said(memory.as_of("c", "k", 1 << 60)) == "b"
    assert memory.history("c", "k").total == 1
    assert memory.forget("c", "k").found is True


def test_a_key_in_several_workspaces_is_a_conflict_that_names_them(memory: Memory) -> None:
    for workspace in ("alpha", "beta"):
        memory.remember("c", "k", {"content": workspace}, workspace_hash=workspace)
    for call in (
        lambda: memory.as_of("c", "k", 1 << 60),
        lambda: memory.history("c", "k"),
        lambda: memory.forget("c", "k"),
        lambda: memory.embed(category="c", key="k"),
    ):
        with pytest.raises(Conflict, match=r"alpha.*beta") as raised:
            call()
        assert "workspace_hash" in raised.value.hint
    assert said(memory.as_of("c", "k", 1 << 60, workspace_hash="beta")) == "beta"
    assert memory.history("c", "k", workspace_hash="alpha").total == 0
    assert memory.forget("c", "k", workspace_hash="alpha").found is True
    assert [hit.workspace_hash for hit in memory.recall("").items] == ["beta"]


def test_an_empty_workspace_is_the_global_one_and_nothing_else(memory: Memory) -> None:
    memory.remember("c", "k", {}, workspace_hash="a")
    assert memory.as_of("c", "k", 1 << 60, workspace_hash="").found is False
    assert memory.forget("c", "k", workspace_hash="").found is False


def test_forget_passes_over_what_is_forgotten_already(memory: Memory) -> None:
    memory.remember("c", "k", {}, workspace_hash="a")
    memory.remember("c", "k", {}, workspace_hash="b")
    memory.forget("c", "k", workspace_hash="a")
    assert memory.forget("c", "k").found is True
    assert memory.recall("").items == ()


# --- by id


def test_an_unknown_id_is_not_found(memory: Memory) -> None:
    with pytest.raises(NotFound, match="mem-none") as raised:
        memory.get_entity("mem-none")
    assert raised.value.hint


def test_get_entity_leaves_no_trace(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {}).id
    before = memory.get_entity(entity_id)
    memory.flush_uses()
    assert memory.get_entity(entity_id) == before


# --- recall at another instant


@pytest.fixture
def past(memory: Memory, clock: FixedClock) -> Memory:
    """Return a memory in which one key went from ten to eleven o'clock, and another was forgotten."""
    memory.remember("plan", "standup", {"content": "standup meeting at ten"}, type="note", topic_path="/old")
    memory.remember("plan", "retro", {"content": "retro meeting on friday"})
    clock.advance(100)
    memory.remember("plan", "standup", {"content": "standup meeting at eleven"}, type="rule", topic_path="/new")
    memory.forget("plan", "retro")
    clock.advance(100)
    memory.remember("plan", "demo", {"content": "demo meeting monthly"})
    clock.advance(100)
    return memory


MODES = ["fts5", "dense", "hybrid"]


@pytest.mark.parametrize("query", ["meeting", "standup meeting", ""])
@pytest.mark.parametrize("mode", MODES)
def test_recall_answers_as_the_store_stood(past: Memory, mode: str, query: str) -> None:
    def at(instant: int) -> set[object]:
        return set(contents(past.recall(query, mode=mode, as_of_unix_ms=instant)))

    assert at(START_MS - 1) == set()
    assert at(START_MS) == {"standup meeting at ten", "retro meeting on friday"}
    assert at(START_MS + 100) == {"standup meeting at eleven"}
    assert at(START_MS + 200) == {"standup meeting at eleven", "demo meeting monthly"}


@pytest.mark.parametrize("mode", MODES)
def test_a_past_hit_names_its_version_and_its_evidence(past: Memory, mode: str) -> None:
    hits = past.recall("standup meeting at ten", mode=mode, as_of_unix_ms=START_MS).items
    hit = next(hit for hit in hits if hit.key == "standup")
    assert hit.evidence == "standup meeting at ten"
    assert hit.invalidated_at_unix_ms == START_MS + 100
    assert isinstance(hit.version_id, str)


@pytest.mark.parametrize("query", ["meeting", ""])
@pytest.mark.parametrize("mode", MODES)
def test_filters_look_at_what_was_then(past: Memory, mode: str, query: str) -> None:
    def at(instant: int, **filters: str) -> list[object]:
        return contents(past.recall(query, mode=mode, as_of_unix_ms=instant, **filters))  # type: ignore[arg-type]  # filters

    assert at(START_MS, type="note") == ["standup meeting at ten"]
    assert at(START_MS, type="rule") == []
    assert at(START_MS + 150, type="rule") == ["standup meeting at eleven"]
    assert at(START_MS + 150, type="note") == []
    assert at(START_MS, topic_path="/old") == ["standup meeting at ten"]
    assert at(START_MS, topic_path="/new") == []


@pytest.mark.parametrize("query", ["standup", "standup meeting at ten"])
@pytest.mark.parametrize("mode", MODES)
def test_an_exact_key_comes_first_in_the_past_too(past: Memory, mode: str, query: str) -> None:
    answer = past.recall(query, mode=mode, as_of_unix_ms=START_MS)
    assert answer.items[0].key == "standup"


@pytest.mark.parametrize("query", ["meeting", ""])
@pytest.mark.parametrize("limit", [0, 1, 2])
def test_a_limit_holds_in_the_past_too(past: Memory, query: str, limit: int) -> None:
    assert len(past.recall(query, limit=limit, as_of_unix_ms=START_MS).items) == limit


@pytest.mark.parametrize("query", ["meeting", ""])
@pytest.mark.parametrize("mode", MODES)
def test_what_was_retired_then_stays_out_unless_asked_for(
    memory: Memory, clock: FixedClock, mode: str, query: str
) -> None:
    memory.remember("c", "k", {"content": "meeting one"})
    clock.advance(10)
    memory.remember("c", "k", {"content": "meeting one"}, status="deprecated")
    clock.advance(10)
    memory.remember("c", "k", {"content": "meeting two"}, status="active")
    assert contents(memory.recall(query, mode=mode, as_of_unix_ms=START_MS + 5)) == ["meeting one"]
    assert contents(memory.recall(query, mode=mode, as_of_unix_ms=START_MS + 15)) == []
    asked = memory.recall(query, mode=mode, as_of_unix_ms=START_MS + 15, include_archived=True)
    assert [hit.status for hit in asked.items] == ["deprecated"]


@pytest.mark.parametrize("query", ["meeting", ""])
@pytest.mark.parametrize("mode", MODES)
def test_what_was_active_then_is_found_though_retired_now(
    memory: Memory, clock: FixedClock, mode: str, query: str
) -> None:
    memory.remember("c", "k", {"content": "meeting one"})
    clock.advance(10)
    memory.remember("c", "k", {"content": "meeting one"}, status="deprecated")
    assert contents(memory.recall(query, mode=mode, as_of_unix_ms=START_MS)) == ["meeting one"]


@pytest.mark.parametrize("query", ["office", ""])
@pytest.mark.parametrize("mode", MODES)
def test_recall_finds_the_fact_that_held_at_an_instant(
    memory: Memory, clock: FixedClock, mode: str, query: str
) -> None:
    now = clock.now_ms()
    memory.remember("c", "o", {"content": "office in Berlin"}, valid_from_unix_ms=100, valid_to_unix_ms=200)
    clock.advance()
    memory.remember("c", "o", {"content": "office in Paris"}, valid_from_unix_ms=200, valid_to_unix_ms=300)

    def at(**instants: int) -> list[object]:
        return contents(memory.recall(query, mode=mode, **instants))  # type: ignore[arg-type]  # instants

    assert at(valid_at_unix_ms=150) == ["office in Berlin"]
    assert at(valid_at_unix_ms=250) == ["office in Paris"]
    assert at(valid_at_unix_ms=350) == []
    assert at(valid_at_unix_ms=250, as_of_unix_ms=now) == []
    assert at() == []


@pytest.mark.parametrize("query", ["office", ""])
@pytest.mark.parametrize("mode", MODES)
def test_facts_of_the_future_and_the_past_stay_out_of_default_recall(
    memory: Memory, clock: FixedClock, mode: str, query: str
) -> None:
    now = clock.now_ms()
    memory.remember("c", "gone", {"content": "office gone"}, valid_to_unix_ms=now)
    memory.remember("c", "soon", {"content": "office soon"}, valid_from_unix_ms=now + 10)
    memory.remember("c", "now", {"content": "office now"}, valid_from_unix_ms=now, valid_to_unix_ms=now + 5)
    found = memory.recall(query, mode=mode, reinforce=False)
    assert contents(found) == ["office now"]
    everything = memory.recall(query, mode=mode, include_archived=True, reinforce=False)
    assert {hit.key for hit in everything.items} == {"gone", "soon", "now"}
    clock.advance(10)
    assert contents(memory.recall(query, mode=mode, reinforce=False)) == ["office soon"]


def test_looking_into_the_past_leaves_no_trace(past: Memory) -> None:
    past.recall("meeting", as_of_unix_ms=START_MS + 200)
    past.recall("", as_of_unix_ms=START_MS + 200)
    past.flush_uses()
    assert {hit.retrieval_count for hit in past.recall("demo", reinforce=False).items if hit.key == "demo"} == {0}


def test_the_present_as_an_instant_gives_what_recall_gives(past: Memory, clock: FixedClock) -> None:
    now = clock.now_ms()
    for mode in MODES:
        present = past.recall("meeting", mode=mode, reinforce=False)
        asked = past.recall("meeting", mode=mode, as_of_unix_ms=now)
        assert {hit.key for hit in present.items} == {hit.key for hit in asked.items}
        assert [hit.key for hit in present.items] == [hit.key for hit in asked.items]


def test_private_versions_stay_private(open_memory: OpenMemory, clock: FixedClock) -> None:
    mine = open_memory(agent_id="me")
    mine.remember("c", "k", {"content": "secret plan"}, visibility="private")
    clock.advance(10)
    mine.remember("c", "k", {"content": "open plan"}, visibility="workspace")
    theirs = open_memory(agent_id="them")
    for mode in MODES:
        assert contents(theirs.recall("plan", mode=mode, as_of_unix_ms=START_MS)) == []
    assert contents(theirs.recall("", as_of_unix_ms=START_MS)) == []
    assert said(theirs.as_of("c", "k", START_MS)) is None
    assert theirs.history("c", "k").versions == ()
    assert said(mine.as_of("c", "k", START_MS)) == "secret plan"


def test_a_forgotten_memory_is_forgotten_for_all_its_periods(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "k", {"content": "held once"}, valid_to_unix_ms=START_MS)
    clock.advance(5)
    memory.remember("c", "k", {"content": "holds since"}, valid_from_unix_ms=START_MS)
    clock.advance(5)
    memory.forget("c", "k")
    then = memory.as_of("c", "k", clock.now_ms(), valid_at_unix_ms=START_MS - 1)
    assert (said(then), then.archived) == ("held once", True)
    assert memory.recall("held once", valid_at_unix_ms=START_MS - 1).items == ()

"""Scores, corrections and benchmarks."""

from __future__ import annotations

import json

import pytest

from mimir import Conflict, InvalidInput, Memory
from tests.conftest import OpenMemory
from tests.doubles import DAY_MS, START_MS, FixedClock


def entity_of(memory: Memory, key: str, category: str = "c") -> object:
    """Return one memory in full, archived or not."""
    (stored,) = memory.store.find(category, key, None)
    return stored.entity


# --- score


@pytest.mark.parametrize(
    ("score", "strength", "verified"),
    [(0.9, 0.9, True), (0.7, 0.7, True), (0.69, 0.69, False), (0, 0.0, False), (7, 1.0, True), (-3, 0.0, False)],
)
def test_a_score_is_echoed_as_it_came_and_kept_within_its_bounds(
    memory: Memory, clock: FixedClock, score: float, strength: float, verified: bool
) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    clock.advance(5)
    answer = memory.score("c", "k", score)
    assert (answer.found, answer.category, answer.key, answer.score) == (True, "c", "k", score)
    (stored,) = memory.store.find("c", "k", "")
    assert (stored.entity.decay_score, stored.entity.verified) == (strength, verified)
    assert stored.entity.last_accessed_unix_ms == START_MS + 5
    assert stored.score_floor == (strength or None)


def test_a_score_of_nought_lifts_an_earlier_one(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    memory.score("c", "k", 0.9)
    memory.score("c", "k", 0)
    (stored,) = memory.store.find("c", "k", "")
    assert stored.score_floor is None
    assert not stored.entity.verified


def test_a_scored_memory_outlasts_every_pass_and_an_unscored_one_does_not(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "scored", {"content": "green tea"})
    memory.remember("c", "plain", {"content": "black tea"})
    memory.score("c", "scored", 0.6)
    clock.advance(400 * DAY_MS)
    memory.decay()
    left = {stored.entity.key: stored.entity for stored in memory.store.load([1, 2]).values()}
    assert left["scored"].decay_score == pytest.approx(0.6)
    assert not left["scored"].archived
    assert left["plain"].archived


def test_an_archived_memory_can_be_scored(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    memory.forget("c", "k")
    assert memory.score("c", "k", 0.8).found
    (stored,) = memory.store.find("c", "k", "")
    assert stored.entity.verified
    assert stored.entity.archived


def test_scoring_leaves_no_version(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    memory.score("c", "k", 0.8)
    assert memory.history("c", "k").total == 0


def test_scoring_an_unknown_memory_says_so(memory: Memory) -> None:
    assert not memory.score("c", "none", 0.8).found


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_finite_number_is_refused(memory: Memory, score: float) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    with pytest.raises(InvalidInput, match="score"):
        memory.score("c", "k", score)
    (stored,) = memory.store.find("c", "k", "")
    assert stored.score_floor is None


def test_a_score_reaches_one_workspace_only(memory: Memory) -> None:
    for workspace in ("a", "b"):
        memory.remember("c", "k", {"content": "green tea"}, workspace_hash=workspace)
    with pytest.raises(Conflict):
        memory.score("c", "k", 0.9)
    memory.score("c", "k", 0.9, workspace_hash="b")
    verified = {stored.entity.workspace_hash: stored.entity.verified for stored in memory.store.find("c", "k", None)}
    assert verified == {"a": False, "b": True}


def test_a_private_memory_of_another_agent_cannot_be_scored(open_memory: OpenMemory) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    mine.remember("c", "k", {"content": "green tea"}, visibility="private")
    assert not theirs.score("c", "k", 0.9).found
    assert mine.score("c", "k", 0.9).found


# --- correct


def test_a_correction_is_kept_as_a_lesson_and_in_the_journal(memory: Memory) -> None:
    answer = memory.correct(
        "Deployed on Friday.", "Deploy on Monday.", "releasing the shop", session_id="s1", tags=["release"]
    )
    assert answer.entity_id.startswith("cor-")
    assert answer.key == answer.entity_id.replace("cor-", "correction-")
    assert answer.journal_id.startswith("jrn-")
    assert (answer.category, answer.created_at_unix_ms) == ("correction", START_MS)
    lesson = memory.get_entity(answer.entity_id)
    assert json.loads(lesson.body_json) == {
        "wrong_approach": "Deployed on Friday.",
        "user_correction": "Deploy on Monday.",
        "task_context": "releasing the shop",
        "session_id": "s1",
        "lesson": "When releasing the shop: do NOT Deployed on Friday.. Instead: Deploy on Monday.",
    }
    assert (lesson.entity_type, lesson.source, lesson.layer) == ("correction", "mimir_correct", "working")
    assert (lesson.certainty, lesson.decay_score, lesson.tags) == (1.0, 1.0, ("release",))
    (event,) = memory.timeline().items
    assert (event.id, event.event_type, event.entity_id) == (answer.journal_id, "correction", answer.entity_id)
    assert json.loads(event.evaluated_json) == {"wrong_approach": "Deployed on Friday."}
    assert json.loads(event.acted_json) == {"user_correction": "Deploy on Monday."}
    assert json.loads(event.forward_json) == {"lesson_learned": True, "task_context": "releasing the shop"}


@pytest.mark.parametrize("mode", ["fts5", "dense", "hybrid"])
def test_a_correction_is_recalled(memory: Memory, mode: str) -> None:
    answer = memory.correct("Deployed on Friday.", "Deploy on Monday.", "releasing the shop")
    assert memory.recall("releasing the shop", mode=mode).items[0].id == answer.entity_id


def test_the_same_correction_twice_is_kept_twice_even_where_duplicates_are_merged(open_memory: OpenMemory) -> None:
    memory = open_memory(dedup="similar")
    first = memory.correct("a", "b", "c")
    second = memory.correct("a", "b", "c")
    assert first.entity_id != second.entity_id
    assert {memory.get_entity(one.entity_id).key for one in (first, second)} == {first.key, second.key}


def test_an_empty_category_means_correction(memory: Memory) -> None:
    assert memory.correct("a", "b", "c", category="").category == "correction"
    assert memory.correct("a", "b", "c", category="style").category == "style"


def test_a_private_correction_tells_the_journal_nothing(open_memory: OpenMemory) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    mine.correct("secret mistake", "secret advice", "secret task", visibility="private")
    assert theirs.recall("secret").items == ()
    assert theirs.timeline().items == ()
    (event,) = mine.timeline().items
    assert "secret" not in event.evaluated_json + event.acted_json + event.forward_json


def test_a_lesson_can_hold_for_a_time(memory: Memory) -> None:
    memory.correct("shop closed", "shop open", "visiting the shop", valid_to_unix_ms=START_MS)
    assert memory.recall("shop").items == ()
    assert len(memory.recall("shop", valid_at_unix_ms=START_MS - 1).items) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"valid_from_unix_ms": 5, "valid_to_unix_ms": 5},
        {"visibility": "secret"},
        {"category": "x" * 100_000},
        {"user_correction": "half \ud800"},
    ],
)
def test_a_correction_that_is_refused_leaves_nothing_behind(memory: Memory, wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"wrong_approach": "a", "user_correction": "b", "task_context": "c", **wrong}
    with pytest.raises(InvalidInput):
        memory.correct(**arguments)  # type: ignore[arg-type]  # any of the parameters
    assert memory.recall("").items == ()
    assert memory.timeline().items == ()


# --- bench


def test_a_benchmark_is_kept_with_its_tokens_per_turn(memory: Memory) -> None:
    answer = memory.bench(
        "sorted the mail", 4, 9_203, True, recall_count=2, task_success=True, session_id="s1", tags=["mail"]
    )
    assert answer.entity_id.startswith("bch-")
    kept = memory.get_entity(answer.entity_id)
    assert kept.key == answer.entity_id.replace("bch-", "bench-")
    assert (kept.category, kept.entity_type, kept.layer) == ("benchmark", "benchmark", "working")
    assert (kept.source, kept.decay_score, kept.tags) == ("mimir_bench", 0.5, ("mail",))
    assert kept.created_at_unix_ms == answer.created_at_unix_ms == START_MS
    assert json.loads(kept.body_json) == {
        "task_description": "sorted the mail",
        "turns_taken": 4,
        "tokens_used": 9_203,
        "tokens_per_turn": 2_300,
        "memory_recall_used": True,
        "recall_count": 2,
        "task_success": True,
        "session_id": "s1",
    }


@pytest.mark.parametrize("turns", [0, -1])
def test_no_turns_give_no_tokens_per_turn(memory: Memory, turns: int) -> None:
    kept = memory.get_entity(memory.bench("x", turns, 100, memory_recall_used=False).entity_id)
    assert json.loads(kept.body_json)["tokens_per_turn"] == 0


def test_equal_benchmarks_are_all_kept(open_memory: OpenMemory) -> None:
    memory = open_memory(dedup="similar")
    ids = {memory.bench("x", 1, 100, memory_recall_used=False).entity_id for _ in range(3)}
    assert len(ids) == 3
    assert {memory.get_entity(entity_id).id for entity_id in ids} == ids

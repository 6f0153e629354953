"""Contradictions are found, shown and settled."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from msgspec import UNSET

from mimir import Memory
from mimir.operations.quality import Conflicts
from tests.conftest import OpenMemory
from tests.doubles import START_MS, FixedClock

PORT = "The staging database listens on port {}."


def remember(memory: Memory, key: str, text: str, category: str = "fact", **fields: Any) -> str:  # noqa: ANN401 - any
    return memory.remember(category, key, {"content": text}, **fields).id


def two_ports(memory: Memory, first: float = 0.9, second: float = 0.5, **fields: Any) -> tuple[str, str]:  # noqa: ANN401
    """Remember the port twice under two keys, with these certainties; ``fields`` go to the second one."""
    one = remember(memory, "db-port", PORT.format(5432), certainty=first)
    return one, remember(memory, "database-port", PORT.format(5433), certainty=second, **fields)


def pairs(answer: Conflicts) -> list[tuple[str, str]]:
    assert answer.conflicts is not UNSET
    return [(one.entity_a.key, one.entity_b.key) for one in answer.conflicts]


def settled(answer: Conflicts) -> list[tuple[str, str]]:
    """Return winner and loser of each invalidation."""
    assert answer.invalidations is not UNSET
    return [(one.winner.key, one.loser.key) for one in answer.invalidations]


def status(memory: Memory, entity_id: str) -> str:
    return memory.get_entity(entity_id).status


@pytest.fixture(params=["words and meaning", "words"])
def any_memory(request: pytest.FixtureRequest, open_memory: OpenMemory) -> Memory:
    return open_memory(embedding="off") if request.param == "words" else open_memory()


# --- detection


def test_a_contradiction_is_reported_with_both_sides(any_memory: Memory) -> None:
    one, other = two_ports(any_memory)
    answer = any_memory.conflicts("fact")
    assert (answer.category, answer.entities_compared, answer.conflicts_found) == ("fact", 2, 1)
    assert answer.threshold == 0.4
    assert answer.conflicts is not UNSET
    (found,) = answer.conflicts
    assert {found.entity_a.id, found.entity_b.id} == {one, other}
    assert {found.entity_a.certainty, found.entity_b.certainty} == {0.9, 0.5}
    assert 0.0 <= found.similarity < 0.3
    assert found.conflict_likely
    assert not found.certainty_boosted


def test_what_is_only_different_is_not_reported(any_memory: Memory) -> None:
    remember(any_memory, "db-port", PORT.format(5432), tags=["infra"])
    remember(any_memory, "production-port", "The production database listens on port 6432.", tags=["infra"])
    remember(any_memory, "diet", "Nadia is not vegetarian.")
    remember(any_memory, "tea", "Likes green tea.")
    remember(any_memory, "coffee", "Likes black coffee.")
    answer = any_memory.conflicts("fact", threshold=1.0)
    assert answer.entities_compared == 5
    assert pairs(answer) == []


def test_detection_changes_nothing(memory: Memory, clock: FixedClock) -> None:
    ids = two_ports(memory)
    clock.advance(1_000)
    before = [memory.get_entity(one) for one in ids]
    memory.conflicts("fact")
    memory.conflicts("fact", resolve=True)
    assert [memory.get_entity(one) for one in ids] == before


def test_the_worst_contradictions_come_first(any_memory: Memory) -> None:
    remember(any_memory, "office", "The office is in the harbour district of Oslo.")
    remember(any_memory, "office-place", "The office is not in the harbour district of Oslo.")
    two_ports(any_memory)
    answer = any_memory.conflicts("fact")
    assert answer.conflicts is not UNSET
    assert [one.similarity for one in answer.conflicts] == sorted(one.similarity for one in answer.conflicts)
    assert {answer.conflicts[0].entity_a.key, answer.conflicts[0].entity_b.key} == {"office", "office-place"}


@pytest.mark.parametrize(("limit", "count"), [(-1, 0), (0, 0), (1, 1), (2, 2), (10, 3)])
def test_a_limit_bounds_the_pairs(any_memory: Memory, limit: int, count: int) -> None:
    for place in range(3):
        remember(any_memory, f"db-port-{place}", PORT.format(5432 + place))
    answer = any_memory.conflicts("fact", limit=limit)
    assert answer.conflicts_found == len(pairs(answer)) == count
    assert answer.entities_compared == 3


def test_an_offset_leaves_out_the_memories_used_last(any_memory: Memory, clock: FixedClock) -> None:
    for key in ("db-port", "database-port", "db-port-new"):
        clock.advance()
        remember(any_memory, key, PORT.format(clock.now_ms()))
    assert any_memory.conflicts("fact", offset=-5).entities_compared == 3
    answer = any_memory.conflicts("fact", offset=1)
    assert answer.entities_compared == 2
    assert pairs(answer) == [("database-port", "db-port")]
    assert any_memory.conflicts("fact", offset=2).conflicts_found == 0


def test_a_threshold_of_nought_reports_nothing(any_memory: Memory) -> None:
    two_ports(any_memory)
    assert pairs(any_memory.conflicts("fact", threshold=0.0)) == []


def test_doubtful_memories_are_reported_at_a_higher_threshold(any_memory: Memory) -> None:
    remember(any_memory, "acme", "Met with Acme on Monday.", certainty=0.9)
    remember(any_memory, "acme-meeting", "Met with Acme on Thursday.", certainty=0.9)
    assert pairs(any_memory.conflicts("fact")) == []
    remember(any_memory, "acme", "Met with Acme on Monday.", certainty=0.35)
    answer = any_memory.conflicts("fact")
    assert answer.conflicts is not UNSET
    (found,) = answer.conflicts
    assert found.certainty_boosted
    assert not found.conflict_likely
    remember(any_memory, "acme", "Met with Acme on Monday.", certainty=0.2)
    answer = any_memory.conflicts("fact")
    assert answer.conflicts is not UNSET
    assert answer.conflicts[0].conflict_likely


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"category": "other"}, {}),
        ({"workspace_hash": "a"}, {"workspace_hash": "b"}),
        ({"workspace_hash": "a"}, {}),
        ({"status": "deprecated"}, {}),
        ({"valid_to_unix_ms": 100}, {"valid_from_unix_ms": 100}),
    ],
)
def test_memories_of_other_scopes_and_times_are_not_compared(
    any_memory: Memory, left: dict[str, Any], right: dict[str, Any]
) -> None:
    remember(any_memory, "db-port", PORT.format(5432), **left)
    remember(any_memory, "database-port", PORT.format(5433), **right)
    assert pairs(any_memory.conflicts("fact")) == []


def test_an_archived_memory_is_not_compared(any_memory: Memory) -> None:
    two_ports(any_memory)
    any_memory.forget("fact", "db-port")
    assert any_memory.conflicts("fact").entities_compared == 1


def test_private_memories_are_compared_for_their_own_agent_only(open_memory: OpenMemory) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    remember(mine, "db-port", PORT.format(5432), visibility="private", certainty=0.9)
    remember(mine, "database-port", PORT.format(5433), certainty=0.2)
    assert mine.conflicts("fact").conflicts_found == 1
    answer = theirs.conflicts("fact")
    assert (answer.entities_compared, answer.conflicts_found) == (1, 0)
    assert theirs.conflicts("fact", resolve=True, dry_run=False).resolved == 0


def test_an_empty_category_has_no_contradictions(any_memory: Memory) -> None:
    answer = any_memory.conflicts("none")
    assert (answer.entities_compared, answer.conflicts_found, answer.conflicts) == (0, 0, ())


def test_memories_that_share_no_word_of_their_keys_are_compared_by_meaning(memory: Memory) -> None:
    remember(memory, "one", "The staging database listens on port 5432.")
    remember(memory, "two", "The staging database listens on port 5433.")
    assert pairs(memory.conflicts("fact"))


def test_each_mode_has_its_own_fields(memory: Memory) -> None:
    two_ports(memory)
    found = memory.conflicts("fact")
    assert found.resolved is found.invalidations is found.dry_run is UNSET
    resolved = memory.conflicts("fact", resolve=True)
    assert resolved.conflicts is resolved.threshold is resolved.conflicts_found is UNSET
    assert (resolved.dry_run, resolved.certainty_margin) == (True, 0.2)


# --- settling


def test_resolving_is_a_rehearsal_unless_told_otherwise(any_memory: Memory) -> None:
    ids = two_ports(any_memory)
    answer = any_memory.conflicts("fact", resolve=True)
    assert (answer.resolved, answer.skipped_ambiguous, answer.dry_run) == (1, 0, True)
    assert settled(answer) == [("db-port", "database-port")]
    assert [status(any_memory, one) for one in ids] == ["active", "active"]


def test_the_less_certain_side_is_invalidated_and_kept_in_history(any_memory: Memory, clock: FixedClock) -> None:
    winner, loser = two_ports(any_memory)
    clock.advance(10)
    answer = any_memory.conflicts("fact", resolve=True, dry_run=False)
    assert (answer.resolved, answer.dry_run) == (1, False)
    assert settled(answer) == [("db-port", "database-port")]
    lost = any_memory.get_entity(loser)
    assert (lost.status, lost.archived, lost.valid_to_unix_ms) == ("invalidated", False, START_MS + 10)
    assert winner in lost.archive_reason
    assert status(any_memory, winner) == "active"
    versions = any_memory.history("fact", "database-port").versions
    assert {version.superseded_by for version in versions} == {winner}
    assert all(version.recorded_at_unix_ms < version.invalidated_at_unix_ms for version in versions)
    assert {version.status for version in versions} == {"active"}


@pytest.mark.parametrize("mode", ["fts5", "dense", "hybrid", ""])
def test_the_loser_leaves_recall_and_comes_back_when_asked_for(memory: Memory, mode: str) -> None:
    two_ports(memory)
    memory.conflicts("fact", resolve=True, dry_run=False)
    assert [hit.key for hit in memory.recall("staging database port", mode=mode).items] == ["db-port"]
    again = memory.recall("staging database port", mode=mode, include_archived=True)
    assert {hit.key for hit in again.items} == {"db-port", "database-port"}


def test_what_was_settled_is_settled(any_memory: Memory) -> None:
    two_ports(any_memory)
    assert any_memory.conflicts("fact", resolve=True, dry_run=False).resolved == 1
    assert any_memory.conflicts("fact", resolve=True, dry_run=False).resolved == 0
    assert any_memory.conflicts("fact").conflicts_found == 0


@pytest.mark.parametrize(
    ("first", "second", "margin", "resolved"),
    [
        (0.6, 0.4, 0.2, 1),
        (0.9, 0.7, 0.2, 1),
        (0.6, 0.41, 0.2, 0),
        (0.5, 0.5, 0.2, 0),
        (0.5, 0.5, 0.0, 0),
        (0.5, 0.5, -1.0, 0),
        (0.51, 0.5, 0.0, 1),
    ],
)
def test_a_gap_of_certainty_decides_from_the_margin_on(
    any_memory: Memory, first: float, second: float, margin: float, resolved: int
) -> None:
    two_ports(any_memory, first, second)
    answer = any_memory.conflicts("fact", resolve=True, dry_run=False, certainty_margin=margin)
    assert (answer.resolved, answer.skipped_ambiguous) == (resolved, 1 - resolved)


def test_a_pinned_memory_never_loses(any_memory: Memory) -> None:
    _, pinned = two_ports(any_memory, always_on=True)
    answer = any_memory.conflicts("fact", resolve=True, dry_run=False)
    assert (answer.resolved, answer.skipped_ambiguous) == (0, 1)
    assert status(any_memory, pinned) == "active"


def test_a_verified_memory_never_loses(any_memory: Memory) -> None:
    _, verified = two_ports(any_memory)
    any_memory.score("fact", "database-port", 0.8)
    answer = any_memory.conflicts("fact", resolve=True, dry_run=False)
    assert (answer.resolved, answer.skipped_ambiguous) == (0, 1)
    assert status(any_memory, verified) == "active"


def test_each_memory_loses_at_most_once_and_a_loser_wins_nothing(any_memory: Memory) -> None:
    for place, certainty in enumerate((0.9, 0.6, 0.3)):
        remember(any_memory, f"db-port-{place}", PORT.format(5432 + place), certainty=certainty)
    answer = any_memory.conflicts("fact", resolve=True, dry_run=False)
    losers = [loser for _, loser in settled(answer)]
    assert sorted(losers) == ["db-port-1", "db-port-2"]
    assert not {winner for winner, _ in settled(answer)} & {"db-port-2"}
    assert any_memory.conflicts("fact").entities_compared == 1


def test_what_is_only_loosely_at_odds_is_not_settled(any_memory: Memory) -> None:
    remember(any_memory, "acme", "Met with Acme on Monday.", certainty=0.9)
    remember(any_memory, "acme-meeting", "Met with Acme on Thursday.", certainty=0.35)
    assert any_memory.conflicts("fact").conflicts_found == 1
    answer = any_memory.conflicts("fact", resolve=True, dry_run=False)
    assert (answer.resolved, answer.skipped_ambiguous) == (0, 0)


def test_a_limit_bounds_what_is_settled(any_memory: Memory) -> None:
    two_ports(any_memory)
    assert any_memory.conflicts("fact", resolve=True, dry_run=False, limit=0).resolved == 0
    assert any_memory.conflicts("fact").conflicts_found == 1


def test_unrelated_memories_survive_a_resolution(any_memory: Memory) -> None:
    ids = [
        remember(any_memory, f"note-{place}", text, certainty=certainty, tags=["work"])
        for place, (text, certainty) in enumerate(
            [
                ("The staging database listens on port 5432.", 0.9),
                ("Nadia is not vegetarian.", 0.1),
                ("The launch budget is 20,000 euros.", 0.2),
                ("Never deploy on Friday.", 0.1),
                ("The visa expires on 2026-06-30.", 0.2),
            ]
        )
    ]
    answer = any_memory.conflicts("fact", threshold=1.0, resolve=True, dry_run=False, certainty_margin=0.0)
    assert answer.resolved == 0
    assert [status(any_memory, one) for one in ids] == ["active"] * 5


def test_two_resolutions_at_once_invalidate_each_loser_once(open_memory: OpenMemory) -> None:
    first, second = open_memory(), open_memory()
    for place in range(6):
        remember(first, f"db-port-{place}", f"The {'abcdef'[place]}1 database listens on port 5432.", certainty=0.9)
        remember(
            first, f"database-port-{place}", f"The {'abcdef'[place]}1 database listens on port 5433.", certainty=0.4
        )
    answers: list[Conflicts] = []
    start = threading.Barrier(2)

    def resolve(memory: Memory) -> None:
        start.wait()
        answers.append(memory.conflicts("fact", limit=100, resolve=True, dry_run=False))

    threads = [threading.Thread(target=resolve, args=(memory,)) for memory in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.resolved for one in answers if one.resolved is not UNSET) == 6
    for place in range(6):
        assert first.history("fact", f"database-port-{place}").total == 2
        assert first.history("fact", f"db-port-{place}").total == 0


def test_bodies_with_fields_are_compared_by_field(any_memory: Memory) -> None:
    any_memory.remember("fact", "db", {"host": "db1", "port": 5432})
    any_memory.remember("fact", "database", {"host": "db1", "port": 6432})
    any_memory.remember("fact", "cache", {"host": "db1", "port": 6379})
    assert pairs(any_memory.conflicts("fact")) in ([("db", "database")], [("database", "db")])
    assert json.loads(any_memory.recall("db", limit=1).items[0].body_json)["port"] == 5432

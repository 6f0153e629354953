"""What fades, what falls, what is archived, what is linked; and that a pass changes nothing else and blocks nobody."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir import InvalidInput, Memory
from mimir.model import Entity, Filter, Recalled, Stored
from mimir.operations import lifecycle
from mimir.rules.layers import STABILITY_DAYS
from tests.conftest import OpenMemory
from tests.doubles import DAY_MS, START_MS, FixedClock

EVERYTHING = Filter(include_archived=True, every_caller=True)


def put(
    memory: Memory,
    key: str,
    text: str = "",
    *,
    category: str = "c",
    workspace: str = "",
    tags: tuple[str, ...] = (),
    floor: float | None = None,
    **fields: object,
) -> None:
    """Remember something, then give it fields that only use or other tools would."""
    memory.remember(category, key, {"content": text or f"text of {key}"}, workspace_hash=workspace, tags=tags)
    with memory.writing():
        (stored,) = memory.store.find(category, key, workspace)
        entity = msgspec.structs.replace(stored.entity, **fields)
        memory.store.update(msgspec.structs.replace(stored, entity=entity, score_floor=floor))


def stored(memory: Memory, key: str, category: str = "c", workspace: str = "") -> Stored:
    (found,) = memory.store.find(category, key, workspace)
    return found


def entity(memory: Memory, key: str, category: str = "c", workspace: str = "") -> Entity:
    return stored(memory, key, category, workspace).entity


def everything(memory: Memory) -> list[Stored]:
    return [one for batch in memory.store.scan(EVERYTHING) for one in batch]


def archived(memory: Memory) -> set[str]:
    return {one.entity.key for one in everything(memory) if one.entity.archived}


def keys(answer: Recalled) -> set[str]:
    return {hit.key for hit in answer.items}


def links(memory: Memory) -> set[tuple[str, str]]:
    named = {one.entity.id: one.entity.key for one in everything(memory)}
    return {(one.entity.key, named[link.target_id]) for one in everything(memory) for link in one.entity.links}


def files(db: str) -> dict[str, bytes]:
    """Return the bytes of a store and its log."""
    return {name: path.read_bytes() for name in (db, f"{db}-wal") if (path := Path(name)).exists()}


# --- decay


@pytest.mark.parametrize("layer", ["buffer", "working", "core"])
def test_each_layer_fades_at_its_own_pace(memory: Memory, clock: FixedClock, layer: str) -> None:
    put(memory, "k", layer=layer)
    clock.advance(5 * DAY_MS)
    result = memory.decay()
    assert (result.entities_checked, result.entities_updated, result.auto_archived) == (1, 1, 0)
    assert result.completed_at_unix_ms == clock.now_ms()
    assert entity(memory, "k").decay_score == pytest.approx(math.exp(-5 / STABILITY_DAYS[layer]))


def test_a_second_pass_at_the_same_instant_writes_nothing(keyword_memory: Memory, clock: FixedClock, db: str) -> None:
    memory = keyword_memory
    for layer in ("buffer", "working", "core"):
        for idle in (0, 1, 10, 40, 100, 200):
            put(memory, f"{layer} {idle}", layer=layer, last_accessed_unix_ms=clock.now_ms() - idle * DAY_MS)
    put(memory, "verified", verified=True, last_accessed_unix_ms=0)
    put(memory, "pinned", always_on=True, last_accessed_unix_ms=0)
    put(memory, "scored", floor=0.4, last_accessed_unix_ms=0)
    first = memory.decay()
    before = files(db)
    second = memory.decay()
    assert first.entities_checked == first.entities_updated == 21
    assert (second.entities_checked, second.entities_updated, second.auto_archived) == (21 - first.auto_archived, 0, 0)
    assert files(db) == before


def test_a_memory_that_hardly_moves_is_not_written(memory: Memory, clock: FixedClock) -> None:
    put(memory, "k", layer="core")
    memory.decay()
    clock.advance(DAY_MS // 10)
    assert memory.decay().entities_updated == 0
    clock.advance(DAY_MS // 10)
    assert memory.decay().entities_updated == 1


def test_a_use_that_is_held_in_memory_counts_before_the_pass(keyword_memory: Memory, clock: FixedClock) -> None:
    put(keyword_memory, "used", "green tea")
    put(keyword_memory, "idle", "black coffee")
    clock.advance(30 * DAY_MS)
    assert keys(keyword_memory.recall("green tea")) == {"used"}
    assert keyword_memory.decay().auto_archived == 1
    assert archived(keyword_memory) == {"idle"}
    assert entity(keyword_memory, "used").decay_score == 1.0


def test_what_has_faded_leaves_recall_and_stays_in_the_archive(keyword_memory: Memory, clock: FixedClock) -> None:
    memory = keyword_memory
    put(memory, "k", "green tea")
    before = clock.advance()
    clock.advance(30 * DAY_MS)
    now = memory.decay().completed_at_unix_ms
    one = stored(memory, "k")
    assert (one.entity.archived, one.entity.archive_reason) == (True, "decay threshold")
    assert (one.archived_at_unix_ms, one.entity.last_accessed_unix_ms) == (now, START_MS)
    assert one.entity.decay_score < 0.05
    assert memory.recall("green tea").items == ()
    assert [hit.archived for hit in memory.recall("green tea", include_archived=True).items] == [True]
    assert memory.store.document_frequencies(["tea"])[0] == {"tea": 0}
    assert not memory.as_of("c", "k", before).archived
    assert memory.as_of("c", "k", now).archived
    assert [hit.archived for hit in memory.recall("green tea", as_of_unix_ms=before).items] == [False]


def test_a_pass_is_no_version(memory: Memory, clock: FixedClock) -> None:
    put(memory, "k", layer="core", retrieval_count=5)
    put(memory, "k2")
    recorded = entity(memory, "k").recorded_at_unix_ms
    clock.advance(130 * DAY_MS)
    memory.cohere()
    memory.decay()
    memory.compact(0.5)
    assert entity(memory, "k").layer == "working"
    assert archived(memory) == {"k", "k2"}
    assert memory.history("c", "k").total == memory.history("c", "k2").total == 0
    assert entity(memory, "k").recorded_at_unix_ms == recorded


def test_verified_pinned_and_scored_memories_are_never_archived_or_lowered(memory: Memory, clock: FixedClock) -> None:
    put(memory, "verified", verified=True, layer="core")
    put(memory, "pinned", always_on=True, layer="core")
    put(memory, "scored", floor=0.01, layer="core")
    put(memory, "scored high", floor=0.9, verified=True, layer="core")
    put(memory, "plain", layer="core")
    clock.advance(2_000 * DAY_MS)
    memory.decay()
    memory.compact(1.0)
    memory.cohere(archive_threshold=1.0)
    memory.prune(min_decay=1.0, older_than_days=0)
    memory.autocohere()
    assert archived(memory) == {"plain"}
    strengths = {key: entity(memory, key).decay_score for key in ("verified", "pinned", "scored", "scored high")}
    assert strengths == pytest.approx({"verified": 0.2, "pinned": 0.0, "scored": 0.01, "scored high": 0.9}, abs=0.001)
    assert all(entity(memory, key).layer == "core" for key in strengths)


def test_a_lowered_memory_fades_on_from_where_it_was_and_a_use_begins_anew(
    keyword_memory: Memory, clock: FixedClock
) -> None:
    memory = keyword_memory
    put(memory, "k", "green tea", layer="core")
    clock.advance(130 * DAY_MS)
    memory.decay()
    lowered = entity(memory, "k")
    assert (lowered.layer, lowered.last_accessed_unix_ms) == ("working", START_MS)
    assert lowered.decay_score == pytest.approx(math.exp(-130 / 180))
    clock.advance(3 * DAY_MS)
    memory.decay()
    assert entity(memory, "k").decay_score == pytest.approx(lowered.decay_score * math.exp(-3 / 30))
    memory.recall("green tea")
    clock.advance(3 * DAY_MS)
    memory.decay()
    assert entity(memory, "k").decay_score == pytest.approx(math.exp(-3 / 30))


def test_a_retired_memory_fades_too_and_is_found_once(keyword_memory: Memory, clock: FixedClock) -> None:
    memory = keyword_memory
    memory.remember("c", "k", {"content": "green tea"})
    memory.remember("c", "k", {"content": "green tea"}, status="superseded")
    clock.advance(30 * DAY_MS)
    assert memory.decay().auto_archived == 1
    assert memory.recall("green tea").items == ()
    assert [hit.key for hit in memory.recall("green tea", include_archived=True).items] == ["k"]


def test_a_private_memory_of_another_agent_fades_like_any_other(open_memory: OpenMemory, clock: FixedClock) -> None:
    open_memory(agent_id="one").remember("c", "k", {"content": "x"}, visibility="private")
    clock.advance(30 * DAY_MS)
    assert open_memory(agent_id="two").decay().auto_archived == 1


def test_remembering_again_brings_a_faded_memory_back(keyword_memory: Memory, clock: FixedClock) -> None:
    keyword_memory.remember("c", "k", {"content": "green tea"})
    clock.advance(30 * DAY_MS)
    keyword_memory.decay()
    keyword_memory.remember("c", "k", {"content": "green tea"})
    assert keys(keyword_memory.recall("green tea")) == {"k"}
    assert stored(keyword_memory, "k").archived_at_unix_ms is None
    keyword_memory.decay()
    assert keys(keyword_memory.recall("green tea")) == {"k"}


# --- the text of what is archived


@pytest.fixture
def slow_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pass move the text of two memories at most."""
    monkeypatch.setattr(lifecycle, "_MOST_MOVED", 2)
    monkeypatch.setattr(lifecycle, "_MOVED_AT_ONCE", 2)


@pytest.mark.usefixtures("slow_moves")
def test_text_that_is_not_moved_yet_is_found_where_it_belongs(keyword_memory: Memory, clock: FixedClock) -> None:
    memory = keyword_memory
    for number in range(5):
        put(memory, f"k{number}", "green tea")
    before = clock.advance()
    clock.advance(30 * DAY_MS)
    assert memory.decay().auto_archived == 5
    for left in (3, 1, 0):
        assert memory.store.document_frequencies(["tea"])[0] == {"tea": left}
        assert memory.recall("green tea").items == ()
        found = [hit.key for hit in memory.recall("green tea", include_archived=True).items]
        assert sorted(found) == [f"k{number}" for number in range(5)]
        assert len(memory.recall("green tea", as_of_unix_ms=before).items) == 5
        memory.decay()


@pytest.mark.usefixtures("slow_moves")
def test_what_comes_back_before_its_text_was_moved_stays(keyword_memory: Memory, clock: FixedClock) -> None:
    memory = keyword_memory
    for number in range(5):
        put(memory, f"k{number}", "green tea")
    clock.advance(30 * DAY_MS)
    memory.decay()
    memory.remember("c", "k4", {"content": "green tea"})
    memory.remember("c", "k3", {"content": "black coffee"})
    memory.decay()
    memory.decay()
    assert keys(memory.recall("green tea")) == {"k4"}
    assert keys(memory.recall("black coffee")) == {"k3"}
    assert memory.store.document_frequencies(["tea", "coffee"])[0] == {"tea": 1, "coffee": 1}


@pytest.mark.usefixtures("slow_moves")
def test_rebuilding_the_index_moves_what_was_left(keyword_memory: Memory, clock: FixedClock) -> None:
    memory = keyword_memory
    for number in range(5):
        put(memory, f"k{number}", "green tea")
    clock.advance(30 * DAY_MS)
    memory.decay()
    assert memory.reindex().reindexed == 0
    assert memory.store.document_frequencies(["tea"])[0] == {"tea": 0}
    memory.decay()
    assert len(memory.recall("green tea", include_archived=True).items) == 5


@pytest.mark.usefixtures("slow_moves")
def test_erasing_takes_text_that_was_not_moved_yet(keyword_memory: Memory, clock: FixedClock, db: str) -> None:
    memory = keyword_memory
    for number in range(5):
        put(memory, f"k{number}", f"quixotic zeppelin {number}")
    clock.advance(30 * DAY_MS)
    memory.decay()
    memory.purge()
    memory.decay()
    memory.close()
    assert all(b"zeppelin" not in content for content in files(db).values())


# --- prune


@pytest.mark.parametrize("given", [{}, {"category": "c"}, {"category": "c", "dry_run": True, "limit": 0}], ids=repr)
def test_prune_without_a_threshold_is_refused(memory: Memory, given: dict[str, Any]) -> None:
    put(memory, "k")
    with pytest.raises(InvalidInput) as raised:
        memory.prune(**given)
    assert raised.value.message == (
        "prune requires min_decay, older_than_days, or purge_all=true to archive the whole category"
    )
    assert archived(memory) == set()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"min_decay": math.nan}, "min_decay"),
        ({"min_decay": math.inf}, "min_decay"),
        ({"older_than_days": -1}, "older_than_days"),
        ({"min_decay": 1.0, "limit": -1}, "limit"),
    ],
    ids=repr,
)
def test_prune_refuses_numbers_that_mean_nothing(memory: Memory, given: dict[str, Any], named: str) -> None:
    put(memory, "k")
    with pytest.raises(InvalidInput, match=named) as raised:
        memory.prune(**given)
    assert raised.value.hint
    assert archived(memory) == set()


def test_prune_archives_what_meets_every_condition(memory: Memory, clock: FixedClock) -> None:
    old: dict[str, Any] = {"created_at_unix_ms": START_MS - 100 * DAY_MS}
    put(memory, "old and weak", category="junk", decay_score=0.1, **old)
    put(memory, "old", category="junk", decay_score=0.6, **old)
    put(memory, "weak", category="junk", decay_score=0.1)
    put(memory, "elsewhere", category="c", decay_score=0.1, **old)
    result = memory.prune(category="junk", min_decay=0.2, older_than_days=90)
    assert (result.archived, result.examined, result.dry_run) == (1, 1, False)
    assert result.reason == 'prune: cat=Some("junk") decay<Some(0.2) age>Some(90)d'
    one = stored(memory, "old and weak", "junk")
    assert archived(memory) == {"old and weak"}
    assert (one.entity.archive_reason, one.archived_at_unix_ms) == (result.reason, clock.now_ms())


def test_prune_counts_age_from_the_creation_and_not_from_the_last_use(memory: Memory, clock: FixedClock) -> None:
    put(memory, "old", created_at_unix_ms=START_MS - 31 * DAY_MS)
    put(memory, "idle", last_accessed_unix_ms=START_MS - 31 * DAY_MS)
    clock.advance()
    assert memory.prune(older_than_days=30).reason == "prune: cat=None decay<None age>Some(30)d"
    assert archived(memory) == {"old"}


@pytest.mark.parametrize(("limit", "left"), [(2, {"k2", "k3"}), (0, set()), (100, set())])
def test_prune_archives_the_oldest_up_to_its_limit_and_counts_all(memory: Memory, limit: int, left: set[str]) -> None:
    for number in range(4):
        put(memory, f"k{number}")
    result = memory.prune(min_decay=0.9, limit=limit)
    assert (result.archived, result.examined) == (4 - len(left), 4)
    assert archived(memory) == {f"k{number}" for number in range(4)} - left


def test_prune_archives_a_hundred_by_default(memory: Memory) -> None:
    memory.remember_many({"category": "c", "key": f"k{number}", "body_json": {"n": number}} for number in range(120))
    result = memory.prune(min_decay=0.9)
    assert (result.archived, result.examined) == (100, 120)


def test_prune_spares_the_exempt_unless_told_to_take_all(memory: Memory) -> None:
    put(memory, "verified", verified=True)
    put(memory, "pinned", always_on=True)
    put(memory, "scored", floor=0.1)
    put(memory, "plain")
    put(memory, "elsewhere", category="other")
    assert memory.prune(category="c", min_decay=1.0).examined == 1
    assert archived(memory) == {"plain"}
    assert memory.prune(category="c", purge_all=True).archived == 3
    assert archived(memory) == {"plain", "verified", "pinned", "scored"}


def test_prune_takes_private_memories_of_other_agents(open_memory: OpenMemory) -> None:
    open_memory(agent_id="one").remember("c", "k", {"content": "x"}, visibility="private")
    assert open_memory(agent_id="two").prune(min_decay=1.0).archived == 1


def test_prune_of_an_unknown_category_finds_nothing(memory: Memory) -> None:
    put(memory, "k")
    for category in ("unknown", ""):
        result = memory.prune(category=category, purge_all=True)
        assert (result.archived, result.examined) == (0, 0)


def test_a_dry_prune_archives_none_and_counts_all_that_match(memory: Memory) -> None:
    for number in range(4):
        put(memory, f"k{number}")
    result = memory.prune(min_decay=0.9, limit=2, dry_run=True)
    assert (result.archived, result.examined, result.dry_run) == (0, 4, True)
    assert archived(memory) == set()


# --- compact


def test_compact_archives_below_a_tenth_by_the_strength_of_now(memory: Memory, clock: FixedClock) -> None:
    put(memory, "weak", decay_score=0.09)
    put(memory, "on the line", decay_score=0.1)
    put(memory, "idle but strong", decay_score=0.5, last_accessed_unix_ms=0)
    now = clock.advance(DAY_MS)
    result = memory.compact()
    assert (result.entities_archived, result.entities_examined, result.dry_run) == (1, 3, False)
    assert result.completed_at_unix_ms == now
    one = stored(memory, "weak")
    assert archived(memory) == {"weak"}
    assert (one.entity.archive_reason, one.entity.last_accessed_unix_ms) == ("decay threshold", now)
    assert (one.archived_at_unix_ms, one.entity.decay_score) == (now, 0.09)
    assert memory.compact().entities_examined == 2


@pytest.mark.parametrize("call", [Memory.compact, lambda memory, value: memory.cohere(archive_threshold=value)])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_threshold_that_is_no_number_is_refused(
    memory: Memory, call: Callable[[Memory, float], object], value: float
) -> None:
    put(memory, "k")
    with pytest.raises(InvalidInput, match="not a number"):
        call(memory, value)
    assert archived(memory) == set()


# --- cohere


def test_cohere_lifts_what_was_retrieved_three_times(memory: Memory, clock: FixedClock) -> None:
    for count in (2, 3, 30):
        put(memory, f"k{count}", retrieval_count=count)
    put(memory, "gone", retrieval_count=3)
    memory.forget("c", "gone")
    result = memory.cohere()
    assert (result.promoted, result.entities_examined, result.completed_at_unix_ms) == (2, 3, clock.now_ms())
    layers = {one.entity.key: one.entity.layer for one in everything(memory)}
    assert layers == {"k2": "buffer", "k3": "working", "k30": "working", "gone": "buffer"}


@pytest.mark.parametrize(("threshold", "promoted"), [(0, 3), (2, 2), (5, 1), (31, 0)])
def test_cohere_honours_its_threshold_of_promotion(memory: Memory, threshold: int, promoted: int) -> None:
    for count in (0, 2, 30):
        put(memory, f"k{count}", retrieval_count=count)
    assert memory.cohere(promote_threshold=threshold).promoted == promoted


def test_cohere_fades_by_a_twentieth_down_to_the_floor(memory: Memory) -> None:
    put(memory, "plain", decay_score=0.8)
    put(memory, "verified", decay_score=0.205, verified=True)
    put(memory, "below its floor", decay_score=0.1, verified=True)
    put(memory, "scored", decay_score=0.5, floor=0.5)
    put(memory, "nothing left", decay_score=0.01, always_on=True)
    assert memory.cohere().decayed == 2
    strengths = {one.entity.key: one.entity.decay_score for one in everything(memory)}
    assert strengths == pytest.approx(
        {"plain": 0.76, "verified": 0.2, "below its floor": 0.1, "scored": 0.5, "nothing left": 0.01}
    )


def test_cohering_again_and_again_archives_nothing(memory: Memory) -> None:
    put(memory, "k")
    for _ in range(60):
        assert memory.cohere().archived == 0
    assert entity(memory, "k").decay_score == pytest.approx(0.05)


@pytest.mark.parametrize(("threshold", "gone"), [(None, {"a"}), (0.0, set()), (0.3, {"a", "b"})])
def test_cohere_honours_its_threshold_of_archival(memory: Memory, threshold: float | None, gone: set[str]) -> None:
    put(memory, "a", decay_score=0.04)
    put(memory, "b", decay_score=0.2)
    put(memory, "c", decay_score=0.9)
    result = memory.cohere() if threshold is None else memory.cohere(archive_threshold=threshold)
    assert result.archived == len(gone)
    assert archived(memory) == gone
    for key in gone:
        assert entity(memory, key).archive_reason == "auto-archived by coherence daemon (decay < threshold)"
        assert entity(memory, key).last_accessed_unix_ms == START_MS


NEAR = "The billing service writes its invoices to the {} database every night."


def test_cohere_links_tagged_memories_that_read_alike(memory: Memory, clock: FixedClock) -> None:
    put(memory, "a", NEAR.format("main"), tags=("t",))
    put(memory, "b", NEAR.format("second"), tags=("u",))
    put(memory, "other", "Cats sleep on the piano.", tags=("t",))
    clock.advance()
    assert memory.cohere().linked == 1
    assert links(memory) == {("a", "b")}
    (link,) = entity(memory, "a").links
    assert (link.relationship, 0.3 <= link.weight < 1.0) == ("auto-related", True)
    assert entity(memory, "a").last_accessed_unix_ms == START_MS
    assert memory.cohere().linked == 0


@pytest.mark.parametrize(
    "second",
    [
        {"category": "d"},
        {"workspace": "w"},
        {"tags": ()},
        {"text": "Cats sleep on the piano."},
        {"visibility": "private"},
    ],
    ids=repr,
)
def test_cohere_links_nothing_else(memory: Memory, second: dict[str, Any]) -> None:
    put(memory, "a", NEAR.format("main"), tags=("t",))
    put(memory, "b", **{"text": NEAR.format("second"), "tags": ("t",), **second})
    assert memory.cohere().linked == 0
    assert links(memory) == set()


def test_cohere_leaves_out_what_is_archived_or_retired(memory: Memory) -> None:
    for key in ("a", "b", "c"):
        memory.remember("c", key, {"content": NEAR.format(key)}, tags=["t"])
    memory.forget("c", "b")
    memory.remember("c", "c", {"content": NEAR.format("c")}, status="deprecated")
    assert memory.cohere().linked == 0


def test_cohere_links_private_memories_only_with_those_of_their_agent(open_memory: OpenMemory) -> None:
    memory = open_memory(agent_id="one")
    for key, agent in (("a", "one"), ("b", "two"), ("c", "one")):
        put(memory, key, NEAR.format(key), tags=("t",), visibility="private", agent_id=agent)
    assert memory.cohere().linked == 1
    assert links(memory) == {("a", "c")}


@pytest.mark.parametrize(("source", "target"), [("a", "b"), ("b", "a")])
def test_cohere_does_not_link_twice_in_either_direction(memory: Memory, source: str, target: str) -> None:
    put(memory, "a", NEAR.format("main"), tags=("t",))
    put(memory, "b", NEAR.format("second"), tags=("t",))
    with memory.writing() as now:
        target_id = entity(memory, target).id
        memory.store.add_link(stored(memory, source).number, target_id, "depends_on", 1.0, now)
    assert memory.cohere().linked == 0
    assert links(memory) == {(source, target)}


@pytest.mark.parametrize(("budget", "made"), [(-5, 0), (0, 0), (1, 1), (2, 2), (1_000, 3)])
def test_cohere_links_the_closest_first_within_its_budget(memory: Memory, budget: int, made: int) -> None:
    put(memory, "a", "the release notes of version one are on the wiki", tags=("t",))
    put(memory, "b", "the release notes of version two are on the wiki", tags=("t",))
    put(memory, "c", "the release notes are not on the wiki", tags=("t",))
    assert memory.cohere(max_links=budget).linked == made
    assert len(links(memory)) == made
    assert made == 0 or ("a", "b") in links(memory)


def test_cohere_compares_only_the_last_used(memory: Memory, clock: FixedClock) -> None:
    for key in ("a", "b"):
        put(memory, key, NEAR.format(key), tags=("t",))
    clock.advance()
    memory.remember_many(
        {"category": f"d{number}", "key": "k", "body_json": {"n": number}, "tags": ["t"]} for number in range(50)
    )
    assert memory.cohere(max_links=1, dry_run=True).linked == 0
    assert memory.cohere(max_links=2, dry_run=True).linked == 1


# --- autocohere


def test_autocohere_promotes_links_fades_and_archives(memory: Memory, clock: FixedClock) -> None:
    put(memory, "a", NEAR.format("main"), tags=("t",), retrieval_count=3)
    put(memory, "b", NEAR.format("second"), tags=("t",))
    put(memory, "weak", decay_score=0.01)
    put(memory, "idle", last_accessed_unix_ms=0)
    clock.advance(10 * DAY_MS)
    result = memory.autocohere()
    assert (result.promoted_entities, result.links_created, result.dry_run) == (1, 1, False)
    assert (result.archived_entities, result.decay_archived_count, result.compact_archived_count) == (1, 1, 0)
    assert result.decay_updates == 3
    assert archived(memory) == {"weak", "idle"}
    assert entity(memory, "weak").archive_reason.startswith("auto-archived")
    assert entity(memory, "idle").archive_reason == "decay threshold"
    assert entity(memory, "a").decay_score == pytest.approx(math.exp(-10 / 30))
    assert entity(memory, "b").decay_score == pytest.approx(math.exp(-10 / 7))


def test_autocohere_twice_at_one_instant_does_nothing_more(memory: Memory) -> None:
    for number in range(20):
        put(
            memory,
            f"k{number}",
            retrieval_count=number,
            layer=("buffer", "working", "core")[number % 3],
            last_accessed_unix_ms=START_MS - number * 10 * DAY_MS,
        )
    memory.autocohere()
    again = memory.autocohere()
    assert (again.promoted_entities, again.links_created, again.archived_entities, again.decay_updates) == (0, 0, 0, 0)


def test_a_memory_that_nobody_uses_goes_in_the_end_however_often_it_was_used_before(
    memory: Memory, clock: FixedClock
) -> None:
    put(memory, "k", retrieval_count=4)
    for _ in range(70):
        clock.advance(DAY_MS)
        memory.autocohere()
    assert archived(memory) == {"k"}


def test_autocohere_tells_by_how_many_bytes_the_store_shrank(memory: Memory) -> None:
    for number in range(20):
        put(memory, f"k{number}", NEAR.format(number), tags=("t",))
    page = memory.store.size_bytes()
    result = memory.autocohere()
    assert result.links_created == 20
    assert result.db_size_delta_bytes == page - memory.store.size_bytes()
    assert result.db_size_delta_bytes <= 0


# --- dry runs

STRENGTHS = st.floats(0, 1)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "decay_score": STRENGTHS,
            "layer": st.sampled_from(["buffer", "working", "core", "of my own"]),
            "retrieval_count": st.integers(0, 6),
            "last_accessed_unix_ms": st.integers(-DAY_MS, 400 * DAY_MS).map(lambda idle: START_MS - idle),
            "created_at_unix_ms": st.integers(0, 200 * DAY_MS).map(lambda age: START_MS - age),
            "verified": st.booleans(),
            "always_on": st.booleans(),
            "floor": st.none() | STRENGTHS,
            "tags": st.sampled_from([(), ("t",)]),
            "text": st.sampled_from([NEAR.format(word) for word in ("main", "second", "third")] + ["Cats sleep."]),
            "category": st.sampled_from(["c", "d"]),
        }
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(rows=ROWS, threshold=st.floats(0, 0.5))
def test_a_dry_run_tells_what_the_real_one_does_and_changes_nothing(
    open_memory: OpenMemory, tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], threshold: float
) -> None:
    first = tmp_path_factory.mktemp("dry") / "memory.db"
    memory = open_memory(str(first), embedding="off")
    for number, row in enumerate(rows):
        put(memory, f"k{number}", **row)
    memory.close()
    passes: tuple[Callable[[Memory, bool], Any], ...] = (
        lambda one, dry: one.compact(threshold, dry_run=dry),
        lambda one, dry: one.cohere(archive_threshold=threshold, max_links=3, dry_run=dry),
        lambda one, dry: one.autocohere(dry_run=dry),
        lambda one, dry: one.prune(min_decay=threshold, older_than_days=100, limit=0, dry_run=dry),
    )
    for place, call in enumerate(passes):
        copy = first.with_name(f"memory.db{place}")
        shutil.copyfile(first, copy)
        memory = open_memory(str(copy), embedding="off")
        before, bytes_before = everything(memory), files(str(copy))
        told = msgspec.structs.asdict(call(memory, True))
        assert everything(memory) == before
        assert files(str(copy)) == bytes_before
        done = msgspec.structs.asdict(call(memory, False))
        gone = sum(one.entity.archived for one in everything(memory))
        memory.close()
        for name in ("dry_run", "db_size_delta_bytes"):
            told.pop(name, None)
            done.pop(name, None)
        if "examined" in done:
            assert (told.pop("archived"), done.pop("archived")) == (0, gone)
            assert told["examined"] == gone
        assert told == done


def test_a_dry_run_knows_of_uses_that_are_held_in_memory(keyword_memory: Memory) -> None:
    put(keyword_memory, "k", "green tea")
    keyword_memory.recall("green tea")
    assert keyword_memory.cohere(promote_threshold=1, dry_run=True).promoted == 1


# --- several at once

WRITE = """
import itertools
import sys
from mimir import Memory

with Memory.open(sys.argv[1], embedding="off") as memory:
    memory.remember("new", "first", {})
    print("ready", flush=True)
    for n in itertools.count():
        memory.remember("new", f"k{n}", {"content": f"text {n}"})
"""

DECAY = """
import sys
from mimir import Memory

with Memory.open(sys.argv[1], embedding="off") as memory:
    print("ready", flush=True)
    sys.stdin.readline()
    print(memory.decay().auto_archived, flush=True)
"""


def start(program: str, db: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def fill(memory: Memory, count: int) -> None:
    """Store memories under a clock that is long before the real one."""
    memory.remember_many({"category": "c", "key": f"k{n}", "body_json": {"content": f"text {n}"}} for n in range(count))


def test_others_write_between_the_batches_of_a_pass(
    open_memory: OpenMemory, clock: FixedClock, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "HOLD_S", 0.0)
    memory = open_memory(embedding="off")
    fill(memory, 10_000)
    writer = start(WRITE, db)
    try:
        clock.advance(DAY_MS)
        before = memory.stats().by_category["new"]
        result = memory.decay()
        after = memory.stats().by_category["new"]
    finally:
        writer.kill()
        writer.communicate()
    assert result.entities_updated >= 10_000
    assert after - before >= 10


def test_two_passes_at_once_archive_each_memory_once(open_memory: OpenMemory, db: str) -> None:
    memory = open_memory(embedding="off")
    fill(memory, 4_000)
    processes = [start(DECAY, db) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(counts) == 4_000
    assert memory.stats().active_entities == 0
    assert memory.store.check_integrity() == "ok"
    memory.decay()
    assert memory.store.document_frequencies(["text"])[0] == {"text": 0}


def meanwhile(memory: Memory, monkeypatch: pytest.MonkeyPatch, write: Callable[[], object]) -> None:
    """Let something be written just before the memory takes the write lock for the first time."""
    writing = memory.writing
    waiting = [write]

    @contextmanager
    def writing_later() -> Iterator[int]:
        if waiting:
            waiting.pop()()
        with writing() as now:
            yield now

    monkeypatch.setattr(memory, "writing", writing_later)


@pytest.mark.parametrize("same_process", [True, False])
def test_what_is_used_just_before_a_batch_is_written_is_not_archived(
    open_memory: OpenMemory, clock: FixedClock, monkeypatch: pytest.MonkeyPatch, same_process: bool
) -> None:
    memory = open_memory(embedding="off")
    put(memory, "used")
    put(memory, "idle")
    clock.advance(30 * DAY_MS)
    user = memory if same_process else open_memory(embedding="off")
    uses = stored(memory, "used").number
    if same_process:
        # Held back until the lock is taken, and written by the pass's own connection.
        meanwhile(memory, monkeypatch, lambda: memory.note_uses([uses]))
    else:
        meanwhile(memory, monkeypatch, lambda: user.remember("c", "used", {"content": "text of used"}))
    result = memory.decay()
    assert (result.entities_checked, result.entities_updated, result.auto_archived) == (2, 2, 1)
    assert archived(memory) == {"idle"}
    assert entity(memory, "used").decay_score == 1.0


def test_what_changes_just_before_links_are_written_is_not_linked(
    open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, other = open_memory(embedding="off"), open_memory(embedding="off")
    for key in ("a", "b", "c"):
        put(memory, key, NEAR.format(key), tags=("t",))
    meanwhile(memory, monkeypatch, lambda: other.remember("c", "c", {"content": "Cats sleep on the piano."}))
    assert memory.cohere().linked == 1
    assert links(memory) == {("a", "b")}

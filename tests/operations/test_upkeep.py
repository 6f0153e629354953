"""Vectors, counts, health and the index: what keeps a store in order."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mimir import InvalidInput, Memory, NotFound, StorageFailure
from mimir.operations.search import Embedded
from tests.conftest import OpenMemory
from tests.doubles import START_MS, FixedClock, WordEmbedder

# --- embed


def test_one_memory_is_embedded_now(memory: Memory, embedder: WordEmbedder) -> None:
    entity_id = memory.remember("c", "k", {"content": "green tea"}).id
    assert memory.embed(category="c", key="k") == Embedded(
        embedded=1, id=entity_id, dimensions=64, model=embedder.model_id
    )
    assert memory.stats().pending_embeddings == 0


def test_a_text_may_stand_for_the_body_until_the_body_changes(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    memory.embed(category="c", key="k", text="brass kettle")
    (hit,) = memory.recall("brass kettle", mode="dense", reinforce=False).items
    assert isinstance(hit.scores, dict)
    assert hit.scores["dense"] == pytest.approx(1.0, abs=0.01)
    memory.remember("c", "k", {"content": "black tea"})
    (hit,) = memory.recall("black tea", mode="dense", reinforce=False).items
    assert isinstance(hit.scores, dict)
    assert hit.scores["dense"] == pytest.approx(1.0, abs=0.01)


def test_a_batch_embeds_what_waits_in_a_category(memory: Memory) -> None:
    memory.remember_many(
        {"category": "a" if number < 7 else "b", "key": f"k{number}", "body_json": {"content": f"text {number}"}}
        for number in range(10)
    )
    first = memory.embed(batch_category="a", batch_limit=5)
    assert (first.embedded, first.batch_category, first.errors) == (5, "a", ())
    assert memory.embed(batch_category="a").embedded == 2
    assert memory.embed(batch_category="a").embedded == 0
    assert memory.stats().pending_embeddings == 3


def test_a_batch_wins_over_a_single_memory(memory: Memory) -> None:
    memory.remember("a", "k", {"content": "x"})
    memory.remember("b", "k", {"content": "x"})
    result = memory.embed(category="a", key="k", batch_category="b", text="y")
    assert (result.embedded, result.batch_category, result.id) == (1, "b", msgspec.UNSET)
    assert memory.stats().pending_embeddings == 1


def test_a_batch_leaves_out_what_is_forgotten(memory: Memory) -> None:
    memory.remember("a", "k", {"content": "x"})
    memory.forget("a", "k")
    assert memory.embed(batch_category="a").embedded == 0


@pytest.mark.parametrize("given", [{}, {"category": "c"}, {"key": "k"}, {"category": "", "key": "k"}], ids=repr)
def test_embedding_needs_a_memory_or_a_batch(memory: Memory, given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="is required") as raised:
        memory.embed(**given)  # type: ignore[arg-type]  # strings
    assert raised.value.hint


def test_embedding_the_unknown_is_not_found(memory: Memory) -> None:
    with pytest.raises(NotFound, match="entity not found: c/unknown"):
        memory.embed(category="c", key="unknown")


# --- stats


def test_an_empty_store_counts_nothing(memory: Memory) -> None:
    stats = memory.stats()
    assert (stats.total_entities, stats.active_entities, stats.by_category) == (0, 0, {})
    assert (stats.oldest_unix_ms, stats.newest_unix_ms) == (None, None)


def test_totals_include_what_is_forgotten(memory: Memory, clock: FixedClock) -> None:
    memory.remember("a", "k1", {"content": "x"}, type="note", layer="world")
    clock.advance(5)
    memory.remember("a", "k2", {"content": "x"})
    memory.remember("b", "k3", {"content": "x"})
    memory.remember("b", "k3", {"content": "y"})
    memory.forget("a", "k2")
    memory.embed(category="b", key="k3")
    stats = memory.stats()
    assert (stats.total_entities, stats.active_entities) == (3, 2)
    assert stats.by_category == {"a": 2, "b": 1}
    assert stats.by_type == {"insight": 2, "note": 1}
    assert stats.by_layer == {"buffer": 2, "core": 1}
    assert stats.total_versions == 1
    assert (stats.total_journal_events, stats.total_state_entries, stats.total_links) == (0, 0, 0)
    assert stats.embedded + stats.pending_embeddings == stats.passages == 4
    assert stats.embedded >= 1
    assert (stats.oldest_unix_ms, stats.newest_unix_ms) == (START_MS, START_MS + 5)
    assert stats.db_file_size_bytes == Path(memory.store.path).stat().st_size


def test_a_value_that_has_expired_is_not_counted(memory: Memory, clock: FixedClock) -> None:
    memory.state_set("stays", "1")
    memory.state_set("goes", "1", ttl_seconds=1)
    assert memory.stats().total_state_entries == 2
    clock.advance(1_001)
    assert memory.stats().total_state_entries == 1


# --- health


def test_a_good_store_is_healthy(memory: Memory, db: str) -> None:
    health = memory.health()
    assert (health.status, health.db_path, health.detail) == ("healthy", db, msgspec.UNSET)


def test_a_closed_store_is_unhealthy_and_says_why(memory: Memory) -> None:
    memory.close()
    health = memory.health()
    assert health.status == "unhealthy"
    assert isinstance(health.detail, str)
    assert "closed" in health.detail


def test_a_closed_memory_refuses_every_call_with_advice(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {"content": "x"}).id
    memory.close()
    memory.close()
    for call in (
        lambda: memory.remember("c", "k", {}),
        lambda: memory.remember_many([{"category": "c", "key": "k", "body_json": {}}]),
        lambda: memory.recall("x"),
        lambda: memory.recall(""),
        lambda: memory.get_entity(entity_id),
        lambda: memory.forget("c", "k"),
        lambda: memory.history("c", "k"),
        lambda: memory.as_of("c", "k", 0),
        memory.context,
        memory.stats,
        memory.reindex,
        lambda: memory.embed(category="c", key="k"),
    ):
        with pytest.raises(StorageFailure, match="closed") as raised:
            call()
        assert "Memory.open" in raised.value.hint


# --- reindex


def found(memory: Memory, query: str, **arguments: object) -> list[str]:
    answer = memory.recall(query, mode="fts5", reinforce=False, **arguments)  # type: ignore[arg-type]  # recall's own
    return sorted(hit.key for hit in answer.items)


def test_reindex_counts_live_memories_and_changes_no_answer(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "live", {"content": "green tea " + "with many more words " * 300}, tags=["leaf"])
    memory.remember("c", "茶", {"content": "绿茶"}, topic_path="/drinks")
    memory.remember("c", "gone", {"content": "green tea"})
    memory.forget("c", "gone")
    memory.remember("c", "old", {"content": "green tea"}, status="deprecated")
    memory.remember("c", "changed", {"content": "green zebra"})
    past = clock.now_ms()
    clock.advance(10)
    memory.remember("c", "changed", {"content": "black walrus"})
    questions: list[tuple[str, dict[str, object]]] = [
        ("tea", {}),
        ("tea", {"include_archived": True}),
        ("leaf", {}),
        ("绿茶", {}),
        ("drinks", {}),
        ("zebra", {}),
        ("zebra", {"as_of_unix_ms": past}),
        ("walrus", {}),
    ]
    before = [found(memory, query, **arguments) for query, arguments in questions]
    assert before == [["live"], ["gone", "live", "old"], ["live"], ["茶"], ["茶"], [], ["changed"], ["changed"]]
    assert memory.reindex().reindexed == 3
    assert [found(memory, query, **arguments) for query, arguments in questions] == before


def test_reindex_repairs_an_index_that_was_lost(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    with memory.store.writing() as connection:
        connection.execute("DELETE FROM passage_text")
    assert memory.recall("tea", mode="fts5").arms["keyword"] == 1
    assert memory.reindex().reindexed == 1
    (hit,) = memory.recall("teas", mode="fts5").items
    assert hit.key == "k"


def test_reindex_embeds_again_what_another_model_embedded(open_memory: OpenMemory) -> None:
    first = open_memory()
    first.remember("c", "k", {"content": "green tea"})
    first.recall("tea", mode="dense")
    other = open_memory(embedder=WordEmbedder("other-32", 32))
    assert other.recall("green tea", mode="dense").items == ()
    other.reindex()
    (hit,) = other.recall("green tea", mode="dense").items
    assert hit.key == "k"
    assert other.stats().embedded == 1

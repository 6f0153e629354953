"""Vectors: one per passage, of one model, in step with the text, found exactly, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mimir import Memory, Unavailable
from mimir.config import load_settings
from mimir.engine import EMBED_BATCH, LEASE_MS
from mimir.model import Entity, Filter, Hit, Passage, Recalled
from mimir.store import Store, open_store
from mimir.store.sqlite.vectors import RESCORED
from tests.conftest import OpenMemory
from tests.doubles import FixedClock, WordEmbedder

EVERYTHING = Filter(include_archived=True, every_caller=True)


def keys(answer: Recalled) -> list[str]:
    return [hit.key for hit in answer.items]


def cosine(hit: Hit) -> float:
    assert isinstance(hit.scores, dict)
    return hit.scores["dense"]


def fill(memory: Memory, count: int, category: str = "c") -> None:
    memory.remember_many(
        {"category": category, "key": f"k{number}", "body_json": {"content": f"text number {number}"}}
        for number in range(count)
    )


# --- computed once


class Interrupted(WordEmbedder):
    """An embedder in the middle of whose work something else happens."""

    def __init__(self, happening: Callable[[], object]) -> None:
        super().__init__()
        self.happening = happening

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.happening()
        return super().embed(texts)


def test_two_engines_never_embed_the_same_passage(open_memory: OpenMemory) -> None:
    """While one is in the middle of a batch, the other takes what is left and nothing of that batch."""
    theirs = WordEmbedder()
    second = open_memory(embedder=theirs)
    ours = Interrupted(lambda: None)
    first = open_memory(embedder=ours)
    ours.happening = lambda: theirs.embedded or second.embed_pending()
    fill(first, 3 * EMBED_BATCH)
    first.embed_pending()
    assert ours.embedded
    assert theirs.embedded
    assert sorted(ours.embedded + theirs.embedded) == sorted(set(ours.embedded + theirs.embedded))
    assert first.stats().embedded == 3 * EMBED_BATCH
    assert first.stats().pending_embeddings == 0


def test_what_another_process_has_taken_is_said_to_be_pending(open_memory: OpenMemory, clock: FixedClock) -> None:
    memory = open_memory()
    fill(memory, 5)
    with memory.store.writing():
        taken = memory.store.lease_pending(3, clock.now_ms(), clock.now_ms() + LEASE_MS)
    assert len(taken) == 3
    answer = memory.recall("text", mode="hybrid", reinforce=False)
    assert answer.pending == 3
    assert len(answer.items) == 5


def test_a_lease_that_ran_out_is_taken_over(open_memory: OpenMemory, clock: FixedClock, embedder: WordEmbedder) -> None:
    memory = open_memory()
    fill(memory, 3)
    with memory.store.writing():
        memory.store.lease_pending(3, clock.now_ms(), clock.now_ms() + LEASE_MS)
    assert memory.embed_pending() == 0
    clock.advance(LEASE_MS - 1)
    assert memory.embed_pending() == 0
    clock.advance(1)
    assert memory.embed_pending() == 3
    assert len(embedder.embedded) == 3


def test_the_newest_passages_are_taken_first_and_each_once(memory: Memory, clock: FixedClock) -> None:
    fill(memory, 10)
    now = clock.now_ms()
    with memory.store.writing():
        first = memory.store.lease_pending(4, now, now + LEASE_MS)
        second = memory.store.lease_pending(4, now, now + LEASE_MS)
        third = memory.store.lease_pending(4, now, now + LEASE_MS)
    assert [len(first), len(second), len(third)] == [4, 4, 2]
    assert min(first) > max(second) > min(second) > max(third)


def test_a_failing_embedder_loses_nothing_that_waits(open_memory: OpenMemory, clock: FixedClock) -> None:
    def fail() -> None:
        raise Unavailable("no model today")

    failing = open_memory(embedder=Interrupted(fail))
    failing.remember("c", "k", {"content": "green tea"})
    answer = failing.recall("green tea", reinforce=False)
    assert keys(answer) == ["k"]
    assert answer.mode == "fts5"
    assert isinstance(answer.degraded, str)
    assert "no model today" in answer.degraded
    clock.advance(LEASE_MS)
    assert open_memory().embed_pending() == 1


# --- in step with the text


def test_a_new_text_clears_the_vector_and_the_old_one_goes_with_its_version(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    memory.embed_pending()
    then = clock.now_ms()
    clock.advance()
    memory.remember("c", "k", {"content": "brass kettle"})
    stats = memory.stats()
    assert (stats.embedded, stats.pending_embeddings) == (1, 1)
    memory.embed_pending()
    assert memory.stats().embedded == 2
    (now_hit,) = memory.recall("brass kettle", mode="dense", reinforce=False).items
    assert cosine(now_hit) == pytest.approx(1.0, abs=0.01)
    (past_hit,) = memory.recall("green tea", mode="dense", as_of_unix_ms=then).items
    assert cosine(past_hit) == pytest.approx(1.0, abs=0.01)
    assert past_hit.evidence == "green tea"


def test_a_change_that_keeps_the_text_keeps_the_vector(memory: Memory, embedder: WordEmbedder) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    memory.embed_pending()
    memory.remember("c", "k", {"content": "green tea"}, tags=["leaf"], status="draft")
    memory.forget("c", "k")
    memory.remember("c", "k", {"content": "green tea"})
    assert memory.stats().pending_embeddings == 0
    assert embedder.embedded == ["green tea"]
    assert keys(memory.recall("green tea", mode="dense")) == ["k"]


def test_a_text_that_changes_while_it_is_embedded_gets_a_vector_of_its_own(open_memory: OpenMemory) -> None:
    writer = open_memory(embedding="off")
    embedder = Interrupted(lambda: None)
    memory = open_memory(embedder=embedder)
    memory.remember("c", "k", {"content": "green tea"})

    def change() -> None:
        embedder.happening = lambda: None
        writer.remember("c", "k", {"content": "brass kettle"})

    embedder.happening = change
    memory.embed_pending()
    (hit,) = memory.recall("brass kettle", mode="dense", reinforce=False).items
    assert cosine(hit) == pytest.approx(1.0, abs=0.01)


def test_every_passage_of_a_long_text_has_a_vector(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "green tea " * 400 + "the brass kettle whistles"})
    (stored,) = memory.store.find("c", "k", "")
    assert stored.passages > 2
    memory.embed_pending()
    assert memory.stats().embedded == stored.passages
    (hit,) = memory.recall("brass kettle whistles", mode="dense").items
    assert "kettle" in hit.evidence


# --- other models


def test_a_store_of_another_model_says_that_meaning_is_not_searched(open_memory: OpenMemory) -> None:
    first = open_memory()
    first.remember("c", "k", {"content": "green tea"})
    first.embed_pending()
    other = open_memory(embedder=WordEmbedder("another-64"))
    for mode in ("", "hybrid"):
        answer = other.recall("green tea", mode=mode, reinforce=False)
        assert keys(answer) == ["k"]
        assert isinstance(answer.degraded, str), mode


def test_embedding_again_can_be_stopped_and_goes_on_with_the_rest(open_memory: OpenMemory) -> None:
    first = open_memory()
    fill(first, 2 * EMBED_BATCH)
    first.embed_pending()
    first.close()
    stopped = open_memory(embedder=WordEmbedder("other-32", 32))
    stopped.reindex()
    stopped.embed_pending(0.0)
    stopped.embed(category="c", key="k3")
    stopped.close()
    embedder = WordEmbedder("other-32", 32)
    memory = open_memory(embedder=embedder)
    assert "k3" in keys(memory.recall("text number 3", mode="fts5", reinforce=False))
    memory.embed_pending()
    assert len(embedder.embedded) <= 2 * EMBED_BATCH - 1
    assert "text number 3" not in embedder.embedded
    assert memory.stats().embedded == 2 * EMBED_BATCH
    assert len(memory.recall("text", mode="dense", limit=100).items) == 2 * EMBED_BATCH


def test_each_model_finds_its_own_vectors_only(open_memory: OpenMemory) -> None:
    ours, theirs = open_memory(), open_memory(embedder=WordEmbedder("other-128", 128))
    ours.remember("c", "ours", {"content": "green tea"})
    ours.embed_pending()
    theirs.remember("c", "theirs", {"content": "green tea"})
    theirs.embed_pending()
    for _ in range(2):
        assert keys(ours.recall("green tea", mode="dense")) == ["ours"]
        assert keys(theirs.recall("green tea", mode="dense")) == ["theirs"]


# --- exact


DIMENSIONS = 96
CROWD = 3_000
RARE = 12


@pytest.fixture(scope="module")
def table() -> NDArray[np.float32]:
    vectors = np.random.default_rng(7).standard_normal((CROWD, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def scope(number: int) -> tuple[str, str, str, str]:
    """Return category, workspace, type and visibility of a row; the rare ones are few and far between."""
    rare = number % (CROWD // RARE) == 5
    return (
        "rare" if rare else f"c{number % 3}",
        "w" if rare else "",
        "odd" if rare else "insight",
        "private" if rare else "workspace",
    )


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, table: NDArray[np.float32]) -> Iterator[Store]:
    path: Path = tmp_path_factory.mktemp("vectors") / "memory.db"
    store = open_store(load_settings(db=str(path), durability="normal"))
    with closing(store):
        entities = []
        for number in range(CROWD):
            category, workspace, kind, visibility = scope(number)
            entities.append(
                Entity(
                    id=f"mem-{number}",
                    category=category,
                    key=f"k{number}",
                    body_json="{}",
                    workspace_hash=workspace,
                    type=kind,
                    visibility=visibility,
                    agent_id="me",
                    decay_score=0.9 if visibility == "private" else 0.5,
                )
            )
        with store.writing():
            store.insert_new(entities, [""] * CROWD, [(Passage(start=0, length=0),)] * CROWD)
            store.add_vectors(store.model_number("random", DIMENSIONS), range(1, CROWD + 1), table)
        yield store


RARE_FILTERS = {
    "category": Filter(category="rare", every_caller=True),
    "workspace": Filter(workspace_hash="w", every_caller=True),
    "type": Filter(type="odd", every_caller=True),
    "strength": Filter(min_decay=0.8, every_caller=True),
    "category and type": Filter(category="rare", type="odd", every_caller=True),
    "excluded categories": Filter(excluded_categories=("c0", "c1", "c2"), every_caller=True),
}


def by_hand(table: NDArray[np.float32], query: NDArray[np.float32], numbers: Sequence[int]) -> list[int]:
    return sorted(numbers, key=lambda number: -float(table[number] @ query))


@pytest.mark.parametrize("name", RARE_FILTERS)
@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_a_filter_that_few_pass_finds_them_all(crowd: Store, table: NDArray[np.float32], name: str, far: bool) -> None:
    """However far from the question they lie: behind more strangers than are ranked at a time."""
    inside = [number for number in range(CROWD) if scope(number)[0] == "rare"]
    assert len(inside) == RARE
    query = -table[inside[3]] if far else table[inside[3]]
    found = crowd.nearest(1, query, RARE_FILTERS[name], 50)
    assert [candidate.owner - 1 for candidate in found] == by_hand(table, query, inside)


def test_a_caller_finds_private_vectors_of_its_own_only(crowd: Store, table: NDArray[np.float32]) -> None:
    inside = [number for number in range(CROWD) if scope(number)[0] == "rare"]
    query = -table[0]
    mine = crowd.nearest(1, query, Filter(type="odd", caller="me"), 50)
    assert [candidate.owner - 1 for candidate in mine] == by_hand(table, query, inside)
    assert crowd.nearest(1, query, Filter(type="odd", caller="them"), 50) == []


@pytest.mark.parametrize("row", [0, 17, 1_234, 2_999])
def test_the_nearest_are_the_nearest_by_exact_products(crowd: Store, table: NDArray[np.float32], row: int) -> None:
    found = crowd.nearest(1, table[row], EVERYTHING, 10)
    assert found[0].owner - 1 == row
    assert found[0].score == pytest.approx(1.0, abs=0.01)
    expected = by_hand(table, table[row], range(CROWD))[:10]
    assert len({candidate.owner - 1 for candidate in found} & set(expected)) >= 9
    for candidate in found:
        assert candidate.score == pytest.approx(float(table[candidate.owner - 1] @ table[row]), abs=0.01)
    assert [candidate.score for candidate in found] == sorted((one.score for one in found), reverse=True)


def test_more_may_be_asked_for_than_are_ranked_at_a_time(crowd: Store, table: NDArray[np.float32]) -> None:
    found = crowd.nearest(1, table[3], EVERYTHING, CROWD)
    assert len(found) == CROWD > RESCORED
    assert [candidate.owner - 1 for candidate in found[:1]] == [3]


def test_the_cosines_of_given_owners_are_those_of_the_search(crowd: Store, table: NDArray[np.float32]) -> None:
    found = crowd.nearest(1, table[3], EVERYTHING, 20)
    again = crowd.cosines(1, table[3], [candidate.owner for candidate in found])
    assert sorted(again, key=lambda one: (-one.score, one.passage)) == found


def test_vectors_that_were_replaced_many_times_hide_no_other(memory: Memory) -> None:
    """What an index in memory has kept of former vectors costs time, never an answer."""
    fill(memory, 4)
    memory.embed_pending()
    for number in range(RESCORED + 50):
        memory.embed(category="c", key="k0", text=f"question {number % 2}")
        if number % 100 == 0:
            memory.recall("question", mode="dense", limit=1, reinforce=False)
    assert len(memory.recall("question", mode="dense", limit=10, reinforce=False).items) == 4

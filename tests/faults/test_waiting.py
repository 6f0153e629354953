"""Who does not wait for whom, and how long the log grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from mimir import Busy, Memory, engine
from tests.conftest import OpenMemory
from tests.doubles import DAY_MS, FixedClock, WordEmbedder
from tests.server.client import PATIENCE_S
from tests.store.test_locking import write_lock

FOR_EVER_MS: Final = 10 * 60 * 1000

READS: Final[dict[str, Callable[[Memory], object]]] = {
    "recall": lambda memory: memory.recall("green kettle"),
    "hybrid": lambda memory: memory.recall("green kettle", mode="hybrid"),
    "dense": lambda memory: memory.recall("green kettle", mode="dense"),
    "semantic_search": lambda memory: memory.semantic_search("green kettle"),
    "context": lambda memory: memory.context(query="green kettle"),
    "recall_when": lambda memory: memory.recall_when("green kettle"),
    "state_list": lambda memory: memory.state_list(),
    "state_get": lambda memory: memory.state_get("gone"),
    "stats": lambda memory: memory.stats(),
    "health": lambda memory: memory.health(),
}


@pytest.mark.parametrize("name", READS)
def test_no_read_waits_for_the_write_lock_of_another_process(
    db: str, open_memory: OpenMemory, clock: FixedClock, name: str
) -> None:
    memory = open_memory(busy_timeout_ms=FOR_EVER_MS)
    memory.remember("c", "embedded", {"content": "green tea"})
    memory.embed_pending()
    memory.state_set("gone", "1", ttl_seconds=1)
    clock.advance(5_000)
    memory.remember("c", "waiting", {"content": "green kettle"})
    reader = threading.Thread(target=READS[name], args=(memory,))
    with write_lock(db):
        reader.start()
        reader.join(PATIENCE_S)
        assert not reader.is_alive()


@pytest.mark.parametrize("name", READS)
def test_no_read_waits_for_another_writer_of_its_own_process(
    open_memory: OpenMemory, clock: FixedClock, name: str
) -> None:
    memory = open_memory(busy_timeout_ms=FOR_EVER_MS)
    memory.remember("c", "embedded", {"content": "green tea"})
    memory.embed_pending()
    memory.state_set("gone", "1", ttl_seconds=1)
    clock.advance(5_000)
    memory.remember("c", "waiting", {"content": "green kettle"})
    reader = threading.Thread(target=READS[name], args=(memory,))
    with memory.store.writing():
        reader.start()
        reader.join(PATIENCE_S)
        assert not reader.is_alive()


@pytest.mark.parametrize("altogether", [False, True])
def test_all_the_turns_of_a_read_wait_no_longer_than_one_may(
    db: str, open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch, *, altogether: bool
) -> None:
    """However many turns the vectors of new memories take, what one has waited is not there for the next."""
    store = open_memory(busy_timeout_ms=FOR_EVER_MS).store
    pauses, sleep = [0, 0, 0], time.sleep
    with write_lock(db), store.waiting_at_most(0.3, altogether=altogether):
        for turn in range(len(pauses)):

            def pause(seconds: float, turn: int = turn) -> None:
                pauses[turn] += 1
                sleep(seconds)

            monkeypatch.setattr(time, "sleep", pause)
            with pytest.raises(Busy), store.writing():
                pass
    first, *later = pauses
    assert first > 1
    assert all(count <= 1 for count in later) is altogether


def test_the_end_after_a_read_does_not_wait_until_another_process_lets_the_store_go(
    db: str, open_memory: OpenMemory
) -> None:
    memory = open_memory(busy_timeout_ms=FOR_EVER_MS)
    memory.remember("c", "k", {"content": "green kettle"})
    with write_lock(db):
        memory.recall("green kettle")
        closer = threading.Thread(target=memory.close)
        closer.start()
        closer.join(PATIENCE_S)
        assert not closer.is_alive()


class Interrupting(WordEmbedder):
    """An embedder during whose work another process takes the store."""

    def __init__(self) -> None:
        super().__init__()
        self.working = threading.Event()
        self.go_on = threading.Event()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = super().embed(texts)
        self.working.set()
        assert self.go_on.wait(PATIENCE_S)
        return vectors


def test_vectors_that_cannot_be_stored_now_are_stored_in_the_next_turn(db: str, open_memory: OpenMemory) -> None:
    embedder = Interrupting()
    memory = open_memory(embedder=embedder, busy_timeout_ms=50)
    with memory.store.writing():
        memory.store.model_number(embedder.model_id, embedder.dimensions)
        entity_id = memory.remember("c", "k", {"content": "green tea"}).id
    failures: list[Busy] = []

    def embed() -> None:
        try:
            memory.embed_pending()
        except Busy as error:
            failures.append(error)

    turn = threading.Thread(target=embed)
    turn.start()
    assert embedder.working.wait(PATIENCE_S)
    with write_lock(db):
        embedder.go_on.set()
        turn.join(PATIENCE_S)
    memory.embed_pending()
    assert memory.stats().pending_embeddings == 0
    assert len(embedder.embedded) == 1
    assert [hit.id for hit in memory.recall("green", mode="dense").items] == [entity_id]
    assert len(failures) == 1


def test_a_log_that_a_reader_keeps_is_emptied_when_he_has_gone(
    open_memory: OpenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LONGEST_LOG_BYTES", 500_000)
    monkeypatch.setattr(engine, "FOLD_PATIENCE_S", 0.01)
    monkeypatch.setattr(engine, "FOLD_DELAY_S", 0.01)
    writer, reader = open_memory(embedding="off"), open_memory(embedding="off")
    emptied = threading.Event()
    truncate = writer.store.truncate_log

    def watched(patience_s: float) -> bool:
        done = truncate(patience_s)
        if done:
            emptied.set()
        return done

    monkeypatch.setattr(writer.store, "truncate_log", watched)
    with reader.store.reading():
        reader.stats()
        for number in range(20):
            writer.remember("c", f"k{number}", {"content": f"text {number} " * 2_000})
        assert writer.store.log_size() > 500_000
        assert not emptied.is_set()
    assert emptied.wait(PATIENCE_S)
    assert writer.store.log_size() == 0
    assert reader.stats().total_entities == 20


def test_what_was_leased_while_the_clock_was_ahead_is_embedded_when_it_is_right(
    open_memory: OpenMemory, clock: FixedClock
) -> None:
    memory = open_memory()
    memory.remember("c", "k", {"content": "green tea"})
    clock.advance(400 * DAY_MS)
    with memory.store.writing():
        now = clock.now_ms()
        assert memory.store.lease_pending(10, now, now + 60_000)
    clock.advance(-400 * DAY_MS)
    heir = open_memory()
    heir.embed_pending()
    assert heir.stats().pending_embeddings == 0

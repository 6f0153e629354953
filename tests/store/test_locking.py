"""Several holders of one file: who waits, who need not, and what closing means."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import apsw
import pytest

from mimir import Busy, Memory, StorageFailure
from mimir.model import Recalled
from tests.conftest import OpenMemory


def keys(answer: Recalled) -> list[str]:
    return [hit.key for hit in answer.items]


@contextmanager
def write_lock(path: str) -> Iterator[None]:
    """Hold the write lock of a store as another process would."""
    with closing(apsw.Connection(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture
def hurried(open_memory: OpenMemory) -> Memory:
    """Return a memory that waits for others for a moment only."""
    memory = open_memory(busy_timeout_ms=50)
    memory.remember("c", "k", {"content": "green tea"})
    memory.embed_pending()
    return memory


def test_a_write_fails_as_busy_when_another_holds_the_store_for_too_long(hurried: Memory, db: str) -> None:
    with write_lock(db):
        for write in (
            lambda: hurried.remember("c", "k2", {"n": 1}),
            lambda: hurried.remember("c", "k", {"n": 1}),
            lambda: hurried.remember_many([{"category": "c", "key": "k3", "body_json": {"n": 1}}]),
            lambda: hurried.forget("c", "k"),
            lambda: hurried.embed(category="c", key="k"),
            hurried.reindex,
        ):
            with pytest.raises(Busy, match="Another process") as raised:
                write()
            assert raised.value.hint
    assert hurried.stats().total_entities == 1
    assert hurried.remember("c", "k2", {"n": 1}).action == "created"


@pytest.mark.parametrize("mode", ["fts5", "dense", "hybrid", ""])
def test_readers_are_not_blocked_by_a_writer(hurried: Memory, open_memory: OpenMemory, db: str, mode: str) -> None:
    with write_lock(db):
        assert keys(hurried.recall("green tea", mode=mode)) == ["k"]
        assert hurried.get_entity(hurried.recall("", reinforce=False).items[0].id).key == "k"
        assert hurried.stats().total_entities == 1
        assert hurried.health().status == "healthy"
        assert keys(open_memory(busy_timeout_ms=50).recall("green tea", mode="fts5")) == ["k"]


@pytest.mark.parametrize("mode", ["fts5", "hybrid", ""])
def test_a_recall_does_not_fail_because_embedding_has_to_wait(hurried: Memory, db: str, mode: str) -> None:
    hurried.remember("c", "new", {"content": "green kettle"})
    with write_lock(db):
        answer = hurried.recall("green", mode=mode, reinforce=False)
    assert set(keys(answer)) == {"k", "new"}
    if mode != "fts5":
        assert answer.pending == 1


def test_uses_that_cannot_be_written_now_are_written_later(hurried: Memory, db: str) -> None:
    entity_id = hurried.recall("", reinforce=False).items[0].id
    with write_lock(db):
        hurried.recall("green tea", mode="fts5")
        with pytest.raises(Busy):
            hurried.flush_uses()
        hurried.recall("green tea", mode="fts5")
    hurried.flush_uses()
    assert hurried.get_entity(entity_id).retrieval_count == 2


def test_closing_while_another_holds_the_store_does_not_fail(hurried: Memory, db: str) -> None:
    with write_lock(db):
        hurried.recall("green tea", mode="fts5")
        hurried.close()


def test_a_reader_sees_one_state_however_much_is_written_meanwhile(open_memory: OpenMemory) -> None:
    reader, writer = open_memory(), open_memory()
    writer.remember("c", "k", {"content": "green tea"})
    with reader.store.reading():
        before = reader.stats().total_entities
        writer.remember("c", "k2", {"content": "green tea"})
        assert writer.stats().total_entities == 2
        assert reader.stats().total_entities == before == 1
        assert keys(reader.recall("green tea", mode="fts5")) == ["k"]
    assert reader.stats().total_entities == 2


def test_a_writer_waits_for_another_and_then_goes_on(open_memory: OpenMemory) -> None:
    first, second = open_memory(), open_memory()
    inside, done = threading.Event(), threading.Event()

    def write() -> None:
        inside.wait(60)
        second.remember("c", "second", {"n": 1})
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    with first.store.writing():
        inside.set()
        first.remember("c", "first", {"n": 1})
        assert not done.is_set()
    thread.join(60)
    assert done.is_set()
    assert first.stats().total_entities == 2


def test_what_is_written_in_one_transaction_is_seen_at_once_or_not_at_all(open_memory: OpenMemory) -> None:
    writer, reader = open_memory(), open_memory()

    def write() -> None:
        with writer.store.writing():
            for number in range(5):
                writer.remember("c", f"k{number}", {"n": number})
            assert reader.stats().total_entities == 0
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert reader.stats().total_entities == writer.stats().total_entities == 0


# --- closing


def test_closing_twice_is_harmless(memory: Memory) -> None:
    memory.remember("c", "k", {"n": 1})
    memory.close()
    memory.close()


def test_a_closed_memory_says_so_in_every_thread(memory: Memory) -> None:
    memory.remember("c", "k", {"n": 1})
    memory.close()
    failures: list[BaseException] = []

    def use() -> None:
        try:
            memory.recall("n")
        except StorageFailure as error:
            failures.append(error)

    use()
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert ["closed" in str(failure) for failure in failures] == [True, True]


def test_closing_one_memory_leaves_the_others_open(open_memory: OpenMemory) -> None:
    first, second = open_memory(), open_memory()
    first.remember("c", "k", {"n": 1})
    first.close()
    assert second.remember("c", "k2", {"n": 1}).action == "created"


def test_a_memory_is_closed_at_the_end_of_its_block_even_on_an_error(open_memory: OpenMemory) -> None:
    memory = open_memory()

    def use() -> None:
        with memory:
            memory.remember("c", "k", {"n": 1})
            raise KeyError

    with pytest.raises(KeyError):
        use()
    with pytest.raises(StorageFailure, match="closed"):
        memory.stats()
    assert open_memory().stats().total_entities == 1


def test_uses_are_written_down_at_the_end(open_memory: OpenMemory) -> None:
    with open_memory() as memory:
        entity_id = memory.remember("c", "k", {"content": "green tea"}).id
        memory.recall("tea", mode="fts5")
    assert open_memory().get_entity(entity_id).retrieval_count == 1

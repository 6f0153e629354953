"""The counter of changes: it grows with all that a memory says and is, and with nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from mimir import Memory
from mimir.store.sqlite import schema
from mimir.store.sqlite.entities import UPDATE_LAYER
from tests.conftest import OpenMemory
from tests.doubles import FixedClock


@pytest.fixture
def pair(memory: Memory) -> Memory:
    """Return a memory that holds two notes, the first linked to the second."""
    memory.remember("c", "a", {"content": "first"})
    target = memory.remember("c", "b", {"content": "second"}).id
    memory.link("c", "a", target, "near")
    return memory


def erase(memory: Memory) -> None:
    memory.forget("c", "a")
    memory.purge()


CHANGES: dict[str, Callable[[Memory], object]] = {
    "a new memory": lambda memory: memory.remember("c", "n", {"content": "x"}),
    "many new memories": lambda memory: memory.remember_many([{"category": "c", "key": "n", "body_json": {}}]),
    "a new text": lambda memory: memory.remember("c", "a", {"content": "changed"}),
    "new tags": lambda memory: memory.remember("c", "a", {"content": "first"}, tags=["t"]),
    "a new layer": lambda memory: memory.remember("c", "a", {"content": "first"}, layer="world"),
    "an explicit score": lambda memory: memory.score("c", "a", 0.9),
    "a new link": lambda memory: memory.link("c", "b", "mem-000000000001"),
    "another weight": lambda memory: memory.link("c", "a", "mem-000000000002", "near", weight=0.9),
    "a removed link": lambda memory: memory.unlink("c", "a", "mem-000000000002"),
    "archiving": lambda memory: memory.forget("c", "a"),
    "erasing": erase,
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_a_memory_moves_the_counter(pair: Memory, open_memory: OpenMemory, name: str) -> None:
    other = open_memory().store
    before = other.change_counter()
    CHANGES[name](pair)
    assert pair.store.change_counter() > before
    assert other.change_counter() == pair.store.change_counter()
    assert other.changed_since(before) != ()


def test_neither_use_nor_fading_nor_what_is_no_memory_moves_it(pair: Memory, clock: FixedClock) -> None:
    before = pair.store.change_counter()
    pair.recall("first")
    pair.flush_uses()
    clock.advance(3_600_000)
    pair.decay()
    pair.journal("seen", "nothing")
    pair.state_set("k", "1")
    pair.embed_pending()
    pair.remember("c", "a", {"content": "first"})
    assert pair.get_entity("mem-000000000001").retrieval_count == 2
    assert pair.store.change_counter() == before


def test_what_changed_since_a_moment_is_told_each_once_and_in_order(pair: Memory) -> None:
    start = pair.store.change_counter()
    pair.remember("c", "b", {"content": "two"})
    middle = pair.store.change_counter()
    pair.remember("c", "a", {"content": "one"})
    pair.remember("c", "a", {"content": "one again"})
    assert pair.store.changed_since(start) == (2, 1)
    assert pair.store.changed_since(middle) == (1,)
    assert pair.store.changed_since(pair.store.change_counter()) == ()


def test_erased_memories_are_told_too(pair: Memory) -> None:
    before = pair.store.change_counter()
    erase(pair)
    assert 1 in pair.store.changed_since(before)
    assert 1 not in pair.store.load([1])


def test_a_store_from_before_the_counter_is_given_one(open_memory: OpenMemory, db: str) -> None:
    first = open_memory()
    first.remember("c", "a", {"content": "first"})
    first.close()
    with closing(sqlite3.connect(db)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE sql LIKE '%INTO changes%'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("DROP TABLE changes")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    again = open_memory()
    assert again.get_entity("mem-000000000001").key == "a"
    assert again.store.change_counter() == 0
    again.remember("c", "a", {"content": "changed"})
    assert again.store.changed_since(0) == (1,)
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS)


def test_fading_and_use_look_at_no_trigger_and_move_nothing_that_is_counted(pair: Memory, clock: FixedClock) -> None:
    connection = pair.store.database.connection  # type: ignore[attr-defined]  # that of SQLite
    written: list[str] = []

    def running(_cursor: object, sql: str, _bindings: object) -> bool:
        written.extend([sql] if sql.startswith("UPDATE entities") and sql != UPDATE_LAYER else [])
        return True

    connection.exec_trace = running
    clock.advance(3_600_000)
    pair.decay()
    pair.recall("first", mode="fts5")
    pair.flush_uses()
    connection.exec_trace = None
    assert len(set(written)) == 2
    counted = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'entities_facets'").get
    for sql in written:
        steps = connection.execute(f"EXPLAIN {sql}", (None,) * sql.count("?")).fetchall()
        assert "Program" not in {step[1] for step in steps}
        assert counted not in {step[3] for step in steps if step[1] == "OpenWrite"}

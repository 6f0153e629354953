"""Purges that are killed: whatever was reached, the store is sound and the next purge finishes the work."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.conftest import OpenMemory
from tests.faults.test_kill import read_until_killed, start
from tests.operations.test_erasure import left_in_files, strange_words

PURGE = """
import sys
from mimir import Memory
memory = Memory.open(sys.argv[1], embedding="off")
store = memory.store

def reporting(name):
    step = getattr(store, name)
    def reported(*arguments):
        done = step(*arguments)
        print(name, flush=True)
        return done
    setattr(store, name, reported)

for name in ("erase", "sweep_index", "sweep_marks", "vacuum", "truncate_log", "note_swept"):
    reporting(name)
memory.purge()
sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "last"),
    [(1, "erase"), (7, "erase"), (11, "sweep_index"), (12, "sweep_marks"), (13, "vacuum"), (14, "truncate_log")],
    ids=str,
)
def test_a_purge_that_was_killed_is_finished_by_the_next(
    db: str, open_memory: OpenMemory, lines: int, last: str
) -> None:
    words = strange_words(600)
    with open_memory(embedding="off", clock=None) as memory:
        memory.remember_many(
            {"category": "c", "key": f"k{number}", "body_json": {"content": word}} for number, word in enumerate(words)
        )
        with memory.writing():
            for number in range(500):
                memory.forget("c", f"k{number}")
        memory.journal(evaluated=words[0], category="c", key="k0")
    process, _, output = start("-c", PURGE, db)
    printed = read_until_killed(process, output, lines)
    assert printed[lines - 1].strip() == last
    memory = open_memory(embedding="off", clock=None)
    assert memory.verify().ok
    assert memory.stats().total_entities >= 100
    left = memory.stats().total_entities - 100
    purged = memory.purge()
    assert (purged.entities_deleted, purged.unreachable) == (left, ())
    assert left_in_files(db, words) == words[500:]
    assert memory.store.unswept() == 0
    assert memory.stats().total_entities == memory.stats().passages == 100
    assert memory.verify().ok
    assert memory.timeline().items[0].erased is True


@pytest.mark.slow
def test_a_purge_that_was_killed_leaves_a_file_that_other_tools_find_sound(db: str, open_memory: OpenMemory) -> None:
    with open_memory(embedding="off", clock=None) as memory:
        for number in range(150):
            memory.remember("c", f"k{number}", {"content": f"text {number}"})
            memory.forget("c", f"k{number}")
    process, _, output = start("-c", PURGE, db)
    read_until_killed(process, output, 1)
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"

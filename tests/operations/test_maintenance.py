"""Maintenance: each part when it is asked for, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mimir import Memory
from mimir.operations.maintenance import Maintained
from tests.conftest import OpenMemory
from tests.doubles import FixedClock

NOTHING = {
    "dedup_archived": 0,
    "orphan_journal_entries_found": 0,
    "orphan_links_found": 0,
    "vacuum_reclaimed_bytes": 0,
    "reindex_rows_affected": 0,
}


def done(**fields: Any) -> Maintained:  # noqa: ANN401 - fields of any type
    return Maintained(**{**NOTHING, "dry_run": False, "errors": (), **fields})


def live(memory: Memory) -> list[str]:
    return sorted(hit.key for hit in memory.recall("", limit=1_000, reinforce=False).items)


@pytest.fixture
def repeated(memory: Memory, clock: FixedClock) -> Memory:
    """Return a memory in which one text is stored three times, and others look nearly like it."""
    for key, text in (
        ("first", "The port is 5432."),
        ("second", "the  port is 5432"),
        ("third", "The port is 5432!"),
        ("other-digit", "The port is 5433."),
        ("other-words", "The port was 5432."),
    ):
        memory.remember("fact", key, {"content": text})
        clock.advance()
    memory.remember("note", "elsewhere", {"content": "The port is 5432."})
    memory.remember("fact", "elsewhere", {"content": "The port is 5432."}, workspace_hash="w")
    return memory


def test_without_a_choice_nothing_is_done(repeated: Memory, db: str) -> None:
    repeated.store.truncate_log(1.0)
    before = Path(db).read_bytes()
    assert repeated.maintenance() == done()
    assert repeated.maintenance(dry_run=True) == done(dry_run=True)
    assert Path(db).read_bytes() == before


# --- duplicates


def test_later_copies_of_one_text_are_archived(repeated: Memory) -> None:
    kept = repeated.store.find("fact", "first", "")[0].entity.id
    assert repeated.maintenance(dedup=True) == done(dedup_archived=2)
    assert live(repeated) == ["elsewhere", "elsewhere", "first", "other-digit", "other-words"]
    for key in ("second", "third"):
        entity = repeated.store.find("fact", key, "")[0].entity
        assert (entity.archived, entity.archive_reason) == (True, f"duplicate of {kept}")
    assert repeated.maintenance(dedup=True) == done()


def test_a_dry_run_counts_what_would_be_archived(repeated: Memory) -> None:
    before = live(repeated)
    assert repeated.maintenance(dedup=True, dry_run=True) == done(dedup_archived=2, dry_run=True)
    assert live(repeated) == before


def test_the_most_used_copy_stays(repeated: Memory) -> None:
    repeated.remember("fact", "third", {"content": "The port is 5432!"})
    repeated.maintenance(dedup=True)
    assert {"first", "second", "third"} & set(live(repeated)) == {"third"}


@pytest.mark.parametrize("mark", ["pinned", "verified", "scored"])
def test_what_somebody_vouched_for_stays_beside_the_one_that_ranks_first(repeated: Memory, mark: str) -> None:
    columns = {"pinned": "always_on = 1", "verified": "verified = 1", "scored": "score_floor = 0.6"}
    with repeated.store.writing() as connection:
        connection.execute(f"UPDATE entities SET {columns[mark]} WHERE key IN ('second', 'third')")  # noqa: S608 - ours
    assert repeated.maintenance(dedup=True) == done(dedup_archived=1)
    assert {"first", "second", "third"} & set(live(repeated)) == {"second", "third"}


def test_archived_and_superseded_memories_are_no_copies(repeated: Memory) -> None:
    repeated.forget("fact", "first")
    repeated.remember("fact", "second", {"content": "the  port is 5432"}, status="superseded")
    assert repeated.maintenance(dedup=True) == done()


def test_nobody_loses_a_private_memory_to_one_that_it_cannot_read(open_memory: OpenMemory) -> None:
    ada, bob = open_memory(agent_id="ada"), open_memory(agent_id="bob")
    for number, memory in enumerate((ada, bob, ada)):
        memory.remember("c", f"k{number}", {"content": "the same"}, visibility="private")
    assert ada.maintenance(dedup=True) == done(dedup_archived=1)
    assert (live(ada), live(bob)) == (["k0"], ["k1"])


def test_many_copies_are_archived_in_several_transactions(keyword_memory: Memory) -> None:
    memory = keyword_memory
    memory.remember_many({"category": "c", "key": f"k{n}", "body_json": {"content": "same"}} for n in range(75))
    assert memory.maintenance(dedup=True) == done(dedup_archived=74)
    assert len(live(memory)) == 1
    assert memory.recall("same", mode="fts5").total == 1
    assert memory.verify().ok


# --- orphans


def test_orphans_are_counted_and_left_alone(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {"content": "x"}).id
    for subject in (entity_id, "mem-unknown", "mem-unknown", ""):
        memory.journal(entity_id=subject)
    with memory.store.writing() as connection:
        for source, target in ((1, entity_id), (1, "mem-gone"), (9, entity_id)):
            connection.execute("INSERT INTO links VALUES (?, ?, 'knows', 1.0, 1)", (source, target))
    for _ in range(2):
        assert memory.maintenance(orphans=True) == done(orphan_journal_entries_found=2, orphan_links_found=2)
    assert memory.timeline().total == 4


def test_archived_memories_make_no_orphans(memory: Memory) -> None:
    memory.journal(entity_id=memory.remember("c", "k", {"content": "x"}).id)
    memory.forget("c", "k")
    assert memory.maintenance(orphans=True) == done()


# --- space and index


def test_free_space_is_given_back_and_counted(memory: Memory) -> None:
    for number in range(40):
        memory.remember("c", f"k{number}", {"content": f"words {number} " * 1_000})
    with memory.store.writing() as connection:
        connection.execute("CREATE TABLE ballast AS SELECT zeroblob(2000000) AS bytes")
    with memory.store.writing() as connection:
        connection.execute("DROP TABLE ballast")
    assert memory.store.truncate_log(1.0)
    before = memory.store.file_size()
    result = memory.maintenance(vacuum=True)
    assert result.vacuum_reclaimed_bytes == before - memory.store.file_size() > 1_900_000
    assert result.errors == ()
    assert len(live(memory)) == 40


def test_the_index_is_rebuilt(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "brewed tea"})
    memory.remember("c", "gone", {"content": "brewed tea"})
    memory.forget("c", "gone")
    with memory.store.writing() as connection:
        connection.execute("DELETE FROM passage_text")
    assert memory.recall("brewing", mode="fts5").items == ()
    assert memory.maintenance(reindex=True) == done(reindex_rows_affected=1)
    assert [hit.key for hit in memory.recall("brewing", mode="fts5").items] == ["k"]


def test_all_is_all_four(repeated: Memory) -> None:
    repeated.journal(entity_id="mem-unknown")
    result = repeated.maintenance(all=True)
    assert (result.dedup_archived, result.orphan_journal_entries_found, result.reindex_rows_affected) == (2, 1, 5)
    assert result.errors == ()


def test_a_dry_run_of_all_neither_shrinks_nor_rebuilds(repeated: Memory, db: str) -> None:
    repeated.store.truncate_log(1.0)
    before = Path(db).read_bytes()
    assert repeated.maintenance(all=True, dry_run=True) == done(dedup_archived=2, dry_run=True)
    assert Path(db).read_bytes() == before


def test_a_part_that_fails_does_not_stop_the_others(open_memory: OpenMemory) -> None:
    memory, other = open_memory(busy_timeout_ms=50), open_memory()
    for key in ("a", "b"):
        memory.remember("c", key, {"content": "same"})
    memory.journal(entity_id="mem-unknown")
    with other.store.writing():
        result = memory.maintenance(all=True)
    assert [error.split(":")[0] for error in result.errors] == ["dedup", "reindex", "vacuum"]
    assert (result.orphan_journal_entries_found, result.dedup_archived) == (1, 0)
    again = memory.maintenance(all=True)
    assert (again.errors, again.dedup_archived) == ((), 1)

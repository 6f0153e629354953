"""What a file of the Rust Mimir holds comes into a store that is in use, once, and the file stays as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mimir import InvalidInput, Locked, Memory, MimirError, NotFound, StorageFailure
from mimir.journaling import verify
from mimir.model import Entity, EventFilter, Filter, Link
from mimir.operations import migration
from mimir.store import open_original
from mimir.store.sqlite import original
from tests.conftest import OpenMemory
from tests.doubles import FixedClock
from tests.store.original_files import CREATED_MS, first_file, original_file

SEALED = "AAECAwQFBgcICQoLY6OIUic4pOv9wNJazf+T7nQE0jOpkgk="
EVERYTHING = Filter(include_archived=True, every_caller=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "former"
    folder.mkdir()
    return folder / "old.db"


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def contents(memory: Memory) -> dict[str, Any]:
    """Return everything in a store but what stands for the time of the migration."""
    with memory.store.reading() as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()  # noqa: S608 - our names
            for table in ("entities", "versions", "links", "passages", "sketches", "journal", "state", "pending")
        }


def keys(memory: Memory) -> list[str]:
    return sorted(stored.entity.key for batch in memory.store.scan(EVERYTHING) for stored in batch)


def entity(memory: Memory, entity_id: str) -> Entity:
    stored = memory.store.get(entity_id)
    assert stored is not None
    return stored.entity


def state(memory: Memory, key: str) -> str:
    entry = memory.store.state(key, 0)
    assert entry is not None
    return entry.value_json


# --- 0.1


def test_memories_of_0_1_become_entities(memory: Memory, clock: FixedClock, source: Path) -> None:
    with first_file(source) as file:
        file.memory(
            "mem-日本語-0123456789abcdef",
            "Tea is brewed.",
            summary="tea",
            type="fact",
            workspace_hash="ws",
            tags='["leaf"]',
            links='[{"target_id": "m-2", "relationship": "about", "weight": 0.75}]',
            layer="core",
            topic_path="drinks",
            source="cli",
            verified=1,
        )
        file.memory("m-2", "Plain.", workspace_hash=None, tags=None, links=None, decay_score=None)
    result = memory.migrate(str(source))
    assert (result.total_old_memories, result.entities_created, result.entities_updated) == (2, 2, 0)
    assert result.errors == ()
    assert result.completed_at_unix_ms == clock.now_ms()
    assert entity(memory, "mem-日本語-0123456789abcdef") == Entity(
        id="mem-日本語-0123456789abcdef",
        category="general",
        key="migrated-mem-日本語-0123456789ab",
        body_json='{"content":"Tea is brewed.","summary":"tea"}',
        type="fact",
        tags=("leaf", "workspace:ws"),
        decay_score=0.75,
        retrieval_count=2,
        layer="core",
        topic_path="drinks",
        links=(Link(target_id="m-2", relationship="about", weight=0.75),),
        verified=True,
        source="cli",
        workspace_hash="ws",
        created_at_unix_ms=CREATED_MS,
        last_accessed_unix_ms=CREATED_MS + 1,
        recorded_at_unix_ms=CREATED_MS,
    )
    assert entity(memory, "m-2").tags == ()


def test_migrated_memories_are_found_by_words_and_by_meaning_in_a_store_in_use(memory: Memory, source: Path) -> None:
    memory.remember("note", "sea", {"content": "the harbour lies in fog"})
    with first_file(source) as file:
        file.memory("m-1", "green tea is brewed")
    memory.migrate(str(source))
    for mode in ("fts5", "dense", "hybrid"):
        assert memory.recall("brewed tea", mode=mode).items[0].id == "m-1"


def test_a_table_that_lacks_most_columns_is_read_with_defaults(memory: Memory, source: Path) -> None:
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("CREATE TABLE memories (id TEXT, content TEXT)")
        connection.execute("INSERT INTO memories VALUES ('m-1', 'green tea')")
    assert memory.migrate(str(source)).entities_created == 1
    found = entity(memory, "m-1")
    assert (found.type, found.layer, found.decay_score) == ("insight", "working", 1.0)


# --- again, and beside what is there


def fill_whole(path: Path) -> None:
    with original_file(path, 4) as file:
        first = file.entity("k", {"content": "now"}, recorded_at_unix_ms=CREATED_MS + 50, links='["mem-x"]')
        file.past(first, {"content": "then"}, CREATED_MS, CREATED_MS + 50)
        file.entity("archived", {"content": "gone"}, archived=1, archive_reason="manual")
        file.past("mem-lost", {"content": "lost"}, CREATED_MS, CREATED_MS + 9, key="lost")
        file.event(entity_id=first, evaluated_json='{"a":1}')
        file.event(entity_id=first, evaluated_json='{"a":2}')
        file.state("s", '{"v": 1}', CREATED_MS * 2)


def test_a_file_of_2_x_is_merged_whole(memory: Memory, source: Path) -> None:
    memory.remember("note", "mine", {"content": "mine"})
    memory.journal("decision", evaluated={"mine": True})
    memory.state_set("mine", "1")
    fill_whole(source)
    result = memory.migrate(str(source))
    assert (result.total_old_memories, result.entities_created, result.errors) == (3, 3, ())
    assert keys(memory) == ["archived", "k", "lost", "mine"]
    assert json.loads(str(memory.as_of("note", "k", CREATED_MS + 49).body_json)) == {"content": "then"}
    assert memory.store.find("note", "archived", None)[0].entity.archive_reason == "manual"
    assert memory.stats().total_journal_events == 3
    assert [event.sequence for event in memory.store.events(EventFilter(), 9, 0)] == [3, 2, 1]
    assert state(memory, "s") == '{"v": 1}'
    assert verify(memory).ok


@pytest.mark.parametrize("age", ["0.1", "2.x"])
def test_a_second_run_adds_and_changes_nothing(memory: Memory, clock: FixedClock, source: Path, age: str) -> None:
    if age == "2.x":
        fill_whole(source)
    else:
        with first_file(source) as file:
            for number in range(3):
                file.memory(f"0123456789-0123456789-{number}", f"text {number}")
    first = memory.migrate(str(source))
    assert first.entities_created == 3
    before = contents(memory)
    clock.advance(1_000)
    again = memory.migrate(str(source))
    assert (again.total_old_memories, again.entities_created, again.entities_updated) == (3, 0, 0)
    assert again.errors == ()
    assert contents(memory) == before


def test_what_was_changed_since_is_not_set_back(memory: Memory, clock: FixedClock, source: Path) -> None:
    with first_file(source) as file:
        file.memory("m-1", "former")
        file.memory("m-2", "unwanted")
    memory.migrate(str(source))
    clock.advance(1_000)
    memory.remember("general", "migrated-m-1", {"content": "edited"})
    memory.forget("general", "migrated-m-2")
    memory.migrate(str(source))
    assert keys(memory) == ["migrated-m-1", "migrated-m-2"]
    assert entity(memory, "m-1").body_json == '{"content":"edited"}'
    assert entity(memory, "m-2").archived


def test_a_memory_whose_name_is_taken_gets_one_of_its_own(memory: Memory, source: Path) -> None:
    memory.remember("note", "k", {"content": "mine"})
    memory.remember("note", "same", {"content": "same"})
    with original_file(source) as file:
        theirs = file.entity("k", {"content": "theirs"})
        file.entity("same", {"content": "same"})
    assert memory.migrate(str(source)).entities_created == 1
    assert keys(memory) == ["k", f"k~{theirs}", "same"]
    assert memory.store.find("note", "k", "")[0].entity.body_json == '{"content":"mine"}'
    before = contents(memory)
    memory.migrate(str(source))
    assert contents(memory) == before


def test_a_memory_whose_id_means_another_here_gets_a_new_one_in_links_and_journal_too(
    memory: Memory, source: Path
) -> None:
    mine = memory.remember("note", "mine", {"content": "mine"}).id
    with original_file(source) as file:
        file.entity("k", {"content": "theirs"}, id=mine)
        file.entity("linked", {"content": "linked"}, id="mem-linked", links=json.dumps([{"target_id": mine}]))
        file.event(entity_id=mine)
    memory.migrate(str(source))
    (theirs,) = memory.store.find("note", "k", None)
    assert theirs.entity.id != mine
    assert [link.target_id for link in entity(memory, "mem-linked").links] == [theirs.entity.id]
    assert [event.entity_id for event in memory.store.events(EventFilter(), 9, 0)] == [theirs.entity.id]
    before = contents(memory)
    memory.migrate(str(source))
    assert contents(memory) == before


def test_an_older_copy_of_a_file_adds_what_the_newer_one_lost(memory: Memory, source: Path) -> None:
    older = source.parent / "older.db"
    with original_file(older) as file:
        file.entity("k", {"content": "second"}, id="mem-former", recorded_at_unix_ms=CREATED_MS + 20)
        file.past("mem-former", {"content": "first"}, CREATED_MS, CREATED_MS + 20, history_id="hist-1")
    with original_file(source) as file:
        # The former one yielded to another memory, and its key was taken anew.
        file.entity("k", {"content": "third"}, id="mem-heir", recorded_at_unix_ms=CREATED_MS + 60)
        file.past("mem-former", {"content": "first"}, CREATED_MS, CREATED_MS + 20, history_id="hist-1")
        file.past("mem-former", {"content": "second"}, CREATED_MS + 20, CREATED_MS + 40, history_id="hist-2")
    memory.migrate(str(source))
    assert memory.migrate(str(older)).entities_created == 1
    assert keys(memory) == ["k", "k~mem-former"]
    assert memory.history("note", "k").total == 2
    assert verify(memory).ok


def test_state_and_events_that_are_here_already_stay(memory: Memory, source: Path) -> None:
    memory.state_set("s", '"mine"')
    fill_whole(source)
    memory.migrate(str(source))
    assert state(memory, "s") == '"mine"'


def test_many_memories_come_in_many_short_transactions(memory: Memory, source: Path) -> None:
    count = 3 * migration.MOVED_AT_ONCE
    with first_file(source) as file:
        for number in range(count):
            file.memory(f"m-{number:04}", f"text {number}")
    sizes: list[int] = []
    add = memory.store.add_wholes

    def add_and_note(wholes: Any) -> int:  # noqa: ANN401 - what the store takes
        sizes.append(len(wholes))
        return add(wholes)

    memory.store.add_wholes = add_and_note  # type: ignore[method-assign]  # looked at, not replaced
    assert memory.migrate(str(source)).entities_created == count
    assert max(sizes) <= migration.MOVED_AT_ONCE
    assert sum(sizes) == count


def test_a_long_text_makes_its_transaction_small(source: Path) -> None:
    with first_file(source) as file:
        for number in range(20):
            file.memory(f"m-{number:04}", f"text {number} " * 10_000)
    with open_original(str(source)) as opened:
        assert opened is not None
        assert all(len(wholes) <= 3 for wholes in opened.memories(migration.MOVED_AT_ONCE))


# --- the source


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_the_source_and_its_folder_stay_as_they_are(memory: Memory, source: Path, mode: str) -> None:
    with original_file(source, mode=mode) as file:
        file.entity("k", {"content": "green tea"})
    before = files(source.parent)
    memory.migrate(str(source))
    assert files(source.parent) == before


def test_what_a_killed_server_left_in_its_log_is_read(memory: Memory, source: Path) -> None:
    made = source.parent / "made.db"
    with original_file(made) as file:
        file.connection.commit()
        file.entity("k", {"content": "only in the log"})
        file.connection.commit()
        for ending in ("", "-wal"):
            shutil.copy(f"{made}{ending}", f"{source}{ending}")
    assert memory.migrate(str(source)).entities_created == 1
    assert keys(memory) == ["k"]


def test_the_home_folder_is_known_by_its_sign(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    with first_file(tmp_path / "home" / "old.db") as file:
        file.memory("m-1", "text")
    assert memory.migrate("~/old.db").entities_created == 1


def refused(memory: Memory, path: str, kind: type[MimirError], match: str) -> MimirError:
    """Migrate what must be refused with nothing added; return the error."""
    before = contents(memory)
    with pytest.raises(kind, match=match) as raised:
        memory.migrate(path)
    assert contents(memory) == before
    assert raised.value.hint
    return raised.value


@pytest.mark.parametrize("name", ["missing.db", "", "no/such/folder/old.db", "nul\0.db", "."])
def test_a_path_that_names_no_file_is_refused_and_makes_none(memory: Memory, source: Path, name: str) -> None:
    refused(memory, str(source.parent / name) if name else "", NotFound, "no file")
    assert list(source.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"not a database\n", b"{}" * 5_000], ids=["line", "json"])
def test_a_file_that_is_no_database_is_refused(memory: Memory, source: Path, content: bytes) -> None:
    source.write_bytes(content)
    refused(memory, str(source), StorageFailure, "not a database")
    assert source.read_bytes() == content


@pytest.mark.parametrize("table", ["other (id TEXT)", "memories (name TEXT)", "entities (id TEXT, body TEXT)", None])
def test_a_database_without_memories_is_told_in_the_published_words(
    memory: Memory, source: Path, table: str | None
) -> None:
    with closing(sqlite3.connect(source)) as connection, connection:
        if table:
            connection.execute(f"CREATE TABLE {table}")
    before = contents(memory)
    result = memory.migrate(str(source))
    assert result.errors == ("No v0.1.x memories table found in source DB",)
    assert (result.total_old_memories, result.entities_created, result.entities_updated) == (0, 0, 0)
    assert contents(memory) == before


def test_an_empty_file_of_the_rust_mimir_has_nothing_to_bring(memory: Memory, source: Path) -> None:
    with first_file(source):
        pass
    result = memory.migrate(str(source))
    assert (result.total_old_memories, result.errors) == (0, ())


def test_a_store_of_the_present_format_needs_no_migration(
    memory: Memory, open_memory: OpenMemory, source: Path
) -> None:
    open_memory(str(source)).close()
    assert "--db" in refused(memory, str(source), InvalidInput, "needs to be migrated").hint
    refused(memory, memory.store.path, InvalidInput, "needs to be migrated")


def test_encrypted_bodies_are_refused(memory: Memory, source: Path) -> None:
    with original_file(source) as file:
        file.entity("plain", "{}")
        file.entity("k", SEALED)
    refused(memory, str(source), Locked, "encrypted")


def test_a_format_that_is_newer_than_known_is_refused(memory: Memory, source: Path) -> None:
    with original_file(source, original.NEWEST_FORMAT + 1) as file:
        file.entity("k", "{}")
    refused(memory, str(source), StorageFailure, "newer")


def test_a_damaged_source_is_refused(memory: Memory, source: Path) -> None:
    with original_file(source) as file:
        for number in range(50):
            file.entity(f"k{number}", {"content": "x" * 500})
    data = bytearray(source.read_bytes())
    half = len(data) // 8192 * 4096
    data[half:] = b"\xff" * (len(data) - half)
    source.write_bytes(data)
    refused(memory, str(source), StorageFailure, "damaged")


def test_rows_that_hold_no_text_are_named_and_the_others_come(memory: Memory, source: Path) -> None:
    with original_file(source) as file:
        for number in range(5):
            file.entity(f"k{number}", {"content": f"text {number}"})
        file.past("mem-lost", {"content": "lost"}, CREATED_MS, CREATED_MS + 9, key="lost")
        file.event()
        for table, column in (("entities", "body_json"), ("journal", "evaluated_json"), ("entity_history", "tags")):
            file.connection.execute(
                f"UPDATE {table} SET {column} = CAST(x'22ff22' AS TEXT)"  # noqa: S608 - our names
                " WHERE rowid = 3 OR (SELECT count(*) FROM entities) = 5 AND rowid = 1"
            )
    result = memory.migrate(str(source))
    assert keys(memory) == ["k1", "k3", "k4"]
    assert (result.total_old_memories, result.entities_created) == (5, 3)
    assert [error.split(" holds")[0] for error in result.errors] == [
        "Row 1 of entities",
        "Row 3 of entities",
        "Row 1 of entity_history",
        "Row 1 of journal",
    ]


def test_so_many_unreadable_rows_are_not_all_named(memory: Memory, source: Path) -> None:
    with original_file(source) as file:
        for number in range(150):
            file.entity(f"k{number}", "{}")
        file.connection.execute("UPDATE entities SET tags = CAST(x'ff' AS TEXT)")
    result = memory.migrate(str(source))
    assert (len(result.errors), result.errors[-1]) == (101, "And 50 more.")

"""The file: its mark and version, its migrations, and the files of others, which stay as they are."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from mimir import Locked, Memory, StorageFailure
from mimir.config import IS_WINDOWS
from mimir.store.sqlite import schema
from tests.conftest import OpenMemory

Step = Callable[[apsw.Connection], None]


def fingerprint(folder: Path) -> dict[str, str]:
    """Return the hash of every file in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def filled(open_memory: OpenMemory, folder: Path) -> str:
    """Return the path of a closed store with one memory."""
    path = str(folder / "memory.db")
    with open_memory(path) as memory:
        memory.remember("c", "k", {"content": "green tea"})
    return path


# --- the header


def test_a_store_file_carries_its_mark_and_its_version(filled: str) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone()[0] == int.from_bytes(b"Mimr", "big")
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS) >= 1
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_closed_store_is_one_file(filled: str, folder: Path) -> None:
    assert list(folder.iterdir()) == [Path(filled)]


@pytest.mark.skipif(IS_WINDOWS, reason="modes of POSIX")
def test_a_new_store_its_log_and_its_folder_are_for_their_owner_alone(open_memory: OpenMemory, folder: Path) -> None:
    path = folder / "new" / "memory.db"
    before = os.umask(0)
    try:
        open_memory(str(path)).remember("c", "k", {"content": "green tea"})
    finally:
        os.umask(before)
    modes = {one.name: oct(stat.S_IMODE(one.stat().st_mode)) for one in (path.parent, *path.parent.iterdir())}
    assert modes == {"new": "0o700"} | dict.fromkeys(("memory.db", "memory.db-wal", "memory.db-shm"), "0o600")


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_durability_is_what_was_asked_for(open_memory: OpenMemory, durability: str, level: int) -> None:
    with open_memory(durability=durability).store.reading() as connection:
        assert connection.execute("PRAGMA synchronous").get == level


def test_an_empty_file_becomes_a_store(open_memory: OpenMemory, folder: Path) -> None:
    path = folder / "memory.db"
    path.touch()
    assert open_memory(str(path)).remember("c", "k", {"n": 1}).action == "created"


def test_the_folder_of_a_store_is_made(open_memory: OpenMemory, folder: Path) -> None:
    open_memory(str(folder / "a" / "b" / "memory.db"))
    assert (folder / "a" / "b" / "memory.db").is_file()


# --- the journal


@pytest.fixture
def journalled(memory: Memory) -> Memory:
    with memory.store.writing() as connection:
        for number in range(2):
            connection.execute(
                "INSERT INTO journal (id, event_type, category, key, entity_id, agent_id, workspace_hash, payload,"
                " payload_commitment, audit_hash, created_at_unix_ms)"
                " VALUES (?, 'e', 'c', 'k', '', '', '', ?, 'p', 'h', 1)",
                (f"jrnl-{number}", f"payload {number}"),
            )
    return memory


REWRITES = {
    "delete": "DELETE FROM journal WHERE sequence = 1",
    "delete all": "DELETE FROM journal",
    "another payload": "UPDATE journal SET payload = 'forged' WHERE sequence = 1",
    "another event": "UPDATE journal SET event_type = 'forged' WHERE sequence = 1",
    "another time": "UPDATE journal SET created_at_unix_ms = 2, payload = NULL WHERE sequence = 1",
    "another hash": "UPDATE journal SET audit_hash = 'forged', payload = NULL WHERE sequence = 1",
    "another commitment": "UPDATE journal SET payload_commitment = 'forged', payload = NULL WHERE sequence = 1",
    "another place": "UPDATE journal SET sequence = 9, payload = NULL WHERE sequence = 1",
    "insert before the end": "INSERT INTO journal SELECT 0, 'jrnl-new', event_type, category, key, entity_id, agent_id,"
    " workspace_hash, payload, payload_commitment, audit_hash, created_at_unix_ms FROM journal WHERE sequence = 1",
    "update or replace": "UPDATE OR REPLACE journal SET id = 'jrnl-1' WHERE sequence = 1",
    "replace by sequence": "INSERT OR REPLACE INTO journal SELECT sequence, id, 'forged', category, key, entity_id,"
    " agent_id, workspace_hash, payload, payload_commitment, audit_hash, created_at_unix_ms FROM journal"
    " WHERE sequence = 1",
    "replace by id": "REPLACE INTO journal SELECT NULL, id, 'forged', category, key, entity_id, agent_id,"
    " workspace_hash, payload, payload_commitment, audit_hash, created_at_unix_ms FROM journal WHERE sequence = 1",
}


@pytest.mark.parametrize("name", REWRITES)
def test_the_journal_cannot_be_rewritten(journalled: Memory, name: str) -> None:
    with journalled.store.reading() as connection:
        before = connection.execute("SELECT * FROM journal").fetchall()
    with pytest.raises(StorageFailure), journalled.store.writing() as connection:
        connection.execute(REWRITES[name])
    with journalled.store.reading() as connection:
        assert connection.execute("SELECT * FROM journal").fetchall() == before


def test_a_payload_can_be_blanked_and_leaves_its_commitment(journalled: Memory) -> None:
    with journalled.store.writing() as connection:
        connection.execute("UPDATE journal SET payload = NULL WHERE sequence = 1")
    with journalled.store.reading() as connection:
        rows = connection.execute("SELECT payload, payload_commitment FROM journal").fetchall()
    assert rows == [(None, "p"), ("payload 1", "p")]


# --- migrations


def add_table(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE added (value TEXT)")
    connection.execute("INSERT INTO added SELECT key FROM entities")


def newer(*steps: Step) -> tuple[Step, ...]:
    return (*schema.MIGRATIONS, *steps)


def added(path: str) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM added")]


def test_an_older_file_is_migrated_after_a_backup(
    open_memory: OpenMemory, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(schema.MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", newer(add_table))
    with open_memory(filled) as memory:
        assert [hit.key for hit in memory.recall("green tea").items] == ["k"]
        with memory.store.reading() as connection:
            assert connection.execute("PRAGMA user_version").get == before + 1
    assert added(filled) == ["k"]
    backup = f"{filled}.v{before}.bak"
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == before
        assert connection.execute("SELECT key FROM entities").fetchall() == [("k",)]
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert not Path(backup + ".partial").exists()


def test_no_backup_is_ever_replaced_by_that_of_another_migration(
    open_memory: OpenMemory, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{filled}.v{len(schema.MIGRATIONS)}"
    Path(f"{name}.bak").write_bytes(b"older")
    monkeypatch.setattr(schema, "MIGRATIONS", newer(add_table))
    open_memory(filled).close()
    assert Path(f"{name}.bak").read_bytes() == b"older"
    with closing(sqlite3.connect(f"{name}-2.bak")) as connection:
        assert connection.execute("SELECT key FROM entities").fetchall() == [("k",)]


def test_a_backup_of_an_older_store_opens_as_a_store(
    open_memory: OpenMemory, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(schema.MIGRATIONS)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", newer(add_table))
        open_memory(filled).close()
    restored = open_memory(f"{filled}.v{before}.bak")
    assert [hit.key for hit in restored.recall("green tea").items] == ["k"]


def test_a_file_of_today_is_opened_without_a_backup(open_memory: OpenMemory, filled: str, folder: Path) -> None:
    before = fingerprint(folder)
    open_memory(filled).close()
    assert fingerprint(folder) == before


def test_a_migration_that_fails_changes_nothing(
    open_memory: OpenMemory, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO nowhere VALUES (1)")

    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", newer(add_table, fail))
        with pytest.raises(StorageFailure):
            open_memory(filled)
    with open_memory(filled) as memory, memory.store.reading() as connection:
        assert connection.execute("PRAGMA user_version").get == len(schema.MIGRATIONS)
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'added'").get == 0
    assert list(Path(filled).parent.glob("*.bak*")) == []


def run_together(program: str, path: str, *, count: int) -> list[str]:
    """Run a program in several processes that begin at once and return what each printed; none may fail."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return printed


MIGRATE = """
import sys
from mimir import Memory
from mimir.store.sqlite import schema

def add_table(connection):
    connection.execute("CREATE TABLE added (value TEXT)")
    connection.execute("INSERT INTO added SELECT key FROM entities")

schema.MIGRATIONS = (*schema.MIGRATIONS, add_table)
print("ready", flush=True)
sys.stdin.readline()
with Memory.open(sys.argv[1], embedding="off") as memory:
    print(len(memory.recall("green tea").items), flush=True)
"""


def test_processes_that_open_an_older_file_together_migrate_it_once(filled: str) -> None:
    assert run_together(MIGRATE, filled, count=3) == ["1\n"] * 3
    assert added(filled) == ["k"]


MAKE = """
import os, sys
from mimir import Memory

print("ready", flush=True)
sys.stdin.readline()
with Memory.open(sys.argv[1], embedding="off") as memory:
    print(memory.remember("c", f"k{os.getpid()}", {"n": 1}).action, flush=True)
"""


def test_processes_that_make_the_same_store_together_share_it(folder: Path, open_memory: OpenMemory) -> None:
    path = str(folder / "new" / "memory.db")
    assert run_together(MAKE, path, count=4) == ["created\n"] * 4
    assert open_memory(path).stats().total_entities == 4


def test_a_file_of_a_newer_version_is_refused_and_left_alone(filled: str, folder: Path) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    before = fingerprint(folder)
    with pytest.raises(StorageFailure, match="newer Mimir") as raised:
        Memory.open(filled, embedding="off")
    assert "Upgrade" in raised.value.hint
    assert fingerprint(folder) == before


def test_a_process_that_has_the_store_open_refuses_it_once_it_is_newer(open_memory: OpenMemory, filled: str) -> None:
    """What an older program would write into a newer file could break it."""
    memory = open_memory(filled)
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    with pytest.raises(StorageFailure, match="newer Mimir"):
        memory.remember("c", "late", {"n": 1})


# --- files of others


def foreign(path: Path, *, wal: bool = False) -> None:
    with closing(sqlite3.connect(path)) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE entities (id TEXT, body TEXT)")
        connection.execute("INSERT INTO entities VALUES ('1', 'theirs')")
        connection.commit()


@pytest.mark.parametrize("wal", [False, True], ids=["rollback journal", "write-ahead log"])
def test_a_database_of_another_program_is_refused_and_left_alone(folder: Path, wal: bool) -> None:
    path = folder / "theirs.db"
    foreign(path, wal=wal)
    before = fingerprint(folder)
    with pytest.raises(StorageFailure, match="another program") as raised:
        Memory.open(str(path), embedding="off")
    assert raised.value.hint
    assert fingerprint(folder) == before


def test_a_database_that_another_program_left_in_mid_work_is_left_alone(folder: Path) -> None:
    source = folder.parent / "source"
    source.mkdir()
    with closing(sqlite3.connect(source / "theirs.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE entities (id TEXT)")
        connection.execute("INSERT INTO entities VALUES ('1')")
        connection.commit()
        # The files as a crash would leave them: the rows are in the log only.
        for name in ("theirs.db", "theirs.db-wal"):
            shutil.copy(source / name, folder / name)
    before = fingerprint(folder)
    with pytest.raises(StorageFailure, match="another program"):
        Memory.open(str(folder / "theirs.db"), embedding="off")
    assert before.items() <= fingerprint(folder).items()


def test_a_database_with_the_mark_of_another_program_is_refused(folder: Path) -> None:
    path = folder / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1196444487")
        connection.execute("PRAGMA user_version = 3")
        connection.commit()
    before = fingerprint(folder)
    with pytest.raises(StorageFailure, match="another program"):
        Memory.open(str(path), embedding="off")
    assert fingerprint(folder) == before


@pytest.mark.parametrize(
    "content",
    [b"not a database at all\n", b"{}" * 5_000, b"SQLite format 3", b"\0" * 5_000, "日記\n".encode() * 900],
    ids=["line", "json", "beginning", "noughts", "diary"],
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(folder: Path, content: bytes) -> None:
    path = folder / "notes.txt"
    path.write_bytes(content)
    before = fingerprint(folder)
    with pytest.raises(StorageFailure) as raised:
        Memory.open(str(path), embedding="off")
    assert "notes.txt" in raised.value.message
    assert raised.value.hint
    assert fingerprint(folder) == before


def test_a_file_that_looks_encrypted_is_named_as_such(folder: Path) -> None:
    path = folder / "sealed.db"
    path.write_bytes(b"".join(hashlib.sha512(bytes([a, b])).digest() for a in range(2) for b in range(256)))
    before = fingerprint(folder)
    with pytest.raises(Locked, match="encrypted") as raised:
        Memory.open(str(path), embedding="off")
    assert "key" in raised.value.hint
    assert fingerprint(folder) == before

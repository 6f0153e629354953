"""backup and restore as a user runs them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mimir import Memory
from mimir.config import IS_WINDOWS
from mimir.crypto import write_key_file
from tests.cli.conftest import RunMimir
from tests.conftest import OpenMemory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def db(folder: Path) -> str:
    return str(folder / "memory.db")


@pytest.fixture
def copy(tmp_path: Path) -> str:
    (tmp_path / "copies").mkdir()
    return str(tmp_path / "copies" / "copy.db")


@pytest.fixture(params=["plain", "body", "full"])
def flags(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Return the flags of a store of each kind."""
    if request.param == "plain":
        return []
    key = str(tmp_path / "key")
    write_key_file(key)
    return ["--encryption-key", key, "--encryption-scope", request.param]


def settings(flags: list[str]) -> dict[str, str]:
    return {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(flags[::2], flags[1::2], strict=True)
    }


def keys_in(memory: Memory) -> list[str]:
    return sorted(hit.key for hit in memory.recall("", limit=50, reinforce=False).items)


def test_a_backup_is_made_while_the_store_is_used_and_opens_as_a_store(
    mimir: RunMimir, open_memory: OpenMemory, db: str, copy: str, flags: list[str]
) -> None:
    memory = open_memory(db, **settings(flags))
    memory.remember("c", "one", {"content": "green tea"})
    memory.journal("decision")
    ran = mimir("backup", copy, "--json", "--db", db, *flags)
    assert json.loads(ran.out)["backup_path"] == copy
    memory.remember("c", "two", {"content": "later"})
    backup = open_memory(copy, **settings(flags))
    assert keys_in(backup) == ["one"]
    assert backup.verify().ok
    assert backup.store.sealed_scope() == memory.store.sealed_scope() == json.loads(ran.out)["scope"]
    backup.close()
    assert [path.name for path in Path(copy).parent.iterdir()] == ["copy.db"]
    assert (b'"green tea"' in Path(copy).read_bytes()) == (not flags)
    assert IS_WINDOWS or stat.S_IMODE(Path(copy).stat().st_mode) == 0o600


def test_a_backup_overwrites_nothing_unless_told_to(
    mimir: RunMimir, open_memory: OpenMemory, db: str, copy: str
) -> None:
    open_memory(db).close()
    Path(copy).write_bytes(b"theirs")
    assert mimir("backup", copy, "--db", db).status == 4
    assert Path(copy).read_bytes() == b"theirs"
    assert mimir("backup", copy, "--force", "--db", db).status == 0
    assert open_memory(copy).verify().ok


def test_a_backup_that_cannot_be_made_is_refused(
    mimir: RunMimir, open_memory: OpenMemory, db: str, folder: Path, copy: str
) -> None:
    assert mimir("backup", copy, "--db", db).status == 3
    assert not Path(db).exists()
    open_memory(db).close()
    assert mimir("backup", db, "--force", "--db", db).status == 2
    assert mimir("backup", db + "-wal", "--force", "--db", db).status == 2
    assert mimir("backup", str(folder), "--db", db).status == 2
    assert mimir("backup", str(folder / "no" / "folder.db"), "--db", db).status == 7
    assert [path.name for path in folder.iterdir()] == ["memory.db"]


def test_a_store_is_restored_and_the_former_one_is_kept(
    mimir: RunMimir, open_memory: OpenMemory, db: str, copy: str, flags: list[str]
) -> None:
    with open_memory(db, **settings(flags)) as memory:
        memory.remember("c", "one", {"content": "green tea"})
        assert mimir("backup", copy, "--db", db, *flags).status == 0
        memory.remember("c", "two", {"content": "later"})
    before = Path(copy).read_bytes()
    assert mimir("restore", copy, "--db", db, *flags).status == 4
    ran = mimir("restore", copy, "--force", "--json", "--db", db, *flags)
    kept = json.loads(ran.out)["former_store"]
    assert keys_in(open_memory(db, **settings(flags))) == ["one"]
    assert keys_in(open_memory(kept, **settings(flags))) == ["one", "two"]
    assert Path(copy).read_bytes() == before


def test_a_store_is_restored_where_there_is_none(
    mimir: RunMimir, open_memory: OpenMemory, db: str, folder: Path, copy: str, flags: list[str]
) -> None:
    with open_memory(copy, **settings(flags)) as memory:
        memory.remember("c", "one", {"content": "green tea"})
    assert mimir("restore", copy, "--db", db, *flags).status == 0
    assert [path.name for path in folder.iterdir()] == ["memory.db"]
    assert keys_in(open_memory(db, **settings(flags))) == ["one"]


@pytest.mark.skipif(IS_WINDOWS, reason="a pipe with a name")
def test_a_restored_store_takes_the_place_of_nothing_but_a_file(
    mimir: RunMimir, open_memory: OpenMemory, db: str, folder: Path, copy: str
) -> None:
    open_memory(copy).close()
    os.mkfifo(db)
    (folder / "link").symlink_to(db)
    for place in (db, str(folder), str(folder / "link")):
        ran = mimir("restore", copy, "--force", "--db", place)
        assert (ran.status, "a folder, a device or a pipe" in ran.err) == (2, True)
    assert stat.S_ISFIFO(Path(db).stat().st_mode)
    assert sorted(path.name for path in folder.iterdir()) == ["link", "memory.db"]


@pytest.mark.parametrize("present", ["damaged", "sealed with another key", "plain"])
def test_whatever_is_there_is_kept_and_replaced(
    mimir: RunMimir, open_memory: OpenMemory, tmp_path: Path, db: str, copy: str, present: str
) -> None:
    key, other = str(tmp_path / "key"), str(tmp_path / "other")
    write_key_file(key)
    write_key_file(other)
    with open_memory(copy, encryption_key=key) as memory:
        memory.remember("c", "one", {"content": "green tea"})
    with open_memory(db, encryption_key=other if present == "sealed with another key" else "") as memory:
        memory.remember("c", "two", {"content": "there"})
    if present == "damaged":
        Path(db).write_bytes(Path(db).read_bytes()[:5_000])
    before = Path(db).read_bytes()
    ran = mimir("restore", copy, "--force", "--json", "--db", db, "--encryption-key", key)
    assert ran.status == 0, ran.err
    assert keys_in(open_memory(db, encryption_key=key)) == ["one"]
    kept = json.loads(ran.out)["former_store"]
    if present == "plain":
        assert keys_in(open_memory(kept)) == ["two"]
    else:
        assert Path(kept).read_bytes() == before


def test_a_backup_that_is_not_sound_replaces_nothing(
    mimir: RunMimir, open_memory: OpenMemory, tmp_path: Path, db: str, copy: str
) -> None:
    key, other = str(tmp_path / "key"), str(tmp_path / "other")
    write_key_file(key)
    write_key_file(other)
    with open_memory(db, encryption_key=key) as memory:
        memory.remember("c", "one", {"content": "green tea"})
    before = Path(db).read_bytes()

    def refused(status: int, *flags: str) -> None:
        assert mimir("restore", copy, "--force", "--db", db, *flags).status == status
        assert Path(db).read_bytes() == before
        assert [path.name for path in Path(db).parent.iterdir()] == ["memory.db"]

    refused(3, "--encryption-key", key)
    Path(copy).write_bytes(before[:20_480])
    refused(7, "--encryption-key", key)
    Path(copy).write_bytes(before[:9_000] + bytes([before[9_000] ^ 1]) + before[9_001:])
    refused(7, "--encryption-key", key)
    Path(copy).write_bytes(before)
    refused(5)
    refused(5, "--encryption-key", other)
    Path(copy).unlink()
    open_memory(copy).close()
    refused(4, "--encryption-key", key)
    Path(copy).write_bytes(b"no database at all")
    refused(7)


def test_a_store_that_is_in_use_is_not_replaced(process: RunMimir, open_memory: OpenMemory, db: str, copy: str) -> None:
    open_memory(copy).close()
    memory = open_memory(db)
    memory.remember("c", "one", {"content": "green tea"})
    ran = process("restore", copy, "--force", "--db", db)
    assert ran.status == 6
    assert "Another process" in ran.err
    assert memory.remember("c", "two", {"content": "still writable"}).action == "created"
    memory.close()
    assert [path.name for path in Path(db).parent.iterdir()] == ["memory.db"]


def test_a_damaged_store_is_named_when_it_cannot_be_copied(
    mimir: RunMimir, open_memory: OpenMemory, tmp_path: Path, db: str, copy: str
) -> None:
    key = str(tmp_path / "key")
    write_key_file(key)
    with open_memory(db, encryption_key=key) as memory:
        memory.remember("c", "one", {"content": "green tea"})
    whole = Path(db).read_bytes()
    for page in range(2, len(whole) // 4096, 7):
        Path(db).write_bytes(whole[: page * 4096] + bytes([whole[page * 4096] ^ 1]) + whole[page * 4096 + 1 :])
        ran = mimir("backup", copy, "--db", db, "--encryption-key", key)
        assert (ran.status, ran.out) == (7, "")
        assert f"The store {db} is damaged: " in ran.err
        assert "not an error" not in ran.err
        assert list(Path(copy).parent.iterdir()) == []


@pytest.fixture
def left_log(open_memory: OpenMemory, tmp_path: Path, flags: list[str]) -> bytes:
    """Return the log of another store, sealed with the same key, as a server that was killed leaves it."""
    memory = open_memory(str(tmp_path / "lost.db"), **settings(flags))
    for number in range(50):
        memory.remember("c", f"stale{number}", {"content": "what was in a log " * 20})
    return (tmp_path / "lost.db-wal").read_bytes()


def test_a_log_whose_store_is_gone_is_kept_and_not_read_into_what_is_restored(
    mimir: RunMimir, open_memory: OpenMemory, db: str, copy: str, flags: list[str], left_log: bytes
) -> None:
    with open_memory(copy, **settings(flags)) as memory:
        memory.remember("c", "one", {"content": "green tea"})
    for kept in ("memory.db.before-restore.bak-wal", "memory.db.before-restore-2.bak-wal"):
        Path(db).unlink(missing_ok=True)
        Path(db + "-wal").write_bytes(left_log)
        ran = mimir("restore", copy, "--db", db, *flags)
        assert (ran.status, ran.out.split()[-1]) == (0, str(Path(db).with_name(kept)) + ".")
        with open_memory(db, **settings(flags)) as memory:
            assert keys_in(memory) == ["one"]
            assert memory.verify().ok
        assert Path(db).with_name(kept).read_bytes() == left_log


def test_a_log_that_lies_beside_a_new_backup_is_not_read_into_it(
    mimir: RunMimir, open_memory: OpenMemory, db: str, copy: str, flags: list[str], left_log: bytes
) -> None:
    with open_memory(db, **settings(flags)) as memory:
        memory.remember("c", "one", {"content": "green tea"})
    Path(copy + "-wal").write_bytes(left_log)
    ran = mimir("backup", copy, "--db", db, *flags)
    assert (ran.status, "copy.db-wal exists" in ran.err) == (4, True)
    assert [path.name for path in Path(copy).parent.iterdir()] == ["copy.db-wal"]
    assert mimir("backup", copy, "--force", "--db", db, *flags).status == 0
    assert [path.name for path in Path(copy).parent.iterdir()] == ["copy.db"]
    assert keys_in(open_memory(copy, **settings(flags))) == ["one"]


def test_a_backup_does_not_replace_a_store_that_is_in_use(
    process: RunMimir, open_memory: OpenMemory, db: str, copy: str
) -> None:
    open_memory(db).close()
    memory = open_memory(copy)
    memory.remember("c", "one", {"content": "green tea"})
    ran = process("backup", copy, "--force", "--db", db)
    assert (ran.status, "Another process" in ran.err) == (6, True)
    assert memory.remember("c", "two", {"content": "still written"}).action == "created"
    memory.close()
    assert [path.name for path in Path(copy).parent.iterdir()] == ["copy.db"]
    assert keys_in(open_memory(copy)) == ["one", "two"]


def test_what_a_killed_backup_or_restore_left_is_removed_by_the_next(
    mimir: RunMimir, open_memory: OpenMemory, db: str, copy: str
) -> None:
    open_memory(db).close()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [f"{copy}.partial-{ended.pid}", f"{copy}.partial-{ended.pid}-journal", f"{db}.restoring-{ended.pid}"]
    theirs = [f"{copy}.partial-x", f"{copy}.partial-{os.getppid()}", f"{copy}.partially"]
    for name in (*left, *theirs):
        Path(name).write_bytes(b"half a copy")
    assert mimir("backup", copy, "--db", db).status == 0
    assert mimir("restore", copy, "--force", "--db", db).status == 0
    if not IS_WINDOWS:
        assert [name for name in left if Path(name).exists()] == []
    assert all(Path(name).read_bytes() == b"half a copy" for name in theirs)

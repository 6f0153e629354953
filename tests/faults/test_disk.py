"""A full disk: the write that does not fit says so, and everything acknowledged before it is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mimir import Memory, StorageFailure
from mimir.crypto import write_key_file
from tests.conftest import OpenMemory


@pytest.fixture
def full(open_memory: OpenMemory) -> Memory:
    """Return a memory whose file cannot grow any more."""
    memory = open_memory()
    memory.remember("c", "k", {"content": "green tea"})
    memory.embed_pending()
    with memory.store.reading() as connection:
        pages = connection.execute("PRAGMA page_count").get
        assert connection.execute(f"PRAGMA max_page_count={pages}").get == pages
    return memory


def test_a_write_that_does_not_fit_says_so(full: Memory) -> None:
    with pytest.raises(StorageFailure, match="full") as raised:
        full.remember("c", "big", {"content": "words " * 20_000})
    assert "space" in raised.value.hint
    with pytest.raises(StorageFailure, match="full"):
        full.remember_many([{"category": "c", "key": "big", "body_json": {"content": "words " * 20_000}}])
    with pytest.raises(StorageFailure, match="full"):
        full.remember("c", "k", {"content": "words " * 20_000})


def test_after_a_write_that_did_not_fit_everything_is_as_before(full: Memory, open_memory: OpenMemory) -> None:
    for _ in range(3):
        with pytest.raises(StorageFailure):
            full.remember("c", "big", {"content": "words " * 20_000})
    for memory in (full, open_memory()):
        assert [hit.key for hit in memory.recall("green tea", reinforce=False).items] == ["k"]
        assert memory.stats().total_entities == memory.stats().passages == 1
        assert memory.store.check_integrity() == "ok"
    with full.store.reading() as connection:
        connection.execute("PRAGMA max_page_count=1000000")
    assert full.remember("c", "big", {"content": "words " * 20_000}).action == "created"


def test_what_is_acknowledged_until_the_disk_is_full_is_kept(full: Memory, open_memory: OpenMemory) -> None:
    with full.store.reading() as connection:
        connection.execute(f"PRAGMA max_page_count={connection.execute('PRAGMA page_count').get + 40}")
    acknowledged: list[str] = []
    with pytest.raises(StorageFailure, match="full"):
        acknowledged.extend(
            full.remember("c", f"n{number}", {"content": f"text {number} " * 50}).id for number in range(10_000)
        )
    assert acknowledged
    other = open_memory()
    assert other.stats().total_entities == 1 + len(acknowledged)
    assert all(other.get_entity(entity_id).key == f"n{place}" for place, entity_id in enumerate(acknowledged))


FILL = """
import sys
from mimir import Memory, StorageFailure
from mimir.crypto import write_key_file
memory = Memory.open(sys.argv[1], embedding="off")
try:
    for n in range(10**6):
        print(memory.remember("c", f"k{n}", {"content": f"text {n} " * 100}).id, flush=True)
except StorageFailure as error:
    print("error", error.message, flush=True)
answer = memory.recall("text", mode="fts5", limit=3)
print("found", len(answer.items), flush=True)
memory.close()
print("closed", flush=True)
"""
SMALL_DISK = 'mount -t tmpfs -o size=8m,mode=777 tmpfs "$1" && "$2" -c "$3" "$1/memory.db" && cp -r "$1/." "$4"'


def can_mount() -> bool:
    """Tell whether a file system can be mounted here, seen by one process only."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


@pytest.mark.slow
def test_a_disk_that_runs_full_loses_nothing_acknowledged(tmp_path: Path, open_memory: OpenMemory) -> None:
    if not can_mount():
        pytest.skip("a small file system cannot be mounted here")
    disk, rescued = tmp_path / "disk", tmp_path / "rescued"
    disk.mkdir()
    rescued.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", SMALL_DISK, "sh", str(disk), sys.executable, FILL, str(rescued)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    *ids, error, found, closed = done.stdout.splitlines()
    assert "full" in error
    assert (found, closed) == ("found 3", "closed")
    assert len(ids) > 50
    memory = open_memory(str(rescued / "memory.db"))
    assert memory.store.check_integrity() == "ok"
    assert memory.stats().total_entities == len(ids)
    for place, entity_id in enumerate(ids):
        assert json.loads(memory.get_entity(entity_id).body_json)["content"].startswith(f"text {place} ")


SMALL_COPIES = """
mount -t tmpfs -o size=700k,mode=777 tmpfs "$1" && cp "$3" "$1/memory.db" || exit 1
"$2" -m mimir seal --db "$1/memory.db" --encryption-key "$4"; echo $?
"$2" -m mimir backup "$1/copy.db" --db "$3"; echo $?
"$2" -m mimir restore "$3" --db "$1/memory.db" --force; echo $?
ls "$1"
cp "$1/memory.db" "$5"
"""


@pytest.mark.slow
def test_a_copy_that_does_not_fit_on_its_disk_says_so_and_leaves_nothing(
    tmp_path: Path, open_memory: OpenMemory
) -> None:
    if not can_mount():
        pytest.skip("a small file system cannot be mounted here")
    disk, key, store, after = (tmp_path / name for name in ("disk", "key", "store.db", "after.db"))
    disk.mkdir()
    write_key_file(str(key))
    with open_memory(str(store)) as memory:
        memory.remember("c", "big", {"content": "words " * 20_000})
    words = (str(disk), sys.executable, str(store), str(key), str(after))
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", SMALL_COPIES, "sh", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["7", "7", "7", "memory.db"]
    told = [line for line in done.stderr.splitlines() if line.startswith("mimir: ")]
    assert [line.startswith(f"mimir: The disk is full: {disk}/") for line in told] == [True] * 3
    memory = open_memory(str(after))
    assert memory.verify().ok
    assert [hit.key for hit in memory.recall("words").items] == ["big"]

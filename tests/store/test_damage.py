"""Damaged files, files that may not be written and places where no file can be: always an error of ours, in words."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from mimir import Memory, MimirError, StorageFailure
from tests.conftest import OpenMemory
from tests.doubles import FixedClock, WordEmbedder

Use = Callable[[Memory], object]

USES: dict[str, Use] = {
    "recall by words": lambda memory: memory.recall("green tea", mode="fts5", limit=50),
    "recall by meaning": lambda memory: memory.recall("green tea", mode="dense", limit=50),
    "recall by both": lambda memory: memory.recall("text leaf", limit=50),
    "recall by beginning": lambda memory: memory.recall("numb", mode="fts5", include_archived=True),
    "recall by part": lambda memory: memory.recall("umber", mode="fts5"),
    "recall the past": lambda memory: memory.recall("tea", as_of_unix_ms=1 << 60),
    "browse": lambda memory: memory.recall("", limit=1_000),
    "browse the past": lambda memory: memory.recall("", as_of_unix_ms=1 << 60, limit=1_000),
    "recall_layer": lambda memory: memory.recall_layer("episodic", limit=100),
    "recall_when": lambda memory: memory.recall_when("brewing tea"),
    "semantic_search": lambda memory: memory.semantic_search("tea"),
    "context": lambda memory: memory.context(query="tea"),
    "history": lambda memory: memory.history("c", "k3"),
    "as_of": lambda memory: memory.as_of("c", "k3", 1 << 60),
    "get_entity": lambda memory: memory.get_entity("mem-000000000003"),
    "health": lambda memory: memory.health(),
    "stats": lambda memory: memory.stats(),
    "remember": lambda memory: memory.remember("c", "new", {"content": "green tea"}),
    "remember again": lambda memory: memory.remember("c", "k5", {"content": "other words"}),
    "remember many": lambda memory: memory.remember_many(
        {"category": "c", "key": f"k{number}", "body_json": {"content": "again"}} for number in range(20)
    ),
    "forget": lambda memory: memory.forget("c", "k6"),
    "embed": lambda memory: memory.embed(category="c", key="k7"),
    "embed a batch": lambda memory: memory.embed(batch_category="c"),
    "embed what waits": lambda memory: memory.embed_pending(),
    "write uses": lambda memory: memory.flush_uses(),
    "check": lambda memory: memory.store.check_integrity(),
    "digest": lambda memory: memory.store.digest(str),
    "last write": lambda memory: memory.store.last_write_ms(),
    "count what waits": lambda memory: memory.store.count_pending(),
    "reindex": lambda memory: memory.reindex(),
}


def use_everything(path: str) -> tuple[list[str], int]:
    """Use a store in every way; return what escaped that is no error of ours, and how many uses failed in words."""
    strange: list[str] = []
    refused = 0

    def attempt(name: str, use: Callable[[], object]) -> object:
        nonlocal refused
        try:
            return use()
        except MimirError as error:
            refused += 1
            if not (error.message and error.hint):
                strange.append(f"{name}: no advice in {error!r}")
        except Exception as error:  # noqa: BLE001 - what escapes is the question
            strange.append(f"{name}: {error!r}")
        return None

    clock = FixedClock()
    clock.next_id = 1 << 32
    memory = attempt("open", lambda: Memory.open(path, clock=clock, embedder=WordEmbedder(), busy_timeout_ms=100))
    if isinstance(memory, Memory):
        for name, use in USES.items():
            attempt(name, lambda use=use: use(memory))  # type: ignore[misc]  # a lambda with a bound default
        attempt("close", memory.close)
    return strange, refused


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a closed store with every kind of row in it."""
    path = tmp_path_factory.mktemp("sound") / "memory.db"
    clock = FixedClock()
    with Memory.open(str(path), clock=clock, embedder=WordEmbedder()) as memory:
        for number in range(60):
            memory.remember(
                "c",
                f"k{number}",
                {"content": f"green tea text number {number} " * (1 + number % 40), "recall_when": ["brewing"]},
                tags=["leaf", f"t{number}"],
                topic_path=f"/t/{number % 3}",
            )
            clock.advance()
        for number in range(0, 60, 4):
            memory.remember("c", f"k{number}", {"content": f"black tea {number}"})
        for number in range(0, 60, 7):
            memory.forget("c", f"k{number}")
        memory.embed_pending()
        memory.remember("c", "waiting", {"content": "green tea"})
    return path


@pytest.fixture
def copied(sound: Path, tmp_path: Path) -> Path:
    path = tmp_path / "memory.db"
    shutil.copy(sound, path)
    return path


def test_a_sound_store_can_be_used_in_every_way(copied: Path) -> None:
    assert use_everything(str(copied)) == ([], 0)


@pytest.mark.parametrize("seed", range(12))
def test_damaged_pages_never_show_as_a_strange_error(copied: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(copied.read_bytes())
    pages = len(data) // 4096
    for page in chance.sample(range(1, pages), pages // 4):
        start = page * 4096
        data[start : start + 4096] = chance.randbytes(4096)
    copied.write_bytes(data)
    strange, refused = use_everything(str(copied))
    assert strange == []
    assert refused > 0


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bits_never_show_as_a_strange_error(copied: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(copied.read_bytes())
    for _ in range(40 if seed % 2 else 400):
        data[chance.randrange(100, len(data))] ^= 1 << chance.randrange(8)
    copied.write_bytes(data)
    strange, _ = use_everything(str(copied))
    assert strange == []


@pytest.mark.parametrize("part", [100, 511, 512, 4_096, 4_097, 20_000, "half", "most"])
def test_a_truncated_file_never_shows_as_a_strange_error(copied: Path, part: int | str) -> None:
    size = copied.stat().st_size
    length = {"half": size // 2, "most": size - 4_096}.get(str(part), part)
    assert isinstance(length, int)
    os.truncate(copied, length)
    strange, refused = use_everything(str(copied))
    assert strange == []
    assert refused > 0


DAMAGE = {
    "tags that are no JSON": "UPDATE entities SET tags = '{'",
    "tags that are no list": "UPDATE entities SET tags = '3'",
    "tags that are no text": "UPDATE entities SET tags = x'ff'",
    "a body that is no Unicode": "UPDATE entities SET body_json = CAST(x'22ff22' AS TEXT)",
    "a body that is no JSON": "UPDATE entities SET body_json = '{' || body_json",
    "a key that is no Unicode": "UPDATE entities SET key = key || CAST(x'ff' AS TEXT)",
    "links that are no JSON": "UPDATE versions SET links = '['",
    "vectors that are cut": "UPDATE vectors SET vector = substr(vector, 1, 7)",
    "vectors that are empty": "UPDATE vectors SET vector = x''",
    "passages beyond the text": "UPDATE passages SET start = start + 100000",
    "passages of no one": "UPDATE passages SET owner = owner + 100000",
    "no passages": "DELETE FROM passages",
    "no index": "DELETE FROM passage_text",
    "versions of no one": "UPDATE versions SET entity = entity + 100000",
    "no table": "DROP TABLE versions",
    "no index table": "DROP TABLE passage_text",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_rows_never_show_as_a_strange_error(copied: Path, name: str) -> None:
    with closing(apsw.Connection(str(copied))) as connection:
        connection.execute(DAMAGE[name])
    strange, _ = use_everything(str(copied))
    assert strange == []


def test_damage_is_named_with_the_file_and_what_to_do(copied: Path) -> None:
    data = bytearray(copied.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    copied.write_bytes(data)

    def use() -> None:
        with Memory.open(str(copied), embedding="off") as memory:
            memory.recall("green tea")

    with pytest.raises(StorageFailure, match="damaged") as raised:
        use()
    assert str(copied) in raised.value.message
    assert "backup" in raised.value.hint


# --- places where no store can be


@pytest.mark.parametrize(
    "place",
    ["file/memory.db", "folder", "name\0.db", "x" * 300 + ".db", "file/deeper/memory.db", "x" * 300 + "/memory.db"],
    ids=["under a file", "a folder", "a NUL", "a long name", "deep under a file", "a long folder"],
)
def test_a_place_that_can_hold_no_store_is_refused_in_words(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MimirError) as raised:
        Memory.open(f"{tmp_path}/{place}", embedding="off")
    assert raised.value.hint
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


# --- files that may not be written

NOBODY = 65534
AS_ANOTHER = """
import os, sys
from mimir import Memory, MimirError

with Memory.open(sys.argv[1], embedding="off") as memory:
    memory.recall("load what a later import might not be allowed to read", mode="fts5")
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({nobody})
    os.setuid({nobody})
try:
    with Memory.open(sys.argv[2], embedding="off") as memory:
        {use}
except MimirError as error:
    print(error.code, error.message, error.hint, sep="|")
"""
REMEMBER = 'print("acknowledged", memory.remember("c", "k", {"n": 1}))'
RECALL = 'print("found", [hit.key for hit in memory.recall("green tea", mode="fts5", limit=3).items])'


@pytest.fixture
def shown(sound: Path) -> Iterator[Path]:
    """Return a copy of the store, without write permission, in a folder that other users may look into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "memory.db"
        shutil.copy(sound, path)
        path.chmod(0o444)
        yield path
        folder.chmod(0o755)


def as_another(path: Path, use: str, spare: Path) -> str:
    """Use a store in a process without its owner's rights, which first loads everything on a spare one."""
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER.format(nobody=NOBODY, use=use), str(spare), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


@pytest.fixture
def locked_folder(shown: Path) -> Path:
    shown.parent.chmod(0o555)
    return shown


def test_a_store_that_may_not_be_written_refuses_writes_in_words(locked_folder: Path, tmp_path: Path) -> None:
    before = locked_folder.read_bytes()
    printed = as_another(locked_folder, REMEMBER, tmp_path / "spare.db")
    assert printed.startswith("storage|")
    assert "permission" in printed or "read-only" in printed
    assert locked_folder.read_bytes() == before


def test_a_read_only_file_in_a_writable_folder_refuses_writes_in_words(shown: Path, tmp_path: Path) -> None:
    shown.parent.chmod(0o777)
    before = shown.read_bytes()
    printed = as_another(shown, REMEMBER, tmp_path / "spare.db")
    assert printed.startswith("storage|")
    assert "read-only" in printed
    assert shown.read_bytes() == before


def test_a_read_only_file_can_be_recalled_from_and_closed(shown: Path, tmp_path: Path) -> None:
    """That the use of a memory can't be written down is no reason to withhold it."""
    shown.parent.chmod(0o777)
    printed = as_another(shown, RECALL, tmp_path / "spare.db")
    assert printed.startswith("found ['k")
    assert "|" not in printed


def test_a_folder_that_may_not_be_written_gets_no_store(locked_folder: Path, tmp_path: Path) -> None:
    for place in ("new.db", "deeper/new.db"):
        assert as_another(locked_folder.parent / place, REMEMBER, tmp_path / "spare.db").startswith("storage|")
    assert list(locked_folder.parent.iterdir()) == [locked_folder]


def test_a_store_that_may_not_be_read_is_refused_in_words(shown: Path, tmp_path: Path) -> None:
    shown.chmod(0)
    assert as_another(shown, RECALL, tmp_path / "spare.db").startswith("storage|")


def test_what_was_recalled_from_a_store_that_turns_read_only_is_still_answered(
    open_memory: OpenMemory, copied: Path
) -> None:
    memory = open_memory(str(copied))
    with memory.store.reading() as connection:
        connection.execute("PRAGMA query_only = 1")
    assert memory.recall("green tea", mode="fts5").items
    with pytest.raises(StorageFailure, match="read-only"):
        memory.remember("c", "new", {"n": 1})
    memory.close()

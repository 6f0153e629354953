"""The file_watcher connector's scan: long files in parts, files that go, and files that are to be left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimir import Memory
from mimir.connectors.files import LONGEST_PART
from mimir.operations.ingestion import Ingested
from tests.conftest import OpenMemory
from tests.doubles import FixedClock


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def memory(open_memory: OpenMemory, notes: Path, tmp_path: Path) -> Memory:
    """Return a memory that reads the notes."""
    config = tmp_path / "connectors.yaml"
    told = {"connectors": {"file_watcher": {"enabled": True, "paths": [str(notes)]}}}
    config.write_text(json.dumps(told), encoding="utf-8")
    return open_memory(connectors_config=str(config))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def live(memory: Memory) -> list[str]:
    """Return the names of the files that are remembered, as often as they have parts."""
    hits = memory.recall("", category="file", limit=1_000, reinforce=False).items
    return sorted(Path(json.loads(hit.body_json)["path"]).name for hit in hits)


def chapters(count: int) -> str:
    return "".join(f"# Chapter {number}\n\n{f'Sentence of chapter {number}. ' * 300}\n\n" for number in range(count))


def test_a_long_file_is_kept_in_parts_that_stand_in_sequence(memory: Memory, notes: Path) -> None:
    text = chapters(6) + "# Last\n\nThe door code is on the fridge.\n"
    write(notes / "sub" / "book.md", text)
    assert memory.ingest().ingested == 1
    hits = sorted(memory.recall("", category="file", limit=100).items, key=lambda hit: hit.id)
    bodies = [json.loads(hit.body_json) for hit in hits]
    assert "".join(body["content"] for body in bodies) == text
    assert [body["part"] for body in bodies] == [f"{number} of {len(hits)}" for number in range(1, len(hits) + 1)]
    assert all(body["content"].startswith("# ") and len(body["content"]) <= LONGEST_PART for body in bodies)
    assert {hit.topic_path for hit in hits} == {"file/notes/sub/book.md"}
    assert memory.recall("where is the door code").items[0].id == hits[-1].id


def test_a_file_that_shrinks_gives_up_the_parts_it_no_longer_has(
    memory: Memory, notes: Path, clock: FixedClock
) -> None:
    write(notes / "book.md", chapters(6))
    memory.ingest()
    count = len(live(memory))
    assert count > 2
    clock.advance()
    write(notes / "book.md", "# Chapter 0\n\nShort now.\n")
    assert memory.ingest() == Ingested(ingested=1, dry_run=False, errors=(), archived=count - 1)
    assert live(memory) == ["book.md"]
    assert memory.recall("Sentence of chapter 5").items[0].evidence.endswith("Short now.\n")


def test_a_file_that_is_gone_is_archived_and_comes_back(memory: Memory, notes: Path, clock: FixedClock) -> None:
    write(notes / "a.md", "first")
    write(notes / "b.md", "second")
    memory.ingest()
    (notes / "a.md").unlink()
    clock.advance()
    assert memory.ingest(dry_run=True) == Ingested(ingested=0, dry_run=True, errors=(), archived=1)
    assert memory.ingest() == Ingested(ingested=0, dry_run=False, errors=(), archived=1)
    assert live(memory) == ["b.md"]
    assert memory.ingest() == Ingested(ingested=0, dry_run=False, errors=())
    clock.advance()
    write(notes / "a.md", "first")
    assert memory.ingest().ingested == 1
    assert live(memory) == ["a.md", "b.md"]


def test_a_folder_that_cannot_be_found_takes_nothing_with_it(memory: Memory, notes: Path, tmp_path: Path) -> None:
    write(notes / "a.md", "first")
    memory.ingest()
    notes.rename(tmp_path / "elsewhere")
    result = memory.ingest()
    assert (result.ingested, len(result.errors)) == (0, 1)
    assert live(memory) == ["a.md"]


def test_a_file_outside_what_is_read_now_is_kept(
    memory: Memory, open_memory: OpenMemory, notes: Path, tmp_path: Path
) -> None:
    write(notes / "one" / "a.md", "first")
    write(notes / "two" / "b.md", "second")
    memory.ingest()
    told = {"connectors": {"file_watcher": {"enabled": True, "paths": [str(notes / "two")]}}}
    (tmp_path / "connectors.yaml").write_text(json.dumps(told), encoding="utf-8")
    (notes / "one" / "a.md").unlink()
    again = open_memory(connectors_config=str(tmp_path / "connectors.yaml"))
    assert again.ingest() == Ingested(ingested=0, dry_run=False, errors=())
    assert live(again) == ["a.md", "b.md"]


def test_ignore_files_are_heeded_wherever_they_stand(memory: Memory, notes: Path) -> None:
    write(notes / ".gitignore", "*.txt\n/private/\n!kept.txt\n")
    write(notes / "sub" / ".mimirignore", "draft*\n")
    for name in ("a.md", "b.txt", "kept.txt", "private/c.md", "sub/draft.md", "sub/d.md", "sub/private/e.md"):
        write(notes / name, name)
    assert memory.ingest().ingested == 4
    assert live(memory) == ["a.md", "d.md", "e.md", "kept.txt"]


def test_a_folder_whose_ignore_file_cannot_be_read_is_left_out(memory: Memory, notes: Path) -> None:
    write(notes / "a.md", "first")
    write(notes / "sub" / "secret.md", "second")
    (notes / "sub" / ".mimirignore").write_bytes(b"\xff\xff")
    result = memory.ingest()
    assert live(memory) == ["a.md"]
    (error,) = result.errors
    assert "it is left out" in error


def test_formats_of_notes_and_data_are_read_by_default(memory: Memory, notes: Path) -> None:
    for name in ("a.md", "b.txt", "c.json", "d.rst", "e.org", "f.markdown", "g.py", "h.exe"):
        write(notes / name, name)
    memory.ingest()
    assert live(memory) == ["a.md", "b.txt", "c.json", "d.rst", "e.org", "f.markdown"]


def test_memories_that_were_purged_do_not_come_back_by_themselves(memory: Memory, notes: Path) -> None:
    write(notes / "a.md", "first")
    memory.ingest()
    memory.forget("file", memory.recall("", category="file").items[0].key)
    memory.purge()
    assert memory.ingest() == Ingested(ingested=0, dry_run=False, errors=())
    (notes / "a.md").unlink()
    assert memory.ingest() == Ingested(ingested=0, dry_run=False, errors=())

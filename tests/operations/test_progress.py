"""Long work tells how far it has come, to the caller who listens and to nobody else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mimir import Memory
from mimir.progress import reported_to

COUNT = 250

LONG_WORK: dict[str, tuple[Callable[[Memory, str], object], int | None]] = {
    "reindex": (lambda memory, _: memory.reindex(), 2 * COUNT + 1),
    "decay": (lambda memory, _: memory.decay(), None),
    "compact": (lambda memory, _: memory.compact(dry_run=True), None),
    "cohere": (lambda memory, _: memory.cohere(), None),
    "conflicts": (lambda memory, _: memory.conflicts(category="c"), COUNT),
    "purge": (lambda memory, _: memory.purge(), COUNT),
    "federate": (lambda memory, _: memory.federate("", "copy"), COUNT),
    # The archived ones are looked at too: they may have left a note behind.
    "vault_export": (lambda memory, folder: memory.vault_export(folder), 2 * COUNT),
}


@pytest.fixture
def full(keyword_memory: Memory) -> Memory:
    memory = keyword_memory
    memory.remember_many({"category": "c", "key": f"k{n}", "body_json": {"content": f"text {n}"}} for n in range(COUNT))
    memory.remember("c", "k0", {"content": "other text"})
    memory.remember_many(
        {"category": "c", "key": f"old{n}", "body_json": {"content": f"text {n}"}, "workspace_hash": "w"}
        for n in range(COUNT)
    )
    for number in range(COUNT):
        memory.forget("c", f"old{number}", workspace_hash="w")
    return memory


@pytest.mark.parametrize("name", LONG_WORK)
def test_long_work_reports_growing_counts_up_to_its_total(full: Memory, tmp_path: Path, name: str) -> None:
    work, total = LONG_WORK[name]
    heard: list[tuple[int, int | None]] = []
    with reported_to(lambda done, of: heard.append((done, of))):
        work(full, str(tmp_path / "vault"))
    counts = [done for done, _ in heard]
    assert counts == sorted(counts)
    assert counts[-1] == (COUNT if total is None else total)
    assert {of for _, of in heard} == {total}


def test_an_import_reports_the_notes_it_has_read(full: Memory, tmp_path: Path) -> None:
    full.vault_export(str(tmp_path))
    for note in tmp_path.glob("*.md"):
        os.utime(note)
    heard: list[tuple[int, int | None]] = []
    with reported_to(lambda done, of: heard.append((done, of))):
        full.vault_import(str(tmp_path))
    assert heard[-1] == (COUNT, COUNT)


def test_only_the_caller_who_listens_hears_of_its_work(full: Memory) -> None:
    heard: list[int] = []
    other = threading.Thread(target=full.reindex)
    with reported_to(lambda done, _: heard.append(done)):
        other.start()
        other.join()
    full.reindex()
    assert heard == []

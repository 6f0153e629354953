"""What a vault costs that is in step: a look at each file and each row, and no reading of notes that did not change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from mimir import Memory, documents
from mimir.vault import files
from mimir.vault.importing import import_notes
from mimir.vault.ledger import Ledger
from mimir.vault.syncing import Sync, Synced

NOTES = 1_200
MOST_STATEMENTS = 80
"""Far fewer than notes: what is done once, or once for each thousand."""


class Work(NamedTuple):
    """Which files were read and written, by their paths in the vault, and which statements the store ran."""

    read: list[str]
    written: list[str]
    statements: list[str]


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def many(memory: Memory, vault: Path) -> Memory:
    """Return a memory of many notes in two categories, which were written once."""
    memory.remember_many(
        {"category": ("c", "d")[number % 2], "key": f"k{number}", "body_json": {"content": f"note {number}"}}
        for number in range(NOTES)
    )
    assert once(memory, vault).files_created == NOTES
    return memory


def once(memory: Memory, vault: Path, *, two_way: bool = False) -> Synced:
    """Do what a new process does that is told to sync."""
    return Sync(memory, str(vault), two_way=two_way).round()


def note(memory: Memory, vault: Path, key: str, category: str = "c") -> Path:
    (stored,) = memory.store.find(category, key, "")
    return vault / f"{stored.entity.id}.md"


@contextmanager
def counted(memory: Memory, vault: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """Count what is read and written, by functions that stand before those that do it."""
    work = Work([], [], [])

    def reading(path: str, most_bytes: int, *, follow: bool = True) -> bytes:
        work.read.append(os.path.relpath(path, vault))
        return documents.read_bytes(path, most_bytes, follow=follow)

    def writing(folder: str, path: str, text: str, mark: str) -> files.Seen:
        work.written.append(path)
        return files.write_file(folder, path, text, mark)

    def running(_cursor: apsw.Cursor, sql: str, _bindings: object) -> bool:
        work.statements.append(sql)
        return True

    connection = memory.store.database.connection  # type: ignore[attr-defined]  # that of SQLite
    with monkeypatch.context() as patched:
        for module in ("exporting", "ledger"):
            patched.setattr(f"mimir.vault.{module}.read_bytes", reading)
        for module in ("exporting", "listing"):
            patched.setattr(f"mimir.vault.{module}.write_file", writing)
        connection.exec_trace = running
        try:
            yield work
        finally:
            connection.exec_trace = None


@pytest.mark.parametrize("two_way", [False, True])
def test_a_vault_in_step_is_neither_read_nor_written(
    many: Memory, vault: Path, monkeypatch: pytest.MonkeyPatch, *, two_way: bool
) -> None:
    with counted(many, vault, monkeypatch) as work:
        assert once(many, vault, two_way=two_way).is_empty
    assert work.read == []
    assert work.written == []
    assert len(work.statements) < MOST_STATEMENTS


@pytest.mark.parametrize("two_way", [False, True])
def test_of_many_notes_only_that_of_a_changed_memory_is_read_and_written(
    many: Memory, vault: Path, monkeypatch: pytest.MonkeyPatch, *, two_way: bool
) -> None:
    changed = note(many, vault, "k6").name
    many.remember("c", "k6", {"content": "changed"})
    with counted(many, vault, monkeypatch) as work:
        assert once(many, vault, two_way=two_way).files_updated == 1
    assert work.read == [changed]
    assert work.written == [changed]
    assert len(work.statements) < MOST_STATEMENTS


def test_a_new_memory_costs_its_note_and_the_overview_of_its_category(
    many: Memory, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many.remember("c", "new", {"content": "new"})
    with counted(many, vault, monkeypatch) as work:
        assert once(many, vault).files_created == 1
    assert work.written == [note(many, vault, "new").name, "Index/c.md"]


def test_of_many_notes_only_the_edited_one_is_read_into_memory(
    many: Memory, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = note(many, vault, "k6")
    edited.write_text(edited.read_text(encoding="utf-8") + "More.\n", encoding="utf-8")
    with counted(many, vault, monkeypatch) as work:
        assert once(many, vault, two_way=True).memories_updated == 1
    assert {path for path in work.read if not path.startswith("Index/")} == {edited.name}
    assert len(work.statements) < MOST_STATEMENTS
    assert "More." in many.recall("More.").items[0].body_json


def test_an_export_reads_no_note_that_is_as_it_was(many: Memory, vault: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many.remember("c", "k6", {"content": "changed"})
    with counted(many, vault, monkeypatch) as work:
        assert many.vault_export(str(vault)).exported == 1
    assert work.read == work.written == [note(many, vault, "k6").name]
    assert len(work.statements) < MOST_STATEMENTS


def test_an_erased_memory_costs_no_look_at_the_others(
    many: Memory, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = note(many, vault, "k6")
    many.forget("c", "k6")
    many.purge()
    with counted(many, vault, monkeypatch) as work:
        assert many.vault_export(str(vault)).files_removed == 1
    assert (gone.exists(), work.read, work.written) == (False, [], [])


def test_an_edit_that_follows_at_once_and_keeps_the_length_is_seen(memory: Memory, vault: Path) -> None:
    for number in range(50):
        memory.remember("c", f"k{number}", {"content": "first words"})
        memory.vault_export(str(vault))
        path = note(memory, vault, f"k{number}")
        path.write_bytes(path.read_bytes().replace(b"first", b"other"))
    assert memory.vault_export(str(vault)).files_edited == 50


def test_a_note_that_was_emptied_is_written_again_by_the_next_round_both_ways(many: Memory, vault: Path) -> None:
    path = note(many, vault, "k6")
    path.write_bytes(b"")
    assert once(many, vault, two_way=True).files_updated == 1
    assert "note 6" in path.read_text(encoding="utf-8")


def test_a_note_that_could_not_be_written_is_written_by_the_next_export(
    memory: Memory, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.remember("c", "old", {"content": "x"})
    memory.vault_export(str(vault))
    memory.remember("c", "old", {"content": "y"})
    memory.remember("c", "new", {"content": "z"})

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        assert len(memory.vault_export(str(vault)).errors) == 2
    taken = import_notes(memory, str(vault), Ledger(memory, str(vault)), two_way=True)
    assert (taken.archived, taken.conflicts) == (0, 0)
    result = memory.vault_export(str(vault))
    assert (result.files_created, result.files_updated, result.errors) == (1, 1, ())


def test_a_note_that_moves_between_two_rounds_has_its_new_name_wherever_it_is_named(
    memory: Memory, vault: Path
) -> None:
    memory.remember("c", "a", {"content": "first"})
    target = memory.remember("d", "b", {"content": "second"}).id
    memory.link("c", "a", target, "near")
    sync = Sync(memory, str(vault), two_way=True)
    sync.round()
    (vault / f"{target}.md").rename(vault / "Moved.md")
    sync.round()
    for name in ("Index/d.md", note(memory, vault, "a").name):
        assert "[[Moved|b]]" in (vault / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("watched", [False, True])
def test_an_overview_no_longer_names_what_was_erased(memory: Memory, vault: Path, *, watched: bool) -> None:
    for category, key in (("c", "a"), ("c", "b"), ("d", "only")):
        memory.remember(category, key, {"content": f"text of {key}"})
    sync = Sync(memory, str(vault))
    sync.round()
    (vault / "Index" / "mine.md").write_text("What I keep here.", encoding="utf-8")
    for category, key in (("c", "b"), ("d", "only")):
        memory.forget(category, key)
    memory.purge()
    assert (sync if watched else Sync(memory, str(vault))).round().errors == ()
    assert [path.name for path in sorted((vault / "Index").iterdir())] == ["c.md", "mine.md"]
    assert "|b]]" not in (vault / "Index" / "c.md").read_text(encoding="utf-8")


def test_an_overview_of_a_watched_vault_follows_the_notes_that_come_and_go(memory: Memory, vault: Path) -> None:
    for number in range(3):
        memory.remember("c", f"k{number}", {"content": f"text {number}"})
    sync = Sync(memory, str(vault), two_way=True)
    sync.round()
    (vault / "New.md").write_text("Seen by hand.", encoding="utf-8")
    note(memory, vault, "k1").unlink()
    sync.round()
    assert "[[New|New]]" in (vault / "Index" / "general.md").read_text(encoding="utf-8")
    assert "|k1]]" not in (vault / "Index" / "c.md").read_text(encoding="utf-8")


def test_an_overview_names_a_note_that_an_import_took_in_before(memory: Memory, vault: Path) -> None:
    memory.remember("c", "a", {"content": "first"})
    once(memory, vault)
    (vault / "New.md").write_text("Seen by hand.", encoding="utf-8")
    memory.vault_import(str(vault))
    once(memory, vault)
    assert "[[New|New]]" in (vault / "Index" / "general.md").read_text(encoding="utf-8")


def test_overviews_are_brought_up_after_an_export_an_edit_or_a_loss(memory: Memory, vault: Path) -> None:
    overview = vault / "Index" / "c.md"
    memory.remember("c", "a", {"content": "first"})
    once(memory, vault)
    memory.remember("c", "b", {"content": "second"})
    memory.vault_export(str(vault))
    once(memory, vault)
    whole = overview.read_text(encoding="utf-8")
    assert "|a]]" in whole
    assert "|b]]" in whole
    overview.write_text(whole.replace("|b]]", "|c]]"), encoding="utf-8")
    once(memory, vault)
    assert overview.read_text(encoding="utf-8") == whole
    overview.unlink()
    once(memory, vault)
    assert overview.read_text(encoding="utf-8") == whole

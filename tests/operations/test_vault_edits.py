"""A vault that people work in: their edits come back, foreign notes come in, and where both sides changed both stay."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from mimir import InvalidInput, Memory
from mimir.crypto import write_key_file
from mimir.model import Entity
from mimir.vault.files import write_file
from mimir.vault.importing import import_notes
from mimir.vault.ledger import Ledger, read_file
from tests.conftest import OpenMemory
from tests.doubles import FixedClock

needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return tmp_path / "vault"


def write(vault: Path, name: str, text: str) -> Path:
    path = vault / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_bytes(text.replace(old, new).encode())


def content(entity: Entity) -> str:
    text: str = json.loads(entity.body_json)["content"]
    return text


def named(memory: Memory, key: str, category: str = "general") -> Entity:
    (stored,) = memory.store.find(category, key, "")
    return stored.entity


def links(entity: Entity) -> set[tuple[str, str]]:
    return {(link.target_id, link.relationship) for link in entity.links}


def files(vault: Path) -> list[str]:
    return sorted(path.relative_to(vault).as_posix() for path in vault.rglob("*.md"))


@pytest.fixture
def pair(memory: Memory, vault: Path, clock: FixedClock) -> tuple[Path, Path]:
    """Return the notes of two memories, the first linked to the second."""
    memory.remember("c", "a", {"content": "first words"}, tags=["one"])
    target = memory.remember("c", "b", {"content": "second words"}).id
    memory.link("c", "a", target, "near")
    memory.vault_export(str(vault))
    clock.advance(1_000)
    return vault / "mem-000000000001.md", vault / "mem-000000000002.md"


# --- edits


def test_tags_and_links_written_into_the_text_are_taken_up(
    memory: Memory, vault: Path, pair: tuple[Path, Path]
) -> None:
    edit(pair[1], "second words", "second words #urgent, see [[mem-000000000001|a]] and [[nowhere]] but not `[[a]] #b`")
    result = memory.vault_import(str(vault))
    assert (result.files_updated, result.links_unresolved, result.errors) == (1, 1, ())
    entity = named(memory, "b", "c")
    assert entity.tags == ("urgent",)
    assert links(entity) == {("mem-000000000001", "related")}
    assert memory.vault_export(str(vault)).files_updated == 1
    assert "tags: [urgent]" in pair[1].read_text(encoding="utf-8")


def test_an_old_note_does_not_take_back_what_was_said_since(
    memory: Memory, vault: Path, pair: tuple[Path, Path]
) -> None:
    memory.remember("c", "a", {"content": "newer words"}, tags=["two"])
    edit(pair[1], "second", "edited")
    result = memory.vault_import(str(vault))
    assert (result.files_updated, result.conflicts) == (1, 0)
    assert content(named(memory, "a", "c")) == "newer words"
    assert content(named(memory, "b", "c")) == "edited words"


def test_only_the_part_that_was_edited_is_taken(memory: Memory, vault: Path, pair: tuple[Path, Path]) -> None:
    memory.remember("c", "a", {"content": "newer words"}, certainty=0.9)
    edit(pair[0], "tags: [one]", "tags: [one, two]")
    result = memory.vault_import(str(vault))
    assert (result.files_updated, result.conflicts) == (1, 0)
    entity = named(memory, "a", "c")
    assert (content(entity), entity.tags, entity.certainty) == ("newer words", ("one", "two"), 0.9)


def test_where_both_sides_changed_both_are_kept_and_counted(
    memory: Memory, vault: Path, pair: tuple[Path, Path], clock: FixedClock
) -> None:
    memory.remember("c", "a", {"content": "words of the agent"}, tags=["agent"])
    memory.link("c", "a", "mem-000000000002", "agrees")
    edit(pair[0], "first words", "words of the person")
    edit(pair[0], "tags: [one]", "tags: [person]")
    edit(pair[0], "(near)", "(far)")
    exported = memory.vault_export(str(vault))
    assert (exported.conflicts, exported.files_edited, exported.exported) == (1, 0, 0)
    assert "words of the person" in pair[0].read_text(encoding="utf-8")
    clock.advance()
    assert memory.vault_import(str(vault)).conflicts == 1
    entity = named(memory, "a", "c")
    assert content(entity) == "words of the person"
    assert set(entity.tags) == {"agent", "person"}
    assert {relationship for _, relationship in links(entity)} == {"near", "agrees", "far"}
    assert "words of the agent" in memory.history("c", "a").versions[0].body_json
    assert memory.vault_export(str(vault)).conflicts == 0


def test_an_edited_note_is_not_overwritten_before_it_is_imported(
    memory: Memory, vault: Path, pair: tuple[Path, Path]
) -> None:
    edit(pair[0], "first words", "edited words")
    result = memory.vault_export(str(vault))
    assert (result.files_edited, result.conflicts, result.exported) == (1, 0, 0)
    memory.vault_import(str(vault))
    assert memory.vault_export(str(vault)).files_edited == 0
    assert content(named(memory, "a", "c")) == "edited words"


def test_a_note_of_unknown_age_is_put_aside_before_it_is_replaced(
    memory: Memory, vault: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    edit(pair[0], "first words", "other words")
    moved = tmp_path / "moved"
    shutil.move(vault, moved)
    assert memory.vault_export(str(moved)).files_updated == 1
    assert "first words" in (moved / pair[0].name).read_text(encoding="utf-8")
    assert "other words" in (moved / ".trash" / pair[0].name).read_text(encoding="utf-8")


def test_a_renamed_note_is_still_the_same_memory(memory: Memory, vault: Path, pair: tuple[Path, Path]) -> None:
    (vault / "Ideas").mkdir()
    pair[1].rename(vault / "Ideas" / "My second.md")
    edit(pair[0], "[[mem-000000000002|b]]", "[[My second|b]]")
    result = memory.vault_import(str(vault))
    assert (result.files_created, result.files_updated, result.errors) == (0, 0, ())
    memory.remember("c", "b", {"content": "changed words"})
    memory.vault_export(str(vault))
    assert files(vault) == ["Ideas/My second.md", "mem-000000000001.md"]
    assert "changed words" in (vault / "Ideas" / "My second.md").read_text(encoding="utf-8")
    assert "[[Ideas/My second|b]] (near)" in pair[0].read_text(encoding="utf-8")
    assert links(named(memory, "a", "c")) == {("mem-000000000002", "near")}


def test_a_note_that_was_deleted_forgets_nothing_and_is_written_again(
    memory: Memory, vault: Path, pair: tuple[Path, Path]
) -> None:
    pair[0].unlink()
    assert memory.vault_import(str(vault)).files_updated == 0
    assert not named(memory, "a", "c").archived
    assert memory.vault_export(str(vault)).files_created == 1


def test_use_of_a_memory_does_not_rewrite_its_note(memory: Memory, vault: Path, pair: tuple[Path, Path]) -> None:
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in pair]
    memory.recall("first words")
    memory.flush_uses()
    assert memory.vault_export(str(vault)).exported == 0
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in pair] == before


@pytest.mark.usefixtures("pair")
def test_a_memory_comes_back_from_the_trash_with_its_next_export(memory: Memory, vault: Path) -> None:
    memory.forget("c", "b")
    assert memory.vault_export(str(vault)).files_removed == 1
    memory.remember("c", "b", {"content": "second words"})
    assert memory.vault_export(str(vault)).files_created == 1
    memory.forget("c", "b")
    memory.purge()
    assert memory.vault_export(str(vault)).files_removed == 1
    assert files(vault / ".trash") == ["mem-000000000002 2.md", "mem-000000000002.md"]


def test_of_many_notes_only_the_changed_one_is_written(
    memory: Memory, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.remember_many(
        {"category": "c", "key": f"k{number}", "body_json": {"content": f"note {number}"}} for number in range(300)
    )
    memory.vault_export(str(vault))
    written: list[str] = []
    real = write_file

    def counting(folder: str, path: str, text: str, mark: str) -> object:
        written.append(path)
        return real(folder, path, text, mark)

    monkeypatch.setattr("mimir.vault.exporting.write_file", counting)
    memory.remember("c", "k7", {"content": "changed"})
    assert memory.vault_export(str(vault)).exported == 1
    assert written == [f"{named(memory, 'k7', 'c').id}.md"]


# --- both ways


def test_both_ways_a_deleted_note_archives_its_memory(memory: Memory, vault: Path, pair: tuple[Path, Path]) -> None:
    pair[0].unlink()
    taken = import_notes(memory, str(vault), Ledger(memory, str(vault)), two_way=True)
    assert (taken.archived, taken.errors) == (1, [])
    entity = named(memory, "a", "c")
    assert (entity.archived, entity.archive_reason) == (True, "its note was removed from the vault")
    assert memory.vault_export(str(vault)).exported == 0


def test_both_ways_a_memory_that_changed_outlives_its_note(
    memory: Memory, vault: Path, pair: tuple[Path, Path]
) -> None:
    memory.remember("c", "a", {"content": "newer words"})
    pair[0].unlink()
    taken = import_notes(memory, str(vault), Ledger(memory, str(vault)), two_way=True)
    assert (taken.archived, taken.conflicts) == (0, 1)
    assert memory.vault_export(str(vault)).files_created == 1


def test_both_ways_an_old_note_does_not_bring_a_forgotten_memory_back(
    memory: Memory, vault: Path, pair: tuple[Path, Path]
) -> None:
    memory.forget("c", "a")
    memory.forget("c", "b")
    os.utime(pair[0])
    edit(pair[1], "second words", "words that must not be lost")
    taken = import_notes(memory, str(vault), Ledger(memory, str(vault)), two_way=True)
    assert taken.updated == {pair[1].name}
    assert (named(memory, "a", "c").archived, named(memory, "b", "c").archived) == (True, False)
    assert memory.vault_export(str(vault)).files_removed == 1


def test_a_vault_that_lost_most_of_its_notes_archives_nothing(memory: Memory, vault: Path) -> None:
    for number in range(20):
        memory.remember("c", f"k{number}", {"content": f"note {number}"})
    memory.vault_export(str(vault))
    for path in list(vault.glob("*.md"))[:15]:
        path.unlink()
    taken = import_notes(memory, str(vault), Ledger(memory, str(vault)), two_way=True)
    assert taken.archived == 0
    assert "15 of 20 notes are gone" in taken.errors[0]
    assert memory.vault_export(str(vault)).files_created == 15


# --- foreign vaults


def test_a_foreign_vault_comes_in_with_titles_tags_and_links(memory: Memory, vault: Path) -> None:
    write(
        vault,
        "Projects/Alpha.md",
        "---\ntitle: The Alpha project\naliases: [First]\ntags:\n  - work\ndue: 2026-05-01\n---\n"
        "# Alpha\n\nPlan for #q3 with [[Beta]] and [the list](Shopping%20list.md), see [[Projects/Alpha#Goals]].\n"
        "![[picture.png]] [[unwritten]]\n\n```\n#no [[no]]\n```\n",
    )
    write(vault, "Beta.md", "Comes after [[First|the first]].")
    write(vault, "Projects/Shopping list.md", "- eggs\n- milk")
    result = memory.vault_import(str(vault))
    assert (result.files_created, result.errors, result.links_unresolved) == (3, (), 2)
    alpha, beta = named(memory, "Projects/Alpha"), named(memory, "Beta")
    assert (alpha.tags, alpha.topic_path) == (("work", "q3"), "Projects")
    body = json.loads(alpha.body_json)
    assert body["content"].startswith("# Alpha\n\nPlan for #q3")
    assert body["properties"] == {"aliases": ["First"], "title": "The Alpha project", "due": "2026-05-01"}
    assert links(alpha) == {(beta.id, "related"), (named(memory, "Projects/Shopping list").id, "related")}
    assert links(beta) == {(alpha.id, "related")}
    assert memory.recall("The Alpha project", mode="fts5").items[0].id == alpha.id
    assert memory.vault_import(str(vault)).files_updated == 0


def test_an_export_into_a_foreign_vault_adopts_its_notes_where_they_are(memory: Memory, vault: Path) -> None:
    write(vault, "Projects/Alpha.md", "---\nrating: 5\n---\n# Alpha\n\nWith [[Beta]].\n")
    write(vault, "Beta.md", "Words.\n")
    memory.vault_import(str(vault))
    result = memory.vault_export(str(vault))
    assert (result.files_created, result.files_updated, result.conflicts) == (0, 2, 0)
    assert files(vault) == ["Beta.md", "Projects/Alpha.md"]
    text = (vault / "Projects" / "Alpha.md").read_text(encoding="utf-8")
    assert text.endswith("\nrating: 5\n---\n\n# Alpha\n\nWith [[Beta]].\n\n## Links\n\n- [[Beta|Beta]] (related)\n")
    assert memory.vault_import(str(vault)).files_updated == 0
    edit(vault / "Beta.md", "Words.", "Other words.")
    assert memory.vault_import(str(vault)).files_updated == 1
    assert content(named(memory, "Beta")) == "Other words."


def test_a_new_note_is_adopted_and_may_move_before_it_has_an_id(memory: Memory, vault: Path) -> None:
    write(vault, "Idea.md", "A good idea, long enough to be known again.")
    memory.vault_import(str(vault))
    (vault / "Idea.md").rename(vault / "Better name.md")
    assert memory.vault_import(str(vault)).files_created == 0
    memory.vault_export(str(vault))
    assert files(vault) == ["Better name.md"]
    assert memory.stats().total_entities == 1


def test_the_layout_of_the_original_can_be_written_and_read(memory: Memory, vault: Path) -> None:
    memory.remember("c", "a", '{"content":"x"}', tags=["t"])
    assert memory.vault_export(str(vault), format="original").files_created == 1
    text = (vault / "mem-000000000001.md").read_text(encoding="utf-8")
    assert text == (
        '---\nid: mem-000000000001\ncategory: c\nkey: a\ntype: insight\nworkspace_hash: \nagent_id: \ntags: ["t"]\n'
        "decay_score: 0.5000\nretrieval_count: 0\nlayer: buffer\ncreated: 2025-06-15T15:06:40Z\n"
        'last_accessed: 2025-06-15T15:06:40Z\n---\n\n{"content":"x"}\n'
    )
    assert memory.vault_export(str(vault)).files_updated == 1
    assert "aliases: [a]" in (vault / "mem-000000000001.md").read_text(encoding="utf-8")
    assert not (vault / ".trash").exists()


# --- encrypted stores


def test_an_encrypted_store_writes_notes_only_when_it_is_told_to(
    open_memory: OpenMemory, vault: Path, tmp_path: Path
) -> None:
    write_key_file(str(tmp_path / "key"))
    memory = open_memory(str(tmp_path / "sealed.db"), encryption_key=str(tmp_path / "key"))
    memory.remember("c", "a", {"content": "x"})
    with pytest.raises(InvalidInput, match="encrypted") as raised:
        memory.vault_export(str(vault))
    assert "--plaintext" in raised.value.hint
    assert not vault.exists()
    assert memory.vault_export(str(vault), plaintext=True).files_created == 1


# --- bad input


def test_a_copy_of_a_note_does_not_pass_for_it(memory: Memory, vault: Path, pair: tuple[Path, Path]) -> None:
    shutil.copy(pair[0], vault / "a copy.md")
    edit(vault / "a copy.md", "first words", "words of the copy")
    write(vault, "other.md", "---\ncategory: c\nkey: b\n---\nother words\n")
    for name in ("one", "two"):
        write(vault, f"{name}.md", f"---\nkey: same\n---\n{name}\n")
    edit(pair[0], "first words", "edited words")
    edit(pair[1], "second words", "edited words")
    result = memory.vault_import(str(vault))
    assert content(named(memory, "a", "c")) == "edited words"
    assert content(named(memory, "b", "c")) == "edited words"
    assert content(named(memory, "same")) == "one"
    assert sorted(error.partition(": ")[0] for error in result.errors) == [
        str(vault / name) for name in ("a copy.md", "other.md", "two.md")
    ]
    assert all("is the same memory as" in error for error in result.errors)
    assert files(vault) == ["a copy.md", "mem-000000000001.md", "mem-000000000002.md", "one.md", "other.md", "two.md"]


def test_a_note_with_broken_yaml_waits_until_it_is_mended(memory: Memory, vault: Path, pair: tuple[Path, Path]) -> None:
    edit(pair[0], "tags: [one]", "tags: [one")
    result = memory.vault_import(str(vault))
    assert "no YAML" in result.errors[0]
    memory.remember("c", "a", {"content": "newer words"})
    exported = memory.vault_export(str(vault))
    assert [error.partition(":")[0] for error in exported.errors] == [pair[0].name]
    edit(pair[0], "tags: [one", "tags: [one, two]")
    assert memory.vault_import(str(vault)).files_updated == 1
    assert named(memory, "a", "c").tags == ("one", "two")


def test_links_in_a_circle_are_links_like_any_other(memory: Memory, vault: Path) -> None:
    write(vault, "a.md", "[[b]] [[a]]")
    write(vault, "b.md", "[[a]]")
    assert memory.vault_import(str(vault)).errors == ()
    a, b = named(memory, "a"), named(memory, "b")
    assert (links(a), links(b)) == ({(b.id, "related")}, {(a.id, "related")})


def test_a_note_that_lost_all_its_text_in_a_power_cut_is_written_again(
    memory: Memory, vault: Path, pair: tuple[Path, Path]
) -> None:
    pair[0].write_bytes(b"")
    pair[1].write_bytes(b"\0" * 400)
    assert memory.vault_import(str(vault)).files_updated == 0
    assert content(named(memory, "a", "c")) == "first words"
    assert memory.vault_export(str(vault)).files_updated == 2
    assert "second words" in pair[1].read_text(encoding="utf-8")


def test_a_note_that_changes_while_it_is_read_is_left_for_the_next_time(
    memory: Memory, vault: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(pair[0], "first words", "half of the")
    real = read_file

    def changing(folder: str, path: str, most_bytes: int) -> object:
        note = real(folder, path, most_bytes)
        if path == pair[0].name:
            edit(pair[0], "half of the", "half of the words came later")
        return note

    with monkeypatch.context() as patched:
        patched.setattr("mimir.vault.importing.read_file", changing)
        assert "changed while it was read" in memory.vault_import(str(vault)).errors[0]
    assert content(named(memory, "a", "c")) == "first words"
    assert memory.vault_import(str(vault)).files_updated == 1
    assert content(named(memory, "a", "c")) == "half of the words came later"


@needs_posix
def test_a_folder_that_leads_out_is_neither_read_nor_written(
    memory: Memory, vault: Path, tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    outside = tmp_path / "outside"
    write(outside, "secret.md", "secret")
    (vault / "inner").mkdir()
    pair[0].rename(vault / "inner" / "a.md")
    memory.vault_import(str(vault))
    (vault / "inner" / "a.md").rename(outside / "a.md")
    (vault / "inner").rmdir()
    (vault / "inner").symlink_to(outside)
    memory.remember("c", "a", {"content": "not for the outside"})
    assert "leads out of the folder" in memory.vault_import(str(vault)).errors[0]
    assert "leads out of the folder" in memory.vault_export(str(vault)).errors[0]
    assert "not for the outside" not in (outside / "a.md").read_text(encoding="utf-8")
    assert memory.stats().total_entities == 2

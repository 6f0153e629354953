"""Vault: memories go out as notes and come back as they were; nothing else is touched."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from mimir import InvalidInput, Memory
from mimir.model import Entity, Filter
from mimir.operations.vault import VaultExported, VaultImported
from tests.conftest import OpenMemory
from tests.doubles import START_MS, FixedClock

needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def other(open_memory: OpenMemory, tmp_path: Path) -> Memory:
    """Return a second, empty store."""
    return open_memory(str(tmp_path / "other.db"))


def fill(memory: Memory, clock: FixedClock) -> None:
    """Store memories in which every field is set somewhere."""
    memory.remember(
        "decision", "database", {"content": "We chose SQLite.\n\nIt is one file."}, tags=["storage", "a, b"]
    )
    memory.remember("decision", "cache", {"text": "The cache is Redis."}, workspace_hash="w")
    clock.advance(1_234)
    memory.remember(
        "fact: odd",
        'no "key"\nof two lines',
        {"content": "x", "port": 5432, "deep": [{"a": None}]},
        status="draft",
        type="note",
        importance=0.25,
        topic_path="a/b",
        agent_id="ann",
        always_on=True,
        certainty=0.123,
        visibility="public",
        layer="world",
        valid_from_unix_ms=-5,
        valid_to_unix_ms=1 << 60,
    )
    memory.remember("note", "old", {"content": "## Links\n\n- [[not]] (a link)"}, status="deprecated")
    memory.remember("conversation", "c", "[1, 2]")
    memory.link("decision", "database", "mem-000000000002", "depends on (a) part", weight=0.75)
    memory.link("decision", "database", "mem-000000000004", "supersedes")
    memory.score("note", "old", 0.9)


def entities(memory: Memory) -> dict[str, Entity]:
    """Return every memory that is not archived, its body as its value, by id."""
    everything = Filter(every_caller=True, include_archived=True)
    return {
        stored.entity.id: msgspec.structs.replace(
            stored.entity,
            body_json=json.dumps(json.loads(stored.entity.body_json), sort_keys=True),
            links=tuple(sorted(stored.entity.links, key=repr)),
        )
        for batch in memory.store.scan(everything)
        for stored in batch
        if not stored.entity.archived
    }


def notes(vault: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(vault.iterdir())}


def write(vault: Path, name: str, text: str) -> Path:
    vault.mkdir(exist_ok=True)
    path = vault / name
    path.write_bytes(text.encode())
    return path


def edit(vault: Path, name: str, old: str, new: str) -> None:
    text = (vault / name).read_text(encoding="utf-8")
    assert old in text
    write(vault, name, text.replace(old, new))


def only(memory: Memory, **arguments: Any) -> Entity:  # noqa: ANN401 - recall's own
    (hit,) = memory.recall("", reinforce=False, **arguments).items
    return hit


def test_every_memory_comes_back_as_it_was(memory: Memory, other: Memory, vault: Path, clock: FixedClock) -> None:
    fill(memory, clock)
    clock.advance(1_000)
    exported = memory.vault_export(str(vault))
    assert exported == VaultExported(
        files_created=5,
        files_updated=0,
        exported=5,
        files_removed=0,
        files_edited=0,
        conflicts=0,
        errors=(),
        vault_dir=str(vault),
        completed_at_unix_ms=clock.now_ms(),
    )
    clock.advance(1_000)
    imported = other.vault_import(str(vault))
    assert imported == VaultImported(
        files_created=5,
        files_updated=0,
        conflicts=0,
        links_unresolved=0,
        errors=(),
        vault_dir=str(vault),
        completed_at_unix_ms=clock.now_ms(),
    )
    assert entities(other) == entities(memory)
    before = notes(vault)
    assert other.vault_export(str(vault)).exported == 0
    assert notes(vault) == before
    assert other.recall("SQLite one file", mode="fts5").items[0].key == "database"


def test_an_explicit_score_survives_the_journey(memory: Memory, other: Memory, vault: Path, clock: FixedClock) -> None:
    fill(memory, clock)
    memory.vault_export(str(vault))
    other.vault_import(str(vault))
    (stored,) = other.store.find("note", "old", "")
    assert (stored.score_floor, stored.entity.verified) == (0.9, True)


def test_a_second_import_changes_nothing(memory: Memory, other: Memory, vault: Path, clock: FixedClock) -> None:
    fill(memory, clock)
    memory.vault_export(str(vault))
    for store in (memory, other, other):
        clock.advance(1_000)
        store.vault_import(str(vault))
        before = entities(store), store.stats().total_versions
        clock.advance(1_000)
        result = store.vault_import(str(vault))
        assert (result.files_created, result.files_updated, result.errors) == (0, 0, ())
        assert (entities(store), store.stats().total_versions) == before


def test_a_body_that_was_written_with_spaces_is_not_changed_by_its_note(memory: Memory, vault: Path) -> None:
    memory.remember("c", "k", '{ "content" : "caf\\u00e9" }')
    memory.remember("c", "k2", '{"b": 1.50, "a": [ ]}')
    memory.vault_export(str(vault))
    assert memory.vault_import(str(vault)).files_updated == 0
    assert memory.get_entity("mem-000000000001").body_json == '{ "content" : "caf\\u00e9" }'
    assert memory.stats().total_versions == 0


def test_notes_are_for_people(memory: Memory, vault: Path, clock: FixedClock) -> None:
    fill(memory, clock)
    memory.vault_export(str(vault))
    text = (vault / "mem-000000000001.md").read_text(encoding="utf-8")
    front, body = text.split("---\n")[1:]
    assert yaml.safe_load(front)["tags"] == ["storage", "a, b"]
    assert body == (
        "\nWe chose SQLite.\n\nIt is one file.\n\n## Links\n\n"
        "- [[mem-000000000002|cache]] (depends on (a) part) 0.75\n- [[mem-000000000004|old]] (supersedes)\n"
    )


def test_the_default_folder_is_in_the_home(memory: Memory, tmp_path: Path) -> None:
    memory.remember("c", "k", {"content": "x"})
    result = memory.vault_export()
    assert result.vault_dir == str(tmp_path / "home" / ".mimir" / "vault")
    assert memory.vault_import("~/.mimir/vault").errors == ()
    assert len(list(Path(result.vault_dir).iterdir())) == 1


def test_only_what_changed_is_written(memory: Memory, vault: Path, clock: FixedClock) -> None:
    fill(memory, clock)
    memory.vault_export(str(vault))
    stamps = {path.name: path.stat().st_mtime_ns for path in vault.iterdir()}
    memory.remember("decision", "database", {"content": "We chose DuckDB."})
    result = memory.vault_export(str(vault))
    assert (result.files_created, result.files_updated, result.exported) == (0, 1, 1)
    changed = {path.name for path in vault.iterdir() if path.stat().st_mtime_ns != stamps[path.name]}
    assert changed == {"mem-000000000001.md"}
    assert "DuckDB" in (vault / "mem-000000000001.md").read_text(encoding="utf-8")


def test_the_note_of_an_archived_memory_goes_to_the_trash_and_links_to_it_say_so(memory: Memory, vault: Path) -> None:
    memory.remember("c", "a", {"content": "x"})
    gone = memory.remember("c", "b", {"content": "y"}).id
    memory.link("c", "a", gone)
    memory.vault_export(str(vault))
    memory.forget("c", "b")
    result = memory.vault_export(str(vault))
    assert (result.files_updated, result.files_removed) == (1, 1)
    assert f"- [[{gone}]] (related) \u2014 unresolved" in (vault / "mem-000000000001.md").read_text(encoding="utf-8")
    assert not (vault / f"{gone}.md").exists()
    assert "y" in (vault / ".trash" / f"{gone}.md").read_text(encoding="utf-8")


def test_an_export_can_be_of_one_workspace(memory: Memory, vault: Path, clock: FixedClock) -> None:
    fill(memory, clock)
    assert memory.vault_export(str(vault), "w").exported == 1
    assert "workspace_hash: w" in (vault / "mem-000000000002.md").read_text(encoding="utf-8")
    assert memory.vault_export(str(vault), "").exported == 4


def test_an_import_can_be_of_one_workspace(memory: Memory, other: Memory, vault: Path, clock: FixedClock) -> None:
    fill(memory, clock)
    memory.vault_export(str(vault))
    assert other.vault_import(str(vault), "w").files_created == 1
    assert only(other).workspace_hash == "w"


def test_private_memories_of_other_agents_stay_inside(open_memory: OpenMemory, vault: Path) -> None:
    ann = open_memory(agent_id="ann")
    secret = ann.remember("c", "diary", {"content": "secret"}, visibility="private").id
    ann.remember("c", "plan", {"content": "public"})
    ann.link("c", "plan", secret)
    bob = open_memory(agent_id="bob")
    assert bob.vault_export(str(vault)).exported == 1
    assert "secret" not in "".join(notes(vault).values())
    assert secret not in "".join(notes(vault).values())
    assert ann.vault_export(str(vault)).exported == 2
    for path in vault.glob("*.md"):
        os.utime(path)
    result = bob.vault_import(str(vault))
    assert [error.split(": ", 1)[1] for error in result.errors] == [
        "c/diary is a private memory of another agent.",
        f"the link to {secret} leads to no other memory",
    ]
    assert ann.get_entity(secret).retrieval_count == 0


def test_an_edited_note_leaves_the_former_text_in_history(memory: Memory, vault: Path, clock: FixedClock) -> None:
    fill(memory, clock)
    memory.vault_export(str(vault))
    edit(vault, "mem-000000000001.md", "We chose SQLite.", "We chose DuckDB.")
    edit(vault, "mem-000000000001.md", 'tags: [storage, "a, b"]', "tags: [engine]")
    edit(vault, "mem-000000000004.md", "status: deprecated", "status: active")
    clock.advance()
    result = memory.vault_import(str(vault))
    assert (result.files_created, result.files_updated, result.errors) == (0, 2, ())
    entity = memory.get_entity("mem-000000000001")
    assert json.loads(entity.body_json)["content"] == "We chose DuckDB.\n\nIt is one file."
    assert entity.tags == ("engine",)
    assert len(entity.links) == 2
    assert memory.history("decision", "database").total == 1
    assert memory.history("note", "old").total == 1
    assert memory.recall("DuckDB", mode="fts5").items[0].id == entity.id


def test_use_since_the_export_is_not_taken_back(memory: Memory, vault: Path) -> None:
    memory.remember("c", "k", {"content": "x"})
    memory.vault_export(str(vault))
    for _ in range(6):
        memory.recall("x")
    memory.flush_uses()
    used = memory.get_entity("mem-000000000001")
    assert used.layer == "working"
    assert memory.vault_import(str(vault)).files_updated == 0
    assert memory.get_entity("mem-000000000001") == used


def test_a_forgotten_memory_comes_back_with_its_note(memory: Memory, vault: Path, clock: FixedClock) -> None:
    memory.remember("c", "k", {"content": "x"})
    memory.vault_export(str(vault))
    memory.forget("c", "k")
    clock.advance()
    assert memory.vault_import(str(vault)).files_updated == 1
    assert only(memory).key == "k"


def test_links_come_and_go_with_the_note(memory: Memory, vault: Path, clock: FixedClock) -> None:
    fill(memory, clock)
    memory.vault_export(str(vault))
    edit(vault, "mem-000000000001.md", "- [[mem-000000000004|old]] (supersedes)\n", "- [[mem-000000000005]] (see)\n")
    edit(vault, "mem-000000000001.md", "part) 0.75", "part) 0.25")
    assert memory.vault_import(str(vault)).files_updated == 1
    links = {(link.target_id, link.relationship, link.weight) for link in memory.get_entity("mem-000000000001").links}
    assert links == {
        ("mem-000000000002", "depends on (a) part", 0.25),
        ("mem-000000000005", "see", 0.5),
    }
    edit(vault, "mem-000000000001.md", "- [[mem-000000000005]] (see)\n", "")
    edit(vault, "mem-000000000001.md", "- [[mem-000000000002|cache]] (depends on (a) part) 0.25\n", "")
    memory.vault_import(str(vault))
    assert memory.get_entity("mem-000000000001").links == ()


def test_a_link_may_name_a_note_by_its_file(memory: Memory, vault: Path) -> None:
    write(vault, "Plan.md", "---\ncategory: c\n---\nThe plan.\n\n## Links\n\n- [[Shopping list]] (needs)\n")
    write(vault, "Shopping list.md", "---\nkey: shopping\n---\nEggs.\n")
    assert memory.vault_import(str(vault)).errors == ()
    plan = only(memory, category="c")
    shopping = only(memory, category="general")
    assert [(link.target_id, link.relationship) for link in plan.links] == [(shopping.id, "needs")]


def test_a_link_to_nothing_is_named(memory: Memory, vault: Path) -> None:
    path = write(vault, "a.md", "---\nkey: a\n---\nx\n\n## Links\n\n- [[nowhere]] (needs)\n- [[a]] (itself)\n")
    result = memory.vault_import(str(vault))
    assert result.files_created == 1
    assert result.errors == (
        f"{path}: the link to nowhere leads to no other memory",
        f"{path}: the link to a leads to no other memory",
    )
    assert memory.stats().total_links == 0


def test_notes_of_the_original_come_in_whole(memory: Memory, vault: Path, clock: FixedClock) -> None:
    def original(number: int, key: str, body: str) -> str:
        return (
            f"---\nid: mem-{number:012x}\ncategory: decision\nkey: {key}\n"
            "type: insight\nworkspace_hash: \nagent_id: a\n"
            'tags: ["storage","a, b"]\ndecay_score: 0.7500\nretrieval_count: 7\nlayer: working\n'
            f"created: 2020-01-31T12:00:00Z\nlast_accessed: 2020-02-01T00:00:00Z\n---\n\n{body}\n"
        )

    links = "\n## Links\n\n- [[mem-00000000000b|no: #1 [odd]]] (used by)"
    write(
        vault, "mem-00000000000a.md", original(10, "database", '{"content":"We chose SQLite.","port":5432}\n' + links)
    )
    write(vault, "mem-00000000000b.md", original(11, "no: #1 [odd]", '{"content":"x"}'))
    result = memory.vault_import(str(vault))
    assert (result.files_created, result.errors) == (2, ())
    first, second = memory.get_entity("mem-00000000000a"), memory.get_entity("mem-00000000000b")
    assert json.loads(first.body_json) == {"content": "We chose SQLite.", "port": 5432}
    assert [(link.target_id, link.relationship) for link in first.links] == [(second.id, "used by")]
    assert second.key == "no: #1 [odd]"
    assert (first.tags, first.decay_score, first.retrieval_count) == (("storage", "a, b"), 0.75, 7)
    assert (first.layer, first.agent_id, first.source, first.certainty) == ("working", "a", "vault-import", 0.5)
    assert first.created_at_unix_ms == 1_580_472_000_000
    assert first.recorded_at_unix_ms == clock.now_ms()


def test_a_note_by_hand_becomes_a_memory_with_the_published_defaults(memory: Memory, vault: Path) -> None:
    write(vault, "My idea.md", "---\ntags: [a]\n---\nSome *words*.\n")
    memory.vault_import(str(vault))
    hit = only(memory)
    assert (hit.category, hit.key, hit.type, hit.layer, hit.decay_score) == (
        "general",
        "My idea",
        "insight",
        "buffer",
        1.0,
    )
    assert hit.id.startswith("mem-")
    assert json.loads(hit.body_json) == {"content": "Some *words*."}
    assert memory.vault_import(str(vault)) == VaultImported(
        files_created=0,
        files_updated=0,
        conflicts=0,
        links_unresolved=0,
        errors=(),
        vault_dir=str(vault),
        completed_at_unix_ms=START_MS,
    )


def test_times_of_the_future_are_not_believed(memory: Memory, vault: Path) -> None:
    write(vault, "a.md", "---\nkey: a\ncreated: 2999-01-01T00:00:00Z\nrecorded: 2999-01-01\n---\nx\n")
    memory.vault_import(str(vault))
    hit = only(memory)
    assert (hit.created_at_unix_ms, hit.recorded_at_unix_ms) == (START_MS, START_MS)


@pytest.mark.parametrize("bad", ["../../etc/passwd", "a/b", "a\\\\b", "", "x" * 300])
def test_an_id_that_could_lead_astray_is_replaced(memory: Memory, vault: Path, bad: str) -> None:
    write(vault, "a.md", f'---\nid: "{bad}"\nkey: a\n---\nx\n')
    memory.vault_import(str(vault))
    assert only(memory).id == "mem-000000000001"
    assert memory.vault_export(str(vault)).errors == ()


def test_an_id_that_is_taken_is_an_error_of_its_file(memory: Memory, vault: Path) -> None:
    taken = memory.remember("c", "k", {"content": "x"}).id
    path = write(vault, "a.md", f"---\nid: {taken}\nkey: a\n---\ny\n")
    write(vault, "b.md", "---\nkey: b\n---\nz\n")
    result = memory.vault_import(str(vault))
    assert result.errors == (f"{path}: the id {taken} belongs to another memory",)
    assert result.files_created == 1


def test_a_known_name_keeps_its_own_id(memory: Memory, vault: Path) -> None:
    mine = memory.remember("c", "k", {"content": "x"}).id
    write(vault, "a.md", "---\nid: mem-from-elsewhere\ncategory: c\nkey: k\n---\nnew\n")
    write(vault, "b.md", "---\nkey: b\n---\nz\n\n## Links\n\n- [[mem-from-elsewhere]] (about)\n")
    result = memory.vault_import(str(vault))
    assert (result.files_created, result.files_updated, result.errors) == (1, 1, ())
    assert json.loads(memory.get_entity(mine).body_json) == {"content": "new"}
    assert only(memory, category="general").links[0].target_id == mine


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("---\nkey: a\n", "unclosed frontmatter"),
        ("---\nkey: [a\n---\nx", "no YAML"),
        ("---\nkey: ''\n---\nx", "'key' is empty."),
        ("---\nid: i\ncategory: c\nkey: k\ncertainty: 2\n---\nx", "'certainty'"),
        ("---\nvisibility: secret\n---\nx", "'visibility' is 'secret'."),
        ("---\nvalid_from: 5\nvalid_to: 4\n---\nx", "is not after"),
        ("---\nkey: " + "k" * 2_000 + "\n---\nx", "'key' is 2000 bytes long."),
        ("---\nkey: a\n---\n```json\n{\n```", "the JSON block"),
    ],
    ids=range(8),
)
def test_a_note_that_cannot_be_read_is_named_and_the_rest_comes_in(
    memory: Memory, vault: Path, text: str, words: str
) -> None:
    path = write(vault, "bad.md", text)
    write(vault, "good.md", "---\nkey: good\n---\nx\n")
    result = memory.vault_import(str(vault))
    (error,) = result.errors
    assert error.startswith(f"{path}: ")
    assert words in error
    assert [hit.key for hit in memory.recall("").items] == ["good"]


def test_a_period_that_would_end_before_it_begins_is_an_error_of_its_file(memory: Memory, vault: Path) -> None:
    memory.remember("c", "k", {"content": "x"}, valid_from_unix_ms=10)
    write(vault, "a.md", "---\ncategory: c\nkey: k\nvalid_to: 5\n---\nx\n")
    result = memory.vault_import(str(vault))
    assert "is not after" in result.errors[0]
    assert memory.get_entity("mem-000000000001").valid_to_unix_ms is None


def test_only_notes_are_read(open_memory: OpenMemory, vault: Path) -> None:
    memory = open_memory(max_ingest_bytes=100)
    write(vault, "a.txt", "---\nkey: a\n---\nx")
    write(vault, ".b.md", "---\nkey: b\n---\nx")
    write(vault / "sub", "c.md", "---\nkey: c\n---\nx")
    write(vault / ".obsidian", "d.md", "---\nkey: d\n---\nx")
    write(vault, "e.md", "---\nkey: e\n---\n" + "x" * 100)
    write(vault, "f.md", "---\nkey: f\n---\n\xff")
    write(vault, "g.md", "")
    (vault / "g.md").write_bytes(b"---\nkey: g\n---\n\xff")
    write(vault, "h.md", "")
    (vault / "h.md").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    result = memory.vault_import(str(vault))
    assert sorted(hit.key for hit in memory.recall("").items) == ["c", "f"]
    assert [Path(error.split(".md")[0]).name for error in result.errors] == ["e", "g", "h"]


@needs_posix
def test_links_out_of_the_folder_are_not_followed(memory: Memory, vault: Path, tmp_path: Path) -> None:
    secret = write(tmp_path, "secret.md", "---\nkey: secret\n---\nx\n")
    write(vault, "a.md", "---\nkey: a\n---\nx\n")
    (vault / "b.md").symlink_to(secret)
    os.mkfifo(vault / "c.md")
    result = memory.vault_import(str(vault))
    assert [hit.key for hit in memory.recall("").items] == ["a"]
    assert len(result.errors) == 2


@needs_posix
def test_what_is_no_plain_note_is_not_overwritten(memory: Memory, vault: Path, tmp_path: Path) -> None:
    target = write(tmp_path, "mine.md", "mine")
    first, second, third = (memory.remember("c", key, {"content": key}).id for key in "abc")
    vault.mkdir()
    (vault / f"{first}.md").symlink_to(target)
    (vault / f"{second}.md").mkdir()
    result = memory.vault_export(str(vault))
    assert (result.files_created, result.exported) == (1, 1)
    assert sorted(error.split(": ")[0] for error in result.errors) == [f"{first}.md", f"{second}.md"]
    assert target.read_text(encoding="utf-8") == "mine"
    assert (vault / f"{third}.md").is_file()


def test_ids_that_look_alike_have_notes_of_their_own(other: Memory, vault: Path) -> None:
    odd = ["a:b", "A.b", "a_b", "Con", "con", "x" * 150, "\u00e9", "e\u0301"]
    for place, entity_id in enumerate(odd):
        note = {"id": entity_id, "category": "c", "key": f"k{place}"}
        write(vault, f"{place}.md", "---\n" + json.dumps(note) + "\n---\nwords\n\n## Links\n\n- [[0]] (first)\n")
    assert other.vault_import(str(vault)).files_created == len(odd)
    out = vault / "out"
    assert other.vault_export(str(out)).files_created == len(odd)
    assert len({path.name.casefold() for path in out.iterdir()}) == len(odd)


def test_a_write_that_fails_leaves_the_former_note(
    memory: Memory, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.remember("c", "k", {"content": "x"})
    memory.vault_export(str(vault))
    before = notes(vault)
    memory.remember("c", "k", {"content": "y"})

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        result = memory.vault_export(str(vault))
    assert result.errors == ("mem-000000000001.md: No space left on device",)
    assert (result.files_updated, notes(vault)) == (0, before)


def test_a_folder_that_is_none_is_named(memory: Memory, tmp_path: Path) -> None:
    file = write(tmp_path, "file", "x")
    for folder in (str(file), str(tmp_path / "gone")):
        with pytest.raises(InvalidInput) as raised:
            memory.vault_import(folder)
        assert raised.value.message == f"Vault import failed: {folder} is not a directory"
    with pytest.raises(InvalidInput, match="Vault export failed"):
        memory.vault_export(str(file))
    for folder in ("", "a\0b"):
        with pytest.raises(InvalidInput, match="vault_dir"):
            memory.vault_export(folder)


def test_many_notes_come_and_go_in_batches(memory: Memory, other: Memory, vault: Path) -> None:
    memory.remember_many(
        {"category": "c", "key": f"k{number}", "body_json": {"content": f"note number {number} of many"}}
        for number in range(230)
    )
    for number in range(0, 220, 10):
        (target,) = memory.store.find("c", f"k{number + 1}", "")
        memory.link("c", f"k{number}", target.entity.id)
    assert memory.vault_export(str(vault)).files_created == 230
    assert other.vault_import(str(vault)).files_created == 230
    assert entities(other) == entities(memory)

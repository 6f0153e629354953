"""`mimir obsidian-sync`: a folder that follows the store, both ways if wanted, for as long as it runs."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mimir import Memory
from mimir.crypto import write_key_file
from tests.cli.conftest import RunMimir
from tests.conftest import OpenMemory

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def filled(keyword_memory: Memory) -> Memory:
    """Return a memory that holds three notes in two categories, two of them linked."""
    keyword_memory.remember("decision", "database", {"content": "We chose SQLite."}, tags=["storage", "a, b"])
    target = keyword_memory.remember("decision", "cache: 1/2", {"content": "Redis.", "port": 6379}).id
    keyword_memory.remember("note", "idea", {"content": "Something else."})
    keyword_memory.link("decision", "database", target, "needs")
    return keyword_memory


def files(vault: Path) -> list[str]:
    return sorted(path.relative_to(vault).as_posix() for path in vault.rglob("*.md"))


def text(vault: Path, name: str) -> str:
    return (vault / name).read_text(encoding="utf-8")


def next_report(running: subprocess.Popen[str]) -> dict[str, Any]:
    """Read the next report that a watching process prints, however long it takes."""
    assert running.stdout is not None
    lines = []
    for line in running.stdout:
        lines.append(line)
        if line == "}\n":
            break
    report: dict[str, Any] = json.loads("".join(lines))
    return report


@contextmanager
def watching(db: str, vault: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "mimir", "obsidian-sync", str(vault), "--watch", "--json", "--db", db]
    command += ["--embedding", "off", "--sync-interval-secs", "1", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def test_one_round_writes_notes_and_an_overview_of_each_category(
    mimir: RunMimir, filled: Memory, db: str, vault: Path
) -> None:
    ran = mimir("obsidian-sync", str(vault), "--db", db, "--json")
    assert (ran.status, ran.err) == (0, "")
    report = json.loads(ran.out)
    assert (report["files_created"], report["exported"], report["errors"]) == (3, 3, [])
    assert files(vault) == [
        "Index/decision.md",
        "Index/note.md",
        "mem-000000000001.md",
        "mem-000000000002.md",
        "mem-000000000003.md",
    ]
    assert text(vault, "Index/decision.md") == (
        "---\nmimir: listing\ncategory: decision\n---\n\n# decision\n\n2 memories\n\n"
        "- [[mem-000000000002|cache: 1/2]]\n- [[mem-000000000001|database]]\n"
    )
    filled.forget("note", "idea")
    report = json.loads(mimir("obsidian-sync", str(vault), "--db", db, "--json").out)
    assert (report["files_removed"], report["exported"]) == (1, 0)
    assert files(vault)[:2] == [".trash/Index/note.md", ".trash/mem-000000000003.md"]
    assert filled.vault_import(str(vault)).files_created == 0


def test_two_ways_bring_edits_and_new_notes_into_memory_first(
    mimir: RunMimir, filled: Memory, db: str, vault: Path
) -> None:
    mimir("obsidian-sync", str(vault), "--db", db)
    note = vault / "mem-000000000001.md"
    note.write_text(text(vault, note.name).replace("We chose", "They chose"), encoding="utf-8")
    (vault / "Ideas").mkdir()
    (vault / "Ideas" / "New.md").write_text("A new idea for [[mem-000000000001|it]]. #fresh\n", encoding="utf-8")
    (vault / "mem-000000000003.md").unlink()
    report = json.loads(mimir("obsidian-sync", str(vault), "--db", db, "--two-way", "--json").out)
    assert (report["memories_created"], report["memories_updated"], report["memories_archived"]) == (1, 1, 1)
    assert (report["conflicts"], report["errors"]) == (0, [])
    assert "They chose" in filled.get_entity("mem-000000000001").body_json
    (new,) = filled.store.find("general", "Ideas/New", "")
    assert (new.entity.tags, new.entity.links[0].target_id) == (("fresh",), "mem-000000000001")
    assert f"id: {new.entity.id}" in text(vault, "Ideas/New.md")
    assert "[[Ideas/New|Ideas/New]]" in text(vault, "Index/general.md")
    again = json.loads(mimir("obsidian-sync", str(vault), "--db", db, "--two-way", "--json").out)
    assert [again[name] for name in ("exported", "memories_created", "memories_updated", "files_removed")] == [0] * 4


def test_pages_for_logseq_have_properties(mimir: RunMimir, filled: Memory, db: str, vault: Path) -> None:
    assert filled.stats().total_entities == 3
    mimir("obsidian-sync", str(vault), "--db", db, "--logseq")
    assert "\ntags:: storage, [[a, b]]\n" in text(vault, "mem-000000000001.md")
    assert text(vault, "Index/note.md").startswith("mimir:: listing\ncategory:: note\n\n# note\n")
    assert filled.vault_import(str(vault)).files_updated == 0


def test_a_zip_for_notion_has_pages_with_links_and_a_table(
    mimir: RunMimir, filled: Memory, db: str, vault: Path, tmp_path: Path
) -> None:
    packed = [tmp_path / "one" / "notion.zip", tmp_path / "two.zip"]
    for path in packed:
        assert mimir("obsidian-sync", str(vault), "--db", db, "--notion", str(path)).status == 0
    assert packed[0].read_bytes() == packed[1].read_bytes()
    assert filled.stats().total_entities == 3
    with zipfile.ZipFile(packed[0]) as pack:
        names = pack.namelist()
        assert names == [
            "decision/database 000000000001.md",
            "decision/cache 1 2 000000000002.md",
            "note/idea 000000000003.md",
            "Memories.csv",
        ]
        page = pack.read(names[0]).decode()
        table = list(csv.DictReader(io.StringIO(pack.read(names[3]).decode("utf-8-sig"))))
    assert page.startswith("# database\n\nCategory: decision\nTags: storage, a  b\nType: insight\n")
    assert "\n\nWe chose SQLite.\n" in page
    assert page.endswith("\n- [cache: 1/2](../decision/cache%201%202%20000000000002.md) (needs)\n")
    assert [row["Name"] for row in table] == ["database", "cache: 1/2", "idea"]


def test_an_encrypted_store_is_synced_only_when_that_is_said(
    mimir: RunMimir, open_memory: OpenMemory, vault: Path, tmp_path: Path
) -> None:
    db, key = str(tmp_path / "sealed.db"), str(tmp_path / "key")
    write_key_file(key)
    open_memory(db, encryption_key=key).remember("c", "k", {"content": "x"})
    ran = mimir("obsidian-sync", str(vault), "--db", db, "--encryption-key", key)
    assert (ran.status, vault.exists()) == (2, False)
    assert "--plaintext" in ran.err
    assert mimir("obsidian-sync", str(vault), "--db", db, "--encryption-key", key, "--plaintext").status == 0


@needs_signals
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_follows_every_change_until_it_is_told_to_end(
    filled: Memory, db: str, vault: Path, ending: signal.Signals
) -> None:
    with watching(db, vault, "--two-way") as running:
        assert next_report(running)["files_created"] == 3
        filled.link("note", "idea", "mem-000000000001")
        assert next_report(running)["files_updated"] == 1
        filled.remember("note", "idea", {"content": "Something else."}, layer="core")
        assert next_report(running)["files_updated"] == 1
        filled.forget("note", "idea")
        assert next_report(running)["files_removed"] == 1
        note = vault / "mem-000000000001.md"
        note.write_text(text(vault, note.name).replace("We chose", "They chose"), encoding="utf-8")
        assert next_report(running)["memories_updated"] == 1
        running.send_signal(ending)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (0, "", "")
    assert "They chose" in filled.get_entity("mem-000000000001").body_json
    assert [path for path in vault.rglob("*") if "partial" in path.name] == []


@needs_signals
def test_a_watch_says_once_what_fails_and_goes_on(filled: Memory, db: str, vault: Path) -> None:
    with watching(db, vault, "--two-way") as running:
        next_report(running)
        assert running.stderr is not None
        vault.rename(vault.with_name("away"))
        vault.write_text("a file in its place", encoding="utf-8")
        filled.remember("note", "idea", {"content": "changed"})
        assert "is not a directory" in running.stderr.readline()
        vault.unlink()
        vault.with_name("away").rename(vault)
        assert next_report(running)["files_updated"] == 1
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=60) == 0

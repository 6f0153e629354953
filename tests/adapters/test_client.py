"""`MimirClient`: memory in a handful of plain methods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mimir import InvalidInput, MimirClient


@pytest.fixture
def client(db: str) -> Iterator[MimirClient]:
    with MimirClient(db, embedding="off") as opened:
        yield opened


def test_the_same_text_is_stored_once(client: MimirClient) -> None:
    first = client.remember("We deploy on Mondays.")
    assert (first["category"], first["action"]) == ("general", "created")
    assert client.remember("We deploy on Mondays.")["id"] == first["id"]
    assert len(client.recall("deploy")) == 1


def test_metadata_is_kept_beside_the_text_and_names_the_key(client: MimirClient) -> None:
    done = client.remember("Ada wrote it.", "fact", {"key": "author", "tags": ["people"], "page": 3})
    assert (done["category"], done["key"]) == ("fact", "author")
    (item,) = client.recall("author")
    assert (item["content"], item["page"], list(item["tags"])) == ("Ada wrote it.", 3, ["people"])


def test_a_search_is_narrowed_by_category_and_tags(client: MimirClient) -> None:
    client.remember("The red door.", "house", {"tags": ["door", "red"]})
    client.remember("The green door.", "house", {"tags": ["door", "green"]})
    client.remember("The door of perception.", "book", {"tags": ["door"]})
    assert [item["content"] for item in client.search_memories("door", "house", ["red", "door"])] == ["The red door."]
    assert len(client.search_memories("door", tags=["door"])) == 3


def test_what_is_forgotten_by_id_or_by_name_leaves_recall(client: MimirClient) -> None:
    first = client.remember("One door.", "house", {"workspace_hash": "w"})
    client.remember("Another door.", "house", {"key": "b"})
    assert client.forget(first["id"])
    assert client.forget("b", "house", reason="moved")
    assert client.recall("door") == []
    assert not client.forget("b", "house")
    assert not client.forget("mem-none")


def test_memories_become_notes_in_a_folder(client: MimirClient, tmp_path: Path) -> None:
    client.remember("We deploy on Mondays.")
    report = client.vault_export(str(tmp_path / "vault"))
    assert report["files_created"] == 1
    (note,) = (tmp_path / "vault").rglob("*.md")
    assert "We deploy on Mondays." in note.read_text(encoding="utf-8")
    with pytest.raises(InvalidInput, match="vault_dir"):
        client.vault_export("")

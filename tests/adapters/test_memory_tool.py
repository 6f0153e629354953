"""The file interface of the memory tool: what a model can do with its files, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mimir import Conflict, InvalidInput, NotFound
from mimir.adapters.memory_tool import MimirFiles
from mimir.adapters.session import LocalSession, open_session


@pytest.fixture
def files(db: str) -> Iterator[MimirFiles]:
    session = open_session(db, embedding="off")
    yield MimirFiles(session)
    session.close()


def lines_of(shown: str) -> list[str]:
    return [line.partition("\t")[2] for line in shown.split("\n")[1:]]


def test_a_file_is_created_once_and_seen_with_line_numbers(files: MimirFiles) -> None:
    assert files.create("/memories/notes.md", "one\ntwo") == "File created successfully at: /memories/notes.md"
    assert files.view("/memories/notes.md").split("\n")[1:] == ["     1\tone", "     2\ttwo"]
    with pytest.raises(Conflict, match="already exists"):
        files.create("/memories/notes.md", "other")
    assert lines_of(files.view("/memories/notes.md")) == ["one", "two"]


def test_a_part_of_a_file_is_seen(files: MimirFiles) -> None:
    files.create("/memories/a", "1\n2\n3\n4")
    assert lines_of(files.view("/memories/a", [2, 3])) == ["2", "3"]
    assert lines_of(files.view("/memories/a", [3, -1])) == ["3", "4"]


def test_a_folder_shows_two_levels(files: MimirFiles) -> None:
    for path in ("/memories/a", "/memories/d/b", "/memories/d/e/c", "/memories/d/e/f/g"):
        files.create(path, "x")
    assert files.view("/memories").split("\n")[1:] == [
        "/memories",
        "/memories/a",
        "/memories/d/",
        "/memories/d/b",
        "/memories/d/e/",
    ]
    assert "/memories/d/e/f/" in files.view("/memories/d")


def test_an_empty_memory_can_be_looked_at(files: MimirFiles) -> None:
    assert files.view("/memories").endswith("/memories")


def test_a_text_that_stands_once_is_replaced_and_the_old_one_stays_in_history(db: str) -> None:
    session = open_session(db, embedding="off")
    assert isinstance(session, LocalSession)
    files = MimirFiles(session)
    files.create("/memories/a", "red\ngreen\nred")
    assert "blue" in files.str_replace("/memories/a", "green", "blue")
    assert lines_of(files.view("/memories/a")) == ["red", "blue", "red"]
    for text, said in (("red", "lines 1, 3"), ("violet", "0 times"), ("", "0 times")):
        with pytest.raises(InvalidInput, match=said):
            files.str_replace("/memories/a", text, "x")
    assert session.memory.history("memory_file", "/memories/a").total == 1
    session.close()


def test_lines_are_inserted_after_a_line(files: MimirFiles) -> None:
    files.create("/memories/a", "1\n2")
    files.insert("/memories/a", 1, "one and a half\n")
    files.insert("/memories/a", 0, "zero")
    assert lines_of(files.view("/memories/a")) == ["zero", "1", "one and a half", "2"]
    with pytest.raises(InvalidInput, match="from 0 to 4"):
        files.insert("/memories/a", 9, "x")


def test_files_and_folders_are_deleted_and_renamed(files: MimirFiles) -> None:
    for path in ("/memories/d/a", "/memories/d/b", "/memories/dd"):
        files.create(path, path)
    files.rename("/memories/d", "/memories/new/place")
    assert lines_of(files.view("/memories/new/place/a")) == ["/memories/d/a"]
    with pytest.raises(Conflict, match="already exists"):
        files.rename("/memories/dd", "/memories/new")
    with pytest.raises(InvalidInput, match="within"):
        files.rename("/memories/new", "/memories/new/er")
    files.delete("/memories/new")
    assert files.view("/memories").split("\n")[2:] == ["/memories/dd"]
    assert files.clear_all_memory() == "All memory cleared"
    assert files.view("/memories").split("\n")[2:] == []


@pytest.mark.parametrize("command", ["view", "delete", "str_replace", "insert", "rename"])
def test_what_does_not_exist_is_said(files: MimirFiles, command: str) -> None:
    others: dict[str, dict[str, object]] = {
        "str_replace": {"old_str": "a", "new_str": "b"},
        "insert": {"insert_line": 0, "insert_text": "x"},
        "rename": {"new_path": "/memories/b"},
    }
    name = "old_path" if command == "rename" else "path"
    with pytest.raises(NotFound, match="/memories/none"):
        files.run({"command": command, name: "/memories/none", **others.get(command, {})})


@pytest.mark.parametrize("path", ["/etc/passwd", "memories/a", "/memories/../etc", "/memoriesx", "/memories/a\0b", ""])
def test_a_path_outside_is_refused(files: MimirFiles, path: str) -> None:
    with pytest.raises(InvalidInput, match="'path'"):
        files.create(path, "x")


def test_a_command_that_does_not_exist_or_lacks_an_argument_is_refused(files: MimirFiles) -> None:
    with pytest.raises(InvalidInput, match="'format'"):
        files.run({"command": "format"})
    with pytest.raises(InvalidInput, match="create"):
        files.run({"command": "create", "path": "/memories/a"})

"""What files like .gitignore leave out: the rules, and git itself as the judge of them."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.rules.ignoring import is_ignored, read_rules

PATTERNS: Final = (
    "*.log",
    "/a",
    "a/",
    "a/b",
    "**/b",
    "a/**",
    "a/**/d",
    "!b.log",
    "!a",
    "b?",
    "[ab].md",
    "[!a].md",
    "[a-c]*",
    "\\!b",
    "\\#x",
    "# comment",
    "d ",
    "d\\ ",
    "",
    "/",
    "*",
    "!*.md",
    "a/*",
    "**",
    "x[",
    "[z-a]",
    "*.*.md",
    "a**d",
    "[]",
    "[!]",
    "[]a]*",
    "[a&&b]",
    "[a~~b|]",
    "[+--]",
)
NAMES: Final = ("a", "b", "[]", "d", "b.log", "a.md", "b.md", "!b", "#x", "d ", "c.d.md", "bx")
PATHS: Final = tuple(
    "/".join(parts) for size in (1, 2, 3) for parts in itertools.product(NAMES[: 11 - 4 * size + 4], repeat=size)
)


def left_out(path: str, text: str, inner: str = "") -> bool:
    """Go down to a file as a scan does, with a file of rules in the root and one in the folder ``a``."""
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        rules = [read_rules(text, "")] + ([read_rules(inner, "a")] if depth > 1 and parts[0] == "a" else [])
        if is_ignored("/".join(parts[:depth]), is_folder=depth < len(parts), rules=rules):
            return True
    return False


@pytest.mark.parametrize(
    ("text", "out", "kept"),
    [
        ("*.log", ["x.log", "deep/er/x.log"], ["x.md", "logs"]),
        ("build/", ["build/x.md", "deep/build/x.md"], ["build"]),
        ("/build", ["build", "build/x.md"], ["deep/build"]),
        ("docs/*.md", ["docs/a.md"], ["docs/deep/a.md", "more/docs/a.md"]),
        ("**/tmp", ["tmp", "a/b/tmp/c"], ["tmpx"]),
        ("*\n!*.md", ["a.txt"], ["a.md"]),
        ("secret\n!secret/kept.md", ["secret/kept.md"], []),
        ("# a\n\n\\#b", ["#b"], ["# a", "a"]),
    ],
)
def test_lines_leave_out_what_they_say(text: str, out: list[str], kept: list[str]) -> None:
    assert [path for path in out if not left_out(path, text)] == []
    assert [path for path in kept if left_out(path, text)] == []


def test_the_rules_of_an_inner_folder_come_after_those_above() -> None:
    assert not left_out("a/x.log", "*.log", inner="!x.log")
    assert left_out("a/x.md", "", inner="/x.md")
    assert not left_out("b/x.md", "", inner="/x.md")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@given(
    lines=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=4),
    paths=st.sets(st.sampled_from(PATHS), min_size=5, max_size=40),
)
def test_git_would_leave_out_the_same(repository: Path, lines: list[str], paths: set[str]) -> None:
    text = "\n".join(lines)
    (repository / ".gitignore").write_text(text + "\n", encoding="utf-8")
    told = subprocess.run(
        ["git", "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=repository,
        input="\0".join(sorted(paths)),
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert {path for path in paths if left_out(path, text)} == set(told.split("\0")) - {""}


@given(text=st.text(max_size=40), path=st.text(min_size=1, max_size=20))
def test_any_text_can_be_rules(text: str, path: str) -> None:
    is_ignored(path, is_folder=False, rules=[read_rules(text, "")])

"""What the documentation says is tested: each test that it names exists, and each claim in a table names one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.contract.promises import PROMISES, Promise, located_tests

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "SECURITY.md"], key=str)
CLAIMING: Final = ("Held by", "Test")
"""How the head of a column begins that says what holds a claim."""

_TESTS: Final = located_tests()
_NAMED: Final = re.compile(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)(?:\[[^\]`]*\])?`")
_PLACE: Final = re.compile(r"`((?:tests|benchmarks|mimir|docs)/[\w/.-]*)`")


def named_tests(text: str) -> list[tuple[str, str]]:
    """Return each test that a text names, with its file if that is told."""
    return [(file, name) for file, name in _NAMED.findall(text) if f"{name}.py" not in text]


def exists(file: str, name: str) -> bool:
    return file in _TESTS.get(name, ()) if file else name in _TESTS


def claims(text: str) -> list[str]:
    """Return the rows of tables that say what holds them, each as the cell that does."""
    cells: list[str] = []
    column = None
    for line in text.splitlines():
        row = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not row:
            column = None
        elif column is None:
            column = next((place for place, head in enumerate(row) if head.startswith(CLAIMING)), -1)
        elif column >= 0 and set(line) - set("|-: "):
            cells.append(row[column])
    return cells


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_test_and_place_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [named for named in named_tests(text) if not exists(*named)] == []
    assert [place for place in _PLACE.findall(text) if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_claim_in_a_table_names_a_test(page: Path) -> None:
    assert [cell for cell in claims(page.read_text(encoding="utf-8")) if not named_tests(cell)] == []


def test_claims_are_looked_for_where_they_are_made() -> None:
    """Without which the two above would be content with pages that claim nothing."""
    counted = {page.name: len(claims(page.read_text(encoding="utf-8"))) for page in PAGES}
    for name in ("threat-model.md", "encryption.md", "reliability.md"):
        assert counted[name] >= 7, name


def test_a_name_that_no_test_has_is_found() -> None:
    assert not exists("", "test_the_moon_is_of_cheese")
    assert not exists("tests/contract/test_tools.py", "test_a_name_that_no_test_has_is_found")
    assert claims("| Threat | Held by |\n|---|---|\n| rain | `tests/` |\n") == ["`tests/`"]


@pytest.mark.parametrize("promise", [one for area in PROMISES.values() for one in area], ids=lambda one: one.text)
def test_every_promise_is_held_by_tests_that_exist_or_by_results(promise: Promise) -> None:
    assert promise.tests or promise.results
    assert [name for name in promise.tests if len(_TESTS.get(name, ())) != 1] == []
    results = ROOT / "benchmarks" / "results"
    assert [name for name in promise.results if not (results / f"{name}.json").exists()] == []


def test_the_readme_makes_exactly_the_promises_that_are_held() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## What it promises\n")[1].split("\n## ")[0]
    assert re.findall(r"^- \*\*(.+?)\.?\*\*", section, re.MULTILINE) == list(PROMISES)

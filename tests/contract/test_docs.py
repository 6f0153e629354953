"""The prose: links lead somewhere, blocks of code run, every page can be found, every error has its advice."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from mimir.config import environment_for_child
from mimir.errors import ALL

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
RUN: Final = [
    ROOT / "README.md",
    DOCS / "quick-start.md",
    DOCS / "concepts.md",
    DOCS / "python.md",
    DOCS / "operations.md",
    DOCS / "migration.md",
    DOCS / "encryption.md",
]
"""Pages whose blocks of Python and shell are all run, in order, in one empty home."""

TRIED_ELSEWHERE: Final = "scripts/setup"
"""What sets up a checkout is what these tests run in."""

PATIENCE_S: Final = 120.0
_FENCED: Final = re.compile(r"^( *)(`{3,})(\w*)\n(.*?)^\1\2`*$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")


def prose(text: str) -> str:
    """Return a page without its code, in which brackets mean other things."""
    return re.sub(r"`[^`\n]+`", "`code`", _FENCED.sub("", text))


def anchors(text: str) -> set[str]:
    """Return what the headings of a page are called in an address, as GitHub derives it."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for target in _LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if re.match(r"(https?|mailto):", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n[a](none.md) [b](#a-page) [c](#none)\n```\n[d](code.md)\n```\n", encoding="utf-8")
    assert broken_links(page) == ["none.md", "#none"]


def test_every_page_is_listed_in_the_index() -> None:
    listed = {(DOCS / target).resolve() for target in _LINK.findall((DOCS / "README.md").read_text(encoding="utf-8"))}
    assert {page.name for page in DOCS.glob("*.md") if page.name != "README.md" and page not in listed} == set()


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    blocks = [(kind, code) for _, _, kind, code in _FENCED.findall(page.read_text(encoding="utf-8"))]
    shell = None if sys.platform == "win32" else shutil.which("bash")
    if shell is not None:
        (tmp_path / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    environment = environment_for_child(
        HOME=str(tmp_path), USERPROFILE=str(tmp_path), PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin"
    )
    ran = 0
    for kind, code in blocks:
        if kind not in {"sh", "python"} or (kind == "sh" and shell is None) or TRIED_ELSEWHERE in code:
            continue
        command = [sys.executable, "-c", code] if kind == "python" else [str(shell), "-euc", code]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stderr}"
        ran += 1
    assert ran


def test_every_error_has_its_advice() -> None:
    headings = re.findall(r"^## `(\w+)`$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [error.code for error in ALL]

"""Each quick start for CrewAI in docs/adapters.md does what it says against the real framework."""

from pathlib import Path

import mimir_crewai
from mimir.adapters import crewai
from tests.adapters.snippets import printed, snippets


def test_the_quick_starts_for_crewai_run(tmp_path: Path) -> None:
    tool, backend = snippets("CrewAI")
    assert "The budget is 40 euros." in printed(tool, tmp_path)
    assert "Rex is a dog." in printed(backend, tmp_path)


def test_the_name_of_the_originals_package_is_that_of_the_adapter() -> None:
    assert mimir_crewai.MimirMemoryTool is crewai.MimirMemoryTool

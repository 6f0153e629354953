"""Each quick start of docs/adapters.md does what it says against the real framework."""

from pathlib import Path

import pytest

import mimir_autogen
import mimir_langgraph
from mimir.adapters import autogen, langgraph
from tests.adapters.snippets import printed, snippets


@pytest.mark.parametrize(
    ("heading", "shown"),
    [
        ("LangGraph", "Ada eats no meat.; Ada lives in Bergen."),
        ("AutoGen", "The user prefers metric units."),
        ("LangChain", "Rex is a dog. rex"),
        ("Pydantic AI", "mimir_recall"),
        ("OpenAI Agents SDK", "[{'role': 'user', 'content': 'My name is Ada.'}]"),
        ("Anthropic's memory tool", "/memories/notes.md"),
    ],
)
def test_the_quick_start_of_a_framework_runs(heading: str, shown: str, tmp_path: Path) -> None:
    (block,) = snippets(heading)
    assert shown in printed(block, tmp_path)


def test_the_names_of_the_originals_packages_are_those_of_the_adapters() -> None:
    assert mimir_langgraph.MimirStore is langgraph.MimirStore
    assert mimir_autogen.MimirMemory is autogen.MimirMemory

"""What docs/adapters.md shows for plain Python does what it says."""

from pathlib import Path

from tests.adapters.snippets import printed, snippets


def test_the_client_of_the_page_remembers_and_recalls(tmp_path: Path) -> None:
    (block,) = snippets("Plain Python")
    assert printed(block, tmp_path) == "deploys We deploy on Mondays.\n"

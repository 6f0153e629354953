"""The blocks of Python in docs/adapters.md, to be run as a reader would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from mimir.config import environment_for_child

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "adapters.md"
PATIENCE_S = 120.0


def snippets(heading: str) -> list[str]:
    """Return the blocks below a heading of the page."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (body,) = [part for part in section if part.startswith(heading + "\n")]
    return re.findall(r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL)


def printed(block: str, folder: Path) -> str:
    """Run a block in an empty folder and return what it prints; it must print nothing else and succeed."""
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
        env=environment_for_child(PYTHONPATH=str(ROOT)),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

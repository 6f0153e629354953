#!/usr/bin/env python3
"""Write every file that follows from the declarations; with --check only tell whether one is out of date."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mimir.catalogue import CATALOGUE_PATH, build_catalogue  # noqa: E402 - the path above comes first


def generated_files() -> dict[Path, str]:
    """Return the text of each generated file by its path."""
    catalogue = json.dumps(build_catalogue(), ensure_ascii=False, indent=1) + "\n"
    return {Path(CATALOGUE_PATH): catalogue}


def main() -> int:
    """Write or check the generated files and return the exit status."""
    stale = [
        path
        for path, text in generated_files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is out of date: run scripts/generate.py\n")
        return 1 if stale else 0
    for path, text in generated_files().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

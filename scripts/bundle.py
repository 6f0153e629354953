#!/usr/bin/env python3
"""Pack the bundle for Claude Desktop: manifest.json, and a project that runs Mimir's wheel with uv.

    .venv/bin/python scripts/bundle.py FOLDER

The host brings uv, which gets the other packages when the bundle is installed, in the versions of
requirements/core.txt.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mimir import __version__  # noqa: E402 - found through the line above
from scripts.components import PROJECT  # noqa: E402 - the same
from scripts.wheelhouse import build  # noqa: E402 - the same

SERVER = """\
import sys

from mimir.__main__ import main

sys.argv = ["mimir", "serve"]
sys.exit(main())
"""
PROJECT_FILE = """\
[project]
name = "mimir-bundle"
version = "{version}"
requires-python = "{python}"
dependencies = ["mimir-local"]

[tool.uv]
package = false
constraint-dependencies = [
{constraints}]

[tool.uv.sources]
mimir-local = {{ path = "{wheel}" }}
"""
MOMENT = (2020, 2, 2, 0, 0, 0)
"""The time of every entry, so that the same sources give the same bytes."""


def main() -> None:
    """Pack the bundle into the folder that the command names."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    print(pack(Path(sys.argv[1])))


def pack(folder: Path) -> Path:
    """Write the bundle into a folder and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as draft:
        wheel = build("wheel", Path(draft))
        pins = (ROOT / "requirements" / "core.txt").read_text(encoding="utf-8").splitlines()
        names = [pin.removesuffix(" \\") for pin in pins if not pin.startswith(" ")]
        constraints = "".join(f'    "{name}",\n' for name in names)
        project = PROJECT_FILE.format(
            version=__version__, python=PROJECT["requires-python"], constraints=constraints, wheel=wheel.name
        )
        bundle = folder / f"mimir-{__version__}.mcpb"
        parts = {
            "manifest.json": (ROOT / "manifest.json").read_bytes(),
            "pyproject.toml": project.encode(),
            "server.py": SERVER.encode(),
            "LICENSE": (ROOT / "LICENSE").read_bytes(),
            wheel.name: wheel.read_bytes(),
        }
        with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in parts.items():
                entry = zipfile.ZipInfo(name, MOMENT)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
                file.writestr(entry, content)
    return bundle


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Fill a folder with all that Mimir is installed from, for a machine without a network.

    .venv/bin/python scripts/wheelhouse.py FOLDER

It gets the wheels of requirements/core.txt for this Python and this system, their hashes checked, and builds Mimir's.
Over there: sh FOLDER/install.sh --from FOLDER
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mimir import __version__  # noqa: E402 - found through the line above
from scripts.components import Pin, runtime_pins  # noqa: E402 - the same

PINS: Final = ROOT / "requirements" / "core.txt"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mimir-wheels"
"""Where wheels that were downloaded once are kept."""


def main() -> None:
    """Fill the folder that the command names."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in pinned_wheels().glob("*.whl"):
        shutil.copy2(wheel, folder)
    installer(build("wheel", folder))
    print(folder / "install.sh")


def pinned_wheels() -> Path:
    """Return a folder with the wheels that the pins name for this Python and this system; not to be written to."""
    system = f"{sysconfig.get_platform()}-{sys.version_info.major}.{sys.version_info.minor}"
    place = CACHE / hashlib.sha256(system.encode() + PINS.read_bytes()).hexdigest()[:16]
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: a run that is broken off leaves no half folder behind.
        with tempfile.TemporaryDirectory(dir=CACHE) as draft:
            options = ["--require-hashes", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
            pip = [sys.executable, "-m", "pip", "download", *options]
            subprocess.run([*pip, f"--requirement={PINS}", f"--dest={draft}"], stdout=sys.stderr, check=True)
            Path(draft).rename(place)
            Path(draft).mkdir()
    return place


def build(target: str, folder: Path, source: Path = ROOT) -> Path:
    """Build Mimir's ``wheel`` or ``sdist`` into a folder, by the installed backend, and return its path."""
    backend = [sys.executable, "-m", "hatchling", "build", f"--target={target}", f"--directory={folder}"]
    subprocess.run(backend, cwd=source, capture_output=True, check=True)
    (built,) = folder.glob("mimir_local-*" + {"wheel": ".whl", "sdist": ".tar.gz"}[target])
    return built


def installer(wheel: Path) -> None:
    """Write install.sh beside a wheel of Mimir: the script with the hashes of that wheel and of all that it needs."""
    mimir = Pin("mimir-local", __version__, "", (hashlib.sha256(wheel.read_bytes()).hexdigest(),))
    pins = "".join(pin.lines() for pin in [*runtime_pins(), mimir])
    template = (ROOT / "scripts" / "install.sh").read_text(encoding="utf-8")
    (wheel.parent / "install.sh").write_text(template.replace("@PINS@\n", pins), encoding="utf-8")


if __name__ == "__main__":
    main()

"""What Mimir is made of: the pinned packages that it needs to run, with their versions and hashes."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parent.parent
_PYPROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: Final = _PYPROJECT["project"]
BUILD: Final = _PYPROJECT["build-system"]


class Pin(NamedTuple):
    """One pinned package: when it is needed (a marker, or nothing), and the hashes of its files."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def reference(self) -> str:
        """Return its package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"

    def lines(self) -> str:
        """Return it as a requirement file states it."""
        marker = f" ; {self.marker}" if self.marker else ""
        hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in self.hashes)
        return f"{self.name}=={self.version}{marker}{hashes}\n"


def read_pins(name: str) -> list[Pin]:
    """Return the pins of a requirement file, by its name without the suffix, in its order."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    pins = []
    for entry in re.split(r"\n(?! )", text.strip()):
        head, *hashes = re.split(r" \\\n\s+--hash=sha256:", entry)
        requirement, _, marker = head.partition(" ; ")
        package, _, version = requirement.partition("==")
        pins.append(Pin(package, version, marker, tuple(hashes)))
    return pins


def runtime_pins() -> list[Pin]:
    """Return the pins that running Mimir needs on any system: all but those that only the build backend needs."""
    pinned = {pin.name for pin in read_pins("core")}
    to_build = reached_from(needed_by(BUILD["requires"], pinned), pinned)
    to_run = reached_from(needed_by(PROJECT["dependencies"], pinned), pinned)
    # Rather too many than too few: what a package for another system needs cannot be read here.
    return [pin for pin in read_pins("core") if pin.name in to_run or pin.name not in to_build]


def reached_from(names: list[str], pinned: set[str]) -> dict[str, list[str]]:
    """Return names and all that they need, each with what it needs in turn, as the installed packages state it."""
    graph: dict[str, list[str]] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in graph:
            graph[name] = needed_by(_requirements(name), pinned)
            waiting += graph[name]
    return graph


def needed_by(requirements: list[str], pinned: set[str]) -> list[str]:
    """Return the names in requirements, without those of extras and those that no system has pinned."""
    parsed = [Requirement(one) for one in requirements]
    wanted = {canonicalize_name(one.name) for one in parsed if "extra" not in str(one.marker or "")}
    return sorted(wanted & pinned)


def _requirements(name: str) -> list[str]:
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:
        return []


SPDX: Final = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
}
"""The identifiers of licences that packages name in other words."""

STATED: Final = {
    # It may be used under any licence that the Open Source Initiative approves; the ciphers in it are MIT's.
    "apsw-sqlite3mc": "MIT",
    # Not installed on every system; as their own metadata states.
    "colorama": "BSD-3-Clause",
    "coloredlogs": "MIT",
    "greenlet": "MIT AND PSF-2.0",
    "httpx2-jsfetch": "BSD-3-Clause",
    "humanfriendly": "MIT",
    "mpmath": "BSD-3-Clause",
    "pywin32": "PSF-2.0",
    "sympy": "BSD-3-Clause",
}
"""The licences of packages whose installed metadata cannot be asked, or does not say it."""


def licence_of(name: str) -> str:
    """Return the SPDX expression of a package's licence, as its metadata states it."""
    if name in STATED:
        return STATED[name]
    metadata = distribution(name).metadata
    classifiers = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if "License ::" in line]
    stated = metadata["License-Expression"] or metadata["License"] or "".join(classifiers[:1])
    return SPDX.get(stated, stated)

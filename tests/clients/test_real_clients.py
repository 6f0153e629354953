"""Clients that others wrote, against the real command; `scripts/clients` runs more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.node_tools import cache_folder
from tests.clients.conftest import Program
from tests.server.client import PATIENCE_S

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "clients"

pytestmark = pytest.mark.slow


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--cache", str(cache_folder()), *arguments],
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=5 * PATIENCE_S,
        check=False,
    )


def test_the_inspector_and_the_official_client_list_and_call_on_every_transport(program: Program) -> None:
    program("inspector")
    ran = run("--smoke")
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    inspector, sdk = ran.stdout.splitlines()[:2]
    assert inspector.count("pass --strict") == 2
    assert sdk.count("refused") == 4


@pytest.mark.skipif(sys.platform == "win32", reason="the broken server is a script of the POSIX shell")
def test_a_client_that_cannot_use_the_server_fails_the_run(program: Program, tmp_path: Path) -> None:
    program("inspector")
    broken = tmp_path / "mimir"
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    ran = run("--only", "inspector", "--mimir", str(broken))
    assert ran.returncode == 1
    assert "FAILED" in ran.stdout

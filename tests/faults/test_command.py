"""The command that runs the trials: what it writes down, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import read

ROOT = Path(__file__).resolve().parents[2]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.reliability", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_counts_trials_and_losses(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    done = run("--suites", "crowd,clock,power full", "--trials", "2", "--minutes", "0.02", "--json", str(result))
    assert done.returncode == 0, done.stderr
    crowd, clock, power = read(result).rows
    assert (clock["trials"], power["trials"]) == (2, 40)
    assert crowd["losses"] == clock["losses"] == power["losses"] == 0
    assert {"calls", "read wait ms", "log MB"} <= crowd.keys()


def test_a_suite_that_does_not_exist_is_refused() -> None:
    done = run("--suites", "clock,flood")
    assert done.returncode == 2
    assert "flood" in done.stderr

"""The command that runs the trials: what it writes down, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import read
from scripts.generate import reliability_tables
from tests.faults.crowd import LEAST_STEPS, SERVERS
from tests.faults.trials import within

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
    assert (clock["trials"], power["trials"], clock["met"], power["met"]) == (2, 2, 2, 2)
    assert clock["acknowledged"]
    assert power["told"] is None
    assert crowd["losses"] == clock["losses"] == power["losses"] == 0
    assert isinstance(crowd["calls"], int)
    assert crowd["calls"] >= SERVERS * LEAST_STEPS
    assert {"acknowledged", "read wait ms", "log MB"} <= crowd.keys()


def test_a_suite_ends_with_its_time_after_one_trial_at_least() -> None:
    assert list(within(3, 60.0)) == [0, 1, 2]
    assert list(within(1_000, 0.0)) == [0]


@pytest.mark.parametrize("suites", [("clock",), ("crowd",), ("clock", "crowd")], ids=",".join)
def test_whatever_suites_ran_make_whole_tables(suites: tuple[str, ...]) -> None:
    rows = {"clock": {"suite": "clock", "trials": 2, "losses": 0}, "crowd": {"suite": "crowd", "calls": 9, "losses": 0}}
    report = {
        "benchmark": "reliability",
        "measured_at": "2026-01-01T00:00:00",
        "machine": {"cores": 2},
        "settings": {"load_average": 0.5},
        "rows": [rows[name] for name in suites],
    }
    command, first, *tables = reliability_tables(report).strip().split("\n\n")
    assert command == "python -m benchmarks.reliability"
    assert first == "Measured 2026-01-01 on: cores 2, load average 0.5."
    assert [table.count("\n") for table in tables] == [2] * len(suites)
    assert all(line.startswith("| ") or set(line) == {"|", "-"} for table in tables for line in table.splitlines())


def test_a_suite_that_does_not_exist_is_refused() -> None:
    done = run("--suites", "clock,flood")
    assert done.returncode == 2
    assert "flood" in done.stderr

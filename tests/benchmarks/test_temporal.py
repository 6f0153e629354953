"""The checks of overwritten facts pass on a store that keeps time, and tell when an answer is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.temporal import measure

SCENARIO = {
    "category": "fact",
    "key": "office",
    "v1": "The office was in Lyon until the spring.",
    "v2": "The office is in Nantes now.",
    "probe": "office",
    "v1_token": "Lyon",
    "v2_token": "Nantes",
}


@pytest.mark.parametrize(
    ("change", "passed", "failed"),
    [
        ({}, 5, ""),
        ({"v2_token": "Paris"}, 3, "present now, present recalled"),
        ({"v1_token": "office"}, 3, "present now, former left out"),
    ],
)
def test_each_scenario_is_asked_five_things(tmp_path: Path, change: dict[str, str], passed: int, failed: str) -> None:
    path = tmp_path / "scenarios.json"
    path.write_text(json.dumps({"updates": [{**SCENARIO, **change}]}), encoding="utf-8")
    (row,) = measure(path)
    assert (row["passed"], row["checks"]) == (passed, 5)
    assert failed in str(row["failed"])

"""Check that facts which were overwritten are answered as of their time: `python -m benchmarks.temporal --data FILE`.

The file holds scenarios: a fact, what replaced it under the same key, a word that finds both, and a token that only
one of them holds. Each is written, overwritten and asked five things: what was known before it, between both and now,
whether the present is found, and whether the past stays out. Rows are scenarios; `passed` counts of `checks`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks.report import Row, add_options, publish
from mimir import Memory

Scenario: TypeAlias = dict[str, str]

FIRST_MS: Final = 1_750_000_000_000
STEP_MS: Final = 1_000


class Steps:
    """A clock that goes on by a second whenever it is told to."""

    def __init__(self) -> None:
        self._now_ms = FIRST_MS
        self._ids = 0

    def now_ms(self) -> int:
        """Return the present."""
        return self._now_ms

    def advance(self) -> int:
        """Go on and return the instant that was left."""
        self._now_ms += STEP_MS
        return self._now_ms - STEP_MS

    def new_id(self, prefix: str, digits: int = 12) -> str:
        """Return the next identifier."""
        self._ids += 1
        return f"{prefix}{self._ids:0{digits}x}"

    def new_ids(self, prefix: str, count: int) -> list[str]:
        """Return the next identifiers."""
        return [self.new_id(prefix) for _ in range(count)]


def checks(memory: Memory, clock: Steps, scenario: Scenario) -> dict[str, bool]:
    """Write a fact, overwrite it, and return which answers about it are right."""
    category, key = scenario["category"], scenario["key"]
    former, present = scenario["v1_token"], scenario["v2_token"]

    def known(instant: int) -> str:
        answer = memory.as_of(category, key, instant)
        return str(answer.body_json) if answer.found else ""

    before = clock.advance()
    memory.remember(category, key, {"content": scenario["v1"]})
    between = clock.advance()
    memory.remember(category, key, {"content": scenario["v2"]})
    now = clock.advance()
    found = [item.body_json for item in memory.recall(scenario["probe"], category=category).items]
    return {
        "unknown before": known(before - 1) == "",
        "former between": former in known(between) and present not in known(between),
        "present now": present in known(now) and former not in known(now),
        "present recalled": any(present in body for body in found),
        "former left out": not any(former in body for body in found),
    }


def measure(path: Path) -> list[Row]:
    """Return one row for each scenario of a file."""
    dataset: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    clock = Steps()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, Memory.open(str(Path(folder) / "m.db"), clock=clock) as memory:
        for scenario in dataset["updates"]:
            answers = checks(memory, clock, scenario)
            failed = ", ".join(name for name, is_right in answers.items() if not is_right)
            name = f"{scenario['category']}/{scenario['key']}"
            rows.append({"scenario": name, "passed": sum(answers.values()), "checks": len(answers), "failed": failed})
    return rows


def main() -> int:
    """Run the checks and return 0 if all passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a file of scenarios")
    add_options(parser)
    arguments = parser.parse_args()
    rows = measure(arguments.data)
    publish("temporal", rows, arguments)
    return 0 if all(row["passed"] == row["checks"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""Put stores through every fault and a crowd of servers: `python -m benchmarks.reliability`.

Each row is a suite of tests/faults: how many trials, in how many of them the mishap was met, how many changes had been
acknowledged by then, and how many of those were lost or what else went wrong. The last number must be 0 everywhere;
each loss is printed, and the exit status is 1 if there is one. Run it from the root of the source tree.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import circumstances
from benchmarks.report import Row, add_options, publish
from tests.faults import trials
from tests.faults.crowd import CrowdOutcome, crowd
from tests.faults.trials import Outcome

CROWDS = {"crowd": "off", "crowd with vectors": "bundled"}
"""Crowds by name, each with where their vectors come from."""


def row_of(outcome: Outcome) -> Row:
    """Return the figures of a suite."""
    row: Row = {
        "suite": outcome.suite,
        "trials": outcome.trials,
        "met": outcome.met,
        "acknowledged": outcome.acknowledged,
        "losses": len(outcome.lost),
    }
    if isinstance(outcome, CrowdOutcome):
        row |= {
            "calls": sum(outcome.calls.values()),
            "maintenance": outcome.upkeeps,
            "read wait ms": outcome.read_wait_ms,
            "write wait ms": outcome.write_wait_ms,
            "log MB": outcome.log_mb,
            "file MB": outcome.file_mb,
            "grown MB": outcome.grown_mb,
        }
    return row


def run(name: str, count: int, minutes: float) -> Outcome:
    """Run one suite in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        if name in CROWDS:
            return crowd(Path(folder), 60 * minutes, embedding=CROWDS[name])
        return trials.ALL[name](Path(folder), count)


def main() -> int:
    """Run the command and return the exit status."""
    names = [*CROWDS, *trials.ALL]
    parser = argparse.ArgumentParser(prog="benchmarks.reliability", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N", help="how long each crowd works")
    parser.add_argument("--trials", type=int, default=40, metavar="N", help="trials of each fault")
    parser.add_argument("--suites", default=",".join(names), metavar="NAME,...", help=f"any of: {', '.join(names)}")
    add_options(parser)
    arguments = parser.parse_args()
    unknown = set(arguments.suites.split(",")) - set(names)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    # The stores of the trials must not follow the settings of whoever runs them.
    for variable in [name for name in os.environ if name.startswith("MIMIR_")]:
        del os.environ[variable]
    settings: Row = {**circumstances(), "minutes": arguments.minutes, "trials": arguments.trials}
    outcomes = []
    for name in arguments.suites.split(","):
        begun = time.monotonic()
        outcomes.append(run(name, arguments.trials, arguments.minutes))
        lost = outcomes[-1].lost
        print(f"{name}: {len(lost)} losses, {time.monotonic() - begun:.0f} s", file=sys.stderr)
        for one in lost:
            print(f"  {one}", file=sys.stderr)
    publish("reliability", [row_of(outcome) for outcome in outcomes], arguments, settings)
    return 1 if any(outcome.lost for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Put stores through every fault and a crowd of servers: `python -m benchmarks.reliability`.

Each row is a suite of tests/faults: how many trials, in how many of them the mishap came about (`met`: a call that was
to fail may not be made), in how many the program said so (`told`), how many changes had been acknowledged by then, and
how many of those were lost or what else went wrong. The last number must be 0 everywhere; each loss is printed, and the
exit status is 1 if there is one. Run it from the root of the source tree.

Suites of faults run beside one another, one on each core, and end after `--trials` or `--seconds`, whatever comes
first; crowds come before them, each alone. With the defaults two busy cores take about a quarter of an hour at most.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from benchmarks.measure import circumstances
from benchmarks.report import Row, add_options, publish
from tests.faults import trials
from tests.faults.crowd import CrowdOutcome, crowd
from tests.faults.trials import Outcome

CROWDS: Final[dict[str, Callable[[Path, float], CrowdOutcome]]] = {
    "crowd": crowd,
    "crowd sealed": partial(crowd, sealed=True),
    "crowd with vectors": partial(crowd, embedding="bundled"),
}
"""Crowds by name, each to be given a folder and how many seconds it works."""

NAMES: Final = (*CROWDS, *trials.ALL)


def row_of(outcome: Outcome) -> Row:
    """Return the figures of a suite."""
    if isinstance(outcome, CrowdOutcome):
        return {
            "suite": outcome.suite,
            "acknowledged": outcome.acknowledged,
            "losses": len(outcome.lost),
            "calls": sum(outcome.calls.values()),
            "maintenance": outcome.upkeeps,
            "read wait ms": outcome.read_wait_ms,
            "write wait ms": outcome.write_wait_ms,
            "log MB": outcome.log_mb,
            "file MB": outcome.file_mb,
            "grown MB": outcome.grown_mb,
        }
    return {
        "suite": outcome.suite,
        "trials": outcome.trials,
        "met": outcome.met,
        "told": outcome.told or None,
        "acknowledged": outcome.acknowledged or None,
        "losses": len(outcome.lost),
    }


def run(name: str, count: int, seconds: float, minutes: float) -> Outcome:
    """Run one suite in a folder of its own; one that breaks off is a loss."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            if name in CROWDS:
                outcome: Outcome = CROWDS[name](Path(folder), 60 * minutes)
            else:
                outcome = trials.ALL[name](Path(folder), trials.within(count, seconds))
        except Exception:  # noqa: BLE001 - the other suites go on
            outcome = Outcome(suite=name, lost=[f"broke off: {traceback.format_exc()}"])
    print(
        f"{name}: {outcome.trials} trials, {len(outcome.lost)} losses, {time.monotonic() - begun:.0f} s",
        file=sys.stderr,
    )
    for one in outcome.lost:
        print(f"  {one}", file=sys.stderr)
    return outcome


def run_all(names: Sequence[str], count: int, seconds: float, minutes: float) -> Iterator[Outcome]:
    """Yield what came of each suite, in their order."""
    for name in (name for name in names if name in CROWDS):
        yield run(name, count, seconds, minutes)
    # Processes: a suite may take the place of parts of its own.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = [pool.submit(run, name, count, seconds, minutes) for name in names if name not in CROWDS]
        yield from (one.result() for one in running)


def main() -> int:
    """Run the command and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.reliability", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N", help="how long each crowd works")
    parser.add_argument("--trials", type=int, default=40, metavar="N", help="trials of each fault at most")
    parser.add_argument("--seconds", type=float, default=35.0, metavar="N", help="how long each fault is tried at most")
    parser.add_argument("--suites", default=",".join(NAMES), metavar="NAME,...", help=f"any of: {', '.join(NAMES)}")
    add_options(parser)
    arguments = parser.parse_args()
    names = arguments.suites.split(",")
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"no such suite: {', '.join(unknown)}")
    # The stores of the trials must not follow the settings of whoever runs them.
    for variable in [name for name in os.environ if name.startswith("MIMIR_")]:
        del os.environ[variable]
    bounds = {name: getattr(arguments, name) for name in ("minutes", "trials", "seconds")}
    settings: Row = {**circumstances(), **bounds}
    outcomes = list(run_all(names, arguments.trials, arguments.seconds, arguments.minutes))
    publish("reliability", [row_of(outcome) for outcome in outcomes], arguments, settings)
    return 1 if any(outcome.lost for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())

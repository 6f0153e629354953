"""Measure bulk writing and a very common word: `python -m benchmarks.stress`.

The workload is that of the original's stress test: 100,000 entities in 20 transactions of 5,000,
then a recall of `alpha`, which every third one holds. Here it goes the way of the Python API:
checked, versioned, indexed, marked for embedding, every transaction durable. Each run has a process
of its own and a new file. `cpu` is processor time, which other programs disturb less than the clock.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from benchmarks.budgets import FULL_SIZE, print_verdicts
from benchmarks.measure import circumstances, peak_mb, spread, timed
from benchmarks.report import Row, add_options, publish
from mimir import Memory

BATCH: Final = 5_000
RECALLS: Final = 51


class Run(Struct, frozen=True, kw_only=True):
    """One run of the workload."""

    write_s: float
    write_cpu_s: float
    recalls_ms: list[float]
    recalls_cpu_s: float
    file_mb: float
    peak_mb: float | None


def workload(count: int) -> Iterator[dict[str, Any]]:
    """Yield the entities of the stress test; every third says alpha, every fifth beta, every seventh gamma."""
    for number in range(count):
        words = (
            "alpha" if number % 3 == 0 else "",
            "beta" if number % 5 == 0 else "",
            "gamma" if number % 7 == 0 else "",
        )
        text = f"Entity number {number} with some searchable text {' '.join(words)}"
        yield {
            "category": "benchmark",
            "key": f"entity-{number:06d}",
            "body_json": f'{{"content":"{text}"}}',
        }


def run(count: int) -> Run:
    """Write ``count`` entities to a new file and recall the common word."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stress.db"
        with Memory.open(str(path), embedding="off") as memory:
            start, cpu = time.perf_counter(), time.process_time()
            memory.remember_many(workload(count), batch=BATCH)
            write_s, write_cpu_s = time.perf_counter() - start, time.process_time() - cpu

            def recall() -> None:
                found = memory.recall("alpha", mode="fts5", limit=10, reinforce=False)
                if not found.items:
                    raise RuntimeError("alpha was not found")

            recall()
            cpu = time.process_time()
            recalls_ms = timed(recall for _ in range(RECALLS))
            recalls_cpu_s = time.process_time() - cpu
            peak = peak_mb()
        return Run(
            write_s=write_s,
            write_cpu_s=write_cpu_s,
            recalls_ms=recalls_ms,
            recalls_cpu_s=recalls_cpu_s,
            file_mb=path.stat().st_size / 1e6,
            peak_mb=peak,
        )


def measure(count: int, runs: int) -> list[Row]:
    """Run the workload several times and return the medians."""
    done: list[Run] = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        for number in range(1, runs + 1):
            done.append(processes.submit(run, count).result())
            print(f"run {number}: {count / done[-1].write_s:,.0f}/s", file=sys.stderr)
    peaks = [one.peak_mb for one in done if one.peak_mb is not None]
    full = count == FULL_SIZE
    return [
        {
            "what": "remember_many",
            "entities": f"{count:,}",
            "runs": runs,
            "per s": count / statistics.median(one.write_s for one in done),
            "per cpu s": count / statistics.median(one.write_cpu_s for one in done),
            "budget": "bulk" if full else "",
        },
        {
            "what": "recall alpha, fts5",
            "entities": f"{count:,}",
            **spread([duration for one in done for duration in one.recalls_ms]),
            "cpu ms": 1000 * statistics.median(one.recalls_cpu_s for one in done) / RECALLS,
            "budget": "alpha" if full else "",
        },
        {
            "what": "file",
            "entities": f"{count:,}",
            "MB": statistics.median(one.file_mb for one in done),
            "budget": "file" if full else "",
        },
        {
            "what": "most resident memory",
            "entities": f"{count:,}",
            "MB": statistics.median(peaks) if peaks else None,
        },
    ]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.stress", description=__doc__)
    parser.add_argument("--entities", type=int, default=FULL_SIZE, metavar="N")
    parser.add_argument("--runs", type=int, default=3, metavar="N")
    add_options(parser)
    arguments = parser.parse_args()
    settings = circumstances()
    rows = measure(arguments.entities, arguments.runs)
    publish("stress", rows, arguments, settings)
    print_verdicts(rows)


if __name__ == "__main__":
    main()

"""Measure how soon a fresh process answers and how much memory it rests in: `python -m benchmarks.startup`.

Every figure is the median over fresh processes, after one that does not count; that one is in the
column `first ms`. A machine just started is slower still: the files of Python and of Mimir must then
come from the disk, which this program does not provoke. `python` is the floor: an interpreter that
does nothing. The one-liners are those of the README, one request through a pipe, timed from start
to exit; `first reply` is timed from start to the first line.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

from benchmarks import corpus
from benchmarks.budgets import print_verdicts
from benchmarks.measure import (
    INITIALIZE,
    Lifetime,
    Server,
    children_cpu_s,
    circumstances,
    run_once,
    serve,
    spread,
    tool_call,
)
from benchmarks.report import Row, add_options, publish
from mimir import Memory

STORED: Final = 1_000
"""Memories in the store that the processes open."""

QUESTION: Final = "what should we do about the invoice"


def build(folder: Path, stored: int) -> tuple[Path, Path]:
    """Fill two stores, the second with vectors, and return their paths."""
    plain, embedded = folder / "plain.db", folder / "embedded.db"
    with Memory.open(str(plain), embedding="off") as memory:
        memory.remember_many(corpus.memories(stored))
    with Memory.open(str(embedded)) as memory:
        memory.remember_many(corpus.memories(stored))
        memory.embed_pending()
    return plain, embedded


def lifetimes(runs: int, live: Callable[[], Lifetime], part: str) -> Row:
    """Run a process many times; ``part`` names which of its two times counts."""
    first = live()
    cpu = children_cpu_s()
    lives = [live() for _ in range(runs)]
    return {
        "first ms": getattr(first, part),
        **spread([getattr(life, part) for life in lives]),
        "cpu ms": 1000 * (children_cpu_s() - cpu) / runs,
    }


def measure_times(plain: Path, embedded: Path, runs: int) -> Iterator[Row]:
    """Yield the times of fresh processes."""
    numbers = count(1)

    def remember() -> Lifetime:
        memory = {"category": "decision", "key": f"made-{next(numbers)}", "body_json": '{"a": "b"}'}
        return run_once(serve(plain), tool_call("mimir_remember", memory))

    def recall(db: Path, **arguments: Any) -> Lifetime:  # noqa: ANN401 - arguments of the tool
        return run_once(serve(db), tool_call("mimir_recall", {"query": QUESTION, **arguments}))

    idle = [sys.executable, "-c", "pass"]
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    processes: tuple[tuple[str, str, str, Callable[[], Lifetime]], ...] = (
        ("python -c pass, to exit", "whole", "", lambda: run_once(idle)),
        (
            "initialize, first reply",
            "first",
            "first reply",
            lambda: run_once(serve(plain), INITIALIZE),
        ),
        ("tools/list, first reply", "first", "", lambda: run_once(serve(plain), listing)),
        ("mimir_remember one-liner, to exit", "whole", "one-liner", remember),
        (
            "mimir_recall one-liner, fts5, to exit",
            "whole",
            "",
            lambda: recall(plain, mode="fts5"),
        ),
        (
            "mimir_recall one-liner, hybrid, to exit",
            "whole",
            "",
            lambda: recall(embedded, mode="hybrid"),
        ),
    )
    for what, part, budget, live in processes:
        yield {"what": what, **lifetimes(runs, live, part), "budget": budget}


def measure_memory(plain: Path, embedded: Path, runs: int) -> Iterator[Row]:
    """Yield the resident memory of servers that wait for their next request."""
    question = {"query": QUESTION}

    def resident(db: Path, *calls: tuple[str, dict[str, Any]]) -> Row:
        sizes = []
        for _ in range(runs):
            with Server(db) as server:
                for tool, arguments in calls:
                    server.call(tool, arguments)
                sizes.append(server.memory_mb())
        known = [size for size in sizes if size is not None]
        return {"runs": runs, "MB": statistics.median(known) if known else None}

    keyword = ("mimir_recall", {**question, "mode": "fts5"})
    hybrid = ("mimir_recall", {**question, "mode": "hybrid"})
    yield {"what": "memory after initialize", **resident(plain), "budget": "idle"}
    yield {
        "what": "memory after a keyword recall",
        **resident(plain, keyword),
        "budget": "idle",
    }
    yield {"what": "memory after a hybrid recall", **resident(embedded, hybrid)}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=21, metavar="N", help="processes per figure")
    parser.add_argument("--stored", type=int, default=STORED, metavar="N", help="memories stored")
    add_options(parser)
    arguments = parser.parse_args()
    settings = {**circumstances(), "stored": arguments.stored}
    with tempfile.TemporaryDirectory() as folder:
        plain, embedded = build(Path(folder), arguments.stored)
        rows = [
            *measure_times(plain, embedded, arguments.runs),
            *measure_memory(plain, embedded, min(5, arguments.runs)),
        ]
    publish("startup", rows, arguments, settings)
    print_verdicts(rows)


if __name__ == "__main__":
    main()

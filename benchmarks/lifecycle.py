"""Measure the passes over all memories, and what compares or walks many: `python -m benchmarks.lifecycle`.

The store is that of the stress test, its memories in the layer `working`. A pass runs on a fresh copy of
it, under a clock that is some days ahead: after 10 days every strength is written anew, after 400 every
memory is archived. `again` is the same pass at the same instant, which finds nothing to write.

`another process meanwhile` is a second process that remembers one thing after the other, durably, while a
pass runs: `most ms` is the longest that one of its calls took, waiting for the write lock included. `alone`
is the same without a pass.

The graph has two links per memory, at random; `hits` counts what the walk reaches. `conflicts` compares
memories of one category; `vectors` are those of other memories, turned a little (see benchmarks.scale).
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import corpus
from benchmarks.budgets import FULL_SIZE, print_verdicts
from benchmarks.measure import circumstances, spread, timed
from benchmarks.report import Row, add_options, publish
from benchmarks.scale import SyntheticEmbedder
from benchmarks.stress import BATCH, workload
from mimir import Memory
from mimir.clock import SystemClock
from mimir.rules.graph import MAXIMUM_DEPTH, MAXIMUM_NODES
from mimir.rules.layers import DAY_MS

EDGES: Final = 10_000
COMPARED: Final = 5_000
SYNTHETIC_BASES: Final = 200
WALKS: Final = 11
WARMING: Final = 10
LONGEST_WAIT_S: Final = 120.0


class FixedClock(SystemClock):
    """A clock that stands still."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Return the instant at which it stands."""
        return self._now_ms


class Pass(NamedTuple):
    """A pass that is measured: how many days after the last use it runs, and the budget it is held to."""

    what: str
    days: int
    run: Callable[[Memory], object]
    budget: str = ""


PASSES: Final = (
    Pass("decay, all rewritten", 10, Memory.decay, "decay"),
    Pass("decay, all archived", 400, Memory.decay, "decay archiving"),
    Pass("compact, all archived", 10, lambda memory: memory.compact(1.0)),
    Pass("cohere", 10, Memory.cohere),
    Pass("autocohere", 10, Memory.autocohere),
    Pass("autocohere, dry run", 10, lambda memory: memory.autocohere(dry_run=True)),
    Pass("prune, none match", 10, lambda memory: memory.prune(older_than_days=1_000)),
    Pass("reindex", 10, Memory.reindex),
)
BLOCKING: Final = 5
"""How many of these write in many short transactions: the first ones."""


class Store(NamedTuple):
    """A filled store, its number of memories, and when they were last used."""

    path: Path
    memories: int
    used_ms: int

    @property
    def size(self) -> str:
        """The number of memories as a label."""
        return f"{self.memories:,}"


def build(folder: Path, count: int) -> Store:
    """Fill a store with the memories of the stress test."""
    store = Store(folder / "store.db", count, SystemClock().now_ms() - 1_000 * DAY_MS)
    with Memory.open(str(store.path), embedding="off", clock=FixedClock(store.used_ms)) as memory:
        memory.remember_many(({**one, "layer": "working"} for one in workload(count)), batch=BATCH)
    return store


def open_copy(store: Store, days: int) -> Memory:
    """Open a fresh copy of a store ``days`` after its memories were last used."""
    copy = store.path.with_name("copy.db")
    for suffix in ("", "-wal", "-shm"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(store.path, copy)
    return Memory.open(str(copy), embedding="off", clock=FixedClock(store.used_ms + days * DAY_MS))


def measure_passes(store: Store, runs: int) -> Iterator[Row]:
    """Yield how long each pass takes."""
    for one in PASSES:
        first: list[float] = []
        again: list[float] = []
        cpu_s = 0.0
        for _ in range(runs):
            with open_copy(store, one.days) as memory:
                start = time.process_time()
                first += timed([partial(one.run, memory)])
                cpu_s += time.process_time() - start
                again += timed([partial(one.run, memory)])
        _say(one.what)
        budget = one.budget if store.memories == FULL_SIZE else ""
        cpu_ms = 1000 * cpu_s / runs
        yield {"what": one.what, "entities": store.size, **spread(first), "cpu ms": cpu_ms, "budget": budget}
        if one is PASSES[0]:
            yield {"what": f"{one.what}, again", "entities": store.size, **spread(again)}


def remember_until_told(path: str, told: Connection) -> None:
    """Remember one thing after the other until something is said, and send back how long each took."""
    durations: list[float] = []
    with Memory.open(path, embedding="off") as memory:
        for number in range(WARMING):
            memory.remember("meanwhile", f"warm {number}", {"content": f"note k{number}"})
        told.send(None)
        while not (durations and told.poll()):
            key = f"k{len(durations)}"
            durations += timed([partial(memory.remember, "meanwhile", key, {"content": f"note {key}"})])
    told.send(durations)


def measure_blocking(store: Store) -> Iterator[Row]:
    """Yield how long another process waits for its writes while a pass runs."""
    alone = Pass("alone", 10, lambda _: time.sleep(1.0))
    context = multiprocessing.get_context("spawn")
    for one in (alone, *PASSES[:BLOCKING]):
        with open_copy(store, one.days) as memory:
            ours, theirs = context.Pipe()
            writer = context.Process(target=remember_until_told, args=(memory.store.path, theirs))
            writer.start()
            ours.recv()
            one.run(memory)
            ours.send(None)
            durations = ours.recv()
            writer.join(LONGEST_WAIT_S)
        _say(f"{one.what}: {len(durations)} writes of another process")
        yield {
            "what": f"another process meanwhile: {one.what}",
            "entities": store.size,
            **spread(durations),
            "most ms": max(durations),
            "budget": "blocked" if one is not alone and store.memories == FULL_SIZE else "",
        }


def measure_graph(folder: Path, edges: int) -> Iterator[Row]:
    """Yield how long a walk over a whole graph takes."""
    count = max(2, edges // 2)
    chosen = random.Random(corpus.SEED)
    with Memory.open(str(folder / "graph.db"), embedding="off") as memory:
        memory.remember_many(
            {"category": "node", "key": f"n{number}", "body_json": {"content": f"node {number}"}}
            for number in range(count)
        )
        nodes = [memory.store.find("node", f"n{number}", "")[0] for number in range(count)]
        with memory.writing() as now:
            for number in range(edges):
                source, target = nodes[number % count].number, chosen.choice(nodes).entity.id
                memory.store.add_link(source, target, f"related {number // count}", 1.0, now)

        def walk() -> Any:  # noqa: ANN401 - a result of the tool
            return memory.traverse("node", "n0", max_depth=MAXIMUM_DEPTH, max_nodes=MAXIMUM_NODES)

        hits = len(walk().traversed)
        yield {
            "what": f"traverse, {edges:,} links",
            "entities": f"{count:,}",
            "hits": hits,
            **spread(timed([walk] * WALKS)),
            "budget": "traverse" if edges == EDGES else "",
        }


def measure_conflicts(folder: Path, compared: int, runs: int) -> Iterator[Row]:
    """Yield how long looking for contradictions in one category takes, without vectors and with."""
    memories = [{**one, "category": "fact", "workspace_hash": ""} for one in corpus.memories(compared)]
    path = folder / "conflicts.db"
    with Memory.open(str(path), embedding="off") as memory:
        memory.remember_many(memories)
    embedder = SyntheticEmbedder([corpus.text(one) for one in memories[:SYNTHETIC_BASES]])
    for what, options in (("words only", {"embedding": "off"}), ("vectors", {"embedder": embedder})):
        with Memory.open(str(path), **options) as memory:
            if what == "vectors":
                memory.embed_pending()
            compare = partial(memory.conflicts, "fact")
            yield {
                "what": f"conflicts, {what}",
                "entities": f"{compared:,}",
                "hits": len(compare().conflicts or ()),
                **spread(timed([compare] * runs)),
                "budget": "conflicts" if compared == COMPARED else "",
            }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.lifecycle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--entities", type=int, default=FULL_SIZE, metavar="N", help="memories in the store")
    parser.add_argument("--edges", type=int, default=EDGES, metavar="N", help="links of the graph")
    parser.add_argument("--compared", type=int, default=COMPARED, metavar="N", help="memories in one category")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="runs per figure")
    add_options(parser)
    arguments = parser.parse_args()
    settings = circumstances()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = build(folder, arguments.entities)
        rows += measure_passes(store, arguments.runs)
        rows += measure_blocking(store)
        rows += measure_graph(folder, arguments.edges)
        rows += measure_conflicts(folder, arguments.compared, arguments.runs)
    publish("lifecycle", rows, arguments, settings)
    print_verdicts(rows)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()

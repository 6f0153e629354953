"""Measure a vault of many notes: `python -m benchmarks.vault`.

The memories are those of the stress test, a tenth of them linked to another. `first export` writes a note for each;
`import` reads them into an empty store; `export of one change` and `import of one edit` come after one memory or one
note was changed. `sync command` is a whole `mimir obsidian-sync` in a process of its own, over a vault that it has
brought up before: with nothing to do, after one change, and both ways after one edit. `round of a watch` is what
`mimir obsidian-sync --watch` does after one change, `idle look` what it does when there is none, the last also both
ways.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.budgets import FULL_SIZE, print_verdicts
from benchmarks.measure import circumstances, spread
from benchmarks.report import Row, add_options, publish
from benchmarks.stress import workload
from mimir import Memory
from mimir.config import environment_for_child
from mimir.model import Filter
from mimir.vault.syncing import Sync

REPEATED: Final = 7


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long one piece of work takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def sync(store: str, vault: str, *flags: str) -> None:
    """Run the command once."""
    subprocess.run(
        [sys.executable, "-m", "mimir", "obsidian-sync", vault, "--db", store, *flags],
        check=True,
        capture_output=True,
        env=environment_for_child(),
    )


def children_cpu_ms() -> float:
    """Return the processor time of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (used.ru_utime + used.ru_stime)


def measure(count: int) -> list[Row]:
    """Measure exports, imports and rounds with ``count`` memories."""
    with tempfile.TemporaryDirectory() as folder:
        vault, store = str(Path(folder, "vault")), str(Path(folder, "memory.db"))
        memory = Memory.open(store, embedding="off")
        memory.remember_many(workload(count))
        ids = [stored.entity.id for batch in memory.store.scan(Filter()) for stored in batch]
        with memory.writing() as now:
            for number in range(1, count, 10):
                memory.store.add_link(number, ids[number], "next", 0.5, now)
        rows = [per_note("first export", count, milliseconds(lambda: memory.vault_export(vault)))]
        with Memory.open(str(Path(folder, "other.db")), embedding="off") as other:
            rows.append(per_note("import", count, milliseconds(lambda: other.vault_import(vault))))

        def change(number: int) -> None:
            memory.remember("benchmark", "changing", {"content": f"change {number}"})

        def edit(number: int) -> None:
            note = Path(vault, f"{ids[number]}.md")
            note.write_text(note.read_text(encoding="utf-8").replace("tags: [", "tags: [edited, "), encoding="utf-8")

        def repeated(what: str, before: Callable[[int], object], work: Callable[[], object]) -> None:
            taken = []
            for number in range(REPEATED):
                before(number)
                taken.append(milliseconds(work))
            rows.append({"what": what, **spread(taken)})

        def commanded(what: str, before: Callable[[int], object], *flags: str) -> None:
            cpu_ms = children_cpu_ms()
            repeated(f"sync command, {what}", before, lambda: sync(store, vault, *flags))
            rows[-1]["cpu ms"] = (children_cpu_ms() - cpu_ms) / REPEATED
            rows[-1]["budget"] = "sync" if count == FULL_SIZE else ""

        commanded("nothing changed", lambda _: None)
        commanded("one change", change)
        commanded("one edit, both ways", edit, "--two-way")
        one_way, two_way = Sync(memory, vault), Sync(memory, vault, two_way=True)
        one_way.round()
        two_way.round()
        repeated("export of one change", change, lambda: memory.vault_export(vault))
        repeated("import of one edit", edit, lambda: memory.vault_import(vault))
        repeated("round of a watch", change, one_way.round)
        repeated("idle look", lambda _: one_way.round(), one_way.is_due)
        repeated("idle look both ways", lambda _: None, two_way.round)
        memory.close()
    return rows


def per_note(what: str, count: int, taken_ms: float) -> Row:
    """Return the row of something that is done once for every note."""
    return {"what": what, "per s": 1000 * count / taken_ms, "s": taken_ms / 1000}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.vault", description=__doc__)
    parser.add_argument("--entities", type=int, default=FULL_SIZE, metavar="N")
    add_options(parser)
    arguments = parser.parse_args()
    settings = circumstances()
    settings |= {"entities": arguments.entities}
    rows = measure(arguments.entities)
    publish("vault", rows, arguments, settings)
    print_verdicts(rows)


if __name__ == "__main__":
    main()

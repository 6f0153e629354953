"""Measure writing and recall as a store grows: `python -m benchmarks.scale --sizes 10000,100000`.

For each size a store is filled through a real `mimir serve`, one durable mimir_remember after the
other (without embedding, which follows writes at its own pace), then embedded whole, then asked.
Sizes above 100,000 are filled by remember_many, and no budget holds there.
`stdio` is that server seen from a client, `in process` the Python API.

Recall is asked two sets of questions, made from what is stored and different every time, so that no
vector of a question is remembered from before: `selective` ones match fewer than 1,000 memories, or one in 100, by
their words, `common` ones are about a word that stands in a third of all; `hits` is the median.
Recalls count as uses, as they do by default. `by category` lets only memories of one of 20 categories
pass, `as of` those of an earlier instant.

`of smallest` is the rate as a share of that at the smallest size. `cpu ms` is processor time of the
server, or of this process, per call. `write and fsync` is the disk alone: what any durable write
costs at least. With `--embed synthetic` the vectors are those of
other memories, turned a little: quick, good for speed, senseless for search. `--keep` reuses the
filled stores of an earlier run; remove the folder when the format of the store has changed. Filling
and embedding 100,000 memories takes about ten minutes otherwise.

`--sealed` measures only what sealing costs: the same calls go in turn to a plain store and to its
sealed copy, so that whatever else the machine does slows both. `of plain` is the ratio of the
medians; half of the recalls are selective, half common. The store is filled by remember_many, which
takes a minute for 100,000.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice, repeat
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from benchmarks import corpus
from benchmarks.budgets import FULL_SIZE, JOINED_BY, print_verdicts
from benchmarks.measure import Server, circumstances, run_once, serve, spread, timed, tool_call
from benchmarks.report import Row, add_options, publish
from mimir import Memory
from mimir.config import load_settings
from mimir.crypto import load_keys, write_key_file
from mimir.embedding import Embedder, load_embedder
from mimir.model import Mode
from mimir.store import change_keys, open_store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODES: Final = get_args(Mode)
LIMIT: Final = 10
MOST_UPDATED: Final = 100
MOST_ADDED: Final = 2_000
COLD_STARTS: Final = 5
WARMING: Final = 10
SYNTHETIC_BASES: Final = 2_000
REMEMBERED_QUERIES: Final = 256
"""Vectors of questions that the embedder keeps; a question must come again later than that."""


class Cell(NamedTuple):
    """One kind of recall to be measured; an empty filter lets everything pass."""

    mode: str
    questions: str
    filter: str = ""
    budget: str = ""

    @property
    def label(self) -> str:
        """What is measured, in words."""
        return ", ".join(part for part in (f"recall {self.mode}", self.questions, self.filter) if part)


CELLS: Final = (
    Cell("fts5", "selective", budget="fts5 selective"),
    Cell("fts5", "selective", "by category"),
    Cell("fts5", "common", budget="fts5 common"),
    Cell("fts5", "common", "by category"),
    Cell("dense", "selective"),
    Cell("dense", "selective", "by category"),
    Cell("hybrid", "selective", budget="hybrid selective"),
    Cell("hybrid", "selective", "by category", budget="hybrid selective"),
    Cell("hybrid", "common"),
    Cell("hybrid", "common", "by category"),
    Cell("hybrid", "selective", "as of"),
)

BUDGETED: Final = {
    "remember, last tenth": "writes",
    "remember, the store filled": JOINED_BY.join(("writes", "steady writes")),
    "file without vectors": "file",
    "file with vectors": "file with vectors",
    "memory of the server, model loaded": "memory",
}

COLUMNS: Final = (
    "size",
    "what",
    "door",
    "hits",
    "runs",
    "p50 ms",
    "p99 ms",
    "cpu ms",
    "per s",
    "of smallest",
    "MB",
    "budget",
)
SEALED_COLUMNS: Final = ("size", "what", "door", "runs", "plain ms", "sealed ms", "of plain", "more ms", "MB", "budget")


class Door(NamedTuple):
    """A way to call operations, and the processor time that it has taken so far."""

    name: str
    call: Callable[[str, dict[str, Any]], Any]
    cpu_s: Callable[[], float | None]


class Setting(NamedTuple):
    """What is measured: the memories, questions about them, calls per figure, kind of vectors."""

    memories: Sequence[corpus.Memory]
    questions: dict[str, tuple[corpus.Question, ...]]
    runs: int
    vectors: str

    @property
    def size(self) -> str:
        """The number of memories as a label."""
        return f"{len(self.memories):,}"


class SyntheticEmbedder:
    """Gives every text the vector of some other text, turned a little, under the name of the bundled model."""

    def __init__(self, texts: Sequence[str]) -> None:
        bundled = load_embedder()
        self.model_id = bundled.model_id
        self.dimensions = bundled.dimensions
        self._bases = bundled.embed(texts)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length 1 per text, always the same for the same text."""
        import numpy as np

        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            source = np.random.default_rng(zlib.crc32(text.encode()))
            base = self._bases[source.integers(len(self._bases))]
            vector[:] = base + source.normal(0.0, 0.02, self.dimensions)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def fill(path: Path, memories: Sequence[corpus.Memory]) -> Iterator[Row]:
    """Write memories over stdio into a new store, and yield how fast that was."""
    tenth = max(1, len(memories) // 10)
    durations: list[float] = []
    with Server(path, MIMIR_EMBEDDING="off") as server:
        for start in range(0, len(memories), tenth):
            calls = (partial(server.call, "mimir_remember", memory) for memory in memories[start : start + tenth])
            durations += timed(calls)
            _say(f"{len(durations):,} memories written")
    for what, part in (("sustained", durations), ("last tenth", durations[-tenth:])):
        yield {"what": f"remember, {what}", "door": "stdio", "per s": 1000 * len(part) / sum(part), **spread(part)}


def fill_at_once(path: Path, memories: Sequence[corpus.Memory]) -> Iterator[Row]:
    """Write memories into a new store in large transactions, and yield how fast that was."""
    start = time.perf_counter()
    with Memory.open(str(path), embedding="off", durability="normal") as memory:
        memory.remember_many(memories)
    yield {"what": "remember_many", "door": "in process", "per s": len(memories) / (time.perf_counter() - start)}


def embed_all(path: Path, memories: Sequence[corpus.Memory], kind: str) -> Iterator[Row]:
    """Update some memories of a store, give all of them vectors, and yield how fast that was."""
    embedder: Embedder | None = None
    if kind == "synthetic":
        others = corpus.memories(min(SYNTHETIC_BASES, len(memories)), seed=corpus.SEED + 1)
        embedder = SyntheticEmbedder([corpus.text(memory) for memory in others])
    with Memory.open(str(path), embedding="off", durability="normal") as memory:
        for one in updated(memories):
            body = {"content": f"{one['body_json']['content']} This was put right."}
            memory.remember(one["category"], one["key"], body, workspace_hash=one["workspace_hash"])
    with Memory.open(str(path), embedder=embedder, durability="normal") as memory:
        start, done = time.perf_counter(), 0
        while (step := memory.embed_pending(10.0)) > 0:
            done += step
            _say(f"{done:,} passages embedded")
        seconds = time.perf_counter() - start
    yield {"what": "embedding", "runs": done, "per s": done / seconds}


def updated(memories: Sequence[corpus.Memory]) -> Sequence[corpus.Memory]:
    """Return those memories that have a past version."""
    return memories[: min(MOST_UPDATED, max(1, len(memories) // 10))]


def prepare(
    folder: Path, memories: Sequence[corpus.Memory], kind: str, *, at_once: bool = False
) -> tuple[Path, Path, list[Row]]:
    """Return two stores, without and with vectors, and what filling them has shown; those kept are reused."""
    name = f"{len(memories)}-{'bulk-' if at_once else ''}"
    plain, embedded = folder / f"{name}plain.db", folder / f"{name}{kind}.db"
    rows: list[Row] = []
    partial_store = folder / "partial.db"
    if not plain.exists():
        _remove(partial_store)
        rows += (fill_at_once if at_once else fill)(partial_store, memories)
        partial_store.rename(plain)
    if not embedded.exists():
        _remove(partial_store)
        shutil.copyfile(plain, partial_store)
        rows += embed_all(partial_store, memories, kind)
        partial_store.rename(embedded)
    rows += [
        {"what": "file without vectors", "MB": plain.stat().st_size / 1e6},
        {"what": "file with vectors", "MB": embedded.stat().st_size / 1e6},
    ]
    return plain, embedded, rows


def measure_writes(store: Path, more: Sequence[corpus.Memory]) -> Iterator[Row]:
    """Yield the speed of single durable writes of ``more`` memories into a store already filled."""
    yield {"what": "write and fsync", **_disk(store.parent, len(more))}
    with Server(store, MIMIR_EMBEDDING="off") as server:
        cpu = server.cpu_s()
        durations = timed(partial(server.call, "mimir_remember", memory) for memory in more)
        row = {
            "what": "remember, the store filled",
            "door": "stdio",
            "per s": 1000 * len(durations) / sum(durations),
            **spread(durations),
            "cpu ms": _per_call(cpu, server.cpu_s(), len(durations)),
        }
    yield row


def measure_cold(store: Path, setting: Setting) -> Iterator[Row]:
    """Yield the time from the start of a server to its first recall."""
    for mode in ("fts5", "hybrid"):
        asked = (question.text for question in setting.questions["selective"][: min(COLD_STARTS, setting.runs)])
        firsts = [
            run_once(serve(store), tool_call("mimir_recall", {"query": text, "mode": mode})).first for text in asked
        ]
        yield {
            "what": f"start of the server to first recall {mode}",
            "door": "stdio",
            **spread(firsts),
        }


def measure_reads(door: Door, setting: Setting) -> Iterator[Row]:
    """Yield the times of recall, as_of and health through a door."""
    pools = {name: cycle(asked) for name, asked in setting.questions.items()}
    for mode in MODES:
        for question in islice(pools["selective"], WARMING):
            door.call("recall", {"query": question.text, "mode": mode})
    past = [_before_update(door, memory) for memory in updated(setting.memories)]
    for cell in CELLS:
        asked = list(islice(pools[cell.questions], setting.runs))
        row = _timed_calls(door, "recall", [_recall(cell, question, past) for question in asked])
        hits = median(question.hits for question in asked)
        yield {"what": cell.label, "hits": hits, "budget": cell.budget, **row}
    yield {"what": "as_of", **_timed_calls(door, "as_of", list(islice(cycle(past), setting.runs)))}
    health = _timed_calls(door, "health", [{}] * setting.runs)
    yield {"what": "health", "budget": "overhead" if door.name == "stdio" else "", **health}


def measure_sealed(folder: Path, setting: Setting, more: Sequence[corpus.Memory]) -> Iterator[Row]:
    """Yield how much longer the same calls take in a store that is sealed whole."""
    _, embedded, _ = prepare(folder, setting.memories, setting.vectors, at_once=True)
    with copy_of(embedded) as plain, copy_of(embedded) as sealed:
        key = str(sealed.parent / "key")
        write_key_file(key)
        start = time.perf_counter()
        change_keys(str(sealed), None, load_keys(key), "full")
        yield {"what": "seal", "sealed ms": 1000 * (time.perf_counter() - start), "MB": sealed.stat().st_size / 1e6}
        yield _in_turn("open and close", "in process", setting.runs, _opening(plain, ""), _opening(sealed, key))
        # Before the writes: what they leave to be embedded would be embedded by the recalls.
        with Memory.open(str(plain)) as one, Memory.open(str(sealed), encryption_key=key) as other:
            halves = zip(*(setting.questions[name] for name in ("selective", "common")), strict=False)
            asked = [question.text for pair in halves for question in pair]
            for mode in MODES:
                recalls = [_recalls(memory, mode, asked) for memory in (one, other)]
                yield _in_turn(f"recall {mode}", "in process", setting.runs, *recalls)
        with (
            Server(plain, MIMIR_EMBEDDING="off") as one,
            Server(sealed, MIMIR_EMBEDDING="off", MIMIR_ENCRYPTION_KEY_FILE=key) as other,
        ):
            doors = [
                iter([partial(server.call, "mimir_remember", memory) for memory in more]) for server in (one, other)
            ]
            yield _in_turn("remember", "stdio", len(more), *doors)


def _opening(store: Path, key: str) -> Iterator[Callable[[], object]]:
    settings = load_settings(db=str(store), encryption_key=key)
    return repeat(lambda: open_store(settings).close())


def _recalls(memory: Memory, mode: str, asked: Sequence[str]) -> Iterator[Callable[[], object]]:
    return cycle([partial(memory.recall, text, mode=mode, limit=LIMIT) for text in asked])


def _in_turn(
    what: str,
    door: str,
    runs: int,
    plain: Iterator[Callable[[], object]],
    sealed: Iterator[Callable[[], object]],
) -> Row:
    """Time calls of two doors in turn, after some that warm both."""
    timed(call for pair in islice(zip(plain, sealed, strict=False), min(WARMING, runs // 2)) for call in pair)
    durations = timed(call for pair in islice(zip(plain, sealed, strict=False), runs) for call in pair)
    one, other = median(durations[::2]), median(durations[1::2])
    return {
        "what": what,
        "door": door,
        "runs": len(durations) // 2,
        "plain ms": one,
        "sealed ms": other,
        "of plain": other / one,
        "more ms": other - one,
        "budget": "sealed opening" if what == "open and close" else "sealed",
    }


def measure(folder: Path, setting: Setting, more: Sequence[corpus.Memory]) -> Iterator[Row]:
    """Yield everything that is measured at one size; the kept stores stay as they are."""
    at_once = len(setting.memories) > FULL_SIZE
    plain, embedded, rows = prepare(folder, setting.memories, setting.vectors, at_once=at_once)
    yield from rows
    with copy_of(plain) as store:
        yield from measure_writes(store, more)
    with copy_of(embedded) as store:
        yield from measure_cold(store, setting)
        _say("asking over stdio")
        with Server(store) as server:
            call = partial(_call_tool, server)
            yield from measure_reads(Door("stdio", call, server.cpu_s), setting)
            yield {
                "what": "memory of the server, model loaded",
                "door": "stdio",
                "MB": server.memory_mb(),
            }
        _say("asking in process")
        with Memory.open(str(store)) as memory:
            door = Door("in process", partial(_call_method, memory), time.process_time)
            yield from measure_reads(door, setting)


@contextmanager
def copy_of(store: Path) -> Iterator[Path]:
    """Copy a store to a folder of its own beside it, for as long as it is needed."""
    with tempfile.TemporaryDirectory(dir=store.parent) as folder:
        copy = Path(folder) / store.name
        shutil.copyfile(store, copy)
        yield copy


def main() -> None:
    """Run the command."""
    arguments = _arguments()
    settings: Row = {**circumstances(), "embed": arguments.embed, "limit": LIMIT}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for size in sorted(arguments.sizes):
            added = min(MOST_ADDED, max(1, size // 10))
            made = list(corpus.memories(size + added))
            asked = corpus.questions(made[:size], arguments.queries + REMEMBERED_QUERIES)
            setting = Setting(made[:size], asked, arguments.queries, arguments.embed)
            _say(f"{setting.size} memories")
            if arguments.sealed:
                found = measure_sealed(folder, setting, made[size:])
                rows += [
                    {column: {**row, "size": setting.size}.get(column) for column in SEALED_COLUMNS} for row in found
                ]
            else:
                rows += [_completed(row, setting, rows) for row in measure(folder, setting, made[size:])]
    publish("scale", rows, arguments, settings)
    print_verdicts(rows)


def _completed(row: Row, setting: Setting, earlier: Sequence[Row]) -> Row:
    """Return a row with every column, its budget, and a rate as a share of that at the smallest size."""
    what = row["what"]
    completed: Row = {"budget": BUDGETED.get(str(what), ""), **row, "size": setting.size}
    if len(setting.memories) != FULL_SIZE:
        completed["budget"] = ""
    smallest = next((one["per s"] for one in earlier if one["what"] == what), None)
    if isinstance(smallest, float) and isinstance(rate := row.get("per s"), float):
        completed["of smallest"] = rate / smallest
    return {column: completed.get(column) for column in COLUMNS}


def _call_tool(server: Server, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    return server.call(f"mimir_{operation}", arguments)


def _call_method(memory: Memory, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401 - any result
    return getattr(memory, operation)(**arguments)


def _before_update(door: Door, memory: corpus.Memory) -> dict[str, Any]:
    """Return the arguments of as_of that ask for what a memory said before its update."""
    name = {field: memory[field] for field in ("category", "key", "workspace_hash")}
    history = door.call("history", name)
    newest = history["versions"][0] if isinstance(history, dict) else history.versions[0]
    closed = newest["invalidated_at_unix_ms"] if isinstance(newest, dict) else newest.invalidated_at_unix_ms
    return {**name, "as_of_unix_ms": closed - 1}


def _recall(cell: Cell, question: corpus.Question, past: Sequence[dict[str, Any]]) -> dict[str, Any]:
    arguments: dict[str, Any] = {"query": question.text, "mode": cell.mode, "limit": LIMIT}
    if cell.filter == "by category":
        arguments["category"] = question.category
    elif cell.filter == "as of":
        arguments["as_of_unix_ms"] = past[0]["as_of_unix_ms"]
    return arguments


def _timed_calls(door: Door, operation: str, calls: Sequence[dict[str, Any]]) -> Row:
    cpu = door.cpu_s()
    durations = timed(partial(door.call, operation, arguments) for arguments in calls)
    return {
        "door": door.name,
        **spread(durations),
        "cpu ms": _per_call(cpu, door.cpu_s(), len(calls)),
    }


def _per_call(before_s: float | None, after_s: float | None, calls: int) -> float | None:
    return None if before_s is None or after_s is None else 1000 * (after_s - before_s) / calls


def _disk(folder: Path, runs: int) -> Row:
    """Append blocks to a file as the write-ahead log does, each made durable."""
    with (folder / "blocks").open("wb", buffering=0) as file:

        def append() -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        durations = timed(append for _ in range(runs))
    return {"per s": 1000 * runs / sum(durations), **spread(durations)}


def _remove(store: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        store.with_name(store.name + suffix).unlink(missing_ok=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--sizes",
        type=lambda text: [int(size) for size in text.split(",")],
        default=[10_000, FULL_SIZE],
        metavar="N,N",
        help="numbers of memories",
    )
    parser.add_argument("--queries", type=int, default=200, metavar="N", help="calls per figure")
    parser.add_argument("--embed", choices=("real", "synthetic"), default="real")
    parser.add_argument("--sealed", action="store_true", help="measure a sealed store against a plain one")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where filled stores are kept")
    add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()

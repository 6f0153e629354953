"""Measure how well recall finds what answers a question: `python -m benchmarks.quality`.

Our own labelled set is measured, or those that `--data` and its neighbours name. Each set and mode
gives one row: R@k is the share of a question's gold memories among the first k, hit@1 how often the
first one is gold, MRR the mean of 1 / rank of the first gold memory (0 beyond the tenth), leaks the
share of questions with a forbidden memory (a superseded fact) that got it. `flagged` is the share
of answerable questions marked `low_relevance` (wrongly), `flagged_absent` that of questions about
foreign topics (rightly), ms the median time of one question. The mode `bm25` is a plain FTS5 index,
for comparison.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import apsw
from msgspec import Struct

from benchmarks.datasets import (
    OWN,
    Arguments,
    Collection,
    Dataset,
    Json,
    Question,
    identity,
    load,
    load_locomo,
    load_longmemeval,
)
from benchmarks.report import Row, add_options, publish
from mimir import Memory

Mode: TypeAlias = Literal["bm25", "fts5", "dense", "hybrid", "default"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
DEPTH: Final = 10

FUNCTION_WORDS: Final = frozenset(
    """
    a about am an and any are as at be been but by can could did do does for from get had has
    have he her him his how i if in into is it its may me might must my of on or our shall she
    should so that the their them then there these they this those to us was we were what when
    where which who whom whose why will with would you your
    """.split()  # noqa: SIM905 - read and changed as prose
)


class Outcome(Struct, frozen=True, kw_only=True):
    """What one question got: memories in order, the mark for being off topic, milliseconds."""

    question: Question
    found: tuple[str, ...]
    flagged: bool
    milliseconds: float

    @property
    def rank(self) -> int | None:
        """The place of the first gold memory, from 1."""
        return next((place for place, name in enumerate(self.found, 1) if name in self.question.gold), None)

    def recall(self, depth: int) -> float:
        """Return the share of the gold memories among the first `depth`."""
        return len(self.question.gold.intersection(self.found[:depth])) / len(self.question.gold)


def ask(collection: Collection, modes: Iterable[Mode]) -> Iterator[tuple[Mode, Outcome]]:
    """Store a collection in a new file of a temporary folder and ask its questions in each mode."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "quality.db")
        if set(modes) - {"bm25"}:
            with Memory.open(path) as memory:
                memory.remember_many(collection.memories)
                memory.embed_pending()
        for mode in modes:
            # Opened anew: a mode must not profit from the question vectors that another computed.
            with Memory.open(path) as memory:
                search = baseline(collection.memories) if mode == "bm25" else _recall(memory, mode)
                for question in collection.questions:
                    start = time.perf_counter()
                    found, flagged = search(question)
                    elapsed = 1000 * (time.perf_counter() - start)
                    yield (
                        mode,
                        Outcome(question=question, found=found, flagged=flagged, milliseconds=elapsed),
                    )


def baseline(memories: Iterable[Arguments]) -> Callable[[Question], tuple[tuple[str, ...], bool]]:
    """Index memories in plain FTS5: porter stems, OR of the content words, BM25.

    A later body replaces an earlier one of the same memory. Validity is not looked at.
    """
    index = apsw.Connection(":memory:")
    index.execute("CREATE VIRTUAL TABLE memory USING fts5(name UNINDEXED, text, tokenize='porter unicode61')")
    index.executemany(
        "INSERT INTO memory VALUES (?, ?)",
        {
            identity(memory): " ".join(
                (
                    memory["key"],
                    *texts(memory["body_json"]),
                    *memory.get("tags", ()),
                    memory.get("topic_path", ""),
                )
            )
            for memory in memories
        }.items(),
    )

    def search(question: Question) -> tuple[tuple[str, ...], bool]:
        words = dict.fromkeys(re.findall(r"\w+", question.text.lower()))
        match = " OR ".join(f'"{word}"' for word in [w for w in words if w not in FUNCTION_WORDS] or words)
        rows = index.execute(
            "SELECT name FROM memory WHERE memory MATCH ? ORDER BY rank, rowid LIMIT ?",
            (match, DEPTH),
        )
        return tuple(name for (name,) in rows), False

    return search


def summary(outcomes: Sequence[Outcome]) -> Row:
    """Average outcomes into the numbers of one row; what cannot be measured is None."""
    answerable = [outcome for outcome in outcomes if outcome.question.gold]
    absent = [outcome for outcome in outcomes if outcome.question.kind == "absent"]
    guarded = [outcome for outcome in outcomes if outcome.question.forbidden]
    return {
        "questions": len(answerable) or len(outcomes),
        **{f"R@{depth}": _mean(outcome.recall(depth) for outcome in answerable) for depth in (1, 5, 10)},
        "hit@1": _mean(outcome.rank == 1 for outcome in answerable),
        "MRR": _mean(1 / outcome.rank if outcome.rank else 0 for outcome in answerable),
        "leaks": _mean(not outcome.question.forbidden.isdisjoint(outcome.found) for outcome in guarded),
        "flagged": _mean(outcome.flagged for outcome in answerable),
        "flagged_absent": _mean(outcome.flagged for outcome in absent),
        "ms": statistics.median(outcome.milliseconds for outcome in outcomes),
    }


def measure(dataset: Dataset, modes: Sequence[Mode]) -> dict[Mode, list[Outcome]]:
    """Ask every question of a data set in every mode."""
    outcomes: dict[Mode, list[Outcome]] = {mode: [] for mode in modes}
    for collection in dataset.collections:
        for mode, outcome in ask(collection, modes):
            outcomes[mode].append(outcome)
    return outcomes


def by_kind(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Group outcomes by the kind of their question, in the order of first occurrence."""
    kinds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.question.kind, []).append(outcome)
    return kinds


def texts(body: Json) -> Iterator[str]:
    """Yield the values of a body in order, without its keys."""
    if isinstance(body, dict):
        body = list(body.values())
    if isinstance(body, list):
        for value in body:
            yield from texts(value)
    else:
        yield str(body)


def main() -> None:
    """Run the command."""
    arguments = _arguments()
    paths = arguments.data or ([] if arguments.longmemeval or arguments.locomo else [OWN])
    datasets = [dataset for path in paths for dataset in load(path)]
    datasets += [load_longmemeval(path, arguments.limit) for path in arguments.longmemeval]
    datasets += [load_locomo(path, arguments.limit) for path in arguments.locomo]
    modes = arguments.mode or MODES
    rows: list[Row] = []
    for dataset in datasets:
        for mode, outcomes in measure(dataset, modes).items():
            groups = {"all": outcomes, **(by_kind(outcomes) if arguments.kinds else {})}
            rows += [
                {"data": dataset.name, "mode": mode, "kind": kind, **summary(group)} for kind, group in groups.items()
            ]
            if arguments.misses:
                _print_misses(dataset.name, mode, outcomes)
    publish("quality", rows, arguments, {"limit": arguments.limit})


def _recall(memory: Memory, mode: Mode) -> Callable[[Question], tuple[tuple[str, ...], bool]]:
    def search(question: Question) -> tuple[tuple[str, ...], bool]:
        reply = memory.recall(
            question.text,
            limit=DEPTH,
            mode="" if mode == "default" else mode,
            reinforce=False,
            valid_at_unix_ms=question.valid_at_unix_ms,
        )
        if reply.pending:
            raise SystemExit(f"{reply.pending} passages have no vector: the figures would be too low.")
        return tuple(f"{hit.category}/{hit.key}" for hit in reply.items), reply.low_relevance is True

    return search


def _print_misses(dataset: str, mode: Mode, outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.question.gold and outcome.recall(5) < 1:
            print(f"{dataset} {mode} {outcome.question.id}: {outcome.question.text}")
            print(f"    wanted {', '.join(sorted(outcome.question.gold))}, first at {outcome.rank}")
            print(f"    got    {', '.join(outcome.found[:5])}")


def _mean(values: Iterable[float]) -> float | None:
    collected = list(values)
    return statistics.fmean(collected) if collected else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how well recall finds what answers a question.")
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        metavar="PATH",
        help="a data set or a folder of them; default: our own",
    )
    parser.add_argument(
        "--longmemeval",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a LongMemEval JSON file",
    )
    parser.add_argument("--locomo", type=Path, action="append", default=[], metavar="FILE", help="locomo10.json")
    parser.add_argument(
        "--limit",
        type=int,
        default=0,
        metavar="N",
        help="questions of LongMemEval, and of each LoCoMo conversation",
    )
    parser.add_argument("--mode", choices=MODES, action="append", help="repeatable; default: all")
    parser.add_argument("--kinds", action="store_true", help="one more row for each kind of question")
    parser.add_argument("--misses", action="store_true", help="print the questions whose answers the first 5 lack")
    add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Measure when a question is "not in memory": `python -m benchmarks.asking`.

Questions of every data set are asked of every store: those of its own set have an answer there or are labelled as
having none, those of other sets are foreign. Our own set is always used, and those that `--data` names. One row for
each pair of thresholds; a question is refused when the best cosine and the best share of its words both lie below.
`refused` is the share of answerable questions refused, `lost` of those whose answer was among the first five and would
have been shown; `absent`, `near` and `foreign` are the shares rightly refused: of questions about topics that the store
does not have, of such as fit its topics without an answer, and of questions of other sets. `removed` asks the
answerable questions again with their answers taken away. `used` marks the pair that Mimir uses.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.datasets import OWN, Collection, Dataset, Question, load
from benchmarks.report import Row, add_options, publish
from mimir import Memory
from mimir.model import Hit
from mimir.rules import fusion
from mimir.rules.query import parse_query

COSINES: Final = (0.20, 0.25, 0.27, 0.29, 0.31, 0.33, 0.36, 0.40)
COVERAGES: Final = (0.35, 0.5, 9.0)
DEPTH: Final = 60
SHOWN: Final = 5


class Asked(Struct, frozen=True, kw_only=True):
    """How one question fared in one store: how near the nearest memory is, and whether the first five answer it."""

    kind: str
    cosine: float
    coverage: float
    answered: bool

    def is_refused(self, cosine: float, coverage: float) -> bool:
        """Tell whether thresholds refuse the question."""
        return self.cosine < cosine and self.coverage < coverage


def measure(datasets: Sequence[Dataset]) -> list[Asked]:
    """Ask every question of every collection."""
    questions = [
        (dataset.name, question)
        for dataset in datasets
        for collection in dataset.collections
        for question in collection.questions
    ]
    return [
        asked
        for dataset in datasets
        for collection in dataset.collections
        for asked in _ask(collection, dataset.name, questions)
    ]


def summary(asked: Sequence[Asked]) -> list[Row]:
    """Return the shares of questions refused at each pair of thresholds."""
    return [
        {
            "used": "*" if (cosine, coverage) == (fusion.OFF_TOPIC_COSINE, fusion.OFF_TOPIC_COVERAGE) else "",
            "cosine": cosine,
            "coverage": coverage if coverage <= 1 else None,
            "refused": _share(asked, "answer", cosine, coverage),
            "lost": _share(asked, "answer", cosine, coverage, answered=True),
            **{kind: _share(asked, kind, cosine, coverage) for kind in ("absent", "near", "foreign", "removed")},
        }
        for coverage in COVERAGES
        for cosine in COSINES
    ]


def _ask(collection: Collection, name: str, questions: Sequence[tuple[str, Question]]) -> Iterator[Asked]:
    with tempfile.TemporaryDirectory() as folder, Memory.open(str(Path(folder) / "asking.db")) as memory:
        memory.remember_many(collection.memories)
        memory.embed_pending()
        for origin, question in questions:
            own = origin == name
            instant = question.valid_at_unix_ms if own else None
            hits = memory.recall(question.text, limit=DEPTH, reinforce=False, valid_at_unix_ms=instant).items
            whole = _whole(memory, question.text)
            gold = question.gold if own else frozenset()
            kind = "foreign" if not own else "answer" if gold else question.kind.replace("absent_near", "near")
            yield _asked(kind, hits, whole, gold)
            if gold:
                yield _asked("removed", [hit for hit in hits if _identity(hit) not in gold], whole, gold)


def _asked(kind: str, hits: Sequence[Hit], whole: float, gold: frozenset[str]) -> Asked:
    scores = [hit.scores for hit in hits if isinstance(hit.scores, dict)]
    return Asked(
        kind=kind,
        cosine=max((one.get("dense", 0.0) for one in scores), default=0.0),
        coverage=max((one.get("keyword", 0.0) for one in scores), default=0.0) / (whole or 1.0),
        answered=any(_identity(hit) in gold for hit in hits[:SHOWN]),
    )


def _whole(memory: Memory, text: str) -> float:
    with memory.store.reading():
        return fusion.whole_score(*memory.store.document_frequencies(parse_query(text).words))


def _share(
    asked: Sequence[Asked], kind: str, cosine: float, coverage: float, *, answered: bool = False
) -> float | None:
    of_kind = [one for one in asked if one.kind == kind]
    refused = [one for one in of_kind if one.is_refused(cosine, coverage) and (one.answered or not answered)]
    return len(refused) / len(of_kind) if of_kind else None


def _identity(hit: Hit) -> str:
    return f"{hit.category}/{hit.key}"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Measure when a question is not in memory.")
    parser.add_argument(
        "--data", type=Path, action="append", default=[], metavar="PATH", help="more data sets, or a folder of them"
    )
    add_options(parser)
    arguments = parser.parse_args()
    asked = measure([dataset for path in (OWN, *arguments.data) for dataset in load(path)])
    counts = {kind: sum(one.kind == kind for one in asked) for kind in dict.fromkeys(one.kind for one in asked)}
    publish("asking", summary(asked), arguments, {f"{kind} questions": count for kind, count in counts.items()})


if __name__ == "__main__":
    main()

"""Answers from memory: a question, the memories that fit it, and what a language model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import UNSET, Struct, UnsetType

from mimir.engine import Engine, text_of
from mimir.errors import InvalidInput, MimirError, NotFound
from mimir.llm import Prompt, open_llm
from mimir.model import Hit, Recalled
from mimir.operation import Doc, check_texts, operation
from mimir.operations.search import InWorkspace, make_filter
from mimir.retrieval import Request
from mimir.retrieval import recall as run_recall
from mimir.rules import answers

FAMILY: Final = "Search & Retrieval"

_MOST_SOURCES: Final = 20


class Source(Struct, frozen=True, kw_only=True):
    """A memory that the model was shown; `score` is its strength, `snippet` the passage that fits the question."""

    key: str
    category: str
    score: float
    snippet: str
    id: str


class Answer(Struct, frozen=True, kw_only=True):
    """A model's answer, and the memories it was shown in the order of their relevance.

    `citations` are the ids of those it cites; `unsupported` names what it cites beyond them, which is taken out of the
    answer. `in_memory` is false when memory does not hold the answer, with no sources when nothing was sent to the
    model. `degraded` says which kind of search could not run.
    """

    answer: str
    sources: tuple[Source, ...]
    citations: tuple[str, ...]
    in_memory: bool
    unsupported: tuple[str, ...] | UnsetType = UNSET
    degraded: str | UnsetType = UNSET


@operation(
    family=FAMILY,
    effect="read",
    title="Ask Question from Memories",
    profile="standard",
    idempotent=False,
    open_world=True,
    long=True,
    example={"query": "Which database did we choose?"},
)
def ask(
    engine: Engine,
    query: Annotated[str, Doc("The question.")],
    top_k: Annotated[int, Doc("Most memories to answer from.", 1, _MOST_SOURCES, clamp=True)] = 5,
    workspace_hash: InWorkspace = None,
) -> Answer:
    """Have the language model that the server is set up with answer a question from memories alone, citing their keys.

    The memories are sent to that model. Without one, or to judge for yourself, use mimir_recall.

    Raises:
        Unavailable: no model is set, or it does not answer.
        NotFound: no memory fits.
    """
    check_texts(query=query)
    model = open_llm(engine.settings, "mimir_ask")
    if not query.strip():
        raise InvalidInput("'query' is empty.", hint="Ask a question.")
    request = Request(
        query=query,
        filter=make_filter(engine, workspace_hash=workspace_hash),
        limit=min(max(top_k, 1), _MOST_SOURCES),
        reinforce=False,
    )
    found = run_recall(engine, request)
    if not found.items:
        raise NotFound(
            "Ask failed: No matching memories found for this question.", hint="Ask in other words, or remember more."
        )
    if found.low_relevance is True:
        return _answer(answers.NOT_IN_MEMORY, (), found)
    memories = _shown(found.items)
    mark = engine.clock.new_id("", 16)
    prompt = Prompt(answers.instructions(mark), answers.material(query, memories, engine.clock.now_ms(), mark))
    try:
        said = model.complete(prompt)
    except MimirError as error:
        raise type(error)(f"Ask failed: {error.message}", hint=error.hint) from None
    return _answer(said, memories, found)


def _shown(hits: Sequence[Hit]) -> list[answers.Shown]:
    """Return hits as the model is shown them, each with its share of the characters that fit."""
    share = answers.SHOWN_CHARACTERS // len(hits)
    names = answers.labels([(hit.key, hit.category, hit.id) for hit in hits])
    return [
        answers.Shown(
            label=label,
            names=(hit.id, f"{hit.category}/{hit.key}"),
            about=answers.about(
                hit.id, hit.category, hit.recorded_at_unix_ms, hit.valid_from_unix_ms, hit.valid_to_unix_ms
            ),
            text=answers.part_around(text_of(hit), hit.evidence, share),
        )
        for hit, label in zip(hits, names, strict=True)
    ]


def _answer(said: str, memories: Sequence[answers.Shown], found: Recalled) -> Answer:
    checked = answers.checked(said, memories)
    refused = answers.is_refusal(checked.answer)
    return Answer(
        answer=answers.NOT_IN_MEMORY if refused else checked.answer,
        sources=tuple(
            Source(key=hit.key, category=hit.category, score=hit.decay_score, snippet=hit.evidence, id=hit.id)
            for hit in found.items[: len(memories)]
        ),
        citations=tuple(found.items[place].id for place in checked.cited),
        in_memory=not refused,
        unsupported=checked.unsupported or UNSET,
        degraded=found.degraded,
    )

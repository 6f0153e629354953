"""Knowledge out of text: what it tells, in its own sentences."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Struct

from mimir.engine import Engine, text_of
from mimir.errors import InvalidInput, NotFound
from mimir.operation import Doc, check_texts, operation
from mimir.operations.entities import WorkspaceToFind
from mimir.recording import find_one
from mimir.rules.extract import Kind
from mimir.rules.extract import extract as extract_from

FAMILY: Final = "Search & Retrieval"


class Extracted(Struct, frozen=True, kw_only=True):
    """One thing that a text tells, in its own words."""

    kind: Kind
    text: str


class Extraction(Struct, frozen=True, kw_only=True):
    """What a text tells, in its order; `strategy` repeats the one that was asked for."""

    items: tuple[Extracted, ...]
    total: int
    strategy: str


@operation(
    family=FAMILY,
    effect="read",
    title="Extract Structured Knowledge",
    profile="standard",
    example={"text": "We decided to use SQLite. I prefer one file over a server. The port is 5432."},
)
def extract(
    engine: Engine,
    text: Annotated[str, Doc("What to read; empty: the memory that category and key name.", positional=True)] = "",
    category: Annotated[str | None, Doc("Category of the memory to read.")] = None,
    key: Annotated[str | None, Doc("Key of the memory to read.")] = None,
    strategy: Annotated[
        str, Doc("rule_based: fixed rules for English; none: nothing.", suggested=("rule_based", "none"))
    ] = "rule_based",
    workspace_hash: WorkspaceToFind = None,
) -> Extraction:
    """Pick the sentences of a text, or of a stored memory, that tell facts, preferences, episodes or events in time.

    It stores nothing: remember what is worth keeping. For lessons of a whole session use mimir_synthesize.

    Raises:
        InvalidInput: neither text nor category and key are given.
        NotFound: there is no such memory.
    """
    check_texts(text=text)
    if not text.strip():
        if not category or not key:
            raise InvalidInput(
                "extract requires `text`, or `category` + `key` of a stored entity", hint="Give one of the two."
            )
        with engine.store.reading():
            stored = find_one(engine, category, key, workspace_hash)
        if stored is None:
            raise NotFound(f"Entity not found: {category}/{key}", hint="Take both from an item of mimir_recall.")
        text = text_of(stored.entity)
    found = extract_from(text) if strategy == "rule_based" else []
    items = tuple(Extracted(kind=kind, text=sentence) for kind, sentence in found)
    return Extraction(items=items, total=len(items), strategy=strategy)

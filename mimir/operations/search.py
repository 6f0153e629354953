"""Search: recall by words and meaning, by layer, by situation; vectors; the block for a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mimir.engine import Engine
from mimir.errors import InvalidInput, NotFound, Unavailable
from mimir.model import Entity, Filter, Fusion, Recalled, lift
from mimir.operation import Doc, check_texts, operation
from mimir.progress import report
from mimir.recording import find_one
from mimir.retrieval import MAXIMUM_LIMIT, MAXIMUM_OFFSET, Request, as_hit
from mimir.retrieval import recall as run_recall
from mimir.rules.bounds import SHORTEST_REPLY, bounded
from mimir.rules.layers import canonical_layer
from mimir.rules.query import STOP_WORDS, parse_query
from mimir.rules.similarity import normalised
from mimir.rules.text import is_unsegmented

FAMILY: Final = "Search & Retrieval"

_TRIGGER_WORD_FROM: Final = 3
_TRIGGERS_READ: Final = 10_000

Query = Annotated[str, Doc("What to look for, in plain words; empty: the most used.")]
Limit = Annotated[int, Doc("Most items to return.", 0, MAXIMUM_LIMIT, clamp=True, aliases=("max_results",))]
InCategory = Annotated[str | None, Doc("Only this category.")]
InWorkspace = Annotated[str | None, Doc("Only this workspace; empty: global.")]
OfAgent = Annotated[str | None, Doc("Only of this agent.")]


class Embedded(Struct, frozen=True, kw_only=True):
    """How many entities got a vector, or passages of them when all are embedded; in batch mode what went wrong."""

    embedded: int
    id: str | UnsetType = UNSET
    dimensions: int | UnsetType = UNSET
    model: str | UnsetType = UNSET
    batch_category: str | UnsetType = UNSET
    errors: tuple[str, ...] | UnsetType = UNSET


@operation(
    family=FAMILY,
    effect="read",
    title="Recall Entities",
    profile="core",
    always_loaded=True,
    read_in_full=True,
    example={"query": "which database did we choose", "limit": 3},
)
def recall(
    engine: Engine,
    query: Query,
    category: InCategory = None,
    type: Annotated[str | None, Doc("Only this kind.")] = None,
    limit: Limit = 10,
    offset: Annotated[int, Doc("Items to skip.", 0, MAXIMUM_OFFSET, clamp=True)] = 0,
    min_decay: Annotated[float, Doc("Only at least this strong.", aliases=("min_decay_score",))] = 0.0,
    topic_path: Annotated[str | None, Doc("Only topic paths that begin so.")] = None,
    mode: Annotated[
        str,
        Doc(
            "fts5: words; dense: meaning; hybrid: both, the default with vectors.",
            suggested=("fts5", "dense", "hybrid"),
        ),
    ] = "",
    include_archived: Annotated[bool, Doc("Also archived and expired ones, marked.")] = False,
    include_confidence: Annotated[bool, Doc("Add a confidence to items.")] = False,
    expansion: Annotated[
        Mapping[str, Any] | None,
        Doc(
            "fts5 only: also try the words as beginnings.",
            properties=(
                ("enabled", {"type": "boolean", "default": False}),
                ("n_variants", {"type": "integer", "minimum": 0, "default": 1}),
            ),
        ),
    ] = None,
    preview_cap: Annotated[int | None, Doc("Cut bodies at this many characters.", 0, clamp=True)] = None,
    content_weight: Annotated[float, Doc("Lifts bodies that hold the whole query.", 0, 1)] = 0.0,
    trust_weight: Annotated[
        float | None,
        Doc("Weight of trust; left out: near-ties only.", 0, 1),
    ] = None,
    diversity_halving: Annotated[float, Doc("Below 1: fewer places per further query word.", 0, 1)] = 1.0,
    recency_half_life_secs: Annotated[
        float | None, Doc("Halve the score per this age in seconds.", 0, clamp=True)
    ] = None,
    workspace_hash: InWorkspace = None,
    agent_id: OfAgent = None,
    layer: Annotated[str | None, Doc("Only world, semantic or episodic.")] = None,
    always_on: Annotated[bool | None, Doc("Only pinned, or unpinned.")] = None,
    fusion: Annotated[Fusion, Doc("How hybrid joins its arms.")] = "score",
    as_of_unix_ms: Annotated[int | None, Doc("As the store stood at this instant.")] = None,
    valid_at_unix_ms: Annotated[int | None, Doc("Only facts that held at this instant.")] = None,
    reinforce: Annotated[bool, Doc("Strengthen what is returned.")] = True,
    max_chars: Annotated[int | None, Doc("Longest reply in characters.", SHORTEST_REPLY, clamp=True)] = None,
) -> Recalled:
    """Find memories by words and meaning; use it first when something may be known already.

    Items come best first; evidence is the passage that matched, low_relevance warns that nothing fits. For a prompt
    block use mimir_context, for an answer mimir_ask.

    Raises:
        Unavailable: mode dense, and no embedder works.
    """
    check_texts(query=query)
    expanded = expansion is not None and bool(expansion.get("enabled")) and mode == "fts5"
    timed = as_of_unix_ms is not None or valid_at_unix_ms is not None
    request = Request(
        query=query,
        filter=make_filter(
            engine,
            category=category,
            type=type,
            min_decay=min_decay,
            topic_path=topic_path,
            workspace_hash=workspace_hash,
            agent_id=agent_id,
            layer=layer,
            always_on=always_on,
            include_archived=include_archived,
            valid_now=not timed,
        ),
        limit=_bounded(limit),
        offset=min(max(offset, 0), MAXIMUM_OFFSET),
        mode=mode,
        fusion=fusion,
        expansion_variants=_variants(expansion) if expanded and expansion is not None else None,
        trust_weight=trust_weight,
        content_weight=content_weight,
        diversity_halving=diversity_halving,
        recency_half_life_secs=recency_half_life_secs,
        preview_cap=preview_cap,
        include_confidence=include_confidence,
        as_of_ms=as_of_unix_ms,
        valid_at_ms=valid_at_unix_ms,
        reinforce=reinforce,
    )
    recalled = run_recall(engine, request)
    return recalled if max_chars is None else _within(recalled, max(max_chars, SHORTEST_REPLY), request.offset)


@operation(
    family=FAMILY,
    effect="read",
    title="Recall by Layer",
    profile="standard",
    example={"layer": "world", "limit": 5},
)
def recall_layer(
    engine: Engine,
    layer: Annotated[
        str,
        Doc(
            "world: lasting; semantic: consolidated; episodic: recent.",
            suggested=("world", "episodic", "semantic"),
        ),
    ],
    limit: Limit = 10,
    workspace_hash: InWorkspace = None,
) -> Recalled:
    """List the most used memories of one layer; it changes nothing."""
    filter_ = make_filter(engine, layer=layer, workspace_hash=workspace_hash)
    return run_recall(engine, Request(query="", filter=filter_, limit=_bounded(limit), reinforce=False))


@operation(
    family=FAMILY,
    effect="read",
    title="Proactive Recall by Context",
    profile="standard",
    example={"context": "about to deploy the billing service", "limit": 3},
)
def recall_when(
    engine: Engine,
    context: Annotated[str, Doc("What is about to be done.")],
    limit: Annotated[int, Doc("Most items to return.", 0, 100, clamp=True)] = 10,
    workspace_hash: InWorkspace = None,
) -> Recalled:
    """Return memories that asked to be brought up in a situation: those whose recall_when names a word of it.

    Use it before starting a task; for a question use mimir_recall.
    """
    check_texts(context=context)
    words = [
        word
        for word in parse_query(context).words
        if word not in STOP_WORDS and (len(word) >= _TRIGGER_WORD_FROM or is_unsegmented(word))
    ]
    filter_ = make_filter(engine, workspace_hash=workspace_hash)
    with engine.store.reading():
        stored = engine.store.with_triggers(filter_, _TRIGGERS_READ) if words else ()
    now = engine.clock.now_ms()
    hits = [
        as_hit(one.entity, now, score=one.entity.decay_score, evidence=trigger)
        for one in stored
        if (trigger := _trigger(one.entity, words))
    ][: max(limit, 0)]
    return Recalled(
        items=tuple(hits), total=len(hits), mode="recall_when", arms={"triggers": len(stored)}, context=context
    )


@operation(
    family=FAMILY,
    effect="read",
    title="Semantic Search Entities",
    profile="standard",
    example={"query": "storage engine", "limit": 3},
)
def semantic_search(
    engine: Engine,
    query: Query,
    limit: Limit = 10,
    category: InCategory = None,
    workspace_hash: InWorkspace = None,
    agent_id: OfAgent = None,
) -> Recalled:
    """Find memories by meaning alone, in the order of cosine; mimir_recall, which joins words and meaning, is better.

    Raises:
        Unavailable: no embedder works.
    """
    filter_ = make_filter(engine, category=category, workspace_hash=workspace_hash, agent_id=agent_id)
    return run_recall(
        engine, Request(query=query, filter=filter_, limit=_bounded(limit), mode="dense", reinforce=False)
    )


@operation(
    family=FAMILY,
    effect="write",
    title="Generate Entity Embeddings",
    idempotent=True,
    long=True,
    example={"batch_category": "decision"},
)
def embed(
    engine: Engine,
    text: Annotated[str | None, Doc("Embed this in place of the body.")] = None,
    category: Annotated[str | None, Doc("Category of the one memory to embed.")] = None,
    key: Annotated[str | None, Doc("Key of the one memory to embed.")] = None,
    batch_category: Annotated[str | None, Doc("Embed what waits in this category; wins over the others.")] = None,
    batch_limit: Annotated[int, Doc("Most memories of a batch.", 0, clamp=True)] = 100,
    workspace_hash: Annotated[str | None, Doc("Workspace of the one memory.")] = None,
) -> Embedded:
    """Compute vectors now, for one memory or a batch; otherwise they follow each write by themselves.

    Raises:
        InvalidInput: neither batch_category nor category and key are given.
        NotFound: there is no such memory.
        Unavailable: no embedder works.
    """
    embedder = engine.require_embedder()
    if batch_category is not None:
        with engine.store.reading():
            filter_ = make_filter(engine, category=batch_category)
            numbers = engine.store.pending_in(filter_, max(batch_limit, 0))
        embedded = engine.embed_owners(numbers)
        return Embedded(embedded=embedded, batch_category=batch_category, errors=(), model=embedder.model_id)
    for name, value in (("category", category), ("key", key)):
        if not value:
            raise InvalidInput(f"{name} is required.", hint="Give category and key, or batch_category.")
    check_texts(text=text)
    with engine.store.reading():
        stored = find_one(engine, category or "", key or "", workspace_hash)
    if stored is None:
        raise NotFound(f"entity not found: {category}/{key}", hint="Take both from an item of mimir_recall.")
    engine.embed_owner(stored.number, text)
    return Embedded(embedded=1, id=stored.entity.id, dimensions=embedder.dimensions, model=embedder.model_id)


def embed_all(engine: Engine) -> Embedded:
    """Embed every passage that has no vector of the present model; what was done before it is stopped stays done.

    Raises:
        Unavailable: no embedder works, or it fails; the message says how far it came.
    """
    embedder = engine.require_embedder()
    model = engine.store.model_number(embedder.model_id, embedder.dimensions)
    with engine.writing():
        engine.store.make_foreign_pending(model)
    waiting, done = engine.store.count_pending(), 0
    try:
        while step := engine.embed_batch(leased=True):
            done += step
            report(done, max(waiting, done))
    except Unavailable as error:
        raise Unavailable(
            f"{error.message} Of {waiting} passages {done} were embedded; run the command again to go on.",
            hint=error.hint,
        ) from None
    return Embedded(embedded=done, dimensions=embedder.dimensions, model=embedder.model_id)


def _within(recalled: Recalled, most: int, offset: int) -> Recalled:
    """Return what was recalled with its texts cut, and items left out at the end, so that its JSON is short enough."""

    def size(plain: dict[str, Any]) -> int:
        return len(msgspec.json.encode({**plain, "items": [lift(item) for item in plain["items"]]}).decode())

    whole = msgspec.json.decode(msgspec.json.encode(recalled))
    kept = bounded(whole, most, size, offset)
    return recalled if kept is whole else msgspec.convert(kept, Recalled)


def make_filter(
    engine: Engine,
    *,
    category: str | None = None,
    type: str | None = None,
    min_decay: float = 0.0,
    topic_path: str | None = None,
    workspace_hash: str | None = None,
    agent_id: str | None = None,
    layer: str | None = None,
    always_on: bool | None = None,
    include_archived: bool = False,
    valid_now: bool = True,
) -> Filter:
    """Return the filter of a read: the caller's words, its identity, what holds now, categories kept out by default.

    An empty category, type, topic path or layer does not filter; an empty workspace is the global one.

    Raises:
        InvalidInput: a text is not valid Unicode.
    """
    check_texts(
        category=category,
        type=type,
        topic_path=topic_path,
        workspace_hash=workspace_hash,
        agent_id=agent_id,
        layer=layer,
    )
    return Filter(
        category=category or None,
        excluded_categories=() if category else engine.settings.excluded,
        type=type or None,
        workspace_hash=workspace_hash,
        agent_id=agent_id,
        layer=canonical_layer(layer) if layer else None,
        topic_path=topic_path or None,
        min_decay=min_decay,
        always_on=always_on,
        include_archived=include_archived,
        caller=engine.settings.agent_id,
        valid_at=engine.clock.now_ms() if valid_now and not include_archived else None,
    )


def _bounded(limit: int) -> int:
    return min(max(limit, 0), MAXIMUM_LIMIT)


def _variants(expansion: Mapping[str, Any]) -> int:
    wanted = expansion.get("n_variants", 1)
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
        raise InvalidInput(f"'expansion.n_variants' is {wanted!r}.", hint="Give a whole number from 0.")
    return wanted


def _trigger(entity: Entity, words: Sequence[str]) -> str:
    """Return the first of an entity's recall_when texts in which one of the words begins a word, or nothing."""
    try:
        body = msgspec.json.decode(entity.body_json)
    except msgspec.DecodeError:
        return ""
    triggers = body.get("recall_when") if isinstance(body, dict) else None
    for trigger in triggers if isinstance(triggers, list) else ():
        if isinstance(trigger, str):
            spoken = normalised(trigger)
            if any(word in spoken for word in words):
                return trigger
    return ""

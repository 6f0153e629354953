"""The one recall pipeline: both arms, fusion, neighbours, order, evidence, touch.

Every door that ranks memories goes through `recall`. Filters hold on each arm; what could not run is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET, Struct

from mimir.engine import text_of
from mimir.errors import InvalidInput
from mimir.model import Candidate, Entity, Filter, Hit, Recalled, Stored, Version
from mimir.rules import fusion
from mimir.rules.layers import DAY_MS
from mimir.rules.query import Query, parse_query, without_common
from mimir.rules.time import in_force

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mimir.engine import Engine

DRAIN_S: Final = 1.0
"""Longest time that a recall spends on embedding what was just written, in seconds."""

MAXIMUM_LIMIT: Final = 1_000
MAXIMUM_OFFSET: Final = 10_000
EVIDENCE_CHARACTERS: Final = 600

_PREFIX_SHARE: Final = 0.5
_FAR_FUTURE_MS: Final = 1 << 62


class Request(Struct, frozen=True, kw_only=True):
    """What a recall asks for; fields as the parameters of mimir_recall. A weight of None only settles near-ties."""

    query: str
    filter: Filter
    limit: int = 10
    offset: int = 0
    mode: str = ""
    fusion: str = "score"
    expansion_variants: int | None = None
    trust_weight: float | None = None
    content_weight: float = 0.0
    diversity_halving: float = 1.0
    recency_half_life_secs: float | None = None
    preview_cap: int | None = None
    include_confidence: bool = False
    as_of_ms: int | None = None
    valid_at_ms: int | None = None
    reinforce: bool = True


class Found(Struct, frozen=True, kw_only=True):
    """A candidate in full: the entity, or the version of it that was in force."""

    entity: Entity
    version: Version | None = None

    @property
    def id(self) -> str:
        """Return the id of the entity."""
        return self.entity.id


class Arms(Struct, kw_only=True):
    """What the arms found: per owner the corrected score, the best passage and the raw score."""

    keyword: dict[int, float] = msgspec.field(default_factory=dict)
    cosine: dict[int, float] = msgspec.field(default_factory=dict)
    passages: dict[int, int] = msgspec.field(default_factory=dict)
    raw: dict[int, dict[str, float]] = msgspec.field(default_factory=dict)
    whole: float = 0.0
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    notes: list[str] = msgspec.field(default_factory=list)

    def take(self, name: str, candidates: Iterable[Candidate]) -> None:
        """Add one arm's candidates, keeping the best passage of each owner; the first arm's passage is the evidence."""
        into = self.keyword if name == "keyword" else self.cosine
        correct = fusion.corrected_keyword if name == "keyword" else fusion.corrected_cosine
        for candidate in candidates:
            score = correct(candidate.score, candidate.passages)
            owner = candidate.owner
            if score > into.get(owner, -math.inf):
                into[owner] = score
                self.raw.setdefault(owner, {})[name] = round(candidate.score, 4)
                if name == "dense" or owner not in self.passages:
                    self.passages[owner] = candidate.passage


def recall(engine: Engine, request: Request) -> Recalled:
    """Answer a request: the best memories that pass its filter, in a fixed order.

    The score is the fused relevance 0..1 (see `mimir.rules.fusion`) plus what the caller's weights add. An exact match
    of the key comes first; ties go by id. With an empty query the most used memories come first.

    Raises:
        InvalidInput: expansion was asked for without a word to expand.
        Unavailable: mode dense, and there is no embedder.
    """
    query = parse_query(request.query)
    if not query.exact:
        if request.expansion_variants is not None:
            raise InvalidInput("Query expansion requires at least one token.", hint="Give a query.")
        return _browse(engine, request)
    mode, degraded = _resolve_mode(engine, request)
    pool = fusion.pool_size(request.limit + request.offset)
    vector = pending = None
    if mode != "fts5":
        pending = _drain(engine)
        vector = engine.require_embedder().embed([query.exact])[0]
    with engine.store.reading():
        arms = _run_arms(engine, request, query, vector, mode, pool)
        found = _load(engine, request, arms)
        exact = _exact_keys(engine, request, query, found)
        scores = _scores(engine, request, arms, found, exact, query)
        order = sorted(found, key=lambda owner: (owner not in exact, -scores[owner], found[owner].id, owner))
        if 0.0 < request.diversity_halving < 1.0:
            order = _diversified(order, found, query, request.limit, request.diversity_halving)
        page = order[request.offset : request.offset + request.limit]
        evidence = engine.passage_texts([arms.passages[owner] for owner in page if owner in arms.passages])
    if request.reinforce and request.as_of_ms is None:
        engine.note_uses([owner for owner in page if owner > 0])
    hits = _hits(engine, request, page, found, scores, arms, evidence)
    best = max((raw["dense"] for raw in arms.raw.values() if "dense" in raw), default=None)
    notes = [degraded, *arms.notes]
    return Recalled(
        items=hits,
        total=len(hits),
        mode=mode,
        arms=arms.counts,
        pending=pending or UNSET,
        degraded="; ".join(note for note in notes if note) or UNSET,
        low_relevance=True if best is not None and best < fusion.LOW_RELEVANCE_COSINE and not exact else UNSET,
        variants=UNSET if request.expansion_variants is None else 1 + min(1, request.expansion_variants),
    )


def _resolve_mode(engine: Engine, request: Request) -> tuple[str, str]:
    asked = request.mode
    if asked == "dense":
        engine.require_embedder()
        return "dense", ""
    if asked not in ("", "hybrid"):
        return "fts5", ""
    if engine.embedder is None:
        return "fts5", f"keyword recall only: {engine.no_embedder}"
    if asked == "" and not (engine.store.has_pending() or engine.store.has_vectors(engine.embedder.model_id)):
        return "fts5", ""
    return "hybrid", ""


def _drain(engine: Engine) -> int:
    if not engine.store.has_pending() or engine.settings.read_only:
        return engine.store.count_pending()
    engine.embed_pending(DRAIN_S)
    return engine.store.count_pending()


def _run_arms(
    engine: Engine,
    request: Request,
    query: Query,
    vector: NDArray[np.float32] | None,
    mode: str,
    pool: int,
) -> Arms:
    arms = Arms()
    store = engine.store
    filter_ = _arm_filter(request)
    if mode != "dense":
        _run_keyword(engine, request, query, filter_, pool, arms, dense=vector is not None)
        arms.counts["keyword"] = len(arms.keyword)
    if vector is not None:
        embedder = engine.require_embedder()
        model = store.model_number(embedder.model_id, embedder.dimensions)
        arms.take("dense", store.nearest(model, vector, filter_, pool))
        arms.counts["dense"] = len(arms.cosine)
        # What only the keyword arm found has a cosine too; without it, fusion would take it for unrelated.
        missing = [owner for owner in arms.keyword if owner not in arms.cosine]
        arms.take("dense", store.cosines(model, vector, missing))
    return arms


def _run_keyword(
    engine: Engine, request: Request, query: Query, filter_: Filter, pool: int, arms: Arms, *, dense: bool
) -> None:
    store = engine.store
    frequencies, total = store.document_frequencies(query.words)
    arms.whole = fusion.whole_score(frequencies, total)
    telling = without_common(query, frequencies, total)
    found, complete = store.match_text(telling, filter_, pool)
    arms.take("keyword", found)
    if not complete:
        arms.notes.append("very common words: the newest matches were ranked")
    if filter_.include_archived:
        arms.take("keyword", store.match_past(telling, filter_, pool))
    page = request.limit + request.offset
    if len(arms.keyword) < page or request.expansion_variants:
        # A word's beginning counts less than the word: below every whole-word match.
        least = min(arms.keyword.values(), default=1.0)
        begun, _ = store.match_text(telling, filter_, pool, prefix=True)
        begun = [candidate for candidate in begun if candidate.owner not in arms.keyword]
        most = max((candidate.score for candidate in begun), default=1.0) or 1.0
        arms.take(
            "keyword",
            [msgspec.structs.replace(one, score=_PREFIX_SHARE * least * one.score / most) for one in begun],
        )
    # Beside the dense arm a chance substring ("hot" in "photo") would outweigh meaning; a number rarely is chance.
    parts = [word for word in query.words if not dense or any(map(str.isdigit, word))]
    if not arms.keyword and parts:
        for owner in store.match_substring(parts, filter_, pool):
            arms.keyword[owner] = 1.0
            arms.raw.setdefault(owner, {})["keyword"] = 0.0


def _arm_filter(request: Request) -> Filter:
    if request.as_of_ms is None and request.valid_at_ms is None:
        return request.filter
    # Another instant is asked for: everything that ever was competes, and what was in force then is kept.
    return msgspec.structs.replace(request.filter, include_archived=True, past_versions=True, valid_at=None)


def _load(engine: Engine, request: Request, arms: Arms) -> dict[int, Found]:
    """Load the owners that the arms found and, of sequences, those beside them; drop what was not in force."""
    store = engine.store
    owners = set(arms.keyword) | set(arms.cosine)
    if request.as_of_ms is not None or request.valid_at_ms is not None:
        return _in_force(engine, request, owners)
    return {number: Found(entity=stored.entity) for number, stored in store.load(owners).items()}


def _in_force(engine: Engine, request: Request, owners: Iterable[int]) -> dict[int, Found]:
    store = engine.store
    listed = list(owners)
    current = store.load([owner for owner in listed if owner > 0])
    past = store.load_versions([-owner for owner in listed if owner < 0])
    for number in {number for number, _ in past.values()} - current.keys():
        current.update(store.load([number]))
    kept: dict[int, Found] = {}
    for number, stored in current.items():
        believed = believed_at(engine, stored, request.as_of_ms, request.valid_at_ms)
        if believed is None or _left_by(stored, request):
            continue
        if isinstance(believed, Entity):
            if number in listed:
                kept[number] = Found(entity=believed)
            continue
        for version_number, (owner, version) in past.items():
            if owner == number and version.version_id == believed.version_id:
                kept[-version_number] = Found(entity=believed.entity, version=believed)
    return kept


def believed_at(
    engine: Engine, stored: Stored, as_of_ms: int | None, valid_at_ms: int | None
) -> Entity | Version | None:
    """Return what was believed about an entity at an instant; see `mimir.rules.time.in_force`."""
    versions = engine.store.versions(stored.number)
    as_of = _FAR_FUTURE_MS if as_of_ms is None else as_of_ms
    return in_force(stored.entity, versions, as_of, valid_at_ms)


def _left_by(stored: Stored, request: Request) -> bool:
    if request.filter.include_archived or stored.archived_at_unix_ms is None:
        return False
    return request.as_of_ms is None or stored.archived_at_unix_ms <= request.as_of_ms


def _exact_keys(engine: Engine, request: Request, query: Query, found: dict[int, Found]) -> set[int]:
    filter_ = _arm_filter(request)
    numbers = engine.store.with_key(query.exact, filter_, request.limit + request.offset)
    if request.as_of_ms is None and request.valid_at_ms is None:
        missing = [number for number in numbers if number not in found]
        found.update((number, Found(entity=stored.entity)) for number, stored in engine.store.load(missing).items())
    return {number for number in numbers if number in found}


def _scores(
    engine: Engine,
    request: Request,
    arms: Arms,
    found: dict[int, Found],
    exact: set[int],
    query: Query,
) -> dict[int, float]:
    keyword = {owner: score for owner, score in arms.keyword.items() if owner in found}
    cosine = {owner: score for owner, score in arms.cosine.items() if owner in found}
    if request.fusion == "rrf":
        fused = fusion.fuse_ranks(keyword, cosine)
    else:
        fused = fusion.fuse_scores(keyword, cosine, arms.whole)
    relevance = _with_neighbours(engine, request, fused, found)
    now = engine.clock.now_ms()
    scores: dict[int, float] = {}
    for owner, one in found.items():
        entity = one.entity
        score = relevance.get(owner, 1.0 if owner in exact else 0.0)
        score *= fusion.recency_factor(now - entity.created_at_unix_ms, request.recency_half_life_secs)
        trust = fusion.trust(entity.certainty, verified=entity.verified)
        trust_weight = fusion.NEAR_TIE if request.trust_weight is None else request.trust_weight
        score += trust_weight * trust + fusion.NEAR_TIE / 2 * entity.decay_score
        if request.content_weight > 0:
            score += fusion.content_boost(text_of(entity), query.exact, request.content_weight)
        scores[owner] = round(score, 6)
    return scores


def _with_neighbours(
    engine: Engine, request: Request, relevance: dict[int, float], found: dict[int, Found]
) -> dict[int, float]:
    """Let the members of sequences lend to those beside them, which join if they pass the filter."""
    store = engine.store
    beside: dict[int, tuple[int, ...]] = {}
    for owner, one in found.items():
        if owner > 0 and one.entity.topic_path and one.version is None:
            beside[owner] = store.neighbours(owner, one.entity.topic_path, one.entity.workspace_hash)
    if not beside:
        return relevance
    known = set(found)
    if request.as_of_ms is None and request.valid_at_ms is None:
        strangers = {number for pair in beside.values() for number in pair} - known
        passing = store.passing(request.filter, strangers)
        found.update((number, Found(entity=stored.entity)) for number, stored in store.load(passing).items())
    allowed = {owner: tuple(number for number in pair if number in found) for owner, pair in beside.items()}
    return fusion.lend_to_neighbours(relevance, allowed)


def _diversified(
    order: Sequence[int], found: Mapping[int, Found], query: Query, limit: int, halving: float
) -> list[int]:
    texts = {owner: text_of(found[owner].entity).lower() for owner in order}
    booked = [
        next((word for word in query.words if len(word) >= 3 and word in texts[owner]), "")  # noqa: PLR2004
        for owner in order
    ]
    return [order[place] for place in fusion.diversified(booked, limit, halving)]


def _hits(
    engine: Engine,
    request: Request,
    page: Sequence[int],
    found: Mapping[int, Found],
    scores: Mapping[int, float],
    arms: Arms,
    evidence: Mapping[int, str],
) -> tuple[Hit, ...]:
    now = engine.clock.now_ms()
    hits = []
    for place, owner in enumerate(page):
        entity, version = found[owner].entity, found[owner].version
        text = evidence.get(arms.passages.get(owner, 0))
        hit = as_hit(
            entity,
            now,
            score=scores[owner],
            evidence=text_of(entity) if text is None else text,
            scores=arms.raw.get(owner, {}),
            preview_cap=request.preview_cap,
        )
        if request.include_confidence:
            trust = fusion.trust(entity.certainty, verified=entity.verified)
            confidence = fusion.confidence(place, len(page), trust, entity.decay_score)
            hit = msgspec.structs.replace(hit, confidence=confidence)
        if version is not None:
            hit = msgspec.structs.replace(
                hit,
                version_id=version.version_id,
                invalidated_at_unix_ms=version.invalidated_at_unix_ms,
            )
        hits.append(hit)
    return tuple(hits)


def as_hit(
    entity: Entity,
    now_ms: int,
    *,
    score: float,
    evidence: str,
    scores: dict[str, float] | None = None,
    preview_cap: int | None = None,
) -> Hit:
    """Return an entity as a hit, its body cut at ``preview_cap`` characters with a pointer to the whole."""
    fields = {name: getattr(entity, name) for name in Entity.__struct_fields__}
    body = entity.body_json
    if preview_cap is not None and len(body) > preview_cap:
        fields["body_json"] = (
            f"{body[:preview_cap]}\n--truncated ({len(body) - preview_cap} more chars)--"
            f' full body: get_entity("{entity.id}")'
        )
    return Hit(
        **fields,
        score=score,
        evidence=evidence[:EVIDENCE_CHARACTERS],
        age_days=round(max(0, now_ms - entity.recorded_at_unix_ms) / DAY_MS, 1),
        scores=UNSET if scores is None else scores,
    )


def _browse(engine: Engine, request: Request) -> Recalled:
    now = engine.clock.now_ms()
    with engine.store.reading():
        if request.as_of_ms is None and request.valid_at_ms is None:
            found = engine.store.browse(request.filter, request.limit, request.offset)
            page = {stored.number: Found(entity=stored.entity) for stored in found}
        else:
            page = _browse_past(engine, request)
    if request.reinforce and request.as_of_ms is None:
        engine.note_uses([owner for owner in page if owner > 0])
    hits = [
        as_hit(
            one.entity,
            now,
            score=0.0,
            evidence=text_of(one.entity),
            preview_cap=request.preview_cap,
        )
        for one in page.values()
    ]
    return Recalled(items=tuple(hits), total=len(hits), mode="browse", arms={"browse": len(hits)})


def _browse_past(engine: Engine, request: Request) -> dict[int, Found]:
    """Return a page of what was in force at another instant, in the order of the entities' first recording."""
    page: dict[int, Found] = {}
    seen = 0
    for batch in engine.store.scan(_arm_filter(request)):
        for stored in batch:
            believed = believed_at(engine, stored, request.as_of_ms, request.valid_at_ms)
            if believed is None or _left_by(stored, request):
                continue
            seen += 1
            if seen > request.offset:
                entity = believed if isinstance(believed, Entity) else believed.entity
                page[stored.number] = Found(entity=entity)
            if len(page) == request.limit:
                return page
    return page

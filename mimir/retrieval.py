"""The one recall pipeline: both arms, fusion, neighbours, order, evidence, touch.

Every door that ranks memories goes through `recall`. Filters hold on each arm; what could not run is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET, Struct

from mimir.engine import text_of
from mimir.errors import Busy, InvalidInput, StorageFailure, Unavailable
from mimir.model import (
    RETIRED_STATUSES,
    Candidate,
    Entity,
    Filter,
    Hit,
    Recalled,
    Stored,
    Traits,
    Version,
    is_readable,
    passes,
)
from mimir.rules import fusion
from mimir.rules.layers import DAY_MS
from mimir.rules.query import Query, parse_query, without_common
from mimir.rules.time import in_force, was_archived

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mimir.engine import Engine

DRAIN_S: Final = 1.0
"""Longest time that a recall spends on embedding what was just written, in seconds."""

MAXIMUM_LIMIT: Final = 1_000
MAXIMUM_OFFSET: Final = 10_000
EVIDENCE_CHARACTERS: Final = 600

_FOREIGN_VECTORS: Final = (
    "some memories have vectors of another model and are found by their words only;"
    " mimir embed --all has their vectors made anew"
)
_PREFIX_SHARE: Final = 0.5
_BOOKED_FROM: Final = 3
_LONGEST_SUBSTRING: Final = 1_000
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


class Arms(Struct, kw_only=True):
    """What the arms found: per owner the corrected score, the best passage and the raw score.

    ``whole`` is about the keyword score of a passage that holds the whole query, ``best_keyword`` the best there is.
    """

    keyword: dict[int, float] = msgspec.field(default_factory=dict)
    cosine: dict[int, float] = msgspec.field(default_factory=dict)
    passages: dict[int, int] = msgspec.field(default_factory=dict)
    raw: dict[int, dict[str, float]] = msgspec.field(default_factory=dict)
    whole: float = 0.0
    best_keyword: float = 0.0
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    notes: dict[str, None] = msgspec.field(default_factory=dict)

    def take(self, name: str, candidates: Iterable[Candidate]) -> None:
        """Add one arm's candidates, keeping the best passage of each owner; the dense arm's is the evidence."""
        into = self.keyword if name == "keyword" else self.cosine
        correct = fusion.corrected_keyword if name == "keyword" else fusion.corrected_cosine
        for candidate in candidates:
            if name == "keyword":
                self.best_keyword = max(self.best_keyword, candidate.score)
            score = correct(candidate.score, candidate.passages)
            owner = candidate.owner
            if score > into.get(owner, -math.inf):
                into[owner] = score
                self.raw.setdefault(owner, {})[name] = round(candidate.score, 4)
                if name == "dense" or owner not in self.passages:
                    self.passages[owner] = candidate.passage

    def rename(self, owners: Mapping[int, int]) -> None:
        """Keep only the given owners, under new numbers; of two that become one the better counts."""
        for into in (self.keyword, self.cosine):
            found = sorted(((owners[owner], score) for owner, score in into.items() if owner in owners))
            into.clear()
            into.update(found)
        for kept in (self.passages, self.raw):
            renamed = {owners[owner]: value for owner, value in kept.items() if owner in owners}
            kept.clear()
            kept.update(renamed)  # type: ignore[arg-type]  # each keeps its own kind of value


class Ranking(Struct, kw_only=True):
    """An ordered list of entities by number, with all that is needed to show a page of it."""

    order: list[int] = msgspec.field(default_factory=list)
    scores: dict[int, float] = msgspec.field(default_factory=dict)
    passages: dict[int, int] = msgspec.field(default_factory=dict)
    raw: dict[int, dict[str, float]] = msgspec.field(default_factory=dict)
    believed: dict[int, Entity | Version] = msgspec.field(default_factory=dict)
    exact: set[int] = msgspec.field(default_factory=set)
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    notes: dict[str, None] = msgspec.field(default_factory=dict)
    off_topic: bool = False


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
    vector, pending, foreign = None, 0, False
    try:
        mode, degraded, foreign = _resolve_mode(engine, request)
        if mode != "fts5":
            # The question first: an embedder that cannot answer it is not asked for what waits.
            vector = engine.require_embedder().embed([query.exact])[0]
            pending = _drain(engine)
    except Unavailable as error:
        if request.mode == "dense":
            raise
        mode, degraded = "fts5", f"keyword recall only: {error.message}"
    with engine.store.reading():
        ranking = _ranked(engine, request, query, vector, mode)
        page = ranking.order[request.offset : request.offset + request.limit]
        entities = _entities(engine, ranking, page)
        evidence = engine.passage_texts([ranking.passages[number] for number in page if number in ranking.passages])
    if request.reinforce and not _is_timed(request):
        engine.note_uses(page)
    hits = _hits(engine, request, ranking, page, entities, evidence)
    # The thresholds are those of the bundled model; with only a part of the vectors, nothing can be said either.
    off_topic = ranking.off_topic and engine.has_bundled_scale and not foreign
    return Recalled(
        items=hits,
        total=len(hits),
        mode=mode,
        arms=ranking.counts,
        pending=pending or UNSET,
        degraded="; ".join(note for note in (degraded, *ranking.notes) if note) or UNSET,
        low_relevance=True if off_topic and not ranking.exact else UNSET,
        variants=UNSET if request.expansion_variants is None else 1 + min(1, request.expansion_variants),
    )


def _ranked(engine: Engine, request: Request, query: Query, vector: NDArray[np.float32] | None, mode: str) -> Ranking:
    """Rank at least as many as the page needs.

    What the first pool finds keeps its order whatever comes behind it, so that the pages of one list never overlap.
    """
    needed = request.limit + request.offset
    pool = fusion.FIRST_POOL
    ranking = _rank_pool(engine, request, query, vector, mode, pool)
    while len(ranking.order) < needed and max(ranking.counts.values(), default=0) >= pool:
        pool *= fusion.POOL_GROWTH
        deeper = _rank_pool(engine, request, query, vector, mode, pool)
        ranking.order += [number for number in deeper.order if number not in ranking.scores]
        ranking.counts = deeper.counts
        for name in ("scores", "passages", "raw", "believed"):
            setattr(ranking, name, {**getattr(deeper, name), **getattr(ranking, name)})
    if 0.0 < request.diversity_halving < 1.0:
        ranking.order = _diversified(engine, ranking, query, request)
    return ranking


def _rank_pool(
    engine: Engine,
    request: Request,
    query: Query,
    vector: NDArray[np.float32] | None,
    mode: str,
    pool: int,
) -> Ranking:
    arms = _run_arms(engine, request, query, vector, mode, pool)
    best_cosine = max((raw["dense"] for raw in arms.raw.values() if "dense" in raw), default=None)
    believed: dict[int, Entity | Version] = {}
    if _is_timed(request):
        believed = _believed(engine, request, arms)
        traits = {number: _traits(_entity_of(one)) for number, one in believed.items()}
        exact = {number for number, one in believed.items() if _entity_of(one).key == query.exact}
    else:
        numbers = engine.store.with_key(query.exact, request.filter, pool)
        traits = engine.store.traits({*arms.keyword, *arms.cosine, *numbers})
        exact = set(numbers) & traits.keys()
    scores = _scores(engine, request, query, arms, traits, exact)
    return Ranking(
        order=sorted(scores, key=lambda number: (number not in exact, -scores[number], traits[number].id)),
        scores=scores,
        passages=arms.passages,
        raw=arms.raw,
        believed=believed,
        exact=exact,
        counts=arms.counts,
        notes=arms.notes,
        off_topic=fusion.is_off_topic(best_cosine, arms.best_keyword / (arms.whole or 1.0)),
    )


def _resolve_mode(engine: Engine, request: Request) -> tuple[str, str, bool]:
    """Return the mode, what it lacks in words, and whether some vectors are of another model.

    Raises:
        Unavailable: mode dense, and there is no embedder; or it cannot be reached to tell which vectors are its own.
    """
    asked = request.mode
    if asked not in ("", "hybrid", "dense"):
        return "fts5", "", False
    if engine.embedder is None and asked != "dense":
        return "fts5", f"keyword recall only: {engine.no_embedder}", False
    model = engine.require_embedder().model_id
    foreign = engine.store.has_vectors_beside(model)
    note = _FOREIGN_VECTORS if foreign else ""
    if asked or engine.store.has_pending() or engine.store.has_vectors(model):
        return asked or "hybrid", note, foreign
    return "fts5", note, foreign


def _drain(engine: Engine) -> int:
    if not engine.store.has_pending() or engine.settings.read_only:
        return engine.store.count_pending()
    # A store that cannot be written now, or an embedder that fails now, does not keep what there is from being
    # searched; what waits goes on waiting.
    with suppress(Busy, StorageFailure, Unavailable):
        engine.embed_pending(DRAIN_S)
    left = engine.store.count_pending()
    if left:
        engine.note_pending()
    return left


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
        model = store.known_model(engine.require_embedder().model_id)
        if model is not None:
            arms.take("dense", store.nearest(model, vector, filter_, pool))
        arms.counts["dense"] = len(arms.cosine)
        # What only the keyword arm found has a cosine too; without it, fusion would take it for unrelated.
        missing = [owner for owner in arms.keyword if owner not in arms.cosine]
        if model is not None:
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
        arms.notes["very common words: the newest matches were ranked"] = None
    if filter_.include_archived:
        arms.take("keyword", store.match_past(telling, filter_, pool))
    # Whether beginnings count must not depend on the page, or its order would differ from that of the page before.
    if len(arms.keyword) < pool or request.expansion_variants:
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
    parts = [
        word for word in query.words if len(word) <= _LONGEST_SUBSTRING and (not dense or any(map(str.isdigit, word)))
    ]
    if not arms.keyword and parts:
        for owner in store.match_substring(parts, filter_, pool):
            arms.keyword[owner] = 1.0
            arms.raw.setdefault(owner, {})["keyword"] = 0.0


def _is_timed(request: Request) -> bool:
    return request.as_of_ms is not None or request.valid_at_ms is not None


def _arm_filter(request: Request) -> Filter:
    if not _is_timed(request):
        return request.filter
    # Another instant is asked for: everything that ever was competes, by what never changes; the rest of the filter is
    # put to what was in force then.
    return Filter(
        category=request.filter.category,
        excluded_categories=request.filter.excluded_categories,
        workspace_hash=request.filter.workspace_hash,
        include_archived=True,
        past_versions=True,
        every_caller=True,
    )


def _believed(engine: Engine, request: Request, arms: Arms) -> dict[int, Entity | Version]:
    """Return what was believed of each entity that the arms found, and let the arms speak of entities only.

    An arm's find counts when its text is the text that was believed: a version that closed without a change of text
    has none of its own.
    """
    store = engine.store
    owners = arms.keyword.keys() | arms.cosine.keys()
    past = store.load_versions([-owner for owner in owners if owner < 0])
    current = store.load({owner for owner in owners if owner > 0} | {number for number, _ in past.values()})
    bodies = {number: stored.entity.body_json for number, stored in current.items()}
    bodies.update((-number, version.entity.body_json) for number, (_, version) in past.items())
    believed: dict[int, Entity | Version] = {}
    for number, stored in current.items():
        one = _believed_then(engine, request, stored)
        if one is not None:
            believed[number] = one
    entity_of_owner = {owner: owner if owner > 0 else past[-owner][0] for owner in bodies}
    arms.rename(
        {
            owner: number
            for owner, number in entity_of_owner.items()
            if number in believed and bodies[owner] == _entity_of(believed[number]).body_json
        }
    )
    found = arms.keyword.keys() | arms.cosine.keys()
    return {number: one for number, one in believed.items() if number in found}


def _believed_then(engine: Engine, request: Request, stored: Stored) -> Entity | Version | None:
    """Return what was in force of an entity at the instant of a request, if it passes the request's filter."""
    # Who may read it is decided now: what became private is so for all its past.
    if not is_readable(stored.entity, request.filter.caller):
        return None
    versions = engine.store.versions(stored.number)
    as_of = _FAR_FUTURE_MS if request.as_of_ms is None else request.as_of_ms
    one = in_force(stored.entity, versions, as_of, request.valid_at_ms)
    if one is None:
        return None
    then = msgspec.structs.replace(_entity_of(one), archived=was_archived(stored, versions, as_of))
    asked = msgspec.structs.replace(then, status="active") if _held(then, request.valid_at_ms) else then
    if not passes(asked, request.filter):
        return None
    return then if isinstance(one, Entity) else msgspec.structs.replace(one, entity=then)


def _held(entity: Entity, valid_at_ms: int | None) -> bool:
    """Tell whether a fact was only retired because its period ended, and it is that period which is asked for."""
    ended = entity.valid_to_unix_ms is not None and entity.status in RETIRED_STATUSES - {"invalidated"}
    return valid_at_ms is not None and ended


def _entity_of(one: Entity | Version) -> Entity:
    return one if isinstance(one, Entity) else one.entity


def _traits(entity: Entity) -> Traits:
    return Traits(**{name: getattr(entity, name) for name in Traits.__struct_fields__})


def _entities(engine: Engine, ranking: Ranking, numbers: Iterable[int]) -> dict[int, Entity]:
    if ranking.believed:
        return {number: _entity_of(ranking.believed[number]) for number in numbers}
    return {number: stored.entity for number, stored in engine.store.load(numbers).items()}


def _scores(
    engine: Engine,
    request: Request,
    query: Query,
    arms: Arms,
    traits: dict[int, Traits],
    exact: set[int],
) -> dict[int, float]:
    keyword = {number: score for number, score in arms.keyword.items() if number in traits}
    cosine = {number: score for number, score in arms.cosine.items() if number in traits}
    if request.fusion == "rrf":
        fused = fusion.fuse_ranks(keyword, cosine)
    else:
        fused = fusion.fuse_scores(keyword, cosine, arms.whole)
    if not _is_timed(request):
        fused = _with_neighbours(engine, request, fused, traits)
    now = engine.clock.now_ms()
    boosts = _content_boosts(engine, request, query, traits) if request.content_weight > 0 else {}
    trust_weight = fusion.NEAR_TIE if request.trust_weight is None else request.trust_weight
    scores: dict[int, float] = {}
    for number, one in traits.items():
        score = fusion.NEAR_TIE_ROOM * fused.get(number, 1.0 if number in exact else 0.0)
        score *= fusion.recency_factor(now - one.created_at_unix_ms, request.recency_half_life_secs)
        score += trust_weight * fusion.trust(one.certainty, verified=one.verified)
        score += fusion.NEAR_TIE / 2 * one.decay_score + boosts.get(number, 0.0)
        scores[number] = round(score, 6)
    return scores


def _content_boosts(engine: Engine, request: Request, query: Query, traits: Mapping[int, Traits]) -> dict[int, float]:
    return {
        number: fusion.content_boost(text_of(stored.entity), query.exact, request.content_weight)
        for number, stored in engine.store.load(traits).items()
    }


def _with_neighbours(
    engine: Engine, request: Request, relevance: dict[int, float], traits: dict[int, Traits]
) -> dict[int, float]:
    """Let the members of sequences lend to those beside them, which join the list if they pass the filter."""
    store = engine.store
    beside = store.neighbours(traits)
    if not beside:
        return relevance
    strangers = {number for pair in beside.values() for number in pair} - traits.keys()
    traits.update(store.traits(store.passing(request.filter, strangers)))
    allowed = {number: tuple(other for other in pair if other in traits) for number, pair in beside.items()}
    return fusion.lend_to_neighbours(relevance, allowed)


def _diversified(engine: Engine, ranking: Ranking, query: Query, request: Request) -> list[int]:
    entities = _entities(engine, ranking, ranking.order)
    booked = []
    for number in ranking.order:
        text = text_of(entities[number]).lower()
        booked.append(next((word for word in query.words if len(word) >= _BOOKED_FROM and word in text), ""))
    places = fusion.diversified(booked, request.limit, request.diversity_halving)
    return [ranking.order[place] for place in places]


def _hits(
    engine: Engine,
    request: Request,
    ranking: Ranking,
    page: Sequence[int],
    entities: Mapping[int, Entity],
    evidence: Mapping[int, str],
) -> tuple[Hit, ...]:
    now = engine.clock.now_ms()
    hits = []
    for place, number in enumerate(page):
        entity = entities[number]
        text = evidence.get(ranking.passages.get(number, 0))
        trust = fusion.trust(entity.certainty, verified=entity.verified)
        version = ranking.believed.get(number)
        hit = as_hit(
            entity,
            now,
            score=ranking.scores[number],
            evidence=text_of(entity) if text is None else text,
            scores=ranking.raw.get(number, {}),
            preview_cap=request.preview_cap,
        )
        if request.include_confidence:
            confidence = fusion.confidence(place, len(page), trust, entity.decay_score)
            hit = msgspec.structs.replace(hit, confidence=confidence)
        if isinstance(version, Version):
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
    ranking = Ranking()
    with engine.store.reading():
        if _is_timed(request):
            ranking.believed = _browse_past(engine, request)
            page = list(ranking.believed)
            entities = _entities(engine, ranking, page)
        else:
            found = engine.store.browse(request.filter, request.limit, request.offset)
            entities = {stored.number: stored.entity for stored in found}
            page = list(entities)
    if request.reinforce and not _is_timed(request):
        engine.note_uses(page)
    ranking.scores = dict.fromkeys(page, 0.0)
    hits = _hits(engine, request, ranking, page, entities, {})
    return Recalled(items=hits, total=len(hits), mode="browse", arms={"browse": len(hits)})


def _browse_past(engine: Engine, request: Request) -> dict[int, Entity | Version]:
    """Return a page of what was in force at another instant, in the order of the entities' first recording."""
    page: dict[int, Entity | Version] = {}
    seen = 0
    for batch in engine.store.scan(_arm_filter(request)):
        for stored in batch:
            if len(page) >= request.limit:
                return page
            one = _believed_then(engine, request, stored)
            if one is not None:
                seen += 1
                if seen > request.offset:
                    page[stored.number] = one
    return page

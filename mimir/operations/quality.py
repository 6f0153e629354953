"""Quality: score, correct, supersede, and find what contradicts itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mimir.drafts import VISIBILITIES, check_period, make_draft, screened, screened_all
from mimir.engine import Engine
from mimir.errors import Busy, Conflict, InvalidInput, NotFound, StorageFailure, Unavailable
from mimir.journaling import append_event
from mimir.model import RETIRED_STATUSES, Entity, Filter, Stored, is_live
from mimir.operation import Doc, check_texts, operation, read_value
from mimir.operations.entities import Category, Key, WorkspaceToFind
from mimir.operations.graph import checked_relationship
from mimir.progress import report
from mimir.recording import add, change, find_one, new_entity

if TYPE_CHECKING:
    from mimir.rules.conflicts import Disagreement, Memory

FAMILY: Final = "Quality"
VERIFIED_FROM: Final = 0.7
"""A score from which a memory counts as verified."""

SUPERSEDES: Final = "supersedes"
DEFAULT_THRESHOLD: Final = 0.4
DEFAULT_MARGIN: Final = 0.2

_LIKELY_BELOW: Final = 0.3
_DOUBTED_BELOW: Final = 0.4
_DOUBT_FACTOR: Final = 1.5
_DRAIN_S: Final = 1.0
_BATCH: Final = 50
_CHAIN: Final = 1_000


class Scored(Struct, frozen=True, kw_only=True):
    """Whether the memory exists, and the score as it was given."""

    found: bool
    category: str
    key: str
    score: float


class Corrected(Struct, frozen=True, kw_only=True):
    """The memory and the journal event that keep a correction; `warnings` say where it seems to hold a secret."""

    entity_id: str
    journal_id: str
    category: str
    key: str
    created_at_unix_ms: int
    warnings: tuple[str, ...] | UnsetType = UNSET


class Superseded(Struct, frozen=True, kw_only=True):
    """The old fact (`from`), now deprecated and closed at `from_valid_to_unix_ms`, and the new one (`to`)."""

    from_entity_id: str
    from_entity_category: str
    from_entity_key: str
    to_entity_id: str
    to_entity_category: str
    to_entity_key: str
    relationship: str
    status_updated: str
    from_valid_to_unix_ms: int | None


class Side(Struct, frozen=True, kw_only=True):
    """One of two memories that contradict each other."""

    id: str
    key: str
    certainty: float


class Contradiction(Struct, frozen=True, kw_only=True):
    """Two memories about the same thing; `similarity` tells how far they agree, 0 for plain opposites."""

    entity_a: Side
    entity_b: Side
    similarity: float
    conflict_likely: bool
    certainty_boosted: bool


class Invalidation(Struct, frozen=True, kw_only=True):
    """A contradiction that was settled, or would be: the loser leaves recall."""

    winner: Side
    loser: Side
    similarity: float


class Conflicts(Struct, frozen=True, kw_only=True):
    """What contradicts itself in a category; the fields of one mode are left out in the other."""

    category: str
    entities_compared: int
    conflicts_found: int | UnsetType = UNSET
    threshold: float | UnsetType = UNSET
    conflicts: tuple[Contradiction, ...] | UnsetType = UNSET
    resolved: int | UnsetType = UNSET
    skipped_ambiguous: int | UnsetType = UNSET
    dry_run: bool | UnsetType = UNSET
    certainty_margin: float | UnsetType = UNSET
    invalidations: tuple[Invalidation, ...] | UnsetType = UNSET


@operation(
    family=FAMILY,
    effect="write",
    title="Score Entity Quality",
    profile="standard",
    idempotent=True,
    example={"category": "decision", "key": "database", "score": 0.9},
)
def score(
    engine: Engine,
    category: Category,
    key: Key,
    score: Annotated[float, Doc("0 to 1, beyond that the nearest; verified from 0.7 on, 0 lifts it.")],
    workspace_hash: WorkspaceToFind = None,
) -> Scored:
    """Rate one memory: its strength becomes the score and no upkeep lets it fall below.

    Use it after a memory proved right or poor; what proved wrong is for mimir_correct or mimir_supersede.

    Raises:
        InvalidInput: the score is no finite number.
        Conflict: the key exists in several workspaces and none was named.
    """
    given: float = read_value("score", score, "number")
    within = min(max(given, 0.0), 1.0)
    with engine.writing() as now:
        stored = find_one(engine, category, key, workspace_hash)
        if stored is not None:
            rated = msgspec.structs.replace(
                stored.entity,
                verified=within >= VERIFIED_FROM,
                decay_score=within,
                last_accessed_unix_ms=now,
            )
            engine.store.update(msgspec.structs.replace(stored, entity=rated, score_floor=within or None))
    return Scored(found=stored is not None, category=category, key=key, score=given)


@operation(
    family=FAMILY,
    effect="write",
    title="Capture Agent Correction",
    profile="core",
    example={
        "wrong_approach": "Rebuilt the index after every write.",
        "user_correction": "Let the index follow the write by itself.",
        "task_context": "storing many memories",
        "tags": ["storage"],
    },
)
def correct(
    engine: Engine,
    wrong_approach: Annotated[str, Doc("What was done wrong.")],
    user_correction: Annotated[str, Doc("What is right, in the user's words.")],
    task_context: Annotated[str, Doc("The task it happened at.")],
    session_id: Annotated[str, Doc("Session it belongs to.")] = "",
    tags: Annotated[Sequence[str], Doc("Words to find it by.")] = (),
    category: Annotated[str, Doc("Category of the lesson.")] = "correction",
    visibility: Annotated[str, Doc("Who may read it.", suggested=VISIBILITIES)] = "workspace",
    valid_from_unix_ms: Annotated[int | None, Doc("When it begins to hold.")] = None,
    valid_to_unix_ms: Annotated[int | None, Doc("When it ceases to hold.")] = None,
    workspace_hash: Annotated[str, Doc("Its workspace; empty: global.")] = "",
) -> Corrected:
    """Keep a correction by the user as a lesson and in the journal; use it whenever the user sets you right.

    For a fact that changed use mimir_remember.

    Raises:
        InvalidInput: a name is too long, visibility is unknown, or validity ends before it begins.
    """
    # Screened before they are put together, since the journal repeats each.
    secrets = engine.settings.secrets
    given = {"wrong_approach": wrong_approach, "user_correction": user_correction, "task_context": task_context}
    texts, warnings = screened_all(secrets, given)
    wrong_approach, user_correction, task_context = texts.values()
    entity_id = engine.clock.new_id("cor-")
    draft = make_draft(
        category or "correction",
        entity_id.replace("cor-", "correction-", 1),
        {
            "wrong_approach": wrong_approach,
            "user_correction": user_correction,
            "task_context": task_context,
            "session_id": session_id,
            "lesson": f"When {task_context}: do NOT {wrong_approach}. Instead: {user_correction}",
        },
        secrets=secrets,
        importance=1.0,
        source="mimir_correct",
        workspace_hash=workspace_hash,
        changes={
            "type": "correction",
            "tags": tags,
            "certainty": 1.0,
            "visibility": visibility or None,
            "layer": "working",
            "valid_from_unix_ms": valid_from_unix_ms,
            "valid_to_unix_ms": valid_to_unix_ms,
        },
    )
    # A private lesson can be opened later, and what the journal said of it could not be taken back.
    told = draft.changes.get("visibility") != "private"
    with engine.writing() as now:
        add(engine, new_entity(engine, draft, entity_id, now))
        event = append_event(
            engine,
            now,
            "correction",
            evaluated={"wrong_approach": wrong_approach} if told else None,
            acted={"user_correction": user_correction} if told else None,
            forward={"lesson_learned": True, "task_context": task_context} if told else {"lesson_learned": True},
            category=draft.category,
            key=draft.key,
            entity_id=entity_id,
            workspace_hash=workspace_hash,
        )
    engine.note_pending()
    return Corrected(
        entity_id=entity_id,
        journal_id=event.id,
        category=draft.category,
        key=draft.key,
        created_at_unix_ms=now,
        warnings=warnings or draft.warnings or UNSET,
    )


@operation(
    family=FAMILY,
    effect="archive",
    title="Supersede Entity",
    profile="standard",
    idempotent=True,
    example={
        "from_category": "decision",
        "from_key": "database",
        "to_category": "decision",
        "to_key": "cache",
        "reason": "the decision was taken anew",
    },
)
def supersede(
    engine: Engine,
    from_category: Annotated[str, Doc("Category of the OLD fact.")],
    from_key: Annotated[str, Doc("Key of the OLD fact.")],
    to_category: Annotated[str, Doc("Category of the NEW fact.")],
    to_key: Annotated[str, Doc("Key of the NEW fact.")],
    reason: Annotated[str, Doc("Why; kept with the old fact.")] = "",
    relationship: Annotated[str, Doc("Name of the link from new to old.")] = SUPERSEDES,
    valid_to_unix_ms: Annotated[
        int | None, Doc("When the old fact ceased to hold; left out: when the new one begins, else now.")
    ] = None,
    workspace_hash: Annotated[str | None, Doc("Workspace of both; left out: the global one, else the only match.")] = (
        None
    ),
) -> Superseded:
    """Let one memory replace another: the old one leaves recall, deprecated and linked from the new one.

    Use it when the new fact has a key of its own; under the same key mimir_remember does it. What held before is still
    found with mimir_as_of.

    Raises:
        NotFound: one of them does not exist.
        InvalidInput: both are the same, or the old fact would end before it begins.
        Conflict: the old fact superseded the new one before, or a key exists in several workspaces.
    """
    check_texts(reason=reason)
    reason, _ = screened(engine.settings.secrets, "reason", reason)
    name = checked_relationship(engine, relationship or SUPERSEDES)
    with engine.writing() as now:
        old = find_one(engine, from_category, from_key, workspace_hash)
        new = find_one(engine, to_category, to_key, workspace_hash)
        advice = "Take category and key from an item of mimir_recall."
        if old is None:
            raise NotFound(f"'From' entity not found: {from_category}/{from_key}", hint=advice)
        if new is None:
            raise NotFound(f"'To' entity not found: {to_category}/{to_key}", hint=advice)
        if old.number == new.number:
            raise InvalidInput(f"{from_category}/{from_key} cannot supersede itself.", hint="Name two memories.")
        if new.entity.status in RETIRED_STATUSES and _leads_to(engine, old.entity, new.entity.id, name):
            raise Conflict(
                f"{to_category}/{to_key} was itself superseded by {from_category}/{from_key}.",
                hint="If it holds again, remember it anew with status active, then supersede the other.",
            )
        end = valid_to_unix_ms
        if end is None:
            end = now if new.entity.valid_from_unix_ms is None else new.entity.valid_from_unix_ms
        else:
            check_period(old.entity.valid_from_unix_ms, end)
        retired = _retire(engine, old, now, end=end, status="deprecated", reason=reason, by=new.entity.id)
        engine.store.add_link(new.number, old.entity.id, name, 1.0, now)
        used = msgspec.structs.replace(new.entity, last_accessed_unix_ms=now)
        engine.store.update_use(new.number, used)
    return Superseded(
        from_entity_id=old.entity.id,
        from_entity_category=old.entity.category,
        from_entity_key=old.entity.key,
        to_entity_id=new.entity.id,
        to_entity_category=new.entity.category,
        to_entity_key=new.entity.key,
        relationship=name,
        status_updated=retired.status,
        from_valid_to_unix_ms=retired.valid_to_unix_ms,
    )


@operation(
    family=FAMILY,
    effect="archive",
    title="Detect Conflicting Entities",
    long=True,
    example={"category": "decision"},
)
def conflicts(
    engine: Engine,
    category: Annotated[str, Doc("Category to look through.")],
    threshold: Annotated[
        float, Doc("Report pairs that agree less than this, 0 to 1; 1.5 times that where certainty is low.")
    ] = DEFAULT_THRESHOLD,
    limit: Annotated[int, Doc("Most pairs to report or settle.")] = 10,
    offset: Annotated[int, Doc("Most recently used memories to leave out.")] = 0,
    resolve: Annotated[bool, Doc("Invalidate the less certain side of likely ones.")] = (False),
    dry_run: Annotated[bool, Doc("With resolve: only tell what would be done.")] = True,
    certainty_margin: Annotated[float, Doc("Least difference in certainty to settle one.")] = DEFAULT_MARGIN,
) -> Conflicts:
    """Find memories of a category that are about the same thing and contradict each other, the worst first.

    Use it when recall shows two answers; to replace one fact by another use mimir_supersede. Reads English; a verified
    or pinned memory is never invalidated.
    """
    check_texts(category=category)
    compared, found = _find_conflicts(engine, category, threshold, max(limit, 0), max(offset, 0))
    if not resolve:
        return Conflicts(
            category=category,
            entities_compared=compared,
            conflicts_found=len(found),
            threshold=threshold,
            conflicts=tuple(_contradiction(*one) for one in found),
        )
    settled, ambiguous = _settle(found, certainty_margin)
    if not dry_run:
        settled, left = _invalidate(engine, settled)
        ambiguous += left
    return Conflicts(
        category=category,
        entities_compared=compared,
        resolved=len(settled),
        skipped_ambiguous=ambiguous,
        dry_run=dry_run,
        certainty_margin=certainty_margin,
        invalidations=tuple(
            Invalidation(winner=_side(winner), loser=_side(loser), similarity=similarity)
            for winner, loser, similarity in settled
        ),
    )


def _retire(engine: Engine, stored: Stored, now: int, *, end: int, status: str, reason: str, by: str) -> Entity:
    """End a fact's validity at ``end`` unless it ends before, then take it out of recall, each as a version."""
    entity = stored.entity
    if entity.valid_from_unix_ms is not None:
        end = max(end, entity.valid_from_unix_ms + 1)
    if entity.valid_to_unix_ms is None or entity.valid_to_unix_ms > end:
        closed = msgspec.structs.replace(entity, valid_to_unix_ms=end)
        change(engine, stored, closed, now, amends=True, superseded_by=by)
        stored = engine.store.load([stored.number])[stored.number]
    retired = msgspec.structs.replace(
        stored.entity,
        status=status,
        archive_reason=reason or entity.archive_reason,
        last_accessed_unix_ms=now,
    )
    change(engine, stored, retired, now, amends=True, superseded_by=by)
    return retired


def _leads_to(engine: Engine, entity: Entity, target_id: str, relationship: str) -> bool:
    """Tell whether links of one name lead from an entity to another, over at most a thousand others."""
    seen = {entity.id}
    ahead = [entity]
    while ahead and len(seen) <= _CHAIN:
        for link in ahead.pop().links:
            if link.relationship != relationship or link.target_id in seen:
                continue
            if link.target_id == target_id:
                return True
            seen.add(link.target_id)
            further = engine.store.get(link.target_id)
            if further is not None:
                ahead.append(further.entity)
    return False


_Found = tuple[Stored, Stored, float]


def _find_conflicts(
    engine: Engine, category: str, threshold: float, limit: int, offset: int
) -> tuple[int, list[_Found]]:
    """Return how many memories were compared and the pairs that disagree, the worst first."""
    # Its word lists and patterns take several milliseconds to lay out, and no other tool needs them.
    from mimir.rules.conflicts import WINDOW, disagreements, read_memory

    embedder = engine.embedder
    if embedder is not None and engine.store.has_pending() and not engine.settings.read_only:
        # What cannot be embedded now, or whose embedder cannot be reached, is compared by its words.
        with suppress(Busy, StorageFailure, Unavailable):
            engine.embed_pending(_DRAIN_S)
    model = None
    with suppress(Unavailable):
        model = None if embedder is None else engine.store.known_model(embedder.model_id)
    filter_ = Filter(category=category, caller=engine.settings.agent_id)
    with engine.store.reading():
        numbers = engine.store.recently_used(filter_, WINDOW, offset)
        stored = engine.store.load(numbers)
        vectors = None
        if embedder is not None and model is not None:
            vectors = engine.store.first_vectors(model, embedder.dimensions, numbers)
    window = [stored[number] for number in numbers]
    memories: list[Memory] = []
    for start in range(0, len(window), _BATCH):
        memories += [read_memory(one.entity) for one in window[start : start + _BATCH]]
        report(len(memories), len(window))
    if vectors is None:
        pairs = disagreements(memories)
    else:
        place_of = {number: place for place, number in enumerate(numbers)}
        pairs = disagreements(memories, [place_of[owner] for owner in vectors[0]], vectors[1])
    found = [
        (window[pair.left], window[pair.right], pair.agreement)
        for pair in pairs
        if _is_reported(window[pair.left], window[pair.right], pair, threshold)
    ]
    found.sort(key=lambda one: (one[2], one[0].entity.id, one[1].entity.id))
    return len(window), found[:limit]


def _is_reported(left: Stored, right: Stored, found: Disagreement, threshold: float) -> bool:
    factor = _DOUBT_FACTOR if _lower_certainty(left, right) < _DOUBTED_BELOW else 1.0
    return found.agreement < factor * threshold


def _lower_certainty(left: Stored, right: Stored) -> float:
    return min(left.entity.certainty, right.entity.certainty)


def _contradiction(left: Stored, right: Stored, similarity: float) -> Contradiction:
    return Contradiction(
        entity_a=_side(left),
        entity_b=_side(right),
        similarity=similarity,
        conflict_likely=_is_likely(left, right, similarity),
        certainty_boosted=_lower_certainty(left, right) < _DOUBTED_BELOW,
    )


def _is_likely(left: Stored, right: Stored, similarity: float) -> bool:
    return similarity < _LIKELY_BELOW or _lower_certainty(left, right) < _LIKELY_BELOW


def _side(stored: Stored) -> Side:
    entity = stored.entity
    return Side(id=entity.id, key=entity.key, certainty=entity.certainty)


def _settle(found: Sequence[_Found], margin: float) -> tuple[list[_Found], int]:
    """Return winner, loser and similarity of each likely conflict that certainty decides, and how many it does not."""
    settled: list[_Found] = []
    lost: set[int] = set()
    ambiguous = 0
    for left, right, similarity in found:
        if not _is_likely(left, right, similarity) or lost & {left.number, right.number}:
            continue
        loser, winner = sorted((left, right), key=lambda one: one.entity.certainty)
        # Rounded, since 0.6 - 0.4 is a little less than 0.2.
        gap = round(winner.entity.certainty - loser.entity.certainty, 9)
        if gap <= 0 or gap < margin or _is_protected(loser.entity):
            ambiguous += 1
            continue
        lost.add(loser.number)
        settled.append((winner, loser, similarity))
    return settled, ambiguous


def _is_protected(entity: Entity) -> bool:
    return entity.verified or entity.always_on


def _invalidate(engine: Engine, settled: Sequence[_Found]) -> tuple[list[_Found], int]:
    """Take the losers out of recall; return the pairs, and how many were left since one changed meanwhile."""
    done: list[_Found] = []
    for start in range(0, len(settled), _BATCH):
        batch = settled[start : start + _BATCH]
        with engine.writing() as now:
            present = engine.store.load(one.number for pair in batch for one in pair[:2])
            for winner, loser, similarity in batch:
                now_winner, now_loser = present.get(winner.number), present.get(loser.number)
                if now_winner is None or now_loser is None or _has_changed(winner, now_winner):
                    continue
                if _has_changed(loser, now_loser) or _is_protected(now_loser.entity):
                    continue
                start_ms = winner.entity.valid_from_unix_ms
                end = now if start_ms is None else min(start_ms, now)
                _retire(
                    engine,
                    now_loser,
                    now,
                    end=end,
                    status="invalidated",
                    reason=f"contradicted by {winner.entity.id}",
                    by=winner.entity.id,
                )
                done.append((winner, loser, similarity))
    return done, len(settled) - len(done)


def _has_changed(before: Stored, after: Stored) -> bool:
    return (
        not is_live(after.entity)
        or after.entity.recorded_at_unix_ms != before.entity.recorded_at_unix_ms
        or after.entity.certainty != before.entity.certainty
    )

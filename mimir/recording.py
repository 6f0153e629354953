"""The one write path: how a draft becomes a memory, a new version of one, or is merged into another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from mimir.drafts import Draft, check_period, make_draft
from mimir.engine import Engine, text_of, text_of_body
from mimir.errors import Conflict, InvalidInput
from mimir.model import (
    RETIRED_STATUSES,
    Entity,
    Filter,
    Passage,
    Remembered,
    RememberedMany,
    Similar,
    Stored,
    Version,
    is_live,
    is_readable,
)
from mimir.operation import check_texts
from mimir.rules.layers import MERGE_BOOST, boosted, raised_layer
from mimir.rules.similarity import SIMILAR_FROM, same_content, sketch, trigram_similarity
from mimir.rules.text import split_passages

_COMPARED: Final = 4
_NAMED_SIMILAR: Final = 3
_BULK_BATCH: Final = 5_000
_BULK_WARNINGS: Final = 20
_NEEDED_FIELDS: Final = frozenset({"category", "key", "body_json"})
_OWN_FIELDS: Final = frozenset({"workspace_hash", "importance", "recall_when"})


def store_draft(engine: Engine, draft: Draft, dedup: str = "off") -> Remembered:
    """Store a draft: as a new memory, as an update of the one with its identity, or merged as ``dedup`` says.

    Raises:
        Conflict: the identity is a private memory of another agent.
        InvalidInput: with what was known before, validity would end before it begins.
    """
    with engine.writing() as now:
        found = engine.store.find(draft.category, draft.key, draft.workspace_hash)
        if found:
            update(engine, found[0], draft, now)
            result = Remembered(id=found[0].entity.id, action="updated", category=draft.category, key=draft.key)
        else:
            result = _create(engine, draft, now, dedup)
    engine.note_pending()
    return msgspec.structs.replace(result, warnings=draft.warnings) if draft.warnings else result


def new_entity(engine: Engine, draft: Draft, entity_id: str, now: int) -> Entity:
    """Return the entity that a draft makes when nothing is stored under its identity."""
    return Entity(
        id=entity_id,
        category=draft.category,
        key=draft.key,
        body_json=draft.body_json,
        workspace_hash=draft.workspace_hash,
        decay_score=draft.importance,
        source=draft.source,
        created_at_unix_ms=now,
        last_accessed_unix_ms=now,
        recorded_at_unix_ms=now,
        **{"agent_id": engine.settings.agent_id, **draft.changes},
    )


def update(engine: Engine, stored: Stored, draft: Draft, now: int) -> None:
    """Change a stored entity to what a draft says; content, validity and status leave a version behind.

    A change of text without a period of its own replaces what was said; with one it stands beside it.

    Raises:
        Conflict: it is a private memory of another agent.
        InvalidInput: validity would end before it begins.
    """
    before = stored.entity
    if not may_read(engine, before):
        raise Conflict(
            f"{before.category}/{before.key} is a private memory of another agent.",
            hint="Choose another key or workspace.",
        )
    changes = draft.changes
    new_text = draft.body_json != before.body_json
    bounds = {"valid_from_unix_ms", "valid_to_unix_ms"} & changes.keys()
    if new_text or before.status in RETIRED_STATUSES:
        # A new statement does not inherit the period of the one it follows.
        changes = {"valid_from_unix_ms": None, "valid_to_unix_ms": None, **changes}
    if before.status in RETIRED_STATUSES:
        # Said again, it is believed again: what was written must not stay hidden.
        changes = {"status": "active", **changes}
    retrievals = before.retrieval_count + 1
    use = {
        "body_json": draft.body_json,
        "archived": False,
        "archive_reason": "",
        "retrieval_count": retrievals,
        "decay_score": boosted(before.decay_score),
        "layer": raised_layer(changes.get("layer", before.layer), retrievals),
        "last_accessed_unix_ms": now,
    }
    after = msgspec.structs.replace(before, **{**changes, **use})
    check_period(after.valid_from_unix_ms, after.valid_to_unix_ms)
    change(engine, stored, after, now, amends=not (new_text and bounds), passages=draft.passages)


def change(
    engine: Engine,
    stored: Stored,
    after: Entity,
    now: int,
    *,
    amends: bool,
    passages: Sequence[Passage] | None = None,
    superseded_by: str = "",
) -> None:
    """Write ``after`` in place of a stored entity and keep every index in step.

    When content, validity or status differ, the former state is closed as a version at the new recording time, which
    is always later than the former one. ``amends`` tells that the change puts the same assertion right; ``passages``
    are those of the new text, when they are known; ``superseded_by`` is the id of another entity that takes its place.
    """
    before, store = stored.entity, engine.store
    new_text = after.body_json != before.body_json
    text = text_of(after)
    if new_text and passages is None:
        passages = split_passages(text)
    version_number = 0
    # Forgetting leaves no version, but a revived memory keeps the interval in which it was forgotten.
    if new_text or _versioned(before) != _versioned(after) or before.archived > after.archived:
        recorded = max(now, before.recorded_at_unix_ms + 1)
        after = msgspec.structs.replace(after, recorded_at_unix_ms=recorded)
        version = Version(
            version_id=engine.clock.new_id("hist-", 16),
            entity=before,
            invalidated_at_unix_ms=recorded,
            superseded_by=superseded_by or before.id,
            amended=amends,
            archived_at_unix_ms=stored.archived_at_unix_ms,
        )
        version_number = store.add_version(stored, version)
    store.update(
        msgspec.structs.replace(
            stored,
            entity=after,
            passages=len(passages) if new_text and passages else stored.passages,
            archived_at_unix_ms=(stored.archived_at_unix_ms or now) if after.archived else None,
        )
    )
    if new_text and passages:
        former = text_of(before)
        store.replace_text(stored.number, version_number, (before, former), after, text, passages)
        store.remove_marks(stored.number, sketch(former, before.category, before.workspace_hash))
        store.add_marks(stored.number, sketch(text, after.category, after.workspace_hash))
    if _indexed(before) != _indexed(after) or (new_text and not is_live(after)):
        store.set_live(stored.number, after, text, live=is_live(after))


def add(engine: Engine, entity: Entity) -> int:
    """Add an entity whose identity is free, inside the open transaction, and return its number."""
    text = text_of(entity)
    marks = sketch(text, entity.category, entity.workspace_hash)
    return engine.store.insert(entity, text, split_passages(text), marks)


def remember_many(
    engine: Engine,
    memories: Iterable[Mapping[str, Any]],
    *,
    batch: int = _BULK_BATCH,
    progress: Callable[[int], None] | None = None,
) -> RememberedMany:
    """Store many memories, each a mapping of `remember`'s parameter names, one transaction per ``batch``.

    ``progress`` is called with the number stored so far after each batch. Similar memories are neither looked for
    nor marked. What an exception leaves behind are whole batches.

    Raises:
        InvalidInput: a memory is not valid; the message names its place, counted from 0.
    """
    created = updated = 0
    warnings: list[str] = []
    for chunk in _chunks(memories, batch):
        drafts = []
        for place, memory in enumerate(chunk, start=created + updated):
            try:
                drafts.append(_draft_of(engine, memory))
            except InvalidInput as error:
                raise InvalidInput(f"Memory {place}: {error.message}", hint=error.hint) from None
            if drafts[-1].warnings and len(warnings) < _BULK_WARNINGS:
                warnings.append(f"Memory {place}: {' '.join(drafts[-1].warnings)}")
        # In order, the random ids of a batch fill their index from left to right.
        ids = sorted(engine.clock.new_ids("mem-", len(drafts)))
        with engine.writing() as now:
            taken = engine.store.insert_new(
                [new_entity(engine, draft, entity_id, now) for draft, entity_id in zip(drafts, ids, strict=True)],
                [draft.text for draft in drafts],
                [draft.passages for draft in drafts],
            )
            for place in taken:
                draft = drafts[place]
                found = engine.store.find(draft.category, draft.key, draft.workspace_hash)
                update(engine, found[0], draft, now)
        created += len(drafts) - len(taken)
        updated += len(taken)
        if progress is not None:
            progress(created + updated)
    engine.note_pending()
    return RememberedMany(created=created, updated=updated, warnings=tuple(warnings) or UNSET)


def find_one(
    engine: Engine, category: str, key: str, workspace_hash: str | None, *, live: bool = False
) -> Stored | None:
    """Return the entity that category and key mean: in the named workspace; else the global one, else the only one.

    With ``live`` only what is not archived competes when no workspace is named.

    Raises:
        Conflict: no workspace was named and several others than the global one have the key.
    """
    check_texts(category=category, key=key, workspace_hash=workspace_hash)
    found = [stored for stored in engine.store.find(category, key, workspace_hash) if may_read(engine, stored.entity)]
    if workspace_hash is None and live:
        found = [stored for stored in found if not stored.entity.archived]
    return the_one(found, category, key)


def the_one(found: Sequence[Stored], category: str, key: str) -> Stored | None:
    """Return the one among entities of a name, sorted by workspace, that the name alone means.

    Raises:
        Conflict: there are several and none is global.
    """
    if not found:
        return None
    if len(found) == 1 or found[0].entity.workspace_hash == "":
        return found[0]
    names = ", ".join(stored.entity.workspace_hash for stored in found)
    raise Conflict(
        f"{category}/{key} exists in several workspaces: {names}.",
        hint="Name one with workspace_hash.",
    )


def may_read(engine: Engine, entity: Entity) -> bool:
    """Tell whether the caller of this process may see an entity: a private one only its own agent."""
    return is_readable(entity, engine.settings.agent_id)


def _create(engine: Engine, draft: Draft, now: int, dedup: str) -> Remembered:
    store = engine.store
    marks = sketch(draft.text, draft.category, draft.workspace_hash)
    alike = _alike(engine, draft, marks)
    if dedup != "off":
        for stored, _ in alike:
            if same_content(text_of(stored.entity), draft.text, loosely=dedup == "similar"):
                return _merge(engine, stored, draft, now)
    entity = new_entity(engine, draft, engine.clock.new_id(draft.prefix), now)
    store.insert(entity, draft.text, draft.passages, marks)
    similar = tuple(
        Similar(id=stored.entity.id, key=stored.entity.key, similarity=round(similarity, 3))
        for stored, similarity in alike[:_NAMED_SIMILAR]
    )
    return Remembered(
        id=entity.id,
        action="created",
        category=draft.category,
        key=draft.key,
        similar_to=similar or UNSET,
    )


def _alike(engine: Engine, draft: Draft, marks: Sequence[int]) -> list[tuple[Stored, float]]:
    """Return live memories of the same category and workspace whose text resembles the draft's, the nearest first."""
    store = engine.store
    marked = store.marked(marks, _COMPARED)
    if not marked:
        return []
    here = Filter(category=draft.category, workspace_hash=draft.workspace_hash, caller=engine.settings.agent_id)
    similarities = {
        number: trigram_similarity(text_of_body(body), draft.text)
        for number, body in store.bodies(here, marked).items()
    }
    near = {number: similarity for number, similarity in similarities.items() if similarity >= SIMILAR_FROM}
    loaded = store.load(near) if near else {}
    return sorted(
        ((stored, near[number]) for number, stored in loaded.items()), key=lambda pair: (-pair[1], pair[0].entity.id)
    )


def _merge(engine: Engine, stored: Stored, draft: Draft, now: int) -> Remembered:
    entity = stored.entity
    retrievals = entity.retrieval_count + 1
    used = msgspec.structs.replace(
        entity,
        retrieval_count=retrievals,
        decay_score=boosted(entity.decay_score, MERGE_BOOST),
        layer=raised_layer(entity.layer, retrievals),
        last_accessed_unix_ms=now,
    )
    engine.store.update_use(stored.number, used)
    return Remembered(id=entity.id, action="deduped (new key not created)", category=draft.category, key=draft.key)


def _draft_of(engine: Engine, memory: Mapping[str, Any]) -> Draft:
    secrets = engine.settings.secrets
    try:
        category, key, body = memory["category"], memory["key"], memory["body_json"]
    except KeyError as error:
        raise InvalidInput(f"{error} is missing.", hint="Give category, key and body_json.") from None
    if len(memory) == len(_NEEDED_FIELDS):
        return make_draft(category, key, body, secrets=secrets, changes={})
    own = {name: value for name, value in memory.items() if name in _OWN_FIELDS}
    changes = {name: value for name, value in memory.items() if name not in _OWN_FIELDS | _NEEDED_FIELDS}
    return make_draft(category, key, body, secrets=secrets, changes=changes, **own)


def _versioned(entity: Entity) -> tuple[object, ...]:
    return entity.status, entity.valid_from_unix_ms, entity.valid_to_unix_ms


def _indexed(entity: Entity) -> tuple[object, ...]:
    return is_live(entity), entity.tags, entity.topic_path


def _chunks(memories: Iterable[Mapping[str, Any]], size: int) -> Iterable[list[Mapping[str, Any]]]:
    chunk: list[Mapping[str, Any]] = []
    for memory in memories:
        chunk.append(memory)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

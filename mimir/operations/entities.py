"""Entities: remember, look up, travel in time, forget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET

from mimir.config import MAXIMUM_BODY_BYTES, MAXIMUM_BODY_DEPTH, MAXIMUM_CATEGORY_BYTES, MAXIMUM_KEY_BYTES
from mimir.engine import Engine, text_of
from mimir.errors import Conflict, InvalidInput, NotFound
from mimir.model import (
    AsOf,
    Dedup,
    Entity,
    Forgotten,
    Found,
    History,
    Json,
    Passage,
    PastVersion,
    Remembered,
    RememberedMany,
    Similar,
    Stored,
    Version,
    is_live,
)
from mimir.operation import Doc, check_texts, operation, read_value
from mimir.rules.layers import MERGE_BOOST, boosted, canonical_layer, raised_layer
from mimir.rules.similarity import SIMILAR_FROM, same_content, sketch, trigram_similarity
from mimir.rules.text import searchable_text, split_passages
from mimir.rules.time import in_force

FAMILY: Final = "Entity CRUD"
DEFAULT_IMPORTANCE: Final = 0.5
VISIBILITIES: Final = ("private", "workspace", "public")

_LATEST_MS: Final = 1 << 62
_COMPARED: Final = 4
_NAMED_SIMILAR: Final = 3
_BULK_BATCH: Final = 5_000

Category = Annotated[str, Doc("Group of the memory, such as decision, preference or project name.")]
Key = Annotated[str, Doc("Name of the memory, unique within its category and workspace.")]
WorkspaceToFind = Annotated[
    str | None,
    Doc("Workspace of the entity; when left out the global one, else the only match."),
]


@operation(
    family=FAMILY,
    effect="write",
    title="Remember Entity",
    profile="core",
    idempotent=True,
    example={
        "category": "decision",
        "key": "database",
        "body_json": '{"content": "We chose SQLite for its single file."}',
        "tags": ["storage"],
    },
)
def remember(
    engine: Engine,
    category: Category,
    key: Key,
    body_json: Annotated[
        Json,
        Doc(
            'The memory as JSON text, for example {"content": "..."}; an object is taken too.',
            json=True,
        ),
    ],
    status: Annotated[str | None, Doc("Conventional: active, draft, deprecated. New: active.")] = None,
    type: Annotated[str | None, Doc("Kind of memory. New: insight.")] = None,
    tags: Annotated[Sequence[str] | None, Doc("Words to find it by. New: none.")] = None,
    importance: Annotated[float, Doc("Starting strength of a new memory.", 0, 1)] = DEFAULT_IMPORTANCE,
    topic_path: Annotated[
        str | None, Doc("Path of topic or conversation; memories in sequence share one. New: none.")
    ] = None,
    workspace_hash: Annotated[str, Doc("Workspace it belongs to; empty is the global one.")] = "",
    agent_id: Annotated[str | None, Doc("Agent it belongs to. New: the caller.")] = None,
    recall_when: Annotated[Sequence[str] | None, Doc("Situations that should bring it up; kept in the body.")] = None,
    always_on: Annotated[bool | None, Doc("Pin it into every mimir_context. New: false.")] = None,
    certainty: Annotated[float | None, Doc("How sure it is. New: 0.5.", 0, 1)] = None,
    visibility: Annotated[str | None, Doc("Who may read it. New: workspace.", suggested=VISIBILITIES)] = None,
    layer: Annotated[str | None, Doc("world, semantic or episodic; a later use only raises it. New: episodic.")] = None,
    valid_from_unix_ms: Annotated[int | None, Doc("When the fact begins to hold.")] = None,
    valid_to_unix_ms: Annotated[int | None, Doc("When the fact ceases to hold.")] = None,
    dedup: Annotated[
        Dedup | None,
        Doc("Merge a new key into an older memory of the same content: exact text, or similar wording."),
    ] = None,
) -> Remembered:
    """Store a memory under category and key, or update it: the old text stays in history.

    Use it after decisions, corrections and preferences; never for secrets. On an update every field that is left out
    keeps its value. The result names older memories that read alike as similar_to.

    Raises:
        InvalidInput: body_json is not JSON, a name is empty or too long, or validity ends before it begins.
    """
    draft = make_draft(
        category,
        key,
        body_json,
        workspace_hash=workspace_hash,
        importance=importance,
        recall_when=recall_when or (),
        changes={
            "status": status,
            "type": type,
            "tags": tags,
            "topic_path": topic_path,
            "agent_id": agent_id,
            "always_on": always_on,
            "certainty": certainty,
            "visibility": visibility,
            "layer": layer,
            "valid_from_unix_ms": valid_from_unix_ms,
            "valid_to_unix_ms": valid_to_unix_ms,
        },
    )
    return store_draft(engine, draft, dedup or engine.settings.dedup)


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
    return result


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One memory as it was handed in, checked: its body as JSON and as searchable text, and the fields given."""

    category: str
    key: str
    body_json: str
    text: str
    passages: tuple[Passage, ...]
    workspace_hash: str
    importance: float
    source: str
    prefix: str
    changes: dict[str, Any]


def make_draft(
    category: str,
    key: str,
    body: Json,
    *,
    workspace_hash: str = "",
    importance: float = DEFAULT_IMPORTANCE,
    recall_when: Sequence[str] = (),
    source: str = "agent",
    prefix: str = "mem-",
    changes: Mapping[str, Any],
) -> Draft:
    """Check a memory and lay out its body; None among ``changes`` means that the field was left out.

    Raises:
        InvalidInput: body is not JSON, a name is empty or too long, a field is unknown or out of range, or validity
            ends before it begins.
    """
    _check_name("category", category, MAXIMUM_CATEGORY_BYTES)
    _check_name("key", key, MAXIMUM_KEY_BYTES)
    _check_share("importance", importance)
    read_value("workspace_hash", workspace_hash, "string")
    body_json, value = _read_body(body, read_value("recall_when", recall_when, "array") if recall_when else ())
    text = searchable_text(value)
    return Draft(
        category=category,
        key=key,
        body_json=body_json,
        text=text,
        passages=split_passages(text),
        workspace_hash=workspace_hash,
        importance=importance,
        source=source,
        prefix=prefix,
        changes=_checked_changes(changes) if changes else {},
    )


def _checked_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in changes.items() if value is not None}
    unknown = given.keys() - _CHANGEABLE
    if unknown:
        raise InvalidInput(f"{min(unknown)!r} is not a field of a memory.", hint="Use the parameters of remember.")
    given = {name: read_value(name, value, _CHANGEABLE[name]) for name, value in given.items()}
    _check_share("certainty", given.get("certainty", 0.5))
    visibility = given.get("visibility", "workspace")
    if visibility not in VISIBILITIES:
        raise InvalidInput(f"'visibility' is {visibility!r}.", hint="Use one of: " + ", ".join(VISIBILITIES) + ".")
    _check_period(given.get("valid_from_unix_ms"), given.get("valid_to_unix_ms"))
    if "layer" in given:
        given["layer"] = canonical_layer(given["layer"])
    return given


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
    if new_text:
        # A new statement does not inherit the period of the one it follows.
        changes = {"valid_from_unix_ms": None, "valid_to_unix_ms": None, **changes}
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
    _check_period(after.valid_from_unix_ms, after.valid_to_unix_ms)
    change(engine, stored, after, now, amends=not (new_text and bounds), passages=draft.passages)


def change(
    engine: Engine,
    stored: Stored,
    after: Entity,
    now: int,
    *,
    amends: bool,
    passages: Sequence[Passage] | None = None,
) -> None:
    """Write ``after`` in place of a stored entity and keep every index in step.

    When content, validity or status differ, the former state is closed as a version at the new recording time, which
    is always later than the former one. ``amends`` tells that the change puts the same assertion right; ``passages``
    are those of the new text, when they are known.
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
            superseded_by=before.id,
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
        store.remove_marks(stored.number, sketch(former))
        store.add_marks(stored.number, sketch(text))
    if _indexed(before) != _indexed(after) or (new_text and not is_live(after)):
        store.set_live(stored.number, after, text, live=is_live(after))


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
    for chunk in _chunks(memories, batch):
        drafts = []
        for place, memory in enumerate(chunk, start=created + updated):
            try:
                drafts.append(_draft_of(memory))
            except InvalidInput as error:
                raise InvalidInput(f"Memory {place}: {error.message}", hint=error.hint) from None
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
    return RememberedMany(created=created, updated=updated)


@operation(
    family=FAMILY,
    effect="read",
    title="Get Entity by ID",
    profile="core",
    example={"id": "mem-0123456789ab"},
)
def get_entity(engine: Engine, id: Annotated[str, Doc("The id, as in recall's items.")]) -> Found:
    """Return one memory in full by its id, archived or not; use it when recall showed a cut body.

    Raises:
        NotFound: no memory has this id.
    """
    check_texts(id=id)
    with engine.store.reading():
        stored = engine.store.get(id)
    if stored is None or not may_read(engine, stored.entity):
        raise NotFound(f"Entity not found: {id}", hint="Take the id from an item of mimir_recall.")
    fields = {name: getattr(stored.entity, name) for name in Entity.__struct_fields__ if name != "type"}
    return Found(entity_type=stored.entity.type, **fields)


@operation(
    family=FAMILY,
    effect="read",
    title="Entity History",
    profile="core",
    example={"category": "decision", "key": "database"},
)
def history(
    engine: Engine,
    category: Category,
    key: Key,
    limit: Annotated[int, Doc("Versions per page.", 0, 1_000, clamp=True)] = 20,
    offset: Annotated[int, Doc("Versions to skip.", 0, 10_000, clamp=True)] = 0,
    workspace_hash: WorkspaceToFind = None,
) -> History:
    """Return the past versions of a memory, newest first, each with the interval in which it was current.

    The present version is not among them: see mimir_recall or mimir_as_of. An unknown key has an empty trail.

    Raises:
        Conflict: the key exists in several workspaces and none was named.
    """
    with engine.store.reading():
        stored = find_one(engine, category, key, workspace_hash)
        versions = () if stored is None else engine.store.versions(stored.number, max(limit, 0), max(offset, 0))
        total = 0 if stored is None else engine.store.count_versions(stored.number)
    return History(
        category=category,
        key=key,
        versions=tuple(_past_version(version) for version in versions if may_read(engine, version.entity)),
        total=total,
        returned=len(versions),
        limit=limit,
        offset=offset,
    )


@operation(
    family=FAMILY,
    effect="read",
    title="Time-Travel Entity Lookup",
    profile="standard",
    example={"category": "decision", "key": "database", "as_of_unix_ms": 1_767_225_600_000},
)
def as_of(
    engine: Engine,
    category: Category,
    key: Key,
    as_of_unix_ms: Annotated[int, Doc("The instant of knowledge, in ms since 1970 UTC.")],
    valid_at_unix_ms: Annotated[
        int | None, Doc("The instant the fact is about; left out: whatever was believed then.")
    ] = None,
    workspace_hash: WorkspaceToFind = None,
) -> AsOf:
    """Return what was believed about a memory at an instant, and with valid_at what was believed to hold at another.

    For a past state of the whole store use mimir_recall with as_of_unix_ms.

    Raises:
        Conflict: the key exists in several workspaces and none was named.
    """
    asked = UNSET if valid_at_unix_ms is None else valid_at_unix_ms
    with engine.store.reading():
        stored = find_one(engine, category, key, workspace_hash)
        believed = None
        if stored is not None:
            versions = engine.store.versions(stored.number)
            believed = in_force(stored.entity, versions, as_of_unix_ms, valid_at_unix_ms)
    if stored is None or believed is None or not may_read(engine, _entity_of(believed)):
        return AsOf(
            found=False,
            category=category,
            key=key,
            as_of_unix_ms=as_of_unix_ms,
            valid_at_unix_ms=asked,
        )
    entity = _entity_of(believed)
    left = stored.archived_at_unix_ms if isinstance(believed, Entity) else believed.archived_at_unix_ms
    return AsOf(
        found=True,
        category=category,
        key=key,
        as_of_unix_ms=as_of_unix_ms,
        valid_at_unix_ms=asked,
        id=entity.id,
        body_json=entity.body_json,
        status=entity.status,
        entity_type=entity.type,
        archived=left is not None and left <= as_of_unix_ms,
        workspace_hash=entity.workspace_hash,
        recorded_at_unix_ms=entity.recorded_at_unix_ms,
        invalidated_at_unix_ms=None if isinstance(believed, Entity) else believed.invalidated_at_unix_ms,
        valid_from_unix_ms=entity.valid_from_unix_ms,
        valid_to_unix_ms=entity.valid_to_unix_ms,
    )


@operation(
    family=FAMILY,
    effect="archive",
    title="Forget Entity (Soft-Delete)",
    profile="core",
    idempotent=True,
    example={"category": "decision", "key": "database", "reason": "replaced by PostgreSQL"},
)
def forget(
    engine: Engine,
    category: Category,
    key: Key,
    reason: Annotated[str, Doc("Why; kept with the memory.")] = "",
    workspace_hash: WorkspaceToFind = None,
) -> Forgotten:
    """Archive one memory: it leaves recall, stays in history and comes back when remembered again.

    Erasing for good is mimir_purge; archiving many at once is mimir_prune.

    Raises:
        Conflict: the key exists in several workspaces and none was named.
    """
    with engine.writing() as now:
        stored = find_one(engine, category, key, workspace_hash, live=True)
        found = stored is not None and not stored.entity.archived
        if stored is not None and found:
            archived = msgspec.structs.replace(
                stored.entity,
                archived=True,
                archive_reason=reason or "manual",
                last_accessed_unix_ms=now,
            )
            change(engine, stored, archived, now, amends=True)
    return Forgotten(found=found, archived=found, category=category, key=key)


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
    return entity.visibility != "private" or entity.agent_id == engine.settings.agent_id


def _create(engine: Engine, draft: Draft, now: int, dedup: str) -> Remembered:
    store = engine.store
    marks = sketch(draft.text)
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
    near: list[tuple[Stored, float]] = []
    for stored in store.load(store.marked(marks, _COMPARED)).values():
        entity = stored.entity
        if (
            entity.category == draft.category
            and entity.workspace_hash == draft.workspace_hash
            and is_live(entity)
            and may_read(engine, entity)
        ):
            similarity = trigram_similarity(text_of(entity), draft.text)
            if similarity >= SIMILAR_FROM:
                near.append((stored, similarity))
    return sorted(near, key=lambda pair: (-pair[1], pair[0].entity.id))


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


def _draft_of(memory: Mapping[str, Any]) -> Draft:
    rest = dict(memory)
    try:
        category, key, body = rest.pop("category"), rest.pop("key"), rest.pop("body_json")
    except KeyError as error:
        raise InvalidInput(f"{error} is missing.", hint="Give category, key and body_json.") from None
    own = {name: rest.pop(name) for name in _OWN_FIELDS & rest.keys()} if rest else {}
    return make_draft(category, key, body, changes=rest, **own)


_OWN_FIELDS: Final = frozenset({"workspace_hash", "importance", "recall_when"})
_CHANGEABLE: Final = {
    "status": "string",
    "type": "string",
    "tags": "array",
    "topic_path": "string",
    "agent_id": "string",
    "always_on": "boolean",
    "certainty": "number",
    "visibility": "string",
    "layer": "string",
    "valid_from_unix_ms": "integer",
    "valid_to_unix_ms": "integer",
}


def _versioned(entity: Entity) -> tuple[object, ...]:
    return entity.status, entity.valid_from_unix_ms, entity.valid_to_unix_ms


def _indexed(entity: Entity) -> tuple[object, ...]:
    return is_live(entity), entity.tags, entity.topic_path


def _entity_of(believed: Entity | Version) -> Entity:
    return believed if isinstance(believed, Entity) else believed.entity


def _past_version(version: Version) -> PastVersion:
    fields = {name: getattr(version.entity, name) for name in Entity.__struct_fields__}
    return PastVersion(
        **fields,
        version_id=version.version_id,
        invalidated_at_unix_ms=version.invalidated_at_unix_ms,
        superseded_by=version.superseded_by,
    )


def _check_name(name: str, value: str, most_bytes: int) -> None:
    read_value(name, value, "string")
    if not value or value.isspace():
        raise InvalidInput(f"'{name}' is empty.", hint=f"Give the memory a {name}.")
    size = len(value) if value.isascii() else len(value.encode())
    if size > most_bytes:
        raise InvalidInput(f"'{name}' is {size} bytes long.", hint=f"Use at most {most_bytes} bytes.")


def _check_share(name: str, value: float) -> None:
    if not 0.0 <= read_value(name, value, "number") <= 1.0:
        raise InvalidInput(f"'{name}' is {value}.", hint="Give a number from 0 to 1.")


def _check_period(start: int | None, end: int | None) -> None:
    if start is not None and end is not None and end <= start:
        raise InvalidInput(
            f"'valid_to_unix_ms' ({end}) is not after 'valid_from_unix_ms' ({start}).",
            hint="Give an end after the beginning, or leave it out.",
        )


def _read_body(body: Json, recall_when: Sequence[str]) -> tuple[str, Json]:
    """Return a body as JSON text, kept as it was given if it was text, and as a value."""
    if isinstance(body, str):
        text = body
        encoded = read_value("body_json", text, "string").encode()
        _check_body_size(len(encoded))
        try:
            value = msgspec.json.decode(encoded)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidInput(
                f"body_json is not valid JSON: {error}.",
                hint='Give JSON text such as {"content": "..."}; plain words need quotes of their own.',
            ) from None
    else:
        value = body
        try:
            _check_finite(value)
            text = msgspec.json.encode(value).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(
                f"body_json cannot be written as JSON: {error}.", hint="Give plain JSON values."
            ) from None
        _check_body_size(len(text.encode()))
    _check_depth(text, value)
    if recall_when and isinstance(value, dict):
        value = {**value, "recall_when": list(recall_when)}
        text = msgspec.json.encode(value, order="sorted").decode()
    return text, value


def _check_depth(text: str, body: Json) -> None:
    # A body is nested again in every reply that shows it, and readers have bounds of their own.
    if text.count("[") + text.count("{") <= MAXIMUM_BODY_DEPTH:
        return
    level, depth = [body], 0
    while level:
        depth += 1
        if depth > MAXIMUM_BODY_DEPTH:
            raise InvalidInput(
                f"'body_json' is nested deeper than {MAXIMUM_BODY_DEPTH} levels.", hint="Store a flatter value."
            )
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]


def _check_finite(body: Json) -> None:
    # The encoder would write these as null, and what was stored would not be what was said.
    stack = [body]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            stack.extend(value)
        elif isinstance(value, float) and value - value != 0:
            raise ValueError(f"{value} is no JSON number")


def _check_body_size(size: int) -> None:
    if size > MAXIMUM_BODY_BYTES:
        raise InvalidInput(
            f"'body_json' is {size} bytes long.",
            hint=f"Use at most {MAXIMUM_BODY_BYTES} bytes; split long documents into several memories.",
        )


def _chunks(memories: Iterable[Mapping[str, Any]], size: int) -> Iterable[list[Mapping[str, Any]]]:
    chunk: list[Mapping[str, Any]] = []
    for memory in memories:
        chunk.append(memory)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

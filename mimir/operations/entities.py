"""Entities: remember, look up, travel in time, forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mimir.drafts import DEFAULT_IMPORTANCE, VISIBILITIES, make_draft, screened
from mimir.engine import Engine
from mimir.errors import NotFound
from mimir.model import Dedup, Entity, Json, Link, Remembered, Version, lift
from mimir.operation import Doc, check_texts, operation
from mimir.recording import change, find_one, may_read, store_draft
from mimir.rules.bounds import page_of
from mimir.rules.time import in_force, was_archived

FAMILY: Final = "Entity CRUD"


Category = Annotated[str, Doc("Its group, such as decision.")]
Key = Annotated[str, Doc("Its name, unique in the category.")]
WorkspaceToFind = Annotated[
    str | None,
    Doc("Its workspace, if several have the key."),
]


class Found(Struct, frozen=True, kw_only=True):
    """One entity in full, as get_entity shows it."""

    id: str
    category: str
    key: str
    body_json: str
    status: str
    entity_type: str
    tags: tuple[str, ...]
    decay_score: float
    retrieval_count: int
    layer: str
    always_on: bool
    certainty: float
    created_at_unix_ms: int
    last_accessed_unix_ms: int
    topic_path: str
    archived: bool
    archive_reason: str
    links: tuple[Link, ...]
    verified: bool
    source: str
    workspace_hash: str
    agent_id: str
    visibility: str
    recorded_at_unix_ms: int
    valid_from_unix_ms: int | None
    valid_to_unix_ms: int | None
    truncated: str | UnsetType = UNSET


class AsOf(Struct, frozen=True, kw_only=True):
    """What was believed about one key at an instant; only the first fields are set when nothing was."""

    found: bool
    category: str
    key: str
    as_of_unix_ms: int
    valid_at_unix_ms: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    body_json: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    entity_type: str | UnsetType = UNSET
    archived: bool | UnsetType = UNSET
    workspace_hash: str | UnsetType = UNSET
    recorded_at_unix_ms: int | UnsetType = UNSET
    invalidated_at_unix_ms: int | UnsetType | None = UNSET
    valid_from_unix_ms: int | UnsetType | None = UNSET
    valid_to_unix_ms: int | UnsetType | None = UNSET


class PastVersion(Entity, frozen=True, kw_only=True):
    """One closed version of an entity; it was current in [recorded, invalidated)."""

    version_id: str
    invalidated_at_unix_ms: int
    superseded_by: str


class History(Struct, frozen=True, kw_only=True):
    """The trail of closed versions, newest first; `total` counts the whole trail, `returned` this page."""

    category: str
    key: str
    versions: tuple[PastVersion, ...]
    total: int
    returned: int
    limit: int
    offset: int

    def wire(self) -> dict[str, Json]:
        """Return the JSON form, each version with the keys of its body lifted beside its own."""
        plain: dict[str, Json] = msgspec.to_builtins(self)
        plain["versions"] = [lift(item) for item in plain["versions"]]
        return plain


class Forgotten(Struct, frozen=True, kw_only=True):
    """Whether a live entity was archived by the call; both words say the same."""

    found: bool
    archived: bool
    category: str
    key: str


@operation(
    family=FAMILY,
    effect="write",
    title="Remember Entity",
    profile="core",
    idempotent=True,
    always_loaded=True,
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
            'The memory as JSON text, such as {"content": "..."}; an object is taken too.',
            json=True,
        ),
    ],
    status: Annotated[str | None, Doc("Such as draft, deprecated. New: active.")] = None,
    type: Annotated[str | None, Doc("Its kind. New: insight.")] = None,
    tags: Annotated[Sequence[str] | None, Doc("Words to find it by. New: none.")] = None,
    importance: Annotated[float, Doc("Starting strength of a new memory.", 0, 1)] = DEFAULT_IMPORTANCE,
    topic_path: Annotated[str | None, Doc("Path of its topic; a sequence shares one. New: none.")] = None,
    workspace_hash: Annotated[str, Doc("Its workspace; empty: global.")] = "",
    agent_id: Annotated[str | None, Doc("Its agent. New: the caller.")] = None,
    recall_when: Annotated[Sequence[str] | None, Doc("Situations that bring it up.")] = None,
    always_on: Annotated[bool | None, Doc("Pin it into every mimir_context. New: false.")] = None,
    certainty: Annotated[float | None, Doc("How sure it is. New: 0.5.", 0, 1)] = None,
    visibility: Annotated[str | None, Doc("Who may read it. New: workspace.", suggested=VISIBILITIES)] = None,
    layer: Annotated[str | None, Doc("world, semantic or episodic; use raises it. New: episodic.")] = None,
    valid_from_unix_ms: Annotated[int | None, Doc("When the fact begins to hold.")] = None,
    valid_to_unix_ms: Annotated[int | None, Doc("When the fact ceases to hold.")] = None,
    dedup: Annotated[
        Dedup | None,
        Doc("Merge a new key into an older memory of like text."),
    ] = None,
) -> Remembered:
    """Store a memory under category and key, or update it: the old text stays in history, what is left out stays.

    Use it after decisions, corrections and preferences; never for secrets. similar_to names older memories that read
    alike.

    Raises:
        InvalidInput: body_json is not JSON, a name is empty or too long, or validity ends before it begins.
    """
    draft = make_draft(
        category,
        key,
        body_json,
        secrets=engine.settings.secrets,
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


@operation(
    family=FAMILY,
    effect="read",
    title="Get Entity by ID",
    profile="core",
    read_in_full=True,
    example={"id": "mem-0123456789ab"},
)
def get_entity(
    engine: Engine,
    id: Annotated[str, Doc("The id, as in recall's items.")],
    offset: Annotated[int | None, Doc("Show a page of body_json from here.", 0, clamp=True)] = None,
) -> Found:
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
    if offset is None:
        return Found(entity_type=stored.entity.type, **fields)
    body = fields.pop("body_json")
    page, note = page_of(body, max(offset, 0))
    return Found(entity_type=stored.entity.type, body_json=page, truncated=note, **fields)


@operation(
    family=FAMILY,
    effect="read",
    title="Entity History",
    profile="core",
    read_in_full=True,
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

    The present one is in mimir_recall or mimir_as_of.

    Raises:
        Conflict: the key exists in several workspaces and none was named.
    """
    with engine.store.reading():
        stored = find_one(engine, category, key, workspace_hash)
        versions = () if stored is None else engine.store.versions(stored.number, max(limit, 0), max(offset, 0))
        total = 0 if stored is None else engine.store.count_versions(stored.number)
    shown = tuple(_past_version(version) for version in versions if may_read(engine, version.entity))
    return History(
        category=category,
        key=key,
        versions=shown,
        total=total,
        returned=len(shown),
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
        versions = () if stored is None else engine.store.versions(stored.number)
        believed = None
        if stored is not None:
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
        archived=was_archived(stored, versions, as_of_unix_ms),
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

    To erase it use mimir_purge, for many at once mimir_prune.

    Raises:
        Conflict: the key exists in several workspaces and none was named.
    """
    reason, _ = screened(engine.settings.secrets, "reason", reason)
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

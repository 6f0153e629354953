"""The nouns: what is stored, what is asked and what is answered. Frozen, keyword-only, no behaviour but `wire`.

Times are integer milliseconds since 1970 UTC, scores are floats in 0..1. A field that is `UNSET` is left out of the
wire form.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

Json: TypeAlias = Any
"""Any JSON value: the only place where the type of a value is left open."""

Mode: TypeAlias = Literal["fts5", "dense", "hybrid"]
Fusion: TypeAlias = Literal["score", "rrf"]
Dedup: TypeAlias = Literal["off", "exact", "similar"]


class Link(Struct, frozen=True, kw_only=True):
    """One directed edge from the entity that holds it."""

    target_id: str
    relationship: str
    weight: float


class Entity(Struct, frozen=True, kw_only=True):
    """One memory as it is now, or as a version of it was."""

    id: str
    category: str
    key: str
    body_json: str
    status: str = "active"
    type: str = "insight"
    tags: tuple[str, ...] = ()
    decay_score: float = 1.0
    retrieval_count: int = 0
    layer: str = "buffer"
    topic_path: str = ""
    archived: bool = False
    archive_reason: str = ""
    links: tuple[Link, ...] = ()
    verified: bool = False
    source: str = "agent"
    always_on: bool = False
    certainty: float = 0.5
    workspace_hash: str = ""
    agent_id: str = ""
    visibility: str = "workspace"
    created_at_unix_ms: int = 0
    last_accessed_unix_ms: int = 0
    recorded_at_unix_ms: int = 0
    valid_from_unix_ms: int | None = None
    valid_to_unix_ms: int | None = None


class Stored(Struct, frozen=True, kw_only=True):
    """An entity together with what only the store knows of it.

    `number` is its handle for passages and links, `passages` how many its text is split into, `score_floor` the
    strength below which no pass may take it, `archived_at_unix_ms` when it left recall.
    """

    number: int
    entity: Entity
    score_floor: float | None = None
    passages: int = 1
    archived_at_unix_ms: int | None = None


class Traits(Struct, frozen=True, kw_only=True, gc=False):
    """What ranking looks at in an entity beside the arms' scores."""

    id: str
    topic_path: str
    workspace_hash: str
    certainty: float
    verified: bool
    decay_score: float
    created_at_unix_ms: int


class Version(Struct, frozen=True, kw_only=True):
    """What an entity was in the half-open interval [recorded, invalidated).

    `amended` tells that the change which closed it replaced the same assertion (its validity, status or text was put
    right) rather than adding a later one beside it.
    """

    version_id: str
    entity: Entity
    invalidated_at_unix_ms: int
    superseded_by: str
    amended: bool
    archived_at_unix_ms: int | None = None


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """One row of the journal: what happened, about which memory, and how the row is bound to those before it.

    `payload` is what was said, or None once it was erased; the hashes are hex digits, see `mimir.rules.chain`.
    """

    sequence: int
    id: str
    event_type: str
    category: str
    key: str
    entity_id: str
    agent_id: str
    workspace_hash: str
    payload: str | None
    payload_commitment: str
    audit_hash: str
    created_at_unix_ms: int


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which events a read returns; None means that the field is not looked at. Both bounds of time are inclusive.

    `caller` keeps out what is about a memory that is private to another agent; `before` is a sequence number, `text`
    what its words or names hold.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    event_type: str | None = None
    category: str | None = None
    key: str | None = None
    entity_id: str | None = None
    agent_id: str | None = None
    workspace_hash: str | None = None
    before: int | None = None
    text: str | None = None
    caller: str | None = None


class Erased(Struct, frozen=True, kw_only=True):
    """How many entities and versions were removed for good, and how many journal rows lost their payload."""

    entities: int
    versions: int
    payloads: int


class Passage(Struct, frozen=True, kw_only=True, gc=False):
    """A span of an entity's text: `start` and `length` in characters."""

    start: int
    length: int


class Past(Struct, frozen=True, kw_only=True, gc=False):
    """A closed version with its text and passages; it has none when the text did not change with it."""

    version: Version
    text: str
    passages: tuple[Passage, ...]


class Whole(Struct, frozen=True, kw_only=True, gc=False):
    """A memory as another store kept it, ready to be added: its text laid out, its past with the oldest first."""

    stored: Stored
    text: str
    passages: tuple[Passage, ...]
    past: tuple[Past, ...] = ()


class Node(Struct, frozen=True, kw_only=True, gc=False):
    """An entity as a walk over the graph shows it; `archived` and `status` tell whether it has left recall."""

    id: str
    category: str
    key: str
    body_json: str
    links: tuple[Link, ...]
    archived: bool
    status: str


class StateEntry(Struct, frozen=True, kw_only=True):
    """A value kept under a key of its own, until it expires if a time is set."""

    key: str
    value_json: str
    expires_at_unix_ms: int | None
    created_at_unix_ms: int


class Filter(Struct, frozen=True, kw_only=True):
    """Which entities a read may return. None means that the field is not looked at.

    `caller` is the identity for private memories, which `every_caller` lifts for upkeep; `valid_at` is the instant
    at which a fact must hold; `past_versions` lets closed versions through as owners of passages. `left_recall` lets
    only what is archived or retired through, together with `include_archived`.
    """

    category: str | None = None
    excluded_categories: tuple[str, ...] = ()
    type: str | None = None
    workspace_hash: str | None = None
    agent_id: str | None = None
    layer: str | None = None
    topic_path: str | None = None
    min_decay: float = 0.0
    always_on: bool | None = None
    include_archived: bool = False
    caller: str = ""
    every_caller: bool = False
    valid_at: int | None = None
    past_versions: bool = False
    left_recall: bool = False
    tag: str | None = None
    status: str | None = None
    verified: bool | None = None


Sort: TypeAlias = Literal["accessed", "created", "changed", "strength", "uses", "key"]


class Order(Struct, frozen=True, kw_only=True):
    """How a list is sorted, ties by number, and behind which value and number a page of it begins."""

    by: Sort = "accessed"
    descending: bool = True
    after: tuple[str | float, int] | None = None


class Outline(Struct, frozen=True, kw_only=True, gc=False):
    """What a picture or a list of names shows of an entity."""

    id: str
    category: str
    key: str
    layer: str
    decay_score: float
    archived: bool
    status: str


class Edge(Struct, frozen=True, kw_only=True, gc=False):
    """A link with both of its ends by their numbers."""

    source: int
    target: int
    relationship: str
    weight: float


class Candidate(Struct, frozen=True, kw_only=True, gc=False):
    """A passage that one arm found, with the arm's raw score.

    `owner` is the number of an entity, or the negative number of one of its past versions; `passages` counts how many
    the owner has.
    """

    passage: int
    owner: int
    passages: int
    score: float


class Hit(Entity, frozen=True, kw_only=True):
    """An entity that recall returned, with the reasons for its place."""

    score: float = 0.0
    evidence: str = ""
    age_days: float = 0.0
    scores: dict[str, float] | UnsetType = UNSET
    confidence: float | UnsetType = UNSET
    version_id: str | UnsetType = UNSET
    invalidated_at_unix_ms: int | UnsetType = UNSET


class Recalled(Struct, frozen=True, kw_only=True):
    """The answer of a recall: hits in order, and how they were found.

    `arms` maps each arm that ran to its number of candidates; `pending` counts passages without a vector yet;
    `degraded` says in words which arm could not run, `truncated` what was left out to keep a bound.
    """

    items: tuple[Hit, ...]
    total: int
    mode: str
    arms: dict[str, int]
    pending: int | UnsetType = UNSET
    degraded: str | UnsetType = UNSET
    low_relevance: bool | UnsetType = UNSET
    variants: int | UnsetType = UNSET
    context: str | UnsetType = UNSET
    truncated: str | UnsetType = UNSET

    def wire(self) -> dict[str, Json]:
        """Return the JSON form, each item with the keys of its body lifted beside its own."""
        plain: dict[str, Json] = msgspec.to_builtins(self)
        plain["items"] = [lift(item) for item in plain["items"]]
        return plain


class Remembered(Struct, frozen=True, kw_only=True):
    """What remember did: `created`, `updated`, or merged into the memory that `id` names.

    `warnings` say where what was handed in seems to hold a secret.
    """

    id: str
    action: str
    category: str
    key: str
    similar_to: tuple[Similar, ...] | UnsetType = UNSET
    warnings: tuple[str, ...] | UnsetType = UNSET


class Similar(Struct, frozen=True, kw_only=True):
    """An older memory whose text resembles a new one; `similarity` is the Jaccard index of their trigrams."""

    id: str
    key: str
    similarity: float


class RememberedMany(Struct, frozen=True, kw_only=True):
    """How many memories a bulk write created and updated; `warnings` name the first that seem to hold a secret."""

    created: int
    updated: int
    warnings: tuple[str, ...] | UnsetType = UNSET


class Health(Struct, frozen=True, kw_only=True):
    """Whether the store answers, which file it is, and which workspace calls mean that name none, with the reason."""

    status: Literal["healthy", "unhealthy"]
    db_path: str
    detail: str | UnsetType = UNSET
    workspace: str | UnsetType = UNSET
    workspace_reason: str | UnsetType = UNSET


class Stats(Struct, frozen=True, kw_only=True):
    """Counts over the store; entities are those that the caller may read, archived ones but in `active_entities`."""

    total_entities: int
    active_entities: int
    by_category: dict[str, int]
    by_type: dict[str, int]
    by_layer: dict[str, int]
    total_journal_events: int
    total_state_entries: int
    total_versions: int
    total_links: int
    passages: int
    embedded: int
    pending_embeddings: int
    db_file_size_bytes: int
    oldest_unix_ms: int | None
    newest_unix_ms: int | None


class Reindexed(Struct, frozen=True, kw_only=True):
    """How many live entities the rebuilt text index holds."""

    reindexed: int


EQUAL_FIELDS = ("type", "workspace_hash", "agent_id", "layer", "always_on", "status", "verified")
"""The fields of a filter, beside the category, that a memory's own must equal."""

RETIRED_STATUSES = frozenset({"deprecated", "superseded", "expired", "invalidated"})
"""Statuses that take a memory out of default recall."""


def is_live(entity: Entity) -> bool:
    """Tell whether an entity takes part in default recall, whatever its validity in time."""
    return not entity.archived and entity.status not in RETIRED_STATUSES


def passes(entity: Entity, filter_: Filter) -> bool:
    """Tell whether a filter lets an entity through; the store's own condition says the same of its row."""
    if filter_.category is None:
        if entity.category in filter_.excluded_categories:
            return False
    elif entity.category != filter_.category:
        return False
    for name in EQUAL_FIELDS:
        wanted = getattr(filter_, name)
        if wanted is not None and getattr(entity, name) != wanted:
            return False
    start, end = entity.valid_from_unix_ms, entity.valid_to_unix_ms
    return (
        (filter_.tag is None or filter_.tag in entity.tags)
        and (filter_.topic_path is None or entity.topic_path.startswith(filter_.topic_path))
        and (filter_.min_decay <= 0 or entity.decay_score >= filter_.min_decay)
        and (is_live(entity) != filter_.left_recall if filter_.left_recall or not filter_.include_archived else True)
        and (filter_.valid_at is None or start is None or start <= filter_.valid_at)
        and (filter_.valid_at is None or end is None or end > filter_.valid_at)
        and (filter_.every_caller or is_readable(entity, filter_.caller))
    )


def is_readable(entity: Entity, caller: str) -> bool:
    """Tell whether a caller may see an entity: a private one only its own agent."""
    return entity.visibility != "private" or entity.agent_id == caller


_SYSTEM_FIELDS = frozenset(Entity.__struct_fields__) | frozenset(Hit.__struct_fields__)


def lift(item: dict[str, Json]) -> dict[str, Json]:
    """Return ``item`` with the top-level keys of its JSON-object body added, never replacing one of its own.

    What is null, an end of validity that is not set, is left out: a model reads every item.
    """
    item = {name: value for name, value in item.items() if value is not None}
    try:
        body = msgspec.json.decode(item["body_json"])
    except msgspec.DecodeError:
        return item
    if not isinstance(body, dict):
        return item
    lifted = {key: value for key, value in body.items() if key not in _SYSTEM_FIELDS}
    return {**lifted, **item}

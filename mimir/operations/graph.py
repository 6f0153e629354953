"""Graph: link memories, part them, and walk from one to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Struct

from mimir.drafts import check_names
from mimir.engine import Engine
from mimir.errors import InvalidInput, NotFound
from mimir.model import Entity, Filter, Link, Node
from mimir.operation import Doc, check_texts, operation, read_value
from mimir.operations.entities import Category, Key, WorkspaceToFind
from mimir.recording import find_one, may_read
from mimir.rules.graph import MAXIMUM_DEPTH, MAXIMUM_NODES, depth_first

FAMILY: Final = "Graph"

RELATED: Final = "related"
DEFAULT_WEIGHT: Final = 0.5
MAXIMUM_RELATIONSHIP_BYTES: Final = 256

_FIND_SOURCE: Final = "Take category and key from an item of mimir_recall."

SourceCategory = Annotated[str, Doc("Category of the source.")]
SourceKey = Annotated[str, Doc("Key of the source.")]


class Linked(Struct, frozen=True, kw_only=True, rename={"source": "from", "target": "to"}):
    """A link that is there now: from category/key to an id."""

    success: bool
    source: str
    target: str
    relationship: str
    weight: float


class Unlinked(Struct, frozen=True, kw_only=True, rename={"source": "from", "target": "to"}):
    """A pair that is not linked any more, and how many links were removed."""

    success: bool
    source: str
    target: str
    removed: int


class Reached(Node, frozen=True, kw_only=True, gc=False):
    """A memory that a walk reached: by a link of which relationship, and how many links from the start."""

    relationship: str
    depth: int


class Traversal(Struct, frozen=True, kw_only=True):
    """Where a walk began and what it reached; `truncated` tells that max_nodes left something out."""

    entity: Node
    traversed: tuple[Reached, ...]
    truncated: bool


@operation(
    family=FAMILY,
    effect="write",
    title="Link Entities",
    profile="core",
    idempotent=True,
    example={
        "from_category": "decision",
        "from_key": "database",
        "to_id": "mem-0123456789ac",
        "relationship": "depends_on",
    },
)
def link(
    engine: Engine,
    from_category: SourceCategory,
    from_key: SourceKey,
    to_id: Annotated[str, Doc("Id of the target.")],
    relationship: Annotated[str, Doc("Name of the link, such as depends_on.", positional=True)] = RELATED,
    weight: Annotated[float | None, Doc("Its strength. New: 0.5.", 0, 1)] = None,
    workspace_hash: WorkspaceToFind = None,
) -> Linked:
    """Connect one memory, the source, to another by a named link; two may have several.

    Use it when one depends on or contradicts the other; to retire one use mimir_supersede.

    Raises:
        NotFound: the source or the target does not exist.
        InvalidInput: both are the same memory, or the relationship is blank or too long.
        Conflict: the key exists in several workspaces and none was named.
    """
    check_texts(to_id=to_id)
    name = checked_relationship(engine, relationship)
    strength = None if weight is None else _checked_weight(weight)
    with engine.writing() as now:
        source = find_one(engine, from_category, from_key, workspace_hash)
        if source is None:
            raise NotFound(f"Link failed: Source entity not found: {from_category}/{from_key}", hint=_FIND_SOURCE)
        if source.entity.id == to_id:
            raise InvalidInput(f"{to_id} cannot be linked to itself.", hint="Name another memory as to_id.")
        target = engine.store.get(to_id)
        if target is None or not may_read(engine, target.entity):
            raise NotFound(
                f"Link failed: Target entity not found: {to_id}", hint="Take to_id from an item of mimir_recall."
            )
        known = {(one.target_id, one.relationship): one.weight for one in source.entity.links}
        former = known.get((to_id, name))
        if strength is None:
            strength = DEFAULT_WEIGHT if former is None else former
        if strength != former:
            engine.store.add_link(source.number, to_id, name, strength, now)
            used = msgspec.structs.replace(source.entity, last_accessed_unix_ms=now)
            engine.store.update_use(source.number, used)
    return Linked(success=True, source=f"{from_category}/{from_key}", target=to_id, relationship=name, weight=strength)


@operation(
    family=FAMILY,
    effect="destroy",
    title="Unlink Entities",
    profile="standard",
    idempotent=True,
    example={"from_category": "decision", "from_key": "cache", "to_id": "mem-0123456789ab"},
)
def unlink(
    engine: Engine,
    from_category: SourceCategory,
    from_key: SourceKey,
    to_id: Annotated[str, Doc("Id of the target.")],
    relationship: Annotated[str | None, Doc("Remove only the link of this name; left out: all.")] = None,
    workspace_hash: WorkspaceToFind = None,
) -> Unlinked:
    """Remove the links from one memory to another, for good; both memories stay. No such link is no error.

    Raises:
        NotFound: the source does not exist.
        Conflict: the key exists in several workspaces and none was named.
    """
    check_texts(to_id=to_id, relationship=relationship)
    with engine.writing() as now:
        source = find_one(engine, from_category, from_key, workspace_hash)
        if source is None:
            raise NotFound(f"Unlink failed: Source entity not found: {from_category}/{from_key}", hint=_FIND_SOURCE)
        removed = engine.store.remove_links(source.number, to_id, relationship or None)
        if removed:
            used = msgspec.structs.replace(source.entity, last_accessed_unix_ms=now)
            engine.store.update_use(source.number, used)
    return Unlinked(success=True, source=f"{from_category}/{from_key}", target=to_id, removed=removed)


@operation(
    family=FAMILY,
    effect="read",
    title="Traverse Entity Graph",
    profile="core",
    example={"category": "decision", "key": "cache", "max_depth": 2},
)
def traverse(
    engine: Engine,
    category: Category,
    key: Key,
    max_depth: Annotated[int, Doc("Most links in a row.", 0, MAXIMUM_DEPTH, clamp=True)] = 3,
    max_nodes: Annotated[int, Doc("Most memories returned.", 0, MAXIMUM_NODES, clamp=True)] = 100,
    relationship: Annotated[str | None, Doc("Follow only links of this name.")] = None,
    direction: Annotated[Literal["out", "in", "both"], Doc("As links point, against it, or both ways.")] = "out",
    workspace_hash: WorkspaceToFind = None,
) -> Traversal:
    """Walk the links from one memory, depth first, and return each memory reached once, archived ones marked.

    Use it to see what something depends on, or with direction in what depends on it.

    Raises:
        NotFound: there is no such memory.
        Conflict: the key exists in several workspaces and none was named.
    """
    check_texts(relationship=relationship)
    readable = Filter(include_archived=True, caller=engine.settings.agent_id)
    incoming: dict[str, tuple[Link, ...]] = {}

    def fetch(ids: Sequence[str]) -> Mapping[str, Node]:
        found = engine.store.nodes(ids, readable)
        if direction != "out":
            incoming.update(engine.store.links_to(found))
        return found

    def links_of(node: Node) -> Sequence[Link]:
        links = node.links if direction == "out" else incoming.get(node.id, ())
        if direction == "both":
            links = node.links + links
        return [one for one in links if one.relationship == relationship] if relationship else links

    with engine.store.reading():
        root = find_one(engine, category, key, workspace_hash)
        if root is None:
            raise NotFound(f"Traverse failed: entity not found: {category}/{key}", hint=_FIND_SOURCE)
        start = _node_of(root.entity)
        if direction != "out":
            incoming.update(engine.store.links_to([start.id]))
        steps, truncated = depth_first(
            start,
            fetch,
            links_of,
            max_depth=min(max_depth, MAXIMUM_DEPTH),
            max_nodes=min(max(max_nodes, 0), MAXIMUM_NODES),
        )
    return Traversal(
        entity=start,
        traversed=tuple(
            Reached(
                id=node.id,
                category=node.category,
                key=node.key,
                body_json=node.body_json,
                links=node.links,
                archived=node.archived,
                status=node.status,
                relationship=name,
                depth=depth,
            )
            for node, name, depth in steps
        ),
        truncated=truncated,
    )


def _node_of(entity: Entity) -> Node:
    return Node(
        id=entity.id,
        category=entity.category,
        key=entity.key,
        body_json=entity.body_json,
        links=entity.links,
        archived=entity.archived,
        status=entity.status,
    )


def _checked_weight(weight: float) -> float:
    checked: float = read_value("weight", weight, "number")
    if not 0.0 <= checked <= 1.0:
        raise InvalidInput(f"'weight' is {weight}.", hint="Give a number from 0 to 1.")
    return checked


def checked_relationship(engine: Engine, relationship: str) -> str:
    """Return the name of a link as it is kept.

    Raises:
        InvalidInput: it is blank, too long, or holds a secret that may not be stored.
    """
    check_texts(relationship=relationship)
    if relationship == "":
        return RELATED
    if relationship.isspace():
        raise InvalidInput("'relationship' is blank.", hint="Name it, such as depends_on, or leave it out.")
    size = len(relationship.encode())
    if size > MAXIMUM_RELATIONSHIP_BYTES:
        raise InvalidInput(
            f"'relationship' is {size} bytes long.", hint=f"Use at most {MAXIMUM_RELATIONSHIP_BYTES} bytes."
        )
    check_names(engine.settings.secrets, relationship=relationship)
    return relationship

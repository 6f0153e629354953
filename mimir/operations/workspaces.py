"""Workspaces: which there are, and copies of memories from one to another."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Struct

from mimir.drafts import Draft, check_names
from mimir.engine import Engine, text_of
from mimir.errors import Conflict, InvalidInput, NotFound
from mimir.model import Entity, Filter, Link, Stored
from mimir.operation import Doc, check_texts, operation
from mimir.operations.entities import Category, Key, WorkspaceToFind
from mimir.progress import report
from mimir.recording import add, may_read, the_one, update
from mimir.rules.text import split_passages

FAMILY: Final = "Vault & Workspaces"

_BATCH: Final = 50
"""Memories copied in one transaction: a few tens of milliseconds, so that other writers need not wait long."""

_CARRIED: Final = (
    "agent_id",
    "always_on",
    "certainty",
    "source",
    "status",
    "tags",
    "topic_path",
    "type",
    "valid_from_unix_ms",
    "valid_to_unix_ms",
    "verified",
    "visibility",
)
"""What a memory that is copied once more passes on to its copy."""


class Workspace(Struct, frozen=True, kw_only=True):
    """One workspace, the empty name being the global one, and how many live memories it holds."""

    workspace_hash: str
    entities: int


class Workspaces(Struct, frozen=True, kw_only=True):
    """The categories that hold live memories, `total` of them, and the workspaces."""

    categories: tuple[str, ...]
    total: int
    workspaces: tuple[Workspace, ...]


class Shared(Struct, frozen=True, kw_only=True):
    """The copy of a memory in another workspace: `created` there, or `updated`."""

    shared_id: str
    action: str
    from_workspace: str
    to_workspace: str


class Federated(Struct, frozen=True, kw_only=True):
    """How many memories were read, given their new workspace and written, and which of them could not be.

    `links_dropped` counts links that lead to memories which are neither copied nor in the global workspace.
    """

    exported: int
    remapped: int
    imported: int
    import_errors: tuple[str, ...]
    links_dropped: int


@operation(family=FAMILY, effect="read", title="List Workspace Categories")
def workspace_list(engine: Engine) -> Workspaces:
    """List the categories in use, and the workspaces with the number of their memories.

    For counts over everything, archived memories included, see mimir_stats.
    """
    with engine.store.reading():
        counts = engine.store.count_by_scope(Filter(caller=engine.settings.agent_id))
    entities: dict[str, int] = {}
    for workspace_hash, _, count in counts:
        entities[workspace_hash] = entities.get(workspace_hash, 0) + count
    categories = tuple(sorted({category for _, category, _ in counts}))
    return Workspaces(
        categories=categories,
        total=len(categories),
        workspaces=tuple(Workspace(workspace_hash=name, entities=count) for name, count in entities.items()),
    )


@operation(
    family=FAMILY,
    effect="write",
    title="Share Entity to Workspace",
    example={"category": "decision", "key": "database", "to_workspace": "team"},
)
def share(
    engine: Engine,
    category: Category,
    key: Key,
    to_workspace: Annotated[str, Doc("Workspace that gets the copy; empty is the global one.")],
    workspace_hash: WorkspaceToFind = None,
) -> Shared:
    """Copy one memory, with its links, into another workspace; the original stays.

    A memory of the same name there is updated, its old text kept in history. For a whole workspace use
    mimir_federate.

    Raises:
        NotFound: no live memory has this category and key.
        InvalidInput: it is in that workspace already.
        Conflict: the key exists in several other workspaces and none was named.
    """
    check_texts(to_workspace=to_workspace)
    check_names(engine.settings.secrets, to_workspace=to_workspace)
    with engine.writing() as now:
        stored = _to_share(engine, category, key, workspace_hash, to_workspace)
        entity = stored.entity
        copy, action = _copy(engine, stored, to_workspace, now)
        _add_links(engine, copy, entity.links, now)
    engine.note_pending()
    return Shared(
        shared_id=copy.entity.id,
        action=action,
        from_workspace=entity.workspace_hash,
        to_workspace=to_workspace,
    )


@operation(
    family=FAMILY,
    effect="write",
    title="Federate Entities Between Workspaces",
    long=True,
    example={"from_workspace": "", "to_workspace": "team"},
)
def federate(
    engine: Engine,
    from_workspace: Annotated[str, Doc("Workspace to copy; empty is the global one.")],
    to_workspace: Annotated[str, Doc("Workspace that gets the copies.")],
    vault_dir: Annotated[str | None, Doc("Not needed: no files are written.")] = None,
) -> Federated:
    """Copy every live memory of one workspace into another, with the links among them; the originals stay.

    Memories of the same name there are updated, their old text kept in history. For one memory use mimir_share.

    Raises:
        InvalidInput: both workspaces are the same.
    """
    check_texts(from_workspace=from_workspace, to_workspace=to_workspace, vault_dir=vault_dir)
    check_names(engine.settings.secrets, to_workspace=to_workspace)
    _check_apart(from_workspace, to_workspace)
    source = Filter(workspace_hash=from_workspace, caller=engine.settings.agent_id)
    numbers = [stored.number for batch in engine.store.scan(source) for stored in batch]
    copies: dict[str, str] = {}
    linked: list[int] = []
    errors: list[str] = []
    for start in range(0, len(numbers), _BATCH):
        with engine.writing() as now:
            for stored in _still(engine, source, numbers[start : start + _BATCH]):
                entity = stored.entity
                try:
                    copy, _ = _copy(engine, stored, to_workspace, now)
                except (Conflict, InvalidInput) as error:
                    # Both are raised before anything of this memory is written.
                    errors.append(f"{entity.category}/{entity.key}: {error.message}")
                    continue
                copies[entity.id] = copy.entity.id
                if entity.links:
                    linked.append(stored.number)
        report(min(start + _BATCH, len(numbers)), len(numbers))
    dropped = 0
    for start in range(0, len(linked), _BATCH):
        with engine.writing() as now:
            for stored in engine.store.load(linked[start : start + _BATCH]).values():
                dropped += _copy_links(engine, stored.entity, copies, now)
    engine.note_pending()
    exported = len(copies) + len(errors)
    return Federated(
        exported=exported,
        remapped=exported,
        imported=len(copies),
        import_errors=tuple(errors),
        links_dropped=dropped,
    )


def _to_share(engine: Engine, category: str, key: str, workspace_hash: str | None, to_workspace: str) -> Stored:
    """Return the live memory that is meant; without a named workspace, the copy in the target does not compete."""
    check_texts(category=category, key=key, workspace_hash=workspace_hash)
    rows = engine.store.find(category, key, workspace_hash)
    live = [stored for stored in rows if may_read(engine, stored.entity) and not stored.entity.archived]
    found = the_one([one for one in live if one.entity.workspace_hash != to_workspace], category, key)
    if found is None:
        for stored in live:
            _check_apart(stored.entity.workspace_hash, to_workspace)
        raise NotFound(f"Entity not found: {category}/{key}", hint="Take both from an item of mimir_recall.")
    return found


def _still(engine: Engine, source: Filter, numbers: list[int]) -> list[Stored]:
    """Return those of the entities that pass the filter now, in their order."""
    passing = engine.store.passing(source, numbers)
    return sorted(engine.store.load(passing).values(), key=lambda stored: stored.number)


def _check_apart(from_workspace: str, to_workspace: str) -> None:
    if from_workspace == to_workspace:
        name = f"workspace {to_workspace!r}" if to_workspace else "global workspace"
        raise InvalidInput(f"It is in the {name} already.", hint="Name another workspace.")


def _copy(engine: Engine, stored: Stored, to_workspace: str, now: int) -> tuple[Stored, str]:
    """Write a memory into another workspace, without its links; return the copy and what was done."""
    entity, store = stored.entity, engine.store
    found = store.find(entity.category, entity.key, to_workspace)
    if found:
        update(engine, found[0], _draft_of(entity, to_workspace), now)
        return found[0], "updated"
    copy = msgspec.structs.replace(
        entity,
        id=engine.clock.new_id("mem-"),
        workspace_hash=to_workspace,
        retrieval_count=0,
        layer="buffer",
        links=(),
        last_accessed_unix_ms=now,
        recorded_at_unix_ms=now,
    )
    made = msgspec.structs.replace(stored, number=add(engine, copy), entity=copy)
    if made.score_floor is not None:
        store.update(made)
    return made, "created"


def _draft_of(entity: Entity, to_workspace: str) -> Draft:
    text = text_of(entity)
    return Draft(
        category=entity.category,
        key=entity.key,
        body_json=entity.body_json,
        text=text,
        passages=split_passages(text),
        workspace_hash=to_workspace,
        importance=entity.decay_score,
        source=entity.source,
        prefix="mem-",
        changes={name: getattr(entity, name) for name in _CARRIED},
    )


def _copy_links(engine: Engine, entity: Entity, copies: dict[str, str], now: int) -> int:
    """Give the copy of an entity its links, led to the copies of their targets; return how many had to be dropped."""
    copy = engine.store.get(copies[entity.id])
    if copy is None:
        return 0
    kept = []
    for link in entity.links:
        target = copies.get(link.target_id)
        if target is not None:
            kept.append(msgspec.structs.replace(link, target_id=target))
        elif _is_common(engine, link.target_id):
            kept.append(link)
    _add_links(engine, copy, tuple(kept), now)
    return len(entity.links) - len(kept)


def _is_common(engine: Engine, entity_id: str) -> bool:
    found = engine.store.get(entity_id)
    return found is not None and found.entity.workspace_hash == "" and may_read(engine, found.entity)


def _add_links(engine: Engine, copy: Stored, links: tuple[Link, ...], now: int) -> None:
    for link in links:
        if link.target_id != copy.entity.id:
            engine.store.add_link(copy.number, link.target_id, link.relationship, link.weight, now)

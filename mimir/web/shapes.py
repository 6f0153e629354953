"""How memories are shown: in full, in a list, as one of their versions."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from mimir.engine import Engine
from mimir.errors import InvalidInput
from mimir.model import Entity, Filter, Json, Link, Order, Sort, Stored, Version, lift

BODY_CHARACTERS: Final = 20_000
"""How much of a body a list shows; the memory itself has the rest."""

SORT_FIELDS: Final[Mapping[Sort, str]] = {
    "accessed": "last_accessed_unix_ms",
    "created": "created_at_unix_ms",
    "changed": "recorded_at_unix_ms",
    "strength": "decay_score",
    "uses": "retrieval_count",
    "key": "key",
}


def readable(engine: Engine, workspace: str | None = None) -> Filter:
    """Return the filter of everything that the caller may see, in one workspace or all."""
    return Filter(include_archived=True, caller=engine.settings.agent_id, workspace_hash=workspace)


def shown(entity: Entity, **more: Json) -> dict[str, Json]:
    """Return a memory with the keys of its body beside its own, and more fields, none of which a body can replace."""
    plain = lift(msgspec.to_builtins(entity))
    bounds = {"valid_from_unix_ms": entity.valid_from_unix_ms, "valid_to_unix_ms": entity.valid_to_unix_ms}
    return {**plain, **bounds, "entity_type": entity.type, "links_count": len(entity.links), **more}


def listed(engine: Engine, stored: Sequence[Stored]) -> list[dict[str, Json]]:
    """Return memories for a list, long bodies cut, each with its revision."""
    revisions = engine.store.changes_of([one.number for one in stored])
    return [shown(**_cut(one.entity), revision=revisions.get(one.number, 0)) for one in stored]


def _cut(entity: Entity) -> dict[str, Json]:
    if len(entity.body_json) <= BODY_CHARACTERS:
        return {"entity": entity}
    body = entity.body_json[:BODY_CHARACTERS]
    return {"entity": msgspec.structs.replace(entity, body_json=body), "body_truncated": True}


def in_full(engine: Engine, stored: Stored) -> dict[str, Json]:
    """Return one memory with what it is linked to and from, and the revision that a change of it must name."""
    entity = stored.entity
    incoming = engine.store.links_to([entity.id]).get(entity.id, ())
    known = engine.store.nodes({link.target_id for link in (*entity.links, *incoming)}, readable(engine))

    def ends(links: Iterable[Link], name: str, *, only_known: bool) -> list[dict[str, Json]]:
        return [
            {
                f"{name}_id": link.target_id,
                "relationship": link.relationship,
                "weight": link.weight,
                name: _end(known.get(link.target_id)),
            }
            for link in links
            if link.target_id in known or not only_known
        ]

    return shown(
        entity,
        links=ends(entity.links, "target", only_known=False),
        backlinks=ends(incoming, "source", only_known=True),
        revision=engine.store.changes_of([stored.number]).get(stored.number, 0),
        versions=engine.store.count_versions(stored.number) + 1,
        passages=stored.passages,
        score_floor=stored.score_floor,
        archived_at_unix_ms=stored.archived_at_unix_ms,
    )


def _end(node: Json) -> Json:
    if node is None:
        return None
    return {"category": node.category, "key": node.key, "archived": node.archived, "status": node.status}


def version_shown(version: Version) -> dict[str, Json]:
    """Return a past version of a memory."""
    return shown(
        version.entity,
        version_id=version.version_id,
        invalidated_at_unix_ms=version.invalidated_at_unix_ms,
        superseded_by=version.superseded_by,
        archived_at_unix_ms=version.archived_at_unix_ms,
    )


def cursor_after(stored: Stored, by: Sort) -> str:
    """Return where the page behind a memory begins."""
    place = (getattr(stored.entity, SORT_FIELDS[by]), stored.number)
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def order_of(by: Sort, *, descending: bool, cursor: str | None) -> Order:
    """Return the order of a list and where its page begins.

    Raises:
        InvalidInput: the cursor is not one that a page gave.
    """
    if not cursor:
        return Order(by=by, descending=descending)
    kind: object = tuple[str, int] if by == "key" else tuple[float, int]
    try:
        place = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=kind)
    except ValueError:
        hint = "Take it from next of the page before."
        raise InvalidInput("'after' is no cursor of this list.", hint=hint) from None
    return Order(by=by, descending=descending, after=place)

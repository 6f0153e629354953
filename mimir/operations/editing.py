"""What a person does to one memory by its id: edit it, revive it, put it back; each a change like any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mimir.drafts import check_period, make_draft
from mimir.engine import Engine
from mimir.errors import InvalidInput, NotFound
from mimir.model import RETIRED_STATUSES, Entity, Json, Stored
from mimir.operation import check_texts, read_value
from mimir.recording import change, may_read

_BOUNDS: Final = ("valid_from_unix_ms", "valid_to_unix_ms")
_DRAFTED: Final = (
    "always_on",
    "certainty",
    "layer",
    "status",
    "tags",
    "topic_path",
    "type",
    "visibility",
    *_BOUNDS,
)
EDITABLE: Final = frozenset({"body", "verified", *_DRAFTED})
"""What of a memory can be edited; its category, key and workspace are its identity."""

_PUT_BACK: Final = ("body_json", "verified", "archived", "archive_reason", *_DRAFTED)


def edit(engine: Engine, id: str, changes: Mapping[str, Json]) -> None:
    """Change the given fields of one memory and nothing else of it; a bound of validity that is None is lifted.

    Raises:
        NotFound: no memory has this id.
        InvalidInput: a field is unknown or out of range, or validity ends before it begins.
    """
    unknown = changes.keys() - EDITABLE
    if unknown:
        raise InvalidInput(f"'{min(unknown)}' cannot be edited.", hint=f"Use: {', '.join(sorted(EDITABLE))}.")
    with engine.writing() as now:
        stored = require(engine, id)
        before = stored.entity
        body = changes.get("body")
        draft = make_draft(
            before.category,
            before.key,
            {} if body is None else body,
            secrets=engine.settings.secrets,
            workspace_hash=before.workspace_hash,
            changes={name: changes.get(name) for name in _DRAFTED},
        )
        fields: dict[str, Any] = dict(draft.changes)
        if body is not None:
            fields["body_json"] = draft.body_json
        fields.update(
            {name: None for name in ("valid_from_unix_ms", "valid_to_unix_ms") if changes.get(name, 0) is None}
        )
        if changes.get("verified") is not None:
            fields["verified"] = read_value("verified", changes["verified"], "boolean")
        after = msgspec.structs.replace(before, **fields)
        check_period(after.valid_from_unix_ms, after.valid_to_unix_ms)
        change(engine, stored, after, now, amends=True, passages=None if body is None else draft.passages)
    engine.note_pending()


def revive(engine: Engine, id: str) -> None:
    """Bring a memory that was forgotten, archived or retired back into recall.

    Raises:
        NotFound: no memory has this id.
    """
    with engine.writing() as now:
        stored = require(engine, id)
        entity = stored.entity
        ended = entity.valid_to_unix_ms is not None and entity.valid_to_unix_ms <= now
        back = msgspec.structs.replace(
            entity,
            archived=False,
            archive_reason="",
            status="active" if entity.status in RETIRED_STATUSES else entity.status,
            valid_to_unix_ms=None if ended else entity.valid_to_unix_ms,
            last_accessed_unix_ms=now,
        )
        change(engine, stored, back, now, amends=True)
    engine.note_pending()


def put_back(engine: Engine, former: Entity) -> None:
    """Give a memory the fields and links that it had.

    Raises:
        NotFound: it was erased.
    """
    with engine.writing() as now:
        stored = require(engine, former.id)
        fields = {name: getattr(former, name) for name in _PUT_BACK}
        change(engine, stored, msgspec.structs.replace(stored.entity, **fields), now, amends=True)
        present, wanted = set(stored.entity.links), set(former.links)
        for link in present - wanted:
            engine.store.remove_links(stored.number, link.target_id, link.relationship)
        for link in wanted - present:
            engine.store.add_link(stored.number, link.target_id, link.relationship, link.weight, now)
    engine.note_pending()


def require(engine: Engine, id: str) -> Stored:
    """Return the memory with an id, if the caller may see it.

    Raises:
        NotFound: there is none.
    """
    check_texts(id=id)
    stored = engine.store.get(id)
    if stored is None or not may_read(engine, stored.entity):
        raise NotFound(f"There is no memory {id!r:.80}.", hint="It may have been erased meanwhile.")
    return stored

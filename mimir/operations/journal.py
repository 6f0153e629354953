"""Journal: write down what was decided and done, and read it back in order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import UNSET, Struct, UnsetType

from mimir.config import MAXIMUM_CATEGORY_BYTES, MAXIMUM_KEY_BYTES
from mimir.drafts import screened_all
from mimir.engine import Engine
from mimir.errors import InvalidInput
from mimir.journaling import MAXIMUM_FIELD_BYTES, append_event, json_text
from mimir.model import Event, EventFilter, Json
from mimir.operation import Doc, check_texts, operation
from mimir.rules.chain import read_payload

FAMILY: Final = "Journal"
DEFAULT_EVENT: Final = "decision"
MAXIMUM_LIMIT: Final = 1_000
MAXIMUM_OFFSET: Final = 10_000

_NOTHING: Final = ("null", "null", "null")
_BOUNDS: Final = {"event_type": MAXIMUM_CATEGORY_BYTES, "category": MAXIMUM_CATEGORY_BYTES}


class Journalled(Struct, frozen=True, kw_only=True):
    """The event as it was appended; `sequence` is its place, `warnings` say where it seems to hold a secret."""

    id: str
    event_type: str
    created_at_unix_ms: int
    sequence: int
    warnings: tuple[str, ...] | UnsetType = UNSET


class TimelineItem(Struct, frozen=True, kw_only=True):
    """One event; what it said are JSON texts, all of them `null` with `erased` once its memory was purged."""

    id: str
    event_type: str
    evaluated_json: str
    acted_json: str
    forward_json: str
    category: str
    key: str
    entity_id: str
    agent_id: str
    created_at_unix_ms: int
    workspace_hash: str
    sequence: int
    erased: bool | UnsetType = UNSET


class Timeline(Struct, frozen=True, kw_only=True):
    """Events, newest first; `total` counts these."""

    items: tuple[TimelineItem, ...]
    total: int


@operation(
    family=FAMILY,
    effect="write",
    title="Append Journal Entry",
    profile="standard",
    example={
        "event_type": "decision",
        "evaluated": {"options": ["SQLite", "PostgreSQL"]},
        "acted": {"chosen": "SQLite"},
        "category": "decision",
        "key": "database",
    },
)
def journal(
    engine: Engine,
    event_type: Annotated[str, Doc("Such as decision, action or error.")] = DEFAULT_EVENT,
    evaluated: Annotated[Mapping[str, Json] | Json, Doc("What was considered; any JSON.", json=True)] = None,
    acted: Annotated[Mapping[str, Json] | Json, Doc("What was done; any JSON.", json=True)] = None,
    forward: Annotated[Mapping[str, Json] | Json, Doc("What follows; any JSON.", json=True)] = None,
    category: Annotated[str, Doc("Category of its memory.")] = "",
    key: Annotated[str, Doc("Key of its memory.")] = "",
    entity_id: Annotated[str, Doc("Id of its memory.")] = "",
    agent_id: Annotated[str, Doc("Who acted. Default: the caller.")] = "",
    workspace_hash: Annotated[str, Doc("Workspace of its memory.")] = "",
) -> Journalled:
    """Append an event to the journal, whose rows are never changed; mimir_timeline reads them.

    Use it for what happened and mimir_remember for what should be recalled.

    Raises:
        InvalidInput: a value is no JSON or longer than 64 KB, or a text is too long.
    """
    texts = {
        "event_type": event_type,
        "category": category,
        "key": key,
        "entity_id": entity_id,
        "agent_id": agent_id,
        "workspace_hash": workspace_hash,
    }
    check_texts(**texts)
    for name, text in texts.items():
        most = _BOUNDS.get(name, MAXIMUM_KEY_BYTES)
        if len(text.encode()) > most:
            raise InvalidInput(f"'{name}' is {len(text.encode())} bytes long.", hint=f"Use at most {most} bytes.")
    texts, warnings = screened_all(engine.settings.secrets, texts)
    values = {"evaluated": _value(evaluated), "acted": _value(acted), "forward": _value(forward)}
    values, more = screened_all(engine.settings.secrets, values)
    for name, value in values.items():
        size = len(json_text(name, value).encode())
        if size > MAXIMUM_FIELD_BYTES:
            raise InvalidInput(
                f"Journal field exceeds 64KB limit: '{name}' is {size} bytes of JSON.",
                hint=f"Use at most {MAXIMUM_FIELD_BYTES} bytes; remember long texts and name their key here.",
            )
    with engine.writing() as now:
        event = append_event(
            engine,
            now,
            texts["event_type"] or DEFAULT_EVENT,
            **values,
            category=texts["category"],
            key=texts["key"],
            entity_id=texts["entity_id"],
            agent_id=texts["agent_id"] or None,
            workspace_hash=texts["workspace_hash"],
        )
    return Journalled(
        id=event.id,
        event_type=event.event_type,
        created_at_unix_ms=event.created_at_unix_ms,
        sequence=event.sequence,
        warnings=warnings + more or UNSET,
    )


@operation(
    family=FAMILY,
    effect="read",
    title="Query Journal Timeline",
    profile="standard",
    example={"category": "decision", "limit": 5},
)
def timeline(
    engine: Engine,
    from_ms: Annotated[int | None, Doc("Earliest, in ms since 1970 UTC, inclusive.")] = None,
    to_ms: Annotated[int | None, Doc("Latest, inclusive.")] = None,
    event_type: Annotated[str | None, Doc("Only this kind.")] = None,
    category: Annotated[str | None, Doc("Only this category.")] = None,
    entity_id: Annotated[str | None, Doc("Only about this memory.")] = None,
    limit: Annotated[int, Doc("Most events.", 0, MAXIMUM_LIMIT, clamp=True)] = 50,
    offset: Annotated[int, Doc("Events to skip.", 0, MAXIMUM_OFFSET, clamp=True)] = 0,
    key: Annotated[str | None, Doc("Only this key.")] = None,
    agent_id: Annotated[str | None, Doc("Only this agent.")] = None,
    workspace_hash: Annotated[str | None, Doc("Only this workspace; empty: global.")] = None,
) -> Timeline:
    """Read the journal, newest event first: what was decided and done, and when.

    What one memory said before is for mimir_history. evaluated_json, acted_json and forward_json are JSON texts.
    """
    check_texts(
        event_type=event_type,
        category=category,
        entity_id=entity_id,
        key=key,
        agent_id=agent_id,
        workspace_hash=workspace_hash,
    )
    filter_ = EventFilter(
        from_ms=from_ms,
        to_ms=to_ms,
        event_type=event_type or None,
        category=category or None,
        key=key or None,
        entity_id=entity_id or None,
        agent_id=agent_id or None,
        workspace_hash=workspace_hash,
        caller=engine.settings.agent_id,
    )
    with engine.store.reading():
        events = engine.store.events(filter_, _within(limit, MAXIMUM_LIMIT), _within(offset, MAXIMUM_OFFSET))
        items = tuple(map(item_of, events))
    return Timeline(items=items, total=len(items))


def item_of(event: Event) -> TimelineItem:
    """Return an event as the timeline shows it."""
    evaluated, acted, forward = _NOTHING if event.payload is None else read_payload(event.payload)
    return TimelineItem(
        id=event.id,
        event_type=event.event_type,
        evaluated_json=evaluated,
        acted_json=acted,
        forward_json=forward,
        category=event.category,
        key=event.key,
        entity_id=event.entity_id,
        agent_id=event.agent_id,
        created_at_unix_ms=event.created_at_unix_ms,
        workspace_hash=event.workspace_hash,
        sequence=event.sequence,
        erased=event.payload is None or UNSET,
    )


def _value(given: Json) -> Json:
    """Return a value as it was given, or the object that it is the JSON text of."""
    if isinstance(given, str) and given.lstrip().startswith("{"):
        try:
            read = json.loads(given)
        except (ValueError, RecursionError):
            return given
        return read if isinstance(read, dict) else given
    return given


def _within(number: int, most: int) -> int:
    return min(max(number, 0), most)

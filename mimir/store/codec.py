"""Rows to model and back: the one place where a body is laid down or taken up."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from mimir.model import Entity, Link, Stored, Version

COLUMNS: Final = (
    "id",
    "category",
    "key",
    "workspace_hash",
    "body_json",
    "status",
    "type",
    "tags",
    "decay_score",
    "retrieval_count",
    "layer",
    "topic_path",
    "archived",
    "archive_reason",
    "verified",
    "source",
    "always_on",
    "certainty",
    "agent_id",
    "visibility",
    "created_at_unix_ms",
    "last_accessed_unix_ms",
    "recorded_at_unix_ms",
    "valid_from_unix_ms",
    "valid_to_unix_ms",
    "score_floor",
    "passages",
    "archived_at_unix_ms",
)
"""The columns that an entity and a version of it share, in the order of every row here."""

_NO_TAGS: Final = "[]"
_encode = msgspec.json.Encoder().encode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_links = msgspec.json.Decoder(tuple[Link, ...]).decode


def entity_row(stored: Stored) -> tuple[Any, ...]:
    """Return the values of `COLUMNS` for an entity."""
    entity = stored.entity
    return (
        entity.id,
        entity.category,
        entity.key,
        entity.workspace_hash,
        entity.body_json,
        entity.status,
        entity.type,
        _encode(entity.tags).decode() if entity.tags else _NO_TAGS,
        entity.decay_score,
        entity.retrieval_count,
        entity.layer,
        entity.topic_path,
        1 if entity.archived else 0,
        entity.archive_reason,
        1 if entity.verified else 0,
        entity.source,
        1 if entity.always_on else 0,
        entity.certainty,
        entity.agent_id,
        entity.visibility,
        entity.created_at_unix_ms,
        entity.last_accessed_unix_ms,
        entity.recorded_at_unix_ms,
        entity.valid_from_unix_ms,
        entity.valid_to_unix_ms,
        stored.score_floor,
        stored.passages,
        stored.archived_at_unix_ms,
    )


def stored_from_row(number: int, row: tuple[Any, ...], links: tuple[Link, ...] = ()) -> Stored:
    """Return the entity of one row of `COLUMNS`."""
    return Stored(
        number=number,
        entity=_entity(row, links),
        score_floor=row[25],
        passages=row[26],
        archived_at_unix_ms=row[27],
    )


def version_from_row(row: tuple[Any, ...]) -> Version:
    """Return the version of one row of `COLUMNS` followed by version_id, links and how the version ended."""
    version_id, links, invalidated_at, superseded_by, amended = row[len(COLUMNS) :]
    return Version(
        version_id=version_id,
        entity=_entity(row, links_from_text(links)),
        invalidated_at_unix_ms=invalidated_at,
        superseded_by=superseded_by,
        amended=bool(amended),
        archived_at_unix_ms=row[27],
    )


def links_as_text(links: tuple[Link, ...]) -> str:
    """Return links as the JSON text that a version keeps."""
    return _encode(links).decode()


def links_from_text(text: str) -> tuple[Link, ...]:
    """Return the links of a version's JSON text."""
    return _decode_links(text) if text != _NO_TAGS else ()


def _entity(row: tuple[Any, ...], links: tuple[Link, ...]) -> Entity:
    tags = row[7]
    return Entity(
        id=row[0],
        category=row[1],
        key=row[2],
        workspace_hash=row[3],
        body_json=row[4],
        status=row[5],
        type=row[6],
        tags=_decode_tags(tags) if tags != _NO_TAGS else (),
        decay_score=row[8],
        retrieval_count=row[9],
        layer=row[10],
        topic_path=row[11],
        archived=bool(row[12]),
        archive_reason=row[13],
        links=links,
        verified=bool(row[14]),
        source=row[15],
        always_on=bool(row[16]),
        certainty=row[17],
        agent_id=row[18],
        visibility=row[19],
        created_at_unix_ms=row[20],
        last_accessed_unix_ms=row[21],
        recorded_at_unix_ms=row[22],
        valid_from_unix_ms=row[23],
        valid_to_unix_ms=row[24],
    )

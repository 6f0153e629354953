"""Rows to model and back: the one place where a body is laid down or taken up, sealed if the store is."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from mimir.crypto import FieldCipher, bound_as_original, bound_to
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
    "has_triggers",
)
"""The columns that an entity and a version of it share, in the order of every row here."""

BODY_COLUMNS: Final = ("body_json", "id", "workspace_hash", "category", "key")
"""The columns that `opened_body` needs, in its order."""

UNREADABLE: Final = '{"error":"decryption failed: this body was changed outside Mimir, or belongs to another memory"}'
"""The body of a memory whose sealed body is not authentic; what is stored is never returned."""

_TRIGGER_MARK: Final = '"recall_when"'

_NO_TAGS: Final = "[]"
_encode = msgspec.json.Encoder().encode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_links = msgspec.json.Decoder(tuple[Link, ...]).decode


class BodySeal:
    """How the bodies of one store are sealed: which cipher, and what each body is bound to.

    Where the pages of the file are encrypted too, a body is bound to its table and to the identity of its row. In a
    plain file it has the form of the Rust Mimir, bound to category and key; that leaves a body exchangeable with one
    of another workspace, or with an older one of the same category and key.
    """

    def __init__(self, cipher: FieldCipher, *, original_form: bool) -> None:
        self._cipher = cipher
        self._original_form = original_form

    def seal(self, body: str, row: tuple[str, str, str, str], version_id: str = "") -> str:
        """Seal the body of an entity, or of a version; ``row`` is its id, workspace, category and key."""
        return self._cipher.seal(body, self._bound(row, version_id))

    def open(self, sealed: str, row: tuple[str, str, str, str], version_id: str = "") -> str:
        """Return a body as it was sealed, or `UNREADABLE`."""
        body = self._cipher.open(sealed, self._bound(row, version_id))
        if body is not None:
            return body
        import logging

        logging.getLogger(__name__).warning("The body of memory %s cannot be decrypted; it was changed.", row[0])
        return UNREADABLE

    def _bound(self, row: tuple[str, str, str, str], version_id: str) -> bytes:
        if self._original_form:
            return bound_as_original(*row[2:])
        return bound_to("versions.body_json" if version_id else "entities.body_json", version_id, *row)


def entity_row(stored: Stored, seal: BodySeal | None, version_id: str = "") -> tuple[Any, ...]:
    """Return the values of `COLUMNS` for an entity, or for a version of it."""
    entity = stored.entity
    body = entity.body_json
    has_triggers = _TRIGGER_MARK in body
    if seal is not None:
        body = seal.seal(body, (entity.id, entity.workspace_hash, entity.category, entity.key), version_id)
    return (
        entity.id,
        entity.category,
        entity.key,
        entity.workspace_hash,
        body,
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
        1 if has_triggers else 0,
    )


def opened_body(row: tuple[Any, ...], seal: BodySeal | None) -> str:
    """Return the body in a row of `BODY_COLUMNS` of an entity, whatever follows them."""
    body: str = row[0]
    return body if seal is None else seal.open(body, row[1:5])


def stored_from_row(number: int, row: tuple[Any, ...], seal: BodySeal | None, links: tuple[Link, ...] = ()) -> Stored:
    """Return the entity of one row of `COLUMNS`."""
    return Stored(
        number=number,
        entity=_entity(row, links, seal),
        score_floor=row[25],
        passages=row[26],
        archived_at_unix_ms=row[27],
    )


def version_from_row(row: tuple[Any, ...], seal: BodySeal | None) -> Version:
    """Return the version of one row of `COLUMNS` followed by version_id, links and how the version ended."""
    version_id, links, invalidated_at, superseded_by, amended = row[len(COLUMNS) :]
    return Version(
        version_id=version_id,
        entity=_entity(row, links_from_text(links), seal, version_id),
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


def _entity(row: tuple[Any, ...], links: tuple[Link, ...], seal: BodySeal | None, version_id: str = "") -> Entity:
    tags = row[7]
    body = row[4]
    if seal is not None:
        body = seal.open(body, (row[0], row[3], row[1], row[2]), version_id)
    return Entity(
        id=row[0],
        category=row[1],
        key=row[2],
        workspace_hash=row[3],
        body_json=body,
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

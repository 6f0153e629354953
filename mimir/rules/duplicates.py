"""Which memories are the same one stored twice, and which of them stays."""

from __future__ import annotations

import hashlib
import json
from typing import Final, TypeAlias

import msgspec

from mimir.model import Entity, Json
from mimir.rules.similarity import normalised

_DIGEST_BYTES: Final = 16

Rank: TypeAlias = tuple[bool, bool, bool, int, int, str]


def content_digest(entity: Entity) -> bytes:
    """Return 16 bytes that are equal for memories that say the same to the same readers in the same place.

    Texts count in their normalised form, with their names and everything else in a body as it is, so that neither
    another digit nor another field is overlooked. Category, workspace, status and validity must be equal, and private
    memories must belong to the same agent.
    """
    try:
        body = _form(msgspec.json.decode(entity.body_json))
    except (msgspec.DecodeError, RecursionError):
        body = entity.body_json
    reader = entity.agent_id if entity.visibility == "private" else None
    told = (
        entity.workspace_hash,
        entity.category,
        entity.status,
        entity.valid_from_unix_ms,
        entity.valid_to_unix_ms,
        reader,
        body,
    )
    form = json.dumps(told, sort_keys=True).encode()
    return hashlib.blake2b(form, digest_size=_DIGEST_BYTES).digest()


def staying_rank(entity: Entity, *, scored: bool) -> Rank:
    """Return what orders equal memories, the one that stays first: verified, pinned, scored, most used, oldest."""
    return (
        not entity.verified,
        not entity.always_on,
        not scored,
        -entity.retrieval_count,
        entity.created_at_unix_ms,
        entity.id,
    )


def may_yield(entity: Entity, *, scored: bool) -> bool:
    """Tell whether a memory may be archived for being a duplicate: none that somebody vouched for, pinned or scored."""
    return not (entity.verified or entity.always_on or scored)


def _form(value: Json) -> Json:
    if isinstance(value, str):
        return normalised(value)
    if isinstance(value, list):
        return [_form(item) for item in value]
    if isinstance(value, dict):
        return {name: _form(item) for name, item in value.items()}
    return value

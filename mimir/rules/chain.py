"""The journal's chain: what each row is bound to, and where a row no longer fits."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec

from mimir.model import Event

GENESIS: Final = "genesis"
"""What stands in the place of a former hash in the first row."""

SALT_BYTES: Final = 16

_LENGTH_BYTES: Final = 8


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an event says, three JSON texts, with the random salt that keeps it from being guessed once it is blanked.

    `former_hash` is the hash of an event that another journal had chained before it was brought into this one.
    """

    salt: str
    evaluated: msgspec.Raw
    acted: msgspec.Raw
    forward: msgspec.Raw
    former_hash: str = ""


_decode = msgspec.json.Decoder(Payload).decode
_encode = msgspec.json.Encoder().encode


def write_payload(salt: bytes, evaluated: str, acted: str, forward: str, former_hash: str = "") -> str:
    """Return the text that is stored for an event: its three JSON texts, the salt and the hash it had elsewhere."""
    return _encode(
        Payload(
            salt=salt.hex(),
            evaluated=msgspec.Raw(evaluated.encode()),
            acted=msgspec.Raw(acted.encode()),
            forward=msgspec.Raw(forward.encode()),
            former_hash=former_hash,
        )
    ).decode()


def read_payload(payload: str) -> tuple[str, str, str]:
    """Return the three JSON texts of a stored payload: evaluated, acted and forward.

    Raises:
        msgspec.DecodeError: it is not what `write_payload` writes.
    """
    said = _decode(payload)
    return str(said.evaluated, "utf-8"), str(said.acted, "utf-8"), str(said.forward, "utf-8")


def commitment(payload: str, key: bytes | None = None) -> str:
    """Return the 64 hex digits that bind a row to its payload and stay when the payload is blanked.

    SHA-256 over salt, evaluated, acted and forward, and the former hash if there is one, each with its length before
    it; HMAC-SHA-256 with ``key``.

    Raises:
        msgspec.DecodeError: the payload is not what `write_payload` writes.
    """
    said = _decode(payload)
    if _encode(said).decode() != payload:
        raise msgspec.DecodeError("the payload is not written as this program writes it")
    fields = (said.salt.encode(), bytes(said.evaluated), bytes(said.acted), bytes(said.forward))
    return _digest((*fields, said.former_hash.encode()) if said.former_hash else fields, key)


def chain_hash(former: str, event: Event, key: bytes | None = None) -> str:
    """Return the 64 hex digits that bind a row to its fields and, by the former row's hash, to all rows before it.

    SHA-256 over the fields, each with its length before it, so that no two rows give the same bytes; HMAC-SHA-256 with
    ``key``. ``former`` is `GENESIS` for the first row.
    """
    fields = (
        former,
        str(event.sequence),
        event.id,
        event.event_type,
        event.category,
        event.key,
        event.entity_id,
        event.agent_id,
        event.workspace_hash,
        str(event.created_at_unix_ms),
        event.payload_commitment,
    )
    return _digest(tuple(field.encode() for field in fields), key)


def misfit(former_sequence: int, former: str, event: Event, key: bytes | None = None) -> str:
    """Return in words why a row does not follow the one before it, or nothing when it does.

    ``former_sequence`` is 0 and ``former`` `GENESIS` for the first row. A blanked payload is no misfit.
    """
    if event.sequence != former_sequence + 1:
        missing = event.sequence - former_sequence - 1
        return f"gap in sequence: {missing} row{'s' if missing > 1 else ''} missing before it"
    if chain_hash(former, event, key) != event.audit_hash:
        return "hash: the row, or one before it, is not what was written"
    if event.payload is not None and not _is_committed(event.payload, event.payload_commitment, key):
        return "commitment: the payload is not what was written"
    return ""


def _is_committed(payload: str, committed: str, key: bytes | None) -> bool:
    try:
        return commitment(payload, key) == committed
    except msgspec.DecodeError:
        return False


def _digest(fields: tuple[bytes, ...], key: bytes | None) -> str:
    message = b"".join(len(field).to_bytes(_LENGTH_BYTES, "big") + field for field in fields)
    if key is None:
        return hashlib.sha256(message).hexdigest()
    return hmac.digest(key, message, "sha256").hex()

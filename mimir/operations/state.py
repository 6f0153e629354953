"""State: values that an agent keeps for itself under a key, some for a time only."""

from __future__ import annotations

import json
import math
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from mimir.config import MAXIMUM_BODY_BYTES, MAXIMUM_KEY_BYTES
from mimir.drafts import for_names, screened
from mimir.engine import LOCK_PATIENCE_S, Engine
from mimir.errors import Busy, InvalidInput, StorageFailure
from mimir.model import Json, StateEntry
from mimir.operation import Doc, check_texts, operation, read_value

FAMILY: Final = "State"

LONGEST_TTL_S: Final = 1e15
"""Most seconds until a value expires: 30 million years, which in milliseconds still fit into 64 bits."""

_SWEPT_AT_ONCE: Final = 1_000

StateKey = Annotated[str, Doc("Its name, such as session/goal.")]


class StateKept(Struct, frozen=True, kw_only=True):
    """What was kept, and until when; parts of a second in the time to live are rounded up here.

    `warnings` say where it seems to hold a secret.
    """

    key: str
    ttl_seconds: int | None
    expires_at_unix_ms: int | None
    warnings: tuple[str, ...] | UnsetType = UNSET


class StateFound(Struct, frozen=True, kw_only=True):
    """What is kept under a key, exactly as it was given; only the first fields are set when nothing is."""

    found: bool
    key: str
    value: str | UnsetType = UNSET
    expires_at_unix_ms: int | UnsetType | None = UNSET
    created_at_unix_ms: int | UnsetType = UNSET


class StateDeleted(Struct, frozen=True, kw_only=True):
    """Whether anything was kept under a key."""

    found: bool
    key: str


class StateKeys(Struct, frozen=True, kw_only=True):
    """Keys in the order of their bytes; `total` counts those before and behind this page too."""

    keys: tuple[str, ...]
    total: int


@operation(
    family=FAMILY,
    effect="write",
    title="Set State Entry",
    profile="core",
    idempotent=True,
    example={"key": "session/goal", "value_json": '{"task": "migrate the cache"}', "ttl_seconds": 3600},
)
def state_set(
    engine: Engine,
    key: StateKey,
    value_json: Annotated[
        Json,
        Doc(
            "The value as JSON text, kept byte for byte; an object is taken too.",
            json=True,
            aliases=("value",),
        ),
    ],
    ttl_seconds: Annotated[float | None, Doc("Seconds until it expires; left out: never.", aliases=("ttl",))] = None,
) -> StateKept:
    """Keep a value under a key until it is replaced or expires, such as a cursor or a session's goal.

    Recall never finds it: for knowledge use mimir_remember.

    Raises:
        InvalidInput: value_json is not JSON, the key is empty, or key, value or time to live is over its bound.
    """
    _check_key(key)
    text = _json_text(value_json)
    secrets = engine.settings.secrets
    value = msgspec.json.decode(text) if isinstance(value_json, str) else value_json
    _, warnings = screened(for_names(secrets), "key", key)
    safe, more = screened(secrets, "value_json", value, name=key)
    if safe is not value:
        text = json.dumps(safe, ensure_ascii=False, separators=(",", ":"))
    seconds = None if ttl_seconds is None else _checked_ttl(ttl_seconds)
    with engine.writing() as now:
        expires_at = None if seconds is None else now + round(seconds * 1000)
        engine.store.sweep_state(now, _SWEPT_AT_ONCE)
        engine.store.put_state(
            StateEntry(key=key, value_json=text, expires_at_unix_ms=expires_at, created_at_unix_ms=now)
        )
    return StateKept(
        key=key,
        ttl_seconds=None if seconds is None else math.ceil(seconds),
        expires_at_unix_ms=expires_at,
        warnings=warnings + more or UNSET,
    )


@operation(
    family=FAMILY,
    effect="read",
    title="Get State Entry",
    profile="core",
    bounded=False,
    example={"key": "session/goal"},
)
def state_get(engine: Engine, key: StateKey) -> StateFound:
    """Return what mimir_state_set kept under a key; an expired value is not found."""
    check_texts(key=key)
    with engine.store.reading():
        entry = engine.store.state(key, engine.clock.now_ms())
    if entry is None:
        return StateFound(found=False, key=key)
    return StateFound(
        found=True,
        key=key,
        value=entry.value_json,
        expires_at_unix_ms=entry.expires_at_unix_ms,
        created_at_unix_ms=entry.created_at_unix_ms,
    )


@operation(
    family=FAMILY,
    effect="destroy",
    title="Delete State Entry",
    profile="standard",
    idempotent=True,
    example={"key": "session/goal"},
)
def state_delete(engine: Engine, key: StateKey) -> StateDeleted:
    """Remove the value under a key for good; found tells whether there was one, expired or not."""
    check_texts(key=key)
    with engine.writing():
        found = engine.store.remove_state(key)
    return StateDeleted(found=found, key=key)


@operation(
    family=FAMILY,
    effect="read",
    title="List State Entries",
    profile="standard",
    example={"prefix": "session/"},
)
def state_list(
    engine: Engine,
    prefix: Annotated[str, Doc("What the keys begin with, letter for letter; empty: all.")] = "",
    limit: Annotated[int | None, Doc("Most keys to return; left out: all.", 0, clamp=True)] = None,
    offset: Annotated[int, Doc("Keys to skip.", 0, clamp=True)] = 0,
) -> StateKeys:
    """List the keys under which values are kept and have not expired, sorted; read a value with mimir_state_get."""
    check_texts(prefix=prefix)
    with engine.store.reading():
        now = engine.clock.now_ms()
        keys = engine.store.state_keys(prefix, now)
        sweep = engine.store.has_expired_state(now) and not engine.settings.read_only
    if sweep:
        _sweep(engine)
    start = max(offset, 0)
    end = None if limit is None else start + max(limit, 0)
    return StateKeys(keys=keys[start:end], total=len(keys))


def _sweep(engine: Engine) -> None:
    try:
        with engine.store.waiting_at_most(LOCK_PATIENCE_S), engine.writing() as now:
            engine.store.sweep_state(now, _SWEPT_AT_ONCE)
    except (Busy, StorageFailure):
        # What has expired is not shown anyway, and a read must not fail because nothing can be written.
        return


def _check_key(key: str) -> None:
    check_texts(key=key)
    size = len(key.encode())
    if not 1 <= size <= MAXIMUM_KEY_BYTES:
        raise InvalidInput(f"'key' is {size} bytes long.", hint=f"Use 1 to {MAXIMUM_KEY_BYTES} bytes.")


def _json_text(value: Json) -> str:
    """Return a value as JSON text: as it was given if it was text."""
    try:
        if isinstance(value, str):
            text = value
            check_texts(value_json=text)
            _check_size(text)
            msgspec.json.decode(text)
        else:
            # Unlike the quicker encoder this one refuses what is no JSON number.
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            check_texts(value_json=text)
            _check_size(text)
    except (msgspec.DecodeError, TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"'value_json' is not valid JSON: {error}.",
            hint='Give JSON text such as {"step": 2}; plain words need quotes of their own.',
        ) from None
    return text


def _check_size(text: str) -> None:
    size = len(text.encode())
    if size > MAXIMUM_BODY_BYTES:
        raise InvalidInput(
            f"'value_json' is {size} bytes long.", hint=f"Use at most {MAXIMUM_BODY_BYTES} bytes, or several keys."
        )


def _checked_ttl(ttl_seconds: float) -> float:
    seconds: float = read_value("ttl_seconds", ttl_seconds, "number")
    if not 0 < seconds <= LONGEST_TTL_S:
        raise InvalidInput(
            f"'ttl_seconds' is {ttl_seconds}.",
            hint=f"Give more than 0 and at most {LONGEST_TTL_S:.0e} seconds, leave it out for a value that never"
            " expires, or remove one with mimir_state_delete.",
        )
    return seconds

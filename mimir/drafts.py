"""Drafts: a memory as it was handed in, checked, its body laid out as JSON and as searchable text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from mimir.config import (
    MAXIMUM_BODY_BYTES,
    MAXIMUM_BODY_DEPTH,
    MAXIMUM_CATEGORY_BYTES,
    MAXIMUM_KEY_BYTES,
    MAXIMUM_TAGS_BYTES,
)
from mimir.errors import InvalidInput
from mimir.model import Json, Passage
from mimir.operation import read_value
from mimir.rules.layers import canonical_layer
from mimir.rules.secrets import may_hold_secrets, screen
from mimir.rules.text import searchable_text, split_passages

Value = TypeVar("Value")

DEFAULT_IMPORTANCE: Final = 0.5
VISIBILITIES: Final = ("private", "workspace", "public")

_NAMED_SECRETS: Final = 10
_WARNING: Final = "There seems to be a secret in {}: say where it is kept instead, then forget and purge this."
_TEXTS: Final = frozenset({"agent_id", "layer", "status", "tags", "topic_path", "type"})
_CHANGEABLE: Final = {
    "status": "string",
    "type": "string",
    "tags": "array",
    "topic_path": "string",
    "agent_id": "string",
    "always_on": "boolean",
    "certainty": "number",
    "visibility": "string",
    "layer": "string",
    "valid_from_unix_ms": "integer",
    "valid_to_unix_ms": "integer",
}


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One memory as it was handed in, checked: its body as JSON and as searchable text, and the fields given.

    `warnings` say where it seems to hold a secret.
    """

    category: str
    key: str
    body_json: str
    text: str
    passages: tuple[Passage, ...]
    workspace_hash: str
    importance: float
    source: str
    prefix: str
    changes: dict[str, Any]
    warnings: tuple[str, ...] = ()


def make_draft(
    category: str,
    key: str,
    body: Json,
    *,
    secrets: str,
    workspace_hash: str = "",
    importance: float = DEFAULT_IMPORTANCE,
    recall_when: Sequence[str] = (),
    source: str = "agent",
    prefix: str = "mem-",
    changes: Mapping[str, Any],
) -> Draft:
    """Check a memory and lay out its body; None among ``changes`` means that the field was left out.

    ``secrets`` is the setting of that name: what becomes of text that looks like a credential.

    Raises:
        InvalidInput: body is not JSON, a name is empty or too long, a field is unknown or out of range, validity
            ends before it begins, or there is a secret where ``secrets`` allows none.
    """
    _check_name("category", category, MAXIMUM_CATEGORY_BYTES)
    _check_name("key", key, MAXIMUM_KEY_BYTES)
    _check_share("importance", importance)
    _check_length("workspace_hash", _size("workspace_hash", workspace_hash), MAXIMUM_KEY_BYTES)
    body_json, value = _read_body(body, read_value("recall_when", recall_when, "array") if recall_when else ())
    checked = _checked_changes(changes) if changes else {}
    warnings: tuple[str, ...] = ()
    names = f"{category}\n{key}\n{workspace_hash}"
    if secrets != "off" and may_hold_secrets(f"{names}\n{_told(value)}\n{_told(checked)}"):
        _, warnings = screened(for_names(secrets), "category, key or workspace_hash", names)
        safe, more = screened(secrets, "body_json", value, name=key)
        if safe is not value:
            value, body_json = safe, msgspec.json.encode(safe).decode()
        warnings += more
        for name in _TEXTS & checked.keys():
            safe, more = screened(secrets, name, checked[name])
            checked[name] = tuple(safe) if name == "tags" else safe
            warnings += more
    text = searchable_text(value)
    return Draft(
        category=category,
        key=key,
        body_json=body_json,
        text=text,
        passages=split_passages(text),
        workspace_hash=workspace_hash,
        importance=importance,
        source=source,
        prefix=prefix,
        changes=checked,
        warnings=warnings,
    )


def _told(value: Json) -> str:
    """Return all texts of a JSON value, the names of its members as well."""
    if isinstance(value, dict):
        return "\n".join([*value, *map(_told, value.values())])
    return "\n".join(map(_told, value)) if isinstance(value, (list, tuple)) else value if isinstance(value, str) else ""


def for_names(secrets: str) -> str:
    """Return the setting ``secrets`` for names: one that was masked would be that of something else."""
    return "refuse" if secrets == "mask" else secrets


def check_names(secrets: str, **names: str) -> None:
    """Refuse names that hold a secret, where the setting ``secrets`` lets none be stored.

    Raises:
        InvalidInput: one does.
    """
    for place, name in names.items():
        screened(for_names(secrets), place, name)


def screened(secrets: str, place: str, value: Json, *, name: str = "") -> tuple[Json, tuple[str, ...]]:
    """Return a value as the setting ``secrets`` lets it be stored, itself if nothing has to go, and what to warn of.

    ``place`` is what a warning or an error calls it, ``name`` the key it is stored under; neither ever says what the
    secret is.

    Raises:
        InvalidInput: there is a secret and the setting is ``refuse``, or the value is nested too deep to be looked at.
    """
    if secrets == "off":
        return value, ()
    try:
        safe, found = screen(value, place, name)
    except RecursionError:
        raise InvalidInput(f"'{place}' is nested too deep.", hint="Store a flatter value.") from None
    if not found:
        return value, ()
    places = list(dict.fromkeys(f"{one.place} ({one.kind})" for one in found))
    if secrets == "refuse":
        raise InvalidInput(
            f"There seems to be a secret in {', '.join(places[:_NAMED_SECRETS])}; nothing was stored.",
            hint="Say where it is kept instead, or start with another --secrets (MIMIR_SECRETS): warn, off.",
        )
    what = "A secret was masked in {}." if secrets == "mask" else _WARNING
    return (safe if secrets == "mask" else value), tuple(what.format(one) for one in places[:_NAMED_SECRETS])


def screened_all(secrets: str, values: Mapping[str, Value]) -> tuple[dict[str, Value], tuple[str, ...]]:
    """Return values by their names as `screened` returns each, and all that there is to warn of.

    Raises:
        InvalidInput: as `screened`.
    """
    safe: dict[str, Value] = {}
    warnings: list[str] = []
    for name, value in values.items():
        safe[name], more = screened(secrets, name, value)
        warnings += more
    return safe, tuple(warnings)


def _checked_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in changes.items() if value is not None}
    unknown = given.keys() - _CHANGEABLE
    if unknown:
        raise InvalidInput(f"{min(unknown)!r} is not a field of a memory.", hint="Use the parameters of remember.")
    given = {name: read_value(name, value, _CHANGEABLE[name]) for name, value in given.items()}
    for name in _TEXTS & given.keys():
        if name == "tags":
            _check_length(name, sum(len(tag.encode()) for tag in given[name]), MAXIMUM_TAGS_BYTES)
        else:
            _check_length(name, _size(name, given[name]), MAXIMUM_KEY_BYTES)
    _check_share("certainty", given.get("certainty", 0.5))
    visibility = given.get("visibility", "workspace")
    if visibility not in VISIBILITIES:
        raise InvalidInput(f"'visibility' is {visibility!r}.", hint="Use one of: " + ", ".join(VISIBILITIES) + ".")
    check_period(given.get("valid_from_unix_ms"), given.get("valid_to_unix_ms"))
    if "layer" in given:
        given["layer"] = canonical_layer(given["layer"])
    return given


def _check_name(name: str, value: str, most_bytes: int) -> None:
    size = _size(name, value)
    if not value or value.isspace():
        raise InvalidInput(f"'{name}' is empty.", hint=f"Give the memory a {name}.")
    _check_length(name, size, most_bytes)


def _check_length(name: str, size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise InvalidInput(f"'{name}' is {size} bytes long.", hint=f"Use at most {most_bytes} bytes.")


def _size(name: str, value: Json) -> int:
    """Return how many bytes a text takes, and refuse what is none."""
    if isinstance(value, str) and value.isascii():
        return len(value)
    return len(read_value(name, value, "string").encode())


def _check_share(name: str, value: float) -> None:
    if value != DEFAULT_IMPORTANCE and not 0.0 <= read_value(name, value, "number") <= 1.0:
        raise InvalidInput(f"'{name}' is {value}.", hint="Give a number from 0 to 1.")


def check_period(start: int | None, end: int | None) -> None:
    """Check that a period of validity, where both bounds are known, ends after it begins.

    Raises:
        InvalidInput: it does not.
    """
    if start is not None and end is not None and end <= start:
        raise InvalidInput(
            f"'valid_to_unix_ms' ({end}) is not after 'valid_from_unix_ms' ({start}).",
            hint="Give an end after the beginning, or leave it out.",
        )


def _read_body(body: Json, recall_when: Sequence[str]) -> tuple[str, Json]:
    """Return a body as JSON text, kept as it was given if it was text, and as a value."""
    if isinstance(body, str):
        text = body
        _check_body_size(_size("body_json", text))
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidInput(
                f"body_json is not valid JSON: {error}.",
                hint='Give JSON text such as {"content": "..."}; plain words need quotes of their own.',
            ) from None
    else:
        value = body
        try:
            _check_finite(value)
            text = msgspec.json.encode(value).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(
                f"body_json cannot be written as JSON: {error}.", hint="Give plain JSON values."
            ) from None
        _check_body_size(len(text.encode()))
    _check_depth(text, value)
    if recall_when and isinstance(value, dict):
        value = {**value, "recall_when": list(recall_when)}
        text = msgspec.json.encode(value, order="sorted").decode()
        _check_body_size(len(text.encode()))
    return text, value


def _check_depth(text: str, body: Json) -> None:
    # A body is nested again in every reply that shows it, and readers have bounds of their own.
    if text.count("[") + text.count("{") <= MAXIMUM_BODY_DEPTH:
        return
    level, depth = [body], 0
    while level:
        depth += 1
        if depth > MAXIMUM_BODY_DEPTH:
            raise InvalidInput(
                f"'body_json' is nested deeper than {MAXIMUM_BODY_DEPTH} levels.", hint="Store a flatter value."
            )
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]


def _check_finite(body: Json) -> None:
    # The encoder would write these as null, and what was stored would not be what was said.
    stack = [body]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            stack.extend(value)
        elif isinstance(value, float) and value - value != 0:
            raise ValueError(f"{value} is no JSON number")


def _check_body_size(size: int) -> None:
    if size > MAXIMUM_BODY_BYTES:
        raise InvalidInput(
            f"'body_json' is {size} bytes long.",
            hint=f"Use at most {MAXIMUM_BODY_BYTES} bytes; split long documents into several memories.",
        )

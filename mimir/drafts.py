"""Drafts: a memory as it was handed in, checked, its body laid out as JSON and as searchable text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from mimir.config import MAXIMUM_BODY_BYTES, MAXIMUM_BODY_DEPTH, MAXIMUM_CATEGORY_BYTES, MAXIMUM_KEY_BYTES
from mimir.errors import InvalidInput
from mimir.model import Json, Passage
from mimir.operation import read_value
from mimir.rules.layers import canonical_layer
from mimir.rules.text import searchable_text, split_passages

DEFAULT_IMPORTANCE: Final = 0.5
VISIBILITIES: Final = ("private", "workspace", "public")

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
    """One memory as it was handed in, checked: its body as JSON and as searchable text, and the fields given."""

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


def make_draft(
    category: str,
    key: str,
    body: Json,
    *,
    workspace_hash: str = "",
    importance: float = DEFAULT_IMPORTANCE,
    recall_when: Sequence[str] = (),
    source: str = "agent",
    prefix: str = "mem-",
    changes: Mapping[str, Any],
) -> Draft:
    """Check a memory and lay out its body; None among ``changes`` means that the field was left out.

    Raises:
        InvalidInput: body is not JSON, a name is empty or too long, a field is unknown or out of range, or validity
            ends before it begins.
    """
    _check_name("category", category, MAXIMUM_CATEGORY_BYTES)
    _check_name("key", key, MAXIMUM_KEY_BYTES)
    _check_share("importance", importance)
    _size("workspace_hash", workspace_hash)
    body_json, value = _read_body(body, read_value("recall_when", recall_when, "array") if recall_when else ())
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
        changes=_checked_changes(changes) if changes else {},
    )


def _checked_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in changes.items() if value is not None}
    unknown = given.keys() - _CHANGEABLE
    if unknown:
        raise InvalidInput(f"{min(unknown)!r} is not a field of a memory.", hint="Use the parameters of remember.")
    given = {name: read_value(name, value, _CHANGEABLE[name]) for name, value in given.items()}
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

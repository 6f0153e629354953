"""Values of the columns that the Rust Mimir wrote, read leniently: what is odd becomes something plain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import msgspec

from mimir.model import Json, Link

TWO_TO_63: Final = 1 << 63


def as_tags(text: str) -> tuple[str, ...]:
    """Return tags from JSON text, or from a comma list, which came in by imported notes."""
    value = _value(text)
    if isinstance(value, list):
        return tuple(item if isinstance(item, str) else json.dumps(item) for item in value)
    return tuple(part.strip() for part in text.split(",") if part.strip()) if value is None else ()


def as_links(text: str, renamed: Mapping[str, str]) -> tuple[Link, ...]:
    """Return links from JSON text: objects with target, relationship and weight, or bare ids of targets."""
    value = _value(text)
    found: dict[tuple[str, str], Link] = {}
    for item in value if isinstance(value, list) else ():
        fields = item if isinstance(item, dict) else {"target_id": item}
        target = fields.get("target_id")
        if isinstance(target, str) and target:
            target = renamed.get(target, target)
            relationship = as_text(fields.get("relationship")) or "related"
            weight = as_share(fields.get("weight"), 0.5)
            found.setdefault((target, relationship), Link(target_id=target, relationship=relationship, weight=weight))
    return tuple(found.values())


def as_json_text(value: object) -> str:
    """Return a part of an event as JSON text: as it is, or as a JSON string if it is plain text."""
    text = as_text(value, "null").strip()
    if _value(text) is None and text != "null":
        return msgspec.json.encode(text).decode()
    return text


def _value(text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def as_text(value: object, missing: str = "") -> str:
    """Return a value as text; bytes that are no UTF-8 are replaced."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return missing if value is None else str(value)


def _number(value: object, missing: float) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # what cannot be converted is caught
    except (TypeError, ValueError, OverflowError):
        return missing
    return number if number - number == 0 else missing  # neither infinite nor NaN


def as_share(value: object, missing: float) -> float:
    """Return a value as a number from 0 to 1."""
    return min(1.0, max(0.0, _number(value, missing)))


def as_whole(value: object, missing: int = 0) -> int:
    """Return a value as a whole number of 64 bits."""
    if isinstance(value, int):
        return value
    return missing if value is None else max(-TWO_TO_63, min(TWO_TO_63 - 1, int(_number(value, missing))))


def as_instant(value: object) -> int | None:
    """Return a value as an instant in milliseconds, or None."""
    return None if value is None else as_whole(value)


def is_json(text: str) -> bool:
    """Tell whether a text is JSON."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True

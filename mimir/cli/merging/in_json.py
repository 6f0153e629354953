"""An entry in JSON, with comments and trailing commas or without: the text is edited around it alone."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mimir.cli.merging.document import REPAIR, Change, is_marked
from mimir.cli.merging.lines import INDENT, line_break_of, line_margin, margin_of
from mimir.errors import InvalidInput
from mimir.model import Json

_BLANK: Final = re.compile(r"(?:[\s\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_REST_OF_LINE: Final = re.compile(r"(?:[ \t]*/\*[^\n]*?\*/)*[ \t]*(//[^\r\n]*)?")
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR: Final = re.compile(r"true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


class Malformed(Exception):
    """The text is not JSON at this position."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class _Part(NamedTuple):
    """A member of an object or an element of an array: its name, where it starts, and the comma after it."""

    name: str
    start: int
    node: _Node
    comma: int | None


class _Node(NamedTuple):
    """A JSON value and where it stands; ``parts`` is None for a scalar."""

    start: int
    end: int
    value: Json
    parts: list[_Part] | None = None


@functools.lru_cache(maxsize=4)
def _scan_document(text: str) -> _Node | None:
    """Return the value of a JSON text, or None for one of nothing but comments."""
    start = _skip(text, 0)
    if start == len(text):
        return None
    node = _scan(text, start)
    if _skip(text, node.end) != len(text):
        raise Malformed(_skip(text, node.end))
    return node


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _scan(text: str, position: int) -> _Node:
    opening = text[position : position + 1]
    if opening in ("{", "["):
        return _scan_parts(text, position, is_object=opening == "{")
    match = (_STRING if opening == '"' else _SCALAR).match(text, position)
    if match is None:
        raise Malformed(position)
    return _Node(position, match.end(), json.loads(match.group()))


def _scan_parts(text: str, start: int, *, is_object: bool) -> _Node:
    parts: list[_Part] = []
    closing = "}" if is_object else "]"
    position = _skip(text, start + 1)
    while text[position : position + 1] != closing:
        if parts and parts[-1].comma is None:
            raise Malformed(position)
        begin, name = position, ""
        if is_object:
            match = _STRING.match(text, position)
            colon = match and _skip(text, match.end())
            if match is None or colon is None or text[colon : colon + 1] != ":":
                raise Malformed(position)
            name = json.loads(match.group())
            position = _skip(text, colon + 1)
        node = _scan(text, position)
        position = _skip(text, node.end)
        comma = position if text[position : position + 1] == "," else None
        parts.append(_Part(name, begin, node, comma))
        if comma is not None:
            position = _skip(text, comma + 1)
    value = {part.name: part.node.value for part in parts} if is_object else [part.node.value for part in parts]
    return _Node(start, position + 1, value, parts)


def read(text: str) -> Json:
    """Return the values of a text without comments.

    Raises:
        Malformed: something is wrong at a position.
        ValueError: it has what only JSON with comments may have.
    """
    node = _scan_document(text)
    if node is not None:
        json.loads(text.lstrip("\ufeff"))
    return node and node.value


def read_with_comments(text: str) -> Json:
    """Return the values of a text; comments and trailing commas are let pass.

    Raises:
        Malformed: something is wrong at a position.
    """
    node = _scan_document(text)
    return node and node.value


def _named(node: _Node, name: str) -> _Part | None:
    found = [part for part in node.parts or () if part.name == name]
    if len(found) > 1:
        raise InvalidInput(f"'{name}' stands twice in one object.", hint=REPAIR)
    return found[0] if found else None


def _nested(path: Sequence[str], change: Change) -> Json:
    value: Json = [change.value] if change.mark else change.value
    for name in reversed(path):
        value = {name: value}
    return value


def put(text: str, change: Change) -> str:
    """Return the text with an entry in it, in the style of what is there."""
    root = _scan_document(text)
    if root is None:
        return text + _laid_out(_nested(change.path, change), "", INDENT, line_break_of(text)) + line_break_of(text)
    node = root
    for depth, name in enumerate(change.path):
        part = _named(node, name)
        if part is None:
            return _insert(text, root, node, name, _nested(change.path[depth + 1 :], change))
        node = part.node
    if not change.mark:
        return _replace(text, root, node, change.value)
    for part in node.parts or ():
        if is_marked(part.node.value, change.mark):
            return _replace(text, root, part.node, change.value)
    return _insert(text, root, node, None, change.value)


def _laid_out(value: Json, margin: str, unit: str, line_break: str) -> str:
    return json.dumps(value, ensure_ascii=False, indent=unit).replace("\n", line_break + margin)


def _unit(text: str, root: _Node) -> str:
    return (margin_of(text, root.parts[0].start) if root.parts else None) or INDENT


def _replace(text: str, root: _Node, node: _Node, value: Json) -> str:
    is_line = "\n" not in text[node.start : node.end]
    inline = json.dumps(value, ensure_ascii=False)
    laid_out = _laid_out(value, line_margin(text, node.start), _unit(text, root), line_break_of(text))
    return text[: node.start] + (inline if is_line else laid_out) + text[node.end :]


def _insert(text: str, root: _Node, node: _Node, name: str | None, value: Json) -> str:
    """Put a member or an element behind the last one, in its style."""
    key = "" if name is None else json.dumps(name, ensure_ascii=False) + ": "
    line_break, unit = line_break_of(text), _unit(text, root)
    if not node.parts:
        return _fill(text, node, key, value, unit)
    last = node.parts[-1]
    behind = last.node.end if last.comma is None else last.comma + 1
    comments = _REST_OF_LINE.match(text, behind)
    if comments is not None and comments.group().strip():
        after, needs_break = comments.end(), comments.group(1) is not None
    else:
        after, needs_break = behind, False
    margin = margin_of(text, last.start)
    if margin is None and not needs_break:
        member = " " + key + json.dumps(value, ensure_ascii=False)
    else:
        margin = line_margin(text, last.start) if margin is None else margin
        member = line_break + margin + key + _laid_out(value, margin, unit, line_break)
    if last.comma is not None:
        return text[:after] + member + "," + text[after:]
    return text[: last.node.end] + "," + text[last.node.end : after] + member + text[after:]


def _fill(text: str, node: _Node, key: str, value: Json, unit: str) -> str:
    """Put the first member or element into an empty container."""
    inside = text[node.start + 1 : node.end - 1]
    document = text.strip().lstrip("\ufeff")
    if "\n" not in document and len(document) > len("{}"):
        return text[: node.start + 1] + key + json.dumps(value, ensure_ascii=False) + text[node.start + 1 :]
    line_break, outer = line_break_of(text), line_margin(text, node.start)
    at = node.start + 1 + len(inside.rstrip())
    member = line_break + outer + unit + key + _laid_out(value, outer + unit, unit, line_break)
    closing = "" if "\n" in text[at : node.end - 1] else line_break + outer
    return text[:at] + member + closing + text[at:]


def take(text: str, change: Change) -> Iterator[str]:
    """Yield what the text may be without an entry; the caller takes the first that leaves all else."""
    node = _scan_document(text)
    for name in change.path if change.mark else change.path[:-1]:
        part = node and _named(node, name)
        node = part and part.node
    if node is None:
        return
    parts = node.parts or []
    for place, part in enumerate(parts):
        if is_marked(part.node.value, change.mark) if change.mark else part.name == change.path[-1]:
            stop = part.node.end if part.comma is None else part.comma + 1
            comma = parts[place - 1].comma if place and part.comma is None else None
            # A line comment before the entry may need the line break that belongs to the entry.
            for begin in (len(text[: part.start].rstrip()), part.start):
                if comma is None:
                    yield text[:begin] + text[stop:]
                else:
                    yield text[:comma] + text[comma + 1 : max(begin, comma + 1)] + text[stop:]
            return

"""Put one entry into a configuration file and take it out again, by edits of the text around that entry alone.

Nothing is read into values and written back: comments, order, indentation and line breaks of everything else stay as
they are. Each edit is checked by reading both texts: all other values must be what they were.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from mimir.errors import InvalidInput
from mimir.model import Json

Format = Literal["json", "jsonc", "toml", "yaml", "markdown"]

NOTE_BEGIN: Final = "<!-- mimir: begin -->"
NOTE_END: Final = "<!-- mimir: end -->"

ADDRESSES: Final = frozenset({"url", "httpUrl", "serverUrl"})
"""What clients call the address of a server that they do not start."""

_INDENT: Final = "  "
_BLANK: Final = re.compile(r"(?:[\s\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_REST_OF_LINE: Final = re.compile(r"(?:[ \t]*/\*[^\n]*?\*/)*[ \t]*(//[^\r\n]*)?")
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR: Final = re.compile(r"true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_NOTE: Final = re.compile(rf"{re.escape(NOTE_BEGIN)}.*?{re.escape(NOTE_END)}", re.DOTALL)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a file: where it stands and what it is.

    With ``mark`` the path leads to a list, and the entry is the element whose JSON this pattern is found in.
    """

    path: tuple[str, ...]
    value: Json
    mark: str = ""


def find(format_: Format, text: str, change: Change) -> Json:
    """Return the entry that stands in the file in the place of ``change``, or None.

    Raises:
        InvalidInput: the text cannot be read.
    """
    return _entry(_read(format_, text), change)


def put(format_: Format, text: str, change: Change) -> str:
    """Return the text with the entry in it; what an earlier entry has beyond it stays.

    Raises:
        InvalidInput: the text cannot be read, or the entry has no place in it.
    """
    before = _read(format_, text)
    there = _entry(before, change)
    value = change.value
    # A server that was reached by its address keeps nothing: a client could not tell which of the two to use.
    if isinstance(there, dict) and isinstance(value, dict) and ADDRESSES.isdisjoint(there):
        value = {**there, **value}
    if there is not None and _same(there, value):
        return text
    change = msgspec.structs.replace(change, value=value)
    expected = _with_entry(before, change)
    return _checked(format_, _putters[format_](text, change), lambda after: _same(after, expected))


def take(format_: Format, text: str, change: Change, original: str | None) -> str:
    """Return the text without the entry, and without what is empty then and was not in ``original``.

    Raises:
        InvalidInput: the text cannot be read, or the entry cannot be taken out of it.
    """
    before = _read(format_, text)
    if _entry(before, change) is None:
        return text
    expected = _without_entry(before, change)
    first = _read(format_, original or "")

    def is_right(after: Json) -> bool:
        return _same(_bare(after, change.path), _bare(expected, change.path))

    for candidate in _takers[format_](text, change):
        if _reads_as(format_, candidate, is_right):
            return _without_husks(format_, candidate, change, first)
    raise InvalidInput(
        f"The entry {'.'.join(change.path)} cannot be taken out without touching something else.",
        hint="Take it out by hand.",
    )


def restored(
    format_: Format, text: str, changes: Sequence[Change], original: str | None, start: str = ""
) -> str | None:
    """Return the text without the entries: the original itself when nothing else has been changed since.

    None stands for no file, as an ``original`` and as the result; an empty file began as ``start``.
    """
    found = [(change, find(format_, text, change)) for change in changes]
    there = [msgspec.structs.replace(change, value=value) for change, value in found if value is not None]
    again = original or start
    if there and all(find(format_, again, change) is None for change in there):
        for change in there:
            again = put(format_, again, change)
        if again == text:
            return original
    for change in reversed(changes):
        text = take(format_, text, change, original)
    return text


def _read(format_: Format, text: str) -> Json:
    """Return the values of a text; a text of nothing but comments is an empty mapping."""
    try:
        value = _readers[format_](text)
    except _Malformed as error:
        line = text.count("\n", 0, error.position) + 1
        raise InvalidInput(f"It is no {_NAMES[format_]}: line {line} is wrong.", hint=_REPAIR) from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(f"It is no {_NAMES[format_]}: {reason}", hint=_REPAIR) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"It holds a {type(value).__name__} where a mapping is expected.", hint=_REPAIR)
    return value


def _reads_as(format_: Format, text: str, is_right: Callable[[Json], bool]) -> bool:
    try:
        return is_right(_read(format_, text))
    except (InvalidInput, RecursionError):
        return False


def _checked(format_: Format, text: str, is_right: Callable[[Json], bool]) -> str:
    if not _reads_as(format_, text, is_right):
        raise InvalidInput("The entry has no place that leaves all else as it is.", hint="Add it by hand.")
    return text


def _entry(document: Json, change: Change) -> Json:
    for name in change.path:
        document = document.get(name) if isinstance(document, dict) else None
    if not change.mark:
        return document
    elements = document if isinstance(document, list) else []
    return next((element for element in elements if _is_marked(element, change.mark)), None)


def _is_marked(element: Json, mark: str) -> bool:
    return re.search(mark, json.dumps(element, default=str)) is not None


def _with_entry(document: Json, change: Change) -> Json:
    document = copy.deepcopy(document)
    *outer, last = change.path
    node = document
    for name in outer:
        if node.get(name) is None:
            node[name] = {}
        node = node[name]
        if not isinstance(node, dict):
            raise InvalidInput(f"'{name}' is no mapping.", hint=_REPAIR)
    if not change.mark:
        node[last] = change.value
        return document
    elements = node.setdefault(last, [])
    if not isinstance(elements, list):
        raise InvalidInput(f"'{last}' is no list.", hint=_REPAIR)
    places = [place for place, element in enumerate(elements) if _is_marked(element, change.mark)]
    elements[slice(places[0], places[0] + 1) if places else slice(len(elements), None)] = [change.value]
    return document


def _without_entry(document: Json, change: Change) -> Json:
    document = copy.deepcopy(document)
    *outer, last = change.path
    node = document
    for name in outer:
        node = node[name]
    if change.mark:
        node[last].remove(_entry(document, change))
    else:
        del node[last]
    return document


def _bare(document: Json, path: Sequence[str]) -> Json:
    """Return a document without the containers on a path that hold nothing."""
    if not path or not isinstance(document, dict) or path[0] not in document:
        return document
    inner = _bare(document[path[0]], path[1:])
    rest = {name: value for name, value in document.items() if name != path[0]}
    return rest if inner in ({}, [], None) else {**rest, path[0]: inner}


def _without_husks(format_: Format, text: str, change: Change, first: Json) -> str:
    """Take away the empty containers around an entry that the first document did not have."""
    for depth in range(len(change.path) - (not change.mark), 0, -1):
        path = change.path[:depth]
        husk = Change(path=path, value=None)
        document = _read(format_, text)
        if not _has(document, path) or _entry(document, husk) not in ({}, [], None) or _has(first, path):
            return text
        expected = _without_entry(document, husk)
        for candidate in _takers[format_](text, husk):
            if _reads_as(format_, candidate, lambda after, expected=expected: _same(after, expected)):  # type: ignore[misc]  # the default binds the value of this round
                text = candidate
                break
    return text


def _has(document: Json, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return False
        document = document[name]
    return True


def _same(one: Json, other: Json) -> bool:
    """Tell whether two documents are equal, with true apart from 1, 1 apart from 1.0 and a NaN equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124 - only a NaN differs from itself


def _line_break(text: str) -> str:
    end = text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def _margin(text: str, position: int) -> str | None:
    """Return the white space before a position when nothing else is on its line, otherwise None."""
    before = text[text.rfind("\n", 0, position) + 1 : position].lstrip("\ufeff")
    return None if before.strip(" \t") else before


def _line_end(text: str, position: int) -> int:
    """Return where the line after that of a position begins."""
    return text.find("\n", position) + 1 or len(text)


class _Malformed(Exception):
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


def _scan_document(text: str) -> _Node | None:
    """Return the value of a JSON text, or None for one of nothing but comments."""
    start = _skip(text, 0)
    if start == len(text):
        return None
    node = _scan(text, start)
    if _skip(text, node.end) != len(text):
        raise _Malformed(_skip(text, node.end))
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
        raise _Malformed(position)
    return _Node(position, match.end(), json.loads(match.group()))


def _scan_parts(text: str, start: int, *, is_object: bool) -> _Node:
    parts: list[_Part] = []
    closing = "}" if is_object else "]"
    position = _skip(text, start + 1)
    while text[position : position + 1] != closing:
        if parts and parts[-1].comma is None:
            raise _Malformed(position)
        begin, name = position, ""
        if is_object:
            match = _STRING.match(text, position)
            colon = match and _skip(text, match.end())
            if match is None or colon is None or text[colon : colon + 1] != ":":
                raise _Malformed(position)
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


def _read_json(text: str) -> Json:
    node = _scan_document(text)
    if node is not None:
        json.loads(text.lstrip("\ufeff"))
    return node and node.value


def _read_jsonc(text: str) -> Json:
    node = _scan_document(text)
    return node and node.value


def _named(node: _Node, name: str) -> _Part | None:
    found = [part for part in node.parts or () if part.name == name]
    if len(found) > 1:
        raise InvalidInput(f"'{name}' stands twice in one object.", hint=_REPAIR)
    return found[0] if found else None


def _nested(path: Sequence[str], change: Change) -> Json:
    value: Json = [change.value] if change.mark else change.value
    for name in reversed(path):
        value = {name: value}
    return value


def _put_json(text: str, change: Change) -> str:
    root = _scan_document(text)
    if root is None:
        return text + _laid_out(_nested(change.path, change), "", _INDENT, _line_break(text)) + _line_break(text)
    node = root
    for depth, name in enumerate(change.path):
        part = _named(node, name)
        if part is None:
            return _insert(text, root, node, name, _nested(change.path[depth + 1 :], change))
        node = part.node
    if not change.mark:
        return _replace(text, root, node, change.value)
    for part in node.parts or ():
        if _is_marked(part.node.value, change.mark):
            return _replace(text, root, part.node, change.value)
    return _insert(text, root, node, None, change.value)


def _laid_out(value: Json, margin: str, unit: str, line_break: str) -> str:
    return json.dumps(value, ensure_ascii=False, indent=unit).replace("\n", line_break + margin)


def _unit(text: str, root: _Node) -> str:
    return (_margin(text, root.parts[0].start) if root.parts else None) or _INDENT


def _line_margin(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position].lstrip("\ufeff")
    return line[: len(line) - len(line.lstrip(" \t"))]


def _replace(text: str, root: _Node, node: _Node, value: Json) -> str:
    is_line = "\n" not in text[node.start : node.end]
    inline = json.dumps(value, ensure_ascii=False)
    laid_out = _laid_out(value, _line_margin(text, node.start), _unit(text, root), _line_break(text))
    return text[: node.start] + (inline if is_line else laid_out) + text[node.end :]


def _insert(text: str, root: _Node, node: _Node, name: str | None, value: Json) -> str:
    """Put a member or an element behind the last one, in its style."""
    key = "" if name is None else json.dumps(name, ensure_ascii=False) + ": "
    line_break, unit = _line_break(text), _unit(text, root)
    if not node.parts:
        return _fill(text, node, key, value, unit)
    last = node.parts[-1]
    behind = last.node.end if last.comma is None else last.comma + 1
    comments = _REST_OF_LINE.match(text, behind)
    if comments is not None and comments.group().strip():
        after, needs_break = comments.end(), comments.group(1) is not None
    else:
        after, needs_break = behind, False
    margin = _margin(text, last.start)
    if margin is None and not needs_break:
        member = " " + key + json.dumps(value, ensure_ascii=False)
    else:
        margin = _line_margin(text, last.start) if margin is None else margin
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
    line_break, outer = _line_break(text), _line_margin(text, node.start)
    at = node.start + 1 + len(inside.rstrip())
    member = line_break + outer + unit + key + _laid_out(value, outer + unit, unit, line_break)
    closing = "" if "\n" in text[at : node.end - 1] else line_break + outer
    return text[:at] + member + closing + text[at:]


def _take_json(text: str, change: Change) -> Iterator[str]:
    node = _scan_document(text)
    for name in change.path if change.mark else change.path[:-1]:
        part = node and _named(node, name)
        node = part and part.node
    if node is None:
        return
    parts = node.parts or []
    for place, part in enumerate(parts):
        if _is_marked(part.node.value, change.mark) if change.mark else part.name == change.path[-1]:
            stop = part.node.end if part.comma is None else part.comma + 1
            comma = parts[place - 1].comma if place and part.comma is None else None
            # A line comment before the entry may need the line break that belongs to the entry.
            for begin in (len(text[: part.start].rstrip()), part.start):
                if comma is None:
                    yield text[:begin] + text[stop:]
                else:
                    yield text[:comma] + text[comma + 1 : max(begin, comma + 1)] + text[stop:]
            return


def _read_toml(text: str) -> Json:
    return tomllib.loads(text.removeprefix("\ufeff"))


def _put_toml(text: str, change: Change) -> str:
    line_break = _line_break(text)
    block = line_break.join(_toml_table(change.path, change.value))
    if _entry(_read_toml(text), change) is not None:
        for begin, end in _toml_spans(text, change):
            is_last = end == len(text) and not text.endswith("\n")
            return text[:begin] + block + ("" if is_last else line_break) + text[end:]
    content = text.removeprefix("\ufeff")
    if not content:
        return text + block + line_break
    if text.endswith("\n"):
        return text + line_break + block + line_break
    return text + line_break * 2 + block


def _toml_table(path: Sequence[str], table: Mapping[str, Json]) -> list[str]:
    header = ".".join(map(_toml_key, path))
    return [f"[{header}]", *(f"{_toml_key(name)} = {_toml_value(value)}" for name, value in table.items())]


def _toml_key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _toml_value(name)


def _toml_value(value: Json) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(name)} = {_toml_value(below)}" for name, below in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, (str, bool, int, float)):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


def _toml_spans(text: str, change: Change) -> Iterator[tuple[int, int]]:
    """Yield where the table may begin and end, by whole lines; the first that leaves all else is right."""
    expected = _without_entry(_read_toml(text), change)

    def is_right(after: Json) -> bool:
        return _same(_bare(after, change.path), _bare(expected, change.path))

    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for first, line in enumerate(lines):
        if line.lstrip("\ufeff \t").startswith("["):
            for behind in range(first + 1, len(starts)):
                if _reads_as("toml", text[: starts[first]] + text[starts[behind] :], is_right):
                    yield starts[first], starts[behind]
                    return


def _take_toml(text: str, change: Change) -> Iterator[str]:
    for begin, end in _toml_spans(text, change):
        before, after = text[:begin], text[end:]
        if not after.strip():
            # The blank line that was put before the table.
            before = re.sub(r"(\r?\n)\r?\n\Z", r"\1", before)
        yield before + after


def _read_yaml(text: str) -> Json:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _yaml_node(text: str) -> Any:  # noqa: ANN401 - the library has no types for its nodes
    import yaml

    return yaml.compose(text, Loader=yaml.SafeLoader)


def _yaml_item(node: Any, name: str) -> Any:  # noqa: ANN401 - the same
    """Return the key and the value of a name in a mapping, or None."""
    items = node.value if node is not None and node.id == "mapping" else ()
    return next((item for item in items if item[0].id == "scalar" and item[0].value == name), None)


def _put_yaml(text: str, change: Change) -> str:
    if _entry(_read_yaml(text), change) is not None:
        text = next(_take_yaml(text, change), text)
    outer, name = change.path
    line_break, root = _line_break(text), _yaml_node(text)
    item = _yaml_item(root, outer)
    if item is None:
        margin = " " * root.value[0][0].start_mark.column if root is not None and root.value else ""
        lines = [f"{margin}{outer}:", *_yaml_lines(margin + _INDENT, name, change.value)]
        block = line_break.join(lines)
        if not text.removeprefix("\ufeff") or text.endswith("\n"):
            return text + block + line_break
        if any(value.style in ("|", ">") and value.end_mark.index == len(text) for value in _yaml_leaves(root)):
            # A line break would become part of the last text.
            at = text.rfind("\n", 0, root.value[0][0].start_mark.index) + 1 or text.startswith("\ufeff")
            return text[:at] + block + line_break + text[at:]
        return text + line_break + block
    key, servers = item
    if servers.id == "mapping" and servers.flow_style:
        rest = ", " if servers.value else ""
        at = servers.start_mark.index + 1
        member = json.dumps({name: change.value}, ensure_ascii=False)[1:-1]
        return text[:at] + member + rest + text[at:]
    column = servers.value[0][0].start_mark.column if servers.id == "mapping" else key.start_mark.column + len(_INDENT)
    block = line_break.join(_yaml_lines(" " * column, name, change.value))
    at = _line_end(text, key.end_mark.index)
    if text[:at].endswith("\n"):
        return text[:at] + block + line_break + text[at:]
    return text[:at] + line_break + block + text[at:]


def _yaml_lines(margin: str, name: str, entry: Mapping[str, Json]) -> list[str]:
    fields = (f"{margin}{_INDENT}{field}: {json.dumps(value, ensure_ascii=False)}" for field, value in entry.items())
    return [f"{margin}{name}:", *fields]


def _take_yaml(text: str, change: Change) -> Iterator[str]:
    node = _yaml_node(text)
    for name in change.path[:-1]:
        item = _yaml_item(node, name)
        node = item and item[1]
    item = _yaml_item(node, change.path[-1])
    if item is None:
        return
    key, value = item
    begin, end = key.start_mark.index, max(key.end_mark.index, _yaml_end(value))
    if node.flow_style:
        after = re.compile(r"\s*,\s*").match(text, end)
        before = re.search(r"\s*,\s*\Z", text[:begin])
        yield text[:begin] + text[after.end() if after else end :]
        yield text[: before.start() if before else begin] + text[end:]
        return
    begin = text.rfind("\n", 0, begin) + 1
    if text[:1] == "\ufeff":
        begin = max(begin, 1)
    end = end if text[:end].endswith("\n") else _line_end(text, end)
    yield text[:begin] + text[end:]


def _yaml_end(node: Any) -> int:  # noqa: ANN401 - the library has no types for its nodes
    """Return where the text of a value ends; the library counts blank lines and comments after a block with it."""
    if node.id == "scalar" or node.flow_style:
        return int(node.end_mark.index)
    children = [child for item in node.value for child in (item if isinstance(item, tuple) else (item,))]
    return max(map(_yaml_end, children), default=int(node.start_mark.index))


def _yaml_leaves(node: Any) -> Iterator[Any]:  # noqa: ANN401 - the same
    """Yield the scalars below a node, keys too."""
    if node is None or node.id == "scalar":
        yield from () if node is None else (node,)
        return
    for item in node.value:
        for child in item if isinstance(item, tuple) else (item,):
            yield from _yaml_leaves(child)


def _read_note(text: str) -> Json:
    match = _NOTE.search(text)
    return {"note": match.group().replace("\r\n", "\n")} if match else {}


def _put_note(text: str, change: Change) -> str:
    line_break = _line_break(text)
    note = str(change.value).replace("\n", line_break)
    if _NOTE.search(text):
        return _NOTE.sub(lambda _: note, text, count=1)
    if not text:
        return note + line_break
    return text + (line_break if text.endswith("\n") else line_break * 2) + note + line_break


def _take_note(text: str, _change: Change) -> Iterator[str]:
    yield re.sub(r"(?:(?<=\n)\r?\n)?" + _NOTE.pattern + r"\r?\n?", "", text, count=1, flags=re.DOTALL)


_NAMES: Final = {"json": "JSON", "jsonc": "JSON", "toml": "TOML", "yaml": "YAML", "markdown": "Markdown"}
_REPAIR: Final = "Repair the file first, or add the entry by hand; nothing was changed."
_readers: Final[dict[Format, Callable[[str], Json]]] = {
    "json": _read_json,
    "jsonc": _read_jsonc,
    "toml": _read_toml,
    "yaml": _read_yaml,
    "markdown": _read_note,
}
_putters: Final[dict[Format, Callable[[str, Change], str]]] = {
    "json": _put_json,
    "jsonc": _put_json,
    "toml": _put_toml,
    "yaml": _put_yaml,
    "markdown": _put_note,
}
_takers: Final[dict[Format, Callable[[str, Change], Iterator[str]]]] = {
    "json": _take_json,
    "jsonc": _take_json,
    "toml": _take_toml,
    "yaml": _take_yaml,
    "markdown": _take_note,
}

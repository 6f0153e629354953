"""An entry in YAML, found by the places of the nodes that the library tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mimir.cli.merging.document import Change, entry_of
from mimir.cli.merging.lines import INDENT, line_break_of, line_end
from mimir.model import Json


def read(text: str) -> Json:
    """Return the values of a text.

    Raises:
        ValueError: it is no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _node(text: str) -> Any:  # noqa: ANN401 - the library has no types for its nodes
    import yaml

    return yaml.compose(text, Loader=yaml.SafeLoader)


def _item(node: Any, name: str) -> Any:  # noqa: ANN401 - the same
    """Return the key and the value of a name in a mapping, or None."""
    items = node.value if node is not None and node.id == "mapping" else ()
    return next((item for item in items if item[0].id == "scalar" and item[0].value == name), None)


def put(text: str, change: Change) -> str:
    """Return the text with an entry in it, in the style of what is there."""
    if entry_of(read(text), change) is not None:
        text = next(take(text, change), text)
    outer, name = change.path
    line_break, root = line_break_of(text), _node(text)
    item = _item(root, outer)
    if item is None:
        margin = " " * root.value[0][0].start_mark.column if root is not None and root.value else ""
        lines = [f"{margin}{outer}:", *_lines(margin + INDENT, name, change.value)]
        block = line_break.join(lines)
        if not text.removeprefix("\ufeff") or text.endswith("\n"):
            return text + block + line_break
        if any(value.style in ("|", ">") and value.end_mark.index == len(text) for value in _leaves(root)):
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
    column = servers.value[0][0].start_mark.column if servers.id == "mapping" else key.start_mark.column + len(INDENT)
    block = line_break.join(_lines(" " * column, name, change.value))
    at = line_end(text, key.end_mark.index)
    if text[:at].endswith("\n"):
        return text[:at] + block + line_break + text[at:]
    return text[:at] + line_break + block + text[at:]


def _lines(margin: str, name: str, entry: Mapping[str, Json]) -> list[str]:
    fields = (f"{margin}{INDENT}{field}: {json.dumps(value, ensure_ascii=False)}" for field, value in entry.items())
    return [f"{margin}{name}:", *fields]


def take(text: str, change: Change) -> Iterator[str]:
    """Yield what the text may be without an entry; the caller takes the first that leaves all else."""
    node = _node(text)
    for name in change.path[:-1]:
        item = _item(node, name)
        node = item and item[1]
    item = _item(node, change.path[-1])
    if item is None:
        return
    key, value = item
    begin, end = key.start_mark.index, max(key.end_mark.index, _end(value))
    if node.flow_style:
        after = re.compile(r"\s*,\s*").match(text, end)
        before = re.search(r"\s*,\s*\Z", text[:begin])
        yield text[:begin] + text[after.end() if after else end :]
        yield text[: before.start() if before else begin] + text[end:]
        return
    begin = text.rfind("\n", 0, begin) + 1
    if text[:1] == "\ufeff":
        begin = max(begin, 1)
    end = end if text[:end].endswith("\n") else line_end(text, end)
    yield text[:begin] + text[end:]


def _end(node: Any) -> int:  # noqa: ANN401 - the library has no types for its nodes
    """Return where the text of a value ends; the library counts blank lines and comments after a block with it."""
    if node.id == "scalar" or node.flow_style:
        return int(node.end_mark.index)
    children = [child for item in node.value for child in (item if isinstance(item, tuple) else (item,))]
    return max(map(_end, children), default=int(node.start_mark.index))


def _leaves(node: Any) -> Iterator[Any]:  # noqa: ANN401 - the same
    """Yield the scalars below a node, keys too."""
    if node is None or node.id == "scalar":
        yield from () if node is None else (node,)
        return
    for item in node.value:
        for child in item if isinstance(item, tuple) else (item,):
            yield from _leaves(child)

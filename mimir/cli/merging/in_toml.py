"""An entry in TOML: a table of whole lines."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mimir.cli.merging.document import Change, bare, entry_of, same, without_entry
from mimir.cli.merging.lines import line_break_of
from mimir.model import Json

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


def read(text: str) -> Json:
    """Return the values of a text.

    Raises:
        ValueError: it is no TOML.
    """
    return tomllib.loads(text.removeprefix("\ufeff"))


def put(text: str, change: Change) -> str:
    """Return the text with a table in place of the one there is, or at its end."""
    line_break = line_break_of(text)
    block = line_break.join(_table(change.path, change.value))
    if entry_of(read(text), change) is not None:
        for begin, end in _spans(text, change):
            is_last = end == len(text) and not text.endswith("\n")
            return text[:begin] + block + ("" if is_last else line_break) + text[end:]
    content = text.removeprefix("\ufeff")
    if not content:
        return text + block + line_break
    if text.endswith("\n"):
        return text + line_break + block + line_break
    return text + line_break * 2 + block


def _table(path: Sequence[str], table: Mapping[str, Json]) -> list[str]:
    header = ".".join(map(_key, path))
    return [f"[{header}]", *(f"{_key(name)} = {_value(value)}" for name, value in table.items())]


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _value(name)


def _value(value: Json) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(name)} = {_value(below)}" for name, below in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, (str, bool, int, float)):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


def _spans(text: str, change: Change) -> Iterator[tuple[int, int]]:
    """Yield where the table may begin and end, by whole lines; the first that leaves all else is right."""
    expected = without_entry(read(text), change)

    def is_right(candidate: str) -> bool:
        try:
            after = read(candidate)
        except (ValueError, RecursionError):
            return False
        return same(bare(after, change.path), bare(expected, change.path))

    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for first, line in enumerate(lines):
        # Every end is tried by reading the whole file, and a file may hold thousands of other tables.
        if _is_on(_header(line), change.path):
            for behind in range(first + 1, len(starts)):
                if is_right(text[: starts[first]] + text[starts[behind] :]):
                    yield starts[first], starts[behind]
                    return


def _header(line: str) -> list[str]:
    """Return the path of the table that a line opens, empty when it opens none."""
    line = line.lstrip("\ufeff \t")
    try:
        table: Json = tomllib.loads(line) if line.startswith("[") else {}
    except tomllib.TOMLDecodeError:
        return []
    path = []
    while isinstance(table, dict) and table:
        (name, table), *_ = table.items()
        path.append(name)
    return path


def _is_on(header: Sequence[str], path: Sequence[str]) -> bool:
    """Tell whether a table holds what is at a path, or stands below it."""
    depth = min(len(header), len(path))
    return depth > 0 and list(header[:depth]) == list(path[:depth])


def take(text: str, change: Change) -> Iterator[str]:
    """Yield what the text may be without a table; the caller takes the first that leaves all else."""
    for begin, end in _spans(text, change):
        before, after = text[:begin], text[end:]
        if not after.strip():
            # The blank line that was put before the table.
            before = re.sub(r"(\r?\n)\r?\n\Z", r"\1", before)
        yield before + after

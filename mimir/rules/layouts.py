"""The other two ways to write the fields of a note: page properties of Logseq, and the lines of the Rust Mimir."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from mimir.errors import InvalidInput
from mimir.rules.front_matter import Plain, escaped, read_fields

ORIGINAL_FIELDS: Final = (
    "id",
    "category",
    "key",
    "type",
    "workspace_hash",
    "agent_id",
    "tags",
    "decay_score",
    "retrieval_count",
    "layer",
    "created",
    "last_accessed",
)
"""What the Rust Mimir writes, in its order."""

# Logseq keeps the first for its own numbers of blocks, and has the second in the singular.
_PAGE_NAMES: Final = {"id": "mimir-id", "aliases": "alias"}
_FIELD_NAMES: Final = {page: name for name, page in _PAGE_NAMES.items()}
_PAGE_LISTS: Final = frozenset({"tags", "alias"})
_PAGE_LINE: Final = re.compile(r"([^\W\d][\w -]*?):: ?(.*)")
_PAGE_WORD: Final = re.compile(r"\[\[([^\[\]\n]+)\]\]|([^,\[\]\n]+)")
_SIMPLE: Final = re.compile(r"[\w][\w ./-]*")


def page_properties(pairs: Iterable[tuple[str, str]], lists: dict[str, Sequence[str]]) -> list[str]:
    """Return fields, written as YAML, as lines ``name:: value``; ``lists`` has the texts of those that are lists."""
    lines = []
    for name, value in pairs:
        page = _PAGE_NAMES.get(name, name)
        lines.append(f"{page}:: {_page_list(lists[name]) if name in lists else value}".rstrip(" "))
    return lines


def read_page_properties(text: str) -> tuple[dict[str, Any], str] | None:
    """Return the fields of page properties and the text below them, or None for a text that has none."""
    lines = text.split("\n")
    matches = list(itertools.takewhile(bool, map(_PAGE_LINE.fullmatch, lines)))
    told = {
        _FIELD_NAMES.get(match[1], match[1]): _read_page_value(match[1], match[2].strip()) for match in matches if match
    }
    return (told, "\n".join(lines[len(matches) :])) if told else None


def original_lines(values: dict[str, str]) -> list[str]:
    """Return the front matter of the Rust Mimir, which quotes nothing but what would break a line."""
    return [f"{name}: {_in_one_line(values[name])}" for name in ORIGINAL_FIELDS]


def read_original_lines(lines: Sequence[str]) -> dict[str, Any] | None:
    """Return the fields of a front matter of the Rust Mimir, or None for another."""
    pairs = [line.partition(":") for line in lines]
    if [name for name, _, _ in pairs] != list(ORIGINAL_FIELDS):
        return None
    return {name: _out_of_one_line(value.strip()) for name, _, value in pairs}


def _page_list(texts: Sequence[str]) -> str:
    """Return texts as Logseq lists them, or as JSON if they would not come back from that."""
    listed = ", ".join(text if _SIMPLE.fullmatch(text) else f"[[{text}]]" for text in texts)
    as_one_line = "\n" not in listed and "\r" not in listed
    if as_one_line and _read_page_value("tags", listed.strip()) == list(texts):
        return listed
    return escaped(json.dumps(list(texts), ensure_ascii=False))


def _read_page_value(name: str, value: str) -> object:
    if name in _PAGE_LISTS and not (value.startswith("[") and not value.startswith("[[")):
        return [(page or word).strip() for page, word in _PAGE_WORD.findall(value) if (page or word).strip()]
    if value[:1] in ('"', "[", "{"):
        with suppress(InvalidInput):
            return read_fields([f"value: {value}"])["value"]
    return Plain(value)


def _in_one_line(value: str) -> str:
    return json.dumps(value) if "\n" in value or "\r" in value else value


def _out_of_one_line(value: str) -> str:
    if value[:1] == value[-1:] == '"' and ("\\n" in value or "\\r" in value):
        with suppress(ValueError):
            return str(json.loads(value))
    return value

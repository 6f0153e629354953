"""Entries of a configuration file as values: where one stands, and a document with it and without it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from mimir.errors import InvalidInput
from mimir.model import Json

REPAIR: Final = "Repair the file first, or add the entry by hand; nothing was changed."


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a file: where it stands and what it is.

    With ``mark`` the path leads to a list, and the entry is the element whose JSON this pattern is found in.
    """

    path: tuple[str, ...]
    value: Json
    mark: str = ""


def entry_of(document: Json, change: Change) -> Json:
    """Return the entry that stands in the place of a change, or None."""
    for name in change.path:
        document = document.get(name) if isinstance(document, dict) else None
    if not change.mark:
        return document
    elements = document if isinstance(document, list) else []
    return next((element for element in elements if is_marked(element, change.mark)), None)


def is_marked(element: Json, mark: str) -> bool:
    """Tell whether an element of a list is the one that a mark stands for."""
    return re.search(mark, json.dumps(element, default=str)) is not None


def with_entry(document: Json, change: Change) -> Json:
    """Return a copy of a document with an entry in it.

    Raises:
        InvalidInput: something else stands where the entry belongs.
    """
    document = copy.deepcopy(document)
    *outer, last = change.path
    node = document
    for name in outer:
        if node.get(name) is None:
            node[name] = {}
        node = node[name]
        if not isinstance(node, dict):
            raise InvalidInput(f"'{name}' is no mapping.", hint=REPAIR)
    if not change.mark:
        node[last] = change.value
        return document
    elements = node.setdefault(last, [])
    if not isinstance(elements, list):
        raise InvalidInput(f"'{last}' is no list.", hint=REPAIR)
    places = [place for place, element in enumerate(elements) if is_marked(element, change.mark)]
    elements[slice(places[0], places[0] + 1) if places else slice(len(elements), None)] = [change.value]
    return document


def without_entry(document: Json, change: Change) -> Json:
    """Return a copy of a document without an entry that is there."""
    document = copy.deepcopy(document)
    *outer, last = change.path
    node = document
    for name in outer:
        node = node[name]
    if change.mark:
        node[last].remove(entry_of(document, change))
    else:
        del node[last]
    return document


def bare(document: Json, path: Sequence[str]) -> Json:
    """Return a document without the containers on a path that hold nothing."""
    if not path or not isinstance(document, dict) or path[0] not in document:
        return document
    inner = bare(document[path[0]], path[1:])
    rest = {name: value for name, value in document.items() if name != path[0]}
    return rest if inner in ({}, [], None) else {**rest, path[0]: inner}


def has(document: Json, path: Sequence[str]) -> bool:
    """Tell whether anything stands at a path, null included."""
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return False
        document = document[name]
    return True


def same(one: Json, other: Json) -> bool:
    """Tell whether two documents are equal, with true apart from 1, 1 apart from 1.0 and a NaN equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124 - only a NaN differs from itself

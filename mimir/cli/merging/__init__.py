"""Put one entry into a configuration file and take it out again, by edits of the text around that entry alone.

Nothing is read into values and written back: comments, order, indentation and line breaks of everything else stay as
they are. Each edit is checked by reading both texts: all other values must be what they were.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple

import msgspec

from mimir.cli.merging import in_json, in_note, in_toml, in_yaml
from mimir.cli.merging.document import REPAIR, Change, bare, entry_of, has, same, with_entry, without_entry
from mimir.errors import InvalidInput
from mimir.model import Json

Format = Literal["json", "jsonc", "toml", "yaml", "markdown"]

ADDRESSES: Final = frozenset({"url", "httpUrl", "serverUrl"})
"""What clients call the address of a server that they do not start."""


class Kind(NamedTuple):
    """A kind of file: its name, and how its text is read and an entry put and taken."""

    name: str
    read: Callable[[str], Json]
    put: Callable[[str, Change], str]
    take: Callable[[str, Change], Iterator[str]]


_KINDS: Final[dict[Format, Kind]] = {
    "json": Kind("JSON", in_json.read, in_json.put, in_json.take),
    "jsonc": Kind("JSON", in_json.read_with_comments, in_json.put, in_json.take),
    "toml": Kind("TOML", in_toml.read, in_toml.put, in_toml.take),
    "yaml": Kind("YAML", in_yaml.read, in_yaml.put, in_yaml.take),
    "markdown": Kind("Markdown", in_note.read, in_note.put, in_note.take),
}


def find(format_: Format, text: str, change: Change) -> Json:
    """Return the entry that stands in the file in the place of ``change``, or None.

    Raises:
        InvalidInput: the text cannot be read.
    """
    return entry_of(_read(format_, text), change)


def put(format_: Format, text: str, change: Change) -> str:
    """Return the text with the entry in it; what an earlier entry has beyond it stays.

    Raises:
        InvalidInput: the text cannot be read, or the entry has no place in it.
    """
    before = _read(format_, text)
    there = entry_of(before, change)
    value = change.value
    # A server that was reached by its address keeps nothing: a client could not tell which of the two to use.
    if isinstance(there, dict) and isinstance(value, dict) and ADDRESSES.isdisjoint(there):
        value = {**there, **value}
    if there is not None and same(there, value):
        return text
    change = msgspec.structs.replace(change, value=value)
    expected = with_entry(before, change)
    return _checked(format_, _KINDS[format_].put(text, change), lambda after: same(after, expected))


def take(format_: Format, text: str, change: Change, original: str | None) -> str:
    """Return the text without the entry, and without what is empty then and was not in ``original``.

    Raises:
        InvalidInput: the text cannot be read, or the entry cannot be taken out of it.
    """
    before = _read(format_, text)
    if entry_of(before, change) is None:
        return text
    expected = without_entry(before, change)
    first = _read(format_, original or "")

    def is_right(after: Json) -> bool:
        return same(bare(after, change.path), bare(expected, change.path))

    for candidate in _KINDS[format_].take(text, change):
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


@functools.lru_cache(maxsize=4)
def _read(format_: Format, text: str) -> Json:
    """Return the values of a text, which nobody may change; a text of nothing but comments is an empty mapping."""
    try:
        value = _KINDS[format_].read(text)
    except in_json.Malformed as error:
        line = text.count("\n", 0, error.position) + 1
        raise InvalidInput(f"It is no {_KINDS[format_].name}: line {line} is wrong.", hint=REPAIR) from None
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(f"It is no {_KINDS[format_].name}: {reason}", hint=REPAIR) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"It holds a {type(value).__name__} where a mapping is expected.", hint=REPAIR)
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


def _without_husks(format_: Format, text: str, change: Change, first: Json) -> str:
    """Take away the empty containers around an entry that the first document did not have."""
    for depth in range(len(change.path) - (not change.mark), 0, -1):
        path = change.path[:depth]
        husk = Change(path=path, value=None)
        document = _read(format_, text)
        if not has(document, path) or entry_of(document, husk) not in ({}, [], None) or has(first, path):
            return text
        expected = without_entry(document, husk)
        for candidate in _KINDS[format_].take(text, husk):
            if _reads_as(format_, candidate, partial(same, expected)):
                text = candidate
                break
    return text

"""The block of memories that is put before a prompt: which lines it has, and how they fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from mimir.rules.fencing import LABEL
from mimir.rules.similarity import same_content

_NAMELESS_FROM: Final = 24
"""Characters from which a text says enough by itself to be the same under another key: two ports 5432 are not."""

_LEAD_CHARACTERS: Final = 60
"""How much of a text is shown before the first word that was asked for."""

_HEADING: Final = ("## Mimir Context", "", LABEL, "")
_PINNED_HEADING: Final = ("### Always On", "")


class Entry(NamedTuple):
    """One memory in a block: the id and key it is known by, what is shown of its text, and its line."""

    id: str
    key: str
    shown: str
    line: str


def without_repeats(entries: Sequence[Entry], before: Sequence[Entry] = ()) -> list[Entry]:
    """Return the entries that say something new: no memory twice, and no text that stands there already.

    Articles, case and punctuation make no text new; every number and negation does.
    """
    kept: list[Entry] = []
    seen = [*before]
    for entry in entries:
        if not any(one.id == entry.id or _says_the_same(one, entry) for one in seen):
            kept.append(entry)
            seen.append(entry)
    return kept


def part_about(text: str, words: Sequence[str], most: int) -> str:
    """Return a text of at most ``most`` characters whole, and of a longer one the part with most of the given words."""
    if len(text) <= most:
        return text
    lower = text.lower()
    places = sorted(
        (match.start(), word) for word in dict.fromkeys(words) for match in re.finditer(re.escape(word), lower)
    )
    # A part begins a little before its first word; of equal ones the first counts.
    window = most - _LEAD_CHARACTERS
    counts = [len({word for at, word in places if start <= at < start + window}) for start, _ in places]
    first = places[counts.index(max(counts))][0] if places else 0
    if first <= _LEAD_CHARACTERS:
        return text[:most]
    begin = min(text.find(" ", first - _LEAD_CHARACTERS) + 1 or first, first)
    return f"... {text[begin : begin + most]}"


def block(pinned: Sequence[Entry], ranked: Sequence[Entry], most_characters: int | None) -> str:
    """Return the lines of pinned memories, then of ranked ones, as Markdown of at most ``most_characters``.

    Pinned lines take at most half of the room as long as ranked ones need the rest. The last line counts what is
    there. Heading and last line stand in any case.
    """
    in_all = len(pinned) + len(ranked)
    everything = _markdown(pinned, ranked, f"> {in_all} entities recalled")
    if most_characters is None or len(everything) <= most_characters:
        return everything
    footer = f" of {in_all} entities recalled; raise max_context_chars or use mimir_recall"
    room = most_characters - len(_markdown(pinned[:1], (), f"> {in_all}{footer}"))
    room += sum(map(_length, pinned[:1]))
    held = _fitting(pinned, room // 2 if ranked else room)
    room -= sum(map(_length, pinned[:held]))
    relevant = _fitting(ranked, room)
    room -= sum(map(_length, ranked[:relevant]))
    held += _fitting(pinned[held:], room)
    return _markdown(pinned[:held], ranked[:relevant], f"> {held + relevant}{footer}")


def _says_the_same(one: Entry, other: Entry) -> bool:
    if min(len(one.shown), len(other.shown)) < _NAMELESS_FROM and one.key != other.key:
        return False
    return same_content(one.shown, other.shown, loosely=True)


def _markdown(pinned: Sequence[Entry], ranked: Sequence[Entry], footer: str) -> str:
    always_on = (*_PINNED_HEADING, *(entry.line for entry in pinned), "") if pinned else ()
    return "\n".join((*_HEADING, *always_on, *(entry.line for entry in ranked), "", footer))


def _fitting(entries: Sequence[Entry], room: int) -> int:
    """Return how many of the first entries fit into ``room`` characters."""
    for count, entry in enumerate(entries):
        room -= _length(entry)
        if room < 0:
            return count
    return len(entries)


def _length(entry: Entry) -> int:
    return len(entry.line) + 1

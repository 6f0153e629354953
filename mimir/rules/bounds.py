"""Replies within a bound: long texts are cut, long lists end earlier, and a note says what was left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from mimir.model import Json

CEILING_BYTES: Final = 80_000
"""Longest result of a tool, as JSON in UTF-8: about 20,000 tokens, which the common hosts still show to a model."""

SHORTEST_REPLY: Final = 2_000
"""Least bound that a caller may set, in characters: below it not even one memory would fit."""

PAGE_CHARACTERS: Final = 16_000
"""How much of a long body one page shows: below the ceiling in every script."""

_NOTE_ROOM: Final = 400
_TEXT_CAPS: Final = (20_000, 8_000, 2_000, 500)
_LEAST_TEXT: Final = 150
_CHARACTERS_PER_ITEM: Final = 40
_JSON_TEXT: Final = "_json"
"""How the names of texts end that are JSON themselves, and stay so when they are cut."""

Size = Callable[[Any], int]


class Cut(NamedTuple):
    """What was left out: texts beyond so many characters, and of which lists all but the first so many of so many."""

    texts_at: int
    lists: dict[str, tuple[int, int]]

    def note(self, offset: int | None) -> str:
        """Return what was left out and how to get it; ``offset`` is what the call skipped, None if it cannot skip."""
        parts = [f"Shortened: texts are cut at {self.texts_at} characters"]
        parts += [f"{name} holds the first {kept} of {total}" for name, (kept, total) in self.lists.items()]
        advice = "mimir_get_entity with the id gives a memory in full, with offset page by page"
        if self.lists and offset is not None:
            advice += (
                f"; call again with offset {offset + max(kept for kept, _ in self.lists.values())} for the next items"
            )
        elif self.lists:
            advice += "; narrow the call for the rest"
        return f"{'; '.join(parts)}. {advice}."


def fit(result: dict[str, Json], most: int, size: Size) -> tuple[dict[str, Json], Cut | None]:
    """Return a result with a size of at most ``most``, and what was left out of it, None for nothing.

    Room is left for the note. Texts are cut first, then the longest lists end earlier; types stay as they are, and
    texts that are JSON stay JSON. Only what has no list and no long text left may stay above a small bound.
    """
    if size(result) <= most:
        return result, None
    most -= _NOTE_ROOM
    for cap in _TEXT_CAPS:
        cut = _with_texts_cut(result, cap)
        if size(cut) <= most:
            return cut, Cut(cap, {})
    cut, what = _with_lists_ended(result, _TEXT_CAPS[-1], most, size)
    if all(kept for kept, _ in what.lists.values()):
        return cut, what
    return _with_lists_ended(result, _LEAST_TEXT, most, size)


def bounded(result: dict[str, Json], most: int, size: Size, offset: int | None = None) -> dict[str, Json]:
    """Return a result itself where it fits, else what of it does, with a note in ``truncated`` how to get the rest."""
    fitted, cut = fit(result, most, size)
    return result if cut is None else {**fitted, "truncated": cut.note(offset)}


def _with_texts_cut(result: dict[str, Json], cap: int) -> dict[str, Json]:
    return {name: shortened(value, cap, name, top=True) for name, value in result.items()}


def _with_lists_ended(result: dict[str, Json], cap: int, most: int, size: Size) -> tuple[dict[str, Json], Cut]:
    """Return a result with its texts cut and its longest lists ended so early that it fits."""
    cut = _with_texts_cut(result, cap)
    lists: dict[str, tuple[int, int]] = {}
    containers = {name: value for name, value in cut.items() if _is_long(value)}
    for name, value in sorted(containers.items(), key=lambda one: -len(json.dumps(one[1]))):
        if size(cut) <= most:
            break
        kept = _longest_that_fits(cut, name, value, most, size)
        cut[name] = _first(value, kept)
        lists[name] = (kept, len(value))
    return cut, Cut(cap, lists)


def page_of(text: str, offset: int) -> tuple[str, str]:
    """Return a page of a text from an offset in characters, and a note where it lies and how to go on."""
    page = text[offset : offset + PAGE_CHARACTERS]
    end = offset + len(page)
    where = f"body_json holds the characters {offset} to {end} of {len(text)}"
    return page, where + (f"; call again with offset {end} for the next." if end < len(text) else ".")


def shortened(value: Json, cap: int, name: str = "", *, top: bool = False) -> Json:
    """Return a value whose texts have at most ``cap`` characters and whose inner lists are short in proportion."""
    if isinstance(value, str):
        if len(value) <= cap:
            return value
        return _shortened_json(value, cap) if name.endswith(_JSON_TEXT) else _cut_text(value, cap)
    if isinstance(value, list):
        kept = value if top else value[: cap // _CHARACTERS_PER_ITEM]
        return [shortened(item, cap) for item in kept]
    if isinstance(value, dict):
        kept_items = list(value.items()) if top else list(value.items())[: max(cap // _CHARACTERS_PER_ITEM, _FIELDS)]
        return {key: shortened(inner, cap, key) for key, inner in kept_items}
    return value


_FIELDS: Final = 100
"""More members than any object of a schema has: an object with more of them is a table of names."""


def _is_long(value: Json) -> bool:
    return (isinstance(value, list) and bool(value)) or (isinstance(value, dict) and len(value) > _FIELDS)


def _first(value: Any, count: int) -> Json:  # noqa: ANN401 - a list or an object
    return value[:count] if isinstance(value, list) else dict(list(value.items())[:count])


def _longest_that_fits(result: dict[str, Json], name: str, value: Any, most: int, size: Size) -> int:  # noqa: ANN401 - a list or an object
    least, beyond = 0, len(value)
    while beyond - least > 1:
        middle = (least + beyond) // 2
        if size({**result, name: _first(value, middle)}) <= most:
            least = middle
        else:
            beyond = middle
    return least


def _cut_text(text: str, cap: int) -> str:
    return f"{text[:cap]}\u2026 ({len(text) - cap} more characters)"


def _shortened_json(text: str, cap: int) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return _cut_text(text, cap)
    written = text
    for smaller in (cap, *(one for one in _TEXT_CAPS if one < cap)):
        if len(written) > 2 * cap:
            written = json.dumps(shortened(value, smaller), ensure_ascii=False, separators=(",", ":"))
    return written

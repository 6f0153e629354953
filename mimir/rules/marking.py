"""Where the words of a query stand in a text that was found by them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mimir.rules.text import is_unsegmented

_WORD: Final = re.compile(r"[^\W_]+")
_ENDING: Final = re.compile(r"(?:ational|ations?|ings?|edly|ed|ers?|ies|ions?|es|ly|s|e|y)$")
_STEM_FROM: Final = 3


def marked(text: str, words: Iterable[str]) -> list[tuple[int, int]]:
    """Return the spans of a text, start and end in characters, that hold one of the words or another form of it.

    The index joins forms of English words by their stems; here endings are taken off, which is near enough to show why
    a text was found.
    """
    wanted = [word.lower() for word in words]
    stems = {_stem(word) for word in wanted}
    joined = [word for word in wanted if is_unsegmented(word)]
    spans: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        word = match[0].lower()
        if _stem(word) in stems or any(word.startswith(one) for one in wanted if len(one) >= _STEM_FROM):
            spans.append(match.span())
        else:
            inside = [re.finditer(re.escape(one), word) for one in joined]
            spans += sorted((match.start() + hit.start(), match.start() + hit.end()) for hits in inside for hit in hits)
    return spans


def _stem(word: str) -> str:
    stem = _ENDING.sub("", word)
    return stem if len(stem) >= _STEM_FROM else word

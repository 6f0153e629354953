"""From a body to the text that is searched: its values, its passages, its words for the index."""

from __future__ import annotations

import functools
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final, TypeAlias

from mimir.model import Json, Passage

PASSAGE_PIECES: Final = 200
"""Most word pieces in one passage; the embedding model reads at most 256."""

# Scripts that write words without spaces between them: Thai, Lao, Myanmar, Khmer, Hiragana, Katakana, Han, Hangul is
# spaced and stays out.
_UNSEGMENTED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003134f"
)
_UNSEGMENTED_RUN: Final = f"[{_UNSEGMENTED}]+"
_PIECE: Final = rf"[{_UNSEGMENTED}]|[^\W_]+|[^\s\w]|_"
_KEY_PART: Final = r"[\W_]+"
_DIGIT: Final = r"\d"
_TITLE_WORD_FROM: Final = 2
_TITLED_CHARACTERS: Final = 60
_BREAKS: Final = (
    r"\n\s*\n",
    r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n|(?<=[\u3002\uff01\uff1f])",
    r"\s+",
)
_CUTS: Final = (("\n# ", 1), ("\n## ", 1), ("\n### ", 1), ("\n\n", 2), ("\n", 1), (" ", 1))

_LETTERS_PER_PIECE: Final = 4
"""English words of the model's vocabulary average more; splitting too early is harmless, too late loses text."""


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Compiled when first needed: a process that stores one short note needs none of them.
    return re.compile(pattern)


def searchable_text(body: Json) -> str:
    """Return the values of a JSON body as plain text, one per line, without key names or punctuation of JSON.

    Numbers are kept, booleans and null are not: they carry no meaning without their key.
    """
    if isinstance(body, str):
        return body
    if isinstance(body, dict) and len(body) == 1:
        # By far the commonest body, {"content": "..."}, needs no walk.
        (only,) = body.values()
        if isinstance(only, str):
            return only
    lines: list[str] = []
    _collect(body, lines)
    return "\n".join(lines)


def _collect(value: Json, lines: list[str]) -> None:
    # An explicit stack: a body may nest deeper than the interpreter's recursion limit allows.
    stack = [value]
    while stack:
        current = stack.pop()
        if isinstance(current, str):
            if current:
                lines.append(current)
        elif isinstance(current, dict):
            stack.extend(reversed(list(current.values())))
        elif isinstance(current, list):
            stack.extend(reversed(current))
        elif isinstance(current, (int, float)) and not isinstance(current, bool):
            lines.append(str(current))


def embedded_text(key: str, passage: str) -> str:
    """Return a passage as it is embedded: a short one after the words of its memory's key.

    A bare value ("5432") means little without its name; a longer text needs no name, which would only blur its
    vector, as would numbers and hexadecimal ids, so parts of the key with digits are left out.
    """
    if len(passage) > _TITLED_CHARACTERS:
        return passage
    words = [
        part
        for part in _compiled(_KEY_PART).split(key)
        if len(part) >= _TITLE_WORD_FROM and not _compiled(_DIGIT).search(part)
    ]
    return f"{' '.join(words)}: {passage}" if words else passage


def estimated_pieces(text: str) -> int:
    """Return about how many word pieces the embedding model makes of ``text``, without loading it; rather too many."""
    return sum(_cost(piece) for piece in _compiled(_PIECE).findall(text))


def _cost(piece: str) -> int:
    length = len(piece)
    if length == 1:
        return 3 if "\uac00" <= piece <= "\ud7a3" else 1
    if piece.isascii() and not piece.isalpha():
        return 1 + (length - 1) * 2 // 3
    if piece[0] <= "\u024f":
        return 1 + (length - 1) // _LETTERS_PER_PIECE
    # Other alphabets are hardly in the model's vocabulary: letters by themselves, syllables in three parts.
    return length + 2 * sum("\uac00" <= letter <= "\ud7a3" for letter in piece)


_Unit: TypeAlias = tuple[int, int, int]
"""Start and end of a span that is not cut again, and its cost in word pieces."""


class _Pieces:
    """Running sums over the pieces of a text, so that the cost of any span is two look-ups."""

    def __init__(self, text: str) -> None:
        self.ends, self.totals = [0], [0]
        for match in _compiled(_PIECE).finditer(text):
            self.ends.append(match.end())
            self.totals.append(self.totals[-1] + _cost(match.group()))

    def cost(self, start: int, end: int) -> int:
        """Return about how many word pieces end in text[start:end]."""
        return self.totals[bisect_right(self.ends, end) - 1] - self.totals[bisect_right(self.ends, start) - 1]

    def cut(self, start: int, end: int) -> Iterator[_Unit]:
        """Yield units that cover text[start:end], each as long as the bound allows."""
        while start < end:
            first = bisect_right(self.ends, start) - 1
            last = bisect_right(self.totals, self.totals[first] + PASSAGE_PIECES) - 1
            stop = min(self.ends[last], end) if last > first else start
            if stop <= start:
                # One endless word: cut inside it, by the share that the bound is of its cost.
                stop = min(self.ends[first + 1], end) if first + 1 < len(self.ends) else end
                step = max(1, PASSAGE_PIECES * (stop - start) // max(1, self.cost(start, stop)))
                yield from ((at, min(at + step, stop), PASSAGE_PIECES) for at in range(start, stop, step))
            else:
                yield start, stop, self.totals[last] - self.totals[first]
            start = stop


def split_passages(text: str) -> tuple[Passage, ...]:
    """Split ``text`` at paragraphs, sentences or words into passages of at most about 200 word pieces.

    Short texts give one passage that covers all of it; the empty text gives one empty passage.
    """
    # A character gives at most three pieces, one of ASCII at most one, so short texts need no counting.
    most = len(text) if text.isascii() else 3 * len(text)
    if most <= PASSAGE_PIECES or estimated_pieces(text) <= PASSAGE_PIECES:
        return (Passage(start=0, length=len(text)),)
    pieces = _Pieces(text)
    passages: list[Passage] = []
    start = end = cost = 0
    for unit_start, unit_end, more in _units(text, pieces, 0, len(text), 0):
        if cost and cost + more > PASSAGE_PIECES:
            passages.append(Passage(start=start, length=end - start))
            start, cost = unit_start, 0
        cost += more
        end = unit_end
    passages.append(Passage(start=start, length=len(text) - start))
    return tuple(passages)


def _units(text: str, pieces: _Pieces, start: int, end: int, level: int) -> Iterator[_Unit]:
    """Yield units that cover text[start:end], each within the bound, cut at the coarsest break that allows it."""
    cost = pieces.cost(start, end)
    if cost <= PASSAGE_PIECES:
        yield start, end, cost
    elif level == len(_BREAKS):
        yield from pieces.cut(start, end)
    else:
        left = start
        for match in _compiled(_BREAKS[level]).finditer(text, start, end):
            if left < match.end() < end:
                yield from _units(text, pieces, left, match.end(), level + 1)
                left = match.end()
        yield from _units(text, pieces, left, end, level + 1)


def cut_text(text: str, longest: int) -> tuple[str, ...]:
    """Cut ``text`` into parts of at most ``longest`` characters, before headings of Markdown where that can be.

    Otherwise they end after paragraphs, lines, words or just anywhere, so that each holds at least half of
    ``longest``; the parts together are the text.
    """
    parts: list[str] = []
    start = 0
    while len(text) - start > longest:
        least, most = start + longest // 2, start + longest
        cuts = (text.rfind(mark, least, most) + shift for mark, shift in _CUTS)
        end = next((cut for cut in cuts if cut > least), most)
        parts.append(text[start:end])
        start = end
    return (*parts, text[start:])


def segment(text: str) -> str:
    """Return ``text`` with runs of unsegmented script turned into overlapping bigrams and their last character.

    The index splits at spaces; bigrams make any two neighbouring characters findable, and the lone last character
    lets a prefix query find every single one.
    """
    if "\0" in text:
        # The index reads a text only up to its first NUL.
        text = text.replace("\0", " ")
    # The same letter may come as one character or as a base with marks; composed, runs are found and words are equal.
    return text if text.isascii() else _compiled(_UNSEGMENTED_RUN).sub(_bigrams, unicodedata.normalize("NFC", text))


def _bigrams(match: re.Match[str]) -> str:
    run = match.group()
    return " " + " ".join(run[at : at + 2] for at in range(len(run))) + " "


def is_unsegmented(word: str) -> bool:
    """Tell whether ``word`` holds a character of a script that writes without spaces."""
    return not word.isascii() and _compiled(_UNSEGMENTED_RUN).search(word) is not None

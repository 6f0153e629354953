"""When two texts are the same, and when they only look alike."""

from __future__ import annotations

import functools
import re
import unicodedata
import zlib
from typing import Final

SIMILAR_FROM: Final = 0.7
"""Jaccard index of trigrams from which an older memory is named as similar."""

_SKETCH_MULTIPLIERS: Final = (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35)
_MASK: Final = 0xFFFFFFFF
_SKETCHED_WORDS: Final = 256
_COMPARED_CHARACTERS: Final = 20_000
_WORD: Final = re.compile(r"\w+")
_ARTICLES: Final = frozenset({"a", "an", "the"})


def normalised(text: str) -> str:
    """Return ``text`` case folded, with single spaces, without quotes around it or punctuation at its end.

    Composed but not compatibility-mapped: 10² is not 102. Nothing is taken off its beginning: .5 is not 5.
    """
    folded = unicodedata.normalize("NFC", text).casefold()
    return " ".join(folded.split()).strip("\"'").rstrip(" .,;:!?")


def same_content(left: str, right: str, *, loosely: bool) -> bool:
    """Tell whether two texts say the same.

    Strictly: their normalised forms are equal. Loosely: their words are equal and in the same order when articles and
    the punctuation around words are left out; every number, sign and negation counts.
    """
    left, right = normalised(left), normalised(right)
    return left == right or (loosely and _bare_words(left) == _bare_words(right))


def trigram_similarity(left: str, right: str) -> float:
    """Return the Jaccard index 0..1 of the sets of three-character windows of the normalised texts' beginnings."""
    left, right = normalised(left[:_COMPARED_CHARACTERS]), normalised(right[:_COMPARED_CHARACTERS])
    if left == right:
        return 1.0
    ours, theirs = _trigrams(left), _trigrams(right)
    if not ours or not theirs:
        return 0.0
    shared = len(ours & theirs)
    return shared / (len(ours) + len(theirs) - shared)


def sketch(text: str) -> tuple[int, ...]:
    """Return four 32-bit marks of ``text``: one of its normalised form and three minima of its hashed words.

    Two texts share one of the three minima with a probability that is the Jaccard index of their word sets
    (A. Broder, "On the resemblance and containment of documents", 1997), so that a look-up by mark finds near
    duplicates without a scan.
    """
    form = normalised(text)
    words = {zlib.crc32(word.encode()) for word in _WORD.findall(form)[:_SKETCHED_WORDS]} or {0}
    minima = (min((word * factor) & _MASK for word in words) for factor in _SKETCH_MULTIPLIERS)
    return (zlib.crc32(form.encode("utf-8", "surrogatepass")), *minima)


def _bare_words(text: str) -> list[str]:
    words = (word.strip("()[]\"'").rstrip(".,;:!?") for word in text.split())
    return [word for word in words if word and word not in _ARTICLES]


# One new text is compared with several older ones in a row.
@functools.lru_cache(maxsize=8)
def _trigrams(text: str) -> frozenset[str]:
    return frozenset(map("".join, zip(text, text[1:], text[2:], strict=False)))

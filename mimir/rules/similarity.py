"""When two texts are the same, and when they only look alike."""

from __future__ import annotations

import re
import unicodedata
import zlib
from typing import Final

from mimir.rules.query import STOP_WORDS

SIMILAR_FROM: Final = 0.7
"""Jaccard index of trigrams from which an older memory is named as similar."""

_SKETCH_MULTIPLIERS: Final = (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35)
_MASK: Final = 0xFFFFFFFF
_SKETCHED_WORDS: Final = 256
_WORD: Final = re.compile(r"\w+")
_DIGITS: Final = re.compile(r"\d+")
_NEGATIONS: Final = frozenset({"no", "nor", "not", "t"})


def normalised(text: str) -> str:
    """Return ``text`` in compatibility form, case folded, with single spaces and no punctuation at its ends."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" .,;:!?\"'")


def same_content(left: str, right: str, *, loosely: bool) -> bool:
    """Tell whether two texts say the same.

    Strictly: their normalised forms are equal. Loosely: the same content words and the same numbers in the same
    order, whatever the function words; a negation is a content word.
    """
    left, right = normalised(left), normalised(right)
    if left == right:
        return True
    if not loosely or _DIGITS.findall(left) != _DIGITS.findall(right):
        return False
    return _content_words(left) == _content_words(right)


def trigram_similarity(left: str, right: str) -> float:
    """Return the Jaccard index 0..1 of the sets of three-character windows of the normalised texts."""
    left, right = normalised(left), normalised(right)
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


def _content_words(text: str) -> frozenset[str]:
    return frozenset(word for word in _WORD.findall(text) if word not in STOP_WORDS or word in _NEGATIONS)


def _trigrams(text: str) -> frozenset[str]:
    return frozenset(text[at : at + 3] for at in range(len(text) - 2))

"""When two texts are the same, and when they only look alike."""

from __future__ import annotations

import functools
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from mimir.rules.query import STOP_WORDS

SIMILAR_FROM: Final = 0.7
"""Jaccard index of trigrams from which an older memory is named as similar."""

_SKETCH_MULTIPLIERS: Final = (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F)
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


def similar_pairs(texts: Sequence[str], least: float) -> Iterator[tuple[int, int, float]]:
    """Yield the places of each two texts whose `trigram_similarity` is at least ``least``, above 0, and what it is.

    Each text becomes a number with a bit for each of its trigrams, so that comparing two takes a microsecond.
    """
    forms = [normalised(text[:_COMPARED_CHARACTERS]) for text in texts]
    bits: dict[tuple[str, str, str], int] = {}
    sets = [_bit_set(form, bits) for form in forms]
    sizes = [one.bit_count() for one in sets]
    for left, (ours, size) in enumerate(zip(sets, sizes, strict=True)):
        for right in range(left + 1, len(sets)):
            shared = (ours & sets[right]).bit_count()
            # Texts of less than three characters have no trigram.
            similarity = shared / (size + sizes[right] - shared) if shared else float(forms[left] == forms[right])
            if similarity >= least:
                yield left, right, similarity


def _bit_set(text: str, bits: dict[tuple[str, str, str], int]) -> int:
    places = [bits.setdefault(trigram, len(bits)) for trigram in _trigrams(text)]
    packed = bytearray(max(places, default=0) // 8 + 1)
    for place in places:
        packed[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(packed, "little")


def sketch(text: str, category: str, workspace_hash: str) -> tuple[int, ...]:
    """Return two 32-bit marks of ``text``, each of the least of its hashed content words in two orders.

    The least of two word sets is the same with a probability that is their Jaccard index J (A. Broder, "On the
    resemblance and containment of documents", 1997), and so texts share at least one mark with 1 - (1 - J^2)^2: .74 at
    J = .7, .02 at J = .1. Function words stay out, since they would make the commonest marks. Texts of
    different categories or workspaces share none.
    """
    form = normalised(text)
    found = _WORD.findall(form)[:_SKETCHED_WORDS]
    words = [word for word in found if word not in STOP_WORDS] or found or [form]
    hashes = {zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words}
    seed = zlib.crc32(f"{category}\0{workspace_hash}".encode("utf-8", "surrogatepass"))
    least = [min([(word * factor) & _MASK for word in hashes]) for factor in _SKETCH_MULTIPLIERS]
    return tuple([zlib.crc32(b"%d %d" % pair, seed) for pair in zip(least[::2], least[1::2], strict=True)])


def _bare_words(text: str) -> list[str]:
    words = (word.strip("()[]\"'").rstrip(".,;:!?") for word in text.split())
    return [word for word in words if word and word not in _ARTICLES]


# One new text is compared with several older ones in a row.
@functools.lru_cache(maxsize=8)
def _trigrams(text: str) -> frozenset[tuple[str, str, str]]:
    return frozenset(zip(text, text[1:], text[2:], strict=False))

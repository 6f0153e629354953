"""From what a user typed to a neutral query: words, phrases and the exact text, no syntax of any index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from mimir.rules.text import is_unsegmented, segment

STOP_WORDS: Final = frozenset(
    [
        "a",
        "about",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "being",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "doing",
        "each",
        "for",
        "from",
        "had",
        "has",
        "have",
        "having",
        "he",
        "her",
        "hers",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "itself",
        "just",
        "let",
        "many",
        "may",
        "me",
        "might",
        "mine",
        "much",
        "must",
        "my",
        "no",
        "nor",
        "not",
        "of",
        "on",
        "or",
        "our",
        "ours",
        "please",
        "s",
        "shall",
        "she",
        "should",
        "so",
        "some",
        "such",
        "t",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "too",
        "us",
        "user",
        "users",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "yours",
    ]
)
"""English function words, with "user" and "users": half of all memories are about the user."""

MAXIMUM_TERMS: Final = 48
"""Distinct terms of one query; a pasted page of text must not become a thousand look-ups."""

_WORD: Final = re.compile(r"[^\W_]+")
_CONTRACTION: Final = re.compile(r"(?<=\w)['\u2019](?:s|t|re|ve|ll|d|m)\b", re.IGNORECASE)


COMMON_SHARE: Final = 4
COMMON_FROM: Final = 20_000


class Query(Struct, frozen=True, kw_only=True):
    """A search in neutral form.

    `words` are single words, `phrases` runs of words that stood joined in one token (``auth_token``), each scored on
    its own. `exact` is the whole text, stripped, for an exact match with a key.
    """

    words: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    exact: str

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing searchable was typed."""
        return not self.words


def parse_query(text: str) -> Query:
    """Turn user text into a query: stop words dropped unless nothing else is left, every operator plain text."""
    exact = text.strip()
    words: dict[str, None] = {}
    stopped: dict[str, None] = {}
    phrases: dict[tuple[str, ...], None] = {}
    for token in _CONTRACTION.sub("", exact).replace("\0", " ").split():
        pieces: list[str] = []
        for piece in _WORD.findall(segment(token)):
            lowered = piece.lower()
            pieces.append(lowered)
            if lowered in STOP_WORDS:
                stopped[lowered] = None
            elif not (len(lowered) == 1 and is_unsegmented(lowered) and len(_WORD.findall(token)[0]) > 1):
                words[lowered] = None
        if len(pieces) > 1 and not is_unsegmented(token):
            phrases[tuple(pieces)] = None
    kept = tuple(words or stopped)[:MAXIMUM_TERMS]
    return Query(words=kept, phrases=tuple(phrases)[: MAXIMUM_TERMS // 2], exact=exact)


def without_common(query: Query, frequencies: Mapping[str, int], total: int) -> Query:
    """Drop words that stand in more than one passage out of four, if rarer ones are left.

    Their weight in BM25 is small and their cost is that of visiting all those passages; below 20,000 passages that is
    quick and nothing is dropped.
    """
    if total < COMMON_FROM:
        return query
    rare = tuple(word for word in query.words if 0 < frequencies[word] <= total // COMMON_SHARE)
    return Query(words=rare, phrases=query.phrases, exact=query.exact) if rare else query

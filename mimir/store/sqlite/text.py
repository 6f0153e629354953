"""The text index: neutral queries to MATCH strings, ranked passages, substring fallback."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Final, TypeAlias

import apsw

from mimir.model import Candidate, Entity, Filter, Passage
from mimir.rules.query import Query
from mimir.rules.text import segment
from mimir.store.codec import BODY_COLUMNS, opened_body
from mimir.store.sqlite.filters import conditions
from mimir.store.sqlite.passages import PassageRows, owned

RANKED_MATCHES: Final = 8_192
"""Most matches that one query ranks: BM25 costs about a microsecond for each."""

_OVERFETCH: Final = 16
_SUBSTRINGS: Final = 8
_BODY: Final = ", ".join(f"e.{name}" for name in BODY_COLUMNS)
_LIKE: Final = "e.body_json LIKE ? ESCAPE '\\' OR e.key LIKE ? ESCAPE '\\'"
_WILDCARDS: Final = re.compile(r"[\\%_]")
_ESCAPED: Final = r"\\\g<0>"


IndexRow: TypeAlias = tuple[int, str, str, str, str]
"""A passage's id, then the columns key, text, tags and topic as they are indexed."""


def table_for(*, live: bool) -> str:
    """Return the index that holds live memories, or the one of archived, retired and past ones."""
    return "passage_text" if live else "past_text"


def index_rows(first: int, entity: Entity, text: str, passages: Sequence[Passage]) -> list[IndexRow]:
    """Return the index rows of an entity's passages, whose ids start at ``first``."""
    key, topic = segment(entity.key), segment(entity.topic_path)
    tags = segment(" ".join(entity.tags)) if entity.tags else ""
    if len(passages) == 1:
        return [(first, key, segment(text), tags, topic)]
    return [
        (first + place, key, segment(text[part.start : part.start + part.length]), tags, topic)
        for place, part in enumerate(passages)
    ]


def match_string(query: Query, *, joined_by: str = "OR") -> str:
    """Return the FTS5 expression of a query: every term quoted, so that no operator is left."""
    terms = [f'"{word}"' for word in query.words]
    if joined_by == "OR":
        terms += [f'"{" ".join(words)}"' for words in query.phrases]
    return f" {joined_by} ".join(terms)


class TextIndex(PassageRows):
    """The full-text indexes of one store file: live memories in one, everything past in the other."""

    def match_text(
        self, query: Query, filter_: Filter, limit: int, *, prefix: bool = False
    ) -> tuple[list[Candidate], bool]:
        """Return the live passages that match a query best by BM25, best first, and whether all matches were ranked.

        When a query has more matches than can be ranked in a few milliseconds, the newest of them compete, and with
        them the newest that hold every word.
        """
        expression = self._beginnings(query) if prefix else match_string(query)
        if not expression:
            return [], True
        found, complete = self._best("passage_text", expression, filter_, limit)
        if not complete and len(query.words) > 1 and not prefix:
            whole = match_string(query, joined_by="AND")
            merged = {candidate.passage: candidate for candidate in found}
            for candidate in self._best("passage_text", whole, filter_, limit)[0]:
                merged.setdefault(candidate.passage, candidate)
            found = sorted(merged.values(), key=lambda one: (-one.score, one.passage))[:limit]
        return found, complete

    def match_past(self, query: Query, filter_: Filter, limit: int) -> list[Candidate]:
        """Return the best passages of archived and retired entities and of past versions, best first."""
        expression = match_string(query)
        return self._best("past_text", expression, filter_, limit)[0] if expression else []

    def match_substring(self, parts: Sequence[str], filter_: Filter, limit: int) -> tuple[int, ...]:
        """Return the numbers of entities whose body or key holds one of the parts anywhere, newest first."""
        tokens = parts[:_SUBSTRINGS]
        where, bindings = conditions(filter_)
        if self.database.seal is not None:
            return self._match_sealed(tokens, where, bindings, limit)
        test = " OR ".join(_LIKE for _ in tokens)
        patterns = [f"%{_WILDCARDS.sub(_ESCAPED, token)}%" for token in tokens for _ in range(2)]
        rows = self.database.execute(
            f"SELECT e.number FROM entities e WHERE ({test}) AND {where} ORDER BY e.number DESC LIMIT ?",
            (*patterns, *bindings, limit),
        )
        return tuple(row[0] for row in rows)

    def _match_sealed(
        self, tokens: Sequence[str], where: str, bindings: Sequence[object], limit: int
    ) -> tuple[int, ...]:
        """Do the same where bodies are sealed: each is opened, newest first, until enough are found."""
        # LIKE does not tell the capitals of ASCII from small letters, and all other letters it does.
        holds = re.compile("|".join(map(re.escape, tokens)), re.ASCII | re.IGNORECASE).search
        rows = self.database.execute(
            f"SELECT {_BODY}, e.number FROM entities e WHERE {where} ORDER BY e.number DESC", tuple(bindings)
        )
        found = (row[5] for row in rows if holds(row[4]) or holds(opened_body(row, self.database.seal)))
        return tuple(islice(found, limit))

    def _best(self, table: str, expression: str, filter_: Filter, limit: int) -> tuple[list[Candidate], bool]:
        lowest = self._lowest_ranked(table, expression)
        depth = limit * _OVERFETCH
        ranked = self._ranked(table, expression, depth, "rowid >= ?", (lowest,))
        found = self.first_owned(ranked, filter_, limit)
        if len(found) == limit or (not lowest and len(ranked) < depth):
            return found, not lowest
        # The filter lets few through: it is asked before anything is ranked, and all matches compete.
        passing, bindings = owned("1", f"p.id = {table}.rowid", (), filter_)
        ranked = self._ranked(table, expression, limit, f"EXISTS ({passing})", bindings)
        return self.first_owned(ranked, filter_, limit), True

    def _ranked(
        self, table: str, expression: str, limit: int, test: str, bindings: Sequence[object]
    ) -> list[tuple[int, float]]:
        rows = self.database.execute(
            f"SELECT rowid, -bm25({table}) AS score FROM {table}"
            f" WHERE {table} MATCH ? AND {test} ORDER BY score DESC, rowid LIMIT ?",
            (expression, *bindings, limit),
        )
        return rows.fetchall()

    def _lowest_ranked(self, table: str, expression: str) -> int:
        """Return the id from which matches are ranked: 0, or the one after the newest match that is one too many."""
        row = self.database.execute(
            f"SELECT rowid FROM {table} WHERE {table} MATCH ? ORDER BY rowid DESC LIMIT 1 OFFSET ?",
            (expression, RANKED_MATCHES),
        ).fetchone()
        return 0 if row is None else int(row[0]) + 1

    def document_frequencies(self, words: Sequence[str]) -> tuple[dict[str, int], int]:
        """Return in how many live passages each word stands, by its stem, and how many passages there are in all.

        The total counts past passages too: an upper bound that costs nothing.
        """
        total = int(self.database.execute("SELECT coalesce(max(id), 0) FROM passages").get)
        found: dict[str, int] = {}
        for word in words:
            row = self.database.execute(
                "SELECT doc FROM passage_vocabulary WHERE term = ?", (self._stem(word),)
            ).fetchone()
            found[word] = 0 if row is None else row[0]
        return found, total

    def _beginnings(self, query: Query) -> str:
        # The index holds stems, and a stem may end in other letters than the word ("deploy" is kept as "deploi").
        starts = {word[: _shared_length(word, self._stem(word))] for word in query.words}
        return " OR ".join(f'"{start}"*' for start in sorted(starts) if start)

    def _stem(self, word: str) -> str:
        tokenizer = self.database.connection.fts5_tokenizer("porter", ["unicode61", "remove_diacritics", "2"])
        stems = tokenizer(word.encode(), apsw.FTS5_TOKENIZE_QUERY, None, include_offsets=False, include_colocated=False)
        return str(next(iter(stems), ""))


def _shared_length(left: str, right: str) -> int:
    return next(
        (place for place, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
    )

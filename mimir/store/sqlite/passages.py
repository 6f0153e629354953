"""Passages: which span of whose text each row of the text index and each vector stands for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from mimir.model import Candidate, Filter, Passage
from mimir.store.sqlite.connection import Database
from mimir.store.sqlite.filters import conditions, scope_conditions

Span: TypeAlias = tuple[int, int, int, int, int]
"""A row of the passage table: id, owner, scope, start and length."""


def owned(columns: str, chosen: str, bindings: Sequence[object], filter_: Filter) -> tuple[str, tuple[object, ...]]:
    """Return a query for columns of the chosen passages, ``p``, whose owner, ``e``, a filter lets through.

    Past versions are owners too if the filter says so; theirs are negative numbers.
    """
    where, values = conditions(filter_)
    scope, scope_values = scope_conditions(filter_)
    if scope:
        where = f"p.scope IN (SELECT number FROM scopes WHERE {scope}) AND {where}"
    owners = {"entities": "p.owner", "versions": "-p.owner"} if filter_.past_versions else {"entities": "p.owner"}
    sql = " UNION ALL ".join(
        f"SELECT {columns} FROM passages p CROSS JOIN {table} e ON e.number = {number} WHERE {chosen} AND {where}"
        for table, number in owners.items()
    )
    return sql, (*bindings, *scope_values, *values) * len(owners)


class PassageRows:
    """The passage table of one store file."""

    database: Database

    def owners(self, ids: Iterable[int], filter_: Filter) -> dict[int, tuple[int, int]]:
        """Return the owner of each passage, and the owner's number of passages, if a filter lets the owner through."""
        chosen = "p.id IN (SELECT value FROM json_each(?))"
        sql, bindings = owned("p.id, p.owner, e.passages", chosen, (json.dumps(list(ids)),), filter_)
        return {row[0]: (row[1], row[2]) for row in self.database.execute(sql, bindings)}

    def first_owned(self, ranked: Sequence[tuple[int, float]], filter_: Filter, limit: int) -> list[Candidate]:
        """Return the first ``limit`` of ranked passages, each with its score, whose owner a filter lets through."""
        found: list[Candidate] = []
        start, size = 0, limit
        # Most filters let nearly all through, so that the owners of a few tell enough; others need ever more.
        while start < len(ranked) and len(found) < limit:
            part = ranked[start : start + size]
            start, size = start + size, 4 * size
            owners = self.owners((passage for passage, _ in part), filter_)
            found += [
                Candidate(passage=passage, owner=owners[passage][0], passages=owners[passage][1], score=score)
                for passage, score in part
                if passage in owners
            ]
        return found[:limit]

    def passages_of(self, owner: int) -> tuple[tuple[int, Passage], ...]:
        """Return the passages of an entity, or of a version by its negative number, each with its id."""
        rows = self.database.execute("SELECT id, start, length FROM passages WHERE owner = ? ORDER BY id", (owner,))
        return tuple((row[0], Passage(start=row[1], length=row[2])) for row in rows)

    def load_passages(self, ids: Iterable[int]) -> dict[int, tuple[int, Passage]]:
        """Return the owner and span of passages by their ids; missing ones are left out."""
        rows = self.database.execute(
            "SELECT id, owner, start, length FROM passages WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )
        return {row[0]: (row[1], Passage(start=row[2], length=row[3])) for row in rows}

    def scope_number(self, workspace_hash: str, category: str) -> int:
        """Return the number of a scope, registering it on first use."""
        sql = "SELECT number FROM scopes WHERE workspace_hash = ? AND category = ?"
        row = self.database.execute(sql, (workspace_hash, category)).fetchone()
        if row is None:
            self.database.execute(
                "INSERT INTO scopes (workspace_hash, category) VALUES (?, ?)", (workspace_hash, category)
            )
            row = (self.database.connection.last_insert_rowid(),)
        return int(row[0])

    def next_number(self, table: str) -> int:
        """Return the number that the next row of a table gets; only the holder of the write lock may rely on it."""
        return 1 + int(
            self.database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", (table,)).get
        )

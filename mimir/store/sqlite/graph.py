"""Links between entities as rows: directed, typed, weighted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from mimir.model import Edge, Filter, Link, Node
from mimir.store.codec import BODY_COLUMNS, opened_body
from mimir.store.sqlite.connection import Database
from mimir.store.sqlite.filters import conditions, counted_through

_BODY: Final = ", ".join(f"e.{name}" for name in BODY_COLUMNS)


class LinkRows:
    """The link table of one store file."""

    database: Database

    def links(self, numbers: Iterable[int]) -> dict[int, tuple[Link, ...]]:
        """Return the outgoing links of entities by number, in the order of target and relationship."""
        found: dict[int, list[Link]] = {}
        rows = self.database.execute(
            "SELECT source, target_id, relationship, weight FROM links"
            " WHERE source IN (SELECT value FROM json_each(?)) ORDER BY source, target_id, relationship",
            (json.dumps(list(numbers)),),
        )
        for source, target_id, relationship, weight in rows.fetchall():
            found.setdefault(source, []).append(Link(target_id=target_id, relationship=relationship, weight=weight))
        return {number: tuple(links) for number, links in found.items()}

    def links_to(self, ids: Iterable[str]) -> dict[str, tuple[Link, ...]]:
        """Return the links that lead to entities, by id; each names its source where a link names its target."""
        found: dict[str, list[Link]] = {}
        rows = self.database.execute(
            "SELECT l.target_id, e.id, l.relationship, l.weight"
            " FROM json_each(?) given CROSS JOIN links l ON l.target_id = given.value"
            " JOIN entities e ON e.number = l.source ORDER BY l.target_id, e.id, l.relationship",
            (json.dumps(list(ids)),),
        )
        for target_id, source_id, relationship, weight in rows.fetchall():
            found.setdefault(target_id, []).append(Link(target_id=source_id, relationship=relationship, weight=weight))
        return {target_id: tuple(links) for target_id, links in found.items()}

    def nodes(self, ids: Iterable[str], filter_: Filter) -> dict[str, Node]:
        """Return those of the entities with these ids that pass a filter, each with its outgoing links."""
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            # In the order of the index, neighbouring rows of it are found at once.
            f"SELECT {_BODY}, e.number, e.archived, e.status"
            f" FROM json_each(?) given CROSS JOIN entities e ON e.id = given.value WHERE {where}",
            (json.dumps(sorted(ids)), *bindings),
        ).fetchall()
        links = self.links(row[5] for row in rows)
        seal = self.database.seal
        return {
            row[1]: Node(
                id=row[1],
                category=row[3],
                key=row[4],
                body_json=opened_body(row, seal),
                links=links.get(row[5], ()),
                archived=row[6] == 1,
                status=row[7],
            )
            for row in rows
        }

    def edges(self, filter_: Filter, limit: int, at: Iterable[int] | None = None) -> tuple[Edge, ...]:
        """Return links whose both ends pass a filter, newest sources first; ``at`` names entities they must touch."""
        if at is None:
            where, passing_bindings = conditions(filter_)
            # Which entities do not pass, mostly few, is found once in an index, instead of in the rows of both ends of
            # every link. The plus signs keep the planner from going through all of them for every link.
            failing = f"(SELECT e.number FROM entities e {counted_through(filter_)} WHERE NOT ({where}))"
            rows = self.database.execute(
                "SELECT l.source, t.number, l.relationship, l.weight FROM links l"
                " CROSS JOIN entities t ON t.id = l.target_id"
                f" WHERE +l.source NOT IN {failing} AND +t.number NOT IN {failing} ORDER BY l.source DESC LIMIT ?",
                (*passing_bindings, *passing_bindings, limit),
            )
        else:
            source_passes, source_bindings = conditions(filter_, "s")
            target_passes, target_bindings = conditions(filter_, "t")
            passing = f"{source_passes} AND {target_passes}"
            bindings = (*source_bindings, *target_bindings)
            selected = "SELECT l.source, t.number, l.relationship, l.weight"
            given = json.dumps(list(at))
            rows = self.database.execute(
                f"{selected} FROM json_each(?) g CROSS JOIN entities s ON s.number = g.value"
                " CROSS JOIN links l ON l.source = s.number"
                f" CROSS JOIN entities t ON t.id = l.target_id WHERE {passing}"
                f" UNION {selected} FROM json_each(?) g CROSS JOIN entities t ON t.number = g.value"
                " CROSS JOIN links l ON l.target_id = t.id"
                f" CROSS JOIN entities s ON s.number = l.source WHERE {passing} LIMIT ?",
                (given, *bindings, given, *bindings, limit),
            )
        return tuple(Edge(source=row[0], target=row[1], relationship=row[2], weight=row[3]) for row in rows)

    def add_link(self, source: int, target_id: str, relationship: str, weight: float, now_ms: int) -> None:
        """Add an outgoing link to an entity, or give the one of the same target and relationship another weight."""
        self.database.execute(
            "INSERT INTO links VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (source, target_id, relationship) DO UPDATE SET weight = excluded.weight",
            (source, target_id, relationship, weight, now_ms),
        )

    def remove_links(self, source: int, target_id: str, relationship: str | None = None) -> int:
        """Remove an entity's links to a target, all or those of one relationship, and return how many there were."""
        sql = "DELETE FROM links WHERE source = ? AND target_id = ?"
        bindings: tuple[object, ...] = (source, target_id)
        if relationship is not None:
            sql, bindings = f"{sql} AND relationship = ?", (*bindings, relationship)
        self.database.execute(sql, bindings)
        return self.database.connection.changes()

"""A filter as SQL: the one place that decides which rows a read may return."""

from __future__ import annotations

from typing import Any

import msgspec

from mimir.model import EQUAL_FIELDS, RETIRED_STATUSES, Filter

_RETIRED = ", ".join(f"'{status}'" for status in sorted(RETIRED_STATUSES))


_NOT_IN_FACETS = ("topic_path", "min_decay", "always_on", "verified", "valid_at", "tag")
_ANY = Filter()


def scope_conditions(filter_: Filter) -> tuple[str, list[Any]]:
    """Return the WHERE text and bindings for the rows of ``scopes`` in which a filter lets anything through."""
    tests: list[str] = []
    bindings: list[Any] = []
    if filter_.category is not None:
        tests.append("category = ?")
        bindings.append(filter_.category)
    elif filter_.excluded_categories:
        tests.append("category NOT IN (" + ", ".join("?" * len(filter_.excluded_categories)) + ")")
        bindings.extend(filter_.excluded_categories)
    if filter_.workspace_hash is not None:
        tests.append("workspace_hash = ?")
        bindings.append(filter_.workspace_hash)
    return " AND ".join(tests), bindings


def conditions(filter_: Filter, alias: str = "e") -> tuple[str, list[Any]]:
    """Return the WHERE text and bindings that hold exactly for the rows a filter lets through."""
    tests: list[str] = []
    bindings: list[Any] = []

    def test(sql: str, *values: Any) -> None:  # noqa: ANN401 - any SQLite value
        tests.append(sql.format(a=alias))
        bindings.extend(values)

    if filter_.category is not None:
        test("{a}.category = ?", filter_.category)
    elif filter_.excluded_categories:
        marks = ", ".join("?" * len(filter_.excluded_categories))
        test("{a}.category NOT IN (" + marks + ")", *filter_.excluded_categories)
    for column in EQUAL_FIELDS:
        value = getattr(filter_, column)
        if value is not None:
            test("{a}." + column + " = ?", int(value) if isinstance(value, bool) else value)
    if filter_.tag is not None:
        # Most rows do not hold the tag's text at all, and that is told sooner.
        tag = msgspec.json.encode(filter_.tag).decode()
        test("instr({a}.tags, ?) AND EXISTS (SELECT 1 FROM json_each({a}.tags) WHERE value = ?)", tag, filter_.tag)
    if filter_.topic_path is not None:
        # LIKE would treat % and _ in the path as wildcards, and text functions end at a NUL.
        prefix = filter_.topic_path.encode()
        test("substr(CAST({a}.topic_path AS BLOB), 1, ?) = ?", len(prefix), prefix)
    if filter_.min_decay > 0:
        test("{a}.decay_score >= ?", filter_.min_decay)
    if filter_.left_recall or not filter_.include_archived:
        live = "({a}.archived = 0 AND {a}.status NOT IN (" + _RETIRED + "))"
        test(f"NOT {live}" if filter_.left_recall else live)
    if filter_.valid_at is not None:
        test("({a}.valid_from_unix_ms IS NULL OR {a}.valid_from_unix_ms <= ?)", filter_.valid_at)
        test("({a}.valid_to_unix_ms IS NULL OR {a}.valid_to_unix_ms > ?)", filter_.valid_at)
    if not filter_.every_caller:
        test("({a}.visibility <> 'private' OR {a}.agent_id = ?)", filter_.caller)
    return " AND ".join(tests) or "1", bindings


def counted_through(filter_: Filter) -> str:
    """Return how all entities are gone through to count them: by the index that has what is looked at, if one has."""
    faceted = all(getattr(filter_, name) == getattr(_ANY, name) for name in _NOT_IN_FACETS)
    return "INDEXED BY entities_facets" if faceted else read_through(filter_)


def read_through(filter_: Filter) -> str:
    """Return how all entities are gone through where most of them may pass.

    Left to itself the planner takes the index of browsing, and finds each row anew instead of reading on.
    """
    return "NOT INDEXED" if filter_.category is None else ""

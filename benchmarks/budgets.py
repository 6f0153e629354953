"""What the measurements must keep to: every budget of speed, memory and size, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from benchmarks.report import Row, table


class Budget(NamedTuple):
    """A bound on one column of a row."""

    column: str
    limit: float
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        """Tell whether a measured value keeps to the bound."""
        return value >= self.limit if self.at_least else value <= self.limit


FULL_SIZE: Final = 100_000
"""Memories at which the budgets of a filled store apply."""

BUDGETS: Final = {
    "first reply": Budget("p50 ms", 60),
    "one-liner": Budget("p50 ms", 150),
    "idle": Budget("MB", 40),
    "overhead": Budget("p50 ms", 0.15),
    "writes": Budget("per s", 700, at_least=True),
    "steady writes": Budget("of smallest", 0.8, at_least=True),
    "fts5 selective": Budget("p50 ms", 3),
    "fts5 common": Budget("p50 ms", 30),
    "hybrid selective": Budget("p50 ms", 12),
    "file": Budget("MB", 60),
    "file with vectors": Budget("MB", 120),
    "memory": Budget("MB", 250),
    "bulk": Budget("per s", 60_000, at_least=True),
    "alpha": Budget("p50 ms", 22),
    "decay": Budget("p50 ms", 600),
    "decay archiving": Budget("p50 ms", 2_000),
    "blocked": Budget("most ms", 100),
    "traverse": Budget("p50 ms", 50),
    "conflicts": Budget("p50 ms", 2_000),
    "http memory": Budget("grown MB", 25),
    "sealed": Budget("of plain", 1.5),
    "single file": Budget("of installed", 2),
    "sealed opening": Budget("more ms", 5),
    "first page": Budget("p50 ms", 1_000),
    "sync": Budget("p50 ms", 3_000),
}
"""Medians on two cores. A row is held to those that its column `budget` names, joined by `JOINED_BY`."""

JOINED_BY: Final = "; "


def verdicts(rows: Sequence[Row]) -> list[Row]:
    """Return whether each row keeps to the budgets it names; what was not measured is left out."""
    judged: list[Row] = []
    for row in rows:
        names = str(row.get("budget") or "")
        for budget in (BUDGETS[name] for name in names.split(JOINED_BY) if name):
            value = row.get(budget.column)
            if isinstance(value, int | float):
                judged.append(
                    {
                        **{label: text for label, text in row.items() if isinstance(text, str)},
                        "measured": value,
                        "limit": f"{'>=' if budget.at_least else '<='} {budget.limit:g} {budget.column}",
                        "met": "yes" if budget.met_by(value) else "NO",
                    }
                )
    return judged


def print_verdicts(rows: Sequence[Row]) -> None:
    """Print which budgets are met."""
    judged = verdicts(rows)
    if judged:
        met = sum(row["met"] == "yes" for row in judged)
        print(f"\nBudgets: {met} of {len(judged)} met")
        print(table(judged))

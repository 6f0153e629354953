"""What every benchmark prints and keeps: machine, table, JSON file, ratio to an earlier file.

A result is a list of rows. Text columns of a row say what was measured and identify it; number
columns are the measurements.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

import apsw
import msgspec
from msgspec import Struct

import mimir

_FILES: Final = ("--json", "--compare", "--keep", "--environments")

Row: TypeAlias = dict[str, str | int | float | None]


class Report(Struct, frozen=True, kw_only=True):
    """One run of one benchmark."""

    benchmark: str
    measured_at: str
    machine: dict[str, str | int]
    settings: dict[str, str | int | float | bool | None]
    rows: list[Row]


def machine() -> dict[str, str | int]:
    """Describe where the numbers come from; memory in MB, 0 where the system does not tell."""
    return {
        "mimir": mimir.__version__,
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": _cores(),
        "memory_mb": _memory_mb(),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every benchmark has: `--json` and `--compare`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="FILE",
        help="print each number's ratio to that of an earlier result file",
    )


def publish(
    benchmark: str,
    rows: Sequence[Row],
    arguments: argparse.Namespace,
    settings: dict[str, str | int | float | bool | None] | None = None,
) -> None:
    """Print the rows as a table and do what `--json` and `--compare` ask for."""
    report = Report(
        benchmark=benchmark,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        settings={**(settings or {}), "command": command(benchmark, sys.argv[1:])},
        rows=list(rows),
    )
    print(", ".join(f"{name} {value}" for name, value in report.machine.items()))
    print(table(report.rows))
    if arguments.compare is not None:
        earlier = read(arguments.compare)
        print(f"\nRatio to {arguments.compare} of {earlier.measured_at}")
        print(table(ratios(report.rows, earlier.rows)))
    if arguments.json is not None:
        encoded = msgspec.json.format(msgspec.json.encode(report), indent=2)
        arguments.json.write_bytes(encoded + b"\n")


def command(benchmark: str, words: Sequence[str]) -> str:
    """Return the command that repeats a run, without the names of files that it was given."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in _FILES:
            next(rest, None)
        elif not word.startswith(tuple(f"{option}=" for option in _FILES)):
            kept.append(word)
    return shlex.join(["python", "-m", f"benchmarks.{benchmark}", *kept])


def read(path: Path) -> Report:
    """Read a result file.

    Raises:
        msgspec.DecodeError: the file is no result file.
    """
    return msgspec.json.decode(path.read_bytes(), type=Report)


def ratios(rows: Sequence[Row], earlier: Sequence[Row]) -> list[Row]:
    """Divide each number by that of the earlier row with the same texts; leave new rows out."""
    known = {_labels(row): row for row in earlier}
    return [
        {name: _ratio(value, before.get(name)) for name, value in row.items()}
        for row in rows
        if (before := known.get(_labels(row))) is not None
    ]


def table(rows: Sequence[Row]) -> str:
    """Lay rows out in columns, in the order in which the columns first occur."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    numeric = [any(isinstance(row.get(name), int | float) for row in rows) for name in columns]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in (columns, *cells)
    )


def _labels(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in row.items() if isinstance(value, str)))


def _ratio(value: str | float | None, before: str | float | None) -> str | float | None:
    if isinstance(value, str):
        return value
    if value is None or before is None or isinstance(before, str) or before == 0:
        return None
    return value / before


def _cell(value: str | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


def _processor() -> str:
    try:
        description = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in description.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 0


def _memory_mb() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (AttributeError, ValueError, OSError):
        return 0

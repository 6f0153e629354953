"""Compare how soon the single file answers with the installed program: `python -m benchmarks.executables FILE`.

Both are started in turn, so that whatever else the machine does meets them alike. `first ms` is the file's first start,
when it unpacks; the folder that it unpacks into is new.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.budgets import print_verdicts
from benchmarks.measure import INITIALIZE, circumstances, run_once, spread
from benchmarks.report import Row, add_options, publish

INSTALLED = str(Path(sys.executable).with_name("mimir"))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="benchmarks.executables", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="what scripts/single_file.py made")
    parser.add_argument("--runs", type=int, default=41, metavar="N", help="processes per figure")
    add_options(parser)
    arguments = parser.parse_args()
    settings = circumstances()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(str(arguments.file.resolve()), folder, arguments.runs)
    publish("executables", rows, arguments, settings)
    print_verdicts(rows)


def measure(file: str, folder: str, runs: int) -> list[Row]:
    """Return the time to the first reply of both."""
    times: dict[str, list[float]] = {INSTALLED: [], file: []}

    def reply(program: str) -> float:
        command = [program, "serve", "--db", f"{folder}/memory.db"]
        return run_once(command, INITIALIZE, XDG_CACHE_HOME=folder).first

    first = {program: reply(program) for program in times}
    for _ in range(runs):
        for program, measured in times.items():
            measured.append(reply(program))
    installed, single = (spread(measured) for measured in times.values())
    ratio = float(single["p50 ms"] or 0) / float(installed["p50 ms"] or 1)
    return [
        {"what": "installed, first reply", "first ms": first[INSTALLED], **installed, "budget": ""},
        {
            "what": "single file, first reply",
            "first ms": first[file],
            **single,
            "of installed": ratio,
            "budget": "single file",
        },
    ]


if __name__ == "__main__":
    main()

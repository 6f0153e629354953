"""Long attacks, for an evening rather than for every change: ``python -m tests.attack.fuzz``.

The attacks among the tests are run with many times their examples, drawn anew. If atheris is installed, which follows
the paths that an input takes through the code, each target is also given some seconds of it, in a process of its own;
an input that breaks one is written to tests/attack/cases, where the tests try it from then on.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.attack.effort import FACTOR_VARIABLE

HERE: Final = Path(__file__).parent


def main() -> int:
    """Run the attacks and return the exit status: 0 if nothing broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factor", type=int, default=20, help="times the examples of a test")
    parser.add_argument("--seconds", type=int, default=60, help="seconds of atheris for each target")
    parser.add_argument("--target", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.target:
        guided(given.target, given.seconds)
    command = [sys.executable, "-m", "pytest", "-q", str(HERE)]
    status = subprocess.run(command, env={**os.environ, FACTOR_VARIABLE: str(given.factor)}, check=False).returncode
    if importlib.util.find_spec("atheris") is None:
        sys.stdout.write("atheris is not installed: pip install atheris adds attacks that follow the code.\n")
        return status
    from tests.attack.targets import TARGETS

    for name in TARGETS:
        again = [sys.executable, "-m", "tests.attack.fuzz", "--target", name, "--seconds", str(given.seconds)]
        status = subprocess.run(again, check=False).returncode or status
    return status


def guided(name: str, seconds: int) -> None:
    """Let atheris look for an input that breaks a target; the process ends with it."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["mimir"]):
        targets = importlib.import_module("tests.attack.targets")
    arguments = [sys.argv[0], f"-max_total_time={seconds}", f"-artifact_prefix={HERE}/cases/{name}-", "-max_len=4096"]
    atheris.Setup(arguments, targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())

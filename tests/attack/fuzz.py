"""Long attacks, for an evening rather than for every change: ``python -m tests.attack.fuzz``.

The attacks among the tests are run with many times their examples, drawn anew. If atheris is installed, which follows
the paths that an input takes through the code, each target is also given some seconds of it, in a process of its own;
an input that breaks one is written to tests/attack/cases, where the tests try it from then on.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.attack.effort import FACTOR_VARIABLE
from tests.attack.words import WORDS

CASES: Final = Path(__file__).parent / "cases"


def main() -> int:
    """Run the attacks and return the exit status: 0 if nothing broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factor", type=int, default=20, help="times the examples of a test")
    parser.add_argument("--seconds", type=int, default=60, help="seconds of atheris for each target")
    parser.add_argument("--target", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.target:
        guided(given.target, given.seconds)
    command = [sys.executable, "-m", "pytest", "-q", str(CASES.parent)]
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
    """Let atheris look for an input that breaks a target, from its words and former cases on."""
    # What is refused is also logged, a thousand times a second.
    logging.disable()
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["mimir"]):
        targets = importlib.import_module("tests.attack.targets")
    # Left behind: the process ends inside of atheris.
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    words = [word.encode("utf-8", "surrogatepass") for word in WORDS[name]]
    seeds = [*words, b"".join(words), *(case.read_bytes() for case in CASES.glob(f"{name}-*"))]
    (folder / "seeds").mkdir()
    for number, seed in enumerate(seeds):
        (folder / "seeds" / str(number)).write_bytes(seed)
    dictionary = folder / "words"
    dictionary.write_text("".join(f'"{_escaped(word[:64])}"\n' for word in words), encoding="ascii")
    options = {"max_total_time": seconds, "max_len": 4096, "artifact_prefix": f"{CASES}/{name}-", "dict": dictionary}
    arguments = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(folder / "seeds")], targets.TARGETS[name])
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02X}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())

"""The `mimir` program: a server starts here without the command-line library, every other command with it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mimir import __version__
from mimir.config import OPTIONS

_HELP = frozenset({"--help", "-h"})


def main() -> int:
    """Run the program with the arguments of this process and return its exit status."""
    arguments = sys.argv[1:]
    word = command_word(arguments)
    if word is None and "--version" in arguments:
        sys.stdout.write(f"mimir {__version__}\n")
        return 0
    if word in (None, "serve") and _HELP.isdisjoint(arguments):
        if not arguments and sys.stdin is not None and sys.stdin.isatty():
            sys.stderr.write(
                "mimir: serving MCP, one JSON message a line, until end of input. For the commands: mimir --help\n"
            )
        from mimir.cli.serve import serve

        return serve(arguments)
    from mimir.cli.main import run

    return run(arguments)


def command_word(arguments: Sequence[str]) -> str | None:
    """Return the first argument that is neither a flag nor the value of one, or None.

    A flag that is not known may have a value: flags of older clients are left to the server to judge.
    """
    switches = {option.flag for option in OPTIONS if option.kind is bool}
    before = ""
    for argument in arguments:
        if not argument.startswith("-") and not before:
            return argument
        takes_value = argument.startswith("-") and argument not in switches and "=" not in argument
        before = argument if takes_value else ""
    return None


if __name__ == "__main__":
    sys.exit(main())

"""How an MCP client starts this installation."""

from __future__ import annotations

import os
import sys
from typing import Final

from mimir.config import IS_WINDOWS

_PROGRAM: Final = "mimir.exe" if IS_WINDOWS else "mimir"


def server_command(db: str) -> list[str]:
    """Return the command that serves a store, by absolute paths: clients start it in any folder, without a shell."""
    return [*_program(), "serve", "--db", os.path.abspath(db)]


def client_configuration(db: str) -> dict[str, object]:
    """Return the entry of a client's JSON configuration that starts a server on a store."""
    command, *arguments = server_command(db)
    return {"mcpServers": {"mimir": {"command": command, "args": arguments}}}


def _program() -> list[str]:
    started_as = os.path.abspath(sys.argv[0])
    # Beside the interpreter without following links: a virtual environment's own is a link out of it.
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.executable)), _PROGRAM)
    for path in (started_as, beside):
        if os.path.basename(path) == _PROGRAM and os.path.isfile(path):
            return [path]
    return [sys.executable, "-m", "mimir"]

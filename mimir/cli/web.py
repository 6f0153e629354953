"""`mimir web`: the dashboard alone."""

from __future__ import annotations

import threading
from typing import Any

import click

from mimir.cli.commands import Command, as_flags, setting_options


def web_command() -> Command:
    """Return the command that serves the dashboard."""
    return Command(
        "web",
        _web,
        help=(
            "Serve the dashboard alone, on 127.0.0.1 and --port, until it is interrupted. Beside a server of MCP it is"
            " mimir serve --web."
        ),
        options=[
            click.Option(["--open", "opens"], is_flag=True, help="Open it in the browser."),
            *setting_options(shown=True),
        ],
        example="mimir web --open",
    )


def _web(settings: dict[str, Any], values: dict[str, Any]) -> int:
    from mimir.cli.serve import serve

    return serve(as_flags(settings), web_only=True, announced=_open if values["opens"] else None)


def _open(url: str) -> None:
    import webbrowser

    # Some browsers keep the caller waiting, and the server must go on.
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

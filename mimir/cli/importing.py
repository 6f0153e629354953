"""`mimir import`: what other programs have kept, brought in."""

from __future__ import annotations

from typing import Any

import click

from mimir.cli.commands import Argument, Command, json_option, open_engine, refuse_writes, setting_options, waiting
from mimir.cli.output import print_json, show, wire
from mimir.importing.formats import FORMATS
from mimir.operations.importing import ANY_FORMAT, import_from


def import_command() -> Command:
    """Return the command that imports."""
    return Command(
        "import",
        _import,
        help=(
            "Remember conversations and memories that other programs have kept: a file, a zip archive or a folder."
            f" Formats: {', '.join(FORMATS)}. Importing the same again adds nothing; turns of conversations get the"
            " category transcript and one topic path for each conversation."
        ),
        arguments=[
            Argument("format", "Which format it is in; left out when PATH stands alone, to find out."),
            Argument("path", "What to import.", optional=True),
        ],
        options=[
            click.Option(["--dry-run"], is_flag=True, help="Only count."),
            json_option(),
            *setting_options(),
        ],
        example="mimir import chatgpt ~/Downloads/export.zip --dry-run",
    )


def _import(flags: dict[str, Any], values: dict[str, Any]) -> int:
    words = [values["format"], values["path"]]
    chosen, path = words if words[1] is not None else (ANY_FORMAT, words[0])
    with open_engine(flags) as engine:
        refuse_writes(engine.settings, "write")
        with waiting("Importing"):
            workspace = engine.workspace.hash or ""
            result = import_from(engine, path, format=chosen, workspace_hash=workspace, dry_run=values["dry_run"])
        pending = engine.store.count_pending() if engine.embedder is not None else 0
    if values["as_json"]:
        print_json(wire(result))
    else:
        show(result)
        if pending and not result.dry_run:
            click.echo(f"{pending:,} passages wait for a vector; words find them already. mimir embed --all makes all.")
    return 0

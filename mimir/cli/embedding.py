"""`mimir embed`, and its form that goes through the whole store."""

from __future__ import annotations

from typing import Any

import click

from mimir.catalogue import load_catalogue
from mimir.cli.commands import Action, Command, open_engine, operation_command, refuse_writes, waiting
from mimir.cli.output import print_json, show, wire
from mimir.operations.search import embed_all


def embed_command() -> Command:
    """Return the command of the operation of this name, which can also embed everything."""
    entry = load_catalogue()["embed"]
    command = operation_command("embed", entry)
    command.params.append(
        click.Option(
            ["--all", "everything"],
            is_flag=True,
            help="Embed all that has no vector of the present model, also what has one of another; goes on where it"
            " was stopped.",
        )
    )
    command.action = _embed(command.action)
    return command


def _embed(plain: Action) -> Action:
    def action(settings: dict[str, Any], values: dict[str, Any]) -> int:
        if not values.pop("everything"):
            return plain(settings, values)
        with open_engine(settings) as engine:
            refuse_writes(engine.settings, "write")
            with waiting("Embedding"):
                result = embed_all(engine)
        if values["as_json"]:
            print_json(wire(result))
        else:
            show(result)
        return 0

    return action

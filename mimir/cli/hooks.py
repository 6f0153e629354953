"""What runs when a client's session starts and ends: `mimir context --hook` and `mimir groom`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from mimir.catalogue import load_catalogue
from mimir.cli.clients import program
from mimir.cli.commands import (
    Action,
    Command,
    as_flags,
    call,
    json_option,
    open_engine,
    operation_command,
    setting_options,
    tell_workspace,
)
from mimir.cli.output import print_json, tell
from mimir.config import IS_WINDOWS, named_project
from mimir.errors import MimirError
from mimir.operations.context import context
from mimir.workspace import AUTO, resolve_workspace

_HOOK_CHARACTERS: Final = 9_500
"""Longest block of a session's start: clients cut off what exceeds 10,000 characters."""

_NOTHING: Final = "> 0 entities recalled"
"""How a block ends that holds no memory: a session is better off without it."""


def context_command() -> Command:
    """Return the command of the operation of this name, with the form that a session's start asks for."""
    command = operation_command("context", load_catalogue()["context"])
    command.params.append(
        click.Option(
            ["--hook"],
            is_flag=False,
            flag_value="SessionStart",
            type=click.Choice(list(_FORMS)),
            metavar="[EVENT]",
            help=(
                "Print what a client's session-start hook returns: JSON that puts the block into the session, in the"
                " form of the event: SessionStart, or sessionStart for Cursor."
            ),
        )
    )
    command.action = _context(command.action)
    return command


def _context(plain: Action) -> Action:
    def action(settings: dict[str, Any], values: dict[str, Any]) -> int:
        event = values.pop("hook")
        if event is None:
            return plain(settings, values)
        try:
            block = _block(settings)
        except MimirError as error:
            # Status 2, that of wrong input elsewhere, is how a hook orders some clients to stop the session.
            tell(error.message, error.hint)
            return 1
        if block:
            print_json(_FORMS[event](block))
        return 0

    return action


def _block(settings: dict[str, Any]) -> str:
    """Return what a session begins with, empty when nothing is remembered."""
    project = named_project()
    roots = [Path(project).as_uri()] if os.path.isabs(project) else []
    with open_engine(settings) as engine:
        workspace = resolve_workspace(engine.settings, roots)
        if engine.settings.workspace == AUTO:
            tell_workspace(workspace)
        block = context(engine, workspace_hash=workspace.hash, max_context_chars=_HOOK_CHARACTERS).markdown
    return "" if block.endswith(_NOTHING) else block


_FORMS: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "SessionStart": lambda block: {"hookSpecificOutput": {"hookEventName": "SessionStart", "additionalContext": block}},
    "sessionStart": lambda block: {"additional_context": block},
}
"""What a hook returns to put a block into a session, by the client's name of the event."""


def groom_command() -> Command:
    """Return the command that tidies the store after a session."""
    return Command(
        "groom",
        _groom,
        help=(
            "Tidy the store after a session, as mimir autocohere does: links, promotion, fading. For hooks"
            " that run when a session ends, and for schedules."
        ),
        options=[
            click.Option(
                ["--background"],
                is_flag=True,
                help="Return at once and tidy in a process of its own: clients kill hooks that outlive a session.",
            ),
            json_option(),
            *setting_options(),
        ],
    )


def _groom(settings: dict[str, Any], values: dict[str, Any]) -> int:
    if not values["background"]:
        return call(load_catalogue()["autocohere"], {}, settings, as_json=values["as_json"])
    subprocess.Popen(
        [*program(), "groom", "--json", *as_flags(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        creationflags=getattr(subprocess, "DETACHED_PROCESS", 0) if IS_WINDOWS else 0,
    )
    return 0

"""The reference page of the command line, printed from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from mimir.cli.commands import Command, is_setting
from mimir.cli.main import root
from mimir.config import OPTIONS


def cli_reference() -> str:
    """Return all commands with their arguments and options as Markdown, and the settings that all of them take."""
    group = root()
    context = click.Context(group, info_name="mimir")
    parts = ["## Settings", _SETTINGS, _settings()]
    for heading, words in group.sections().items():
        parts.append(f"## {heading}")
        for word in words:
            command = group.get_command(context, word)
            if isinstance(command, Command):
                parts += _command(command, click.Context(command, context, info_name=word))
    return "\n\n".join(parts) + "\n"


_SETTINGS = (
    "Every command takes these, before or after its word; after it wins. A flag wins over its environment variable,"
    " which wins over the default. Where a command has an option of the same name, that one is meant after the word."
)


def _settings() -> str:
    rows = [
        (
            f"`{option.flag}`",
            f"`{option.environment}`" if option.environment else "",
            option.help,
            ", ".join(f"`{choice}`" for choice in option.choices),
            f"`{option.default}`" if option.default not in ("", False) else "",
        )
        for option in OPTIONS
    ]
    return _table(("Flag", "Environment", "Meaning", "Choices", "Default"), rows)


def _command(command: Command, context: click.Context) -> list[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"### {command.name}", command.help or "", f"    {context.command_path} {usage}".rstrip()]
    rows = [(f"`{argument.metavar}`", argument.help) for argument in command.arguments]
    rows += [
        _option(parameter, context)
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden and not is_setting(parameter)
    ]
    if rows:
        parts.append(_table(("Argument or option", "Meaning"), rows))
    if command.example:
        parts.append(f"Example:\n\n    {command.example}")
    return parts


def _option(option: click.Option, context: click.Context) -> tuple[str, str]:
    record = option.get_help_record(context)
    spelling, meaning = ("", "") if record is None else record
    return f"`{spelling}`", meaning


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")

"""The root of the command line: which commands there are, and how every failure ends."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import click

from mimir import __version__
from mimir.catalogue import load_catalogue
from mimir.cli.commands import given_settings, operation_command, setting_options
from mimir.cli.output import as_commands, tell
from mimir.errors import MimirError

USAGE_STATUS: Final = 2
BROKEN_PIPE_STATUS: Final = 1
INTERRUPTED_STATUS: Final = 130


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit status of the program."""
    for stream in (sys.stdout, sys.stderr):
        # A pipe on Windows is not UTF-8 by itself, and JSON is.
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]  # text streams
    try:
        status = root().main(list(arguments), prog_name="mimir", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        tell(error.format_message(), _usage_hint(error))
        return USAGE_STATUS
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED_STATUS
    except MimirError as error:
        tell(error.message, as_commands(error.hint))
        return error.exit_status
    except BrokenPipeError:
        # The interpreter flushes once more at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE_STATUS
    return status if isinstance(status, int) else 0


def root() -> Root:
    """Return the group of all commands."""
    return Root()


class Root(click.Group):
    """All commands, each made when it is asked for, listed under headings."""

    def __init__(self) -> None:
        self.entries: Mapping[str, Any] = load_catalogue()
        version = click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Print the version and end.",
        )
        super().__init__(
            "mimir",
            params=[*setting_options(shown=True), version],
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
            help=(
                "Persistent memory for AI agents in one SQLite file. Without a command mimir serves MCP on standard"
                " input and output."
            ),
            epilog="Every option above may stand before or after the command; after it wins.",
        )

    def invoke(self, ctx: click.Context) -> object:
        """Keep the settings for the command, and run it."""
        ctx.obj = given_settings(ctx)
        return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the words of all commands, in the order of the help."""
        return [word for words in self.sections().values() for word in words]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        """Return the command of a word, or None."""
        if cmd_name in _OWN:
            _, module, function = _OWN[cmd_name]
            own: click.Command = getattr(importlib.import_module(module), function)()
            return own
        if cmd_name in _EXTENDED:
            module, function = _EXTENDED[cmd_name]
            extended: click.Command = getattr(importlib.import_module(module), function)()
            return extended
        name = cmd_name.replace("-", "_")
        entry = self.entries.get(name)
        return None if entry is None or cmd_name != name.replace("_", "-") else operation_command(name, entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the first word; for an unknown one name those that are spelled alike."""
        words = self.list_commands(ctx)
        if args[0] not in words:
            near = get_close_matches(args[0], words)
            advice = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"There is no command {args[0]!r}.{advice}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings."""
        widest = max(map(len, self.list_commands(ctx)))
        for heading, words in self.sections().items():
            commands = [(word, self.get_command(ctx, word)) for word in words]
            rows = [
                (word.ljust(widest), command.get_short_help_str(formatter.width))
                for word, command in commands
                if command is not None
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def sections(self) -> dict[str, list[str]]:
        """Return the words of the commands by heading: our own, then the operations by family."""
        sections: dict[str, list[str]] = {}
        for word, (heading, _, _) in _OWN.items():
            sections.setdefault(heading, []).append(word)
        for name, entry in self.entries.items():
            word = name.replace("_", "-")
            if word not in _OWN:
                sections.setdefault(entry["family"], []).append(word)
        return sections


def _print_version(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"mimir {__version__}")
        ctx.exit()


def _usage_hint(error: click.UsageError) -> str:
    if error.ctx is None:
        return "Try: mimir --help"
    usage = " ".join(error.ctx.command.get_usage(error.ctx).split())
    return f"{usage}\n  Try: {error.ctx.command_path} --help"


_OWN: Final = {
    "demo": ("Start here", "mimir.cli.demo", "demo_command"),
    "connect": ("Start here", "mimir.cli.connect", "connect_command"),
    "doctor": ("Start here", "mimir.cli.doctor", "doctor_command"),
    "serve": ("Start here", "mimir.cli.maintenance", "serve_command"),
    "web": ("Start here", "mimir.cli.web", "web_command"),
    "tools": ("Start here", "mimir.cli.maintenance", "tools_command"),
    "keygen": ("Keys and backups", "mimir.cli.keys", "keygen_command"),
    "seal": ("Keys and backups", "mimir.cli.keys", "seal_command"),
    "rekey": ("Keys and backups", "mimir.cli.keys", "rekey_command"),
    "unseal": ("Keys and backups", "mimir.cli.keys", "unseal_command"),
    "backup": ("Keys and backups", "mimir.cli.backups", "backup_command"),
    "restore": ("Keys and backups", "mimir.cli.backups", "restore_command"),
    "import": ("Notes and sources", "mimir.cli.importing", "import_command"),
    "verify": ("Scripts and hosts", "mimir.cli.maintenance", "verify_command"),
    "groom": ("Scripts and hosts", "mimir.cli.hooks", "groom_command"),
    "obsidian-sync": ("Scripts and hosts", "mimir.cli.syncing", "sync_command"),
    "write": ("Scripts and hosts", "mimir.cli.maintenance", "write_command"),
    "state-digest": ("Scripts and hosts", "mimir.cli.maintenance", "digest_command"),
}
"""The commands that are no operations: heading, and the function that makes each, imported when it is asked for."""

_EXTENDED: Final = {
    "context": ("mimir.cli.hooks", "context_command"),
    "embed": ("mimir.cli.embedding", "embed_command"),
}
"""The commands of operations that take more than the tool does."""

"""From the catalogue to commands: each operation a word, its parameters arguments and options."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final, NamedTuple

import click
import msgspec

from mimir.catalogue import load_function
from mimir.cli.output import as_commands, console, print_json, read_moment, show, tell, wire
from mimir.config import (
    OPTIONS,
    Option,
    Settings,
    given_on_command_line,
    option,
    warn_of_other_stores,
)
from mimir.engine import Engine
from mimir.errors import InvalidInput, MimirError, NotFound, Unavailable
from mimir.model import Json
from mimir.operation import read_arguments
from mimir.progress import reported_to
from mimir.workspace import AUTO, Workspace

NOT_FOUND_STATUS: Final = 1
"""Exit status of a command that did what was asked and found nothing under the name."""

Action = Callable[[dict[str, Any], dict[str, Any]], int]
"""What a command does with the settings that were given and with its own values."""

# So that an operation may have a parameter with the name of a setting.
_SETTING: Final = "setting_"
_WORDS: Final = "positional_words"


class Argument(NamedTuple):
    """One positional argument: the parameter it fills and its help."""

    name: str
    help: str
    optional: bool = False

    @property
    def metavar(self) -> str:
        """Return its spelling in a usage line."""
        word = self.name.upper()
        return f"[{word}]" if self.optional else word


class Command(click.Command):
    """A command that hands the settings and its own values to an action, which returns the exit status.

    Positional arguments have help, and may also be given as options of the same name.
    """

    def __init__(
        self,
        name: str,
        action: Action,
        *,
        help: str,
        options: Sequence[click.Option] = (),
        arguments: Sequence[Argument] = (),
        example: str = "",
    ) -> None:
        self.action = action
        self.arguments = tuple(arguments)
        self.example = example
        words = click.Argument([_WORDS], nargs=-1, metavar=" ".join(argument.metavar for argument in arguments))
        by_name = [click.Option([_flag(one.name), one.name], hidden=True) for one in arguments]
        super().__init__(
            name,
            params=[*([words] if arguments else []), *options, *by_name],
            help=help,
            short_help=re.split(r"[:;.] ", help, maxsplit=1)[0].rstrip("."),
        )

    def invoke(self, ctx: click.Context) -> int:
        """Part the settings from the rest and run the action.

        Raises:
            MimirError: it failed; to who asked for JSON that is printed too, so that a program need not read messages.
        """
        before: Mapping[str, Any] = ctx.find_object(dict) or {}
        rest = {name: value for name, value in ctx.params.items() if not name.startswith(_SETTING)}
        try:
            return self.action({**before, **given_settings(ctx)}, _placed(ctx, self.arguments, rest))
        except MimirError as error:
            if ctx.params.get("as_json"):
                print_json({"error": error.message, "code": error.code, "hint": error.hint})
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the arguments above the options."""
        if self.arguments:
            with formatter.section("Arguments"):
                formatter.write_dl([(one.metavar, one.help) for one in self.arguments])
        super().format_options(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write an example below the options."""
        if self.example:
            with formatter.section("Example"):
                # Not write_text: a command that is to be copied must stay on its line.
                formatter.write(f"  {self.example}\n")
        super().format_epilog(ctx, formatter)


def operation_command(name: str, entry: Mapping[str, Any]) -> Command:
    """Return the command of one operation, made from its entry in the catalogue."""
    schema = entry["tool"]["inputSchema"]
    required = schema.get("required", ())
    positional = [
        Argument(
            parameter,
            _help(parameter, schema["properties"][parameter], note),
            optional=parameter not in required,
        )
        for parameter, note in entry["parameters"].items()
        if note.get("positional")
    ]
    named = {argument.name for argument in positional}
    options = [
        _parameter_option(parameter, schema["properties"][parameter], note)
        for parameter, note in entry["parameters"].items()
        if parameter not in named
    ]

    def action(settings: dict[str, Any], values: dict[str, Any]) -> int:
        as_json = values.pop("as_json")
        words = {name: value for name, value in values.items() if value not in (None, ())}
        return call(entry, words, settings, as_json=as_json)

    return Command(
        name.replace("_", "-"),
        action,
        help=as_commands(entry["tool"]["description"]),
        options=[
            *options,
            json_option("Print JSON, as the tool answers it."),
            *setting_options(taken={*schema["properties"]}),
        ],
        arguments=positional,
        example=_example(name, entry, positional),
    )


def call(
    entry: Mapping[str, Any],
    words: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    as_json: bool,
) -> int:
    """Run an operation with what click read for its parameters, print its result and return the exit status."""
    result = _result(entry, words, settings)
    if as_json:
        print_json(wire(result))
    else:
        show(result)
    return NOT_FOUND_STATUS if getattr(result, "found", True) is False else 0


def _result(entry: Mapping[str, Any], words: Mapping[str, Any], settings: Mapping[str, Any]) -> msgspec.Struct:
    given = {name: _read_word(name, value, entry) for name, value in words.items()}
    read_arguments(entry, given)  # before a store is opened for what is wrong
    with open_engine(settings) as engine:
        read = read_arguments(entry, given, workspace=engine.workspace.hash)
        is_named = given.get("workspace_hash") is not None or "workspace_hash" not in entry["parameters"]
        if engine.settings.workspace == AUTO and not is_named:
            tell_workspace(engine.workspace)
        refuse_writes(engine.settings, entry["effect"])
        with waiting(entry["tool"]["title"]) if entry["long"] else nullcontext():
            result: msgspec.Struct = load_function(entry)(engine, **read)
    return result


def refuse_writes(settings: Settings, effect: str) -> None:
    """Keep a read-only process from changing the store.

    Raises:
        Unavailable: the effect is not ``read`` and the settings say read-only.
    """
    if settings.read_only and effect != "read":
        raise Unavailable(
            "This command writes, and the settings say read-only.",
            hint=f"Leave out --read-only, and {option('read_only').environment}.",
        )


def require_store(path: str) -> None:
    """See that there is a store at ``path``, where one that is missing must not be made.

    Raises:
        NotFound: there is no file, or an empty one.
    """
    if not os.path.exists(path) or not os.path.getsize(path):
        empty = ": the file is empty" if os.path.exists(path) else ""
        raise NotFound(f"There is no store at {path}{empty}.", hint="Name the one you mean with --db.")


def open_engine(settings: Mapping[str, Any]) -> Engine:
    """Open the store that the settings name; warn when none is named and several could be meant."""
    sys.stderr.write(warn_of_other_stores(settings.get("db")))
    return Engine.open(**settings)


def tell_workspace(workspace: Workspace) -> None:
    """Say which workspace was derived, and from what: it decides what is found, and nobody has named it."""
    tell(f"workspace {workspace.hash or 'global'}: {workspace.reason}")


def given_settings(ctx: click.Context) -> dict[str, Any]:
    """Return the settings that stand beside this command's word."""
    return {
        name.removeprefix(_SETTING): value
        for name, value in ctx.params.items()
        if name.startswith(_SETTING) and value is not None
    }


def as_flags(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as they stand on a command line."""
    words: list[str] = []
    for field, value in settings.items():
        words += [option(field).flag] if value is True else [option(field).flag, str(value)]
    return words


def setting_options(
    taken: Collection[str] = (), *, shown: bool = False, concerned: Collection[str] = ()
) -> list[click.Option]:
    """Return the options of every setting but those in ``taken``.

    In the help of a command is ``--db`` with the settings that it is ``concerned`` with, or all if ``shown``.
    """
    told = {"db", *concerned}
    return [
        _setting_option(one, hidden=not shown and one.field not in told) for one in OPTIONS if one.field not in taken
    ]


def is_setting(parameter: click.Parameter) -> bool:
    """Tell whether an option is a setting of the program rather than a value of its command."""
    return str(parameter.name).startswith(_SETTING)


def json_option(help_text: str = "Print JSON.") -> click.Option:
    """Return the option that asks for JSON."""
    return click.Option(["--json", "as_json"], is_flag=True, help=help_text)


def setting_default(one: Option) -> str:
    """Return the default of a setting in words."""
    if one.kind is bool:
        return "on" if one.default else "off"
    return str(one.default)


def _setting_option(one: Option, *, hidden: bool) -> click.Option:
    help_text = one.help
    if setting_default(one):
        help_text += f"  [default: {setting_default(one)}]"
    if one.kind is bool:
        return click.Option(
            [one.flag, _SETTING + one.field],
            is_flag=True,
            flag_value=True,
            default=None,
            help=help_text,
            hidden=hidden,
        )
    return click.Option(
        [one.flag, _SETTING + one.field],
        metavar="|".join(one.choices) or ("N" if one.kind is int else "TEXT"),
        help=help_text,
        hidden=hidden,
        callback=lambda _context, _option, value: None if value is None else given_on_command_line(one, value),
    )


def _placed(ctx: click.Context, arguments: Sequence[Argument], given: Mapping[str, Any]) -> dict[str, Any]:
    """Give each positional word to the first argument that no option has filled.

    Raises:
        UsageError: a required argument is missing, or there are more words than arguments.
    """
    values = dict(given)
    words: tuple[str, ...] = values.pop(_WORDS, ())
    open_ = [argument for argument in arguments if values[argument.name] is None]
    if len(words) > len(open_):
        extra = " ".join(words[len(open_) :])
        raise click.UsageError(f"There is no place for {extra!r}; put a text of several words in quotes.", ctx)
    values.update((argument.name, word) for argument, word in zip(open_, words, strict=False))
    for argument in open_[len(words) :]:
        if not argument.optional:
            raise click.UsageError(f"{argument.metavar} is missing: {argument.help}", ctx)
    return values


def _parameter_option(name: str, schema: Mapping[str, Any], note: Mapping[str, Any]) -> click.Option:
    help_text = _help(name, schema, note)
    if schema["type"] == "boolean":
        return click.Option([f"{_flag(name)}/--no-{_flag(name)[2:]}", name], default=None, help=help_text)
    if schema["type"] == "array":
        return click.Option([_flag(name), name], multiple=True, metavar="TEXT", help=help_text)
    return click.Option([_flag(name), name], metavar=_metavar(name, schema), help=help_text)


def _metavar(name: str, schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "|".join(schema["enum"])
    if name.endswith("_unix_ms"):
        return "TIME"
    return {"integer": "N", "number": "NUMBER", "object": "JSON"}.get(schema["type"], "TEXT")


def _read_word(name: str, value: Any, entry: Mapping[str, Any]) -> Json:  # noqa: ANN401 - what click read
    """Turn what stands on the command line into what the tool would get."""
    schema = entry["tool"]["inputSchema"]["properties"][name]
    if schema["type"] == "array":
        return _read_list(value if isinstance(value, tuple) else (value,))
    if name.endswith("_unix_ms"):
        return read_moment(value)
    if entry["parameters"][name].get("json"):
        text = read_body(read_standard_input() if value == "-" else value)
        return text if schema["type"] == "string" else _decoded(name, text)
    return value


def _decoded(name: str, text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"'{name}' is not JSON: {error}.", hint="Give JSON, or plain words.") from None


def _read_list(values: Sequence[str]) -> list[str]:
    parts: list[str] = []
    for value in values:
        try:
            parts += msgspec.json.decode(value, type=list[str])
        except msgspec.DecodeError:
            parts += [part for part in map(str.strip, value.split(",")) if part]
    return parts


def read_body(text: str) -> str:
    """Return JSON as it is, and plain words as a JSON note with them as its content.

    What opens a brace was meant as JSON: it is passed on even when malformed, to be refused.
    """
    if text.lstrip().startswith("{"):
        return text
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return msgspec.json.encode({"content": text}).decode()
    except (RecursionError, UnicodeEncodeError):
        pass
    return text


def read_standard_input() -> str:
    """Return all of standard input as text, without the line break at its end.

    Raises:
        InvalidInput: it is not UTF-8.
    """
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"Standard input is not UTF-8: byte {error.start} is wrong.",
            hint="Convert it to UTF-8 first.",
        ) from None


def _example(name: str, entry: Mapping[str, Any], positional: Sequence[Argument]) -> str:
    given = dict(entry["example"])
    words = ["mimir", name.replace("_", "-")]
    words += [str(given.pop(argument.name)) for argument in positional if argument.name in given]
    for parameter, value in given.items():
        if isinstance(value, bool):
            words.append(_flag(parameter) if value else f"--no-{_flag(parameter)[2:]}")
        else:
            text = ",".join(value) if isinstance(value, (list, tuple)) else _as_word(value)
            words += [_flag(parameter), text]
    return " ".join(shlex.quote(word) for word in words)


def _as_word(value: Json) -> str:
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else str(value)


def _flag(parameter: str) -> str:
    return "--" + parameter.replace("_", "-")


def _help(name: str, schema: Mapping[str, Any], note: Mapping[str, Any]) -> str:
    """Return what a parameter is, and what the command line takes beyond what the tool does."""
    text = as_commands(schema["description"])
    if note.get("json"):
        text += " Plain words become such a text; - reads standard input."
    if schema["type"] == "array":
        text += " Several: repeat it, or separate with commas."
    if name.endswith("_unix_ms"):
        text += " Also a date, such as 2026-01-31T12:00."
    default = schema.get("default")
    if isinstance(default, bool):
        return f"{text}  [default: {'yes' if default else 'no'}]"
    return text if default in (None, "", []) else f"{text}  [default: {default}]"


@contextmanager
def waiting(title: str) -> Iterator[None]:
    """Show on a terminal that something is at work, and how far it has come."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(title) as status:

        def show_progress(done: int, total: int | None) -> None:
            status.update(f"{title}: {done:,}" if total is None else f"{title}: {done:,} of {total:,}")

        with reported_to(show_progress):
            yield

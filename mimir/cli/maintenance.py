"""Commands that are no tools: write, state-digest and verify for scripts and hosts, the list of tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from mimir.catalogue import load_catalogue
from mimir.cli.commands import (
    Command,
    as_flags,
    json_option,
    open_engine,
    read_standard_input,
    refuse_writes,
    require_store,
    setting_options,
)
from mimir.cli.output import console, print_json, printable, table
from mimir.config import load_settings
from mimir.drafts import DEFAULT_IMPORTANCE, VISIBILITIES, Draft, make_draft
from mimir.errors import InvalidInput, MimirError
from mimir.journaling import verify
from mimir.recording import store_draft
from mimir.server.dispatch import PROFILES, Dispatcher

CHARACTERS_PER_TOKEN: Final = 4.5
"""Of tool schemas in the tokenizers in use; an estimate."""

_FACTS: Final = ("family", "effect", "profile")


def serve_command() -> Command:
    """Return the command that serves, for its help; the program serves without this library."""
    return Command(
        "serve",
        _serve,
        help=(
            "Serve MCP on standard input and output, one JSON message a line, until end of input."
            " The same as mimir without a command."
        ),
        options=setting_options(shown=True),
        example="mimir serve --db memory.db",
    )


def write_command() -> Command:
    """Return the command that stores one memory for a script."""

    def text(flag: str, help_text: str, **more: Any) -> click.Option:  # noqa: ANN401 - click's own
        return click.Option([flag], metavar="TEXT", help=help_text, **more)

    return Command(
        "write",
        _write,
        help=(
            "Store one memory from a script; for people there is mimir remember. Prints JSON with"
            " action, id and ok true; on failure ok false, error, code and hint, with exit status 1."
        ),
        options=[
            text("--category", "Group of the memory.", required=True),
            text("--key", "Name of the memory, unique within its group.", required=True),
            text("--body", "The memory, strictly JSON; - reads standard input.", required=True),
            text("--tags", "Words to find it by, separated by commas."),
            text("--entity-type", "Kind of memory. New: insight."),
            click.Option(
                ["--importance"],
                type=float,
                default=DEFAULT_IMPORTANCE,
                show_default=True,
                help="Starting strength of a new memory, 0 to 1.",
            ),
            click.Option(["--always-on"], is_flag=True, help="Pin it into every context."),
            click.Option(["--visibility"], metavar="|".join(VISIBILITIES), help="New: workspace."),
            text("--agent-id", "Agent it belongs to."),
            text("--workspace-hash", "Workspace it belongs to.", default=""),
            *setting_options(taken={"agent_id"}),
        ],
        example="""mimir write --category decision --key database --body '{"content": "SQLite"}'""",
    )


def digest_command() -> Command:
    """Return the command that prints the state digest."""
    return Command(
        "state-digest",
        _state_digest,
        help=(
            "Print 16 hex digits that change whenever the id or body of an active memory does: a cache key for hosts."
        ),
        options=setting_options(),
    )


def tools_command() -> Command:
    """Return the command that lists the tools."""
    return Command(
        "tools",
        _tools,
        help="List the tools that a server offers, with what each costs in a client's context.",
        options=[json_option(), *setting_options()],
    )


def verify_command() -> Command:
    """Return the command that checks the journal and the store."""
    return Command(
        "verify",
        _verify,
        help=(
            "Check that nothing in the store was changed behind its back: the journal's chain from its first row, the"
            " intervals of versions, sealed bodies, the pages and indexes of the file. Names the first broken link;"
            " exit status 1 when there is one. Keep the last hash elsewhere: it stands for the whole journal up to its"
            " row."
        ),
        options=[json_option(), *setting_options()],
    )


def _serve(settings: dict[str, Any], _values: dict[str, Any]) -> int:
    from mimir.cli.serve import serve

    return serve(as_flags(settings))


def _write(settings: dict[str, Any], values: dict[str, Any]) -> int:
    try:
        if values["body"] == "-":
            values["body"] = read_standard_input()
        draft = _draft(values, load_settings(**settings).secrets)
        with open_engine(settings) as engine:
            refuse_writes(engine.settings, "write")
            stored = store_draft(engine, draft)
            warnings = {"warnings": draft.warnings} if draft.warnings else {}
            print_json({"action": stored.action, "id": stored.id, "ok": True, **warnings})
    except MimirError as error:
        print_json({"ok": False, "error": error.message, "code": error.code, "hint": error.hint})
        return 1
    return 0


def _draft(fields: dict[str, Any], secrets: str) -> Draft:
    tags = fields["tags"]
    return make_draft(
        fields["category"],
        fields["key"],
        _sorted_json(fields["body"]),
        secrets=secrets,
        workspace_hash=fields["workspace_hash"],
        importance=fields["importance"],
        source="cli-write",
        prefix="cli-",
        changes={
            "type": fields["entity_type"],
            "tags": tags and list(filter(None, map(str.strip, tags.split(",")))),
            "always_on": fields["always_on"] or None,
            "visibility": fields["visibility"],
            "agent_id": fields["agent_id"],
        },
    )


def _sorted_json(text: str) -> str:
    """Return JSON text without spaces, the keys of every object in order.

    Raises:
        InvalidInput: it is not JSON.
    """
    try:
        # msgspec is strict where the standard library takes NaN and lone surrogates.
        return msgspec.json.encode(msgspec.json.decode(text), order="sorted").decode()
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidInput(
            f"'body' is not JSON: {error}.", hint="""Give JSON, for example '{"content": "..."}'."""
        ) from None


def _state_digest(settings: dict[str, Any], _values: dict[str, Any]) -> int:
    with open_engine(settings) as engine, engine.store.reading():
        digest, count = engine.store.digest(str)
    print_json({"digest": digest, "entity_count": count})
    return 0


def _verify(settings: dict[str, Any], values: dict[str, Any]) -> int:
    path = load_settings(**settings).db
    require_store(path)
    from rich.text import Text

    # Without the model: nothing is embedded here.
    with open_engine({**settings, "embedding": "off"}) as engine:
        verified = verify(engine)
    if values["as_json"]:
        print_json(verified)
    else:
        out = console()
        for check in verified.checks:
            word, style = ("ok", "green") if check.ok else ("FAIL", "bold red")
            line = Text.assemble((f"{word:<5}", style), (f"{check.name:<15}", "bold"), printable(check.detail))
            out.print(line, soft_wrap=True)
    return 0 if verified.ok else 1


def _tools(settings: dict[str, Any], values: dict[str, Any]) -> int:
    listed = Dispatcher(load_settings(**settings)).listed()
    if values["as_json"]:
        print_json(listed)
        return 0
    entries = {entry["tool"]["name"]: entry for entry in load_catalogue().values()}
    rows = [(tool["name"], *(entries[tool["name"]][fact] for fact in _FACTS), str(_tokens(tool))) for tool in listed]
    out = console()
    out.print(table(("tool", *_FACTS, "tokens"), rows, numbers=1))
    out.print(f"{_cost(listed)} in a client that lists these.", soft_wrap=True)
    for profile in PROFILES:
        listed = Dispatcher(load_settings(**{**settings, "tools": profile})).listed()
        out.print(f"--tools {profile}: {_cost(listed)}", style="dim", soft_wrap=True)
    return 0


def _cost(listed: Sequence[dict[str, Any]]) -> str:
    return f"{len(listed)} tools, about {sum(map(_tokens, listed)):,} tokens"


def _tokens(tool: dict[str, Any]) -> int:
    """Return about how many tokens a tool takes in a client that shows it to its model."""
    seen = {name: tool[name] for name in ("name", "description", "inputSchema")}
    return round(len(json.dumps(seen, ensure_ascii=False)) / CHARACTERS_PER_TOKEN)

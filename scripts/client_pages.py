"""The pages of docs/clients: how each client is connected, from the table that `mimir connect` works by."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mimir.cli.clients import (
    CLIENTS,
    DEFAULT_PROFILE,
    GENERIC,
    NOTE,
    SYSTEMS,
    Client,
    Hooks,
    entry_change,
    hook_changes,
    shown_place,
)
from mimir.cli.merging import put

COMMAND = ("/path/to/mimir", "serve", "--db", "/path/to/memory.db", "--tools", DEFAULT_PROFILE)
SYSTEM_TITLES = {"linux": "Linux", "macos": "macOS", "windows": "Windows"}


def client_pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    return {"README.md": _overview(), **{f"{client.name}.md": "\n".join(_page(client)) for client in CLIENTS}}


def _overview() -> str:
    lines = [
        "# Clients",
        "",
        "    mimir connect CLIENT                     connect one",
        "    mimir connect --all-detected --dry-run   show what would change for all that are installed",
        "    mimir connect CLIENT --remove            take everything out again",
        "",
        "The command edits the text of the client's file around its own entry: comments, order and line breaks of all",
        "else stay. A copy is kept beside the file as `FILE.before-mimir` before the first change. Running it again",
        "changes nothing; `--remove` gives back the original byte for byte, or takes out only the entry when the file",
        "has been changed since. A file that cannot be read is refused and left alone. `mimir doctor` shows which",
        "clients are connected to which store, and tries what they would start.",
        "",
        "| Client | Word | File | Project | Note on use | Hooks |",
        "|---|---|---|---|---|---|",
    ]
    for client in CLIENTS:
        project = f"`{client.project}`" if client.project else ""
        rules = ", ".join(f"`{shown_place(place)}`" for place in client.rules.values())
        hooks = "yes" if client.hooks else ""
        place = shown_place(client.place("user", "linux"))
        title = f"[{client.title}]({client.name}.md)"
        lines.append(f"| {title} | `{client.name}` | `{place}` | {project} | {rules} | {hooks} |")
    lines += [
        "",
        f"Any other client: `mimir connect {GENERIC}` prints the entry that most understand:",
        "",
        _fenced("json", json.dumps({"mcpServers": {"mimir": {"command": COMMAND[0], "args": COMMAND[1:]}}}, indent=2)),
        "Paths are absolute because clients start servers in folders of their own, and without a shell that would",
        "expand `~`.",
        "",
        "## The note on use",
        "",
        "`--rules` puts this between its markers into the rules file; clients that share `AGENTS.md` share the note.",
        "",
        _fenced("markdown", NOTE),
    ]
    return "\n".join(lines)


def _page(client: Client) -> Iterator[str]:
    yield f"# {client.title}\n"
    yield f"    mimir connect {client.name}\n"
    yield f"{client.after} With `mimir connect {client.name} --remove` it is gone again.\n"
    yield "## By hand\n"
    places = {system: shown_place(client.place("user", system)) for system in SYSTEMS}
    if len(set(places.values())) == 1:
        yield f"For you: `{places['linux']}`"
    else:
        yield "| System | File |\n|---|---|"
        yield from (f"| {SYSTEM_TITLES[system]} | `{place}` |" for system, place in places.items())
    if client.project:
        yield f"\nFor a project, with `--scope project`: `{client.project}` in its folder."
    yield "\n" + _fenced(client.format, put(client.format, "", entry_change(client, COMMAND)))
    yield f"What {client.title} reads is described in [its documentation]({client.documentation}).\n"
    if client.rules:
        names = " or ".join(f"`{shown_place(place)}`" for place in client.rules.values())
        yield f"`--rules` puts a [note on use](README.md#the-note-on-use) into {names}.\n"
    if client.hooks:
        yield "\n".join(_hooks(client.hooks))


def _hooks(hooks: Hooks) -> Iterator[str]:
    names = " or ".join(f"`{shown_place(place)}`" for place in hooks.files.values())
    yield "## Hooks\n"
    tidies = " and tidies after it" if "SessionEnd" in hooks.events else ""
    yield f"`--hooks` puts what is remembered into each new session{tidies}, in {names}:\n"
    commands = {
        "SessionStart": f"{COMMAND[0]} context --hook --db {COMMAND[3]}",
        "SessionEnd": f"{COMMAND[0]} groom --background --db {COMMAND[3]}",
    }
    text = ""
    for change in hook_changes(hooks, commands):
        text = put(hooks.format, text, change)
    yield _fenced("json", text)


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"

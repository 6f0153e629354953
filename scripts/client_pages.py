"""The pages of docs/clients: how each client is connected, from the table that `mimir connect` works by."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mimir.cli.clients import (
    CLIENTS,
    DEFAULT_PROFILE,
    GENERIC,
    NOTE,
    SERVER,
    SYSTEMS,
    Client,
    Hooks,
    entry_change,
    hook_changes,
    shell_line,
    shown_place,
)
from mimir.cli.merging import put

STORE = ("--db", "/path/to/memory.db")
COMMAND = ("/path/to/mimir", "serve", *STORE, "--tools", DEFAULT_PROFILE)
SYSTEM_TITLES = {"linux": "Linux", "macos": "macOS", "windows": "Windows"}


def client_pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    pages = {f"{client.name}.md": "\n".join(_page(client)) for client in CLIENTS}
    return {"README.md": _overview(), **pages, f"{GENERIC}.md": "\n".join(_generic())}


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
        hooks = "yes" if client.hooks else f"those of `{client.hooks_of}`" if client.hooks_of else ""
        place = shown_place(client.place("user", "linux"))
        title = f"[{client.title}]({client.name}.md)"
        lines.append(f"| {title} | `{client.name}` | `{place}` | {project} | {rules} | {hooks} |")
    lines += [
        f"| [Any other]({GENERIC}.md) | `{GENERIC}` |  |  |  |  |",
        "",
        "Paths are absolute because clients start servers in folders of their own, and without a shell that would",
        "expand `~`.",
        "",
        "## The note on use",
        "",
        "`--rules` puts this between its markers into the rules file; clients that share `AGENTS.md` share the note,",
        "which goes with the last of them.",
        "",
        _fenced("markdown", NOTE),
    ]
    return "\n".join(lines)


def _generic() -> Iterator[str]:
    keys = sorted({client.key for client in CLIENTS})
    yield "# Any other client\n"
    yield f"    mimir connect {GENERIC}\n"
    yield "It prints the entry that most clients understand, with the paths of this machine and the settings given:\n"
    yield _fenced("json", json.dumps({"mcpServers": {SERVER: {"command": COMMAND[0], "args": COMMAND[1:]}}}, indent=2))
    yield "Put what stands below `mcpServers` where your client keeps its servers; it may call that otherwise:"
    yield f"{', '.join(f'`{key}`' for key in keys)} are in use. One that wants a single line for a shell gets:\n"
    yield f"    {shell_line(COMMAND)}\n"
    yield "A client that starts no servers reaches one that runs: see [transports](../transports.md).\n"


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
    if client.package:
        yield f"| Windows, installed as a package | `{shown_place(client.packaged_place())}` |"
    if client.project:
        yield f"\nFor a project, with `--scope project`: `{client.project}` in its folder."
    yield "\n" + _fenced(client.format, put(client.format, "", entry_change(client, COMMAND)))
    yield f"What {client.title} reads is described in [its documentation]({client.documentation}).\n"
    if client.rules:
        names = " or ".join(f"`{shown_place(place)}`" for place in client.rules.values())
        yield f"`--rules` puts a [note on use](README.md#the-note-on-use) into {names}.\n"
    if client.hooks:
        yield "\n".join(_hooks(client.hooks))
    if client.hooks_of:
        yield f"## Hooks\n\n{client.title} runs the hooks of [{client.hooks_of}]({client.hooks_of}.md) too.\n"


def _hooks(hooks: Hooks) -> Iterator[str]:
    names = " or ".join(f"`{shown_place(place)}`" for place in hooks.files.values())
    yield "## Hooks\n"
    tidies = " and tidies after it" if len(hooks.events) > 1 else ""
    yield f"`--hooks` puts what is remembered into each new session{tidies}, in {names}:\n"
    text = hooks.start
    for change in hook_changes(hooks, COMMAND[:1], STORE):
        text = put(hooks.format, text, change)
    yield _fenced("json", text)


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"

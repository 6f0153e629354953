"""Which clients are on this machine, what each is connected to, and whether the command it has works."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from mimir.cli.clients import (
    CLIENTS,
    SCOPES,
    Client,
    Scope,
    entry_change,
    is_installed,
    located,
    program,
    this_system,
)
from mimir.cli.connect import read_text
from mimir.cli.merging import find
from mimir.errors import MimirError

PATIENCE_S: Final = 60
"""How long a server may take for everything that is asked of it."""

State = Literal["connected", "not connected", "unreadable"]


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """What one configuration file of a client says; ``command`` is empty for a server that is not started here."""

    client: str
    title: str
    installed: bool
    scope: Scope
    file: str
    state: State
    command: tuple[str, ...] = ()
    store: str = ""
    profile: str = ""
    problem: str = ""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """How a server answered: times in milliseconds, or what went wrong."""

    handshake_ms: float = 0
    recall_ms: float | None = None
    tools: int = 0
    problem: str = ""


def connections() -> list[Connection]:
    """Return every client with its own configuration, and that of the working folder where it is connected."""
    found = [_connection(client, scope) for client in CLIENTS for scope in SCOPES if client.place(scope, this_system())]
    return [one for one in found if one.scope == "user" or one.state != "not connected"]


def _connection(client: Client, scope: Scope) -> Connection:
    path = located(client.place(scope, this_system()))
    problem, entry = "", None
    try:
        entry = find(client.format, read_text(path) or "", entry_change(client, [""]))
    except MimirError as error:
        problem = error.message
    state: State = "unreadable" if problem else "not connected" if entry is None else "connected"
    command: tuple[str, ...] = ()
    if isinstance(entry, dict) and isinstance(entry.get("command"), str):
        command = (entry["command"], *map(str, entry.get("args") or ()))
    return Connection(
        client=client.name,
        title=client.title,
        installed=is_installed(client),
        scope=scope,
        file=path,
        state=state,
        command=command,
        store=_value(command, "--db"),
        profile=_value(command, "--tools"),
        problem=problem,
    )


def _value(command: Sequence[str], flag: str) -> str:
    for place, word in enumerate(command):
        if word.startswith(f"{flag}="):
            return word.removeprefix(f"{flag}=")
        if word == flag and place + 1 < len(command):
            return command[place + 1]
    return ""


def is_ours(one: Connection) -> bool:
    """Tell whether a command may be tried: what a folder from elsewhere declares must not run because it is there."""
    own = (*program(), "serve")
    return one.scope == "user" or one.command[: len(own)] == own


def ask(command: Sequence[str], *, recall: bool) -> Answered:
    """Start a server as a client does, shake hands, count its tools and, if asked to, recall; nothing is changed."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
        )
    except OSError as error:
        return Answered(problem=f"{command[0]} cannot be started: {error.strerror}")
    # A server that hangs is ended, so that every read ends.
    watch = threading.Timer(PATIENCE_S, process.kill)
    watch.start()
    started = time.perf_counter()
    try:
        exchange = _exchange(process)
        exchange("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": _CLIENT})
        handshake_ms = (time.perf_counter() - started) * 1000
        tools = len(exchange("tools/list", {})["tools"])
        recall_ms = None
        if recall:
            before = time.perf_counter()
            result = exchange("tools/call", {"name": "mimir_recall", "arguments": _QUERY})
            recall_ms = (time.perf_counter() - before) * 1000
            if result.get("isError"):
                return Answered(problem=str(result["structuredContent"]["error"]))
    except (OSError, ValueError, KeyError, TypeError):
        process.kill()
        return Answered(problem=f"it gave no answer (exit status {process.wait()}); start it by hand to see why")
    finally:
        watch.cancel()
        process.communicate()
    return Answered(handshake_ms=handshake_ms, recall_ms=recall_ms, tools=tools)


def _exchange(process: subprocess.Popen[str]) -> Any:  # noqa: ANN401 - a function of two arguments
    numbers: Iterator[int] = iter(range(1, 100))

    def exchange(method: str, params: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the server answers
        assert process.stdin is not None  # noqa: S101 - asked for when it was started
        assert process.stdout is not None  # noqa: S101 - the same
        request = {"jsonrpc": "2.0", "id": next(numbers), "method": method, "params": params}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())["result"]

    return exchange


_CLIENT: Final = {"name": "mimir doctor", "version": "1"}
_QUERY: Final = {"query": "anything", "limit": 1, "reinforce": False}

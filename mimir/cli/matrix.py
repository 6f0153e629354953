"""Which clients are on this machine, what each is connected to, and whether the command it has works."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from mimir.cli.clients import (
    CLIENTS,
    SCOPES,
    Client,
    Scope,
    client_named,
    configuration_file,
    entry_change,
    is_installed,
    program,
)
from mimir.cli.connect import read_text
from mimir.cli.merging import ADDRESSES, find
from mimir.config import default_store, environment_for_child, option
from mimir.errors import MimirError
from mimir.model import Json

PATIENCE_S: Final = 60
"""How long a server may take for everything that is asked of it."""

State = Literal["connected", "not connected", "unreadable"]


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """How a server answered: times in milliseconds, or what went wrong."""

    handshake_ms: float = 0
    recall_ms: float | None = None
    tools: int = 0
    problem: str = ""


class _Strange(Exception):
    """A server said something else than was asked for."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """What one configuration file of a client says, and how the server answered that it starts, if it was tried.

    ``command`` is empty for a server that is reached by an address.
    """

    client: str
    title: str
    installed: bool
    scope: Scope
    file: str
    state: State
    command: tuple[str, ...] = ()
    store: str = ""
    profile: str = ""
    is_remote: bool = False
    problem: str = ""
    answer: Answered | None = None


def connections() -> list[Connection]:
    """Return every client with its own configuration, and that of the working folder where it is connected."""
    found: dict[str, Connection] = {}
    for client in CLIENTS:
        for scope in SCOPES:
            if configuration_file(client, scope):
                one = _connection(client, scope)
                if scope == "user" or one.state != "not connected":
                    # In the home folder the project's file may be the user's.
                    found.setdefault(one.file, one)
    return list(found.values())


def environment_of(one: Connection) -> dict[str, str]:
    """Return the variables that a client sets for the server; they may hold secrets, so they stay out of reports.

    Those of a project are left out: a folder from elsewhere could name code to be loaded.
    """
    if one.scope == "project":
        return {}
    client = client_named(one.client)
    return _environment(find(client.format, read_text(one.file) or "", entry_change(client, [""])))


def _connection(client: Client, scope: Scope) -> Connection:
    path = configuration_file(client, scope)
    problem, entry = "", None
    try:
        entry = find(client.format, read_text(path) or "", entry_change(client, [""]))
    except MimirError as error:
        problem = error.message
    state: State = "unreadable" if problem else "not connected" if entry is None else "connected"
    command: tuple[str, ...] = ()
    if isinstance(entry, dict) and isinstance(entry.get("command"), str):
        command = (entry["command"], *map(str, entry.get("args") or ()))
    environment = _environment(entry)
    store = _value(command, "--db") or environment.get(option("db").environment, "")
    profile = _value(command, "--tools") or environment.get(option("tools").environment, "")
    if command and os.path.basename(command[0]) in _PROGRAMS:
        # What a client leaves out is the default of ours; of a container or a wrapper it is unknown.
        store, profile = store or default_store().path, profile or option("tools").default
    return Connection(
        client=client.name,
        title=client.title,
        installed=is_installed(client),
        scope=scope,
        file=path,
        state=state,
        command=command,
        store=store,
        profile=profile,
        is_remote=isinstance(entry, dict) and not ADDRESSES.isdisjoint(entry),
        problem=problem,
    )


def _environment(entry: Json) -> dict[str, str]:
    given = entry.get("env") if isinstance(entry, dict) else None
    return {name: str(value) for name, value in given.items()} if isinstance(given, dict) else {}


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


def ask(command: Sequence[str], environment: Mapping[str, str], *, recall: bool) -> Answered:
    """Start a server as a client does, shake hands, count its tools and, if asked to, recall; nothing is changed."""
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                encoding="utf-8",
                env=environment_for_child(**environment),
            )
        except OSError as error:
            return Answered(problem=f"{command[0]} cannot be started: {error.strerror}")
        # A server that hangs is ended, so that every read ends.
        watch = threading.Timer(PATIENCE_S, process.kill)
        watch.start()
        try:
            return _questioned(process, recall=recall)
        except _Strange as strange:
            process.kill()
            return Answered(problem=f"it said {strange.line!r} where a reply of MCP was due")
        except (OSError, ValueError, KeyError, TypeError):
            process.kill()
            status = process.wait()
            said.seek(0)
            reason = said.read(_LONGEST_REASON).decode(errors="replace").strip()
            return Answered(problem=f"it gave no answer and ended with status {status}: {reason or 'no word'}")
        finally:
            watch.cancel()
            process.communicate()


def _questioned(process: subprocess.Popen[str], *, recall: bool) -> Answered:
    started = time.perf_counter()
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
    return Answered(handshake_ms=handshake_ms, recall_ms=recall_ms, tools=tools)


def _exchange(process: subprocess.Popen[str]) -> Any:  # noqa: ANN401 - a function of two arguments
    numbers: Iterator[int] = iter(range(1, 100))

    def exchange(method: str, params: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the server answers
        assert process.stdin is not None  # noqa: S101 - asked for when it was started
        assert process.stdout is not None  # noqa: S101 - the same
        request = {"jsonrpc": "2.0", "id": next(numbers), "method": method, "params": params}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        try:
            return json.loads(line)["result"]
        except (ValueError, KeyError, TypeError):
            if line:
                raise _Strange(line.strip()[:_LONGEST_REASON]) from None
            raise

    return exchange


_LONGEST_REASON: Final = 500
_PROGRAMS: Final = frozenset({"mimir", "mimir.exe"})
_CLIENT: Final = {"name": "mimir doctor", "version": "1"}
_QUERY: Final = {"query": "anything", "limit": 1, "reinforce": False}

"""`mimir doctor`: try every part that memory needs, and say what is wrong and what to do."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from mimir import __version__
from mimir.cli.clients import client_configuration, server_command, shell_line
from mimir.cli.commands import (
    Command,
    as_flags,
    json_option,
    setting_options,
)
from mimir.cli.keys import readable_copies
from mimir.cli.matrix import Answered, Connection, ask, connections, environment_of, is_ours
from mimir.cli.output import as_commands, console, distance, print_json, size, table
from mimir.config import DefaultStore, Settings, default_store, is_store_named, load_settings, option, without_secrets
from mimir.embedding import open_embedder
from mimir.embedding.bundled import BundledEmbedder, verify_model
from mimir.errors import MimirError
from mimir.memory import Memory
from mimir.workspace import resolve_workspace

if TYPE_CHECKING:
    from rich.console import Console

LEAST_PYTHON: Final = (3, 11)
QUIET_DAYS: Final = 14
"""Days without a write after which something may have stopped writing."""

_DAY_S: Final = 86_400
_ALIKE: Final = ("The cat sleeps on the sofa.", "A kitten is napping on the couch.")
_FOREIGN: Final = "Interest rates were raised by the central bank."
_LEAST_MARGIN: Final = 0.3
"""The bundled model gives the alike pair .59 and either with the foreign text at most .05."""

_LIBRARIES: Final = ("msgspec", "click", "rich", "numpy", "onnxruntime", "tokenizers")
_CATEGORY: Final = "doctor"
_TRIAL: Final = {"content": "A trial of mimir doctor."}
_SHOWN: Final = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found, and what to do when it is not well."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    hint: str = ""


class Undone(Exception):
    """Raised to roll a transaction back."""


def doctor_command() -> Command:
    """Return the command that checks this installation and the store."""
    return Command(
        "doctor",
        _doctor,
        help=(
            "Check Python, SQLite, the embedding model and the store, then print how a client"
            " starts the server. Leaves no trace in the store and makes none. Exit status 1 when a"
            " check fails."
        ),
        options=[json_option(), *setting_options()],
    )


def _doctor(flags: dict[str, Any], values: dict[str, Any]) -> int:
    as_json = values["as_json"]
    settings = load_settings(**flags)
    checks = []
    out = console()
    for check in run_checks(settings, named=_named_by(flags)):
        checks.append(check)
        if not as_json:
            _show(out, check)
    matrix = []
    for one, found in _clients(connections()):
        matrix.append(one)
        if found is not None:
            checks.append(found)
            if not as_json:
                _show(out, found)
    command = server_command(settings.db, settings.encryption_key)
    configuration = client_configuration(settings.db, settings.encryption_key)
    healthy = all(check.status != "fail" for check in checks)
    if as_json:
        print_json(
            {
                "ok": healthy,
                "version": __version__,
                "db_path": settings.db,
                "checks": checks,
                "clients": matrix,
                "command": command,
                "client_configuration": configuration,
            }
        )
        return 0 if healthy else 1
    failed = sum(check.status == "fail" for check in checks)
    out.print()
    out.print(
        "Everything works." if healthy else f"{failed} of {len(checks)} checks failed.",
        style="bold green" if healthy else "bold red",
    )
    out.print("\nClients, to be connected with mimir connect CLIENT:")
    rows = [(one.title, "yes" if one.installed else "no", _scope_shown(one), one.store, one.profile) for one in matrix]
    out.print(table(("client", "installed", "state", "store", "tools"), rows))
    out.print("A client starts the server with:\n")
    out.print(f"    {shell_line(command)}\n", soft_wrap=True)
    out.print("In a client's JSON configuration:\n")
    out.print(msgspec.json.format(msgspec.json.encode(configuration), indent=2).decode(), soft_wrap=True)
    return 0 if healthy else 1


def run_checks(settings: Settings, *, named: str) -> Iterator[Check]:
    """Check the parts from the ground up; ``named`` says what names the store, and is empty for the default one."""
    yield _python()
    yield _sqlite()
    yield _trial_store()
    yield from _model(settings)
    yield from _place(settings, named)
    if settings.workspace:
        workspace = resolve_workspace(settings)
        yield Check(name="workspace", status="ok", detail=f"{workspace.hash or 'none'}: {workspace.reason}")
    yield from _store(settings)


def _clients(matrix: Sequence[Connection]) -> Iterator[tuple[Connection, Check | None]]:
    """Start the command that each connected client has, once for all that have the same; yield what it answered too."""
    answers: dict[tuple[object, ...], Answered] = {}
    for one in matrix:
        if one.command and is_ours(one):
            environment = environment_of(one)
            start = (*one.command, *sorted(environment.items()))
            if start not in answers:
                # A server makes the store that it is asked about; a doctor makes none.
                recall = bool(one.store) and os.path.exists(one.store)
                answers[start] = ask(one.command, environment, recall=recall)
            answered = msgspec.structs.replace(one, answer=answers[start])
        else:
            answered = one
        yield msgspec.structs.replace(answered, command=without_secrets(one.command)), _client(answered)


def _client(one: Connection) -> Check | None:
    """Judge what a client starts; None for one that is not connected."""
    name, answer = one.client, one.answer
    if one.state == "unreadable":
        return Check(name=name, status="warn", detail=one.problem, hint=f"Look at {one.file}.")
    if one.is_remote:
        return Check(name=name, status="ok", detail=f"not tried: {one.file} names a server by its address")
    if one.command and answer is None:
        return Check(name=name, status="ok", detail=f"not tried: {one.file} is a project's, with another command")
    # What the entry has now stays: without the store's name it would get another one.
    kept = {name: value for name, value in (("db", one.store), ("tools", one.profile)) if value}
    again = shell_line(["mimir", "connect", one.client, "--scope", one.scope, *as_flags(kept)])
    if one.state == "connected" and answer is None:
        return Check(name=name, status="fail", detail=f"{one.file}: the entry names no command", hint=f"Run: {again}")
    if answer is None:
        return None
    if answer.problem:
        return Check(
            name=name, status="fail", detail=f"{one.file}: {answer.problem}", hint=f"Mend that, or run: {again}"
        )
    recalled = "" if answer.recall_ms is None else f", recalled in {answer.recall_ms:.0f} ms"
    detail = f"started in {answer.handshake_ms:.0f} ms, lists {answer.tools} tools{recalled}"
    return Check(name=name, status="ok", detail=detail)


def _scope_shown(one: Connection) -> str:
    return f"{one.state} here" if one.scope == "project" else one.state


def _python() -> Check:
    version = platform.python_version()
    libraries = ", ".join(f"{name} {_version(name) or 'missing'}" for name in _LIBRARIES)
    detail = f"mimir {__version__} on Python {version} ({sys.executable}); {libraries}"
    if sys.version_info < LEAST_PYTHON:
        return Check(name="python", status="fail", detail=detail, hint="Use Python 3.11 or newer.")
    return Check(name="python", status="ok", detail=detail)


def _sqlite() -> Check:
    version, plain = _version("apsw-sqlite3mc"), _version("apsw")
    detail = f"apsw-sqlite3mc {version}"
    if version is None or plain is not None:
        return Check(
            name="sqlite",
            status="fail",
            detail=f"{detail}, plain apsw {plain}: only the first may be installed",
            hint="Run: pip uninstall -y apsw apsw-sqlite3mc && pip install apsw-sqlite3mc",
        )
    return Check(
        name="sqlite",
        status="ok",
        detail=f"{detail} with SQLite {'.'.join(version.split('.')[:3])}",
    )


def _trial_store() -> Check:
    """Remember and recall in a new store, so that a fault of the program shows apart from one of the user's file."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="mimir-doctor-") as folder,
            Memory.open(os.path.join(folder, "trial.db"), embedding="off") as memory,
        ):
            memory.remember(_CATEGORY, "trial", _TRIAL)
            found = memory.recall("a trial", mode="fts5").items
    except MimirError as error:
        return _failed("trial store", error)
    if [hit.key for hit in found] != ["trial"]:
        return Check(
            name="trial store",
            status="fail",
            detail="a memory in a new store was not found again",
            hint="Install again: pip install --force-reinstall mimir-local",
        )
    return Check(name="trial store", status="ok", detail="a memory in a new store was found again")


def _model(settings: Settings) -> Iterator[Check]:
    if settings.embedding == "off":
        yield Check(
            name="model",
            status="warn",
            detail="embedding is switched off: recall goes by words only",
            hint=f"Leave out --embedding off, and {option('embedding').environment}.",
        )
        return
    try:
        embedder, reason = open_embedder(settings)
        if embedder is None:
            yield Check(name="model", status="warn", detail=reason, hint="Recall by words works.")
            return
        bundled = type(embedder) is BundledEmbedder
        if bundled:
            verify_model()
            yield Check(name="model files", status="ok", detail="every file has its sha256")
        started = time.perf_counter()
        one, other, foreign = embedder.embed([*_ALIKE, _FOREIGN])
    except MimirError as error:
        yield _failed("model", error)
        return
    took = (time.perf_counter() - started) * 1000
    alike, apart = float(one @ other), max(float(one @ foreign), float(other @ foreign))
    sane = alike - apart >= _LEAST_MARGIN and abs(float(one @ one) - 1) < 1e-3  # noqa: PLR2004 - a unit vector
    yield Check(
        name="model",
        status="ok" if sane else "fail" if bundled else "warn",
        detail=(
            f"{embedder.model_id} answered in {took:.0f} ms;"
            f" two sentences of one meaning {alike:.2f}, of another {apart:.2f}"
        ),
        hint=(
            ""
            if sane
            else "Install again: pip install --force-reinstall mimir-local onnxruntime"
            if bundled
            else "This model hardly tells meanings apart: compare it with the bundled one."
        ),
    )


def _place(settings: Settings, named: str) -> Iterator[Check]:
    if named:
        yield Check(name="place", status="ok", detail=f"{settings.db}: {named}")
        return
    chosen: DefaultStore = default_store()
    yield Check(name="place", status="ok", detail=f"{settings.db}: {chosen.reason}")
    if chosen.others:
        yield Check(
            name="other stores",
            status="warn",
            detail=f"also there, and not used: {', '.join(chosen.others)}",
            hint=f"Name the one you mean with --db or {option('db').environment}.",
        )


def _store(settings: Settings) -> Iterator[Check]:
    if not os.path.exists(settings.db) or os.path.getsize(settings.db) == 0:
        yield _place_to_make(settings.db)
        return
    try:
        # Without the model: a doctor computes no vectors.
        with Memory.open(**{**settings._asdict(), "embedding": "off"}) as memory:
            count = memory.stats()
            yield Check(
                name="store",
                status="ok",
                detail=(
                    f"{count.active_entities} active of {count.total_entities} memories,"
                    f" {size(count.db_file_size_bytes)}"
                ),
            )
            yield from _sealing(memory)
            found = memory.store.check_integrity()
            yield Check(
                name="integrity",
                status="ok" if found == "ok" else "fail",
                detail=found,
                hint="" if found == "ok" else "Restore a backup; keep the damaged file for rescue.",
            )
            yield _write_and_read(memory)
            yield _pending(memory)
            yield _last_write(memory)
    except MimirError as error:
        yield _failed("store", error)


def _sealing(memory: Memory) -> Iterator[Check]:
    """Say what is encrypted, and plainly what is not."""
    scope = memory.store.sealed_scope()
    if scope == "body":
        yield Check(
            name="encryption",
            status="warn",
            detail=(
                "only memory bodies are encrypted; whoever has the file reads keys, categories, tags, topics, links,"
                " workspaces and times, every word of the bodies in the text index, what vectors give away, and the"
                " whole journal and state"
            ),
            hint="Encrypt the whole file with: mimir seal --encryption-scope full",
        )
    elif scope:
        yield Check(
            name="encryption",
            status="ok",
            detail="the whole file is encrypted with its log and its text index, and memory bodies once more inside",
        )
    else:
        yield Check(
            name="encryption",
            status="ok",
            detail="off: whoever has the file reads everything; mimir keygen and mimir seal switch it on",
        )
    readable = readable_copies(memory.store.path) if scope == "full" else []
    if readable:
        yield Check(
            name="copies",
            status="warn",
            detail=f"not encrypted, beside the store: {', '.join(readable)}",
            hint="Remove what you do not need.",
        )


def _place_to_make(path: str) -> Check:
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    if os.path.isdir(folder) and os.access(folder, os.W_OK):
        return Check(name="store", status="ok", detail="none yet; the first use makes it")
    return Check(
        name="store",
        status="fail",
        detail=f"none yet, and {folder} is no folder that can be written to",
        hint="Choose another place with --db, or give yourself write permission.",
    )


def _write_and_read(memory: Memory) -> Check:
    """Write a memory into the store, find it, and take it back before anybody else can see it."""
    if memory.settings.read_only:
        return Check(name="write and read", status="warn", detail="not tried: read-only")
    key = f"trial-{os.getpid()}-{time.time_ns()}"
    found: list[str] = []
    try:
        with memory.store.writing():
            memory.remember(_CATEGORY, key, _TRIAL)
            hits = memory.recall(key, category=_CATEGORY, mode="fts5", reinforce=False).items
            found += [hit.key for hit in hits]
            raise Undone
    except Undone:
        pass
    except MimirError as error:
        return _failed("write and read", error)
    if key in found:
        return Check(name="write and read", status="ok", detail="a trial memory was found and taken back")
    return Check(
        name="write and read",
        status="fail",
        detail="a trial memory was written but not found",
        hint="Run: mimir reindex",
    )


def _pending(memory: Memory) -> Check:
    count = memory.store.count_pending()
    if not count:
        return Check(name="vectors", status="ok", detail="no memory waits for a vector")
    return Check(
        name="vectors",
        status="ok",
        detail=f"{count} passages wait for a vector; the next server or recall computes them",
    )


def _last_write(memory: Memory) -> Check:
    newest = memory.store.last_write_ms()
    if newest is None:
        return Check(name="last write", status="ok", detail="the store is empty")
    seconds = time.time() - newest / 1000
    if seconds <= QUIET_DAYS * _DAY_S:
        return Check(name="last write", status="ok", detail=distance(seconds))
    return Check(
        name="last write",
        status="warn",
        detail=distance(seconds),
        hint="If an agent should be writing here, check that its client starts this store.",
    )


def _failed(name: str, error: MimirError) -> Check:
    return Check(name=name, status="fail", detail=error.message, hint=as_commands(error.hint))


def _named_by(flags: dict[str, Any]) -> str:
    if flags.get("db"):
        return "named by --db"
    return f"named by {option('db').environment}" if is_store_named(flags.get("db")) else ""


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _show(out: Console, check: Check) -> None:
    from rich.text import Text

    word, style = _SHOWN[check.status]
    line = Text.assemble((f"{word:<5}", style), (f"{check.name:<15}", "bold"), check.detail)
    if check.hint:
        line.append(f"\n{'':20}{check.hint}", style="yellow")
    out.print(line, soft_wrap=True)

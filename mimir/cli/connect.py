"""`mimir connect`: put the server into a client's configuration, and take it out again."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import click
import msgspec

from mimir.cli.clients import (
    CLIENTS,
    DEFAULT_PROFILE,
    GENERIC,
    NOTE,
    SCOPES,
    SERVER,
    Client,
    Scope,
    Target,
    client_named,
    configuration_file,
    entry_change,
    hook_changes,
    is_installed,
    located,
    program,
)
from mimir.cli.commands import Argument, Command, as_flags, json_option, setting_options
from mimir.cli.merging import find, put, restored
from mimir.cli.merging.document import Change
from mimir.cli.output import print_json, tell
from mimir.config import FILES, Settings, expand, load_settings, secrets_among
from mimir.errors import Conflict, InvalidInput, MimirError, NotFound, StorageFailure
from mimir.server.dispatch import Dispatcher

BACKUP_SUFFIX: Final = ".before-mimir"
_SHOWN_SETTINGS: Final = ("setting_encryption_key", "setting_tools")


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one file: its text before and after, None where there is no file.

    The backup is made with ``keep`` and removed with ``drop``; a new file that is ``private`` is for its owner alone.
    """

    path: str
    before: str | None
    after: str | None
    backup: str = ""
    keep: bool = False
    drop: bool = False
    private: bool = False

    @property
    def action(self) -> Literal["unchanged", "created", "changed", "deleted"]:
        """Return what becomes of the file in a word."""
        if self.before == self.after:
            return "unchanged"
        if self.before is None:
            return "created"
        return "deleted" if self.after is None else "changed"


def connect_command() -> Command:
    """Return the command that connects clients."""
    settings = setting_options()
    for option in settings:
        option.hidden = option.hidden and option.name not in _SHOWN_SETTINGS
    return Command(
        "connect",
        _connect,
        help=(
            "Put this server into the configuration of an MCP client, by its absolute path and with every setting"
            " given here; nothing else in the file is touched, and a copy of it is kept beside it. A second time"
            " changes nothing. --tools core is written unless another list is asked for."
        ),
        arguments=[Argument("client", f"{', '.join(client.name for client in CLIENTS)}, or {GENERIC}.", optional=True)],
        options=[
            click.Option(["--all-detected"], is_flag=True, help="Every client that is installed here."),
            click.Option(
                ["--scope"],
                type=click.Choice(SCOPES),
                default="user",
                show_default=True,
                help="For you everywhere, or for whoever works in this folder.",
            ),
            click.Option(["--rules"], is_flag=True, help="Also put a short note on use into the client's rules file."),
            click.Option(
                ["--hooks"],
                is_flag=True,
                help="Also put memories into each new session and tidy after it, in clients that have hooks.",
            ),
            click.Option(["--remove"], is_flag=True, help="Take out all that this command has put in."),
            click.Option(["--dry-run"], is_flag=True, help="Change nothing; print what would change."),
            json_option(),
            *settings,
        ],
        example="mimir connect claude-code --hooks",
    )


def _connect(flags: dict[str, Any], values: dict[str, Any]) -> int:
    flags = {"tools": DEFAULT_PROFILE, **flags}
    settings = load_settings(**flags)
    if settings.encryption_key:
        # The client that starts the server may not have the variable that names it here.
        flags["encryption_key"] = settings.encryption_key
    # It refuses a list of tools that no server would start with.
    Dispatcher(settings)
    if values["client"] == GENERIC:
        _refuse_without_file(values)
        command, *arguments = _server(flags, settings)
        print_json({"mcpServers": {SERVER: {"command": command, "args": arguments}}})
        return 0
    clients = _chosen(values)
    scope: Scope = values["scope"]
    if scope == "project" and (secrets := secrets_among(flags)):
        raise InvalidInput(
            f"The file of a project is shared, and {', '.join(secrets)} would stand in it.",
            hint="Let each who works there set the variable of the environment instead.",
        )
    reports: list[dict[str, str]] = []
    failures: list[MimirError] = []
    for target in _targets(clients, scope, flags, values):
        try:
            edit = planned_removal(target) if values["remove"] else planned(target)
            if not values["dry_run"]:
                carry_out(edit)
        except MimirError as error:
            failures.append(error)
            reports.append({"file": target.path, "action": "failed", "error": error.message, "hint": error.hint})
            continue
        reports.append({"file": edit.path, "action": edit.action, "backup": edit.backup if edit.keep else ""})
        if not values["as_json"]:
            sys.stdout.write("".join(_diff(edit)) if values["dry_run"] else _line(edit))
    if values["as_json"]:
        print_json({"ok": not failures, "dry_run": values["dry_run"], "files": reports})
    else:
        for failure in failures:
            tell(failure.message, failure.hint)
        if not values["remove"] and not values["dry_run"] and not failures:
            sys.stdout.writelines(f"{client.title}: {client.after}\n" for client in clients)
        if not values["remove"]:
            sys.stderr.writelines(_left_out(clients, scope, values))
    return failures[0].exit_status if failures else 0


def _refuse_without_file(values: Mapping[str, Any]) -> None:
    given = [name for name in ("all_detected", "remove", "rules", "hooks") if values[name]]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InvalidInput(
            f"{GENERIC} only prints an entry, so that {flags} cannot be had.",
            hint="Name a client, or put the printed entry where yours wants it.",
        )


def _left_out(clients: Sequence[Client], scope: Scope, values: Mapping[str, Any]) -> Iterator[str]:
    unruled = [client.title for client in clients if values["rules"] and scope not in client.rules]
    hookless = [client for client in clients if values["hooks"] and not client.hooks]
    unhooked = [client.title for client in hookless if not client.hooks_of]
    if unruled:
        yield f"mimir: No note on use, since no rules file of a {scope} is known: {', '.join(unruled)}.\n"
    if unhooked:
        yield f"mimir: No hooks, since none of theirs is known to give text to a new session: {', '.join(unhooked)}.\n"
    for client in hookless:
        if client.hooks_of and (other := client_named(client.hooks_of)) not in clients:
            yield f"mimir: {client.title} runs the hooks of {other.title}: mimir connect {other.name} --hooks\n"


def _chosen(values: Mapping[str, Any]) -> list[Client]:
    scope: Scope = values["scope"]
    if values["all_detected"] == bool(values["client"]):
        raise InvalidInput("Name a client or --all-detected.", hint=f"Clients: {', '.join(c.name for c in CLIENTS)}.")
    if not values["all_detected"]:
        client = client_named(values["client"])
        if not configuration_file(client, scope):
            raise InvalidInput(f"{client.title} has no configuration of a {scope}.", hint="Leave out --scope.")
        return [client]
    found = [client for client in CLIENTS if is_installed(client) and configuration_file(client, scope)]
    if not found:
        raise NotFound("No client was found on this machine.", hint="Name one: mimir connect CLIENT.")
    return found


def _server(flags: Mapping[str, Any], settings: Settings) -> list[str]:
    return [*program(), "serve", *_settings_words(flags, settings)]


def _settings_words(flags: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return the settings as words; files by absolute paths, since clients start programs in folders of their own."""
    files = {name: os.path.abspath(getattr(settings, name)) for name in ("db", *FILES) if getattr(settings, name)}
    given = {"db": settings.db, **flags}
    return as_flags({name: files.get(name, value) for name, value in given.items()})


def _targets(
    clients: Sequence[Client], scope: Scope, flags: Mapping[str, Any], values: Mapping[str, Any]
) -> list[Target]:
    """Return the files of the clients, each once, with all that belongs into it."""
    settings = load_settings(**flags)
    words = _settings_words({name: value for name, value in flags.items() if name != "tools"}, settings)
    note = Change(path=("note",), value=NOTE)
    files: dict[str, Target] = {}
    # Clients keep credentials in some of these files later on.
    is_private = scope == "user"

    def add(target: Target) -> None:
        there = files.get(target.path)
        more = [change for change in target.changes if there is None or change not in there.changes]
        files[target.path] = msgspec.structs.replace(target, changes=(*(there.changes if there else ()), *more))

    for client in clients:
        path = configuration_file(client, scope)
        changes: tuple[Change, ...] = (entry_change(client, _server(flags, settings)),)
        add(Target(path=path, format=client.format, changes=changes, private=is_private))
        hooks = client.hooks
        if hooks and (values["hooks"] or values["remove"]):
            changes = hook_changes(hooks, program(), words)
            path = located(hooks.files[scope])
            add(Target(path=path, format=hooks.format, changes=changes, start=hooks.start, private=is_private))
        if scope in client.rules and (values["rules"] or values["remove"]):
            path = located(client.rules[scope])
            if not (values["remove"] and _is_needed(path, scope, clients)):
                add(Target(path=path, format="markdown", changes=(note,)))
    return list(files.values())


def _is_needed(rules: str, scope: Scope, leaving: Sequence[Client]) -> bool:
    """Tell whether a client that stays connected reads a rules file too."""
    return any(
        _is_connected(client, scope)
        for client in CLIENTS
        if client not in leaving and scope in client.rules and located(client.rules[scope]) == rules
    )


def _is_connected(client: Client, scope: Scope) -> bool:
    try:
        text = read_text(configuration_file(client, scope)) or ""
        return find(client.format, text, entry_change(client, [""])) is not None
    except MimirError:
        return False


def planned(target: Target) -> Edit:
    """Return the edit that puts the entries into a file.

    Raises:
        InvalidInput: the file cannot be read as what it should be.
        StorageFailure: it cannot be read at all.
    """
    path, before = _located_text(target.path)
    backup = path + BACKUP_SUFFIX
    try:
        after = before or target.start
        for change in target.changes:
            after = put(target.format, after, change)
        is_first = all(find(target.format, before or "", change) is None for change in target.changes)
        is_ours = restored(target.format, before or "", target.changes, None, target.start) is None
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error.message}", hint=error.hint) from None
    keep = before is not None and after != before and (is_first or not (is_ours or os.path.exists(backup)))
    return Edit(path=path, before=before, after=after, backup=backup, keep=keep, private=target.private)


def planned_removal(target: Target) -> Edit:
    """Return the edit that takes the entries out of a file; a file that holds nothing else is deleted.

    Raises:
        InvalidInput: the file cannot be read as what it should be.
        StorageFailure: it cannot be read at all.
    """
    path, before = _located_text(target.path)
    backup = path + BACKUP_SUFFIX
    _, original = _located_text(backup)
    if before is None:
        return Edit(path=path, before=None, after=None)
    try:
        after = restored(target.format, before, target.changes, original, target.start)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error.message}", hint=error.hint) from None
    is_original = original is not None and after == original and after != before
    return Edit(path=path, before=before, after=after, backup=backup, drop=is_original)


def carry_out(edit: Edit) -> None:
    """Write what an edit has planned, whole or not at all.

    Raises:
        Conflict: the file has been changed since it was read.
        StorageFailure: the file or the backup cannot be written.
    """
    if edit.action == "unchanged":
        return
    try:
        if read_text(edit.path) != edit.before:
            raise Conflict(f"{edit.path} was changed meanwhile.", hint="Do it again.")
        if edit.keep and edit.before is not None:
            _write(edit.backup, edit.before, like=edit.path)
        if edit.after is None:
            os.unlink(edit.path)
            _remove_empty_folders(os.path.dirname(edit.path))
        else:
            os.makedirs(os.path.dirname(edit.path), exist_ok=True)
            _write(edit.path, edit.after, like=edit.path, private=edit.private)
        if edit.drop:
            os.unlink(edit.backup)
    except OSError as error:
        raise StorageFailure(
            f"{error.filename or edit.path} cannot be written: {error.strerror}.",
            hint="Close the client if it holds the file, and look at who may write it.",
        ) from error


def read_text(path: str) -> str | None:
    """Return the text of a file as it is, byte for byte, None when there is none.

    Raises:
        InvalidInput: it is not UTF-8.
        StorageFailure: it cannot be read.
    """
    return _located_text(path)[1]


def _located_text(path: str) -> tuple[str, str | None]:
    """Return where a file really lies and its text, None when there is none."""
    path = os.path.realpath(path)
    try:
        with open(path, "rb") as file:
            return path, file.read().decode()
    except FileNotFoundError:
        return path, None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: It is not UTF-8.", hint="Convert it first; nothing was changed.") from None
    except OSError as error:
        raise StorageFailure(
            f"{path} cannot be read: {error.strerror}.", hint="It has to be a file that you may read."
        ) from error


def _write(path: str, text: str, *, like: str, private: bool = False) -> None:
    """Replace a file at one instant; it gets the mode of another where that exists."""
    draft = f"{path}.{os.getpid()}.draft"
    try:
        with open(draft, "xb") as file:
            if os.path.exists(like):
                os.chmod(draft, os.stat(like).st_mode & 0o7777)
            elif private:
                os.chmod(draft, 0o600)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        if os.path.exists(draft):
            os.unlink(draft)
        raise


def _remove_empty_folders(folder: str) -> None:
    """Remove a folder and those around it while they are empty: one of a client would mean that it is installed."""
    kept = {os.path.realpath(place) for place in (expand("~"), os.getcwd())}
    while folder not in kept:
        try:
            os.rmdir(folder)
        except OSError:
            return
        folder = os.path.dirname(folder)


def _line(edit: Edit) -> str:
    kept = f" (before: {edit.backup})" if edit.keep and edit.action != "unchanged" else ""
    return f"{edit.action} {edit.path}{kept}\n"


def _diff(edit: Edit) -> Iterator[str]:
    if edit.action == "unchanged":
        yield f"unchanged {edit.path}\n"
        return
    before, after = ((text or "").splitlines(keepends=True) for text in (edit.before, edit.after))
    old, new = (os.devnull if text is None else edit.path for text in (edit.before, edit.after))
    for line in difflib.unified_diff(before, after, old, new):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"

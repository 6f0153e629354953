"""`mimir backup` and `mimir restore`: copies of a store that are checked before they count."""

from __future__ import annotations

import os
from typing import Any

import click

from mimir.cli.commands import (
    Argument,
    Command,
    json_option,
    open_engine,
    refuse_writes,
    require_store,
    setting_options,
    waiting,
)
from mimir.cli.output import print_json
from mimir.config import expand, load_settings
from mimir.crypto import load_keys
from mimir.errors import Conflict, InvalidInput
from mimir.store import LOGS, restore


def backup_command() -> Command:
    """Return the command that copies a store."""
    return Command(
        "backup",
        _backup,
        help=(
            "Copy the store, as it is at one instant, into a new file; servers may go on meanwhile. The copy is opened"
            " and compared with the store before it has its name, and sealed with the same key if the store is."
        ),
        arguments=[Argument("destination", "The file to write.")],
        options=[
            click.Option(["--force"], is_flag=True, help="Replace a file that is there."),
            json_option(),
            *setting_options(concerned=("encryption_key",)),
        ],
        example="mimir backup memory-backup.db --db memory.db",
    )


def restore_command() -> Command:
    """Return the command that puts a backup in the place of a store."""
    return Command(
        "restore",
        _restore,
        help=(
            "Put a copy of a backup in the place of the store; no other process may have that open. The copy is"
            " checked before anything is replaced, and the former store is kept beside it. A sealed backup needs the"
            " key it was made with."
        ),
        arguments=[Argument("source", "The backup.")],
        options=[
            click.Option(["--force"], is_flag=True, help="Replace a store that is there; it is kept beside it."),
            json_option(),
            *setting_options(concerned=("encryption_key",)),
        ],
        example="mimir restore memory-backup.db --db memory.db",
    )


def _backup(flags: dict[str, Any], values: dict[str, Any]) -> int:
    settings = load_settings(**flags)
    destination = expand(values["destination"])
    require_store(settings.db)
    if os.path.isdir(destination):
        raise InvalidInput(f"{destination} is a folder.", hint="Name a file in it.")
    if os.path.lexists(destination) and not os.path.isfile(destination):
        raise InvalidInput(f"{destination} is a device, a pipe or a broken link.", hint="Name a file.")
    own = {os.path.realpath(settings.db + ending) for ending in ("", *LOGS, "-shm")}
    if os.path.realpath(destination) in own or _is_same(destination, settings.db):
        raise InvalidInput(f"{destination} is the store itself.", hint="Name another file.")
    for name in (destination, *(destination + ending for ending in LOGS)):
        if os.path.exists(name) and not values["force"]:
            raise Conflict(f"{name} exists.", hint="Name another file, or replace it with --force.")
    # Without the model: nothing is embedded here.
    with open_engine({**flags, "embedding": "off"}) as engine, waiting("Copying the store"):
        engine.store.back_up(destination)
        scope = engine.store.sealed_scope()
    report = {"db_path": settings.db, "backup_path": destination, "bytes": os.path.getsize(destination), "scope": scope}
    if values["as_json"]:
        print_json(report)
    else:
        sealed = {"full": ", sealed with the key of the store", "body": ", its bodies sealed"}.get(scope, ", readable")
        click.echo(f"{settings.db} was copied to {destination}{sealed}.")
    return 0


def _restore(flags: dict[str, Any], values: dict[str, Any]) -> int:
    settings = load_settings(**flags)
    refuse_writes(settings, "restore")
    source = expand(values["source"])
    there = os.path.exists(settings.db) and os.path.getsize(settings.db) > 0
    if there and _is_same(source, settings.db):
        raise InvalidInput(f"{source} is the store itself.", hint="Name a backup of it.")
    if there and not values["force"]:
        raise Conflict(
            f"There is a store at {settings.db}.",
            hint="Restore elsewhere with --db, or replace it with --force; it is kept beside it.",
        )
    with waiting("Restoring the store"):
        kept = restore(source, settings.db, load_keys(settings.encryption_key))
    if values["as_json"]:
        print_json({"db_path": settings.db, "restored_from": source, "former_store": kept})
        return 0
    click.echo(f"{settings.db} was restored from {source}.")
    if kept:
        click.echo(f"What was there before is kept in {kept}.")
    return 0


def _is_same(path: str, other: str) -> bool:
    return os.path.exists(path) and os.path.samefile(path, other)

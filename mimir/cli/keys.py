"""`mimir keygen`, `seal`, `unseal` and `rekey`: the life of a store's key."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Final

import click

from mimir.cli.commands import Argument, Command, json_option, refuse_writes, require_store, setting_options, waiting
from mimir.cli.output import print_json
from mimir.config import Settings, expand, load_settings, option
from mimir.crypto import PLAIN_HEAD, Keys, load_keys, write_key_file
from mimir.engine import Engine
from mimir.errors import Conflict, InvalidInput, Locked
from mimir.journaling import append_event
from mimir.store import change_keys, open_store

DEFAULT_KEY_FILE: Final = "~/.mimir/secret.key"
"""Where keygen writes when no file is named, as the Rust Mimir does."""

_FULL: Final = "full"


def keygen_command() -> Command:
    """Return the command that makes a key file."""
    return Command(
        "keygen",
        _keygen,
        help=(
            "Make a key file: 32 random bytes in base64 that only you may read. Keep a copy of it elsewhere, since"
            " without it nothing that it sealed can ever be read."
        ),
        options=[
            click.Option(
                ["--key-file"],
                metavar="FILE",
                default=DEFAULT_KEY_FILE,
                show_default=True,
                help="Where it is written.",
            ),
            click.Option(["--force"], is_flag=True, help="If there is one already, keep it under another name."),
            *setting_options(),
        ],
        example="mimir keygen --key-file ~/.mimir/secret.key",
    )


def seal_command() -> Command:
    """Return the command that seals a store."""
    return Command(
        "seal",
        _seal,
        help=(
            "Encrypt a store that is not, with the key of --encryption-key: the whole file, or only memory bodies with"
            " --encryption-scope body. No other process may have it open. A new file is written and checked before it"
            " takes the place of the former one, which is overwritten; what flash storage keeps of that nobody can"
            " promise."
        ),
        options=[json_option(), *setting_options(concerned=("encryption_key", "encryption_scope"))],
        example="mimir seal --encryption-key ~/.mimir/secret.key --db memory.db",
    )


def unseal_command() -> Command:
    """Return the command that makes a sealed store a plain one."""
    return Command(
        "unseal",
        _unseal,
        help="Decrypt a sealed store: from then on whoever can read the file reads everything.",
        options=[json_option(), *setting_options(concerned=("encryption_key",))],
        example="mimir unseal --encryption-key ~/.mimir/secret.key --db memory.db",
    )


def rekey_command() -> Command:
    """Return the command that gives a store another key."""
    return Command(
        "rekey",
        _rekey,
        help=(
            "Encrypt a sealed store anew with the key in NEW_KEY_FILE; --encryption-key names the present one. Backups"
            " keep the key they were made with."
        ),
        arguments=[Argument("new_key_file", "The key file from now on.")],
        options=[json_option(), *setting_options(concerned=("encryption_key",))],
        example="mimir rekey ~/.mimir/new.key --encryption-key ~/.mimir/secret.key --db memory.db",
    )


def _keygen(_settings: dict[str, Any], values: dict[str, Any]) -> int:
    path = expand(values["key_file"])
    kept = write_key_file(path, force=values["force"])
    click.echo(f"Key written to {path}")
    click.echo(f"Use it with --encryption-key {path} or {option('encryption_key').environment}={path}")
    if kept:
        click.echo(f"The former key is kept in {kept}")
    return 0


def _seal(flags: dict[str, Any], values: dict[str, Any]) -> int:
    settings = _existing(flags, "seal")
    keys = _keys_of(settings)
    scope = settings.encryption_scope or _FULL
    try:
        present = _scope_of(settings, keyed=False)
        old = None
    except Locked:
        present, old = _scope_of(settings, keyed=True), keys
    if present == scope:
        raise Conflict(
            f"The store {settings.db} is sealed with this key already.", hint="To change the key: mimir rekey"
        )
    return _change(settings, values, "sealed", old, keys, settings.encryption_key, scope)


def _unseal(flags: dict[str, Any], values: dict[str, Any]) -> int:
    settings = _existing(flags, "unseal")
    keys = _keys_of(settings)
    _scope_of(settings, keyed=True)
    return _change(settings, values, "unsealed", keys, None, "", "")


def _rekey(flags: dict[str, Any], values: dict[str, Any]) -> int:
    settings = _existing(flags, "rekey")
    keys = _keys_of(settings)
    new_path = expand(values["new_key_file"])
    new = load_keys(new_path)
    if new is None:
        raise InvalidInput("The name of the new key file is empty.", hint="Make one with: mimir keygen")
    scope = _scope_of(settings, keyed=True)
    if new.check == keys.check:
        raise Conflict(f"{new_path} holds the key that the store has.", hint="Make another with: mimir keygen")
    return _change(settings, values, "rekeyed", keys, new, new_path, scope)


def _change(
    settings: Settings,
    values: dict[str, Any],
    done: str,
    old: Keys | None,
    new: Keys | None,
    new_path: str,
    scope: str,
) -> int:
    """Write the store anew, note that in its journal, and say what is left to do."""

    def note(path: str) -> None:
        changed: dict[str, Any] = {
            **settings._asdict(),
            "db": path,
            "encryption_key": new_path,
            "encryption_scope": "",
            # Without the model: nothing is embedded here.
            "embedding": "off",
        }
        with Engine.open(**changed) as engine, engine.writing() as now:
            append_event(engine, now, done, evaluated={"scope": scope, "former_hash": engine.store.journal_end()[2]})

    with waiting(f"{settings.db} is being {done}"):
        unreadable = change_keys(settings.db, old, new, scope, note)
    readable = readable_copies(settings.db) if new is not None else []
    if values["as_json"]:
        print_json(
            {
                "action": done,
                "db_path": settings.db,
                "scope": scope,
                "unreadable_bodies": unreadable,
                "readable_copies": readable,
            }
        )
        return 0
    click.echo(f"{settings.db} is {done}" + (f" (scope {scope})." if scope else "."))
    if unreadable:
        click.echo(f"{unreadable} bodies had been changed outside Mimir and could not be read.", err=True)
    for copy in readable:
        click.echo(f"Still readable beside it: {copy}", err=True)
    return 0


def _existing(flags: dict[str, Any], word: str) -> Settings:
    settings = load_settings(**flags)
    refuse_writes(settings, word)
    require_store(settings.db)
    return settings


def _keys_of(settings: Settings) -> Keys:
    keys = load_keys(settings.encryption_key)
    if keys is None:
        raise InvalidInput(
            "No key was given.", hint="Name a key file with --encryption-key; make one with: mimir keygen"
        )
    return keys


def _scope_of(settings: Settings, *, keyed: bool) -> str:
    """Open the store, which brings it to today's format, and return what of it is sealed."""
    key = settings.encryption_key if keyed else ""
    store = open_store(settings._replace(encryption_key=key, encryption_scope=""))
    try:
        return store.sealed_scope()
    finally:
        store.close()


def readable_copies(db: str) -> list[str]:
    """Return the files beside a store that are named as its copies and can be read by anyone who has them."""
    folder, name = os.path.split(os.path.abspath(db))
    beside = (os.path.join(folder, one) for one in sorted(os.listdir(folder)) if one.startswith(name + "."))
    return [path for path in beside if os.path.isfile(path) and _begins_plain(path)]


def _begins_plain(path: str) -> bool:
    # What this process may not read is none of its copies.
    with suppress(OSError), open(path, "rb") as file:
        return file.read(len(PLAIN_HEAD)) == PLAIN_HEAD
    return False

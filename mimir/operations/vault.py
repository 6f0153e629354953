"""Vault: memories as notes in a folder, and back."""

from __future__ import annotations

import os
from typing import Annotated, Final

from msgspec import UNSET, Struct, UnsetType

from mimir.config import expand
from mimir.documents import valid_text
from mimir.engine import Engine
from mimir.errors import InvalidInput
from mimir.operation import Doc, check_texts, operation
from mimir.operations.search import InWorkspace
from mimir.rules.note import Layout
from mimir.vault.exporting import export_notes
from mimir.vault.importing import import_notes
from mimir.vault.ledger import Ledger

FAMILY: Final = "Vault & Workspaces"

_NAMED_WARNINGS: Final = 20

VaultFolder = Annotated[str, Doc("Folder of the notes.", positional=True)]


class VaultExported(Struct, frozen=True, kw_only=True):
    """How many notes were written; `exported` counts both kinds, notes that were up to date are in neither.

    `files_removed` went to the vault's .trash, since their memories are archived. `files_edited` were changed in the
    vault and wait for an import; of `conflicts` the memory changed as well: both are left as they are.
    """

    files_created: int
    files_updated: int
    exported: int
    files_removed: int
    files_edited: int
    conflicts: int
    errors: tuple[str, ...]
    vault_dir: str
    completed_at_unix_ms: int


class VaultImported(Struct, frozen=True, kw_only=True):
    """How many notes became new memories and how many changed one; those that say what is known are in neither.

    `conflicts` counts notes whose memory had changed too: the note is what holds, the other text is in history.
    `links_unresolved` counts links within texts to notes that do not exist. `warnings` name the first notes that seem
    to hold a secret.
    """

    files_created: int
    files_updated: int
    conflicts: int
    links_unresolved: int
    errors: tuple[str, ...]
    vault_dir: str
    completed_at_unix_ms: int
    warnings: tuple[str, ...] | UnsetType = UNSET


@operation(
    family=FAMILY,
    effect="write",
    title="Export Vault to Files",
    idempotent=True,
    long=True,
    example={"vault_dir": "~/.mimir/vault"},
)
def vault_export(
    engine: Engine,
    vault_dir: VaultFolder = "~/.mimir/vault",
    workspace_hash: InWorkspace = None,
    format: Annotated[Layout, Doc("Layout of the notes.")] = "obsidian",
    plaintext: Annotated[bool, Doc("Needed for an encrypted store.")] = False,
) -> VaultExported:
    """Write live memories as Markdown notes, for Obsidian; only what changed is written.

    Notes of archived memories move to .trash, edited ones wait for mimir_vault_import.

    Raises:
        InvalidInput: the folder cannot be made, or the store is encrypted and ``plaintext`` is not said.
    """
    folder = vault_folder(vault_dir)
    check_texts(workspace_hash=workspace_hash)
    require_plaintext(engine, allowed=plaintext)
    written = export_notes(engine, folder, Ledger(engine, folder), workspace_hash, format)
    return VaultExported(
        files_created=written.created,
        files_updated=written.updated,
        exported=written.created + written.updated,
        files_removed=written.removed,
        files_edited=written.edited,
        conflicts=written.conflicts,
        errors=tuple(map(valid_text, written.errors)),
        vault_dir=folder,
        completed_at_unix_ms=engine.clock.now_ms(),
    )


@operation(
    family=FAMILY,
    effect="write",
    title="Import Vault from Files",
    idempotent=True,
    long=True,
    example={"vault_dir": "~/.mimir/vault"},
)
def vault_import(
    engine: Engine,
    vault_dir: VaultFolder = "~/.mimir/vault",
    workspace_hash: Annotated[str | None, Doc("Only notes of this workspace.")] = None,
) -> VaultImported:
    """Read a folder's Markdown notes into memory; edits leave the former text in history.

    Deleting a note forgets nothing; the note of a forgotten memory brings it back.

    Raises:
        InvalidInput: there is no such folder.
    """
    folder = vault_folder(vault_dir)
    check_texts(workspace_hash=workspace_hash)
    taken = import_notes(engine, folder, Ledger(engine, folder), workspace_hash)
    return VaultImported(
        files_created=len(taken.created),
        files_updated=len(taken.updated - taken.created),
        conflicts=taken.conflicts,
        links_unresolved=taken.unresolved,
        errors=tuple(map(valid_text, taken.errors)),
        vault_dir=folder,
        completed_at_unix_ms=engine.clock.now_ms(),
        warnings=tuple(map(valid_text, taken.warnings[:_NAMED_WARNINGS])) or UNSET,
    )


def vault_folder(vault_dir: str) -> str:
    """Return the absolute path of a vault.

    Raises:
        InvalidInput: it names no folder.
    """
    check_texts(vault_dir=vault_dir)
    if not vault_dir or "\0" in vault_dir:
        raise InvalidInput("'vault_dir' names no folder.", hint="Leave it out for ~/.mimir/vault.")
    return os.path.abspath(expand(vault_dir))


def require_plaintext(engine: Engine, *, allowed: bool) -> None:
    """Keep the words of an encrypted store from being written where anybody can read them, unless that is wanted.

    Raises:
        InvalidInput: the store is encrypted, and it is not.
    """
    if engine.store.sealed_scope() and not allowed:
        raise InvalidInput(
            "This store is encrypted, and notes are not: whoever reads the folder could read every memory.",
            hint="If that is wanted, say plaintext: true (on the command line --plaintext), on an encrypted disk.",
        )

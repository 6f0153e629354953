"""Keeping a vault and a store in step, round by round."""

from __future__ import annotations

import os

from msgspec import Struct

from mimir.documents import valid_text
from mimir.engine import Engine
from mimir.model import Filter
from mimir.rules.note import Layout
from mimir.vault.exporting import export_notes
from mimir.vault.importing import import_notes
from mimir.vault.ledger import Ledger
from mimir.vault.linking import Taken
from mimir.vault.listing import are_complete, write_listings


class Synced(Struct, frozen=True, kw_only=True):
    """What one round has done to notes and to memories; see `VaultExported` and `VaultImported` for the words."""

    files_created: int
    files_updated: int
    exported: int
    files_removed: int
    files_edited: int
    memories_created: int
    memories_updated: int
    memories_archived: int
    conflicts: int
    errors: tuple[str, ...]
    vault_dir: str
    completed_at_unix_ms: int

    @property
    def is_empty(self) -> bool:
        """Tell whether there was nothing to do and nothing to say."""
        return not (
            self.exported
            or self.files_removed
            or self.memories_created
            or self.memories_updated
            or self.memories_archived
            or self.errors
        )


class Sync:
    """One folder that follows a store, and with ``two_way`` a store that follows the folder."""

    def __init__(
        self,
        engine: Engine,
        folder: str,
        *,
        two_way: bool = False,
        layout: Layout = "obsidian",
        workspace_hash: str | None = None,
    ) -> None:
        self._engine, self._folder = engine, folder
        self._two_way, self._layout, self._workspace_hash = two_way, layout, workspace_hash
        self._ledger = Ledger(engine, folder)
        self._counter = -1

    def is_due(self) -> bool:
        """Tell whether a memory may have changed since the last round; with two ways the folder may always have."""
        return self._two_way or self._engine.store.change_counter() != self._counter

    def round(self) -> Synced:
        """Bring both sides together: edits into memory first, then memories into notes and overviews.

        Raises:
            InvalidInput: the folder cannot be made or read.
        """
        first = self._counter < 0
        taken = Taken()
        if self._two_way and (len(self._ledger) or os.path.isdir(self._folder)):
            taken = import_notes(self._engine, self._folder, self._ledger, self._workspace_hash, two_way=True)
        counter = self._engine.store.change_counter()
        # An import has just looked; what it took in has changed in the store, or is known to be the same.
        look_at_all = (first and not self._two_way) or bool(taken.conflicts or taken.emptied or taken.errors)
        listed = not first or are_complete(self._folder, self._ledger)
        written = export_notes(
            self._engine, self._folder, self._ledger, self._workspace_hash, self._layout, look_at_all=look_at_all
        )
        filter_ = Filter(
            workspace_hash=self._workspace_hash, include_archived=True, caller=self._engine.settings.agent_id
        )
        categories = self._unlisted() if listed else None
        errors = write_listings(self._engine, self._folder, self._ledger, categories, filter_, self._layout)
        self._ledger.save(listed=not errors)
        self._counter = counter
        return Synced(
            files_created=written.created,
            files_updated=written.updated,
            exported=written.created + written.updated,
            files_removed=written.removed,
            files_edited=written.edited,
            memories_created=len(taken.created),
            memories_updated=len(taken.updated - taken.created),
            memories_archived=taken.archived,
            conflicts=taken.conflicts + written.conflicts,
            errors=tuple(map(valid_text, [*taken.errors, *written.errors, *errors])),
            vault_dir=self._folder,
            completed_at_unix_ms=self._engine.clock.now_ms(),
        )

    def _unlisted(self) -> set[str] | None:
        """Return the categories whose overviews do not name the notes there are, or None when it may be any."""
        found = [self._engine.store.get(entity_id) for entity_id in self._ledger.unlisted]
        # Nobody knows any more in which category an erased memory was.
        return None if None in found else {stored.entity.category for stored in found if stored is not None}

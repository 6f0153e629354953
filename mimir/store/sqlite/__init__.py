"""The store in one SQLite file. Only this folder knows SQL."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from typing import Any

from mimir.errors import InvalidInput, StorageFailure
from mimir.store.sqlite.connection import Database
from mimir.store.sqlite.entities import EntityRows
from mimir.store.sqlite.schema import format_version, prepare
from mimir.store.sqlite.text import TextIndex
from mimir.store.sqlite.upkeep import Upkeep
from mimir.store.sqlite.vectors import VectorRows


class SqliteStore(EntityRows, TextIndex, VectorRows, Upkeep):
    """One SQLite file with everything an agent remembers."""

    def __init__(self, path: str, *, durability: str = "full", busy_timeout_ms: int = 30_000) -> None:
        """Open the file at ``path``, creating it and its folder when missing.

        Raises:
            StorageFailure: it cannot be opened or written, is damaged, or belongs to another program.
            Locked: it looks encrypted.
            Busy: another process holds it too long.
        """
        if "\0" in path:
            raise InvalidInput("'db' holds a NUL character.", hint="Name a file.")
        folder = os.path.dirname(path)
        try:
            os.makedirs(folder or ".", exist_ok=True)
        except OSError as error:
            raise StorageFailure(
                f"The folder {folder} cannot be made: {error.strerror}.", hint="Choose another place with --db."
            ) from error
        self.path = path
        self._index_lock = threading.Lock()
        self.database = Database(path, durability=durability, busy_timeout_ms=busy_timeout_ms, guard=format_version)
        try:
            prepare(self.database)
        except BaseException:
            self.database.close()
            raise

    def reading(self) -> AbstractContextManager[Any]:
        """Hold one consistent snapshot of the file."""
        return self.database.reading()

    def writing(self) -> AbstractContextManager[Any]:
        """Hold the write lock from before the first read until the change is durable."""
        return self.database.writing()

    def close(self) -> None:
        """Close every connection to the file."""
        self.database.close()

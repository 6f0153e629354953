"""The store in one SQLite file. Only this folder knows SQL."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import apsw

from mimir.errors import InvalidInput, Locked, MimirError, NotFound, StorageFailure
from mimir.store.codec import UNREADABLE
from mimir.store.sqlite.changes import ChangeRows
from mimir.store.sqlite.checks import Checks
from mimir.store.sqlite.comparison import ComparisonRows
from mimir.store.sqlite.connection import Database, named, read_only_uri
from mimir.store.sqlite.cursors import CursorRows
from mimir.store.sqlite.erasure import Erasure
from mimir.store.sqlite.journal import JournalRows
from mimir.store.sqlite.lifecycle import LifecycleRows
from mimir.store.sqlite.listing import ListingRows
from mimir.store.sqlite.schema import APPLICATION_ID, format_version, prepare
from mimir.store.sqlite.sealing import BODY, FULL, RESEALING, seal_of
from mimir.store.sqlite.state import StateRows
from mimir.store.sqlite.text import TextIndex
from mimir.store.sqlite.upkeep import Upkeep
from mimir.store.sqlite.vectors import VectorRows
from mimir.store.sqlite.workspaces import ScopeCounts

if TYPE_CHECKING:
    from mimir.crypto import Keys
    from mimir.model import Event, StateEntry, Whole
    from mimir.store.sqlite.original import Original

_RECLAIM_PATIENCE_S: Final = 1.0


class SqliteStore(
    ListingRows,
    TextIndex,
    VectorRows,
    StateRows,
    JournalRows,
    Erasure,
    Checks,
    LifecycleRows,
    ChangeRows,
    CursorRows,
    ComparisonRows,
    ScopeCounts,
    Upkeep,
):
    """One SQLite file with everything an agent remembers."""

    def __init__(
        self,
        path: str,
        *,
        durability: str = "full",
        busy_timeout_ms: int = 30_000,
        keys: Keys | None = None,
        scope: str = "",
    ) -> None:
        """Open the file at ``path``, creating it and its folder when missing.

        With ``keys`` a new file is sealed, ``scope`` says what of it; an empty scope stands for the whole file, and
        for whatever a file seals that exists.

        Raises:
            StorageFailure: it cannot be opened or written, is damaged, or belongs to another program.
            Locked: it is sealed, and the keys are missing or others.
            Conflict: it is not sealed and keys are given, or it is sealed in another scope.
            Busy: another process holds it too long.
        """
        if "\0" in path:
            raise InvalidInput("'db' holds a NUL character.", hint="Name a file.")
        folder = os.path.dirname(path)
        try:
            os.makedirs(folder or ".", mode=0o700, exist_ok=True)
        except OSError as error:
            raise StorageFailure(
                f"The folder {folder} cannot be made: {error.strerror}.", hint="Choose another place with --db."
            ) from error
        if path != ":memory:":
            # Its owner's alone from the first byte on, and so are its log and its copies; what fails here fails below.
            with suppress(OSError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self.path = path
        self._index_lock = threading.Lock()
        self._seen_own: dict[int | None, int] = {}
        open_database = partial(
            Database,
            path,
            durability=durability,
            busy_timeout_ms=busy_timeout_ms,
            guard=format_version,
            keys=keys,
            scope=scope,
        )
        self.database = open_database()
        try:
            if prepare(self.database):
                if keys is None or scope == BODY:
                    self._reclaim()
                else:
                    self.database.close()
                    self._seal_whole(keys)
                    self.database = open_database(scope="")
            self._remove_leftovers()
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

    # What is needed once in a store's life is imported then.

    def add_wholes(self, wholes: Sequence[Whole]) -> int:
        """Add memories with their past, those left out that are there already; return how many were added."""
        from mimir.store.sqlite.filling import Filling

        return Filling(self.database).add(wholes)

    def add_former_events(self, events: Iterable[Event]) -> int:
        """Append events of another journal to this one's chain, those left out that are there already; count them."""
        from mimir.store.sqlite.filling import Filling

        return Filling(self.database).add_events(events)

    def add_former_state(self, entries: Iterable[StateEntry]) -> None:
        """Add state entries whose keys are free."""
        from mimir.store.sqlite.filling import Filling

        Filling(self.database).add_state(entries)

    def back_up(self, destination: str) -> None:
        """Copy the store as it is now into a new file, sealed if the store is, opened and compared; others go on.

        A file that has the name is replaced, with its logs.

        Raises:
            StorageFailure: the copy cannot be written, or is not what was copied.
            Busy: another process has the file that would be replaced open as a store.
        """
        from mimir.store.sqlite.files import own_name, remove, take_name
        from mimir.store.sqlite.replacing import compare, contents, copy_pages

        keys, partial_copy = self.database.keys, ""
        try:
            partial_copy = own_name(destination + ".partial")
            with self.database.reading() as connection:
                expected = contents(self.database)
                copy_pages(connection, partial_copy, keys if self.database.pages_sealed else None)
            compare(expected, partial_copy, keys)
            take_name(partial_copy, destination)
        except OSError as error:
            raise StorageFailure(
                f"The backup {destination} cannot be written: {error.strerror}.", hint="Choose another place."
            ) from error
        finally:
            remove(partial_copy)

    def unreadable_bodies(self) -> int:
        """Count the sealed bodies of memories and versions that were changed; in a plain store nobody can tell."""
        if self.database.seal is None:
            return 0
        from mimir.store.sqlite.replacing import BODIED, bodies_of

        return sum(body is UNREADABLE for table in BODIED for body, _ in bodies_of(self.database, table))

    def sealed_scope(self) -> str:
        """Return what is sealed: ``full`` for the whole file, ``body`` for bodies only, nothing for a plain store."""
        # Told by the first connection.
        with self.database.reading():
            if self.database.pages_sealed:
                return FULL
            return "" if self.database.seal is None else BODY

    def _seal_whole(self, keys: Keys) -> None:
        from mimir.store.sqlite.replacing import change_keys

        try:
            change_keys(self.path, keys, keys, FULL)
        except MimirError as error:
            # Others may be in the way: it is a store all the same, whose bodies are sealed.
            import logging

            logging.getLogger(__name__).warning(
                "mimir: warning: in %s only memory bodies are sealed, the rest is readable. %s Then run: mimir seal",
                self.path,
                error,
            )

    def _remove_leftovers(self) -> None:
        if os.path.exists(os.path.realpath(self.path) + RESEALING):
            from mimir.store.sqlite.replacing import remove_leftovers

            remove_leftovers(self.path)

    def _reclaim(self) -> None:
        """Write the file anew without the pages of dropped tables; if others are in the way, the next purge does it."""
        with suppress(MimirError):
            number = self.unswept()
            with self.database.waiting_at_most(_RECLAIM_PATIENCE_S):
                self.vacuum()
            if self.truncate_log(_RECLAIM_PATIENCE_S):
                with self.writing():
                    self.note_swept(number)


def check_plain_file(path: str, keys: Keys, scope: str) -> None:
    """See that keys fit a store whose pages are plain, as far as it can be read now; nothing is changed.

    Raises:
        Locked: its bodies are sealed with other keys.
        Conflict: it is not sealed, or in another scope.
        StorageFailure: it is another program's file, or one of a newer Mimir.
    """
    # What cannot be read now is named by whoever opens it.
    with (
        suppress(apsw.Error),
        closing(
            apsw.Connection(read_only_uri(path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        ) as connection,
    ):
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        if format_version(connection, path, keys) > 0:
            seal_of(connection, path, keys, scope, pages=False)


@contextmanager
def open_original(path: str, keys: Keys | None = None) -> Iterator[Original | None]:
    """Open a file that the Rust Mimir wrote, for reading only; None stands for a database without memories.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is a store of the present Mimir.
        StorageFailure: it is no database, damaged, or of a format newer than known.
        Locked: its bodies are encrypted, and the keys are missing or others.
    """
    from mimir.store.sqlite.original import Original, refuse_unreadable

    if "\0" in path or not os.path.isfile(path):
        raise NotFound(f"There is no file {path!r}.", hint="Name the database file of the former Mimir.")
    try:
        connection = apsw.Connection(read_only_uri(path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            connection.execute("BEGIN")
            if connection.execute("PRAGMA application_id").get == APPLICATION_ID:
                raise InvalidInput(
                    f"{path} is a store of this Mimir already; nothing in it needs to be migrated.",
                    hint="Open it with --db, or copy it as a file while no process uses it.",
                )
            original = Original(connection, path, lenient=True, keys=keys)
            if original.is_known():
                refuse_unreadable(connection, path, keys)
            yield original if original.is_known() else None
        finally:
            connection.close()
    except apsw.Error as error:
        failure = named(error, path)
        if isinstance(error, apsw.NotADBError) and not isinstance(failure, Locked):
            failure.hint = "Name a file that the former Mimir wrote."
        raise failure from error

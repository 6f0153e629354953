"""SQLite connections: one per thread, safe defaults, transactions, and every failure by its right name."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import apsw
import msgspec

from mimir.errors import Busy, InvalidInput, Locked, MimirError, StorageFailure, Unavailable
from mimir.progress import is_cancelled, stop_if_cancelled
from mimir.store.sqlite.sealing import (
    Stretch,
    begin_stretch,
    body_seal,
    last_stretch,
    read_head,
    seal_of,
    stretches,
    unlock_pages,
)

if TYPE_CHECKING:
    from mimir.crypto import Keys
    from mimir.store.codec import BodySeal

_LONGEST_PAUSE_S: Final = 0.02
_CLOSE_WAIT_S: Final = 5.0
_STATEMENT_CACHE: Final = 200

_STEPS: Final = 20_000
"""Steps of a statement between two looks whether anybody still waits for it: a few milliseconds."""

Row: TypeAlias = tuple[Any, ...]


class Rows(Protocol):
    """The rows of one statement, read as they are needed."""

    def __iter__(self) -> Iterator[Row]:
        """Return the rows one by one."""

    def fetchall(self) -> list[Row]:
        """Return all rows that are left."""

    def fetchone(self) -> Row | None:
        """Return the next row, or None."""

    @property
    def get(self) -> Any:  # noqa: ANN401 - any SQLite value
        """Return the only value, or the only row, of the result."""


class Database:
    """One SQLite file, opened once per thread, with one writer of this process at a time."""

    def __init__(
        self,
        path: str,
        *,
        durability: str,
        busy_timeout_ms: int,
        guard: Callable[[apsw.Connection, str, Keys | None], int],
        keys: Keys | None = None,
        scope: str = "",
        flags: int = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
    ) -> None:
        """Describe the file at ``path``, sealed with ``keys``; ``scope`` is what a new file seals, `FULL` if empty.

        ``guard`` sees each new connection before anything can be written and returns the format of the file: above 0
        when it is one of ours.
        """
        self.path = path
        self.keys = keys
        self.scope = scope
        self._flags = flags
        self.seal: BodySeal | None = None
        self.pages_sealed = False
        self._stretch: tuple[int, str | None] | None = None
        self._stretches: tuple[Stretch, ...] | None = None
        self._guard = guard
        self._synchronous = "FULL" if durability == "full" else "NORMAL"
        self._busy_timeout_s = busy_timeout_ms / 1000
        self._local = threading.local()
        self._write_lock = threading.RLock()
        # Weak: the connection of a thread that ended is closed when it is collected.
        self._opened: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
        self._opened_lock = threading.Lock()
        self._closed = False
        if getattr(apsw, "mc_version", None) is None:
            raise Unavailable(
                "The SQLite module in this environment cannot encrypt: plain 'apsw' replaced 'apsw-sqlite3mc'.",
                hint="Run: pip uninstall -y apsw apsw-sqlite3mc && pip install apsw-sqlite3mc",
            )

    @property
    def connection(self) -> apsw.Connection:
        """Return this thread's connection, opening it on first use."""
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._open()
            self._local.connection = connection
        return connection

    def execute(self, sql: str, bindings: Row = ()) -> Rows:
        """Run one statement on this thread's connection."""
        with self.naming_failures():
            return self.connection.execute(sql, bindings)

    def execute_many(self, sql: str, rows: Any) -> None:  # noqa: ANN401 - any iterable of binding tuples
        """Run one statement once per row of bindings."""
        with self.naming_failures():
            self.connection.executemany(sql, rows)

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """Hold one consistent snapshot of the file; joins a transaction that is already open."""
        connection = self.connection
        with self.naming_failures():
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                _end(connection, "COMMIT")

    @contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """Hold the write lock from before the first read; commit at the end, roll back on any exception.

        Raises:
            Busy: another process held the lock longer than the bounded wait.
        """
        connection = self.connection
        with self.naming_failures(), self._turn():
            if connection.in_transaction:
                yield connection
                return
            # Whoever has waited for the lock in vain has nothing to write.
            stop_if_cancelled()
            with self._waiting():
                connection.execute("BEGIN IMMEDIATE")
            try:
                # A newer program may have changed the format since this process opened the file.
                self._guard(connection, self.path, self.keys)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _end(connection, "ROLLBACK")
                raise

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # Only who has little patience gives up: another writer of this process may be at something long.
        with self._waiting():
            if not self._write_lock.acquire(timeout=getattr(self._local, "patience_s", -1)):
                raise apsw.BusyError("another thread is writing")
        try:
            yield
        finally:
            self._write_lock.release()

    def unlock(self, connection: apsw.Connection) -> None:
        """Learn how the store is sealed from its first connection, and see that it still is so on each later one.

        Raises:
            Locked: the keys are missing or others, or the store was sealed anew meanwhile.
            Conflict: keys are given for a store that is not sealed, or is sealed in another scope than asked for.
        """
        present = last_stretch(connection, self.path)
        if self._stretch is None:
            self.seal = seal_of(connection, self.path, self.keys, self.scope, pages=self.pages_sealed)
            self._stretch = present
        elif self._stretch != present:
            raise Locked(
                f"The store {self.path} was sealed, unsealed or replaced while this process was running.",
                hint="Start this program again, with the key that the store has now.",
            )

    def begin_sealing(self) -> None:
        """Begin the journal's chain of a file that is being made, and seal from now on what is written into it."""
        connection = self.connection
        begin_stretch(connection, self.keys)
        if self.keys is not None:
            self.seal = body_seal(self.keys, pages=self.pages_sealed)
        self._stretch = last_stretch(connection, self.path)
        self._stretches = None

    def chain_stretches(self) -> tuple[Stretch, ...]:
        """Return from which row on the journal is chained with which key.

        Raises:
            StorageFailure: a key is missing or was changed.
        """
        if self._stretches is None:
            self._stretches = stretches(self.connection, self.path, self.keys)
        return self._stretches

    @contextmanager
    def naming_failures(self) -> Iterator[None]:
        """Turn each SQLite failure inside the block into the error of ours that says what to do."""
        try:
            yield
        except apsw.Error as error:
            stop_if_cancelled()
            raise named(error, self.path, sealed=self.pages_sealed) from error
        except (UnicodeDecodeError, msgspec.DecodeError) as error:
            raise named(apsw.CorruptError(str(error)), self.path) from error
        except OverflowError as error:
            raise InvalidInput(f"A number does not fit into 64 bits: {error}.", hint="Give a smaller one.") from None
        except UnicodeEncodeError as error:
            raise InvalidInput(
                f"{error.object!r:.60} holds half of a surrogate pair: it is no valid Unicode.",
                hint="Send whole characters.",
            ) from None

    @contextmanager
    def waiting_at_most(self, seconds: float, *, altogether: bool = False) -> Iterator[None]:
        """Let this thread wait for others no longer than that inside the block: each time, or all times together."""
        self._local.patience_s, self._local.altogether = seconds, altogether
        try:
            yield
        finally:
            del self._local.patience_s, self._local.altogether

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            if getattr(self._local, "altogether", False):
                self._local.patience_s = max(0.0, self._local.patience_s - (time.monotonic() - started))

    def close(self) -> None:
        """Close the connections of all threads; the last one of the last process folds the log into the file."""
        with self._opened_lock:
            self._closed = True
            connections = list(self._opened)
            self._opened.clear()
        until = time.monotonic() + _CLOSE_WAIT_S
        for connection in connections:
            while True:
                try:
                    connection.close()
                    break
                except apsw.ThreadingViolationError:
                    if time.monotonic() > until:
                        break
                    connection.interrupt()
                    time.sleep(_LONGEST_PAUSE_S)
        self._local = threading.local()

    def _open(self) -> apsw.Connection:
        with self.naming_failures():
            try:
                connection = self._connect()
            except apsw.NotADBError:
                # What was opened may be the former file of a store that was sealed anew meanwhile, overwritten.
                connection = self._connect()
        with self._opened_lock:
            if self._closed:
                connection.close()
                raise StorageFailure(f"The store {self.path} was closed.", hint="Open it again with Memory.open().")
            self._opened.add(connection)
        return connection

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(self.path, flags=self._flags, statementcachesize=_STATEMENT_CACHE)
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _configure(self, connection: apsw.Connection) -> None:
        connection.set_busy_handler(self._wait)
        connection.set_progress_handler(is_cancelled, _STEPS)
        self.pages_sealed = unlock_pages(connection, self.path, self.keys, self.scope)
        # A word in double quotes that is no column must be an error, not a string.
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
        # One plan per statement, whatever is bound to it: planning anew for every value takes longer than most reads.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        # Schema text of a foreign file must not be able to call functions with side effects.
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        # A log that another program left must stay as it is until the file is known to be ours.
        left_log = _size(self.path + "-wal") > 0
        if left_log:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if self._guard(connection, self.path, self.keys) > 0:
            self.unlock(connection)
        if left_log:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA cache_size=-32000")
        connection.execute(f"PRAGMA synchronous={self._synchronous}")
        mode = connection.execute("PRAGMA journal_mode=WAL").get
        if mode != "wal" and self.path != ":memory:":
            raise StorageFailure(
                f"The store {self.path} cannot use a write-ahead log (journal mode {mode!r}).",
                hint="Move it to a local disk: network shares and read-only folders do not support it.",
            )
        if self.pages_sealed and self.keys is not None and not self.keys.fit(read_head(self.path)):
            # A layer between SQLite and its cipher can keep it from being used.
            raise StorageFailure(
                f"The pages of {self.path} are not encrypted, although a key was given.",
                hint="Remove the file, and what was put between SQLite and the disk; nothing was stored.",
            )
        # Checkpoint less often than the default 1,000 pages: a commit pays for the one it triggers, and a page that
        # changes often is folded into the file once instead of many times. The log stays near 32 MB.
        connection.execute("PRAGMA wal_autocheckpoint=8000")

    def _wait(self, tries: int) -> bool:
        if tries == 0:
            self._local.waiting_since = time.monotonic()
        patience_s = getattr(self._local, "patience_s", self._busy_timeout_s)
        if is_cancelled() or time.monotonic() - self._local.waiting_since > patience_s:
            return False
        # Random pauses keep eight writers from waking together; short ones keep the lock from standing idle.
        # The clock's last digits are random enough, and cost no import.
        share = time.perf_counter_ns() // 100 % 1_000 / 1_000
        time.sleep(0.0002 + share * min(_LONGEST_PAUSE_S, 0.001 * (tries + 1)))
        return True


def _end(connection: apsw.Connection, word: str) -> None:
    # A failure such as a full disk may have ended the transaction already.
    if connection.in_transaction:
        connection.execute(word)


def named(error: apsw.Error, path: str, *, sealed: bool = False) -> MimirError:
    """Return the error of ours that names what an SQLite error means for the store at ``path``.

    ``sealed`` says that its pages are, with the key that was given.
    """
    if isinstance(error, apsw.NotADBError) and sealed:
        error = apsw.CorruptError("its first page was changed or cut off")
    if isinstance(error, apsw.NotADBError) and _looks_encrypted(path):
        return Locked(
            f"{path} is encrypted, or no database at all.",
            hint="Name its key file with --encryption-key, or choose another file with --db.",
        )
    for kind, ours, message, hint in _NAMES:
        if isinstance(error, kind):
            # A copy that ends early leaves its error without words.
            text = str(error).replace("not an error", "a page cannot be read")
            return ours(message.format(path=path, text=text), hint=hint)
    return StorageFailure(f"The store {path} failed: {error}.", hint="Run: mimir doctor")


_Names: TypeAlias = tuple[type[apsw.Error] | tuple[type[apsw.Error], ...], type[MimirError], str, str]
_NAMES: Final[tuple[_Names, ...]] = (
    (
        (apsw.BusyError, apsw.LockedError),
        Busy,
        "Another process has held the store {path} for too long.",
        "Try again; if it lasts, end the process that holds it or raise MIMIR_BUSY_TIMEOUT_MS.",
    ),
    (
        (apsw.InterruptError, apsw.ConnectionClosedError),
        StorageFailure,
        "The store {path} was closed meanwhile.",
        "Open it again with Memory.open().",
    ),
    (
        apsw.NotADBError,
        StorageFailure,
        "{path} is not a database.",
        "Choose another file with --db; this one was left untouched.",
    ),
    (
        apsw.CorruptError,
        StorageFailure,
        "The store {path} is damaged: {text}.",
        "Restore a backup; keep the damaged file and its -wal file for rescue.",
    ),
    (
        apsw.ReadOnlyError,
        StorageFailure,
        "The store {path} is read-only.",
        "Give the file and its folder write permission.",
    ),
    (
        apsw.FullError,
        StorageFailure,
        "The disk that holds {path} is full; the last change was not made.",
        "Free some space and try again.",
    ),
    (
        apsw.CantOpenError,
        StorageFailure,
        "The store {path} cannot be opened.",
        "Check that its folder exists and that you may read and write it.",
    ),
    (apsw.TooBigError, StorageFailure, "A value is too big for the store {path}.", "Store less in one memory."),
)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _looks_encrypted(path: str) -> bool:
    # An encrypted file is whole pages of noise; a text file that was named by mistake has other sizes or plain bytes.
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError:
        return False
    return size >= 4096 and size % 512 == 0 and len(set(head)) > 150  # noqa: PLR2004 - noise has about 220 of 256


def read_only_uri(path: str) -> str:
    """Return the name under which a file is opened for reading only, with nothing made beside it."""
    from pathlib import Path

    uri = Path(path).absolute().as_uri() + "?mode=ro"
    uses_log = read_head(path)[18:19] == b"\2"
    # To read a file with a write-ahead log, SQLite makes the log anew if there is none: nobody writes then.
    return uri + "&immutable=1" if uses_log and not os.path.exists(path + "-wal") else uri

"""The watcher of a server: what the file_watcher connector is to read is read when it changes, beside all calls."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from mimir.errors import MimirError
from mimir.progress import Cancelled, cancelled_when

if TYPE_CHECKING:
    from mimir.connectors import Sources
    from mimir.engine import Engine

FIRST_SCAN_MS: Final = 1_000
"""How long a quiet start lasts before everything is read once: the first calls of a session come before that."""

QUIET_TIMES: Final = 10
"""How often the time that a folder must be quiet may pass before a busy one is read all the same."""

_log: Final = logging.getLogger(__name__)


class Watcher:
    """A thread that reads what has changed until it is stopped; `start` it once."""

    def __init__(self, engine: Callable[[], Engine], config: str) -> None:
        self._engine = engine
        self._config = config
        self._stopping = threading.Event()
        self._reading = threading.Lock()
        self._told: set[str] = set()

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._work, name="mimir-watcher", daemon=True).start()

    def stop(self) -> None:
        """Read nothing more; what is being stored now is finished, or left for the next time."""
        self._stopping.set()
        with self._reading:
            pass

    def _work(self) -> None:
        # What goes wrong here concerns no call, so it is logged: once each, since a host may never read the log.
        try:
            self._watch()
        except Cancelled:
            pass
        except MimirError as error:
            self._tell(f"{error.message} {error.hint}".rstrip())
        except (OSError, RuntimeError) as error:  # the system has no watch left, or a folder went away
            self._tell(f"watching ended: {error}")

    def _watch(self) -> None:
        from mimir.config import expand
        from mimir.connectors import files, load_sources

        sources = load_sources(self._config)
        source = sources.file_watcher
        if not source.enabled:
            return
        paths = [os.path.abspath(expand(path)) for path in source.paths]
        there = [path for path in paths if os.path.exists(path)]
        try:
            from watchfiles import watch
        except ImportError:
            self._tell("watching needs watchfiles: pip install 'mimir-local[watch]'")
            self._read(sources, None)
            return
        if not there:
            self._read(sources, None)
            return
        started = False
        for changes in watch(
            *there,
            watch_filter=lambda _, path: files.may_matter(path, paths, source.extensions),
            debounce=QUIET_TIMES * source.debounce_ms,
            step=source.debounce_ms,
            stop_event=self._stopping,
            rust_timeout=FIRST_SCAN_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            # The first scan follows the first wait, so that nothing can change between the two unseen.
            rules_changed = any(os.path.basename(path) in files.IGNORE_FILES for _, path in changes)
            if changes or not started:
                self._read(sources, {path for _, path in changes} if started and not rules_changed else None)
            started = True

    def _read(self, sources: Sources, only: Collection[str] | None) -> None:
        from mimir.connectors import files
        from mimir.operations.ingestion import ingest_from

        with self._reading, cancelled_when(self._stopping.is_set):
            if self._stopping.is_set():
                return
            try:
                done = ingest_from(self._engine(), sources, (files.NAME,), only=only)
            except MimirError as error:  # such as a store that is busy: the next change, or start, tries again
                self._tell(error.message)
                return
        for problem in done.errors:
            self._tell(problem)
        _log.info("%d files read, %d memories archived", done.ingested, done.archived or 0)

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            _log.warning("%s", problem)

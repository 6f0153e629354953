"""The engine: a store, an embedder, a clock and settings, put together; what every operation works on."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

import msgspec

from mimir.clock import Clock, SystemClock
from mimir.config import Settings, load_settings
from mimir.errors import Busy, MimirError, Unavailable
from mimir.model import Entity
from mimir.rules.layers import RECALL_BOOST, boosted, raised_layer
from mimir.rules.text import embedded_text, searchable_text
from mimir.store import open_store
from mimir.workspace import resolve_workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mimir.embedding import Embedder
    from mimir.store import Store

TOUCH_DELAY_S: Final = 0.5
"""How long the use of a memory may wait in this process before it is written down, in seconds."""

EMBED_DELAY_S: Final = 0.3
"""How long after the last write the background embedding starts, in seconds."""

EMBED_BATCH: Final = 32
"""Passages that one turn of embedding takes: a fraction of a second, so that a reader or the end need not wait long."""

LEASE_MS: Final = 60_000

RETRY_DELAY_S: Final = 60.0
"""How long after an embedder failed the background thread tries again, in seconds."""

CLOSE_PATIENCE_S: Final = 10.0
"""How long the end waits for the background thread, in seconds: an embedding service may not answer."""

CLOSE_LOCK_PATIENCE_S: Final = 2.0
"""How long the end waits for the write lock to write down uses and vectors, in seconds: they are worth no more."""

LOCK_PATIENCE_S: Final = 0.05
"""How long upkeep, and what a read tidies up, wait for the write lock each time, in seconds; it is tried again."""

READ_PATIENCE_S: Final = 0.1
"""How long a read waits for the write lock to store vectors, all turns together, in seconds; the rest stays pending."""

LONGEST_LOG_BYTES: Final = 48_000_000
"""Size of the log from which on the background thread empties it: by itself it starts anew at about 33 million."""

FOLD_PATIENCE_S: Final = 0.5
FOLD_DELAY_S: Final = 5.0
"""How long emptying the log waits for readers, while writers wait too, and how long after that it is tried again."""

_open_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine:
    """Everything an operation needs. Open it with `open`, use it from any thread, close it when done."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        embedder: Embedder | None,
        no_embedder: str = "",
    ) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self.embedder = embedder
        self.no_embedder = no_embedder
        self.workspace = resolve_workspace(settings)
        self.worker_failure: MimirError | None = None
        self._uses: dict[int, tuple[int, int]] = {}
        self._wake = threading.Condition()
        self._flush_at: float | None = None
        self._embed_at: float | None = None
        self._fold_at: float | None = None
        self._worker: threading.Thread | None = None
        self._closing = False
        self._abandoned = False
        self._embedding = threading.Lock()
        self._ready: list[tuple[int, Sequence[int], NDArray[np.float32]]] = []
        _open_engines.add(self)

    @classmethod
    def open(
        cls,
        db: str | None = None,
        *,
        clock: Clock | None = None,
        embedder: Embedder | None = None,
        **settings: object,
    ) -> Self:
        """Open the store at ``db``, or at the default place, and return the engine on it.

        ``settings`` are fields of `mimir.config.Settings`; what is not given comes from the environment or the
        defaults. ``clock`` and ``embedder`` replace the system's clock and the embedding model of the settings.

        Raises:
            InvalidInput: a setting is not valid.
            StorageFailure: the file cannot be opened, is damaged or belongs to another program.
            Busy: another process holds it too long.
        """
        resolved = load_settings(db=db, **settings)
        reason = ""
        if embedder is None:
            from mimir.embedding import open_embedder

            embedder, reason = open_embedder(resolved)
        return cls(resolved, open_store(resolved), clock or SystemClock(), embedder, reason)

    def __enter__(self) -> Self:
        """Return the engine itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the engine."""
        self.close()

    def close(self) -> None:
        """Write down what is held in memory and release the store; closing twice is harmless."""
        with self._wake:
            if self._closing:
                return
            self._closing = True
            self._wake.notify_all()
        if self._worker is not None:
            self._worker.join(CLOSE_PATIENCE_S)
            self._abandoned = self._worker.is_alive()
        try:
            with self.store.waiting_at_most(CLOSE_LOCK_PATIENCE_S, altogether=True):
                self.flush_uses()
                self._store_ready()
        except MimirError as error:
            # How often some memories were used is lost; that must not fail what was done with the store.
            self.worker_failure = error
        finally:
            self.store.close()
            _open_engines.discard(self)

    @contextmanager
    def writing(self) -> Iterator[int]:
        """Hold the write lock, with the uses so far written down; yields the present time in milliseconds."""
        uses: dict[int, tuple[int, int]] = {}
        try:
            with self.store.writing():
                uses = self._write_uses()
                yield self.clock.now_ms()
        except BaseException:
            self._keep_uses(uses)
            raise
        if self._fold_at is None and self.store.log_size() > LONGEST_LOG_BYTES:
            self._note_long_log(0.0)

    @property
    def has_bundled_scale(self) -> bool:
        """Tell whether cosines may be compared with what was measured on the bundled model."""
        return not (self.settings.embedding_endpoint or self.settings.embedding_model)

    def require_embedder(self) -> Embedder:
        """Return the embedder.

        Raises:
            Unavailable: there is none, and the message says why.
        """
        if self.embedder is None:
            raise Unavailable(
                f"No embedding backend available: {self.no_embedder}.",
                hint="Use mode fts5, or pip install onnxruntime tokenizers and start without --embedding off.",
            )
        return self.embedder

    def note_uses(self, numbers: Sequence[int]) -> None:
        """Remember that entities were recalled; written down within a second, or with the next write."""
        if self.settings.read_only or not numbers:
            return
        now = self.clock.now_ms()
        with self._wake:
            for number in numbers:
                self._uses[number] = (self._uses.get(number, (0, 0))[0] + 1, now)
            if self._flush_at is None:
                self._flush_at = time.monotonic() + TOUCH_DELAY_S
        self._start_worker()

    def note_pending(self) -> None:
        """Let the background embedding start when the writing pauses."""
        if self.embedder is None:
            return
        with self._wake:
            self._embed_at = time.monotonic() + EMBED_DELAY_S
        self._start_worker()

    def flush_uses(self) -> None:
        """Write down the uses of memories that are held back: count, time, strength and layer."""
        if self._uses:
            with self.writing():
                pass

    def _write_uses(self) -> dict[int, tuple[int, int]]:
        """Write down the uses inside the open transaction, and return them in case it fails."""
        with self._wake:
            uses, self._uses, self._flush_at = self._uses, {}, None
        for stored in self.store.load(uses).values() if uses else ():
            count, last = uses[stored.number]
            entity = stored.entity
            retrievals = entity.retrieval_count + count
            used = msgspec.structs.replace(
                entity,
                retrieval_count=retrievals,
                last_accessed_unix_ms=max(last, entity.last_accessed_unix_ms),
                decay_score=boosted(entity.decay_score, count * RECALL_BOOST),
                layer=raised_layer(entity.layer, retrievals),
            )
            self.store.update_use(stored.number, used)
        return uses

    def _keep_uses(self, uses: dict[int, tuple[int, int]]) -> None:
        with self._wake:
            for number, (count, last) in uses.items():
                now_count, now_last = self._uses.get(number, (0, 0))
                self._uses[number] = (count + now_count, max(last, now_last))
            if uses and self._flush_at is None:
                self._flush_at = time.monotonic() + TOUCH_DELAY_S

    def embed_pending(self, budget_s: float | None = None) -> int:
        """Embed what waits, newest first, for at most ``budget_s`` seconds; return how many passages were embedded.

        With a budget it serves a reader, and gives up when others hold the store.

        Raises:
            Busy: others hold the store for too long.
        """
        if budget_s is None:
            return self._embed_until(None)
        with self.store.waiting_at_most(READ_PATIENCE_S, altogether=True):
            return self._embed_until(time.monotonic() + budget_s)

    def embed_batch(self, *, leased: bool = False) -> int:
        """Embed the newest that wait, at most `EMBED_BATCH` passages, and return how many.

        With ``leased`` also those that another process has taken, which may have been stopped.

        Raises:
            Unavailable: there is no embedder, or it fails.
            Busy: others hold the store for too long.
        """
        with self._embedding:
            return self._embed_batch(leased=leased)

    def _embed_until(self, until: float | None) -> int:
        done = 0
        while until is None or time.monotonic() < until:
            # One turn at a time: what another thread has leased would be missing when this call returns.
            patience = -1.0 if until is None else max(0.0, until - time.monotonic())
            if not self._embedding.acquire(timeout=patience):
                break
            try:
                embedded = self._embed_batch()
            finally:
                self._embedding.release()
            if not embedded or self._closing:
                break
            done += embedded
        return done

    def _embed_batch(self, *, leased: bool = False) -> int:
        self._store_ready()
        embedder = self.require_embedder()
        model = self.store.model_number(embedder.model_id, embedder.dimensions)
        now = self.clock.now_ms()
        until = now + LEASE_MS
        with self.store.writing():
            passages = self.store.lease_pending(EMBED_BATCH, until if leased else now, until)
        if not passages:
            return 0
        texts = self.passage_texts(passages, titled=True)
        vectors = embedder.embed([texts.get(passage, "") for passage in passages])
        if self._abandoned:
            # The store is closed; what was leased is free again when its lease ends.
            return 0
        self._ready.append((model, passages, vectors))
        self._store_ready()
        return len(passages)

    def _store_ready(self) -> None:
        """Store the vectors that are made; those that cannot be stored now are kept for the next turn."""
        if self._ready:
            with self.store.writing():
                for model, passages, vectors in self._ready:
                    self.store.add_vectors(model, passages, vectors)
            self._ready.clear()

    def embed_owners(self, numbers: Sequence[int]) -> int:
        """Embed all passages of entities now, whoever has leased them; return the number of entities."""
        for number in numbers:
            self.embed_owner(number)
        return len(numbers)

    def embed_owner(self, number: int, text: str | None = None) -> None:
        """Embed all passages of one entity now, each as ``text`` if that is given."""
        embedder = self.require_embedder()
        model = self.store.model_number(embedder.model_id, embedder.dimensions)
        with self.store.writing():
            passages = self.store.make_pending(number)
        texts = self.passage_texts(passages, titled=True)
        vectors = embedder.embed([texts[passage] if text is None else text for passage in passages])
        with self.store.writing():
            self.store.add_vectors(model, passages, vectors)

    def passage_texts(self, passages: Sequence[int], *, titled: bool = False) -> dict[int, str]:
        """Return the text of passages by id; with ``titled`` as it is embedded."""
        with self.store.reading():
            return self._passage_texts(passages, titled=titled)

    def _passage_texts(self, passages: Sequence[int], *, titled: bool) -> dict[int, str]:
        spans = self.store.load_passages(passages)
        owners = {owner for owner, _ in spans.values()}
        entities = {number: stored.entity for number, stored in self.store.load([o for o in owners if o > 0]).items()}
        past = self.store.load_versions([-owner for owner in owners if owner < 0])
        entities.update((-number, version.entity) for number, (_, version) in past.items())
        texts = {owner: text_of(entity) for owner, entity in entities.items()}
        cut = {
            passage: (owner, texts[owner][span.start : span.start + span.length])
            for passage, (owner, span) in spans.items()
            if owner in texts
        }
        return {
            passage: embedded_text(entities[owner].key, text) if titled else text
            for passage, (owner, text) in cut.items()
        }

    def _note_long_log(self, delay_s: float) -> None:
        with self._wake:
            self._fold_at = time.monotonic() + delay_s
        self._start_worker()

    def _fold_log(self) -> None:
        """Empty the log, unless another process has done it; a reader that keeps it is asked again later."""
        with self._wake:
            self._fold_at = None
        if self.store.log_size() > LONGEST_LOG_BYTES and not self.store.truncate_log(FOLD_PATIENCE_S):
            self._note_long_log(FOLD_DELAY_S)

    def _start_worker(self) -> None:
        with self._wake:
            if self._worker is None and not self._closing:
                self._worker = threading.Thread(target=self._work, name="mimir-upkeep", daemon=True)
                self._worker.start()
            self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                if self._closing:
                    return
                now = time.monotonic()
                flush = self._flush_at is not None and self._flush_at <= now
                embed = self._embed_at is not None and self._embed_at <= now
                fold = self._fold_at is not None and self._fold_at <= now
                if not (flush or embed or fold):
                    due = [at - now for at in (self._flush_at, self._embed_at, self._fold_at) if at is not None]
                    self._wake.wait(min(due, default=None))
                    continue
                if embed:
                    self._embed_at = None
            # A failure here (a full disk, a busy file) loses no memory: the uses are a statistic, and what waits for a
            # vector stays marked as waiting.
            try:
                if fold:
                    self._fold_log()
                # A reader may stand behind this thread, so it must not wait for long itself.
                with self.store.waiting_at_most(LOCK_PATIENCE_S):
                    if flush:
                        self.flush_uses()
                    if embed:
                        self._embed_until(None)
            except Busy:
                if embed:
                    self.note_pending()
            except MimirError as error:
                self.worker_failure = error
                if embed and isinstance(error, Unavailable):
                    self._embed_at = time.monotonic() + RETRY_DELAY_S


def text_of(entity: Entity) -> str:
    """Return the searchable text of an entity: the values of its body."""
    return text_of_body(entity.body_json)


def text_of_body(body_json: str) -> str:
    """Return the searchable text of a body: its values."""
    try:
        return searchable_text(msgspec.json.decode(body_json))
    except msgspec.DecodeError:
        return body_json


@atexit.register
def _close_all() -> None:
    for engine in list(_open_engines):
        engine.close()

"""Where memories live: the primitives that every store offers, without any policy.

A store takes and returns model objects and the neutral query; never SQL, rows or cursors. When a memory fades, which
one yields and what a search means is decided above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Protocol

from mimir.crypto import load_keys

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mimir.config import Settings
    from mimir.crypto import Keys
    from mimir.model import (
        Candidate,
        Edge,
        Entity,
        Erased,
        Event,
        EventFilter,
        Filter,
        Link,
        Node,
        Order,
        Outline,
        Passage,
        StateEntry,
        Stats,
        Stored,
        Traits,
        Version,
        Whole,
    )
    from mimir.rules.layers import Trace
    from mimir.rules.query import Query
    from mimir.store.sqlite.original import Original

LOGS: Final = ("-wal", "-journal")
"""What the names of a store's logs end in: a file is taken to be the one that a log beside it is of."""


class Store(Protocol):
    """One place that keeps entities, their versions, passages, vectors and links.

    Entities go by their number, versions by theirs (negative where both can occur), passages by their id. Writing
    methods are called inside `writing`.
    """

    path: str

    def reading(self) -> AbstractContextManager[Any]:
        """Hold one consistent snapshot."""

    def writing(self) -> AbstractContextManager[Any]:
        """Hold the write lock from before the first read until the change is durable."""

    def close(self) -> None:
        """Release the store."""

    # entities and versions
    def find(self, category: str, key: str, workspace_hash: str | None) -> tuple[Stored, ...]:
        """Return the entities of this category and key, archived ones too; of all workspaces when None."""

    def get(self, entity_id: str) -> Stored | None:
        """Return the entity with this id, archived or not."""

    def load(self, numbers: Iterable[int]) -> dict[int, Stored]:
        """Return entities by their numbers; missing ones are left out."""

    def load_versions(self, numbers: Iterable[int]) -> dict[int, tuple[int, Version]]:
        """Return versions by their numbers, each with the number of its entity."""

    def traits(self, numbers: Iterable[int]) -> dict[int, Traits]:
        """Return what ranking looks at in entities; missing ones are left out."""

    def browse(self, filter_: Filter, limit: int, offset: int) -> tuple[Stored, ...]:
        """Return the entities that pass a filter, most retrieved first, then latest used, then by id."""

    def scan(self, filter_: Filter, *, batch: int = 1_000) -> Iterator[tuple[Stored, ...]]:
        """Yield all entities that pass a filter in batches, in the order they were first recorded."""

    def with_triggers(self, filter_: Filter, limit: int) -> tuple[Stored, ...]:
        """Return the entities whose body speaks of recall_when and that pass a filter, the strongest first."""

    def listing(self, filter_: Filter, order: Order, limit: int, offset: int) -> tuple[tuple[Stored, ...], int]:
        """Return a page of the entities that pass a filter, and how many pass it in all."""

    def count(self, filter_: Filter) -> int:
        """Count the entities that pass a filter."""

    def created_by_day(self, filter_: Filter) -> tuple[tuple[int, int], ...]:
        """Return each day on which entities that pass a filter were created, as its first millisecond, and how many."""

    def strengths(self, filter_: Filter, parts: int) -> tuple[int, ...]:
        """Count the entities that pass a filter by strength, the range of 0 to 1 cut into equal parts."""

    def outlines(self, numbers: Iterable[int]) -> dict[int, Outline]:
        """Return outlines of entities by their numbers; missing ones are left out."""

    def passing(self, filter_: Filter, numbers: Iterable[int]) -> set[int]:
        """Return those of the given entities that pass a filter."""

    def bodies(self, filter_: Filter, numbers: Iterable[int]) -> dict[int, str]:
        """Return the bodies of those of the given entities that pass a filter."""

    def with_key(self, key: str, filter_: Filter, limit: int) -> tuple[int, ...]:
        """Return the entities whose key is exactly this and that pass a filter."""

    def keys_from(self, beginning: str, filter_: Filter, limit: int) -> tuple[str, ...]:
        """Return the keys that begin so of entities that pass a filter, each once, in their order."""

    def neighbours(self, numbers: Iterable[int]) -> dict[int, tuple[int, ...]]:
        """Return, for each entity with a topic path, those recorded just before and just after it on the same path."""

    def insert(self, entity: Entity, text: str, passages: Sequence[Passage], marks: Sequence[int] = ()) -> int:
        """Add an entity, indexed, its passages waiting for vectors; return its number."""

    def insert_new(
        self,
        entities: Sequence[Entity],
        texts: Sequence[str],
        passages: Sequence[Sequence[Passage]],
    ) -> list[int]:
        """Add many entities in one sweep; return the positions of those whose identity was taken."""

    def update(self, stored: Stored) -> None:
        """Write every field of an entity; its index, passages and links stay as they are."""

    def update_use(self, number: int, entity: Entity) -> None:
        """Write only what the use of an entity changes: count, time, strength and layer."""

    def add_version(self, stored: Stored, version: Version) -> int:
        """Append a closed version of an entity and return the version's number."""

    def versions(self, number: int, limit: int = -1, offset: int = 0) -> tuple[Version, ...]:
        """Return the closed versions of an entity, newest first."""

    def count_versions(self, number: int) -> int:
        """Return how many closed versions an entity has."""

    # links
    def links(self, numbers: Iterable[int]) -> dict[int, tuple[Link, ...]]:
        """Return the outgoing links of entities."""

    def links_to(self, ids: Iterable[str]) -> dict[str, tuple[Link, ...]]:
        """Return the links that lead to entities, by id; each names its source where a link names its target."""

    def nodes(self, ids: Iterable[str], filter_: Filter) -> dict[str, Node]:
        """Return those of the entities with these ids that pass a filter, each with its outgoing links."""

    def edges(self, filter_: Filter, limit: int, at: Iterable[int] | None = None) -> tuple[Edge, ...]:
        """Return links whose both ends pass a filter, newest sources first; ``at`` names entities they must touch."""

    def add_link(self, source: int, target_id: str, relationship: str, weight: float, now_ms: int) -> None:
        """Add an outgoing link to an entity, or give the one of the same target and relationship another weight."""

    def remove_links(self, source: int, target_id: str, relationship: str | None = None) -> int:
        """Remove an entity's links to a target, all or those of one relationship, and return how many there were."""

    # state
    def put_state(self, entry: StateEntry) -> None:
        """Keep a value under its key in place of any other."""

    def state(self, key: str, now_ms: int) -> StateEntry | None:
        """Return what is kept under a key, unless it has expired."""

    def state_keys(self, prefix: str, now_ms: int) -> tuple[str, ...]:
        """Return the keys that begin with ``prefix`` and have not expired, in the order of their bytes."""

    def remove_state(self, key: str) -> bool:
        """Remove what is kept under a key, expired or not, and tell whether there was anything."""

    def has_expired_state(self, now_ms: int) -> bool:
        """Tell whether anything kept has expired."""

    def sweep_state(self, now_ms: int, limit: int) -> None:
        """Remove what has expired, at most ``limit`` values."""

    # text and passages
    def replace_text(
        self,
        number: int,
        version: int,
        former: tuple[Entity, str],
        entity: Entity,
        text: str,
        passages: Sequence[Passage],
    ) -> None:
        """Give an entity a new text; the former one with its passages and vectors goes over to a version."""

    def set_live(self, number: int, entity: Entity, text: str, *, live: bool) -> None:
        """Index an entity's text among live memories, or among past ones."""

    def load_passages(self, ids: Iterable[int]) -> dict[int, tuple[int, Passage]]:
        """Return the owner and span of passages."""

    def match_text(
        self, query: Query, filter_: Filter, limit: int, *, prefix: bool = False
    ) -> tuple[list[Candidate], bool]:
        """Return the live passages that match best by BM25, and whether all matches were ranked."""

    def document_frequencies(self, words: Sequence[str]) -> tuple[dict[str, int], int]:
        """Return in how many live passages each word stands, and how many passages there are in all."""

    def match_past(self, query: Query, filter_: Filter, limit: int) -> list[Candidate]:
        """Return the best passages of archived and retired entities and of past versions."""

    def match_substring(self, parts: Sequence[str], filter_: Filter, limit: int) -> tuple[int, ...]:
        """Return entities whose body or key holds one of the parts anywhere, newest first."""

    def rebuild_index(self, text_of: Callable[[Entity], str]) -> int:
        """Fill the text index again from the rows; return the number of live entities in it."""

    def marked(self, marks: Sequence[int], limit: int) -> tuple[int, ...]:
        """Return the ``limit`` entities that share most marks, then the newest."""

    def add_marks(self, number: int, marks: Sequence[int]) -> None:
        """Add the marks of an entity's text."""

    def remove_marks(self, number: int, marks: Sequence[int]) -> None:
        """Remove marks of an entity's former text."""

    # vectors
    def model_number(self, name: str, dimensions: int) -> int:
        """Return the number under which a model's vectors are kept, registering it on first use."""

    def known_model(self, name: str) -> int | None:
        """Return the number of a model, or None when no vector of it was ever stored."""

    def lease_pending(self, count: int, now_ms: int, until_ms: int) -> tuple[int, ...]:
        """Take passages without a vector, newest first, and keep others off them until ``until_ms``."""

    def add_vectors(self, model: int, passages: Sequence[int], vectors: NDArray[np.float32]) -> int:
        """Store the vectors of passages that still wait for one, and return how many did."""

    def make_pending(self, owner: int) -> tuple[int, ...]:
        """Mark all passages of an entity as waiting for a vector and return them."""

    def make_foreign_pending(self, model: int) -> int:
        """Mark every passage whose vector is of another model as waiting, and return how many."""

    def pending_in(self, filter_: Filter, limit: int) -> tuple[int, ...]:
        """Return entities that pass a filter and wait for a vector."""

    def count_pending(self) -> int:
        """Return how many passages wait for a vector."""

    def has_pending(self) -> bool:
        """Tell whether any passage waits for a vector."""

    def has_vectors(self, model_name: str) -> bool:
        """Tell whether any vector of this model is stored."""

    def has_vectors_beside(self, model_name: str) -> bool:
        """Tell whether any vector of another model is stored."""

    def nearest(self, model: int, query: NDArray[np.float32], filter_: Filter, limit: int) -> list[Candidate]:
        """Return the passages with the greatest cosine to ``query``, of entities that pass a filter."""

    def cosines(self, model: int, query: NDArray[np.float32], owners: Iterable[int]) -> list[Candidate]:
        """Return the passages of the given owners that have vectors, each with its cosine to ``query``."""

    # journal
    def add_event(self, event: Event) -> None:
        """Append a row to the journal."""

    def chain_key(self, sequence: int) -> bytes | None:
        """Return the key with which the row of a sequence number is chained, or None for plain SHA-256."""

    def journal_end(self) -> tuple[int, int, str]:
        """Return the highest sequence number ever given out, and number and hash of the last row; 0 and '' for none."""

    def events(self, filter_: EventFilter, limit: int, offset: int) -> tuple[Event, ...]:
        """Return the events that pass a filter, newest first."""

    def count_events(self, filter_: EventFilter) -> int:
        """Count the events that pass a filter."""

    def events_after(self, sequence: int, limit: int) -> tuple[tuple[Event, bool], ...]:
        """Return the events after a sequence number, oldest first, each with whether its row can be read as one."""

    # erasure
    def archived(self) -> tuple[int, ...]:
        """Return the numbers of all archived entities."""

    def count_erasable(self) -> Erased:
        """Count what `erase` would remove of all archived entities."""

    def erase(self, numbers: Sequence[int]) -> Erased:
        """Remove those of the given entities that are archived, with all that belongs to them, and count it."""

    def unswept(self) -> int:
        """Return the number of the latest erasure of which words may still be in the store, or 0."""

    def note_swept(self, number: int) -> None:
        """Note that no words are left of the erasures up to a number."""

    def sweep_index(self) -> None:
        """Remove the terms of erased passages from both text indexes, in short transactions of its own."""

    def sweep_marks(self) -> None:
        """Remove the similarity marks of erased entities and the scopes that are empty, in transactions of its own."""

    def vacuum(self) -> None:
        """Write the store anew without free space; writers wait meanwhile."""

    def truncate_log(self, patience_s: float) -> bool:
        """Fold the log into the store and empty it; tell whether no reader kept it for longer than ``patience_s``."""

    def file_size(self) -> int:
        """Return how many bytes the store takes, its log included."""

    def copies(self) -> tuple[str, ...]:
        """Return the paths of files beside the store that are named as its copies."""

    # checks
    def unreadable_bodies(self) -> int:
        """Count the sealed bodies of memories and versions that were changed; in a plain store nobody can tell."""

    def missing_guards(self) -> tuple[str, ...]:
        """Return the names of the guards of the journal that are missing or changed."""

    def misplaced_versions(self, limit: int) -> tuple[tuple[str, str], ...]:
        """Return ids of versions whose interval is empty, overlaps the next or has no entity, each with its fault."""

    def orphaned_events(self) -> int:
        """Count the journal rows that name an entity which does not exist."""

    def orphaned_links(self) -> int:
        """Count the links whose source or target does not exist."""

    # changes
    def change_counter(self) -> int:
        """Return a number that grows with every change of a memory: of text, fields, links, layer or archiving."""

    def changed_since(self, counter: int) -> tuple[int, ...]:
        """Return the numbers of the entities that changed after the counter stood there, erased ones as well."""

    def changes_of(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return where the counter stood after the last change of each entity; those without one are left out."""

    # lifecycle
    def change_mark(self) -> tuple[int, int]:
        """Return a mark that is another one as soon as anything in the store may have changed."""

    def traces(self, after: int, limit: int) -> list[Trace]:
        """Return the next entities by number that are not archived, as the passes look at them."""

    def write_traces(self, traces: Iterable[Trace]) -> None:
        """Write strength and layer of entities, and from when they fade."""

    def archive_traces(self, traces: Iterable[Trace], now_ms: int) -> None:
        """Write strength and layer of entities and archive them, each for its reason; their text is left to move."""

    def take_leaving(self, limit: int) -> tuple[int, ...]:
        """Return entities archived by a pass whose text is still among that of live ones, and no longer list them."""

    def move_to_past(self, entities: Mapping[int, Entity], texts: Mapping[int, str]) -> None:
        """Move the texts of entities into the index of past ones."""

    def tagged_by_use(self, filter_: Filter, limit: int) -> tuple[int, ...]:
        """Return the entities with tags that pass a filter, the last used first, then the newest."""

    def size_bytes(self) -> int:
        """Return how much room the store takes."""

    # cursors
    def positions(self, connector: str) -> dict[str, str]:
        """Return the position of every item of a connector."""

    def set_position(self, connector: str, item: str, position: str, now_ms: int) -> None:
        """Note how far a connector has read an item."""

    def set_positions(self, connector: str, positions: Mapping[str, str | None], now_ms: int) -> None:
        """Note the positions of many items; None removes one."""

    # what another store kept
    def add_wholes(self, wholes: Sequence[Whole]) -> int:
        """Add memories with their past, those left out that are there already; return how many were added."""

    def add_former_events(self, events: Iterable[Event]) -> int:
        """Append events of another journal to this one's chain, those left out that are there already; count them."""

    def add_former_state(self, entries: Iterable[StateEntry]) -> None:
        """Add state entries whose keys are free."""

    # comparison
    def recently_used(self, filter_: Filter, limit: int, offset: int) -> tuple[int, ...]:
        """Return the entities that pass a filter, the one used last first, then by id."""

    def first_vectors(
        self, model: int, dimensions: int, numbers: Sequence[int]
    ) -> tuple[list[int], NDArray[np.float32]]:
        """Return those of the entities whose first passage has a vector, and these vectors as rows of length 1."""

    # workspaces
    def count_by_scope(self, filter_: Filter) -> tuple[tuple[str, str, int], ...]:
        """Return each workspace and category with the number of its entities that pass a filter, in their order."""

    def names(self, filter_: Filter) -> tuple[tuple[str, str], ...]:
        """Return id and key of the entities that pass a filter and are not archived, by key."""

    # upkeep
    def stats(self, now_ms: int, filter_: Filter) -> Stats:
        """Count the entities that pass a filter, and everything else in the store but what has expired."""

    def digest(self, text_of: Callable[[str], str]) -> tuple[str, int]:
        """Return the state digest of all active entities and their number."""

    def last_write_ms(self) -> int | None:
        """Return when the newest content was recorded, or None for an empty store."""

    def waiting_at_most(self, seconds: float, *, altogether: bool = False) -> AbstractContextManager[None]:
        """Let this thread wait for others no longer than that inside the block: each time, or all times together."""

    def log_size(self) -> int:
        """Return how many bytes the log takes."""

    def check_integrity(self, *, thorough: bool = False) -> str:
        """Return ``ok``, or what is wrong with the file; with ``thorough`` every index is held to its table too."""

    def back_up(self, destination: str) -> None:
        """Copy the store as it is now into a new file, sealed if the store is, opened and compared; others go on.

        A file that has the name is replaced.

        Raises:
            Busy: another process has that open as a store.
        """

    def sealed_scope(self) -> str:
        """Return what is sealed: ``full`` for the whole store, ``body`` for bodies only, nothing for a plain store."""


def open_original(path: str, keys: Keys | None = None) -> AbstractContextManager[Original | None]:
    """Open a file that the Rust Mimir wrote, for reading only; None stands for a database without memories.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is a store of the present Mimir.
        StorageFailure: it is no database, damaged, or of a format newer than known.
        Locked: its bodies are encrypted, and the keys are missing or others.
    """
    from mimir.store.sqlite import open_original

    return open_original(path, keys)


def check_plain_file(path: str, keys: Keys, scope: str) -> None:
    """See that keys fit a store whose file is not sealed whole, as far as it can be read now; nothing is changed.

    Raises:
        Locked: its bodies are sealed with other keys.
        Conflict: it is not sealed, or in another scope.
        StorageFailure: it is another program's file, or one of a newer Mimir.
    """
    from mimir.store.sqlite import check_plain_file

    check_plain_file(path, keys, scope)


def open_store(settings: Settings) -> Store:
    """Open the store that the settings name.

    Raises:
        StorageFailure: the file cannot be opened, is damaged or belongs to another program.
        Locked: it is sealed and the key is missing or another, or the key file cannot be read.
        Conflict: it is not sealed and a key is given, or it is sealed in another scope than asked for.
        Busy: another process holds the store too long.
    """
    from mimir.store.sqlite import SqliteStore

    return SqliteStore(
        settings.db,
        durability=settings.durability,
        busy_timeout_ms=settings.busy_timeout_ms,
        keys=load_keys(settings.encryption_key),
        scope=settings.encryption_scope,
    )


def change_keys(
    path: str,
    old: Keys | None,
    new: Keys | None,
    scope: str,
    finish: Callable[[str], None] | None = None,
) -> int:
    """Write a store of today's format anew under other keys, or none; return how many bodies could not be read.

    ``finish`` may add to the new store, whose path it gets, before it takes the place of the former one.

    Raises:
        Busy: another process has the store open.
        StorageFailure: the new store is not what the former one is; that one was left as it was.
    """
    from mimir.store.sqlite.replacing import change_keys

    return change_keys(path, old, new, scope, finish)


def restore(source: str, path: str, keys: Keys | None) -> str:
    """Put a copy of a store in the place of the one at ``path``; return where that one was kept, or nothing.

    Raises:
        NotFound: there is no file to restore.
        InvalidInput: something else than a file is there.
        Busy: another process has the store open.
        StorageFailure: the file to restore is damaged, no store, or its copy is not what it is.
        Locked: it is sealed, and the keys are missing or others.
        Conflict: it is not sealed, and keys are given.
    """
    from mimir.store.sqlite.replacing import restore

    return restore(source, path, keys)

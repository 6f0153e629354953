"""Where memories live: the primitives that every store offers, without any policy.

A store takes and returns model objects and the neutral query; never SQL, rows or cursors. When a memory fades, which
one yields and what a search means is decided above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mimir.config import Settings
    from mimir.model import Candidate, Entity, Filter, Link, Passage, Stats, Stored, Traits, Version
    from mimir.rules.query import Query


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

    def passing(self, filter_: Filter, numbers: Iterable[int]) -> set[int]:
        """Return those of the given entities that pass a filter."""

    def with_key(self, key: str, filter_: Filter, limit: int) -> tuple[int, ...]:
        """Return the entities whose key is exactly this and that pass a filter."""

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

    def links(self, numbers: Iterable[int]) -> dict[int, tuple[Link, ...]]:
        """Return the outgoing links of entities."""

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

    # upkeep
    def stats(self) -> Stats:
        """Count everything in the store."""

    def digest(self, text_of: Callable[[str], str]) -> tuple[str, int]:
        """Return the state digest of all active entities and their number."""

    def last_write_ms(self) -> int | None:
        """Return when the newest content was recorded, or None for an empty store."""

    def check_integrity(self) -> str:
        """Return ``ok``, or what is wrong with the file."""


def open_store(settings: Settings) -> Store:
    """Open the store that the settings name.

    Raises:
        StorageFailure: the file cannot be opened, is damaged or belongs to another program.
        Busy: another process holds it too long.
    """
    from mimir.store.sqlite import SqliteStore

    return SqliteStore(settings.db, durability=settings.durability, busy_timeout_ms=settings.busy_timeout_ms)

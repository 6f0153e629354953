"""CrewAI: `MimirStorage`, a backend for the framework's own memory.

A record is a memory: its id the key, its content the text, its scope the topic path. CrewAI hands a backend vectors and
not the question, so `MimirStorage.embed` is to be its embedder too: it knows which text each of its vectors is of.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mimir.adapters.extras import needed
from mimir.adapters.session import Json, Session, entity_named, every_item
from mimir.embedding import load_embedder
from mimir.errors import InvalidInput

with needed("CrewAI", "'mimir-local[crewai]'"):
    from crewai.memory.types import MemoryRecord, ScopeInfo

if TYPE_CHECKING:
    from mimir.embedding import Embedder

CATEGORY: Final = "crewai_memory"

_KNOWN_VECTORS: Final = 1_000


class MimirStorage:
    """Records of CrewAI's memory in a store of Mimir; usable from several threads.

    Use it as ``Memory(storage=storage, embedder=storage.embed)``. ``category`` holds the records, ``embedder`` replaces
    the bundled model.

    Raises:
        Unavailable: the model cannot be used.
    """

    def __init__(self, session: Session, *, category: str = CATEGORY, embedder: Embedder | None = None) -> None:
        self._session = session
        self._category = category
        self._embedder = embedder or load_embedder()
        self._texts: OrderedDict[tuple[float, ...], str] = OrderedDict()

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text, and remember the latest ones with their texts."""
        vectors = [[float(number) for number in row] for row in self._embedder.embed(texts)]
        for vector, text in zip(vectors, texts, strict=True):
            self._texts[tuple(vector)] = text
        while len(self._texts) > _KNOWN_VECTORS:
            self._texts.popitem(last=False)
        return vectors

    def save(self, records: list[MemoryRecord]) -> None:
        """Store records; one that exists is replaced, and what it was stays in history."""
        for record in records:
            self._session.call(
                "remember",
                category=self._category,
                key=record.id,
                body_json=json.dumps({"content": record.content, "record": record.model_dump(mode="json")}),
                type="crewai_record",
                tags=list(record.categories),
                importance=record.importance,
                topic_path=f"{_scope(record.scope)}/{record.id}",
                workspace_hash="",
            )
            # Without this the vector would be of the record's times and names as well.
            self._session.call("embed", category=self._category, key=record.id, text=record.content, workspace_hash="")

    def search(
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """Return the records nearest in meaning, each with its cosine, moved into 0..1 where it is below.

        Raises:
            InvalidInput: the vector is not one of this storage's embedder.
        """
        query = self._texts.get(tuple(query_embedding))
        if query is None:
            raise InvalidInput(
                "The vector to search for is not of this storage's embedder.",
                hint="Make the memory as Memory(storage=storage, embedder=storage.embed).",
            )
        found: list[tuple[MemoryRecord, float]] = []
        for item in self._items(scope_prefix, query=query, mode="dense"):
            score = max(0.0, float(item["scores"]["dense"]))
            if len(found) == limit or score < min_score:
                break
            record = _record(item)
            if _passes(record, categories, metadata_filter):
                found.append((record, score))
        return found

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Take the records that meet every given condition out of memory, and count them; their history stays."""
        wanted = None if record_ids is None else set(record_ids)
        leaving = [
            record.id
            for record in self._records(scope_prefix)
            if (wanted is None or record.id in wanted)
            and (older_than is None or record.created_at < older_than)
            and _passes(record, categories, metadata_filter)
        ]
        return sum(
            bool(self._session.call("forget", category=self._category, key=one, workspace_hash="")["found"])
            for one in leaving
        )

    def update(self, record: MemoryRecord) -> None:
        """Replace a record; what it was stays in history."""
        self.save([record])

    def get_record(self, record_id: str) -> MemoryRecord | None:
        """Return a record by its id, or None."""
        entity = entity_named(self._session, self._category, record_id, "")
        return None if entity is None else _record(entity)

    def list_records(self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0) -> list[MemoryRecord]:
        """Return the records of a scope and those below it, the newest first."""
        records = sorted(self._records(scope_prefix), key=lambda record: record.created_at, reverse=True)
        return records[offset : offset + limit]

    def get_scope_info(self, scope: str) -> ScopeInfo:
        """Return what a scope holds, those below it included."""
        records = list(self._records(scope))
        times = [record.created_at for record in records]
        return ScopeInfo(
            path=_scope(scope) or "/",
            record_count=len(records),
            categories=sorted({name for record in records for name in record.categories}),
            oldest_record=min(times, default=None),
            newest_record=max(times, default=None),
            child_scopes=_children(scope, records),
        )

    def list_scopes(self, parent: str = "/") -> list[str]:
        """Return the scopes right below one."""
        return _children(parent, list(self._records(parent)))

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        """Return the categories of the records of a scope, each with their number."""
        counts: dict[str, int] = {}
        for record in self._records(scope_prefix):
            for name in record.categories:
                counts[name] = counts.get(name, 0) + 1
        return counts

    def count(self, scope_prefix: str | None = None) -> int:
        """Return the number of records of a scope, those below it included."""
        return sum(1 for _ in self._records(scope_prefix))

    def reset(self, scope_prefix: str | None = None) -> None:
        """Take all records of a scope, or all there are, out of memory."""
        self.delete(scope_prefix)

    async def asave(self, records: list[MemoryRecord]) -> None:
        """Store records on a thread."""
        await asyncio.to_thread(self.save, records)

    async def asearch(self, query_embedding: list[float], **conditions: Any) -> list[tuple[MemoryRecord, float]]:  # noqa: ANN401 - those of search
        """Search on a thread."""
        return await asyncio.to_thread(self.search, query_embedding, **conditions)

    async def adelete(self, **conditions: Any) -> int:  # noqa: ANN401 - those of delete
        """Delete on a thread."""
        return await asyncio.to_thread(self.delete, **conditions)

    def _items(self, scope_prefix: str | None, **arguments: Json) -> Iterator[dict[str, Json]]:
        return every_item(
            self._session,
            category=self._category,
            topic_path=f"{_scope(scope_prefix or '')}/",
            workspace_hash="",
            **arguments,
        )

    def _records(self, scope_prefix: str | None) -> Iterator[MemoryRecord]:
        return (_record(item) for item in self._items(scope_prefix, query=""))


def _scope(scope: str) -> str:
    """Return a scope with a slash before each of its parts and none at its end."""
    return "".join(f"/{part}" for part in scope.split("/") if part)


def _record(item: Mapping[str, Json]) -> MemoryRecord:
    return MemoryRecord.model_validate(json.loads(item["body_json"])["record"])


def _passes(record: MemoryRecord, categories: Sequence[str] | None, metadata: Mapping[str, Json] | None) -> bool:
    return (not categories or bool(set(categories) & set(record.categories))) and all(
        record.metadata.get(name) == value for name, value in (metadata or {}).items()
    )


def _children(parent: str, records: Sequence[MemoryRecord]) -> list[str]:
    prefix = f"{_scope(parent)}/"
    below = [_scope(record.scope).removeprefix(prefix) for record in records if _scope(record.scope).startswith(prefix)]
    return sorted({prefix + rest.split("/", 1)[0] for rest in below})

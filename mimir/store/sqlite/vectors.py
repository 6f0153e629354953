"""Vectors: rows in the file are the truth, their signs in memory find candidates, exact products rank them."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from mimir.model import Candidate, Filter
from mimir.store.sqlite.filters import conditions
from mimir.store.sqlite.passages import PassageRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESCORED: Final = 1_000
"""Candidates by Hamming distance that are ranked exactly: recall@10 is 1.0 at 100,000 vectors, .96 at a million."""

_FETCH: Final = 4_096
_SCALE_BYTES: Final = 4


class SignIndex:
    """The signs of every vector of one model, packed to bits, with the scope of their owners.

    48 bytes a vector and 16 for its sequence number and scope. It only proposes: rows are read again before they are
    ranked, so an entry that another process has made stale costs time and never an answer.
    """

    def __init__(self, model: int, dimensions: int) -> None:
        self.model = model
        self.bytes = dimensions + _SCALE_BYTES
        self.last = 0
        self.lock = threading.Lock()
        self._names: dict[tuple[str, str], int] = {}
        self._parts: list[tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int32]]] = []

    def append(self, sequences: Sequence[int], vectors: bytes, scopes: Sequence[tuple[str, str]]) -> None:
        """Add vectors, as stored and joined end to end, with the category and workspace of each."""
        import numpy as np

        codes = np.fromiter(
            (self._names.setdefault(scope, len(self._names)) for scope in scopes),
            np.int32,
            len(scopes),
        )
        self._parts.append((_sign_bits(_bytes(vectors, len(sequences))), np.array(sequences, np.int64), codes))
        self.last = max(self.last, sequences[-1])

    def nearest(self, query: NDArray[np.float32], filter_: Filter, count: int) -> list[int]:
        """Return the sequence numbers of the ``count`` vectors in the filter's scope whose signs differ least."""
        import numpy as np

        if not self._parts:
            return []
        if len(self._parts) > 1:
            bits, sequences, codes = (np.concatenate(part, axis=-1) for part in zip(*self._parts, strict=True))
            self._parts = [(np.ascontiguousarray(bits), sequences, codes)]
        bits, sequences, codes = self._parts[0]
        wanted = _sign_bits(query.reshape(1, -1))
        distances = np.zeros(len(sequences), np.uint16)
        for row, word in zip(bits, wanted[:, 0], strict=True):
            distances += np.bitwise_count(row ^ word)
        allowed = self._codes_in(filter_)
        if len(allowed) < len(self._names):
            outside = np.ones(len(self._names), bool)
            outside[allowed] = False
            distances[outside.take(codes)] = np.iinfo(np.uint16).max
            count = min(count, int(np.count_nonzero(distances != np.iinfo(np.uint16).max)))
        if count == 0:
            return []
        chosen = np.argpartition(distances, count - 1)[:count] if count < len(distances) else np.arange(len(distances))
        nearest: list[int] = np.sort(sequences[chosen]).tolist()
        return nearest

    def __len__(self) -> int:
        """Return the number of vectors held."""
        return sum(len(part[1]) for part in self._parts)

    def _codes_in(self, filter_: Filter) -> list[int]:
        return [
            code
            for (category, workspace), code in self._names.items()
            if (
                category == filter_.category
                if filter_.category is not None
                else category not in filter_.excluded_categories
            )
            and filter_.workspace_hash in (None, workspace)
        ]


class VectorRows(PassageRows):
    """The vector, model and pending tables of one store file."""

    _index: SignIndex | None = None
    _index_lock: threading.Lock
    _seen_own: dict[int | None, int]

    def model_number(self, name: str, dimensions: int) -> int:
        """Return the number under which a model's vectors are kept, registering it on first use."""
        known = self.known_model(name)
        if known is not None:
            return known
        with self.database.writing():
            self.database.execute("INSERT OR IGNORE INTO models (name, dimensions) VALUES (?, ?)", (name, dimensions))
            return int(self.database.execute("SELECT number FROM models WHERE name = ?", (name,)).get)

    def known_model(self, name: str) -> int | None:
        """Return the number of a model, or None when no vector of it was ever stored."""
        row = self.database.execute("SELECT number FROM models WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def add_vectors(self, model: int, passages: Sequence[int], vectors: NDArray[np.float32]) -> int:
        """Store the vectors of passages that still wait for one, and return how many did.

        A passage whose text was replaced meanwhile is no longer pending under that id, and its vector is dropped.
        """
        waiting = {
            row[0]
            for row in self.database.execute(
                "SELECT passage FROM pending WHERE passage IN (SELECT value FROM json_each(?))",
                (json.dumps(list(passages)),),
            )
        }
        rows = [
            (passage, model, packed)
            for passage, packed in zip(passages, pack(vectors), strict=True)
            if passage in waiting
        ]
        self.database.execute_many("INSERT OR REPLACE INTO vectors (passage, model, vector) VALUES (?, ?, ?)", rows)
        self.database.execute_many("DELETE FROM pending WHERE passage = ?", [(row[0],) for row in rows])
        return len(rows)

    def lease_pending(self, count: int, now_ms: int, until_ms: int) -> tuple[int, ...]:
        """Take up to ``count`` passages without a vector, newest first, and keep others off them until ``until_ms``."""
        # A lease that outlasts one given now is of a clock that was ahead: nobody would ever see its end.
        rows = self.database.execute(
            "SELECT passage FROM pending WHERE leased_until_unix_ms <= ? OR leased_until_unix_ms > ?"
            " ORDER BY passage DESC LIMIT ?",
            (now_ms, until_ms, count),
        ).fetchall()
        self.database.execute_many(
            "UPDATE pending SET leased_until_unix_ms = ? WHERE passage = ?",
            [(until_ms, row[0]) for row in rows],
        )
        return tuple(row[0] for row in rows)

    def make_pending(self, owner: int) -> tuple[int, ...]:
        """Mark all passages of an entity as waiting for a vector and return them."""
        passages = tuple(passage for passage, _ in self.passages_of(owner))
        self.database.execute_many("INSERT OR REPLACE INTO pending VALUES (?, 0)", [(passage,) for passage in passages])
        return passages

    def make_foreign_pending(self, model: int) -> int:
        """Mark passages whose vector is of another model as waiting, and return how many."""
        connection = self.database.connection
        before = connection.total_changes()
        connection.execute(
            "INSERT OR IGNORE INTO pending SELECT passage, 0 FROM vectors WHERE model <> ?",
            (model,),
        )
        return connection.total_changes() - before

    def count_pending(self) -> int:
        """Return how many passages wait for a vector."""
        return int(self.database.execute("SELECT count(*) FROM pending").get)

    def has_pending(self) -> bool:
        """Tell whether any passage waits for a vector."""
        return bool(self.database.execute("SELECT EXISTS (SELECT 1 FROM pending)").get)

    def has_vectors(self, model_name: str) -> bool:
        """Tell whether any vector of this model is stored."""
        # From the newest on: a model that is in use has its vectors there.
        sql = "SELECT EXISTS (SELECT 1 FROM vectors WHERE model = ? ORDER BY sequence DESC)"
        model = self.known_model(model_name)
        return model is not None and bool(self.database.execute(sql, (model,)).get)

    def has_vectors_beside(self, model_name: str) -> bool:
        """Tell whether any vector of another model is stored."""
        if not self.database.execute("SELECT EXISTS (SELECT 1 FROM models WHERE name <> ?)", (model_name,)).get:
            return False
        # Sequence numbers only grow, so what was once seen to be of one model need not be looked at again.
        model, newest = self.known_model(model_name), self._newest_sequence()
        sql = "SELECT sequence FROM vectors WHERE sequence > ? AND model IS NOT ? ORDER BY sequence LIMIT 1"
        found = self.database.execute(sql, (self._seen_own.get(model, 0), model)).fetchone()
        self._seen_own[model] = newest if found is None else found[0] - 1
        return found is not None

    def _newest_sequence(self) -> int:
        return int(self.database.execute("SELECT coalesce(max(sequence), 0) FROM vectors").get)

    def nearest(self, model: int, query: NDArray[np.float32], filter_: Filter, limit: int) -> list[Candidate]:
        """Return the passages whose vectors have the greatest cosine to ``query``, of entities that pass a filter."""
        index = self._current_index(model, query.size)
        depth = max(RESCORED, limit)
        with index.lock:
            self._refresh(index)
            sequences = index.nearest(query, filter_, depth)
            total = len(index)
        found = self._rescored(query, sequences, filter_, limit)
        if len(found) < limit and len(sequences) == depth < total:
            # The filter lets few of the nearest through: rank what it lets through, all of it.
            found = self._rescored(query, self._sequences_passing(model, filter_), filter_, limit)
        return found

    def cosines(self, model: int, query: NDArray[np.float32], owners: Iterable[int]) -> list[Candidate]:
        """Return the passages of the given owners that have vectors, each with its cosine to ``query``."""
        rows = self.database.execute(
            "SELECT p.owner, p.id, v.vector FROM passages p JOIN vectors v ON v.passage = p.id"
            " WHERE p.owner IN (SELECT value FROM json_each(?)) AND v.model = ? AND length(v.vector) = ? ORDER BY p.id",
            (json.dumps(list(owners)), model, query.size + _SCALE_BYTES),
        ).fetchall()
        if not rows:
            return []
        counts = Counter(row[0] for row in rows)
        products = _products(b"".join(row[2] for row in rows), len(rows), query).tolist()
        return [
            Candidate(passage=row[1], owner=row[0], passages=counts[row[0]], score=product)
            for row, product in zip(rows, products, strict=True)
        ]

    def pending_in(self, filter_: Filter, limit: int) -> tuple[int, ...]:
        """Return the numbers of entities that pass a filter and wait for a vector, oldest first."""
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            "SELECT DISTINCT e.number FROM pending w JOIN passages p ON p.id = w.passage"
            f" JOIN entities e ON e.number = p.owner WHERE {where} ORDER BY e.number LIMIT ?",
            (*bindings, limit),
        )
        return tuple(row[0] for row in rows)

    def _current_index(self, model: int, dimensions: int) -> SignIndex:
        with self._index_lock:
            if self._index is None or self._index.model != model:
                self._index = SignIndex(model, dimensions)
            return self._index

    def _refresh(self, index: SignIndex) -> None:
        newest = self._newest_sequence()
        if newest <= index.last:
            return
        rows = self.database.execute(
            "SELECT v.sequence, v.vector, s.category, s.workspace_hash FROM vectors v"
            " CROSS JOIN passages p ON p.id = v.passage CROSS JOIN scopes s ON s.number = p.scope"
            " WHERE v.sequence > ? AND v.model = ? ORDER BY v.sequence",
            (index.last, index.model),
        )
        while True:
            read = list(islice(rows, _FETCH))
            if not read:
                break
            batch = [row for row in read if len(row[1]) == index.bytes]
            if not batch:
                continue
            index.append(
                [row[0] for row in batch],
                b"".join(row[1] for row in batch),
                [(row[2], row[3]) for row in batch],
            )
        index.last = max(index.last, newest)

    def _rescored(
        self, query: NDArray[np.float32], sequences: Sequence[int], filter_: Filter, limit: int
    ) -> list[Candidate]:
        rows = self.database.execute(
            "SELECT passage, vector FROM vectors"
            " WHERE sequence IN (SELECT value FROM json_each(?)) AND length(vector) = ?",
            (json.dumps(list(sequences)), query.size + _SCALE_BYTES),
        ).fetchall()
        if not rows:
            return []
        import numpy as np

        products = _products(b"".join(row[1] for row in rows), len(rows), query)
        passages = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        order = np.lexsort((passages, -products))
        ranked = list(zip(passages[order].tolist(), products[order].tolist(), strict=True))
        return self.first_owned(ranked, filter_, limit)

    def _sequences_passing(self, model: int, filter_: Filter) -> list[int]:
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            "SELECT v.sequence FROM entities e CROSS JOIN passages p ON p.owner = e.number"
            f" CROSS JOIN vectors v ON v.passage = p.id WHERE v.model = ? AND {where} ORDER BY v.sequence",
            (model, *bindings),
        )
        return [row[0] for row in rows]


def pack(vectors: NDArray[np.float32]) -> list[bytes]:
    """Return each vector as signed 8-bit numbers followed by their 32-bit float scale, little-endian."""
    import numpy as np

    scales = np.abs(vectors).max(axis=1, keepdims=True) / 127.0
    scales[scales == 0] = 1.0
    numbers = np.rint(vectors / scales).astype(np.int8)
    joined = np.concatenate([numbers.view(np.uint8), scales.astype("<f4").view(np.uint8)], axis=1)
    return [row.tobytes() for row in joined]


def _bytes(joined: bytes, count: int) -> NDArray[np.int8]:
    import numpy as np

    return np.frombuffer(joined, np.int8).reshape(count, -1)[:, :-_SCALE_BYTES]


def _products(joined: bytes, count: int, query: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    table = np.frombuffer(joined, np.uint8).reshape(count, -1)
    scales = np.ascontiguousarray(table[:, -_SCALE_BYTES:]).view("<f4")[:, 0]
    numbers = table[:, :-_SCALE_BYTES].view(np.int8).astype(np.float32)
    # Rounded, since the last digits depend on how the rows were batched and must not decide an order.
    products: NDArray[np.float32] = np.round((numbers @ query) * scales, 6)
    return products


def _sign_bits(numbers: NDArray[np.int8] | NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return the signs of rows of numbers as 64-bit words, one row of the result per word."""
    import numpy as np

    packed = np.packbits(numbers > 0, axis=1)
    padding = -packed.shape[1] % 8
    if padding:
        packed = np.pad(packed, ((0, 0), (0, padding)))
    return np.ascontiguousarray(packed.view(np.uint64).T)

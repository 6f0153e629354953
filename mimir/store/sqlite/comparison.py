"""What a comparison of many entities reads at once: who was used last, and one vector of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mimir.model import Filter
from mimir.store.sqlite.connection import Database
from mimir.store.sqlite.filters import conditions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SCALE_BYTES: Final = 4


class ComparisonRows:
    """Reads over the entity and vector tables of one store file."""

    database: Database

    def recently_used(self, filter_: Filter, limit: int, offset: int) -> tuple[int, ...]:
        """Return the entities that pass a filter, the one used last first, then by id."""
        where, bindings = conditions(filter_)
        rows = self.database.execute(
            f"SELECT e.number FROM entities e WHERE {where}"
            " ORDER BY e.last_accessed_unix_ms DESC, e.id LIMIT ? OFFSET ?",
            (*bindings, limit, offset),
        )
        return tuple(row[0] for row in rows)

    def first_vectors(
        self, model: int, dimensions: int, numbers: Sequence[int]
    ) -> tuple[list[int], NDArray[np.float32]]:
        """Return those of the entities whose first passage has a vector, and these vectors as rows of length 1."""
        import numpy as np

        rows = self.database.execute(
            "SELECT p.owner, v.vector FROM passages p JOIN vectors v ON v.passage = p.id"
            " WHERE p.owner IN (SELECT value FROM json_each(?)) AND v.model = ? AND length(v.vector) = ?"
            " AND p.id = (SELECT min(f.id) FROM passages f WHERE f.owner = p.owner)",
            (json.dumps(list(numbers)), model, dimensions + _SCALE_BYTES),
        ).fetchall()
        table = np.frombuffer(b"".join(row[1] for row in rows), np.int8).reshape(len(rows), dimensions + _SCALE_BYTES)
        vectors = table[:, :-_SCALE_BYTES].astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1.0)
        return [row[0] for row in rows], vectors

"""What has changed since when: a number for each change of a memory, kept by triggers of the file itself."""

from __future__ import annotations

import json
from collections.abc import Iterable

from mimir.store.sqlite.connection import Database


class ChangeRows:
    """The table of changes of one store file."""

    database: Database

    def change_counter(self) -> int:
        """Return a number that grows with every change of a memory: of text, fields, links, layer or archiving.

        Neither use nor fading counts. It is the same for all processes, and reading it takes microseconds.
        """
        return int(self.database.execute("SELECT coalesce(max(counter), 0) FROM changes").get)

    def changed_since(self, counter: int) -> tuple[int, ...]:
        """Return the numbers of the entities that changed after the counter stood there, erased ones as well."""
        rows = self.database.execute("SELECT entity FROM changes WHERE counter > ? ORDER BY counter", (counter,))
        return tuple(row[0] for row in rows)

    def changes_of(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return where the counter stood after the last change of each entity; those without one are left out."""
        rows = self.database.execute(
            "SELECT entity, counter FROM json_each(?) given CROSS JOIN changes ON entity = given.value",
            (json.dumps(list(numbers)),),
        )
        return dict(rows.fetchall())

"""How far each connector has read, per item."""

from __future__ import annotations

from mimir.store.sqlite.connection import Database


class CursorRows:
    """The cursor table of one store file."""

    database: Database

    def positions(self, connector: str) -> dict[str, str]:
        """Return the position of every item of a connector."""
        rows = self.database.execute("SELECT item, position FROM cursors WHERE connector = ?", (connector,))
        return dict(rows.fetchall())

    def set_position(self, connector: str, item: str, position: str, now_ms: int) -> None:
        """Note how far a connector has read an item."""
        self.database.execute(
            "INSERT INTO cursors VALUES (?, ?, ?, ?) ON CONFLICT (connector, item)"
            " DO UPDATE SET position = excluded.position, updated_at_unix_ms = excluded.updated_at_unix_ms",
            (connector, item, position, now_ms),
        )

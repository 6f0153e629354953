"""How far each connector has read, per item."""

from __future__ import annotations

from collections.abc import Mapping

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

    def set_positions(self, connector: str, positions: Mapping[str, str | None], now_ms: int) -> None:
        """Note the positions of many items; None removes one."""
        self.database.execute_many(
            "DELETE FROM cursors WHERE connector = ? AND item = ?",
            [(connector, item) for item, position in positions.items() if position is None],
        )
        self.database.execute_many(
            "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?)",
            [(connector, item, position, now_ms) for item, position in positions.items() if position is not None],
        )

"""OpenAI Agents SDK: the memory as function tools, and conversations that are kept in it."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from mimir.adapters.extras import needed
from mimir.adapters.functions import CATEGORY, LIMIT, text_functions
from mimir.adapters.session import Json, Session, every_item

with needed("the OpenAI Agents SDK", "openai-agents"):
    from agents import FunctionTool, function_tool
    from agents.memory.session import SessionABC

if TYPE_CHECKING:
    from agents.items import TResponseInputItem

CONVERSATIONS: Final = "conversation"
"""Category of the turns of conversations; unfiltered recall leaves it out."""


def mimir_function_tools(session: Session, *, category: str = CATEGORY, limit: int = LIMIT) -> list[FunctionTool]:
    """Return the tools remember, recall, context and forget over a session."""
    return [
        function_tool(function, name_override=f"mimir_{function.__name__}")
        for function in text_functions(session, category=category, limit=limit)
    ]


class MimirSession(SessionABC):
    """The items of one conversation, in order, each a memory; several agents may share it.

    ``session_id`` names the conversation, ``session`` is the connection to the store.
    """

    def __init__(self, session_id: str, session: Session) -> None:
        self.session_id = session_id
        self._session = session
        self._path = quote(session_id, safe="") + "/"

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the items, the oldest first; with ``limit`` only the latest ones."""
        items = [json.loads(entity["body_json"])["item"] for entity in await asyncio.to_thread(self._entities)]
        return items if limit is None else items[max(len(items) - limit, 0) :]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items."""
        await asyncio.to_thread(self._add, [dict(item) for item in items])

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the latest item and return it, or None when there is none."""
        return await asyncio.to_thread(self._pop)

    async def clear_session(self) -> None:
        """Remove all items."""
        await asyncio.to_thread(self._clear)

    def _entities(self) -> list[dict[str, Json]]:
        found = every_item(self._session, query="", category=CONVERSATIONS, topic_path=self._path, workspace_hash="")
        return sorted(found, key=lambda entity: str(entity["key"]))

    def _add(self, items: list[dict[str, Json]]) -> None:
        for item in items:
            # Keys in the order of time: whoever else adds to the conversation meanwhile takes another place, not this.
            key = f"{self._path}{time.time_ns():020d}-{secrets.token_hex(4)}"
            self._session.call(
                "remember",
                category=CONVERSATIONS,
                key=key,
                body_json={"item": item},
                type="turn",
                topic_path=self._path,
                workspace_hash="",
            )

    def _pop(self) -> TResponseInputItem | None:
        for entity in reversed(self._entities()):
            if self._forget(entity):
                item: TResponseInputItem = json.loads(entity["body_json"])["item"]
                return item
        return None

    def _clear(self) -> None:
        for entity in self._entities():
            self._forget(entity)

    def _forget(self, entity: dict[str, Json]) -> bool:
        """Take an item away, and tell whether nobody else had."""
        done = self._session.call("forget", category=CONVERSATIONS, key=entity["key"], workspace_hash="")
        return bool(done["found"])

"""AutoGen: `MimirMemory`, a `Memory` for its agents."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from typing import Any, Final, Self

from mimir.adapters.extras import needed
from mimir.adapters.functions import line_of
from mimir.adapters.session import CALL_TIMEOUT_S, Json, Session, open_session
from mimir.errors import InvalidInput
from mimir.rules.fencing import LABEL

with needed("AutoGen", "'mimir-local[autogen]'"):
    from autogen_core import CancellationToken, Component
    from autogen_core.memory import (
        Memory,
        MemoryContent,
        MemoryMimeType,
        MemoryQueryResult,
        UpdateContextResult,
    )
    from autogen_core.model_context import ChatCompletionContext
    from autogen_core.models import SystemMessage, UserMessage
    from pydantic import BaseModel

CATEGORY: Final = "autogen"
CONTEXT_HEADING: Final = "Relevant memory context from Mimir:"

_ROUTED: Final = ("category", "key", "type")
"""Members of a content's metadata that say where it is stored rather than what it is."""


class MimirMemoryConfig(BaseModel):
    """What a `MimirMemory` is made anew from; keys and tokens are left out."""

    db_path: str | None = None
    binary: str = ""
    url: str = ""
    category: str = CATEGORY
    context_limit: int = 10
    name: str = "mimir"


class MimirMemory(Memory, Component[MimirMemoryConfig]):
    """Memories of one category for an agent of AutoGen.

    ``session`` uses an open session, which stays open; otherwise one is opened as for
    `mimir.adapters.session.open_session`: ``binary`` starts a server of its own, ``url`` speaks to one over HTTP, and
    with neither the store at ``db_path`` is opened in this process.

    Raises:
        MimirError: the store cannot be opened.
    """

    component_type = "memory"
    component_config_schema = MimirMemoryConfig
    component_provider_override = "mimir.adapters.autogen.MimirMemory"

    def __init__(
        self,
        db_path: str | None = None,
        *,
        session: Session | None = None,
        binary: str = "",
        url: str = "",
        token: str = "",
        timeout: float = CALL_TIMEOUT_S,
        category: str = CATEGORY,
        context_limit: int = 10,
        name: str = "mimir",
        **settings: Any,  # noqa: ANN401 - passed on as they are
    ) -> None:
        self.name = name
        self.category = category
        self._limit = context_limit
        self._config = MimirMemoryConfig(
            db_path=db_path, binary=binary, url=url, category=category, context_limit=context_limit, name=name
        )
        self.session = open_session(
            db_path,
            session=session,
            command=(binary,) if binary else (),
            url=url,
            token=token,
            timeout_s=timeout,
            **settings,
        )

    async def add(self, content: MemoryContent, cancellation_token: CancellationToken | None = None) -> None:
        """Store a content; its metadata may name ``category``, ``key`` and ``type``, the rest is kept beside it.

        Raises:
            InvalidInput: it is an image or another object that cannot be stored.
            MimirError: it cannot be stored.
        """
        rest = dict(content.metadata or {})
        place = {name: rest.pop(name) for name in _ROUTED if name in rest}
        body = {**rest, "content": _stored(content.content), "mime_type": _mime(content)}
        arguments = {"category": self.category, "key": f"autogen-{time.time_ns()}", **place, "body_json": body}
        await self._call("remember", cancellation_token, **arguments)

    async def query(
        self,
        query: str | MemoryContent,
        cancellation_token: CancellationToken | None = None,
        **kwargs: Any,  # noqa: ANN401 - AutoGen's signature
    ) -> MemoryQueryResult:
        """Return the memories of the category that fit best; ``kwargs`` are further arguments of mimir_recall.

        Raises:
            MimirError: it cannot be searched.
        """
        text = query if isinstance(query, str) else str(_stored(query.content))
        found = await self._recall(text, cancellation_token, **kwargs)
        return MemoryQueryResult(results=[_content_of(item) for item in found["items"]])

    async def update_context(self, model_context: ChatCompletionContext) -> UpdateContextResult:
        """Add what fits the latest message of the user to the context, as one system message that calls it data.

        Raises:
            MimirError: it cannot be searched.
        """
        messages = await model_context.get_messages()
        asked = next((one.content for one in reversed(messages) if isinstance(one, UserMessage)), "")
        query = asked if isinstance(asked, str) else " ".join(part for part in asked if isinstance(part, str))
        items = (await self._recall(query, None))["items"]
        if items:
            lines = "\n".join([CONTEXT_HEADING, LABEL, *map(line_of, items)])
            await model_context.add_message(SystemMessage(content=lines))
        return UpdateContextResult(memories=MemoryQueryResult(results=[_content_of(item) for item in items]))

    async def clear(self) -> None:
        """Take every memory of the category out of recall; mimir_purge would erase them.

        Raises:
            MimirError: it cannot be changed.
        """
        await self._call("prune", None, category=self.category, purge_all=True, limit=0)

    async def close(self) -> None:
        """Release what the memory opened."""
        await asyncio.to_thread(self.session.close)

    async def _recall(
        self, query: str, cancellation_token: CancellationToken | None, **arguments: Json
    ) -> dict[str, Json]:
        whole = {"limit": self._limit, "category": self.category, **arguments}
        return await self._call("recall", cancellation_token, query=query, **whole)

    async def _call(
        self,
        operation: str,
        cancellation_token: CancellationToken | None,
        **arguments: Json,
    ) -> dict[str, Json]:
        work = asyncio.ensure_future(asyncio.to_thread(self.session.call, operation, **arguments))
        if cancellation_token is not None:
            cancellation_token.link_future(work)
        return await work

    def _to_config(self) -> MimirMemoryConfig:
        return self._config

    @classmethod
    def _from_config(cls, config: MimirMemoryConfig) -> Self:
        return cls(**config.model_dump())


def create_mimir_memory(db_path: str | None = None, **options: Any) -> MimirMemory:  # noqa: ANN401 - passed on
    """Return a memory; the arguments are those of `MimirMemory`."""
    return MimirMemory(db_path, **options)


def _mime(content: MemoryContent) -> str:
    kind = content.mime_type
    return kind.value if isinstance(kind, MemoryMimeType) else str(kind)


def _stored(content: object) -> Json:
    """Return a content as JSON; bytes become base64 text."""
    if isinstance(content, bytes):
        return base64.b64encode(content).decode()
    if isinstance(content, (str, dict)):
        return content
    raise InvalidInput(
        f"A {type(content).__name__} cannot be remembered.", hint="Store text, JSON or bytes, or a description of it."
    )


def _content_of(item: Mapping[str, Json]) -> MemoryContent:
    body = json.loads(item["body_json"])
    told = body if isinstance(body, dict) else {"content": body}
    kind = str(told.get("mime_type", MemoryMimeType.TEXT.value))
    content = told.get("content", item["body_json"])
    if kind == MemoryMimeType.BINARY.value and isinstance(content, str):
        content = base64.b64decode(content)
    elif not isinstance(content, (str, dict)):
        content = json.dumps(content)
    rest = {name: value for name, value in told.items() if name not in ("content", "mime_type")}
    place = {name: item[name] for name in ("category", "key", "score")}
    known = {one.value: one for one in MemoryMimeType}
    return MemoryContent(content=content, mime_type=known.get(kind, kind), metadata={**rest, **place})

"""LangChain: a retriever, and the memory as tools of an agent."""

from __future__ import annotations

import json
from typing import Any

from mimir.adapters.extras import needed
from mimir.adapters.functions import CATEGORY, LIMIT, text_functions
from mimir.adapters.session import Json, Session
from mimir.retrieval import EVIDENCE_CHARACTERS

with needed("LangChain", "langchain-core"):
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import BaseTool, StructuredTool
    from pydantic import ConfigDict, Field


class MimirRetriever(BaseRetriever):
    """Memories as documents: what they say, or the passage of it that matched, and everything else as metadata.

    ``filters`` are further arguments of mimir_recall, such as ``category`` or ``workspace_hash``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    session: Any
    limit: int = LIMIT
    filters: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:  # noqa: ARG002 - LangChain's signature
        items = self.session.call("recall", query=query, limit=self.limit, **self.filters)["items"]
        return [document_of(item) for item in items]


def document_of(item: dict[str, Json]) -> Document:
    """Return an item of recall as a document: its whole text if that is short, else the passage that matched."""
    body = json.loads(item["body_json"])
    text = body.get("content", body.get("text")) if isinstance(body, dict) else body
    if not isinstance(text, str) or len(text) > EVIDENCE_CHARACTERS:
        text = item["evidence"] or item["body_json"]
    named = ("id", "category", "key", "score", "tags", "layer", "created_at_unix_ms", "recorded_at_unix_ms")
    metadata = {**(body if isinstance(body, dict) else {}), **{name: item[name] for name in named}}
    return Document(page_content=text, metadata=metadata, id=item["id"])


def mimir_tools(session: Session, *, category: str = CATEGORY, limit: int = LIMIT) -> list[BaseTool]:
    """Return the tools remember, recall, context and forget over a session."""
    return [
        StructuredTool.from_function(function, name=f"mimir_{function.__name__}", parse_docstring=True)
        for function in text_functions(session, category=category, limit=limit)
    ]

"""Pydantic AI: the memory as a toolset of an agent."""

from __future__ import annotations

from typing import Any

from mimir.adapters.extras import needed
from mimir.adapters.functions import CATEGORY, LIMIT, text_functions
from mimir.adapters.session import Session

with needed("Pydantic AI", "pydantic-ai-slim"):
    from pydantic_ai import Tool
    from pydantic_ai.toolsets import FunctionToolset


def mimir_toolset(session: Session, *, category: str = CATEGORY, limit: int = LIMIT) -> FunctionToolset[Any]:
    """Return a toolset of remember, recall, context and forget over a session; one call runs at a time."""
    return FunctionToolset(
        [
            Tool(function, name=f"mimir_{function.__name__}", takes_ctx=False, sequential=True)
            for function in text_functions(session, category=category, limit=limit)
        ]
    )

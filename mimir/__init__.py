"""Persistent memory for AI agents: local-first, MCP-native, one SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimir.errors import (
    Busy,
    Conflict,
    InvalidInput,
    Locked,
    MimirError,
    NotFound,
    StorageFailure,
    Unauthorized,
    Unavailable,
)

if TYPE_CHECKING:
    from mimir.adapters.client import MimirClient
    from mimir.memory import Memory

__version__ = "0.1.0"

__all__ = [
    "Busy",
    "Conflict",
    "InvalidInput",
    "Locked",
    "Memory",
    "MimirClient",
    "MimirError",
    "NotFound",
    "StorageFailure",
    "Unauthorized",
    "Unavailable",
    "__version__",
]


def __getattr__(name: str) -> object:
    # `Memory` pulls in every operation; a server process that answers one call must not pay for it.
    if name == "Memory":
        from mimir.memory import Memory

        return Memory
    if name == "MimirClient":
        from mimir.adapters.client import MimirClient

        return MimirClient
    message = f"module 'mimir' has no attribute {name!r}"
    raise AttributeError(message)

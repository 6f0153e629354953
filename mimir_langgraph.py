"""The adapter for LangGraph under the name of the original's package."""

from mimir.adapters.langgraph import MimirStore, create_mimir_store

__all__ = ["MimirStore", "create_mimir_store"]

"""The adapter for AutoGen under the name of the original's package."""

from mimir.adapters.autogen import MimirMemory, create_mimir_memory

__all__ = ["MimirMemory", "create_mimir_memory"]

"""The adapter for CrewAI under the name of the original's package."""

from mimir.adapters.crewai import MimirMemoryTool

__all__ = ["MimirMemoryTool"]

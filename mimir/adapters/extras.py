"""What an adapter says when its framework is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mimir.errors import Unavailable


@contextmanager
def needed(framework: str, install: str) -> Iterator[None]:
    """Turn a failing import of a framework into one sentence.

    Raises:
        Unavailable: the framework is not installed, or lacks what the adapter needs.
    """
    try:
        yield
    except ImportError as error:
        raise Unavailable(
            f"This adapter needs {framework} ({error.name or error} is missing).", hint=f"Run: pip install {install}"
        ) from error

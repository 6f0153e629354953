"""The memory as plain functions from text to text, which frameworks turn into tools of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Final

from mimir.adapters.session import Json, Session
from mimir.errors import MimirError
from mimir.rules.fencing import LABEL, context_line

CATEGORY: Final = "note"
LIMIT: Final = 5

_LONGEST_LINE: Final = 600


def text_functions(session: Session, *, category: str = CATEGORY, limit: int = LIMIT) -> tuple[Callable[..., str], ...]:
    """Return the functions remember, recall, context and forget over a session.

    ``category`` is where remember stores what names no other, ``limit`` how many memories recall returns. A failure is
    told in the text that comes back, so that a model can mend its call.
    """

    def remember(content: str, key: str, category: str = category) -> str:
        """Store one fact, decision or preference for later sessions; the same key again updates it.

        Args:
            content: What to remember, in plain words.
            key: A short stable name of its subject.
            category: Its group, such as decision or preference.
        """
        done = session.call("remember", category=category, key=key, body_json={"content": content})
        return f"{done['action']}: {done['category']}/{done['key']}"

    def recall(query: str, limit: int = limit) -> str:
        """Find memories by words and meaning.

        Args:
            query: The question, in plain words.
            limit: Most memories to return.
        """
        items = session.call("recall", query=query, limit=limit)["items"]
        return "\n".join([LABEL, *map(line_of, items)]) if items else "Nothing is remembered about that."

    def context(query: str = "") -> str:
        """Return the pinned and the most relevant memories as one block.

        Args:
            query: What the work is about; empty for the most useful memories.
        """
        return str(session.call("context", query=query or None)["markdown"])

    def forget(key: str, category: str = category) -> str:
        """Take one memory out of recall; its history stays.

        Args:
            key: Its key.
            category: Its group.
        """
        found = session.call("forget", category=category, key=key)["found"]
        return f"forgotten: {category}/{key}" if found else f"There is no memory {category}/{key}."

    return _told(remember), _told(recall), _told(context), _told(forget)


def line_of(item: Mapping[str, Json]) -> str:
    """Return an item of recall as one line of data."""
    return context_line(
        category=item["category"],
        key=item["key"],
        text=item.get("evidence") or item["body_json"],
        retrievals=item["retrieval_count"],
        decay=item["decay_score"],
        recorded_ms=item["recorded_at_unix_ms"],
        valid_to_ms=item.get("valid_to_unix_ms"),
        age_days=item["age_days"],
        agent=item.get("agent_id", ""),
        most=_LONGEST_LINE,
    )


def failure_text(error: MimirError) -> str:
    """Return what a model is told of a failure."""
    return f"Error ({error.code}): {error.message} {error.hint}".rstrip()


def _told(function: Callable[..., str]) -> Callable[..., str]:
    @wraps(function)
    def tell(*arguments: object, **named: object) -> str:
        try:
            return function(*arguments, **named)
        except MimirError as error:
            return failure_text(error)

    return tell

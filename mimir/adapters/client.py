"""`MimirClient`: a handful of plain methods for programs that want memory and nothing else to learn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from mimir.adapters.session import Json, open_session
from mimir.errors import InvalidInput, NotFound

DEFAULT_CATEGORY: Final = "general"

_KEY_DIGITS: Final = 16
_OWN_ARGUMENTS: Final = ("agent_id", "certainty", "importance", "layer", "tags", "topic_path", "type", "workspace_hash")
"""Members of a memory's metadata that are arguments of remember; all others go into its body."""


class MimirClient:
    """A connection to a store. Close it when done, or use it in a ``with`` block.

    The arguments are those of `mimir.adapters.session.open_session`: by default the store is opened in this process.
    """

    def __init__(self, db_path: str | None = None, **options: Any) -> None:  # noqa: ANN401 - passed on as they are
        self.session = open_session(db_path, **options)

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Release the store or the server; closing twice is harmless."""
        self.session.close()

    def remember(
        self, content: str, category: str = DEFAULT_CATEGORY, metadata: Mapping[str, Json] | None = None
    ) -> dict[str, Json]:
        """Store a text and return its ``id``, ``category``, ``key`` and what was done.

        ``metadata`` may name the ``key``; without one it is made from the text, so that the same text is stored once.
        Its ``tags``, ``type``, ``layer``, ``importance``, ``certainty``, ``topic_path``, ``agent_id`` and
        ``workspace_hash`` count as in mimir_remember; everything else is kept beside the text.

        Raises:
            MimirError: it cannot be stored.
        """
        rest = dict(metadata or {})
        key = str(rest.pop("key", "") or _key_of(content))
        own = {name: rest.pop(name) for name in _OWN_ARGUMENTS if name in rest}
        return self.session.call("remember", category=category, key=key, body_json={**rest, "content": content}, **own)

    def recall(self, query: str, limit: int = 10, **filters: Json) -> list[dict[str, Json]]:
        """Return the memories that fit a question best, as the items of mimir_recall.

        ``filters`` are its other arguments, such as ``category`` or ``mode``.

        Raises:
            MimirError: it cannot be searched.
        """
        items: list[dict[str, Json]] = self.session.call("recall", query=query, limit=limit, **filters)["items"]
        return items

    def search_memories(
        self, query: str, category: str | None = None, tags: Sequence[str] = (), limit: int = 10
    ) -> list[dict[str, Json]]:
        """Return the memories that fit best among those of a category and with all of the given tags.

        Tags are compared with the best hundred at most.

        Raises:
            MimirError: it cannot be searched.
        """
        wanted = set(tags)
        found = self.recall(query, max(limit, 100) if wanted else limit, category=category)
        return [item for item in found if wanted <= set(item["tags"])][:limit]

    def forget(self, key: str, category: str | None = None, reason: str = "") -> bool:
        """Take a memory out of recall and tell whether there was one: by its id, or by key and category.

        Raises:
            MimirError: it cannot be changed.
        """
        if category is None:
            try:
                entity = self.session.call("get_entity", id=key)
            except NotFound:
                category, workspace = DEFAULT_CATEGORY, None
            else:
                category, key, workspace = (entity[name] for name in ("category", "key", "workspace_hash"))
        else:
            workspace = None
        report = self.session.call(
            "forget", category=category, key=key, reason=reason or None, workspace_hash=workspace
        )
        return bool(report["found"])

    def vault_export(self, vault_dir: str, **options: Json) -> dict[str, Json]:
        """Write every live memory as a Markdown note into a folder and return the report.

        Raises:
            MimirError: the folder cannot be written.
        """
        if not vault_dir:
            raise InvalidInput("'vault_dir' is empty.", hint="Name the folder for the notes.")
        return self.session.call("vault_export", vault_dir=vault_dir, **options)


def _key_of(content: str) -> str:
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:_KEY_DIGITS]

"""What the pages read. Nothing here changes anything, and everything is what the caller's identity may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from mimir import __version__
from mimir.engine import Engine
from mimir.model import Json
from mimir.operations import ops, workspaces
from mimir.web.asked import Asked

Read = Callable[[Engine, Asked], Json]


def store_facts(engine: Engine) -> dict[str, Json]:
    """Return who reads and writes here, and which workspaces, categories, layers and types there are."""
    counts = ops.stats(engine)
    spaces = workspaces.workspace_list(engine).workspaces
    return {
        "user": engine.settings.agent_id,
        "read_only": engine.settings.read_only,
        "version": __version__,
        "db": engine.store.path,
        "workspaces": [{"workspace_hash": one.workspace_hash, "memories": one.entities} for one in spaces],
        "categories": list(counts.by_category),
        "layers": list(counts.by_layer),
        "types": list(counts.by_type),
    }


def stats(engine: Engine, _: Asked) -> Json:
    """Count what the store holds."""
    return msgspec.to_builtins(ops.stats(engine))


READS: Final[Mapping[str, Read]] = {
    "/api/stats": stats,
}
"""The reads by path."""

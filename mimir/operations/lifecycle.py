"""Lifecycle: keep the store in order."""

from __future__ import annotations

from typing import Final

from mimir.engine import Engine, text_of
from mimir.model import Reindexed
from mimir.operation import operation

FAMILY: Final = "Lifecycle"


@operation(family=FAMILY, effect="write", title="Rebuild Search Index", idempotent=True, long=True)
def reindex(engine: Engine) -> Reindexed:
    """Rebuild the text index from the memories; needed only when mimir_health or doctor says so.

    Memories whose vectors come from another model are embedded again in the background.
    """
    with engine.writing():
        count = engine.store.rebuild_index(text_of)
        if engine.embedder is not None:
            model = engine.store.model_number(engine.embedder.model_id, engine.embedder.dimensions)
            engine.store.make_foreign_pending(model)
    engine.note_pending()
    return Reindexed(reindexed=count)

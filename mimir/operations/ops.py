"""Operations on the store as a whole: is it well, what does it hold."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from mimir.engine import Engine
from mimir.errors import MimirError
from mimir.model import Health, Stats
from mimir.operation import operation

FAMILY: Final = "Operations"


@operation(family=FAMILY, effect="read", title="Check Health", profile="standard")
def health(engine: Engine) -> Health:
    """Tell whether the store answers, and which file it is."""
    try:
        with engine.store.reading():
            engine.store.has_pending()
    except MimirError as error:
        return Health(status="unhealthy", db_path=engine.store.path, detail=error.message)
    failure = engine.worker_failure
    return Health(
        status="healthy",
        db_path=engine.store.path,
        detail=UNSET if failure is None else failure.message,
    )


@operation(family=FAMILY, effect="read", title="Get Database Statistics", profile="standard")
def stats(engine: Engine) -> Stats:
    """Count what the store holds: by category, type and layer, versions, links, vectors; archived ones included."""
    with engine.store.reading():
        return engine.store.stats()

"""Operations on the store as a whole: is it well, what does it hold, how did it help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import UNSET, Struct, UnsetType

from mimir.drafts import make_draft
from mimir.engine import Engine
from mimir.errors import MimirError
from mimir.model import Filter, Health, Stats
from mimir.operation import Doc, operation
from mimir.recording import add, new_entity

FAMILY: Final = "Operations"


class Benchmarked(Struct, frozen=True, kw_only=True):
    """The memory that keeps what a task took; `warnings` say where what was told seems to hold a secret."""

    entity_id: str
    created_at_unix_ms: int
    warnings: tuple[str, ...] | UnsetType = UNSET


@operation(family=FAMILY, effect="read", title="Check Health", profile="standard")
def health(engine: Engine) -> Health:
    """Tell whether the store answers, which file it is, and which workspace calls mean that name none."""
    status: Literal["healthy", "unhealthy"] = "healthy"
    try:
        with engine.store.reading():
            engine.store.has_pending()
        failure = engine.worker_failure
    except MimirError as error:
        status, failure = "unhealthy", error
    workspace = engine.workspace
    return Health(
        status=status,
        db_path=engine.store.path,
        detail=UNSET if failure is None else failure.message,
        workspace=UNSET if workspace.hash is None else workspace.hash,
        workspace_reason=workspace.reason if engine.settings.workspace else UNSET,
    )


@operation(family=FAMILY, effect="read", title="Get Database Statistics", profile="standard")
def stats(engine: Engine) -> Stats:
    """Count what the store holds: by category, type and layer, versions, links, vectors; archived ones included."""
    readable = Filter(include_archived=True, caller=engine.settings.agent_id)
    with engine.store.reading():
        return engine.store.stats(engine.clock.now_ms(), readable)


@operation(
    family=FAMILY,
    effect="write",
    title="Record Benchmark",
    example={
        "task_description": "Chose a database",
        "turns_taken": 4,
        "tokens_used": 9_200,
        "memory_recall_used": True,
        "recall_count": 2,
        "task_success": True,
    },
)
def bench(
    engine: Engine,
    task_description: Annotated[str, Doc("What the task was.")],
    turns_taken: Annotated[int, Doc("Turns it took.")],
    tokens_used: Annotated[int, Doc("Tokens it took.")],
    memory_recall_used: Annotated[bool, Doc("Whether memory was asked.")],
    recall_count: Annotated[int, Doc("How often memory was asked.")] = 0,
    task_success: Annotated[bool, Doc("Whether it succeeded.")] = False,
    session_id: Annotated[str, Doc("Session it belongs to.")] = "",
    tags: Annotated[Sequence[str], Doc("Words to find it by.")] = (),
) -> Benchmarked:
    """Record what a finished task took, so that work with and without memory can be compared.

    Each call adds a memory of category benchmark; read them with mimir_recall.
    """
    entity_id = engine.clock.new_id("bch-")
    draft = make_draft(
        "benchmark",
        entity_id.replace("bch-", "bench-", 1),
        {
            "task_description": task_description,
            "turns_taken": turns_taken,
            "tokens_used": tokens_used,
            "tokens_per_turn": tokens_used // turns_taken if turns_taken > 0 else 0,
            "memory_recall_used": memory_recall_used,
            "recall_count": recall_count,
            "task_success": task_success,
            "session_id": session_id,
        },
        secrets=engine.settings.secrets,
        source="mimir_bench",
        changes={"type": "benchmark", "tags": tags, "layer": "working"},
    )
    with engine.writing() as now:
        add(engine, new_entity(engine, draft, entity_id, now))
    engine.note_pending()
    return Benchmarked(entity_id=entity_id, created_at_unix_ms=now, warnings=draft.warnings or UNSET)

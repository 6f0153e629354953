"""What the pages read. Nothing here changes anything, and everything is what the caller's identity may see."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Final, get_args

import msgspec

from mimir import __version__
from mimir.engine import Engine
from mimir.journaling import verify_journal
from mimir.model import EventFilter, Filter, Json, Mode, Sort
from mimir.operations import journal as journalling
from mimir.operations import ops, search, workspaces
from mimir.operations.editing import require
from mimir.recording import may_read
from mimir.rules.marking import marked
from mimir.rules.query import parse_query
from mimir.web import graph
from mimir.web.asked import Asked
from mimir.web.shapes import cursor_after, in_full, listed, order_of, readable, shown, version_shown

Read = Callable[[Engine, Asked], Json]

MOST: Final = 1_000
"""Most items of a page."""

MOST_OFFSET: Final = 1_000_000
STRENGTH_PARTS: Final = 10

_ARCHIVED: Final = ("false", "true", "only")


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


def overview(engine: Engine, asked: Asked) -> Json:
    """Return what the first page shows: counts, growth, how strong memories are, and how the store is."""
    workspace = asked.text("workspace")
    everything = readable(engine, workspace)
    live = msgspec.structs.replace(everything, include_archived=False)
    store, settings = engine.store, engine.settings
    with store.reading():
        counts = store.stats(engine.clock.now_ms(), everything)
        days = store.created_by_day(everything)
        strengths = store.strengths(live, STRENGTH_PARTS)
        last_write = store.last_write_ms()
        unswept = store.unswept()
    totals = itertools.accumulate(created for _, created in days)
    health = ops.health(engine)
    notes = [str(health.detail)] if health.detail else []
    if engine.embedder is None:
        notes.append(f"Keyword recall only: {engine.no_embedder}.")
    if unswept:
        notes.append(
            "Words of erased memories may be left in the file: purge once more when no other process reads it."
        )
    return {
        "totals": {
            "memories": counts.active_entities,
            "archived": counts.total_entities - counts.active_entities,
            "versions": counts.total_versions,
            "links": counts.total_links,
            "journal": counts.total_journal_events,
            "state": counts.total_state_entries,
            "vectors": counts.embedded,
            "pending": counts.pending_embeddings,
        },
        "growth": [
            {"day": _day(start), "created": created, "total": total}
            for (start, created), total in zip(days, totals, strict=True)
        ],
        "layers": counts.by_layer,
        "categories": [
            {"category": category, "count": count}
            for category, count in sorted(counts.by_category.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        "types": counts.by_type,
        "decay": strengths,
        "store": {
            "path": store.path,
            "bytes": counts.db_file_size_bytes,
            "wal_bytes": store.log_size(),
            "encryption": store.sealed_scope() or "none",
            "durability": settings.durability,
            "embedding_model": engine.embedder.model_id if engine.embedder else None,
            "pending": counts.pending_embeddings,
            "last_write_unix_ms": last_write,
            "oldest_unix_ms": counts.oldest_unix_ms,
            "newest_unix_ms": counts.newest_unix_ms,
        },
        "health": {"ok": health.status == "healthy" and not health.detail, "notes": notes},
    }


def entities(engine: Engine, asked: Asked) -> Json:
    """Return a page of memories in any order, and how many pass the filter in all."""
    sort: Sort = asked.choice("sort", get_args(Sort))  # type: ignore[assignment]  # one of them
    order = order_of(sort, descending=asked.choice("order", ("desc", "asc")) == "desc", cursor=asked.text("after"))
    limit = asked.number("limit", 50, 1, MOST)
    with engine.store.reading():
        # One more tells whether there is a page behind this one.
        found, total = engine.store.listing(
            filter_of(engine, asked), order, limit + 1, asked.number("offset", 0, 0, MOST_OFFSET)
        )
        page = found[:limit]
        items = listed(engine, page)
    return {"items": items, "total": total, "next": cursor_after(page[-1], sort) if len(found) > limit else None}


def filter_of(engine: Engine, asked: Asked) -> Filter:
    """Return the filter that a list asks for; what is filled in with nothing does not filter, but for the workspace."""
    archived = asked.choice("archived", _ARCHIVED)
    return Filter(
        category=asked.text("category") or None,
        layer=asked.text("layer") or None,
        type=asked.text("type") or None,
        agent_id=asked.text("agent") or None,
        tag=asked.text("tag") or None,
        status=asked.text("status") or None,
        always_on=asked.flag("pinned"),
        verified=asked.flag("verified"),
        workspace_hash=asked.text("workspace"),
        include_archived=archived != "false" or bool(asked.text("status")),
        left_recall=archived == "only",
        caller=engine.settings.agent_id,
    )


def entity(engine: Engine, asked: Asked) -> Json:
    """Return one memory in full."""
    with engine.store.reading():
        return in_full(engine, require(engine, asked.required("id")))


def versions(engine: Engine, asked: Asked) -> Json:
    """Return what a memory was, newest first; the first is what it is now."""
    limit, offset = asked.number("limit", 50, 1, MOST), asked.number("offset", 0, 0, MOST_OFFSET)
    with engine.store.reading():
        stored = require(engine, asked.required("id"))
        total = engine.store.count_versions(stored.number) + 1
        now = shown(stored.entity, invalidated_at_unix_ms=None, archived_at_unix_ms=stored.archived_at_unix_ms)
        page = [now] if offset == 0 else []
        past = engine.store.versions(stored.number, limit - len(page), max(offset - 1, 0))
    # One that was private stays so when the memory was opened later.
    return {"items": [*page, *(version_shown(one) for one in past if may_read(engine, one.entity))], "total": total}


def find(engine: Engine, asked: Asked) -> Json:
    """Search, without strengthening what is found; each item tells what found it and where."""
    text = asked.text("q") or ""
    started = engine.clock.now_ms()
    mode: Mode = asked.choice("mode", ("hybrid", "fts5", "dense"))  # type: ignore[assignment]  # one of them
    if mode != "fts5" and engine.embedder is None:
        mode = "fts5"
    found = search.recall(
        engine,
        text,
        limit=asked.number("limit", 20, 1, MOST),
        category=asked.text("category") or None,
        layer=asked.text("layer") or None,
        type=asked.text("type") or None,
        workspace_hash=asked.text("workspace"),
        include_archived=asked.flag("archived") or False,
        mode=mode,
        reinforce=False,
    )
    words = parse_query(text).words
    answer: dict[str, Json] = found.wire()
    for item in answer["items"]:
        item["entity_type"], item["links_count"] = item["type"], len(item["links"])
        item["spans"] = _spans(item["evidence"], words)
    return {**answer, "took_ms": engine.clock.now_ms() - started}


def _spans(text: str, words: tuple[str, ...]) -> list[list[int]]:
    """Return where words stand in a text, counted in UTF-16 as browsers do."""
    return [[_utf16(text, start), _utf16(text, end)] for start, end in marked(text, words)]


def _utf16(text: str, place: int) -> int:
    return place if text.isascii() else len(text[:place].encode("utf-16-le")) // 2


def journal(engine: Engine, asked: Asked) -> Json:
    """Return a page of the journal, newest first."""
    filter_ = EventFilter(
        event_type=asked.text("type") or None,
        category=asked.text("category") or None,
        entity_id=asked.text("entity") or None,
        workspace_hash=asked.text("workspace"),
        text=asked.text("q") or None,
        caller=engine.settings.agent_id,
    )
    limit, before = asked.number("limit", 50, 1, MOST), asked.instant("before")
    page = filter_ if before is None else msgspec.structs.replace(filter_, before=before)
    with engine.store.reading():
        events = engine.store.events(page, limit + 1, asked.number("offset", 0, 0, MOST_OFFSET))
        total = engine.store.count_events(filter_)
    items = [msgspec.to_builtins(journalling.item_of(event)) for event in events[:limit]]
    return {"items": items, "total": total, "next": events[limit - 1].sequence if len(events) > limit else None}


def verify(engine: Engine, _: Asked) -> Json:
    """Walk the journal's chain."""
    checked = verify_journal(engine)
    return {
        "ok": checked.broken is None,
        "first_break": None if checked.broken is None else msgspec.to_builtins(checked.broken),
        "events": checked.rows,
        "erased": checked.erased,
        "head": checked.last_hash,
    }


def time(engine: Engine, asked: Asked) -> Json:
    """Return what was believed at an instant, or about another one."""
    at, about = asked.instant("at_unix_ms"), asked.instant("valid_at_unix_ms")
    found = search.recall(
        engine,
        asked.text("q") or "",
        limit=asked.number("limit", 50, 1, MOST),
        offset=asked.number("offset", 0, 0, MOST_OFFSET),
        category=asked.text("category") or None,
        workspace_hash=asked.text("workspace"),
        include_archived=asked.flag("archived") or False,
        as_of_unix_ms=engine.clock.now_ms() if at is None and about is None else at,
        valid_at_unix_ms=about,
        mode="fts5" if engine.embedder is None else "hybrid",
        reinforce=False,
    )
    answer: dict[str, Json] = found.wire()
    for item in answer["items"]:
        item["entity_type"], item["links_count"] = item["type"], len(item["links"])
    return {"items": answer["items"], "at": at, "valid_at": about}


def state(engine: Engine, asked: Asked) -> Json:
    """Return the values kept under keys that begin alike."""
    now = engine.clock.now_ms()
    with engine.store.reading():
        keys = engine.store.state_keys(asked.text("prefix") or "", now)
        first = asked.number("offset", 0, 0, MOST_OFFSET)
        kept = [engine.store.state(key, now) for key in keys[first : first + asked.number("limit", 500, 1, MOST)]]
    items = [
        {
            "key": one.key,
            "value": _value(one.value_json),
            "expires_at_unix_ms": one.expires_at_unix_ms,
            "created_at_unix_ms": one.created_at_unix_ms,
        }
        for one in kept
        if one is not None
    ]
    return {"items": items, "total": len(keys)}


def _value(text: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _day(start_ms: int) -> str:
    from datetime import UTC, datetime, timedelta

    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=start_ms)).date().isoformat()
    except OverflowError:
        return ""


READS: Final[Mapping[str, Read]] = {
    "/api/stats": stats,
    "/api/overview": overview,
    "/api/entities": entities,
    "/api/entities/{id}": entity,
    "/api/entities/{id}/versions": versions,
    "/api/search": find,
    "/api/journal": journal,
    "/api/changes": journal,
    "/api/verify": verify,
    "/api/graph": graph.graph,
    "/api/time": time,
    "/api/state": state,
}
"""The reads by path."""

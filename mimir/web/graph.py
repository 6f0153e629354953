"""The picture of how memories are linked: the most linked ones, or those around one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from mimir.engine import Engine
from mimir.model import Edge, Json, Order
from mimir.operations.editing import require
from mimir.web.asked import Asked
from mimir.web.shapes import readable

MOST_NODES: Final = 5_000
MOST_EDGES: Final = 100_000
"""Links that are looked at; of more, those of the newest memories."""

MOST_DEPTH: Final = 3


def graph(engine: Engine, asked: Asked) -> Json:
    """Return memories and the links between them, no link without both of its ends.

    Around ``focus`` it is all within ``depth`` links; else the most linked come first, then those used last.
    """
    limit = asked.number("limit", 500, 1, MOST_NODES)
    relation, category = asked.text("relation") or None, asked.text("category") or None
    filter_ = msgspec.structs.replace(readable(engine, asked.text("workspace")), category=category)
    store = engine.store
    with store.reading():
        total = store.count(filter_)
        focus = asked.text("focus")
        chosen: list[int] = []
        if focus:
            start = require(engine, focus).number
            depth = asked.number("depth", 1, 1, MOST_DEPTH)
            chosen, edges, cut = _around(engine, start, depth, limit, relation)
        else:
            edges = store.edges(filter_, MOST_EDGES)
            cut = len(edges) == MOST_EDGES
        relations = Counter(edge.relationship for edge in edges)
        edges = tuple(edge for edge in edges if relation is None or edge.relationship == relation)
        degrees = Counter(end for edge in edges for end in (edge.source, edge.target))
        if not focus:
            chosen = sorted(degrees, key=lambda number: (-degrees[number], number))[:limit]
            if len(chosen) < limit and relation is None:
                live = msgspec.structs.replace(filter_, include_archived=False)
                others, _ = store.listing(live, Order(), limit, 0)
                chosen += [one.number for one in others if one.number not in degrees][: limit - len(chosen)]
        outlines = store.outlines(chosen)
    inside = [edge for edge in edges if edge.source in outlines and edge.target in outlines]
    return {
        "nodes": [
            {
                "id": one.id,
                "label": one.key,
                "category": one.category,
                "layer": one.layer,
                "strength": one.decay_score,
                "degree": degrees[number],
                "archived": one.archived,
                "status": one.status,
            }
            for number, one in ((number, outlines[number]) for number in chosen if number in outlines)
        ],
        "edges": [
            {
                "from": outlines[edge.source].id,
                "to": outlines[edge.target].id,
                "relationship": edge.relationship,
                "weight": edge.weight,
            }
            for edge in inside
        ],
        "total_nodes": total,
        "total_edges": len(edges),
        "truncated": cut or len(inside) < len(edges) or (not focus and len(outlines) < total),
        "relations": sorted(relations),
        "categories": sorted({one.category for one in outlines.values()}),
    }


def _around(
    engine: Engine, start: int, depth: int, limit: int, relation: str | None
) -> tuple[list[int], tuple[Edge, ...], bool]:
    """Return the memories within some links of one, nearest first, the links there, and whether any were left out."""
    everything = readable(engine)
    found = {start: None}
    edges: dict[tuple[int, int, str], Edge] = {}
    edge_of: Sequence[int] = [start]
    cut = False
    for _ in range(depth):
        touching = engine.store.edges(everything, MOST_EDGES, at=edge_of)
        cut = cut or len(touching) == MOST_EDGES
        edges.update({(edge.source, edge.target, edge.relationship): edge for edge in touching})
        near = dict.fromkeys(
            end
            for edge in touching
            if relation is None or edge.relationship == relation
            for end in (edge.source, edge.target)
            if end not in found
        )
        edge_of = list(near)[: limit - len(found)]
        cut = cut or len(edge_of) < len(near)
        found.update(dict.fromkeys(edge_of))
    # Links among the outermost are found by looking there once more.
    for edge in engine.store.edges(everything, MOST_EDGES, at=edge_of) if edge_of else ():
        if edge.source in found and edge.target in found:
            edges[edge.source, edge.target, edge.relationship] = edge
    inside = tuple(edge for edge in edges.values() if edge.source in found and edge.target in found)
    return list(found), inside, cut

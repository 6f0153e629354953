"""Walks over a graph whose nodes are fetched in batches, however large it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from mimir.model import Link, Node

MAXIMUM_DEPTH: Final = 64
MAXIMUM_NODES: Final = 100_000

_FETCHED_LATER: Final = 512

Step: TypeAlias = tuple[Node, str, int]
"""A node that a walk reached, the relationship of the link that led there, and how many links it is from the start."""


def depth_first(
    start: Node,
    fetch: Callable[[Sequence[str]], Mapping[str, Node]],
    links_of: Callable[[Node], Sequence[Link]],
    *,
    max_depth: int,
    max_nodes: int,
) -> tuple[list[Step], bool]:
    """Return the nodes that links lead to from ``start``, and whether ``max_nodes`` left any out.

    Depth first, each node once and before those it leads to, links in their order. ``fetch`` returns those of the
    given nodes that exist: a link to another leads nowhere.
    """
    known: dict[str, Node | None] = {start.id: start}

    def fetch_from(ids: Sequence[str], depth: int, room: int) -> None:
        # Level by level: a walk that asked for each node as it comes would spend its time asking.
        while ids and depth <= max_depth and room > 0:
            ids = ids[:room]
            found = fetch(ids)
            known.update(dict.fromkeys(ids))
            known.update(found)
            depth, room = depth + 1, room - len(ids)
            ids = unknown(found.values())

    def unknown(nodes: Iterable[Node]) -> list[str]:
        targets = dict.fromkeys([link.target_id for node in nodes for link in links_of(node)])
        return [target for target in targets if target not in known]

    fetch_from(unknown([start]), 1, max_nodes + 1)
    steps: list[Step] = []
    seen = {start.id}
    path = [(start, iter(links_of(start)))] if max_depth > 0 else []
    while path:
        parent, links = path[-1]
        link = next(links, None)
        if link is None:
            path.pop()
            continue
        target = link.target_id
        if target in seen:
            continue
        seen.add(target)
        depth = len(path)
        if target not in known:
            fetch_from(unknown([parent]), depth, min(_FETCHED_LATER, max_nodes - len(steps) + 1))
        node = known[target]
        if node is None:
            continue
        if len(steps) >= max_nodes:
            return steps, True
        steps.append((node, link.relationship, depth))
        if depth < max_depth and (further := links_of(node)):
            path.append((node, iter(further)))
    return steps, False

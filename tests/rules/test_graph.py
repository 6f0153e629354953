"""A walk that fetches in batches goes where a plain recursive one goes, and asks seldom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from mimir.model import Link, Node
from mimir.rules.graph import MAXIMUM_NODES, depth_first

MISSING = "missing"


class Graph:
    """A graph in memory that counts how often it is asked."""

    def __init__(self, targets: Mapping[str, Sequence[str]]) -> None:
        self.nodes = {
            name: Node(
                id=name,
                category="c",
                key=name,
                body_json="{}",
                archived=False,
                status="active",
                links=tuple(Link(target_id=target, relationship=f"{name}-{target}", weight=0.5) for target in linked),
            )
            for name, linked in targets.items()
        }
        self.asked: list[list[str]] = []

    def fetch(self, ids: Sequence[str]) -> dict[str, Node]:
        self.asked.append(list(ids))
        return {name: self.nodes[name] for name in ids if name in self.nodes}

    def walk(self, start: str, max_depth: int, max_nodes: int) -> tuple[list[tuple[str, str, int]], bool]:
        steps, more = depth_first(
            self.nodes[start], self.fetch, lambda node: node.links, max_depth=max_depth, max_nodes=max_nodes
        )
        return [(node.id, relationship, depth) for node, relationship, depth in steps], more

    def walk_naively(self, start: str, max_depth: int) -> list[tuple[str, str, int]]:
        seen, found = {start}, []

        def visit(name: str, depth: int) -> None:
            if depth > max_depth:
                return
            for link in self.nodes[name].links:
                if link.target_id in self.nodes and link.target_id not in seen:
                    seen.add(link.target_id)
                    found.append((link.target_id, link.relationship, depth))
                    visit(link.target_id, depth + 1)

        visit(start, 1)
        return found


NAMES = [str(number) for number in range(12)]
graphs = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from([*NAMES, MISSING]), max_size=5, unique=True), min_size=1
).map(lambda targets: {name: targets.get(name, []) for name in sorted({*targets, "0"})})


@given(targets=graphs, max_depth=st.integers(-1, 14), max_nodes=st.integers(0, 14))
def test_a_walk_goes_where_a_recursive_one_goes(targets: dict[str, list[str]], max_depth: int, max_nodes: int) -> None:
    graph = Graph(targets)
    expected = graph.walk_naively("0", max_depth)
    assert graph.walk("0", max_depth, max_nodes) == (expected[:max_nodes], len(expected) > max_nodes)


@given(targets=graphs, max_depth=st.integers(0, 14), max_nodes=st.integers(0, 14))
def test_no_node_is_fetched_twice(targets: dict[str, list[str]], max_depth: int, max_nodes: int) -> None:
    graph = Graph(targets)
    graph.walk("0", max_depth, max_nodes)
    asked = [name for batch in graph.asked for name in batch]
    assert len(asked) == len(set(asked))


def tree_of_tens() -> Graph:
    """Return a tree of 1,111 nodes in which every inner node leads to ten others."""
    inner = {str(number): [str(child) for child in range(10 * number + 1, 10 * number + 11)] for number in range(111)}
    return Graph({**inner, **{str(number): [] for number in range(111, 1_111)}})


def test_a_walk_asks_once_for_each_level_not_for_each_node() -> None:
    graph = tree_of_tens()
    steps, _ = graph.walk("0", 64, MAXIMUM_NODES)
    assert len(steps) == 1_110
    assert len(graph.asked) == 3


def test_a_bounded_walk_asks_for_siblings_together() -> None:
    graph = tree_of_tens()
    steps, more = graph.walk("0", 3, 100)
    assert (len(steps), more) == (100, True)
    assert len(graph.asked) < 15


def test_a_walk_that_ends_early_does_not_fetch_the_whole_graph() -> None:
    wide = [str(number) for number in range(1, 5_001)]
    graph = Graph({"0": wide, **{name: ["0"] for name in wide}})
    steps, more = graph.walk("0", 3, 100)
    assert (len(steps), more) == (100, True)
    assert sum(map(len, graph.asked)) == 101


def test_a_chain_may_be_as_long_as_it_likes() -> None:
    graph = Graph({str(number): [str(number + 1)] for number in range(20_000)} | {"20000": []})
    steps, more = graph.walk("0", 30_000, MAXIMUM_NODES)
    assert (len(steps), more, steps[-1][2]) == (20_000, False, 20_000)

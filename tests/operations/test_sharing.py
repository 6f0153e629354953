"""Several callers on one store: privacy, threads, memories side by side."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mimir import Conflict, Memory, MimirError, NotFound
from mimir.model import Recalled
from tests.conftest import OpenMemory
from tests.doubles import WordEmbedder

MODES = ["fts5", "dense", "hybrid", ""]


def keys(answer: Recalled) -> list[str]:
    return [hit.key for hit in answer.items]


# --- privacy


@pytest.fixture
def two_agents(open_memory: OpenMemory) -> tuple[Memory, Memory]:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    mine.remember(
        "c", "mine", {"content": "green tea", "recall_when": ["brewing"]}, visibility="private", always_on=True
    )
    theirs.remember("c", "theirs", {"content": "green tea", "recall_when": ["brewing"]}, visibility="private")
    mine.remember("c", "shared", {"content": "green tea", "recall_when": ["brewing"]})
    mine.remember("c", "open", {"content": "green tea", "recall_when": ["brewing"]}, visibility="public")
    return mine, theirs


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", ["green tea", "mine", "min", ""])
@pytest.mark.parametrize("archived", [False, True])
def test_a_private_memory_is_found_by_its_own_agent_only(
    two_agents: tuple[Memory, Memory], mode: str, query: str, archived: bool
) -> None:
    mine, theirs = two_agents
    for memory, own, foreign in ((mine, "mine", "theirs"), (theirs, "theirs", "mine")):
        found = keys(memory.recall(query, mode=mode, include_archived=archived, limit=50))
        assert foreign not in found
        assert own in found or query not in ("green tea", "")


def test_a_private_memory_stays_private_at_every_other_door(two_agents: tuple[Memory, Memory]) -> None:
    mine, theirs = two_agents
    private = mine.recall("mine", limit=1).items[0].id
    assert mine.get_entity(private).key == "mine"
    with pytest.raises(NotFound):
        theirs.get_entity(private)
    with pytest.raises(NotFound):
        theirs.embed(category="c", key="mine")
    assert theirs.as_of("c", "mine", 1 << 60).found is False
    assert theirs.history("c", "mine").total == 0
    assert theirs.forget("c", "mine").found is False
    assert mine.get_entity(private).archived is False
    assert set(keys(theirs.recall_when("brewing"))) == {"theirs", "shared", "open"}
    assert "mine" not in keys(theirs.recall_layer("episodic"))
    assert "mine" not in keys(theirs.semantic_search("green tea"))
    assert "**mine**" not in theirs.context().markdown
    assert "**mine**" in mine.context().markdown
    similar = theirs.remember("c", "new", {"content": "green tea", "recall_when": ["brewing"]}).similar_to
    assert private not in [one.id for one in similar or ()]


def test_a_private_memory_of_another_agent_cannot_be_overwritten(two_agents: tuple[Memory, Memory]) -> None:
    mine, theirs = two_agents
    with pytest.raises(Conflict) as raised:
        theirs.remember("c", "mine", {"content": "forged"})
    assert "green" not in raised.value.message
    with pytest.raises(Conflict):
        theirs.remember_many([{"category": "c", "key": "mine", "body_json": {"content": "forged"}}])
    (hit,) = mine.recall("mine", limit=1).items
    assert json.loads(hit.body_json)["content"] == "green tea"


def test_a_memory_never_merges_into_what_its_author_may_not_read(two_agents: tuple[Memory, Memory]) -> None:
    mine, theirs = two_agents
    mine.remember("d", "mine", {"content": "black coffee"}, visibility="private")
    assert theirs.remember("d", "k", {"content": "black coffee"}, dedup="similar").action == "created"


def test_without_a_name_only_nameless_private_memories_are_read(open_memory: OpenMemory) -> None:
    nobody = open_memory()
    nobody.remember("c", "nameless", {"content": "tea"}, visibility="private")
    open_memory(agent_id="me").remember("c", "mine", {"content": "tea"}, visibility="private")
    assert keys(nobody.recall("tea")) == ["nameless"]


def test_the_author_filter_does_not_open_private_memories(two_agents: tuple[Memory, Memory]) -> None:
    _, theirs = two_agents
    for mode in MODES:
        assert set(keys(theirs.recall("green tea", mode=mode, agent_id="me"))) == {"shared", "open"}


def test_an_update_keeps_a_memory_private(open_memory: OpenMemory) -> None:
    mine = open_memory(agent_id="me")
    mine.remember("c", "k", {"content": "one"}, visibility="private")
    mine.remember("c", "k", {"content": "two"})
    assert open_memory(agent_id="them").recall("two").items == ()


# --- side by side


@pytest.mark.parametrize("mode", MODES)
def test_two_memories_on_one_file_see_each_others_writes(open_memory: OpenMemory, mode: str) -> None:
    first, second = open_memory(), open_memory()
    first.remember("c", "a", {"content": "green tea"})
    assert keys(second.recall("green tea", mode=mode)) == ["a"]
    second.remember("c", "b", {"content": "black tea"})
    assert set(keys(first.recall("tea", mode=mode))) == {"a", "b"}
    second.remember("c", "a", {"content": "brass kettle"})
    assert keys(first.recall("brass kettle", mode=mode))[0] == "a"
    hit = first.recall("brass kettle", mode=mode).items[0]
    if mode != "fts5":
        assert isinstance(hit.scores, dict)
        assert hit.scores["dense"] == pytest.approx(1.0, abs=0.01)
    second.forget("c", "a")
    assert keys(first.recall("brass kettle", mode=mode)) in ([], ["b"])


def test_vectors_that_one_memory_makes_serve_the_other(open_memory: OpenMemory) -> None:
    ours, theirs = WordEmbedder(), WordEmbedder()
    first, second = open_memory(embedder=ours), open_memory(embedder=theirs)
    first.remember("c", "k", {"content": "green tea"})
    first.embed_pending()
    assert second.recall("green tea", mode="dense").items[0].key == "k"
    assert theirs.embedded == ["green tea"]


def test_vectors_of_another_model_are_never_compared(open_memory: OpenMemory) -> None:
    first = open_memory()
    first.remember("c", "k", {"content": "green tea"})
    first.embed_pending()
    same_size = open_memory(embedder=WordEmbedder("another-64"))
    for mode in ("dense", "hybrid", ""):
        answer = same_size.recall("green tea", mode=mode, reinforce=False)
        for hit in answer.items:
            assert isinstance(hit.scores, dict)
            assert "dense" not in hit.scores
    assert same_size.recall("green tea", mode="dense").items == ()
    assert keys(same_size.recall("green tea")) == ["k"]


# --- threads


def run_together(count: int, work: Callable[[int], None]) -> None:
    """Run ``work`` in several threads that start at once; the first failure is raised."""
    start = threading.Barrier(count)

    def begin(number: int) -> None:
        start.wait()
        work(number)

    with ThreadPoolExecutor(count) as pool:
        for result in [pool.submit(begin, number) for number in range(count)]:
            result.result()


def test_eight_threads_write_and_read_one_memory(memory: Memory) -> None:
    def work(number: int) -> None:
        for step in range(15):
            memory.remember(f"c{number}", f"k{step}", {"content": f"thread {number} step {step}"})
            found = memory.recall(f"step {step}", category=f"c{number}", mode=MODES[step % 4])
            # Meaning alone may lack what waits for its vector, and says how much that is.
            assert f"k{step}" in keys(found) or (MODES[step % 4] == "dense" and found.pending)
            assert all(hit.category == f"c{number}" for hit in found.items)
            memory.remember("shared", "counter", {"content": f"{number} {step}"})

    run_together(8, work)
    assert memory.stats().total_entities == 8 * 15 + 1
    assert memory.history("shared", "counter").total == 8 * 15 - 1
    trail = memory.history("shared", "counter", limit=1_000).versions
    assert len({version.recorded_at_unix_ms for version in trail}) == 8 * 15 - 1


def test_threads_that_remember_the_same_new_key_make_one_memory(memory: Memory) -> None:
    ids: list[str] = []
    run_together(8, lambda number: ids.append(memory.remember("c", "k", {"content": f"by {number}"}).id))
    assert len(set(ids)) == 1
    assert memory.history("c", "k").total == 7


def test_threads_that_recall_at_once_count_every_use(memory: Memory) -> None:
    entity_id = memory.remember("c", "k", {"content": "green tea"}).id

    def work(_: int) -> None:
        for _ in range(20):
            assert keys(memory.recall("tea", mode="fts5")) == ["k"]

    run_together(8, work)
    memory.flush_uses()
    assert memory.get_entity(entity_id).retrieval_count == 160


OPEN_FILES = Path("/proc/self/fd")


def open_files(path: str) -> int:
    """Count how often this process holds a store's files open."""
    count = 0
    for link in OPEN_FILES.iterdir():
        # The listing itself is an open file that is gone when it is looked at.
        with contextlib.suppress(FileNotFoundError):
            count += str(link.readlink()).startswith(path)
    return count


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="open files are counted through /proc")
def test_threads_that_end_leave_nothing_open(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    before = open_files(memory.store.path)
    for _ in range(40):
        thread = threading.Thread(target=memory.recall, args=("tea",))
        thread.start()
        thread.join()
    assert open_files(memory.store.path) <= before + 20


def test_a_memory_can_be_closed_while_others_read(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "green tea"})
    began = threading.Barrier(5)
    strange: list[BaseException] = []

    def read() -> None:
        began.wait()
        for _ in range(200):
            try:
                memory.recall("tea", mode="fts5")
            except MimirError:
                return
            except BaseException as error:  # noqa: BLE001 - what a reader may see is the question
                strange.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    began.wait()
    memory.close()
    for thread in threads:
        thread.join()
    assert [repr(error) for error in strange] == []

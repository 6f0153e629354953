"""Whatever is done in whatever order, every question has the answer that a naive store in memory gives."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mimir import Conflict, InvalidInput, Memory
from tests.doubles import START_MS, FixedClock, WordEmbedder
from tests.naive import NaiveStore, Refused

CATEGORY = "fact"
WORDS = ("amber", "basalt", "cobalt", "dune", "fjord")
WORKSPACES = ("", "north", "south")
KEYS = ("k1", "k2")
LINKS = ("cites", "refutes")
STATE_KEYS = ("a%", "a_", "ab", "b")

identities = st.tuples(st.sampled_from(WORKSPACES), st.sampled_from(KEYS))
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=2, unique=True).map(" ".join)
bounds = st.none() | st.integers(0, 6).map(lambda step: START_MS + 5 * step)
instants = st.integers(-1, 40).map(lambda step: START_MS + step)


class Life(RuleBasedStateMachine):
    """A store and its naive twin through the same random life."""

    embedding = "off"
    mode = "fts5"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FixedClock()
        self.memory = self.open()
        self.naive = NaiveStore()

    def open(self) -> Memory:
        embedder = None if self.embedding == "off" else WordEmbedder()
        path = str(Path(self.folder.name) / "memory.db")
        return Memory.open(path, clock=self.clock, embedder=embedder, embedding=self.embedding)

    def teardown(self) -> None:
        self.memory.close()
        self.folder.cleanup()

    def now(self) -> int:
        return self.clock.now_ms()

    # what is done

    @initialize(text=texts)
    def begin(self, text: str) -> None:
        self.remember(("", "k1"), text, None, None, None)

    @rule(step=st.integers(0, 7))
    def time_goes_on(self, step: int) -> None:
        self.clock.advance(step)

    @rule()
    def the_process_ends_and_another_opens_the_file(self) -> None:
        self.memory.close()
        self.memory = self.open()

    @rule(
        identity=identities,
        text=texts,
        start=bounds,
        end=bounds,
        status=st.sampled_from([None, "active", "draft"]),
    )
    def remember(
        self, identity: tuple[str, str], text: str, start: int | None, end: int | None, status: str | None
    ) -> None:
        workspace, key = identity

        def really() -> str:
            return self.memory.remember(
                CATEGORY,
                key,
                {"content": text},
                workspace_hash=workspace,
                valid_from_unix_ms=start,
                valid_to_unix_ms=end,
                status=status,
            ).id

        try:
            entity_id = really()
        except InvalidInput:
            with pytest.raises(Refused):
                self.naive.remember(identity, "", text, start, end, status, self.now())
            return
        self.naive.remember(identity, entity_id, text, start, end, status, self.now())
        assert self.naive.memories[identity].id == entity_id

    @rule(identity=identities)
    def forget(self, identity: tuple[str, str]) -> None:
        found = self.memory.forget(CATEGORY, identity[1], workspace_hash=identity[0]).found
        assert found == self.naive.forget(identity, self.now())

    @precondition(lambda self: self.naive.memories)
    @rule(data=st.data())
    def link(self, data: st.DataObject) -> None:
        source, target = self.two(data)
        if source == target:
            return
        relationship = data.draw(st.sampled_from(LINKS))
        workspace, key = source
        to_id = self.naive.memories[target].id
        self.memory.link(CATEGORY, key, to_id, relationship, workspace_hash=workspace)
        self.naive.memories[source].links.add((to_id, relationship))

    @precondition(lambda self: self.naive.memories)
    @rule(data=st.data())
    def unlink(self, data: st.DataObject) -> None:
        (workspace, key), target = source, _ = self.two(data)
        to_id = self.naive.memories[target].id
        self.memory.unlink(CATEGORY, key, to_id, workspace_hash=workspace)
        kept = {link for link in self.naive.memories[source].links if link[0] != to_id}
        self.naive.memories[source].links = kept

    def two(self, data: st.DataObject) -> tuple[tuple[str, str], tuple[str, str]]:
        known = st.sampled_from(sorted(self.naive.memories))
        return data.draw(known), data.draw(known)

    @precondition(lambda self: self.naive.memories)
    @rule(data=st.data())
    def supersede(self, data: st.DataObject) -> None:
        old, new = self.two(data)
        if old[0] != new[0] or old == new:
            return
        try:
            self.naive.supersede(old, new, self.now())
        except Refused:
            with pytest.raises(Conflict):
                self.memory.supersede(CATEGORY, old[1], CATEGORY, new[1], workspace_hash=old[0])
        else:
            self.memory.supersede(CATEGORY, old[1], CATEGORY, new[1], workspace_hash=old[0])

    @rule()
    def purge(self) -> None:
        expected = len(self.naive.purge())
        assert self.memory.purge(dry_run=True).entities_deleted == expected
        assert self.memory.purge().entities_deleted == expected

    @rule(word=st.sampled_from(WORDS), event_type=st.sampled_from(["decision", "note"]))
    def journal(self, word: str, event_type: str) -> None:
        self.memory.journal(event_type, acted={"word": word})
        self.naive.events.append((self.now(), event_type, word))

    @rule(key=st.sampled_from(STATE_KEYS), value=st.sampled_from(['"x"', "1", "{}"]), ttl=st.none() | st.integers(1, 2))
    def state_set(self, key: str, value: str, ttl: int | None) -> None:
        self.memory.state_set(key, value, ttl_seconds=ttl)
        self.naive.state_set(key, value, ttl, self.now())

    @rule(key=st.sampled_from(STATE_KEYS))
    def state_delete(self, key: str) -> None:
        self.memory.state_delete(key)
        self.naive.values.pop(key, None)

    # what is asked

    @rule(
        words=texts,
        workspace=st.none() | st.sampled_from(WORKSPACES),
        as_of=st.none() | instants,
        valid_at=st.none() | instants,
        include_archived=st.booleans(),
    )
    def recall_agrees(
        self, words: str, workspace: str | None, as_of: int | None, valid_at: int | None, include_archived: bool
    ) -> None:
        answer = self.memory.recall(
            words,
            mode=self.mode,
            workspace_hash=workspace,
            as_of_unix_ms=as_of,
            valid_at_unix_ms=valid_at,
            include_archived=include_archived,
            limit=100,
        )
        found = {(hit.workspace_hash, hit.key) for hit in answer.items}
        by_word, allowed = (
            self.naive.recalled(
                some, workspace, self.now(), as_of=as_of, valid_at=valid_at, include_archived=include_archived
            )
            for some in (words.split(), WORDS)
        )
        # Meaning may bring more than the words do, but never what the filters and the times keep out.
        assert by_word <= found <= (by_word if self.mode == "fts5" else allowed)

    @rule(identity=identities, as_of=instants, valid_at=st.none() | instants)
    def as_of_agrees(self, identity: tuple[str, str], as_of: int, valid_at: int | None) -> None:
        workspace, key = identity
        answer = self.memory.as_of(CATEGORY, key, as_of, valid_at_unix_ms=valid_at, workspace_hash=workspace)
        said = (content(answer.body_json), answer.archived) if answer.found else None
        assert said == self.naive.as_of(identity, as_of, valid_at)

    @rule(prefix=st.sampled_from(["", "a", "a%", "a_"]))
    def state_agrees(self, prefix: str) -> None:
        expected = self.naive.state_now(self.now())
        assert {key: self.memory.state_get(key).value for key in expected} == expected
        listed = self.memory.state_list(prefix).keys
        assert list(listed) == sorted(key for key in expected if key.startswith(prefix))

    @rule(event_type=st.none() | st.sampled_from(["decision", "note"]), since=st.none() | instants)
    def timeline_agrees(self, event_type: str | None, since: int | None) -> None:
        items = self.memory.timeline(from_ms=since, event_type=event_type, limit=1_000).items
        said = [(item.created_at_unix_ms, item.event_type, json.loads(item.acted_json)["word"]) for item in items]
        assert said == self.naive.timeline(event_type, since)

    @precondition(lambda self: self.naive.memories)
    @rule(data=st.data(), depth=st.integers(0, 4))
    def traverse_agrees(self, data: st.DataObject, depth: int) -> None:
        workspace, key = identity = data.draw(st.sampled_from(sorted(self.naive.memories)))
        walk = self.memory.traverse(CATEGORY, key, max_depth=depth, workspace_hash=workspace)
        assert {node.id: node.depth for node in walk.traversed} == self.naive.traverse(identity, depth)

    @invariant()
    def every_history_agrees(self) -> None:
        for (workspace, key), naive in self.naive.memories.items():
            trail = self.memory.history(CATEGORY, key, limit=1_000, workspace_hash=workspace).versions
            assert [content(version.body_json) for version in trail] == naive.replaced[::-1]
            ends = [version.invalidated_at_unix_ms for version in trail]
            starts = [version.recorded_at_unix_ms for version in trail]
            assert all(start < end for start, end in zip(starts, ends, strict=True))
            assert ends[1:] == starts[:-1]


class LifeWithMeaning(Life):
    """The same with an embedder, whose arm must not change what the filters and the times let through."""

    embedding = "bundled"
    mode = "hybrid"


def content(body_json: Any) -> Any:  # noqa: ANN401 - a JSON value
    return json.loads(body_json)["content"]


@pytest.mark.parametrize("life", [Life, LifeWithMeaning])
def test_a_random_life_is_remembered_as_a_naive_store_remembers_it(life: type[Life]) -> None:
    run_state_machine_as_test(
        life, settings=settings(settings.get_profile("house"), max_examples=60, stateful_step_count=40)
    )

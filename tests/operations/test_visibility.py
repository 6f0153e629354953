"""Who reads what at which door: every cell of the table in the documentation."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from mimir import Memory, NotFound
from mimir.__main__ import main
from mimir.catalogue import load_catalogue
from mimir.model import Json, Recalled
from mimir.web import graph, reading
from mimir.web.asked import Asked as AskedPage
from mimir.web.reading import Read
from mimir.web.upkeep import maintain
from scripts.visibility import CALLERS, DOORS, HOME, LEVELS, OWNER, Caller, Door, may_read
from tests.conftest import OpenMemory
from tests.doubles import START_MS, FixedClock, WordEmbedder
from tests.language_model import serving
from tests.server.asked import Asked

WORD: Final = "zeppelin"
"""Stands in everything that a memory says or is called, and nowhere else."""

KEY: Final = f"{WORD}-route"
CATEGORY: Final = f"{WORD}-plans"
BODY: Final = f"The {WORD} port is 5432."
SAID: Final[dict[str, Any]] = {"content": BODY, "recall_when": ["boarding soon"]}

Look = Callable[[Memory, Caller, Path], str]
"""What a door shows a caller, without what the caller said itself."""


def shown(answer: Recalled) -> str:
    return " ".join(f"{hit.body_json} {hit.evidence}" for hit in answer.items)


def recall(query: str, **options: Any) -> Look:  # noqa: ANN401 - whatever recall takes
    def look(memory: Memory, caller: Caller, _folder: Path) -> str:
        return shown(memory.recall(query, workspace_hash=caller.workspace, limit=50, reinforce=False, **options))

    return look


def ask(memory: Memory, caller: Caller, _folder: Path) -> str:
    with serving() as server:
        settings = memory.settings._replace(llm_endpoint=server.address)
        thinking = Memory(settings, memory.store, memory.clock, memory.embedder)
        try:
            answer = thinking.ask("What is the port?", workspace_hash=caller.workspace, top_k=20)
        except NotFound:
            return ""
        return f"{answer.sources} {server.requests}"


def entity(memory: Memory, *_: object) -> str:
    try:
        return memory.get_entity(IDS["memory"]).body_json
    except NotFound:
        return ""


def extract(memory: Memory, *_: object) -> str:
    try:
        return str(memory.extract(category=CATEGORY, key=KEY).items)
    except NotFound:
        return ""


def walk(key: str, direction: str) -> Look:
    def look(memory: Memory, *_: object) -> str:
        return str(memory.traverse("c", key, direction=direction).traversed)  # type: ignore[arg-type]  # one of its words

    return look


def timeline(memory: Memory, caller: Caller, _folder: Path) -> str:
    items = memory.timeline(workspace_hash=caller.workspace).items
    return " ".join(f"{item.key} {item.evaluated_json}" for item in items)


def similar(memory: Memory, *_: object) -> str:
    return str(memory.remember(CATEGORY, "new", SAID, workspace_hash=HOME).similar_to)


def merged(memory: Memory, *_: object) -> str:
    merged_into = memory.remember(CATEGORY, "new", SAID, workspace_hash=HOME, dedup="exact").id
    return WORD if merged_into == IDS["memory"] else ""


def embed(memory: Memory, *_: object) -> str:
    try:
        return WORD if memory.embed(category=CATEGORY, key=KEY).embedded else ""
    except NotFound:
        return ""


def share(memory: Memory, *_: object) -> str:
    try:
        return memory.get_entity(memory.share(CATEGORY, KEY, "copies").shared_id).body_json
    except NotFound:
        return ""


def federate(memory: Memory, *_: object) -> str:
    memory.federate(HOME, "copies")
    return shown(memory.recall("", workspace_hash="copies", limit=50))


def export(memory: Memory, caller: Caller, folder: Path) -> str:
    memory.vault_export(str(folder / "vault"), workspace_hash=caller.workspace)
    return " ".join(note.read_text(encoding="utf-8") for note in (folder / "vault").iterdir())


def printed(memory: Memory, caller: Caller, folder: Path, *commands: Sequence[str]) -> str:
    file = folder / "printed.txt"
    with file.open("w", encoding="utf-8") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        for words in commands:
            settings = ["--db", memory.store.path, "--embedding", "off", "--agent-id", caller.agent]
            patch.setattr(sys, "argv", ["mimir", *settings, *words])
            assert main() == 0
    return file.read_text(encoding="utf-8")


def command_line(memory: Memory, caller: Caller, folder: Path) -> str:
    return printed(memory, caller, folder, ["recall", "port", "--json"], ["context"], ["stats"])


def served(*wanted: Callable[[Asked], object]) -> Look:
    """Look by what a server shows that was started for the caller's workspace."""

    def look(memory: Memory, caller: Caller, _folder: Path) -> str:
        asked = Asked(memory.store.path, agent_id=caller.agent, workspace=caller.workspace or "")
        try:
            return str([one(asked) for one in wanted])
        finally:
            asked.dispatcher.close()

    return look


def resource(address: str) -> Callable[[Asked], object]:
    def read(asked: Asked) -> object:
        reply = asked.reply("resources/read", uri=address.format(**IDS))
        return reply["result"]["contents"][0]["text"] if "result" in reply else ""

    return read


def prompt(name: str, **arguments: str) -> Callable[[Asked], object]:
    return lambda asked: asked.prompt(name, **arguments)


def completion(name: str, typed: str) -> Callable[[Asked], object]:
    reference = {"type": "ref/resource", "uri": "mimir://entity/{category}/{key}"}
    return lambda asked: asked.complete(reference, name, typed)["values"]


def session_start(memory: Memory, caller: Caller, folder: Path) -> str:
    workspace = () if caller.workspace is None else ("--workspace", caller.workspace)
    return printed(memory, caller, folder, ["context", "--hook", *workspace])


def page(read: Read, **asked: Json) -> Look:
    def look(memory: Memory, caller: Caller, _folder: Path) -> str:
        workspace = {} if caller.workspace is None else {"workspace": caller.workspace}
        answer = read(memory, AskedPage({"limit": 100, **workspace, **asked}))
        return str(answer.get("items", answer))

    return look


def dashboard_memory(memory: Memory, *_: object) -> str:
    seen = [str(reading.entities(memory, AskedPage({"category": "c"})))]
    for entity_id in (IDS["memory"], IDS["behind"]):
        for read in (reading.entity, reading.versions):
            with suppress(NotFound):
                seen.append(str(read(memory, AskedPage({"id": entity_id}))))
    return " ".join(seen)


def dashboard_upkeep(memory: Memory, *_: object) -> str:
    asked: dict[str, Json] = {"dry_run": True, "min_decay": 1, "archive_threshold": 1, "category": CATEGORY}
    names = ("decay", "compact", "cohere", "prune", "purge", "conflicts")
    return str([maintain(memory, AskedPage({"name": name, **asked}), []) for name in names]).replace(CATEGORY, "")


LOOKS: Final[dict[str, Look]] = {
    "recall by words": recall("port is 5432", mode="fts5"),
    "recall by meaning": recall("port is 5432", mode="dense"),
    "recall by both": recall("port is 5432", mode="hybrid"),
    "recall by key": recall(KEY),
    "recall of everything": recall(""),
    "recall of archived": recall("port is 5432", include_archived=True),
    "recall of the past": recall("port is 5431", as_of_unix_ms=START_MS),
    "recall at a time": recall("port is 5432", valid_at_unix_ms=START_MS + 50),
    "recall in sequence": recall("harbour lights"),
    "recall_layer": lambda memory, *_: shown(memory.recall_layer("episodic", limit=50)),
    "recall_when": lambda memory, caller, _: shown(
        memory.recall_when("about to board", workspace_hash=caller.workspace)
    ),
    "semantic_search": lambda memory, caller, _: shown(
        memory.semantic_search("port is 5432", workspace_hash=caller.workspace)
    ),
    "context": lambda memory, caller, _: memory.context(workspace_hash=caller.workspace).markdown,
    "context by query": lambda memory, caller, _: (
        memory.context(query="port is 5432", workspace_hash=caller.workspace).markdown
    ),
    "ask": ask,
    "get_entity": entity,
    "history": lambda memory, *_: str(memory.history(CATEGORY, KEY, workspace_hash=HOME).versions),
    "as_of": lambda memory, *_: str(memory.as_of(CATEGORY, KEY, START_MS + 50).body_json),
    "extract": extract,
    "traverse": walk("before", "out"),
    "traverse back": walk("behind", "in"),
    "timeline": timeline,
    "conflicts": lambda memory, *_: str(memory.conflicts(CATEGORY).conflicts),
    "similar_to": similar,
    "dedup": merged,
    "embed": embed,
    "share": share,
    "federate": federate,
    "vault_export": export,
    "stats": lambda memory, *_: str(memory.stats()),
    "workspace_list": lambda memory, *_: str(memory.workspace_list().categories),
    "resource": served(resource("mimir://context"), resource("mimir://always-on")),
    "resource by name": served(resource(f"mimir://entity/{CATEGORY}/{KEY}")),
    "resource by id": served(resource("mimir://entity/id/{memory}")),
    "resource of names": served(
        resource("mimir://schema"), resource("mimir://stats"), prompt("remember_session"), prompt("resolve_conflicts")
    ),
    "prompt": served(prompt("recall_topic", topic="port is 5432")),
    "completion": served(completion("category", WORD[:3]), completion("key", WORD[:3])),
    "dashboard overview": page(reading.overview),
    "dashboard choices": lambda memory, *_: str(reading.store_facts(memory)),
    "dashboard list": page(reading.entities, archived="true"),
    "dashboard search": page(reading.find, q="port is 5432"),
    "dashboard time": page(reading.time, at_unix_ms=START_MS),
    "dashboard graph": page(graph.graph),
    "dashboard journal": page(reading.journal),
    "dashboard memory": dashboard_memory,
    "dashboard upkeep": dashboard_upkeep,
    "command line": command_line,
    "session start": session_start,
}

IDS: Final[dict[str, str]] = {}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Fill one store for each level: a memory with a past, links, an event, neighbours and one that contradicts it."""
    folder = tmp_path_factory.mktemp("levels")
    paths = {level: folder / f"{level}.db" for level in LEVELS}
    for level, path in paths.items():
        clock = FixedClock()
        with Memory.open(str(path), clock=clock, embedder=WordEmbedder(), agent_id=OWNER) as memory:
            about: dict[str, Any] = {"workspace_hash": HOME, "visibility": level}
            memory.remember("c", "light", {"content": "harbour lights"}, topic_path="trip", workspace_hash=HOME)
            memory.remember(CATEGORY, KEY, {"content": f"The {WORD} port is 5431."}, topic_path="trip", **about)
            clock.advance(10)
            IDS["memory"] = memory.remember(CATEGORY, KEY, SAID, always_on=True, **about).id
            memory.remember(CATEGORY, "other", {"content": f"The {WORD} port is 5433."}, **about)
            memory.remember("c", "before", {"content": "first"}, workspace_hash=HOME)
            behind = IDS["behind"] = memory.remember("c", "behind", {"content": "last"}, workspace_hash=HOME).id
            memory.link("c", "before", IDS["memory"])
            memory.link(CATEGORY, KEY, behind)
            about_it = {"category": CATEGORY, "key": KEY, "workspace_hash": HOME}
            memory.journal("decision", evaluated={"why": f"the {WORD} is late"}, **about_it)
            memory.journal("decision", acted={"note": WORD}, entity_id=IDS["memory"], workspace_hash=HOME)
            memory.remember("d", "gone", {"content": f"A {WORD} port is 5432."}, **about)
            memory.forget("d", "gone")
            memory.embed_pending()
    yield paths
    IDS.clear()


def test_every_door_of_the_table_is_looked_through() -> None:
    assert LOOKS.keys() == {door.name for door in DOORS}


def test_every_tool_that_reads_is_a_door_or_shows_no_memory() -> None:
    reading = {name for name, entry in load_catalogue().items() if entry["effect"] == "read"}
    assert reading - {door.name.split()[0] for door in DOORS} == {"state_get", "state_list", "health"}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("door", DOORS, ids=[door.name for door in DOORS])
def test_a_door_shows_a_memory_to_those_who_may_read_it(
    stores: dict[str, Path], open_memory: OpenMemory, tmp_path: Path, door: Door, level: str
) -> None:
    for place, caller in enumerate(CALLERS if door.asks else CALLERS[::3]):
        folder = tmp_path / str(place)
        folder.mkdir()
        path = shutil.copy(stores[level], folder / "memory.db")
        clock = FixedClock(START_MS + 100)
        clock.next_id = 1_000
        memory = open_memory(path, clock=clock, agent_id=caller.agent)
        seen = LOOKS[door.name](memory, caller, folder)
        assert (WORD in seen) == may_read(door, level, caller), (caller, seen)
        memory.close()


def test_what_became_private_is_so_for_its_past(open_memory: OpenMemory, clock: FixedClock) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    mine.remember("c", "k", {"content": "open plan"})
    mine.journal("decision", evaluated={"what": "the plan"}, category="c", key="k")
    clock.advance(10)
    mine.remember("c", "k", {"content": "secret plan"}, visibility="private")
    clock.advance(10)
    for mode in ("fts5", "dense", "hybrid"):
        assert theirs.recall("plan", mode=mode, as_of_unix_ms=START_MS).items == ()
        assert len(mine.recall("plan", mode=mode, as_of_unix_ms=START_MS).items) == 1
    assert theirs.recall("", as_of_unix_ms=START_MS).items == ()
    assert theirs.as_of("c", "k", START_MS).found is False
    assert theirs.timeline().items == ()
    assert len(mine.timeline().items) == 1


def test_what_is_left_of_an_erased_memory_is_its_writers(open_memory: OpenMemory) -> None:
    mine, theirs = open_memory(agent_id="me"), open_memory(agent_id="them")
    kept = mine.remember("diary", "bob", {"content": "x"}, visibility="private").id
    mine.journal("decision", evaluated={"what": "x"}, category="diary", key="bob")
    mine.journal("decision", evaluated={"what": "x"}, entity_id=kept)
    mine.forget("diary", "bob")
    mine.purge()
    assert [(item.key, item.erased) for item in mine.timeline().items] == [("", True), ("bob", True)]
    assert theirs.timeline().items == ()
    assert reading.journal(theirs, AskedPage({"limit": 10}))["total"] == 0
    assert theirs.timeline(category="diary", key="bob").items == ()


def test_a_page_of_history_counts_only_what_it_shows(open_memory: OpenMemory, clock: FixedClock) -> None:
    mine = open_memory(agent_id="me")
    mine.remember("c", "k", {"content": "secret"}, visibility="private")
    clock.advance()
    mine.remember("c", "k", {"content": "open"}, visibility="public")
    page = open_memory(agent_id="them").history("c", "k")
    assert (page.versions, page.returned) == ((), 0)
    assert mine.history("c", "k").returned == 1


def test_counts_leave_out_what_is_private_to_others(open_memory: OpenMemory) -> None:
    mine = open_memory(agent_id="me")
    mine.remember("hidden", "k", {"content": "x"}, visibility="private", type="diary")
    mine.remember("open", "k", {"content": "x"})
    theirs = open_memory(agent_id="them").stats()
    assert (theirs.total_entities, theirs.active_entities) == (1, 1)
    assert theirs.by_category == {"open": 1}
    assert "diary" not in theirs.by_type
    assert mine.stats().by_category == {"hidden": 1, "open": 1}


def test_lessons_of_a_private_session_leave_no_word_in_the_journal(open_memory: OpenMemory) -> None:
    lesson = {"lesson_type": "insight", "summary": "S", "evidence": "E", "confidence": 0.5}
    with serving() as server:
        server.answer = json.dumps({"lessons": [lesson]})
        open_memory(agent_id="me", llm_endpoint=server.address).synthesize(
            "We met Bob.", "meeting-with-bob", visibility="private"
        )
    (event,) = open_memory(agent_id="them").timeline().items
    assert b"bob" not in msgspec.json.encode(event)

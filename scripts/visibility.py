"""Who may read what at which door: the table that the documentation prints and the tests go through cell by cell."""

from __future__ import annotations

from typing import Final, NamedTuple

LEVELS: Final = ("private", "workspace", "public")
"""How widely a memory may be read, as remember's ``visibility`` says."""

OWNER: Final = "ada"
HOME: Final = "team"
TEST: Final = "tests/operations/test_visibility.py"


class Door(NamedTuple):
    """One way in which a memory can be read.

    `asks` tells that the caller may ask for one workspace there; where it cannot, the workspace does not matter.
    """

    name: str
    shows: str
    asks: bool = False


class Caller(NamedTuple):
    """Somebody at a door: as which agent, and which workspace it asks for, if any."""

    agent: str
    workspace: str | None = None


DOORS: Final = (
    Door("recall by words", "`mimir_recall`, mode fts5", asks=True),
    Door("recall by meaning", "`mimir_recall`, mode dense", asks=True),
    Door("recall by both", "`mimir_recall`, mode hybrid", asks=True),
    Door("recall by key", "`mimir_recall` with the exact key", asks=True),
    Door("recall of everything", "`mimir_recall` with an empty query", asks=True),
    Door("recall of archived", "`mimir_recall` with include_archived", asks=True),
    Door("recall of the past", "`mimir_recall` with as_of_unix_ms", asks=True),
    Door("recall at a time", "`mimir_recall` with valid_at_unix_ms", asks=True),
    Door("recall in sequence", "`mimir_recall`, beside a hit of the same topic_path", asks=True),
    Door("recall_layer", "`mimir_recall_layer`"),
    Door("recall_when", "`mimir_recall_when`", asks=True),
    Door("semantic_search", "`mimir_semantic_search`", asks=True),
    Door("context", "`mimir_context`, pinned memories", asks=True),
    Door("context by query", "`mimir_context` with a query", asks=True),
    Door("ask", "`mimir_ask`: the sources, and what is sent to the model", asks=True),
    Door("get_entity", "`mimir_get_entity` by id"),
    Door("history", "`mimir_history`"),
    Door("as_of", "`mimir_as_of`"),
    Door("extract", "`mimir_extract` of a stored memory"),
    Door("traverse", "`mimir_traverse` along a link"),
    Door("traverse back", "`mimir_traverse` against a link"),
    Door("timeline", "`mimir_timeline`: events about the memory", asks=True),
    Door("conflicts", "`mimir_conflicts`"),
    Door("similar_to", "`mimir_remember` of a similar text"),
    Door("dedup", "`mimir_remember` that merges equal texts"),
    Door("embed", "`mimir_embed` of one memory"),
    Door("share", "`mimir_share`: the copy"),
    Door("federate", "`mimir_federate`: the copies"),
    Door("vault_export", "`mimir_vault_export`: the notes", asks=True),
    Door("stats", "`mimir_stats`: names of categories, number of memories"),
    Door("workspace_list", "`mimir_workspace_list`: names of categories"),
    Door("resource", "resources `mimir://context` and `mimir://always-on`", asks=True),
    Door("resource by name", "resource `mimir://entity/{category}/{key}`", asks=True),
    Door("resource by id", "resource `mimir://entity/id/{id}`"),
    Door("resource of names", "resources `mimir://schema` and `mimir://stats`, prompts that name categories"),
    Door("prompt", "prompt `recall_topic`: the memories beside the task", asks=True),
    Door("completion", "completion of categories and keys", asks=True),
    Door("dashboard overview", "the dashboard: the first page", asks=True),
    Door("dashboard choices", "the dashboard: the categories to choose from"),
    Door("dashboard list", "the dashboard: lists of memories", asks=True),
    Door("dashboard search", "the dashboard: search", asks=True),
    Door("dashboard time", "the dashboard: what was believed at an instant", asks=True),
    Door("dashboard graph", "the dashboard: the graph", asks=True),
    Door("dashboard journal", "the dashboard: the journal", asks=True),
    Door("dashboard memory", "the dashboard: one memory by its id, its versions, and what is linked to it"),
    Door("dashboard upkeep", "the dashboard: the memories that a preview of upkeep names"),
    Door("command line", "`mimir recall`, `mimir context`, `mimir stats`"),
    Door("session start", "`mimir context --hook`", asks=True),
)
"""Every way, in the order of the table."""

CALLERS: Final = tuple(
    Caller(agent, workspace) for agent in (OWNER, "bob", "") for workspace in (None, HOME, "elsewhere")
)
"""The agent of the memory, another one, and one without a name; each asking for no, its and another workspace."""


def may_read(door: Door, level: str, caller: Caller) -> bool:
    """Tell whether a caller reads a memory of the workspace `HOME` and the agent `OWNER` at a door."""
    if door.asks and caller.workspace not in (None, HOME):
        return False
    return level != "private" or caller.agent == OWNER


def visibility_page() -> str:
    """Return the documentation of who reads what, each cell with its test."""
    rows = [
        f"| {door.name} | {door.shows} | " + " | ".join(_cell(door, level) for level in LEVELS) + " |" for door in DOORS
    ]
    head = ["| Door | Shows | " + " | ".join(LEVELS) + " |", "|---|---|" + "---|" * len(LEVELS)]
    return _BEFORE + "\n".join([*head, *rows]) + _AFTER


def _cell(door: Door, level: str) -> str:
    readers = [caller for caller in CALLERS if may_read(door, level, caller)]
    who = "its agent" if {caller.agent for caller in readers} == {OWNER} else "everyone"
    parted = {caller.workspace for caller in readers} != {caller.workspace for caller in CALLERS}
    return f"{who}, not asking for another workspace" if parted else who


_BEFORE: Final = f"""\
# Who reads what

A memory has a level, remember's `visibility`, and belongs to an agent and a workspace. The caller is who the process
was started as: `--agent-id` or `MIMIR_AGENT_ID`. A door is any way to read a memory: a tool, a command, a note, a page.

- **private**: its own agent only. For others it is at every door as if it were not there.
- **workspace**, the default: whoever asks for its workspace, or for none.
- **public**: the same. It says that the memory is meant for all, and never widens a filter: who asks for one workspace
  gets that workspace and nothing else.

Where a door takes `workspace_hash` as a filter, a memory of another workspace is not shown, whatever its level; an
empty one is the global workspace; resources, prompts and completion ask for the one that is
[set](workspaces.md). Where it only says which memory is meant, or is not taken, workspaces do not part
readers.

Who may read a memory is decided by its present level: what became private is private for all its past
(`{TEST}::test_what_became_private_is_so_for_its_past`), and a version that was private stays so when the memory was
opened later (`tests/operations/test_time.py::test_private_versions_stay_private`). What the journal keeps of an erased
memory is shown to the agent alone that wrote the row (`{TEST}::test_what_is_left_of_an_erased_memory_is_its_writers`).

Each cell is a test: `{TEST}::test_a_door_shows_a_memory_to_those_who_may_read_it[DOOR-LEVEL]`.

"""
_AFTER: Final = """

Not parted by reader are the values of `mimir_state_set`, which all processes on the store share; the numbers that
`mimir_stats`, `state-digest` and upkeep give for the whole store; the id in a link, which says nothing of what it leads
to; and that a name is taken, which the refusal of a write to another agent's private memory tells.

Levels keep well-meaning agents apart. Whoever can read the file, or start a process under another name, reads all of
it: against them there are keys.
"""

"""What was acknowledged, written down outside the store, and what of it the store has lost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from mimir import Memory

EITHER: Final = 2
"""Stands for a link that is about to be made or removed: nobody was told yet which."""

FORGOTTEN: Final = -1
"""Stands for the number of a memory that was forgotten: it must not be live again."""


class Deed(NamedTuple):
    """One acknowledged change; of several with the same kind and name the last one counts.

    memory: id, and the number in its text. versions: id, and how many there were at least. event: id of the journal
    row. state: key, and the number kept under it. link: ids of source and target, and 1, or 0 once it was removed.
    """

    kind: str
    name: str
    value: int = 0


def body(number: int) -> dict[str, object]:
    """Return the body of a memory that holds a number, long enough to fill pages."""
    return {"content": f"text {number} says that the kettle of room {number % 97} is green", "number": number}


def losses(memory: Memory, deeds: Iterable[Deed]) -> list[str]:
    """Return a sentence for each acknowledged deed that the store does not hold.

    What was written after the last acknowledgement may be there, since an answer can be lost where its deed is not.
    """
    last = {(deed.kind, deed.name): deed for deed in deeds}
    with memory.store.reading() as connection:
        events = {row[0] for row in connection.execute("SELECT id FROM journal")}
        return [f"{deed} was lost" for deed in last.values() if not _holds(memory, deed, events)]


def unsound(memory: Memory) -> list[str]:
    """Return a sentence for each thing that is wrong with a store."""
    verified = memory.verify()
    wrong = [f"verify: {check}" for check in verified.checks if not check.ok]
    integrity = memory.store.check_integrity()
    if integrity != "ok":
        wrong.append(f"integrity: {integrity}")
    with memory.store.writing() as connection:

        def count(sql: str) -> int:
            return int(connection.execute(sql).get)

        spans = count("SELECT count(*) FROM passages")
        indexed = count("SELECT count(*) FROM passage_text") + count("SELECT count(*) FROM past_text")
        if spans != indexed:
            wrong.append(f"{spans} passages, {indexed} of them in the text index")
        unmarked = count(
            "SELECT count(*) FROM passages"
            " WHERE id NOT IN (SELECT passage FROM pending UNION SELECT passage FROM vectors)"
        )
        if unmarked:
            wrong.append(f"{unmarked} passages neither have a vector nor wait for one")
        for table in ("passage_text", "past_text"):
            connection.execute(f"INSERT INTO {table}({table}) VALUES ('integrity-check')")  # noqa: S608 - our own names
    return wrong


def _holds(memory: Memory, deed: Deed, events: set[str]) -> bool:
    store = memory.store
    if deed.kind == "event":
        return deed.name in events
    if deed.kind == "state":
        found = memory.state_get(deed.name)
        return isinstance(found.value, str) and int(json.loads(found.value)) >= deed.value
    if deed.kind == "link":
        source, target = deed.name.split()
        stored = store.get(source)
        linked = stored is not None and target in {link.target_id for link in stored.entity.links}
        return deed.value == EITHER or linked == bool(deed.value)
    stored = store.get(deed.name)
    if stored is None:
        return deed.value == FORGOTTEN
    if deed.kind == "versions":
        return store.count_versions(stored.number) >= deed.value
    if deed.value == FORGOTTEN:
        return stored.entity.archived
    return int(json.loads(stored.entity.body_json)["number"]) >= deed.value

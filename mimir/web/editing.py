"""What the pages change: through the operations of every other face, with a row in the journal and a way back.

A change names the revision that the page has shown; when the memory is another one by now, nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

from mimir.drafts import make_draft
from mimir.engine import Engine
from mimir.errors import Conflict, InvalidInput, NotFound
from mimir.journaling import append_event
from mimir.model import Entity, Json, Stored
from mimir.operations import editing, entities, quality
from mimir.operations import graph as links
from mimir.recording import find_one, store_draft
from mimir.web.asked import Asked
from mimir.web.shapes import in_full

ACTOR: Final = "dashboard"
"""Who the journal says has acted."""

MOST_ACTIONS: Final = 10
"""Actions of one session that can be undone."""

_NEW_FIELDS: Final = (
    "always_on",
    "certainty",
    "layer",
    "tags",
    "topic_path",
    "type",
    "valid_from_unix_ms",
    "valid_to_unix_ms",
    "visibility",
)


class Former(Struct, kw_only=True):
    """A memory before an action, None if there was none, and its revisions before and after."""

    id: str
    entity: Entity | None
    before: int
    after: int = 0


class Action(Struct, kw_only=True):
    """What was done last, in words, and what it was done to."""

    words: str
    formers: list[Former]


Actions = list[Action]
Write = Callable[[Engine, Asked, Actions], Json]


class Stale(Conflict):
    """The memory is not any more what the page has shown."""

    def __init__(self, current: Json) -> None:
        super().__init__("The memory was changed meanwhile.", hint="Look at it as it is now; nothing was overwritten.")
        self.current = current


class Acting:
    """One action while it is done: what it holds, and what it tells the journal."""

    def __init__(self, engine: Engine, now: int) -> None:
        self._engine = engine
        self._now = now
        self.formers: list[Former] = []
        self.words = ""

    def hold(self, id: str, revision: int | None) -> Stored:
        """Return a memory that is to be changed.

        Raises:
            NotFound: there is none with this id.
            Stale: it has another revision than the page has shown.
        """
        stored = editing.require(self._engine, id)
        present = revision_of(self._engine, stored.number)
        if revision is not None and revision != present:
            raise Stale(in_full(self._engine, stored))
        self.formers.append(Former(id=id, entity=stored.entity, before=present))
        return stored

    def tell(self, words: str, verb: str, entity: Entity, **details: Json) -> None:
        """Say what is done: to the person, and in the journal without any text of the memory."""
        self.words = words
        append_event(
            self._engine,
            self._now,
            verb,
            acted={"action": verb, **details},
            category=entity.category,
            key=entity.key,
            entity_id=entity.id,
            workspace_hash=entity.workspace_hash,
            agent_id=ACTOR,
        )


@contextmanager
def acting(engine: Engine, actions: Actions) -> Iterator[Acting]:
    """Do one action in one transaction; once it is durable it can be undone."""
    with engine.writing() as now:
        act = Acting(engine, now)
        yield act
        for former in act.formers:
            former.after = revision_of(engine, editing.require(engine, former.id).number)
    actions.append(Action(words=act.words, formers=act.formers))
    del actions[:-MOST_ACTIONS]


def revision_of(engine: Engine, number: int) -> int:
    """Return which change of a memory was its last."""
    return engine.store.changes_of([number]).get(number, 0)


def create(engine: Engine, asked: Asked, actions: Actions) -> Json:
    """Store a new memory; a name that is taken is a conflict, not an update."""
    draft = make_draft(
        asked.required("category"),
        asked.required("key"),
        asked.json("body"),
        secrets=engine.settings.secrets,
        workspace_hash=asked.text("workspace_hash") or "",
        source=ACTOR,
        changes={name: asked.json(name) for name in _NEW_FIELDS},
    )
    with acting(engine, actions) as act:
        there = find_one(engine, draft.category, draft.key, draft.workspace_hash)
        if there is not None:
            raise Stale(in_full(engine, there))
        stored = store_draft(engine, draft)
        act.formers.append(Former(id=stored.id, entity=None, before=0))
        act.tell(f"{draft.key} was created", "create", editing.require(engine, stored.id).entity)
    return _shown(engine, stored.id)


def edit(engine: Engine, asked: Asked, actions: Actions) -> Json:
    """Change the fields that are sent."""
    entity_id = asked.required("id")
    revision = asked.instant("revision")
    if revision is None:
        raise InvalidInput("'revision' is missing.", hint="Send the revision that the memory had when it was read.")
    names = {"valid_from": "valid_from_unix_ms", "valid_to": "valid_to_unix_ms"}
    changes = {names.get(name, name): asked.json(name) for name in asked if name not in ("id", "revision")}
    with acting(engine, actions) as act:
        entity = act.hold(entity_id, revision).entity
        editing.edit(engine, entity_id, changes)
        act.tell(f"{entity.key} was edited", "edit", entity, fields=sorted(changes))
    return _shown(engine, entity_id)


def forget(engine: Engine, asked: Asked, actions: Actions) -> Json:
    """Take a memory out of recall."""
    entity_id = asked.required("id")
    with acting(engine, actions) as act:
        entity = act.hold(entity_id, asked.instant("revision")).entity
        if entity.archived:
            raise Conflict(f"{entity.key} is forgotten already.", hint="It can be restored or purged.")
        entities.forget(
            engine, entity.category, entity.key, asked.text("reason") or "", workspace_hash=entity.workspace_hash
        )
        act.tell(f"{entity.key} was forgotten", "forget", entity)
    return _shown(engine, entity_id)


def restore(engine: Engine, asked: Asked, actions: Actions) -> Json:
    """Bring a memory back into recall."""
    entity_id = asked.required("id")
    with acting(engine, actions) as act:
        entity = act.hold(entity_id, asked.instant("revision")).entity
        editing.revive(engine, entity_id)
        act.tell(f"{entity.key} was restored", "restore", entity)
    return _shown(engine, entity_id)


def supersede(engine: Engine, asked: Asked, actions: Actions) -> Json:
    """Let another memory take the place of one."""
    entity_id = asked.required("id")
    with acting(engine, actions) as act:
        old = act.hold(entity_id, asked.instant("revision")).entity
        new = act.hold(asked.required("to_id"), asked.instant("to_revision")).entity
        _supersede(engine, act, old, new, asked.text("reason") or "")
    return _shown(engine, entity_id)


def merge(engine: Engine, asked: Asked, actions: Actions) -> Json:
    """Give one memory the text of two, and let it take the place of the other."""
    with acting(engine, actions) as act:
        old = act.hold(asked.required("from_id"), asked.instant("from_revision")).entity
        new = act.hold(asked.required("to_id"), asked.instant("to_revision")).entity
        if asked.choice("action", ("supersede", "merge")) == "merge":
            editing.edit(engine, new.id, {"body": asked.json("body")})
            act.tell("", "edit", new, fields=["body"], merged_from=old.id)
        _supersede(engine, act, old, new, asked.text("reason") or "")
    return _shown(engine, new.id)


def link(engine: Engine, asked: Asked, actions: Actions) -> Json:
    """Link a memory to another."""
    entity_id, target = asked.required("id"), asked.required("target_id")
    with acting(engine, actions) as act:
        entity = act.hold(entity_id, asked.instant("revision")).entity
        made = links.link(
            engine,
            entity.category,
            entity.key,
            target,
            asked.text("relationship") or links.RELATED,
            asked.share("weight"),
            workspace_hash=entity.workspace_hash,
        )
        act.tell(f"{entity.key} was linked", "link", entity, target_id=target, relationship=made.relationship)
    return _shown(engine, entity_id)


def unlink(engine: Engine, asked: Asked, actions: Actions) -> Json:
    """Remove the links of a name, or all, from a memory to another."""
    entity_id, target, name = asked.required("id"), asked.required("target_id"), asked.text("relationship") or None
    with acting(engine, actions) as act:
        entity = act.hold(entity_id, asked.instant("revision")).entity
        removed = links.unlink(
            engine, entity.category, entity.key, target, name, workspace_hash=entity.workspace_hash
        ).removed
        if not removed:
            raise NotFound("There is no such link.", hint="It may have been removed meanwhile.")
        act.tell(f"a link of {entity.key} was removed", "unlink", entity, target_id=target, relationship=name)
    return _shown(engine, entity_id)


def undo(engine: Engine, _: Asked, actions: Actions) -> Json:
    """Put back what the last action of this session has changed.

    Raises:
        NotFound: there is nothing to undo.
        Stale: a memory was changed since; nothing is undone.
    """
    if not actions:
        raise NotFound("There is nothing to undo.", hint="Only what this browser did last can be undone.")
    last = actions[-1]
    with engine.writing() as now:
        act = Acting(engine, now)
        for former in reversed(last.formers):
            present = act.hold(former.id, former.after).entity
            if former.entity is None:
                entities.forget(engine, present.category, present.key, "undone", workspace_hash=present.workspace_hash)
            else:
                editing.put_back(engine, former.entity)
            act.tell("", "undo", present)
        after = {former.id: revision_of(engine, editing.require(engine, former.id).number) for former in last.formers}
    if actions and actions[-1] is last:
        actions.pop()
    # What was done before can be undone next: the memory is again what it was then.
    for former in last.formers:
        for earlier in (one for action in actions for one in action.formers):
            if (earlier.id, earlier.after) == (former.id, former.before):
                earlier.after = after[former.id]
    return {"undone": last.words, "entities": list(after)}


def _supersede(engine: Engine, act: Acting, old: Entity, new: Entity, reason: str) -> None:
    if old.workspace_hash != new.workspace_hash:
        raise InvalidInput(
            f"{old.key} and {new.key} are in different workspaces.", hint="Choose two of the same workspace."
        )
    quality.supersede(engine, old.category, old.key, new.category, new.key, reason, workspace_hash=old.workspace_hash)
    act.tell(f"{old.key} was superseded", "supersede", old, by=new.id)


def _shown(engine: Engine, entity_id: str) -> dict[str, Json]:
    with engine.store.reading():
        return in_full(engine, editing.require(engine, entity_id))


_ENTITY: Final = "/api/entities/{id}"
WRITES: Final[Mapping[tuple[str, str], Write]] = {
    ("POST", "/api/entities"): create,
    ("PATCH", _ENTITY): edit,
    ("POST", f"{_ENTITY}/forget"): forget,
    ("POST", f"{_ENTITY}/restore"): restore,
    ("POST", f"{_ENTITY}/supersede"): supersede,
    ("POST", f"{_ENTITY}/links"): link,
    ("DELETE", f"{_ENTITY}/links/{{target_id}}"): unlink,
    ("POST", "/api/undo"): undo,
}
"""The writes by method and path."""

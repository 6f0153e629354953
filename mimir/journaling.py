"""The one way into the journal, and the check that nothing in it was changed."""

from __future__ import annotations

import json
import os
from typing import Final

import msgspec

from mimir.engine import Engine
from mimir.errors import InvalidInput, MimirError
from mimir.model import Event, Json
from mimir.rules.chain import GENESIS, SALT_BYTES, chain_hash, commitment, misfit, write_payload

MAXIMUM_FIELD_BYTES: Final = 65_536
"""Longest JSON text of each of the three members of an event that a caller may hand in."""

_json_text: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_CHECKED_AT_ONCE: Final = 1_000
_NAMED_VERSIONS: Final = 3


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """The first row at which the journal's chain does not hold; `id` is empty when the row is gone."""

    sequence: int
    id: str
    reason: str


class JournalCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How far the journal's chain holds.

    `rows` counts those that hold, `erased` those of them whose payload was blanked; `last_hash` stands for the whole
    journal up to `last_sequence`: kept elsewhere, it also shows a journal that was rewritten from its beginning.
    """

    rows: int
    erased: int
    last_sequence: int
    last_hash: str
    broken: Break | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What one check of the store found."""

    name: str
    ok: bool
    detail: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the store is sound: every check, and how far the journal's chain holds."""

    ok: bool
    db_path: str
    checks: tuple[Check, ...]
    journal: JournalCheck | None


def append_event(
    engine: Engine,
    now: int,
    event_type: str,
    *,
    evaluated: Json = None,
    acted: Json = None,
    forward: Json = None,
    category: str = "",
    key: str = "",
    entity_id: str = "",
    workspace_hash: str = "",
    agent_id: str | None = None,
    event_id: str | None = None,
) -> Event:
    """Append one event to the journal, inside an open write transaction, and return it.

    ``agent_id`` is the caller's identity when left out; ``event_id`` is for events that had one elsewhere. Rows about
    a memory that is erased lose the three JSON values and nothing else: what must go with it belongs there.

    Raises:
        InvalidInput: a value cannot be written as JSON, or a text is not valid Unicode.
    """
    payload = write_payload(
        os.urandom(SALT_BYTES),
        json_text("evaluated", evaluated),
        json_text("acted", acted),
        json_text("forward", forward),
    )
    highest, last, former = engine.store.journal_end()
    # Beyond what is there if rows were taken off the end, so that the gap stays.
    sequence = max(highest, last) + 1
    chain_key = engine.store.chain_key(sequence)
    event = Event(
        sequence=sequence,
        id=engine.clock.new_id("jrn-") if event_id is None else event_id,
        event_type=event_type,
        category=category,
        key=key,
        entity_id=entity_id,
        agent_id=engine.settings.agent_id if agent_id is None else agent_id,
        workspace_hash=workspace_hash,
        payload=payload,
        payload_commitment=commitment(payload, chain_key),
        audit_hash="",
        created_at_unix_ms=now,
    )
    event = msgspec.structs.replace(event, audit_hash=chain_hash(former or GENESIS, event, chain_key))
    engine.store.add_event(event)
    return event


def json_text(name: str, value: Json) -> str:
    """Return a value as JSON without spaces; ``name`` is what an error calls it.

    Raises:
        InvalidInput: it cannot be written as JSON: a number is not finite, a text no valid Unicode, or it is nested
            too deep.
    """
    try:
        text = _json_text(value)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"'{name}' cannot be written as JSON: {error}.", hint="Give plain JSON values.") from None
    return text


def verify(engine: Engine) -> Verified:
    """Check the store: the journal's chain and guards, the intervals of versions, sealed bodies, pages and indexes.

    It changes nothing.
    """
    checks: list[Check] = []
    journal: JournalCheck | None = None
    try:
        journal = verify_journal(engine)
        checks.append(Check(name="journal", ok=journal.broken is None, detail=_in_words(journal)))
    except MimirError as error:
        checks.append(Check(name="journal", ok=False, detail=error.message))
    for name, find in _CHECKS.items():
        try:
            with engine.store.reading():
                wrong = find(engine)
        except MimirError as error:
            wrong = error.message
        checks.append(Check(name=name, ok=not wrong, detail=wrong or "ok"))
    sound = all(check.ok for check in checks)
    return Verified(ok=sound, db_path=engine.store.path, checks=tuple(checks), journal=journal)


def verify_journal(engine: Engine) -> JournalCheck:
    """Walk the journal from its first row and name the first that does not follow from the one before it.

    Each row is held to the key with which the journal was chained when it was written: sealing a store, unsealing it
    and changing its key begin a new stretch and leave what was chained before as it is, so that a hash noted earlier
    stays good. Rows whose payload was blanked hold by their hash alone. What was taken off the end is told by the
    highest sequence number ever given out.
    """
    rows = erased = last = 0
    former = GENESIS
    broken: Break | None = None
    while broken is None:
        with engine.store.reading():
            batch = engine.store.events_after(last, _CHECKED_AT_ONCE)
            highest = 0 if batch else engine.store.journal_end()[0]
        if not batch:
            broken = _missing_end(last, highest)
            break
        for event, readable in batch:
            key = engine.store.chain_key(event.sequence)
            reason = misfit(last, former, event, key) if readable else "kind: a field is not what it was written as"
            if reason:
                broken = Break(sequence=event.sequence, id=event.id, reason=reason)
                break
            rows, erased = rows + 1, erased + (event.payload is None)
            last, former = event.sequence, event.audit_hash
    return JournalCheck(rows=rows, erased=erased, last_sequence=last, last_hash=former if rows else "", broken=broken)


def _missing_end(last: int, highest: int) -> Break | None:
    if highest == last:
        return None
    if highest > last:
        reason = f"missing tail: rows up to {highest} were written, the last one here is {last}"
    else:
        reason = f"high-water mark: {highest} were counted, but the last row is {last}"
    return Break(sequence=last + 1, id="", reason=reason)


def _in_words(journal: JournalCheck) -> str:
    broken = journal.broken
    if broken is None:
        return f"{journal.rows} rows, {journal.erased} of them erased; last hash {journal.last_hash or 'none'}"
    return f"first broken link: sequence {broken.sequence}, id {broken.id or 'none'}: {broken.reason}"


def _file(engine: Engine) -> str:
    found = engine.store.check_integrity(thorough=True)
    return "" if found == "ok" else found


def _journal_guards(engine: Engine) -> str:
    missing = engine.store.missing_guards()
    return f"the journal can be rewritten: {', '.join(missing)} missing or changed" if missing else ""


def _versions(engine: Engine) -> str:
    wrong = engine.store.misplaced_versions(_NAMED_VERSIONS)
    return "; ".join(f"{version_id}: {fault}" for version_id, fault in wrong)


def _bodies(engine: Engine) -> str:
    changed = engine.store.unreadable_bodies()
    return f"{changed} sealed bodies were changed outside Mimir" if changed else ""


_CHECKS: Final = {
    "journal guards": _journal_guards,
    "versions": _versions,
    "bodies": _bodies,
    "file": _file,
}
"""Each check beside the chain: what is wrong in words, or nothing."""

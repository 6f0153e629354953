"""The journal: appended, read back in order, and checked from its first row."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir import InvalidInput, Memory, NotFound
from mimir.journaling import Break, append_event
from tests.conftest import OpenMemory
from tests.doubles import START_MS, FixedClock

GUARDS = ("journal_replaces_nothing", "journal_grows_at_its_end", "journal_is_append_only", "journal_keeps_its_rows")


def types(memory: Memory, **filters: Any) -> list[str]:  # noqa: ANN401 - filters of any type
    return [item.event_type for item in memory.timeline(**filters).items]


def tamper(path: str, *statements: str) -> None:
    """Change a store with another SQLite tool, its guards out of the way."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in (*(f"DROP TRIGGER {guard}" for guard in GUARDS), *statements):
            connection.execute(statement)
        connection.commit()


@pytest.fixture
def filled(memory: Memory, clock: FixedClock) -> Memory:
    """Return a memory with five events, one per second."""
    for number in range(1, 6):
        memory.journal(f"e{number}", evaluated={"n": number}, category="c", key=f"k{number}")
        clock.advance(1_000)
    return memory


# --- writing


def test_an_event_gets_an_id_a_time_and_its_place(memory: Memory) -> None:
    first, second = memory.journal("action"), memory.journal()
    assert first.id.startswith("jrn-")
    assert len(first.id) == len("jrn-") + 12
    assert (first.event_type, first.created_at_unix_ms, first.sequence) == ("action", START_MS, 1)
    assert (second.event_type, second.sequence) == ("decision", 2)
    assert memory.stats().total_journal_events == 2


def test_what_was_left_out_reads_as_null(memory: Memory) -> None:
    memory.journal()
    (item,) = memory.timeline().items
    assert (item.evaluated_json, item.acted_json, item.forward_json) == ("null", "null", "null")
    assert (item.category, item.key, item.entity_id, item.agent_id, item.workspace_hash) == ("", "", "", "", "")


def test_an_empty_kind_of_event_is_a_decision(memory: Memory) -> None:
    assert memory.journal("").event_type == "decision"


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1.5, 2**70, "", "text", "ü\0\n", [], [None], {"a": {"b": []}}, "{no json", "[1]"],
    ids=repr,
)
def test_any_json_value_is_kept(memory: Memory, value: object) -> None:
    memory.journal(evaluated=value, acted=[value], forward={"v": value})
    (item,) = memory.timeline().items
    said = (item.evaluated_json, item.acted_json, item.forward_json)
    assert tuple(map(json.loads, said)) == (value, [value], {"v": value})


def test_an_object_may_come_as_json_text(memory: Memory) -> None:
    memory.journal(evaluated=' {"a": 1}')
    assert memory.timeline().items[0].evaluated_json == '{"a":1}'


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {"a": [float("-inf")]}, '{"a": NaN}', {1, 2}, b"x", "\ud800"], ids=repr
)
def test_what_is_no_json_is_refused_and_leaves_no_row(memory: Memory, value: object) -> None:
    with pytest.raises(InvalidInput, match="acted"):
        memory.journal(acted=value)
    assert memory.timeline().items == ()


def test_a_value_that_holds_itself_is_refused(memory: Memory) -> None:
    endless: list[object] = []
    endless.append(endless)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep):
        with pytest.raises(InvalidInput, match="forward"):
            memory.journal(forward=value)


@pytest.mark.parametrize("name", ["evaluated", "acted", "forward"])
def test_a_field_holds_64_kb_of_json_and_no_byte_more(memory: Memory, name: str) -> None:
    memory.journal(**{name: "x" * 65_534})
    with pytest.raises(InvalidInput, match="Journal field exceeds 64KB limit") as raised:
        memory.journal(**{name: "x" * 65_535})
    assert name in raised.value.message
    with pytest.raises(InvalidInput):
        memory.journal(**{name: "ü" * 32_768})
    assert memory.timeline().total == 1


@pytest.mark.parametrize(
    ("name", "most"),
    [("event_type", 256), ("category", 256), ("key", 1_024), ("entity_id", 1_024), ("agent_id", 1_024)],
)
def test_names_are_bounded(memory: Memory, name: str, most: int) -> None:
    memory.journal(**{name: "x" * most})
    with pytest.raises(InvalidInput, match=name):
        memory.journal(**{name: "x" * (most + 1)})
    with pytest.raises(InvalidInput, match=name):
        memory.journal(**{name: "\udc00"})


def test_the_agent_of_an_event_is_the_caller_unless_it_is_named(open_memory: OpenMemory) -> None:
    memory = open_memory(agent_id="ada")
    memory.journal("one")
    memory.journal("two", agent_id="bob")
    assert [item.agent_id for item in memory.timeline().items] == ["bob", "ada"]


def test_the_entity_of_an_event_need_not_exist(memory: Memory) -> None:
    memory.journal(entity_id="mem-of-another-store")
    assert memory.timeline(entity_id="mem-of-another-store").total == 1


def test_an_event_of_a_failed_transaction_leaves_no_gap(memory: Memory) -> None:
    memory.journal()

    def fail() -> None:
        with memory.writing() as now:
            append_event(memory, now, "lost")
            raise NotFound("nothing")

    with pytest.raises(NotFound):
        fail()
    assert memory.journal().sequence == 2
    assert memory.verify_journal().broken is None


def test_an_event_keeps_the_id_and_time_that_it_had_elsewhere(memory: Memory) -> None:
    with memory.writing():
        event = append_event(memory, -5, "old", event_id="jrn-elsewhere", agent_id="ada")
    (item,) = memory.timeline().items
    assert (
        (item.id, item.created_at_unix_ms, item.agent_id)
        == ("jrn-elsewhere", -5, "ada")
        == (
            event.id,
            event.created_at_unix_ms,
            event.agent_id,
        )
    )


def test_events_of_several_threads_and_connections_form_one_chain(open_memory: OpenMemory) -> None:
    one, other = open_memory(), open_memory()

    def write(memory: Memory) -> None:
        for _ in range(10):
            memory.journal()

    threads = [threading.Thread(target=write, args=(memory,)) for memory in (one, one, other, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check = one.verify_journal()
    assert (check.rows, check.broken) == (40, None)
    assert [item.sequence for item in one.timeline().items] == list(range(40, 0, -1))


# --- reading


def test_the_newest_event_comes_first_even_within_one_millisecond(memory: Memory) -> None:
    for number in range(5):
        memory.journal(f"e{number}")
    assert types(memory) == ["e4", "e3", "e2", "e1", "e0"]


def test_a_clock_that_goes_back_does_not_change_the_order(memory: Memory, clock: FixedClock) -> None:
    memory.journal("first")
    clock.advance(-5_000)
    memory.journal("second")
    assert types(memory) == ["second", "first"]


def test_both_bounds_of_time_are_inclusive(filled: Memory) -> None:
    assert types(filled, from_ms=START_MS + 1_000, to_ms=START_MS + 3_000) == ["e4", "e3", "e2"]
    assert types(filled, from_ms=START_MS + 4_000) == ["e5"]
    assert types(filled, to_ms=START_MS) == ["e1"]
    assert types(filled, from_ms=START_MS + 1, to_ms=START_MS) == []


@pytest.mark.parametrize("moment", [-(2**63), -62_135_596_800_001, -1, 253_402_300_800_000, 2**63 - 1])
def test_events_before_1970_and_after_9999_are_found(memory: Memory, clock: FixedClock, moment: int) -> None:
    clock.advance(moment - clock.now_ms())
    memory.journal("far")
    assert types(memory, from_ms=moment, to_ms=moment) == ["far"]
    assert memory.timeline().items[0].created_at_unix_ms == moment
    assert memory.verify_journal().broken is None


def test_a_time_that_does_not_fit_is_refused(memory: Memory) -> None:
    with pytest.raises(InvalidInput):
        memory.timeline(from_ms=2**63)


def test_every_filter_holds_and_they_hold_together(memory: Memory) -> None:
    fields: dict[str, Any] = {
        "event_type": "action",
        "category": "c",
        "key": "k",
        "entity_id": "mem-1",
        "agent_id": "ada",
        "workspace_hash": "w",
    }
    memory.journal(**fields)
    for name in fields:
        memory.journal(**{**fields, name: "other"})
    for name, value in fields.items():
        same: dict[str, Any] = {name: value}
        other: dict[str, Any] = {name: "other"}
        assert (memory.timeline(**same).total, memory.timeline(**other).total) == (6, 1)
    assert memory.timeline(**fields).total == 1
    assert memory.timeline(**{**fields, "key": "other", "category": "other"}).total == 0


def test_an_empty_filter_is_none_save_for_the_workspace(memory: Memory) -> None:
    memory.journal("here", workspace_hash="")
    memory.journal("there", workspace_hash="w", category="c", key="k", entity_id="i", agent_id="a")
    assert types(memory, event_type="", category="", key="", entity_id="", agent_id="") == ["there", "here"]
    assert types(memory, workspace_hash="") == ["here"]


def test_pages_follow_each_other_without_overlap(filled: Memory) -> None:
    assert types(filled, limit=2) == ["e5", "e4"]
    assert types(filled, limit=2, offset=2) == ["e3", "e2"]
    assert types(filled, limit=2, offset=4) == ["e1"]
    assert types(filled, offset=5) == []
    assert filled.timeline(limit=2).total == 2


@pytest.mark.parametrize(("limit", "shown"), [(-1, 0), (0, 0), (10**9, 5)])
def test_limits_are_moved_to_their_bounds(filled: Memory, limit: int, shown: int) -> None:
    assert filled.timeline(limit=limit, offset=-3).total == shown


events = st.lists(
    st.tuples(st.integers(-3, 3), st.sampled_from(["a", "b"]), st.sampled_from(["", "c"]), st.sampled_from(["", "w"])),
    max_size=8,
)


@given(
    events=events,
    start=st.none() | st.integers(-3, 3),
    end=st.none() | st.integers(-3, 3),
    kind=st.sampled_from([None, "", "a"]),
    category=st.sampled_from([None, "", "c"]),
    workspace=st.sampled_from([None, "", "w"]),
    offset=st.integers(0, 3),
)
def test_a_timeline_is_what_a_plain_list_would_give(
    keyword_memory: Memory,
    events: list[tuple[int, str, str, str]],
    start: int | None,
    end: int | None,
    kind: str | None,
    category: str | None,
    workspace: str | None,
    offset: int,
) -> None:
    memory = keyword_memory
    # Each example appends to the journal of those before it, which only the agent's name tells apart.
    agent = f"agent {memory.stats().total_journal_events}"
    with memory.writing():
        for place, (moment, event_type, of, where) in enumerate(events):
            append_event(memory, moment, event_type, category=of, workspace_hash=where, key=str(place), agent_id=agent)
    expected = [
        str(place)
        for place, (moment, event_type, of, where) in reversed(list(enumerate(events)))
        if (start is None or moment >= start)
        and (end is None or moment <= end)
        and kind in (None, "", event_type)
        and category in (None, "", of)
        and workspace in (None, where)
    ]
    items = memory.timeline(
        from_ms=start,
        to_ms=end,
        event_type=kind,
        category=category,
        workspace_hash=workspace,
        agent_id=agent,
        offset=offset,
    ).items
    assert [item.key for item in items] == expected[offset:]


# --- checking


def test_an_empty_journal_holds(memory: Memory) -> None:
    check = memory.verify_journal()
    assert (check.rows, check.erased, check.last_sequence, check.last_hash, check.broken) == (0, 0, 0, "", None)
    assert memory.verify().ok


def test_a_whole_journal_holds_and_names_its_last_hash(filled: Memory) -> None:
    check = filled.verify_journal()
    assert (check.rows, check.erased, check.last_sequence, check.broken) == (5, 0, 5, None)
    filled.journal()
    assert filled.verify_journal().last_hash != check.last_hash


def test_more_rows_than_are_checked_at_once_hold(memory: Memory) -> None:
    with memory.writing() as now:
        for number in range(2_100):
            append_event(memory, now, f"e{number}")
    check = memory.verify_journal()
    assert (check.rows, check.broken) == (2_100, None)


def test_blanked_payloads_are_counted_and_hold(filled: Memory) -> None:
    with filled.store.writing() as connection:
        connection.execute("UPDATE journal SET payload = NULL WHERE sequence IN (1, 4)")
    check = filled.verify_journal()
    assert (check.rows, check.erased, check.broken) == (5, 2, None)
    assert [(item.erased, item.evaluated_json) for item in filled.timeline(limit=2).items][-1] == (True, "null")


CHANGES = {
    "event_type": "'forged'",
    "category": "'forged'",
    "key": "'forged'",
    "entity_id": "'forged'",
    "agent_id": "'forged'",
    "workspace_hash": "'forged'",
    "id": "'jrn-forged'",
    "created_at_unix_ms": "created_at_unix_ms + 1",
    "payload_commitment": "upper(payload_commitment)",
    "audit_hash": "replace(audit_hash, substr(audit_hash, 1, 1), 'x')",
    "payload": "replace(payload, '3', '4')",
}


@pytest.mark.parametrize("column", CHANGES)
def test_a_changed_field_is_found_with_its_row(filled: Memory, db: str, column: str) -> None:
    tamper(db, f"UPDATE journal SET {column} = {CHANGES[column]} WHERE sequence = 3")  # noqa: S608 - our own names
    broken = filled.verify_journal().broken
    assert broken is not None
    assert broken.sequence == 3
    assert broken.reason.split(":")[0] == ("commitment" if column == "payload" else "hash")
    assert filled.verify_journal().rows == 2


@pytest.mark.parametrize("value", ["CAST({column} AS BLOB)", "x'ff'"], ids=["blob", "no text"])
@pytest.mark.parametrize("column", ["event_type", "key", "payload", "audit_hash"])
def test_a_text_that_became_bytes_is_found(filled: Memory, db: str, column: str, value: str) -> None:
    tamper(db, f"UPDATE journal SET {column} = {value.format(column=column)} WHERE sequence = 2")  # noqa: S608 - ours
    broken = filled.verify_journal().broken
    assert broken is not None
    assert (broken.sequence, broken.reason) == (2, "kind: a field is not what it was written as")


@pytest.mark.parametrize("sequence", [1, 3])
def test_a_row_taken_out_is_a_gap(filled: Memory, db: str, sequence: int) -> None:
    tamper(db, f"DELETE FROM journal WHERE sequence = {sequence}")  # noqa: S608 - a number
    broken = filled.verify_journal().broken
    assert broken is not None
    assert (broken.sequence, broken.reason) == (sequence + 1, "gap in sequence: 1 row missing before it")


def test_a_row_taken_out_with_the_numbers_closed_up_is_found(filled: Memory, db: str) -> None:
    tamper(
        db,
        "DELETE FROM journal WHERE sequence = 3",
        "UPDATE journal SET sequence = sequence - 1 WHERE sequence > 3",
        "UPDATE sqlite_sequence SET seq = 4 WHERE name = 'journal'",
    )
    broken = filled.verify_journal().broken
    assert broken is not None
    assert (broken.sequence, broken.reason[:4]) == (3, "hash")


def test_exchanged_rows_are_found(filled: Memory, db: str) -> None:
    tamper(
        db,
        "UPDATE journal SET sequence = 99 WHERE sequence = 2",
        "UPDATE journal SET sequence = 2 WHERE sequence = 3",
        "UPDATE journal SET sequence = 3 WHERE sequence = 99",
    )
    broken = filled.verify_journal().broken
    assert broken is not None
    assert broken.sequence == 2


@pytest.mark.parametrize("left", [4, 1, 0])
def test_rows_taken_off_the_end_are_missed_then_and_ever_after(filled: Memory, db: str, left: int) -> None:
    tamper(db, f"DELETE FROM journal WHERE sequence > {left}")  # noqa: S608 - a number
    check = filled.verify_journal()
    assert check.rows == left
    assert check.broken == Break(
        sequence=left + 1, id="", reason=f"missing tail: rows up to 5 were written, the last one here is {left}"
    )
    assert filled.journal("later").sequence == 6
    broken = filled.verify_journal().broken
    assert broken is not None
    assert (broken.sequence, broken.reason[:3]) == (6, "gap")


def test_a_count_that_was_set_back_is_found(filled: Memory, db: str) -> None:
    tamper(db, "UPDATE sqlite_sequence SET seq = 2 WHERE name = 'journal'")
    broken = filled.verify_journal().broken
    assert broken is not None
    assert broken.reason == "high-water mark: 2 were counted, but the last row is 5"
    assert filled.journal().sequence == 6


def test_a_row_slipped_in_at_the_end_is_found(filled: Memory, db: str) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(
            "INSERT INTO journal SELECT 6, 'jrn-slipped', event_type, category, key, entity_id, agent_id,"
            " workspace_hash, payload, payload_commitment, audit_hash, created_at_unix_ms FROM journal"
            " WHERE sequence = 5"
        )
        connection.commit()
    broken = filled.verify_journal().broken
    assert broken is not None
    assert (broken.sequence, broken.id, broken.reason[:4]) == (6, "jrn-slipped", "hash")


@pytest.mark.parametrize("guard", GUARDS)
def test_a_guard_that_is_gone_is_named(filled: Memory, db: str, guard: str) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(f"DROP TRIGGER {guard}")
        connection.commit()
    verified = filled.verify()
    assert not verified.ok
    assert failed(verified.checks) == {"journal guards": f"the journal can be rewritten: {guard} missing or changed"}


def test_a_guard_that_was_emptied_is_named(filled: Memory, db: str) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("DROP TRIGGER journal_is_append_only")
        connection.execute("CREATE TRIGGER journal_is_append_only BEFORE DELETE ON journal BEGIN SELECT 1; END")
        connection.commit()
    assert failed(filled.verify().checks).keys() == {"journal guards"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE versions SET invalidated_at_unix_ms = recorded_at_unix_ms", "its interval is empty"),
        ("UPDATE versions SET invalidated_at_unix_ms = recorded_at_unix_ms + 9000", "its interval overlaps"),
        ("UPDATE versions SET entity = 99", "it belongs to no entity"),
    ],
)
def test_versions_whose_intervals_do_not_fit_are_named(
    memory: Memory, clock: FixedClock, db: str, change: str, fault: str
) -> None:
    for number in range(4):
        memory.remember("c", "k", {"content": f"text {number}"})
        clock.advance(1_000)
    memory.forget("c", "k")
    memory.remember("c", "k", {"content": "back"})
    assert memory.verify().ok
    oldest = memory.history("c", "k").versions[-1].version_id
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(f"{change} WHERE version_id = ?", (oldest,))
        connection.commit()
    assert failed(memory.verify().checks)["versions"].startswith(f"{oldest}: {fault}")


def test_a_store_full_of_everything_is_sound(filled: Memory) -> None:
    filled.remember("c", "k", {"content": "text"}, tags=["t"])
    filled.remember("c", "k", {"content": "another text"})
    assert filled.verify().ok
    assert {check.name for check in filled.verify().checks} >= {"journal", "versions", "file"}


def failed(checks: Iterable[Any]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.ok}

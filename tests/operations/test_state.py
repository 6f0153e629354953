"""Values are kept under keys, exactly, and some of them for a time only."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import apsw
import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mimir import InvalidInput, Memory
from mimir.catalogue import load_catalogue
from mimir.operation import read_arguments
from tests.conftest import OpenMemory
from tests.doubles import DAY_MS, START_MS, FixedClock

TOO_LONG_VALUE = '"' + "x" * (4 * 1024 * 1024 - 1) + '"'


def value_of(memory: Memory, key: str) -> object:
    found = memory.state_get(key)
    return found.value if found.found else None


def rows(db: str) -> int:
    """Return how many rows the file holds, expired or not."""
    with closing(apsw.Connection(db)) as connection:
        return int(connection.execute("SELECT count(*) FROM state").get)


# --- values


@pytest.mark.parametrize(
    "text",
    [
        '{"b": 1,  "a": [1.0, 1e3, -0]}',
        " [ ] ",
        '"plain words"',
        "null",
        "0",
        "-1.50",
        '"\\u0000\\u00e9\\ud83d\\ude00"',
        '"日本語 😀"',
        '{"a":1,"a":2}',
    ],
)
def test_json_text_is_kept_byte_for_byte(keyword_memory: Memory, text: str) -> None:
    keyword_memory.state_set("k", text)
    assert value_of(keyword_memory, "k") == text


@pytest.mark.parametrize(
    "value", [{"task": "größer", "list": [1, 2.5, None]}, [], 5, 0.1 + 0.2, True, None, (1, 2), {"n": 1 << 70}]
)
def test_any_other_json_value_is_kept_as_json_text(keyword_memory: Memory, value: object) -> None:
    keyword_memory.state_set("k", value)
    text = value_of(keyword_memory, "k")
    assert isinstance(text, str)
    assert json.loads(text) == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
    "value",
    [
        "plain words",
        "",
        " ",
        "{",
        "{'a': 1}",
        "[1,]",
        "NaN",
        "1 2",
        "\ufeff1",
        '"\ud800"',
        "[" * 100_000,
        float("nan"),
        {"a": [float("inf")]},
        {"a": "\udfff"},
        {1, 2},
        b"1",
        object(),
        TOO_LONG_VALUE,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_json_or_too_long_is_refused_and_changes_nothing(keyword_memory: Memory, value: object) -> None:
    keyword_memory.state_set("k", '"before"')
    with pytest.raises(InvalidInput, match="value_json") as raised:
        keyword_memory.state_set("k", value)
    assert raised.value.hint
    assert len(raised.value.message) < 1_000
    found = keyword_memory.state_get("k")
    assert (found.value, found.expires_at_unix_ms) == ('"before"', None)


def test_a_value_of_four_mebibytes_is_kept(keyword_memory: Memory) -> None:
    text = TOO_LONG_VALUE.replace("x", "", 1)
    assert len(text) == 4 * 1024 * 1024
    keyword_memory.state_set("k", text)
    assert value_of(keyword_memory, "k") == text


def test_setting_again_replaces_value_time_to_live_and_creation(keyword_memory: Memory, clock: FixedClock) -> None:
    keyword_memory.state_set("k", "1", 60)
    first = keyword_memory.state_get("k")
    assert (first.created_at_unix_ms, first.expires_at_unix_ms) == (START_MS, START_MS + 60_000)
    later = clock.advance(500)
    kept = keyword_memory.state_set("k", "2")
    assert (kept.key, kept.ttl_seconds, kept.expires_at_unix_ms) == ("k", None, None)
    second = keyword_memory.state_get("k")
    assert (second.value, second.created_at_unix_ms, second.expires_at_unix_ms) == ("2", later, None)
    clock.advance(DAY_MS)
    assert value_of(keyword_memory, "k") == "2"


def test_what_was_never_set_is_not_found(keyword_memory: Memory) -> None:
    for key in ("none", "", "x" * 5_000):
        assert keyword_memory.state_get(key).found is False
        assert keyword_memory.state_delete(key).found is False
    assert keyword_memory.state_list().keys == ()


# --- keys


@pytest.mark.parametrize("key", ["a", " ", "a/b c", "ключ", "😀", "a\0b", "%", "x" * 1_024, "é" * 512])
def test_any_key_of_1_to_1024_bytes_is_a_name_of_its_own(keyword_memory: Memory, key: str) -> None:
    for other in (key + "!", key[:-1] + "~", key.upper() + "?"):
        if len(other.encode()) <= 1_024:
            keyword_memory.state_set(other, '"other"')
    keyword_memory.state_set(key, '"own"')
    assert value_of(keyword_memory, key) == '"own"'
    assert key in keyword_memory.state_list(key).keys


@pytest.mark.parametrize("key", ["", "x" * 1_025, "é" * 513, "a\ud800"], ids=lambda key: repr(key)[:12])
def test_an_empty_or_too_long_key_is_refused(keyword_memory: Memory, key: str) -> None:
    with pytest.raises(InvalidInput, match="key"):
        keyword_memory.state_set(key, "1")
    assert keyword_memory.state_list().total == 0


# --- time to live


def test_a_value_is_there_until_its_time_and_gone_after_it(keyword_memory: Memory, clock: FixedClock) -> None:
    kept = keyword_memory.state_set("k", "1", 60)
    assert (kept.ttl_seconds, kept.expires_at_unix_ms) == (60, START_MS + 60_000)
    clock.advance(60_000)
    assert value_of(keyword_memory, "k") == "1"
    assert keyword_memory.state_list().keys == ("k",)
    clock.advance(1)
    assert value_of(keyword_memory, "k") is None
    assert keyword_memory.state_list().keys == ()


@pytest.mark.parametrize(
    ("seconds", "milliseconds", "whole"), [(0.5, 500, 1), (1.5, 1_500, 2), (0.001, 1, 1), (2, 2_000, 2)]
)
def test_parts_of_a_second_count(
    keyword_memory: Memory, clock: FixedClock, seconds: float, milliseconds: int, whole: int
) -> None:
    kept = keyword_memory.state_set("k", "1", seconds)
    assert (kept.ttl_seconds, kept.expires_at_unix_ms) == (whole, START_MS + milliseconds)
    clock.advance(milliseconds)
    assert value_of(keyword_memory, "k") == "1"
    clock.advance(1)
    assert value_of(keyword_memory, "k") is None


@pytest.mark.parametrize(
    "seconds", [0, -1, -0.5, float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 10**400, 1.1e15, "soon"]
)
def test_a_time_to_live_that_is_no_time_is_refused_and_changes_nothing(keyword_memory: Memory, seconds: float) -> None:
    keyword_memory.state_set("k", "1")
    with pytest.raises(InvalidInput, match="ttl_seconds") as raised:
        keyword_memory.state_set("k", "2", seconds)
    assert raised.value.hint
    assert value_of(keyword_memory, "k") == "1"


@pytest.mark.parametrize("now", [-DAY_MS, 0, 253_402_300_800_000, (1 << 62)])
def test_times_before_1970_and_after_9999_are_like_any_other(open_memory: OpenMemory, now: int) -> None:
    clock = FixedClock(now)
    memory = open_memory(embedding="off", clock=clock)
    kept = memory.state_set("k", "1", 1)
    assert kept.expires_at_unix_ms == now + 1_000
    clock.advance(1_000)
    found = memory.state_get("k")
    assert (found.found, found.created_at_unix_ms, found.expires_at_unix_ms) == (True, now, now + 1_000)
    clock.advance(1)
    assert memory.state_get("k").found is False


def test_the_longest_time_to_live_fits(keyword_memory: Memory) -> None:
    assert keyword_memory.state_set("k", "1", 1e15).expires_at_unix_ms == START_MS + 10**18
    assert value_of(keyword_memory, "k") == "1"


@pytest.mark.parametrize(
    "arguments",
    [
        {"value": '{"a": 1}', "ttl": 0.5},
        {"value_json": '{"a": 1}', "ttl_seconds": "0.5"},
        {"value_json": '{"a": 1}', "value": "2", "ttl": 9, "ttl_seconds": 0.5},
    ],
)
def test_the_spellings_of_published_clients_are_understood(
    keyword_memory: Memory, arguments: dict[str, object]
) -> None:
    entry = load_catalogue()["state_set"]
    keyword_memory.state_set(**read_arguments(entry, {"key": "k", **arguments}))
    found = keyword_memory.state_get("k")
    assert (found.value, found.expires_at_unix_ms) == ('{"a": 1}', START_MS + 500)


def test_answers_about_state_fit_their_output_schemas(keyword_memory: Memory) -> None:
    tools = {name: entry["tool"] for name, entry in load_catalogue().items()}
    for name, answer in (
        ("state_set", keyword_memory.state_set("lasting", "1")),
        ("state_set", keyword_memory.state_set("fleeting", "1", 0.5)),
        ("state_get", keyword_memory.state_get("lasting")),
        ("state_get", keyword_memory.state_get("fleeting")),
        ("state_get", keyword_memory.state_get("none")),
        ("state_list", keyword_memory.state_list()),
        ("state_delete", keyword_memory.state_delete("none")),
    ):
        jsonschema.validate(json.loads(msgspec.json.encode(answer)), tools[name]["outputSchema"])


# --- deleting and sweeping


def test_a_deleted_value_is_gone(keyword_memory: Memory) -> None:
    keyword_memory.state_set("k", "1")
    keyword_memory.state_set("k2", "2")
    assert keyword_memory.state_delete("k").found is True
    assert keyword_memory.state_delete("k").found is False
    assert keyword_memory.state_list().keys == ("k2",)


def test_deleting_an_expired_value_still_finds_it(keyword_memory: Memory, clock: FixedClock) -> None:
    keyword_memory.state_set("k", "1", 1)
    clock.advance(1_001)
    assert keyword_memory.state_get("k").found is False
    assert keyword_memory.state_delete("k").found is True


@pytest.mark.parametrize("sweep", ["set", "list"])
def test_setting_and_listing_remove_what_has_expired_from_the_file(
    keyword_memory: Memory, db: str, clock: FixedClock, sweep: str
) -> None:
    for number in range(20):
        keyword_memory.state_set(f"k{number}", "1", 1)
    keyword_memory.state_set("lasting", "1")
    clock.advance(1_001)
    assert rows(db) == 21
    if sweep == "set":
        keyword_memory.state_set("lasting", "2")
    else:
        assert keyword_memory.state_list("zzz").keys == ()
    assert rows(db) == 1


def test_a_reader_neither_sweeps_nor_fails(open_memory: OpenMemory, db: str, clock: FixedClock) -> None:
    open_memory(embedding="off").state_set("k", "1", 1)
    open_memory(embedding="off").state_set("k2", "2")
    clock.advance(1_001)
    reader = open_memory(embedding="off", read_only=True)
    assert reader.state_list().keys == ("k2",)
    assert (reader.state_get("k").found, reader.state_get("k2").value) == (False, "2")
    assert rows(db) == 2


def test_listing_does_not_fail_because_another_process_writes(
    open_memory: OpenMemory, db: str, clock: FixedClock
) -> None:
    memory = open_memory(embedding="off", busy_timeout_ms=50)
    memory.state_set("k", "1", 1)
    memory.state_set("k2", "2")
    clock.advance(1_001)
    with closing(apsw.Connection(db)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert memory.state_list().keys == ("k2",)
        assert memory.state_get("k2").value == "2"
        other.execute("ROLLBACK")
    assert rows(db) == 2


# --- listing

MIXED = ["a", "A", "a%", "a_", "aX", "ab", "b", "é", "a\0", "z\U0010ffff", "z\U0010ffff\U0010ffff", "日本"]


@pytest.mark.parametrize("prefix", ["", "a", "A", "a%", "a_", "%", "_", "é", "z\U0010ffff", "a\0", "none", "日"])
def test_a_prefix_is_taken_letter_for_letter_and_keys_come_in_the_order_of_their_bytes(
    keyword_memory: Memory, prefix: str
) -> None:
    for key in MIXED:
        keyword_memory.state_set(key, "1")
    listed = keyword_memory.state_list(prefix)
    assert list(listed.keys) == sorted((key for key in MIXED if key.startswith(prefix)), key=str.encode)
    assert listed.total == len(listed.keys)


def test_a_long_list_is_read_in_pages(keyword_memory: Memory) -> None:
    for number in range(10):
        keyword_memory.state_set(f"k{number}", "1")
    keyword_memory.state_set("other", "1")
    page = keyword_memory.state_list("k", limit=3, offset=4)
    assert (page.keys, page.total) == (("k4", "k5", "k6"), 10)
    assert keyword_memory.state_list("k", offset=8).keys == ("k8", "k9")
    assert keyword_memory.state_list("k", limit=-1, offset=-1).keys == ()
    assert keyword_memory.state_list("k", offset=99).keys == ()


# --- several callers


def test_what_one_memory_sets_another_on_the_same_file_reads(open_memory: OpenMemory) -> None:
    first, second = open_memory(embedding="off"), open_memory(embedding="off")
    first.state_set("k", "1")
    assert value_of(second, "k") == "1"
    second.state_delete("k")
    assert value_of(first, "k") is None


def test_threads_that_set_one_key_leave_one_whole_value(keyword_memory: Memory) -> None:
    together = threading.Barrier(4)

    def write(number: int) -> None:
        together.wait()
        for turn in range(10):
            keyword_memory.state_set("shared", {"writer": number, "turn": turn})
            keyword_memory.state_set(f"own/{number}/{turn}", turn)

    with ThreadPoolExecutor(4) as pool:
        for one in [pool.submit(write, number) for number in range(4)]:
            one.result()
    last = keyword_memory.state_get("shared").value
    assert isinstance(last, str)
    assert json.loads(last)["turn"] == 9
    assert keyword_memory.state_list("own/").total == 40


# --- against a naive model


class NaiveState(RuleBasedStateMachine):
    """The store beside a dictionary of values with their ends; set and list sweep both."""

    memory: Memory
    clock: FixedClock

    keys = st.text(st.sampled_from("aA%_é\0\U0010ffff"), min_size=1, max_size=3)
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ).map(json.dumps)

    @initialize()
    def begin_empty(self) -> None:
        for key in self.memory.state_list().keys:
            self.memory.state_delete(key)
        self.kept: dict[str, tuple[str, int | None, int]] = {}

    @rule(key=keys, value=values, ttl=st.none() | st.integers(1, 3) | st.sampled_from([0.001, 0.5]))
    def set(self, key: str, value: str, ttl: float | None) -> None:
        now = self.clock.now_ms()
        answer = self.memory.state_set(key, value, ttl)
        ends = None if ttl is None else now + int(ttl * 1_000)
        assert answer.expires_at_unix_ms == ends
        self.sweep()
        self.kept[key] = (value, ends, now)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        assert self.memory.state_delete(key).found is (self.kept.pop(key, None) is not None)

    @rule(milliseconds=st.sampled_from([1, 500, 1_000]))
    def wait(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds)

    @rule(prefix=st.text(st.sampled_from("aA%_é\0\U0010ffff"), max_size=2))
    def list(self, prefix: str) -> None:
        self.sweep()
        expected = sorted((key for key in self.kept if key.startswith(prefix)), key=str.encode)
        assert [*self.memory.state_list(prefix).keys] == expected

    @invariant()
    def every_value_agrees(self) -> None:
        for key, (value, ends, created) in self.kept.items():
            found = self.memory.state_get(key)
            if self.alive(ends):
                assert (found.value, found.expires_at_unix_ms, found.created_at_unix_ms) == (value, ends, created)
            else:
                assert found.found is False

    def alive(self, ends: int | None) -> bool:
        return ends is None or ends >= self.clock.now_ms()

    def sweep(self) -> None:
        self.kept = {key: entry for key, entry in self.kept.items() if self.alive(entry[1])}


def test_state_agrees_with_a_naive_model_after_any_changes(keyword_memory: Memory, clock: FixedClock) -> None:
    machine = type("State", (NaiveState,), {"memory": keyword_memory, "clock": clock})
    run_state_machine_as_test(machine)


@given(text=st.text(st.sampled_from('[]{}":,1e-. nul')))
def test_a_text_is_kept_exactly_or_refused(keyword_memory: Memory, text: str) -> None:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        with pytest.raises(InvalidInput):
            keyword_memory.state_set("k", text)
    else:
        keyword_memory.state_set("k", text)
        assert value_of(keyword_memory, "k") == text

"""A few trials of every fault; `python -m benchmarks.reliability` runs many, and docs/reliability.md shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import OpenMemory
from tests.faults import trials
from tests.faults.crowd import LEAST_STEPS, crowd
from tests.faults.ledger import FORGOTTEN, Deed, losses, unsound
from tests.faults.trials import Outcome


def assert_nothing_lost(outcome: Outcome, trials_run: int) -> None:
    assert outcome.lost == []
    assert outcome.trials == trials_run
    assert outcome.met > 0


@pytest.mark.slow
@pytest.mark.parametrize("work", trials.KILLED)
def test_work_that_is_killed_at_any_write_loses_nothing_and_is_done_by_the_next_run(tmp_path: Path, work: str) -> None:
    assert_nothing_lost(trials.kill_trials(tmp_path, work, range(2), seed=7), 2)


@pytest.mark.slow
@pytest.mark.parametrize("work", trials.KEYS)
def test_a_change_of_keys_that_is_killed_leaves_a_whole_store_under_one_key(tmp_path: Path, work: str) -> None:
    assert_nothing_lost(trials.key_trials(tmp_path, work, range(3), seed=7), 3)


@pytest.mark.slow
def test_calls_to_the_disk_that_fail_cost_nothing_acknowledged_and_end_in_words(tmp_path: Path) -> None:
    assert_nothing_lost(trials.error_trials(tmp_path, range(8)), 8)


@pytest.mark.slow
def test_a_disk_that_runs_full_at_any_write_costs_nothing_acknowledged(tmp_path: Path) -> None:
    assert_nothing_lost(trials.full_trials(tmp_path, range(6)), 6)


@pytest.mark.slow
def test_a_server_on_a_failing_disk_answers_in_words_and_goes_on(tmp_path: Path) -> None:
    assert_nothing_lost(trials.server_trials(tmp_path, range(3)), 3)


@pytest.mark.slow
@pytest.mark.parametrize(("durability", "sealed"), [("full", False), ("full", True), ("normal", False)], ids=str)
def test_power_that_fails_leaves_a_sound_store_with_what_its_durability_promises(
    tmp_path: Path, durability: str, sealed: bool
) -> None:
    assert_nothing_lost(trials.power_trials(tmp_path, range(30), durability=durability, sealed=sealed), 30)


@pytest.mark.slow
def test_the_trials_of_power_loss_find_a_disk_that_lies_about_its_syncs(tmp_path: Path) -> None:
    assert trials.power_trials(tmp_path, range(10), lying=True).lost


@pytest.mark.slow
def test_normal_durability_may_lose_the_latest_writes(tmp_path: Path) -> None:
    """Without which the trials of it would show nothing."""
    outcome = trials.power_trials(tmp_path, range(30), durability="normal", exact=True)
    assert any("was lost" in one for one in outcome.lost)


@pytest.mark.slow
def test_damage_to_every_part_of_a_file_and_its_log_is_answered_in_words(tmp_path: Path) -> None:
    assert_nothing_lost(trials.damage_trials(tmp_path, range(9)), 9)


@pytest.mark.slow
def test_foreign_files_are_refused_in_words_and_left_alone(tmp_path: Path) -> None:
    assert_nothing_lost(trials.foreign_trials(tmp_path), 3 * (len(trials.FOREIGN) + 1))


@pytest.mark.slow
def test_a_store_that_may_not_be_written_is_read_or_refused_in_words() -> None:
    assert_nothing_lost(trials.read_only_trials(), 9)


@pytest.mark.slow
def test_a_clock_that_jumps_costs_nothing_and_breaks_no_order(tmp_path: Path) -> None:
    assert_nothing_lost(trials.clock_trials(tmp_path, range(4)), 4)


@pytest.mark.slow
def test_an_older_server_refuses_what_a_newer_program_has_made_of_its_file(tmp_path: Path) -> None:
    assert_nothing_lost(trials.version_trials(tmp_path, range(1)), 1)


@pytest.mark.slow
@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_eight_servers_lose_no_update_and_no_reader_waits_for_a_lock(tmp_path: Path, *, sealed: bool) -> None:
    outcome = crowd(tmp_path, 4.0, sealed=sealed)
    assert_nothing_lost(outcome, 8)
    assert outcome.upkeeps >= 7
    assert sum(outcome.calls.values()) >= 8 * LEAST_STEPS
    assert outcome.acknowledged > 50


def test_what_a_store_does_not_hold_is_found_missing(open_memory: OpenMemory) -> None:
    memory = open_memory()
    kept = memory.remember("c", "k", {"content": "x", "number": 5}).id
    other = memory.remember("c", "k2", {"content": "x", "number": 1}).id
    memory.state_set("s", "3")
    memory.link("c", "k", other)
    event = memory.journal(acted="x").id
    held = [
        Deed("memory", kept, 5),
        Deed("versions", kept, 0),
        Deed("state", "s", 3),
        Deed("link", f"{kept} {other}", 1),
        Deed("event", event),
    ]
    missing = [
        Deed("memory", "mem-unknown", 1),
        Deed("memory", other, FORGOTTEN),
        Deed("versions", kept, 1),
        Deed("state", "other", 1),
        Deed("link", f"{other} {kept}", 1),
        Deed("event", "jrn-unknown"),
    ]
    assert losses(memory, held) == []
    assert len(losses(memory, missing)) == len(missing)
    assert len(losses(memory, [Deed("memory", kept, 6), Deed("state", "s", 4)])) == 2
    assert unsound(memory) == []
    with memory.store.writing() as connection:
        connection.execute("DELETE FROM pending")
    assert unsound(memory) != []

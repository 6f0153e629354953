"""The speed benchmarks run through at tiny sizes, and what they are made of is what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import corpus
from benchmarks.budgets import BUDGETS, JOINED_BY, verdicts
from benchmarks.report import Report, read
from mimir.rules.query import STOP_WORDS

ROOT = Path(__file__).resolve().parents[2]
MADE = list(corpus.memories(3_000))


def run(benchmark: str, result: Path, *options: str) -> tuple[Report, str]:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", *options, "--json", str(result)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return read(result), done.stdout


def assert_sane(report: Report) -> None:
    assert report.rows
    for row in report.rows:
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        assert numbers, row
        assert all(value >= 0 for value in numbers.values()), row
        assert all(numbers[name] > 0 for name in numbers.keys() & {"p50 ms", "per s", "MB", "runs"}), row
        if {"p50 ms", "p99 ms"} <= numbers.keys():
            assert numbers["p50 ms"] <= numbers["p99 ms"], row
        assert set(str(row.get("budget") or "").split(JOINED_BY)) <= {"", *BUDGETS}, row


def labels(report: Report) -> list[tuple[str, ...]]:
    return [tuple(value for value in row.values() if isinstance(value, str)) for row in report.rows]


def test_memories_are_the_same_for_the_same_seed_whatever_their_number() -> None:
    assert list(corpus.memories(50)) == MADE[:50]
    assert list(corpus.memories(50, seed=2)) != MADE[:50]


def test_memories_differ_in_key_and_body() -> None:
    assert len({memory["key"] for memory in MADE}) == len(MADE)
    assert len({memory["body_json"]["content"] for memory in MADE}) == len(MADE)


def test_memories_fill_twenty_categories_and_four_workspaces() -> None:
    assert {memory["category"] for memory in MADE} == set(corpus.CATEGORIES)
    assert len(corpus.CATEGORIES) == 20
    assert {memory["workspace_hash"] for memory in MADE} == set(corpus.WORKSPACES)
    assert len(corpus.WORKSPACES) == 4


def test_few_words_are_common_and_most_are_rare() -> None:
    memories_with = Counter(word for memory in MADE for word in set(re.findall(r"[a-z]+", corpus.text(memory).lower())))
    rare = [word for word, memories in memories_with.items() if memories < len(MADE) / 1_000]
    assert len(rare) > len(memories_with) / 2
    for word in corpus.COMMON_WORDS:
        assert 0.3 < memories_with[word] / len(MADE) < 0.4


def test_questions_match_as_many_memories_as_they_say() -> None:
    words_of = [set(re.findall(r"[a-z]+", corpus.text(memory).lower())) for memory in MADE]
    names = set().union(*words_of) - STOP_WORDS
    for kind, asked in corpus.questions(MADE, 20).items():
        assert len({question.text for question in asked}) == 20
        for question in asked:
            meant = names.intersection(question.text.lower().split())
            found = sum(not meant.isdisjoint(words) for words in words_of)
            # Other forms of a word match too, so a few more hits than whole words.
            assert found <= question.hits <= 1.1 * found + 20
            if kind == "selective":
                assert question.hits < corpus.SELECTIVE_BELOW
            else:
                assert 0.3 < question.hits / len(MADE) < 0.4


def test_a_budget_is_broken_only_on_its_wrong_side() -> None:
    rows = verdicts(
        [
            {"what": "recall", "p50 ms": 3.0, "budget": "fts5 selective"},
            {"what": "recall", "p50 ms": 3.1, "budget": "fts5 selective"},
            {"what": "remember", "per s": 699.0, "of smallest": 0.9, "budget": "writes; steady writes"},
            {"what": "unmeasured", "p50 ms": None, "budget": "overhead"},
            {"what": "free", "p50 ms": 1_000.0, "budget": ""},
        ]
    )
    assert [(row["what"], row["met"]) for row in rows] == [
        ("recall", "yes"),
        ("recall", "NO"),
        ("remember", "NO"),
        ("remember", "yes"),
    ]


@pytest.mark.slow
def test_startup_runs_through(tmp_path: Path) -> None:
    report, printed = run("startup", tmp_path / "startup.json", "--runs", "1", "--stored", "20")
    assert_sane(report)
    assert len(report.rows) == 9
    assert {row.get("budget") for row in report.rows} == {"", "first reply", "one-liner", "idle", None}
    assert "Budgets:" in printed


@pytest.mark.slow
def test_stress_runs_through_and_compares_with_an_earlier_result(tmp_path: Path) -> None:
    options = ("--entities", "300", "--runs", "1")
    first, _ = run("stress", tmp_path / "first.json", *options)
    second, printed = run("stress", tmp_path / "second.json", *options, "--compare", str(tmp_path / "first.json"))
    assert_sane(first)
    assert labels(first) == labels(second)
    assert "Ratio to" in printed


@pytest.mark.slow
def test_many_clients_over_http_all_get_their_answers(tmp_path: Path) -> None:
    options = ("--clients", "12", "--seconds", "2", "--entities", "100")
    report, printed = run("http", tmp_path / "http.json", *options)
    assert_sane(report)
    every, reads, writes, memory = report.rows
    assert every["errors"] == 0
    assert isinstance(reads["runs"], int)
    assert isinstance(writes["runs"], int)
    assert every["runs"] == reads["runs"] + writes["runs"] >= 12
    assert memory["budget"] == "http memory"
    assert "Budgets:" in printed


@pytest.mark.slow
def test_scale_compares_a_sealed_store_with_a_plain_one(tmp_path: Path) -> None:
    options = ("--sealed", "--sizes", "60", "--queries", "4", "--embed", "synthetic")
    report, _ = run("scale", tmp_path / "sealed.json", *options)
    assert report.settings["command"] == " ".join(("python -m benchmarks.scale", *options))
    compared = {str(row["what"]): row for row in report.rows}
    assert {"seal", "open and close", "remember", "recall fts5", "recall dense", "recall hybrid"} == set(compared)
    del compared["seal"]
    for row in compared.values():
        plain, sealed, ratio = (row[column] for column in ("plain ms", "sealed ms", "of plain"))
        assert isinstance(plain, float)
        assert isinstance(sealed, float)
        assert ratio == pytest.approx(sealed / plain)


def test_scale_runs_through_and_reuses_kept_stores(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    options = ("--queries", "1", "--embed", "synthetic", "--keep", str(kept))
    report, printed = run("scale", tmp_path / "scale.json", "--sizes", "60,120", *options)
    assert_sane(report)
    assert len(set(labels(report))) == len(report.rows)
    assert {row["size"] for row in report.rows} == {"60", "120"}
    assert "Budgets:" not in printed

    again, _ = run("scale", tmp_path / "again.json", "--sizes", "60", *options)
    filling = {"remember, sustained", "remember, last tenth", "embedding"}
    assert {row["what"] for row in report.rows} - {row["what"] for row in again.rows} == filling
    assert {path.name for path in kept.iterdir()} == {
        f"{size}-{kind}.db" for size in (60, 120) for kind in ("plain", "synthetic")
    }


@pytest.mark.slow
def test_lifecycle_runs_through(tmp_path: Path) -> None:
    options = ("--entities", "300", "--edges", "60", "--compared", "30", "--runs", "1")
    report, printed = run("lifecycle", tmp_path / "lifecycle.json", *options)
    assert_sane(report)
    assert len(set(labels(report))) == len(report.rows) == 18
    assert [row["hits"] for row in report.rows if str(row["what"]).startswith("traverse")] > [0]
    assert "Budgets:" not in printed


@pytest.mark.slow
def test_vault_runs_through(tmp_path: Path) -> None:
    report, _ = run("vault", tmp_path / "vault.json", "--entities", "60")
    assert_sane(report)
    assert len(set(labels(report))) == len(report.rows) == 10

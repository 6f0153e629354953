"""`mimir demo`: real input, a real server, honest questions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mimir import Memory
from mimir.cli import demo
from tests.cli.conftest import RunMimir

SMALL_WORDS = frozenset("a an and are each how in is it of on or that the them there they to two what with".split())  # noqa: SIM905 - reads better


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower())) - SMALL_WORDS


@pytest.fixture(scope="module")
def memories() -> dict[str, str]:
    return {memory["key"]: memory["body_json"]["content"] for memory in demo.documentation()}


def test_there_are_at_least_two_hundred_memories_with_text(memories: dict[str, str]) -> None:
    assert len(memories) >= 200
    assert all(30 <= len(text) <= demo.TEXT_CHARACTERS for text in memories.values())


@pytest.mark.parametrize("question", demo.QUESTIONS, ids=lambda question: question.words)
def test_a_question_shares_few_words_with_its_answers(memories: dict[str, str], question: demo.Question) -> None:
    answers = [memories[key] for key in question.answers if key in memories]
    assert answers
    asked = words_of(question.words)
    assert all(len(asked & words_of(text)) <= len(asked) / 3 for text in answers)


def test_an_opening_keeps_whole_paragraphs_while_they_fit() -> None:
    assert demo.opening("one\n\ntwo\n\n" + "x" * 300) == "one\n\ntwo"
    assert demo.opening("y" * 300) == "y" * demo.TEXT_CHARACTERS


@pytest.mark.slow
def test_the_demo_finds_its_answers_offline_with_an_empty_home(process: RunMimir, tmp_path: Path) -> None:
    db = tmp_path / "demo" / "memory.db"
    ran = process("demo", "--db", str(db))
    assert (ran.status, ran.err) == (0, "")
    counted = re.search(r"Remembered (\d+) pieces", ran.out)
    assert counted is not None
    assert int(counted[1]) >= 200
    found = re.search(r"(\d+) of (\d+) answers are among the first 3", ran.out)
    assert found is not None
    assert int(found[1]) > int(found[2]) / 2
    assert "It found: We ship the billing service" in ran.out
    assert f'"args":["serve","--db","{db}"]' in ran.out
    with Memory.open(str(db), embedding="off") as memory:
        counts = memory.stats()
    assert counts.by_category["python"] == int(counted[1])
    assert counts.embedded == counts.passages
    assert not (tmp_path / "home" / ".mimir").exists()


def test_without_a_model_the_demo_says_so_and_fails(process: RunMimir, db: str) -> None:
    ran = process("--embedding", "off", "demo", "--db", db)
    assert ran.status == 1
    assert "No search by meaning: embedding is switched off." in ran.out


def test_the_demo_leaves_the_store_of_the_environment_alone(
    process: RunMimir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.db"
    monkeypatch.setenv("MIMIR_DB_PATH", str(own))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process("--embedding", "off", "demo")
    assert not own.exists()
    assert list(tmp_path.glob("mimir-demo-*/memory.db"))

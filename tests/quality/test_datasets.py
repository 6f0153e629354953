"""The labelled set is what it claims to be, and published sets are read as they are published."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from benchmarks.datasets import OWN, Collection, identity, load, load_locomo, load_longmemeval
from benchmarks.quality import FUNCTION_WORDS, texts
from benchmarks.report import Row, ratios, table


@pytest.fixture(scope="module")
def own() -> Collection:
    (dataset,) = load(OWN)
    (collection,) = dataset.collections
    return collection


@pytest.fixture(scope="module")
def stems() -> Callable[[str], set[str]]:
    index = apsw.Connection(":memory:")
    index.execute("CREATE VIRTUAL TABLE words USING fts5(text, tokenize='porter unicode61')")
    index.execute("CREATE VIRTUAL TABLE stem USING fts5vocab(words, 'row')")

    def stems_of(text: str) -> set[str]:
        content = [word for word in re.findall(r"\w+", text.lower()) if word not in FUNCTION_WORDS]
        index.execute("DELETE FROM words")
        index.execute("INSERT INTO words VALUES (?)", (" ".join(content),))
        return {term for (term,) in index.execute("SELECT term FROM stem")}

    return stems_of


def test_set_has_at_least_80_memories_and_80_paraphrased_questions(own: Collection) -> None:
    kinds = Counter(question.kind for question in own.questions)
    assert len({identity(memory) for memory in own.memories}) >= 80
    assert kinds["paraphrase"] >= 80
    assert len(kinds) >= 10


def test_every_memory_that_a_question_names_exists(own: Collection) -> None:
    known = {identity(memory) for memory in own.memories}
    for question in own.questions:
        assert question.gold <= known, question.id
        assert question.forbidden <= known, question.id
        assert question.gold.isdisjoint(question.forbidden), question.id


def test_only_questions_about_absent_things_lack_an_answer(own: Collection) -> None:
    for question in own.questions:
        assert bool(question.gold) != question.kind.startswith("absent"), question.id


def test_question_ids_are_unique(own: Collection) -> None:
    assert len({question.id for question in own.questions}) == len(own.questions)


def test_paraphrases_share_at_most_one_content_word_with_their_answer(
    own: Collection, stems: Callable[[str], set[str]]
) -> None:
    text = {
        identity(memory): " ".join((memory["key"], *texts(memory["body_json"]), *memory.get("tags", ())))
        for memory in own.memories
    }
    for question in own.questions:
        if question.kind in {"paraphrase", "negation"}:
            for gold in question.gold:
                shared = stems(question.text) & stems(text[gold])
                assert len(shared) <= 1, (question.id, shared)


def test_long_notes_have_300_to_800_words(own: Collection) -> None:
    asked = {gold for question in own.questions if question.kind == "long" for gold in question.gold}
    lengths = {
        identity(memory): len(" ".join(texts(memory["body_json"])).split())
        for memory in own.memories
        if identity(memory) in asked
    }
    assert len(lengths) >= 5
    assert all(300 <= length <= 800 for length in lengths.values()), lengths


def test_revised_memories_are_written_in_order(own: Collection) -> None:
    bodies = [memory["body_json"]["content"] for memory in own.memories if identity(memory) == "setup/login-shell"]
    assert bodies == [
        "Her login shell is zsh with forty plugins.",
        "Her login shell is fish, without any plugin.",
    ]


def test_longmemeval_gives_each_question_its_own_sessions(tmp_path: Path) -> None:
    entry = {
        "question_id": "q1",
        "question_type": "multi-session",
        "question": "Where did the lamp come from?",
        "answer": "A flea market.",
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_session_ids": ["s1", "s2"],
        "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 09:00"],
        "haystack_sessions": [
            [
                {"role": "user", "content": "I found a lamp at a flea market.", "has_answer": True},
                {"role": "assistant", "content": "Lovely."},
            ],
            [{"role": "user", "content": "Recommend a film."}],
        ],
        "answer_session_ids": ["s1"],
    }
    unanswerable = {**entry, "question_id": "q2_abs"}
    file = tmp_path / "longmemeval_s.json"
    file.write_text(json.dumps([entry, unanswerable]), encoding="utf-8")

    (collection,) = load_longmemeval(file, 0).collections

    assert [identity(memory) for memory in collection.memories] == ["session/s1", "session/s2"]
    assert collection.memories[0]["body_json"]["text"] == ("user: I found a lamp at a flea market.\nassistant: Lovely.")
    (question,) = collection.questions
    assert question.gold == {"session/s1"}
    assert question.kind == "multi-session"


def test_locomo_gives_each_turn_a_memory_and_repairs_evidence(tmp_path: Path) -> None:
    sample = {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ada",
            "speaker_b": "Ben",
            "session_10_date_time": "7 July, 2023",
            "session_10": [{"speaker": "Ben", "dia_id": "D10:1", "text": "Hello again."}],
            "session_2_date_time": "8 May, 2023",
            "session_2": [
                {"speaker": "Ada", "dia_id": "D2:1", "text": "Look!", "blip_caption": "a red kite"},
                {"speaker": "Ben", "dia_id": "D2:2", "text": "It flies high."},
            ],
        },
        "qa": [
            {
                "question": "What flew?",
                "answer": "A kite",
                "evidence": ["D2:1; D2:2"],
                "category": 1,
            },
            {
                "question": "Who said hello?",
                "answer": "Ben",
                "evidence": ["D:10:01"],
                "category": 4,
            },
            {"question": "Why?", "answer": "?", "evidence": [], "category": 3},
            {"question": "And then?", "answer": "?", "evidence": ["D9:9"], "category": 3},
        ],
    }
    file = tmp_path / "locomo10.json"
    file.write_text(json.dumps([sample]), encoding="utf-8")

    (collection,) = load_locomo(file, 0).collections

    assert [identity(memory) for memory in collection.memories] == [
        "turn/D2:1",
        "turn/D2:2",
        "turn/D10:1",
    ]
    assert collection.memories[0]["body_json"]["image"] == "a red kite"
    assert [memory["topic_path"] for memory in collection.memories] == [
        "session_2",
        "session_2",
        "session_10",
    ]
    assert [(question.kind, set(question.gold)) for question in collection.questions] == [
        ("multi_hop", {"turn/D2:1", "turn/D2:2"}),
        ("single_hop", {"turn/D10:1"}),
    ]


def test_limit_takes_questions_from_the_whole_file(tmp_path: Path) -> None:
    entries = [
        {
            "question_id": f"q{number}",
            "question_type": "t",
            "question": "?",
            "haystack_session_ids": [],
            "haystack_dates": [],
            "haystack_sessions": [],
            "answer_session_ids": [],
        }
        for number in range(10)
    ]
    file = tmp_path / "longmemeval.json"
    file.write_text(json.dumps(entries), encoding="utf-8")

    taken = load_longmemeval(file, 2).collections

    assert [collection.questions[0].id for collection in taken] == ["q0", "q5"]


def test_unknown_data_is_refused_with_the_names_of_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"devbench_dataset\.json"):
        load(tmp_path)


def test_ratios_pair_rows_by_their_texts_and_skip_new_rows() -> None:
    before: list[Row] = [{"mode": "fts5", "ms": 2.0, "questions": 10}]
    now: list[Row] = [
        {"mode": "fts5", "ms": 1.0, "questions": 10},
        {"mode": "dense", "ms": 5.0, "questions": 10},
    ]
    assert ratios(now, before) == [{"mode": "fts5", "ms": 0.5, "questions": 1.0}]


def test_table_aligns_numbers_right_and_marks_what_was_not_measured() -> None:
    rows: list[Row] = [{"mode": "fts5", "ms": 1.25}, {"mode": "hybrid", "ms": None}]
    assert table(rows).splitlines() == ["mode       ms", "fts5    1.250", "hybrid      -"]

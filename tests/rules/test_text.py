"""Bodies to searched text: values, passages that cover the text exactly, words of scripts without spaces."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.embedding.bundled import BundledEmbedder
from mimir.rules.text import (
    PASSAGE_PIECES,
    embedded_text,
    estimated_pieces,
    is_unsegmented,
    searchable_text,
    segment,
    split_passages,
)

MODEL_READS = 256
TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=200)
HAN = st.text(alphabet="茶数据库会議ひカ", min_size=1, max_size=12)
LONG_TEXTS = st.lists(
    st.sampled_from(
        [
            "word ",
            "unbelievable ",
            "x" * 300,
            "\n\n",
            ". ",
            "!\n",
            "数据库在五四三二端口。",
            "a_b-c(d) ",
            "\t",
            "🍵",
            "",
        ]
    )
    | TEXTS,
    max_size=60,
).map(lambda parts: "".join(part * 9 for part in parts))

# --- the values of a body

LEAVES = st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(max_size=10)
BODIES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


def values(body: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    """Return the texts and numbers of a body in reading order."""
    if isinstance(body, dict):
        return [text for value in body.values() for text in values(value)]
    if isinstance(body, list):
        return [text for value in body for text in values(value)]
    return [] if body is None or isinstance(body, bool) or body == "" else [str(body)]


@given(BODIES)
def test_the_searched_text_is_the_values_one_a_line(body: object) -> None:
    assert searchable_text(body) == "\n".join(values(body))


def test_neither_names_nor_marks_of_json_are_searched() -> None:
    body = {"title": "Green", "steps": [{"at": 80, "done": True, "why": None}, "brew"]}
    assert searchable_text(body) == "Green\n80\nbrew"


def test_a_body_may_nest_deeper_than_the_interpreter() -> None:
    body: object = "deep"
    for _ in range(100_000):
        body = [body]
    assert searchable_text(body) == "deep"


# --- passages


@given(LONG_TEXTS)
def test_passages_cover_the_text_without_gap_or_overlap(text: str) -> None:
    passages = split_passages(text)
    assert passages
    end = 0
    for passage in passages:
        assert passage.start == end
        assert passage.length > 0 or not text
        end += passage.length
    assert end == len(text)


@given(LONG_TEXTS)
def test_no_passage_is_longer_than_the_bound(text: str) -> None:
    for passage in split_passages(text):
        assert estimated_pieces(text[passage.start : passage.start + passage.length]) <= PASSAGE_PIECES


@given(LONG_TEXTS)
def test_no_two_passages_would_have_fitted_in_one_half(text: str) -> None:
    """Every two passages that follow each other hold more than one could: the text is not cut to crumbs."""
    passages = split_passages(text)
    for left, right in pairwise(passages):
        joined = text[left.start : right.start + right.length]
        assert len(joined) > PASSAGE_PIECES // 2


@given(st.text(max_size=PASSAGE_PIECES))
def test_a_short_text_is_one_passage(text: str) -> None:
    (passage,) = split_passages(text)
    assert (passage.start, passage.length) == (0, len(text))


def test_passages_end_where_paragraphs_and_sentences_end() -> None:
    paragraph = "The kettle boils water in two minutes. " * 12 + "\n\n"
    for passage in split_passages(paragraph * 8):
        assert passage.start % len(paragraph) == 0
    sentence = "The kettle boils water in two minutes. "
    for passage in split_passages(sentence * 200):
        assert passage.start % len(sentence) == 0


def test_a_book_is_split_in_order() -> None:
    text = "tea and milk " * 32_000
    passages = split_passages(text)
    assert passages[-1].start + passages[-1].length == len(text)
    assert len(text) / len(passages) > 400


@pytest.fixture(scope="module")
def model() -> BundledEmbedder:
    return BundledEmbedder()


SAMPLES = {
    "English": "The production database listens on port 5432, and a rollback of its schema takes about ten minutes. ",
    "German": "Die Donaudampfschifffahrtsgesellschaft veröffentlicht ihren Rechenschaftsbericht für Überseegeschäfte. ",
    "Chinese": "生产数据库监听五四三二端口，回滚一次大约需要十分钟。",
    "Japanese": "会議は来週の火曜日に延期されました。カレンダーを更新してください。",
    "Russian": "Рабочая база данных слушает порт и откатывается примерно за десять минут. ",
    "Greek": "Η βάση δεδομένων παραγωγής ακούει στη θύρα και επανέρχεται σε δέκα λεπτά. ",
    "Arabic": "تستمع قاعدة بيانات الإنتاج إلى المنفذ وتستغرق الاستعادة عشر دقائق. ",
    "Korean": "운영 데이터베이스는 포트에서 대기하며 되돌리는 데 약 십 분이 걸립니다. ",
    "Hindi": "उत्पादन डेटाबेस पोर्ट पर सुनता है और वापस लौटने में दस मिनट लगते हैं। ",
    "Thai": "ฐานข้อมูลการผลิตรับฟังที่พอร์ตและการย้อนกลับใช้เวลาสิบนาที ",
    "code": "def add(left: int, right: int) -> int:\n    return self._values[left] + OFFSETS['start_ms'] * right\n\n",
    "identifiers": "getAbstractSingletonProxyFactoryBean xmlHttpRequestFactoryImpl kubernetesDeploymentName ",
    "hexadecimal": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 ",
    "numbers": "3141592653589793 2718281828459045 1414213562373095 ",
    "paths": "/usr/local/lib/python3.11/site-packages/mimir/store/sqlite/connection.py:142 ",
    "emoji": "🍵🫖☕🧋 ",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_model_reads_every_passage_to_its_end(model: BundledEmbedder, name: str) -> None:
    text = SAMPLES[name] * (4_000 // len(SAMPLES[name]) + 1)
    longest = max(
        model.word_pieces(text[passage.start : passage.start + passage.length]) for passage in split_passages(text)
    )
    assert longest <= MODEL_READS


# --- what is embedded


def test_a_short_text_is_embedded_after_the_words_of_its_key() -> None:
    assert embedded_text("database_port", "5432") == "database port: 5432"
    assert embedded_text("db-port-7f3a", "5432") == "db port: 5432"


def test_a_long_text_or_a_key_without_words_is_embedded_alone() -> None:
    long = "The production database listens on port 5432 behind the proxy."
    assert embedded_text("database_port", long) == long
    assert embedded_text("7f3a91", "5432") == "5432"
    assert embedded_text("k", "5432") == "5432"


@given(TEXTS, TEXTS)
def test_what_is_embedded_ends_with_the_passage(key: str, passage: str) -> None:
    assert embedded_text(key, passage).endswith(passage)


# --- scripts without spaces


@given(st.text(alphabet=st.characters(max_codepoint=127, exclude_characters="\0"), max_size=50))
def test_a_spaced_text_is_left_as_it_is(text: str) -> None:
    assert segment(text) == text


@given(HAN)
def test_a_run_becomes_its_bigrams_and_its_last_character(run: str) -> None:
    assert segment(run).split() == [run[at : at + 2] for at in range(len(run))]


@given(HAN, HAN, HAN)
def test_every_part_of_a_run_is_among_its_words(before: str, part: str, after: str) -> None:
    indexed = segment(before + part + after).split()
    wanted = [part[at : at + 2] for at in range(len(part) - 1)] or [part]
    if len(part) > 1:
        assert any(indexed[at : at + len(wanted)] == wanted for at in range(len(indexed)))
    else:
        assert any(word.startswith(part) for word in indexed)


@given(TEXTS)
def test_segmentation_loses_no_character_and_no_word_holds_more_than_two(text: str) -> None:
    segmented = segment(text)
    assert "\0" not in segmented
    runs = re.findall(r"[一-鿿]+", segmented)
    assert all(len(run) <= 2 for run in runs)


def test_composed_and_decomposed_letters_are_the_same_words() -> None:
    assert segment("cafe\u0301") == segment("caf\u00e9")
    assert segment("か\u3099") == segment("が")


def test_runs_stand_apart_from_the_words_around_them() -> None:
    assert segment("SQLite数据库v3").split() == ["SQLite", "数据", "据库", "库", "v3"]


@pytest.mark.parametrize(
    ("word", "unsegmented"),
    [("tea", False), ("чай", False), ("차", False), ("茶", True), ("ชา", True), ("カップ", True), ("v茶", True)],
)
def test_hangul_is_spaced_and_han_is_not(word: str, unsegmented: bool) -> None:
    assert is_unsegmented(word) is unsegmented


def test_numbers_of_a_body_are_searched_as_they_are_written() -> None:
    assert searchable_text(json.loads('{"a": 1.5, "b": -3}')) == "1.5\n-3"

"""Everything that reads foreign text, given anything: it reads it or refuses it, and breaks in no other way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir import Memory
from tests.attack.effort import effort
from tests.attack.targets import TARGETS
from tests.attack.words import WORDS

CASES: Final = Path(__file__).parent / "cases"


@pytest.mark.parametrize("name", TARGETS)
def test_it_reads_or_refuses_anything(name: str) -> None:
    pieces = st.lists(st.sampled_from(WORDS[name]) | st.text(max_size=6), max_size=12).map("".join)

    @given(data=st.binary(max_size=200) | pieces.map(lambda text: text.encode("utf-8", "surrogatepass")))
    @effort(80)
    def attack(data: bytes) -> None:
        TARGETS[name](data)

    attack()


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda path: path.name)
def test_what_was_found_once_stays_mended(case: Path) -> None:
    TARGETS[case.name.partition("-")[0]](case.read_bytes())


def test_every_target_has_words_of_its_own() -> None:
    assert WORDS.keys() == TARGETS.keys()


@given(
    text=st.lists(st.sampled_from(WORDS["query"]) | st.text(max_size=6), max_size=8).map("".join),
    mode=st.sampled_from(["fts5", "dense", "hybrid", ""]),
)
@effort(60)
def test_any_text_can_be_asked_for(memory: Memory, text: str, mode: str) -> None:
    memory.remember("c", "k", {"content": "NEAR AND OR NOT don't 数据 a_b"})
    if text.isprintable() or text.isascii():
        memory.recall(text, mode=mode, include_archived=True)
        memory.recall_when(text)


@given(
    body=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(1 << 63), (1 << 64) - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=4)
        ),
        max_leaves=10,
    )
)
@effort(60)
def test_any_body_comes_back_as_it_was(memory: Memory, body: object) -> None:
    text = json.dumps(body)
    assert memory.get_entity(memory.remember("c", "k", text).id).body_json == text
    stored = memory.get_entity(memory.remember("c", "k2", {"value": body}).id).body_json
    assert json.loads(stored) == {"value": body}

"""Results within a bound: what is cut, what is left out, and what is said about it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimir.rules.bounds import PAGE_CHARACTERS, SHORTEST_REPLY, fit, page_of, shortened

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=8),
    max_leaves=60,
)


def size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False))


def test_what_fits_is_returned_as_it_is() -> None:
    result = {"items": [{"text": "short"}]}
    assert fit(result, 1_000, size) == (result, None)


def test_long_texts_are_cut_before_items_are_left_out() -> None:
    result = {"items": [{"text": "x" * 30_000} for _ in range(3)], "total": 3}
    cut, what = fit(result, 40_000, size)
    assert size(cut) <= 40_000
    assert len(cut["items"]) == 3
    assert cut["items"][0]["text"].endswith(" more characters)")
    assert what is not None
    assert what.lists == {}
    assert f"cut at {what.texts_at} characters" in what.note(None)


def test_the_longest_list_ends_earlier_and_the_note_counts_it() -> None:
    result = {"items": [{"number": number} for number in range(5_000)], "few": [1, 2], "total": 5_000}
    cut, what = fit(result, 2_000, size)
    assert size(cut) <= 2_000
    assert cut["items"] == result["items"][: len(cut["items"])]  # type: ignore[index]  # the list above
    assert cut["few"] == [1, 2]
    assert what is not None
    kept, total = what.lists["items"]
    assert (kept, total) == (len(cut["items"]), 5_000)
    assert f"first {kept} of 5000" in what.note(None)
    assert f"offset {20 + kept}" in what.note(20)


def test_an_object_with_more_members_than_any_schema_has_is_a_table_and_ends_earlier() -> None:
    cut, what = fit({"counts": {f"category {number}": number for number in range(3_000)}}, 3_000, size)
    assert 0 < len(cut["counts"]) < 3_000
    assert what is not None
    assert what.lists == {"counts": (len(cut["counts"]), 3_000)}


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x" * 100_000},
        {"parts": ["y" * 300 for _ in range(5_000)]},
        {f"name {number}": number for number in range(20_000)},
        ["z" * 50_000, {"deep": {"deeper": "w" * 50_000}}],
    ],
)
def test_a_text_that_is_json_stays_json(body: Any) -> None:  # noqa: ANN401 - any JSON
    text = json.dumps(body)
    cut = shortened(text, 2_000, "body_json")
    assert len(cut) <= 4_000
    assert type(json.loads(cut)) is type(body)


def test_a_text_that_only_seems_to_be_json_is_cut_as_text() -> None:
    assert shortened("{" * 1_000, 500, "body_json").startswith("{{{")


def test_pages_of_a_text_put_together_give_the_text() -> None:
    text = "".join(chr(0x4E00 + number % 20_000) for number in range(2 * PAGE_CHARACTERS + 5))
    pages: list[str] = []
    offset, note = 0, ""
    while "call again" in note or not pages:
        page, note = page_of(text, offset)
        pages.append(page)
        offset += len(page)
    assert "".join(pages) == text
    assert note.endswith(f"{2 * PAGE_CHARACTERS} to {len(text)} of {len(text)}.")
    assert page_of(text, len(text) + 1)[0] == ""


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["items", "total", "note", "body_json"]), JSON_VALUES), st.integers(1, 50))
def test_whatever_is_cut_keeps_its_members_and_their_types(part: dict[str, Any], times: int) -> None:
    result = {name: value * times if isinstance(value, (list, str)) else value for name, value in part.items()}
    cut, what = fit(result, SHORTEST_REPLY, size)
    assert cut.keys() == result.keys()
    assert [type(value) for value in cut.values()] == [type(value) for value in result.values()]
    if what is None:
        assert cut == result

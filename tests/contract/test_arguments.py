"""What arrives on the wire is read leniently and handed on exactly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir import InvalidInput
from mimir.catalogue import load_catalogue
from mimir.operation import read_arguments

CATALOGUE = load_catalogue()


def read(name: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - wire values
    return read_arguments(CATALOGUE[name], arguments)


def test_unknown_arguments_are_ignored() -> None:
    assert read("recall", query="x", memory_types=["a"], filters={}) == {"query": "x"}


def test_null_means_not_given() -> None:
    assert read("recall", query="x", limit=None, category=None) == {"query": "x"}


def test_null_for_a_required_argument_is_a_missing_argument() -> None:
    with pytest.raises(InvalidInput, match="query"):
        read("recall", query=None)


def test_a_missing_argument_is_named_with_what_it_is_for() -> None:
    with pytest.raises(InvalidInput) as raised:
        read("remember", category="c")
    assert "'key'" in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(("given", "value"), [("5", 5), (4.0, 4), ("6.0", 6), (" 7 ", 7), ("+3", 3)])
def test_whole_numbers_come_in_many_spellings(given: object, value: int) -> None:
    read_value = read("recall", query="x", limit=given)["limit"]
    assert read_value == value
    assert isinstance(read_value, int)


def test_large_whole_numbers_keep_every_digit() -> None:
    assert read("as_of", category="c", key="k", as_of_unix_ms="9007199254740993") == {
        "category": "c",
        "key": "k",
        "as_of_unix_ms": 9_007_199_254_740_993,
    }


@pytest.mark.parametrize("given", ["five", "", True, 1.5, [1], {"a": 1}, float("nan"), "1e999"], ids=repr)
def test_what_is_no_whole_number_is_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        read("recall", query="x", limit=given)


@pytest.mark.parametrize("given", ["high", "nan", "inf", True, [0.5], 10**400], ids=repr)
def test_what_is_no_finite_number_is_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match="certainty"):
        read("remember", category="c", key="k", body_json="{}", certainty=given)


@pytest.mark.parametrize(("given", "value"), [("true", True), ("False", False), (True, True), (False, False)], ids=repr)
def test_truth_comes_as_boolean_or_word(given: object, value: object) -> None:
    assert read("recall", query="x", include_archived=given)["include_archived"] is value


@pytest.mark.parametrize("given", ["maybe", 1, 0, "", [], "1"], ids=repr)
def test_what_is_neither_true_nor_false_is_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match="include_archived"):
        read("recall", query="x", include_archived=given)


@pytest.mark.parametrize("given", [["a", "b"], '["a", "b"]', ("a", "b")], ids=repr)
def test_an_array_comes_as_array_or_json_text(given: object) -> None:
    assert read("remember", category="c", key="k", body_json="{}", tags=given)["tags"] == ("a", "b")


@pytest.mark.parametrize("given", ["a, b", "{}", 5, {"a": 1}, [1], ["a", None]], ids=repr)
def test_what_is_no_array_of_strings_is_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match="tags"):
        read("remember", category="c", key="k", body_json="{}", tags=given)


@pytest.mark.parametrize("given", [{"enabled": True}, '{"enabled": true}'])
def test_an_object_comes_as_object_or_json_text(given: object) -> None:
    assert read("recall", query="x", expansion=given)["expansion"] == {"enabled": True}


@pytest.mark.parametrize("given", [5, ["x"], {"x": 1}, True])
def test_what_is_no_string_is_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match="query"):
        read("recall", query=given)


@pytest.mark.parametrize("field", ["category", "key", "status", "topic_path", "agent_id", "layer"])
def test_half_of_a_surrogate_pair_is_refused_in_every_string(field: str) -> None:
    arguments = {"category": "c", "key": "k", "body_json": "{}", field: "a\ud800b"}
    with pytest.raises(InvalidInput, match=field):
        read("remember", **arguments)


def test_half_of_a_surrogate_pair_is_refused_inside_an_array() -> None:
    with pytest.raises(InvalidInput, match="tags"):
        read("remember", category="c", key="k", body_json="{}", tags=["fine", "\udfff"])


@pytest.mark.parametrize(
    ("tool", "argument", "given", "clamped"),
    [
        ("recall", "limit", -1, 0),
        ("recall", "limit", 5_000, 1_000),
        ("recall", "limit", "10000000000000000000000", 1_000),
        ("recall", "offset", -7, 0),
        ("recall", "offset", 10_001, 10_000),
        ("recall", "preview_cap", -1, 0),
        ("recall_layer", "limit", 1_001, 1_000),
        ("recall_when", "limit", 101, 100),
        ("semantic_search", "limit", -1, 0),
        ("history", "limit", 1_001, 1_000),
        ("history", "offset", -1, 0),
        ("context", "limit", 2_000, 1_000),
        ("embed", "batch_limit", -3, 0),
    ],
)
def test_limits_and_offsets_are_moved_to_their_bounds(tool: str, argument: str, given: object, clamped: int) -> None:
    required = {
        name: 0 if schema["type"] == "integer" else "x"
        for name, schema in CATALOGUE[tool]["tool"]["inputSchema"]["properties"].items()
        if name in CATALOGUE[tool]["tool"]["inputSchema"].get("required", ())
    }
    assert read(tool, **{**required, argument: given})[argument] == clamped


@pytest.mark.parametrize("argument", ["certainty", "importance"])
@pytest.mark.parametrize("given", [-0.01, 1.01, "2"], ids=repr)
def test_a_share_outside_nought_to_one_is_refused(argument: str, given: object) -> None:
    with pytest.raises(InvalidInput, match=argument):
        read("remember", category="c", key="k", body_json="{}", **{argument: given})


def test_the_spellings_of_published_clients_are_understood() -> None:
    assert read("recall", query="x", max_results=3, min_decay_score=0.5) == {
        "query": "x",
        "limit": 3,
        "min_decay": 0.5,
    }


def test_the_proper_spelling_wins_over_another_one() -> None:
    assert read("recall", max_results=3, query="x", limit=7)["limit"] == 7
    assert read("recall", query="x", limit=7, max_results=3)["limit"] == 7


def test_an_unknown_mode_is_handed_on_since_it_means_keyword_recall() -> None:
    assert read("recall", query="x", mode="vector")["mode"] == "vector"


def test_layers_outside_the_published_words_are_handed_on() -> None:
    assert read("recall_layer", layer="archive")["layer"] == "archive"


def test_an_unknown_fusion_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput) as raised:
        read("recall", query="x", fusion="sum")
    assert "rrf" in raised.value.hint


def test_a_body_is_handed_on_as_it_came() -> None:
    for body in ("{}", "no json", {"a": 1}, ["a"], 5, True):
        assert read("remember", category="c", key="k", body_json=body)["body_json"] is body


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    name=st.sampled_from(sorted(CATALOGUE)),
    data=st.data(),
)
def test_any_arguments_are_read_into_their_types_or_refused(name: str, data: st.DataObject) -> None:
    schema = CATALOGUE[name]["tool"]["inputSchema"]
    words = st.sampled_from([*schema["properties"], "stranger"])
    arguments = data.draw(st.dictionaries(words, VALUES))
    try:
        result = read_arguments(CATALOGUE[name], arguments)
    except InvalidInput:
        return
    kinds: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "array": tuple,
        "object": dict,
    }
    assert set(result) <= set(schema["properties"])
    for word, value in result.items():
        if word != "body_json":
            assert isinstance(value, kinds[schema["properties"][word]["type"]])
            json.dumps(value, ensure_ascii=False).encode()

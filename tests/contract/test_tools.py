"""The tools that are implemented are the ones that published clients know."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import mimir
from mimir import Memory, MimirError
from mimir.catalogue import build_catalogue, load_catalogue, load_function
from scripts.examples import run_examples
from tests.contract.deviations import DEVIATIONS
from tests.doubles import FixedClock

ROOT = Path(__file__).resolve().parents[2]
FACTS: dict[str, Any] = json.loads((Path(__file__).parent / "facts.json").read_text(encoding="utf-8"))
CATALOGUE = load_catalogue()
TOOLS = {name: entry["tool"] for name, entry in CATALOGUE.items()}
LISTED_CHARACTERS = 32_000
LISTED_CHARACTERS_PER_TOOL = 3_200
CORE_CHARACTERS = 11_000
DESCRIPTION_CHARACTERS = 400

each_tool = pytest.mark.parametrize("name", TOOLS)


def parameters(name: str) -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = TOOLS[name]["inputSchema"]["properties"]
    return properties


def differences(name: str) -> Iterator[str]:
    """Yield each place where a tool's parameters are not the published ones."""
    published, ours = FACTS["tools"][name]["parameters"], parameters(name)
    required = TOOLS[name]["inputSchema"].get("required", ())
    aliases = CATALOGUE[name]["aliases"]
    yield from (f"{name}.{parameter} extra" for parameter in ours if parameter not in published)
    for parameter, fact in published.items():
        place = f"{name}.{parameter}"
        if parameter not in ours:
            yield f"{place} missing"
            continue
        schema = ours[parameter]
        for aspect in ("type", "default", "enum", "minimum", "maximum"):
            if schema.get(aspect) != fact.get(aspect):
                yield f"{place} {aspect}"
        if fact.get("required", False) != (parameter in required):
            yield f"{place} required"
        if any(aliases.get(alias) != parameter for alias in fact.get("aliases", ())):
            yield f"{place} aliases"


def types_of(schema: Mapping[str, Any]) -> set[str]:
    if "enum" in schema:
        assert all(isinstance(word, str) for word in schema["enum"])
        return {"string"}
    kind = schema["type"]
    return set(kind) if isinstance(kind, list) else {kind}


def fits(schema: Mapping[str, Any] | None, kind: str) -> bool:
    """Tell whether a result field takes every type that is published for it."""
    return schema is not None and set(kind.split("|")) <= types_of(schema)


def listed_characters(name: str) -> int:
    tool = TOOLS[name]
    schema = json.dumps(tool["inputSchema"], ensure_ascii=False, separators=(",", ":"))
    return len(tool["name"]) + len(tool["description"]) + len(schema)


def test_every_tool_is_one_of_the_published_ones() -> None:
    assert TOOLS.keys() <= FACTS["tools"].keys()
    assert [tool["name"] for tool in TOOLS.values()] == [f"mimir_{name}" for name in TOOLS]


def test_parameters_differ_from_the_published_ones_only_where_a_reason_is_given() -> None:
    reasoned = Counter(place for places in DEVIATIONS.values() for place in places)
    assert [place for place, count in reasoned.items() if count > 1] == []
    found = {place for name in TOOLS for place in differences(name)}
    assert sorted(found - reasoned.keys()) == []
    assert sorted(reasoned.keys() - found) == []


@each_tool
def test_results_have_every_published_field_in_its_type(name: str) -> None:
    fields = TOOLS[name]["outputSchema"]["properties"]
    wrong = {field: kind for field, kind in FACTS["tools"][name]["result"].items() if not fits(fields.get(field), kind)}
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("recall", "items"),
        ("recall_layer", "items"),
        ("recall_when", "items"),
        ("semantic_search", "items"),
        ("history", "versions"),
    ],
)
def test_items_have_every_published_field_in_its_type(name: str, field: str) -> None:
    fields = TOOLS[name]["outputSchema"]["properties"][field]["items"]["properties"]
    wrong = {key: kind for key, kind in FACTS["item"].items() if not fits(fields.get(key), kind)}
    assert wrong == {}


@each_tool
def test_titles_are_the_published_ones(name: str) -> None:
    title = TOOLS[name]["title"]
    assert title
    assert FACTS["tools"][name]["title"] in (None, title)


@each_tool
def test_no_tool_takes_more_of_a_prompt_than_its_share(name: str) -> None:
    assert listed_characters(name) <= LISTED_CHARACTERS_PER_TOOL
    assert 0 < len(TOOLS[name]["description"]) <= DESCRIPTION_CHARACTERS


def test_all_tools_together_stay_within_the_prompt_budget() -> None:
    assert sum(map(listed_characters, TOOLS)) <= LISTED_CHARACTERS
    core = [name for name, entry in CATALOGUE.items() if entry["profile"] == "core"]
    assert core
    assert sum(map(listed_characters, core)) <= CORE_CHARACTERS


@each_tool
def test_schemas_are_valid_and_every_parameter_is_described(name: str) -> None:
    tool = TOOLS[name]
    for schema in (tool["inputSchema"], tool["outputSchema"]):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
    assert [word for word, schema in parameters(name).items() if not schema["description"]] == []


@each_tool
def test_every_default_is_valid_under_its_own_schema(name: str) -> None:
    wrong = [
        word
        for word, schema in parameters(name).items()
        if "default" in schema and not jsonschema.Draft202012Validator(schema).is_valid(schema["default"])
    ]
    assert wrong == []


@each_tool
def test_annotations_tell_all_four_hints_and_agree_with_the_effect(name: str) -> None:
    hints, effect = TOOLS[name]["annotations"], CATALOGUE[name]["effect"]
    assert set(hints) == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    assert all(isinstance(hint, bool) for hint in hints.values())
    assert hints["readOnlyHint"] == (effect == "read")
    assert hints["destructiveHint"] == (effect in ("archive", "destroy"))


@each_tool
def test_aliases_never_hide_a_parameter(name: str) -> None:
    aliases = CATALOGUE[name]["aliases"]
    assert aliases.keys().isdisjoint(parameters(name))
    assert set(aliases.values()) <= parameters(name).keys()


@each_tool
def test_the_method_of_memory_is_the_function_of_the_tool(name: str) -> None:
    assert getattr(Memory, name) is load_function(CATALOGUE[name])


def test_every_declared_operation_is_in_the_catalogue() -> None:
    assert build_catalogue().keys() == CATALOGUE.keys()


def test_the_generated_files_are_up_to_date() -> None:
    check = subprocess.run(
        [sys.executable, "scripts/generate.py", "--check"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (check.returncode, check.stderr) == (0, "")


@pytest.fixture(scope="module")
def example_results() -> dict[str, Any]:
    return dict(run_examples(CATALOGUE))


@each_tool
def test_the_example_of_a_tool_works_and_its_answer_fits_the_output_schema(
    name: str, example_results: dict[str, Any]
) -> None:
    jsonschema.validate(CATALOGUE[name]["example"], TOOLS[name]["inputSchema"])
    jsonschema.validate(example_results[name], TOOLS[name]["outputSchema"])


def assert_fits(name: str, result: Any) -> None:  # noqa: ANN401 - any result struct
    import msgspec

    wire = result.wire() if hasattr(result, "wire") else msgspec.to_builtins(result)
    jsonschema.validate(json.loads(json.dumps(wire)), TOOLS[name]["outputSchema"])


def test_results_of_an_empty_store_fit_their_output_schemas(memory: Memory) -> None:
    assert_fits("stats", memory.stats())
    assert_fits("health", memory.health())
    assert_fits("recall", memory.recall("anything"))
    assert_fits("recall", memory.recall("anything", mode="dense", include_confidence=True))
    assert_fits("history", memory.history("none", "none"))
    assert_fits("as_of", memory.as_of("none", "none", 0))
    assert_fits("forget", memory.forget("none", "none"))
    assert_fits("context", memory.context())
    assert_fits("reindex", memory.reindex())
    assert_fits("embed", memory.embed(batch_category="none"))


def test_answers_with_every_optional_field_fit_their_output_schemas(memory: Memory, clock: FixedClock) -> None:
    memory.remember("c", "k", {"content": "old words", "recall_when": ["deploy"]}, tags=["t"])
    clock.advance()
    first = memory.remember("c", "k2", {"content": "old words too", "recall_when": ["deploy"]})
    memory.remember("c", "k", {"content": "new words"}, valid_from_unix_ms=1, valid_to_unix_ms=2)
    memory.remember("c", "k", {"content": "newest words"}, valid_from_unix_ms=1)
    assert_fits("remember", memory.remember("c", "k3", {"content": "newest words"}))
    assert_fits("recall", memory.recall("words", mode="fts5", expansion={"enabled": True}))
    assert_fits("recall", memory.recall("words", as_of_unix_ms=clock.now_ms() - 1))
    assert_fits("recall_when", memory.recall_when("deploy"))
    assert_fits("history", memory.history("c", "k"))
    assert_fits("as_of", memory.as_of("c", "k", clock.now_ms(), valid_at_unix_ms=1))
    assert_fits("get_entity", memory.get_entity(first.id))
    assert_fits("embed", memory.embed(category="c", key="k"))


def test_the_package_exports_memory_client_errors_and_version() -> None:
    errors = {error.__name__ for error in all_errors(MimirError)}
    assert set(mimir.__all__) == errors | {"Memory", "MimirClient", "__version__"}
    assert [name for name in mimir.__all__ if getattr(mimir, name, None) is None] == []


def all_errors(root: type[MimirError]) -> set[type[MimirError]]:
    """Return a class of errors with every class below it that its module declares; others add a detail, no code."""
    found = {root}
    for below in root.__subclasses__():
        if below.__module__ == root.__module__:
            found |= all_errors(below)
        else:
            assert (below.code, below.exit_status) == (root.code, root.exit_status)
    return found


ERRORS = {
    "MimirError": ("internal", 500, 1),
    "InvalidInput": ("invalid_input", 400, 2),
    "NotFound": ("not_found", 404, 3),
    "Conflict": ("conflict", 409, 4),
    "Unauthorized": ("unauthorized", 401, 5),
    "Locked": ("locked", 423, 5),
    "Busy": ("busy", 503, 6),
    "Unavailable": ("unavailable", 503, 6),
    "StorageFailure": ("storage", 500, 7),
}


def test_every_error_has_its_code_http_status_and_exit_status() -> None:
    known = all_errors(MimirError)
    assert {error.__name__: (error.code, error.http_status, error.exit_status) for error in known} == ERRORS


def test_an_error_carries_message_code_and_hint() -> None:
    error = mimir.NotFound("Nothing is called x.", hint="Look at the list.")
    assert (str(error), error.message, error.code, error.hint) == (
        "Nothing is called x.",
        "Nothing is called x.",
        "not_found",
        "Look at the list.",
    )

"""The catalogue: every operation as data, made from the declarations and read by all faces.

`build_catalogue` introspects the functions and is run by ``scripts/generate.py``; `load_catalogue` reads what it wrote,
so that a server or a command starts without introspection.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimir.operation import Doc, Operation

TOOL_PREFIX: Final = "mimir_"
"""What the name of every tool begins with."""

CATALOGUE_PATH: Final = os.path.join(os.path.dirname(__file__), "catalogue.json")

OPERATION_MODULES: Final = (
    "entities",
    "search",
    "context",
    "ai",
    "asking",
    "ingestion",
    "graph",
    "journal",
    "state",
    "lifecycle",
    "erasure",
    "quality",
    "vault",
    "workspaces",
    "ops",
    "synthesis",
    "maintenance",
    "migration",
)
"""The modules of `mimir.operations`, in the order in which their tools are listed."""


def load_catalogue() -> dict[str, Any]:
    """Return the entry of every operation by name, as written by ``scripts/generate.py``."""
    with open(CATALOGUE_PATH, encoding="utf-8") as file:
        catalogue: dict[str, Any] = json.load(file)
    return catalogue


def load_function(entry: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function of a catalogue entry, importing only the module that declares it."""
    import importlib

    _import_msgspec()
    function: Callable[..., Any] = getattr(importlib.import_module(entry["module"]), entry["function"])
    return function


def _import_msgspec() -> None:
    """Import msgspec without typing_extensions, which takes longer to import than all of msgspec.

    It is asked only for names that the standard library has had since Python 3.11, and its absence is provided for.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # the documented way to say: not there
    try:
        import msgspec  # noqa: F401 - for its place in sys.modules
    finally:
        del sys.modules["typing_extensions"]


def build_catalogue() -> dict[str, Any]:
    """Describe every declared operation: its tool as clients see it, and how its arguments are read."""
    import importlib

    from mimir.operation import REGISTRY

    # Not in the order of the registry: a module may have imported another one first.
    modules = [importlib.import_module(f"mimir.operations.{module}").__name__ for module in OPERATION_MODULES]
    declared = sorted(REGISTRY.items(), key=lambda pair: modules.index(pair[1].function.__module__))
    return {name: _describe(one) for name, one in declared}


def _describe(declared: Operation) -> dict[str, Any]:
    import inspect
    import typing

    from mimir.rules.bounds import CEILING_BYTES

    function = declared.function
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    properties: dict[str, Any] = {}
    notes: dict[str, Any] = {}
    aliases: dict[str, str] = {}
    required: list[str] = []
    for parameter in parameters:
        schema, doc = _parameter_schema(hints[parameter.name])
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
        elif parameter.default is not None and parameter.default in schema.get("enum", [parameter.default]):
            schema["default"] = list(parameter.default) if parameter.default == () else parameter.default
        properties[parameter.name] = schema
        notes[parameter.name] = {
            name: True
            for name, is_set in (
                ("json", doc.json),
                ("open", bool(doc.suggested)),
                ("clamp", doc.clamp),
                ("positional", doc.positional or parameter.default is inspect.Parameter.empty),
            )
            if is_set
        }
        aliases.update(dict.fromkeys(doc.aliases, parameter.name))
    docstring = inspect.getdoc(function) or ""
    input_schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        input_schema["required"] = required
    input_schema["additionalProperties"] = False
    result_schema = output_schema(hints["return"])
    result_schema["properties"].setdefault("truncated", {"type": "string"})
    tool_meta = {
        hint: value
        for hint, value, is_set in (
            ("anthropic/alwaysLoad", True, declared.always_loaded),
            ("anthropic/maxResultSizeChars", CEILING_BYTES, declared.read_in_full),
        )
        if is_set
    }
    return {
        "tool": {
            "name": TOOL_PREFIX + declared.name,
            "title": declared.title,
            "description": _description(docstring),
            "inputSchema": input_schema,
            "outputSchema": result_schema,
            "annotations": {
                "readOnlyHint": declared.effect == "read",
                "destructiveHint": declared.effect in ("archive", "destroy"),
                "idempotentHint": declared.idempotent,
                "openWorldHint": declared.open_world,
            },
            **({"_meta": tool_meta} if tool_meta else {}),
        },
        "module": function.__module__,
        "function": function.__name__,
        "family": declared.family,
        "profile": declared.profile,
        "effect": declared.effect,
        "long": declared.long,
        "bounded": declared.bounded,
        "parameters": notes,
        "aliases": aliases,
        "example": dict(declared.example),
    }


def _description(docstring: str) -> str:
    """Return the docstring up to its ``Raises:`` section as running text."""
    text = docstring.split("\nRaises:", 1)[0]
    return " ".join(text.split())


def _parameter_schema(hint: Any) -> tuple[dict[str, Any], Doc]:  # noqa: ANN401 - any type annotation
    import types
    import typing

    from mimir.operation import Doc

    if typing.get_origin(hint) is typing.Annotated:
        inner, doc = typing.get_args(hint)[:2]
    else:
        inner, doc = hint, Doc("")
    if typing.get_origin(inner) in (typing.Union, types.UnionType):
        inner = next(part for part in typing.get_args(inner) if part is not type(None))
    schema: dict[str, Any] = {"type": "string" if inner is Any else _json_type(inner)}
    if typing.get_origin(inner) is typing.Literal:
        schema["enum"] = list(typing.get_args(inner))
    elif doc.suggested:
        schema["enum"] = list(doc.suggested)
    if schema["type"] == "array":
        schema["items"] = {"type": "string"}
    bounds = {"minimum": doc.minimum, "maximum": doc.maximum}
    schema.update({word: bound for word, bound in bounds.items() if bound is not None})
    schema["description"] = doc.text
    if doc.properties:
        schema["properties"] = dict(doc.properties)
    return schema, doc


def _json_type(inner: Any) -> str:  # noqa: ANN401 - any type annotation
    import collections.abc
    import typing

    origin = typing.get_origin(inner) or inner
    names = {
        typing.Literal: "string",
        str: "string",
        int: "integer",
        float: "number",
        bool: "boolean",
        collections.abc.Sequence: "array",
        collections.abc.Mapping: "object",
    }
    return names[origin]


def output_schema(result: Any) -> dict[str, Any]:  # noqa: ANN401 - any Struct class
    """Return the JSON schema of a result type, with every definition in place and no ``$ref`` left."""
    import msgspec

    (schema,), definitions = msgspec.json.schema_components([result])
    resolved: dict[str, Any] = _resolve(schema, definitions)
    return resolved


def _resolve(schema: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any part of a JSON schema
    if isinstance(schema, list):
        return [_resolve(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolve(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    kept = {name: _resolve(part, definitions) for name, part in schema.items() if name not in ("title", "description")}
    choices = kept.get("anyOf")
    if choices and all(set(choice) == {"type"} for choice in choices):
        return {"type": sorted(choice["type"] for choice in choices)}
    return kept

"""Completion: what may follow in the arguments of prompts and in the addresses of memories.

Only names of memories that the caller may read are ever offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from mimir.server.message import INVALID_PARAMS, Fault, texts
from mimir.server.prompts import PROMPTS
from mimir.server.resources import TEMPLATES

if TYPE_CHECKING:
    from mimir.engine import Engine
    from mimir.model import Json

MOST_VALUES: Final = 100
"""How many values the protocol lets one completion offer."""


def answer_complete(params: Mapping[str, Json], engine: Engine, workspace_hash: str | None) -> dict[str, Json]:
    """Return the result of ``completion/complete``: values in the order of the alphabet.

    Arguments that are filled in already count: a category narrows the keys.

    Raises:
        Fault: there is no such prompt or template, or it has no such argument.
        InvalidInput: what was typed is not valid Unicode.
    """
    argument = texts(params, "argument")
    context = params.get("context")
    given = texts(context, "arguments") if isinstance(context, dict) else {}
    name = argument.get("name", "")
    known = _arguments(texts(params, "ref"))
    if name not in known:
        raise Fault(
            INVALID_PARAMS, f"There is no argument {name!r} to complete; there is: {', '.join(known) or 'none'}."
        )
    values = _SOURCES[name](engine, workspace_hash, argument.get("value", ""), given) if name in _SOURCES else ()
    more = len(values) > MOST_VALUES
    completion: dict[str, Json] = {"values": values[:MOST_VALUES], "hasMore": more}
    if not more:
        completion["total"] = len(values)
    return {"completion": completion}


def _arguments(reference: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the arguments of the prompt or template that is meant."""
    kind = reference.get("type")
    if kind == "ref/prompt" and (prompt := PROMPTS.get(reference.get("name", ""))):
        return tuple(argument.name for argument in prompt.arguments)
    if kind == "ref/resource":
        for template in TEMPLATES:
            if template.address == reference.get("uri"):
                return tuple(re.findall(r"{(\w+)}", template.address))
    raise Fault(INVALID_PARAMS, "Invalid params: 'ref' must name a prompt or a template of this server.")


def _categories(engine: Engine, workspace_hash: str | None, typed: str, _: Mapping[str, str]) -> tuple[str, ...]:
    from mimir.operations.search import make_filter

    filter_ = make_filter(engine, workspace_hash=workspace_hash)
    with engine.store.reading():
        counts = engine.store.count_by_scope(filter_)
    return tuple(sorted({category for _, category, _ in counts if category.startswith(typed)}))


def _keys(engine: Engine, workspace_hash: str | None, typed: str, given: Mapping[str, str]) -> tuple[str, ...]:
    from mimir.operation import check_texts
    from mimir.operations.search import make_filter

    check_texts(value=typed)
    filter_ = make_filter(engine, category=given.get("category"), workspace_hash=workspace_hash)
    with engine.store.reading():
        return engine.store.keys_from(typed, filter_, MOST_VALUES + 1)


_SOURCES: Final[Mapping[str, Callable[[Engine, str | None, str, Mapping[str, str]], tuple[str, ...]]]] = {
    "category": _categories,
    "key": _keys,
    "topic": _keys,
}
"""What each argument is completed from, in every prompt and template that has one of the name."""

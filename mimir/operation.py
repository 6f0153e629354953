"""Operations: one typed function is at once tool, method, command and page of the reference.

`operation` only records; everything that needs introspection (`describe`) runs when the catalogue is generated, so
that a server starts without it. `mimir/server/catalogue.json` holds the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from mimir.errors import InvalidInput

if TYPE_CHECKING:
    from mimir.model import Json

_TWO_TO_63: Final = 1 << 63

Effect = Literal["read", "write", "archive", "destroy"]
Function = TypeVar("Function", bound=Callable[..., object])


class Doc(NamedTuple):
    """What a parameter is, for its schema and its help.

    `minimum` and `maximum` bound a number: beyond them it is moved to the bound if `clamp`, refused otherwise.
    `aliases` are other spellings on the wire; `suggested` are words that the schema lists though any other is taken;
    `json` takes any JSON value where the schema says string; `positional` makes an optional one an argument of the
    command rather than an option; `properties` are the members of an object.
    """

    text: str
    minimum: float | None = None
    maximum: float | None = None
    clamp: bool = False
    aliases: tuple[str, ...] = ()
    suggested: tuple[str, ...] = ()
    json: bool = False
    positional: bool = False
    properties: tuple[tuple[str, Mapping[str, Any]], ...] = ()


class Operation(NamedTuple):
    """One declared operation."""

    function: Callable[..., object]
    family: str
    effect: Effect
    title: str
    idempotent: bool
    open_world: bool
    long: bool
    profile: str
    example: Mapping[str, Any]
    always_loaded: bool
    read_in_full: bool
    bounded: bool

    @property
    def name(self) -> str:
        """Return the operation's word: the method's name, and the tool's without its prefix."""
        return self.function.__name__


REGISTRY: Final[dict[str, Operation]] = {}
"""Every operation whose module has been imported, by name."""


def operation(
    *,
    family: str,
    effect: Effect,
    title: str,
    profile: Literal["core", "standard", "all"] = "all",
    idempotent: bool | None = None,
    open_world: bool = False,
    long: bool = False,
    example: Mapping[str, Any] | None = None,
    always_loaded: bool = False,
    read_in_full: bool = False,
    bounded: bool = True,
) -> Callable[[Function], Function]:
    """Declare a function as an operation and return it unchanged.

    Its first parameter is the engine; the others are the tool's arguments. ``long`` lets a server run it beside
    others; ``profile`` is the smallest list of tools that names it. Two hints are for hosts that know them: to load the
    tool at once where most are found by search (``always_loaded``), and to show a long result as a whole
    (``read_in_full``). A result that is not ``bounded`` may be of any length, since a program needs it to the byte.
    """

    def declare(function: Function) -> Function:
        REGISTRY[function.__name__] = Operation(
            function=function,
            family=family,
            effect=effect,
            title=title,
            idempotent=effect == "read" if idempotent is None else idempotent,
            open_world=open_world,
            long=long,
            profile=profile,
            example=example or {},
            always_loaded=always_loaded,
            read_in_full=read_in_full,
            bounded=bounded,
        )
        return function

    return declare


def read_arguments(
    entry: Mapping[str, Any], arguments: Mapping[str, Json], *, workspace: str | None = None
) -> dict[str, Json]:
    """Turn wire arguments into the keyword arguments of an operation: lenient in, exact out.

    ``entry`` is the operation's entry of the catalogue. Unknown names are ignored, null means not given, numbers and
    booleans may come as strings, an array or object as JSON text. ``workspace`` is that of a call which names none.

    Raises:
        InvalidInput: a required argument is missing, or a value cannot be read as what it should be.
    """
    schema = entry["tool"]["inputSchema"]
    notes = entry["parameters"]
    aliases = entry["aliases"]
    given: dict[str, Json] = {}
    for name, value in arguments.items():
        if value is None:
            continue
        target = aliases.get(name, name)
        # The proper spelling wins over an alias, whichever comes first.
        if target in notes and (target == name or target not in given):
            given[target] = value
    if workspace is not None and "workspace_hash" in notes:
        given.setdefault("workspace_hash", workspace)
    for name in schema.get("required", ()):
        if name not in given:
            raise InvalidInput(
                f"'{name}' is missing.",
                hint=f"Give {name}: {schema['properties'][name]['description']}",
            )
    return {name: _read(name, value, schema["properties"][name], notes[name]) for name, value in given.items()}


def _read(name: str, value: Json, schema: Mapping[str, Any], note: Mapping[str, Any]) -> Json:
    if note.get("json"):
        return value
    kind = schema["type"]
    read = read_value(name, value, kind)
    if kind == "string" and "enum" in schema and not note.get("open") and read not in schema["enum"]:
        raise InvalidInput(f"'{name}' is {read!r}.", hint="Use one of: " + ", ".join(schema["enum"]) + ".")
    if kind in ("integer", "number"):
        read = _bounded(name, read, schema, clamp=bool(note.get("clamp")))
    if kind == "integer" and not -_TWO_TO_63 <= read < _TWO_TO_63:
        raise InvalidInput(f"'{name}' is {_shown(read)}.", hint="Give a number that fits into 64 bits.")
    return read


def check_texts(**values: str | None) -> None:
    """Check that every given text is valid Unicode.

    Raises:
        InvalidInput: one is no string, or holds half of a surrogate pair.
    """
    for name, value in values.items():
        if value is not None:
            _read_string(name, value)


def read_value(name: str, value: Json, kind: str) -> Any:  # noqa: ANN401 - a value of that kind
    """Return one value as the JSON type ``kind``, read as leniently as from the wire; an array is one of strings.

    Raises:
        InvalidInput: it cannot be read as that.
    """
    return _READERS[kind](name, value)


def _bounded(name: str, value: float, schema: Mapping[str, Any], *, clamp: bool) -> float:
    least, most = schema.get("minimum"), schema.get("maximum")
    if (least is None or value >= least) and (most is None or value <= most):
        return value
    if not clamp:
        bounds = f"from {least} to {most}" if None not in (least, most) else f"at least {least}"
        raise InvalidInput(f"'{name}' is {value}.", hint=f"Give a number {bounds}.")
    return least if least is not None and value < least else most  # type: ignore[return-value]  # one bound is broken


def _read_string(name: str, value: Json) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"'{name}' is {_shown(value)}, not a string.", hint="Put it in quotes.")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"'{name}' holds half of a surrogate pair at position {error.start}: it is no valid Unicode.",
            hint="Send whole characters.",
        ) from None
    return value


def _read_integer(name: str, value: Json) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        number = float(value) if isinstance(value, (float, str)) else None
        if number is not None and number == int(number):
            return int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdigit() else int(number)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(f"'{name}' is {_shown(value)}, not a whole number.", hint="Give a whole number.")


def _read_number(name: str, value: Json) -> float:
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            number = float(value)
            if number - number == 0:  # neither infinite nor NaN
                return number
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(f"'{name}' is {_shown(value)}, not a number.", hint="Give a finite number.")


def _read_boolean(name: str, value: Json) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise InvalidInput(f"'{name}' is {_shown(value)}, neither true nor false.", hint="Give true or false.")


def _read_array(name: str, value: Json) -> tuple[str, ...]:
    read = _from_text(value)
    if isinstance(read, (list, tuple)):
        return tuple(_read_string(f"{name}[{place}]", item) for place, item in enumerate(read))
    raise InvalidInput(
        f"'{name}' is {_shown(value)}, not an array.",
        hint='Give a JSON array, for example ["a", "b"].',
    )


def _read_object(name: str, value: Json) -> dict[str, Json]:
    read = _from_text(value)
    if isinstance(read, dict):
        return read
    raise InvalidInput(f"'{name}' is {_shown(value)}, not an object.", hint="Give a JSON object.")


def _from_text(value: Json) -> Json:
    if not isinstance(value, str):
        return value
    import json

    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - enough to recognise it


_READERS: Final[Mapping[str, Callable[[str, Json], Any]]] = {
    "string": _read_string,
    "integer": _read_integer,
    "number": _read_number,
    "boolean": _read_boolean,
    "array": _read_array,
    "object": _read_object,
}

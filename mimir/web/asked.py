"""What a request asks for, read leniently and bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mimir.errors import InvalidInput
from mimir.model import Json
from mimir.operation import read_value

_NUMBER_BOUND = 1 << 62


class Asked:
    """The parameters of a request by name: those of its path and query, or of its body."""

    def __init__(self, values: Mapping[str, Json]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def text(self, name: str) -> str | None:
        """Return a text, or None when it is left out.

        Raises:
            InvalidInput: it is no text, or no valid Unicode.
        """
        text: str | None = self._read(name, "string")
        return text

    def required(self, name: str) -> str:
        """Return a text that must be there.

        Raises:
            InvalidInput: it is missing or empty.
        """
        text = self.text(name)
        if not text:
            raise InvalidInput(f"'{name}' is missing.", hint=f"Give {name}.")
        return text

    def number(self, name: str, default: int, least: int = 0, most: int = _NUMBER_BOUND) -> int:
        """Return a whole number, moved to the nearest bound.

        Raises:
            InvalidInput: it is no whole number.
        """
        value = self.instant(name)
        return min(max(default if value is None else value, least), most)

    def instant(self, name: str) -> int | None:
        """Return a whole number, or None when it is left out.

        Raises:
            InvalidInput: it is no whole number, or does not fit into 64 bits.
        """
        value: int | None = self._read(name, "integer")
        if value is not None and abs(value) > _NUMBER_BOUND:
            raise InvalidInput(f"'{name}' is too large a number.", hint="Give a time in milliseconds.")
        return value

    def share(self, name: str) -> float | None:
        """Return a number, or None when it is left out.

        Raises:
            InvalidInput: it is no finite number.
        """
        number: float | None = self._read(name, "number")
        return number

    def flag(self, name: str) -> bool | None:
        """Return true or false, or None when it is left out.

        Raises:
            InvalidInput: it is neither.
        """
        flag: bool | None = self._read(name, "boolean")
        return flag

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """Return one of the choices, the first when it is left out.

        Raises:
            InvalidInput: it is none of them.
        """
        value = self.text(name) or choices[0]
        if value not in choices:
            raise InvalidInput(f"'{name}' is {value!r:.60}.", hint=f"Use one of: {', '.join(choices)}.")
        return value

    def json(self, name: str) -> Json:
        """Return a value as it was sent, None when it is left out."""
        return self._values.get(name)

    def _read(self, name: str, kind: str) -> Any:  # noqa: ANN401 - a value of that kind, or None
        value = self._values.get(name)
        # An empty text means the global workspace; of anything else it means that nothing was filled in.
        if value is None or (value == "" and kind != "string"):
            return None
        return read_value(name, value, kind)

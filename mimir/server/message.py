"""One message of JSON-RPC: read with all that may be wrong with it, and written.

A request whose ``_meta`` names a protocol version is modern, of revision 2026-07-28 and later; every other one is
legacy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mimir.model import Json

LEGACY_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Revisions that begin with a handshake, the one that is offered first."""

MODERN_VERSIONS: Final = ("2026-07-28",)
"""Revisions that every request declares for itself."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
RESOURCE_NOT_FOUND: Final = -32002
UNSUPPORTED_VERSION: Final = -32022

_VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
_MODERN_KEYS: Final = frozenset(
    {
        _VERSION_KEY,
        _CAPABILITIES_KEY,
        "io.modelcontextprotocol/clientInfo",
        "io.modelcontextprotocol/logLevel",
    }
)
MODERN_ONLY: Final = "server/discover"
"""The method that is modern even without metadata, and is told what is missing."""


class Fault(Exception):
    """A message that breaks the protocol: answered with a JSON-RPC error, never with a result."""

    def __init__(self, code: int, message: str, *, data: Mapping[str, Json] | None = None, id: Json = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.id = id

    def reply(self) -> bytes:
        """Return the error reply; the id is null where none could be read."""
        error: dict[str, Json] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return encode({"jsonrpc": "2.0", "id": self.id, "error": error})


class Request:
    """A message that wants one reply."""

    __slots__ = ("id", "method", "modern", "params")

    def __init__(self, id: str | float, method: str, params: dict[str, Json], *, modern: bool) -> None:
        self.id = id
        self.method = method
        self.params = params
        self.modern = modern


class Notification:
    """A message that must not be answered."""

    __slots__ = ("method", "params")

    def __init__(self, method: str, params: dict[str, Json]) -> None:
        self.method = method
        self.params = params


class Reply:
    """The answer of a client to a request of ours; the result of one that failed is None."""

    __slots__ = ("id", "result")

    def __init__(self, id: Json, result: Json) -> None:
        self.id = id
        self.result = result


def read_message(line: bytes) -> Request | Notification | Reply:
    """Read one message.

    Raises:
        Fault: it is no JSON, no message of JSON-RPC 2.0, or its metadata is incomplete.
    """
    message = _parse(line)
    if isinstance(message, list):
        raise Fault(INVALID_REQUEST, "Invalid request: batches are not supported; send one message a line.")
    if not isinstance(message, dict):
        raise Fault(INVALID_REQUEST, "Invalid request: a message is a JSON object.")
    number: Json = message.get("id")
    if "id" in message and (isinstance(number, bool) or not isinstance(number, (str, int, float))):
        raise Fault(INVALID_REQUEST, "Invalid request: 'id' must be a string or a number.")
    if message.get("jsonrpc") != "2.0":
        raise Fault(INVALID_REQUEST, "Invalid request: 'jsonrpc' must be \"2.0\".", id=number)
    method = message.get("method")
    if not isinstance(method, str):
        if "method" not in message and ("result" in message or "error" in message):
            return Reply(number, message.get("result"))
        raise Fault(INVALID_REQUEST, "Invalid request: 'method' must be a string.", id=number)
    params = message.get("params")
    if "id" not in message:
        return Notification(method, params if isinstance(params, dict) else {})
    if params is None:
        params = {}
    elif not isinstance(params, dict):
        raise Fault(INVALID_PARAMS, "Invalid params: 'params' must be an object.", id=number)
    return Request(number, method, params, modern=_is_modern(number, method, params))


def texts(params: Mapping[str, Json], name: str) -> dict[str, str]:
    """Return a member of the params that maps names to texts; left out, it is empty.

    Raises:
        Fault: it is something else.
    """
    given = params.get(name)
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise Fault(INVALID_PARAMS, f"Invalid params: '{name}' must be an object of strings.")
    return given


def encode(value: Json) -> bytes:
    """Return ``value`` as compact JSON in UTF-8."""
    if type(value) is int:  # most ids; the encoder takes 3 microseconds for one
        return b"%d" % value
    try:
        return _ENCODER.encode(value).encode()
    except UnicodeEncodeError:  # half a surrogate pair, say in an id: it can only be written escaped
        return json.dumps(value, separators=(",", ":")).encode()


def _parse(line: bytes) -> Json:
    try:
        # PowerShell begins what it pipes with a byte order mark.
        return _DECODER.decode(line.removeprefix(b"\xef\xbb\xbf").decode())
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos + 1}"
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start + 1}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError:
        reason = "a number is not finite or too long"
    raise Fault(PARSE_ERROR, f"Parse error: {reason}.")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _is_modern(id: Json, method: str, params: Mapping[str, Json]) -> bool:
    meta = params.get("_meta")
    if not isinstance(meta, dict) or _MODERN_KEYS.isdisjoint(meta):
        if method != MODERN_ONLY:
            return False
        meta = {}
    version = meta.get(_VERSION_KEY)
    for key, value, kind in ((_VERSION_KEY, version, str), (_CAPABILITIES_KEY, meta.get(_CAPABILITIES_KEY), dict)):
        if not isinstance(value, kind):
            wanted = "a string" if kind is str else "an object"
            raise Fault(INVALID_PARAMS, f"Invalid params: '_meta' must hold {wanted} under '{key}'.", id=id)
    if version not in MODERN_VERSIONS:
        raise Fault(
            UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            data={"supported": MODERN_VERSIONS, "requested": version},
            id=id,
        )
    return True


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant)

"""One HTTP exchange with a service outside this process: bounded in time and size, sent to one address and no other.

Nothing here decides what is worth asking: whoever calls gave an address that a person has set. Secrets go into headers
and never into what is reported.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from mimir.errors import InvalidInput, Unavailable
from mimir.progress import wait_until

if TYPE_CHECKING:
    from email.message import Message

LONGEST_REPLY_BYTES: Final = 16 * 1024 * 1024

_CHUNK_BYTES: Final = 65_536
_SHOWN_CHARACTERS: Final = 300
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Reply(NamedTuple):
    """What a server answered, whatever its status says; `headers` finds a name in any case."""

    status: int
    reason: str
    headers: Message
    data: bytes

    @property
    def is_success(self) -> bool:
        """Tell whether the status is one of success."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the class of successes


def read_address(url: str, setting: str, hint: str) -> SplitResult:
    """Return the parts of the address of a service, as the setting of this name holds it.

    Raises:
        InvalidInput: it is no HTTP address, or holds a user name; the address is not shown, since it may hold a
            password.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_address = SplitResult("", "", "", "", ""), False
    if not is_address or "@" in parts.netloc:
        raise InvalidInput(f"{setting} is no HTTP address, or holds a user name.", hint=hint)
    return parts


def read_secret(secret: str, setting: str) -> str:
    """Return a key or token without the blanks around it.

    Raises:
        InvalidInput: it holds characters that no header can carry.
    """
    bare = secret.strip()
    if not (bare.isascii() and bare.isprintable()):
        raise InvalidInput(f"{setting} holds characters that no header can carry.", hint="Give the key as issued.")
    return bare


def without_secret(text: str, secret: str) -> str:
    """Return what a server said as one short line; a server may repeat the headers it was sent in its error."""
    return " ".join((text.replace(secret, "***") if secret else text).split())[:_SHOWN_CHARACTERS]


def exchange(
    url: str, *, timeout_s: float, headers: Mapping[str, str] | None = None, data: bytes | None = None
) -> Reply:
    """Send a GET request, or a POST request with ``data``, and return the reply; no redirect is followed.

    ``timeout_s`` bounds all of it, from the look-up of the name to the last byte.

    Raises:
        Unavailable: there is no reply in time, none at all, or one beyond `LONGEST_REPLY_BYTES`.
        Cancelled: nobody waits for it any more.
    """
    import threading

    answers: list[Reply | str] = []
    answered = threading.Event()

    # In a thread of its own, since the timeout of a socket neither covers the look-up of a name nor ends a reply that
    # comes byte by byte.
    def talk() -> None:
        answers.append(_talk(url, data, {"User-Agent": "mimir", **(headers or {})}, timeout_s))
        answered.set()

    threading.Thread(target=talk, name="mimir-exchange", daemon=True).start()
    answer = answers[0] if wait_until(answered.wait, timeout_s) else _late(timeout_s)
    if isinstance(answer, str):
        raise Unavailable(answer)
    return answer


def _talk(url: str, data: bytes | None, headers: Mapping[str, str], timeout_s: float) -> Reply | str:
    """Return the reply, or why there is none."""
    from http.client import HTTPException
    from urllib.error import URLError
    from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

    until = time.monotonic() + timeout_s
    opener = OpenerDirector()
    # What is on this machine is never behind a proxy. Without the usual handlers a redirect is a reply like any other:
    # what is sent goes to the address that was set.
    on_this_machine = urlsplit(url).hostname in _LOOPBACK
    for handler in (ProxyHandler({}) if on_this_machine else ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    try:
        request = Request(url, data, dict(headers))  # noqa: S310 - the opener knows no other scheme
        with opener.open(request, timeout=timeout_s) as response:
            received = bytearray()
            while chunk := response.read1(_CHUNK_BYTES):
                received += chunk
                if len(received) > LONGEST_REPLY_BYTES:
                    return f"the reply is longer than {LONGEST_REPLY_BYTES} bytes"
                if time.monotonic() > until:
                    return _late(timeout_s)
            return Reply(response.status, response.reason, response.headers, bytes(received))
    except TimeoutError:
        return _late(timeout_s)
    except URLError as error:
        return _late(timeout_s) if isinstance(error.reason, TimeoutError) else str(error.reason)
    except (HTTPException, OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _late(timeout_s: float) -> str:
    return f"no answer within {timeout_s:g} s"

"""The folders that the client works in, asked of a client that has said it knows them; they name the workspace."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mimir.server.message import Notification, Reply, Request, encode

if TYPE_CHECKING:
    from mimir.server.dispatch import Dispatcher

PATIENCE_S: Final = 2.0
"""How long calls wait for the answer, in seconds; what comes later counts from then on."""

_ASKING: Final = ("notifications/initialized", "notifications/roots/list_changed")


class Roots:
    """One conversation with a client about its roots, in the handshake era; the stateless one has none.

    ``send`` writes a message to the client, ``told`` is called when the workspace is known.
    """

    def __init__(self, dispatcher: Dispatcher, send: Callable[[bytes], None], told: Callable[[], None]) -> None:
        self._dispatcher = dispatcher
        self._send = send
        self._told = told
        self._has_roots = False
        self._asked = 0
        self._answered = threading.Event()

    def note(self, message: Request | Notification | Reply) -> bool:
        """Look at a message of the client; tell whether it was now asked, and calls should `wait`."""
        if isinstance(message, Request):
            if message.method == "initialize":
                capabilities = message.params.get("capabilities")
                self._has_roots = isinstance(capabilities, dict) and isinstance(capabilities.get("roots"), dict)
        elif isinstance(message, Notification):
            if self._has_roots and message.method in _ASKING:
                self._ask()
                return True
        elif message.id == self._id():
            self._dispatcher.use_roots(_addresses(message.result))
            self._told()
            self._answered.set()
        return False

    def wait(self) -> None:
        """Wait until the client has answered, but not for long."""
        self._answered.wait(PATIENCE_S)

    def give_up(self) -> None:
        """Let nobody wait any longer."""
        self._answered.set()

    def _ask(self) -> None:
        self._asked += 1
        self._answered.clear()
        self._send(encode({"jsonrpc": "2.0", "id": self._id(), "method": "roots/list"}))

    def _id(self) -> str:
        return f"mimir-roots-{self._asked}"


def _addresses(result: Any) -> list[str]:  # noqa: ANN401 - whatever the client has sent
    roots = result.get("roots") if isinstance(result, dict) else None
    found = [root.get("uri") for root in roots if isinstance(root, dict)] if isinstance(roots, list) else []
    return [address for address in found if isinstance(address, str)]

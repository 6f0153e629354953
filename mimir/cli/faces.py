"""Serve over HTTP: the protocol's transports, the dashboard, or both on one port; or the dashboard beside stdio."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mimir.config import check_exposure
from mimir.errors import MimirError, Unavailable

if TYPE_CHECKING:
    from mimir.server.dispatch import Dispatcher
    from mimir.server.front import Face, Traffic
    from mimir.server.http import Calls

_BESIDE_END_S: Final = 2.0
"""How long the end of stdio waits for what the dashboard still writes, in seconds."""


def serve_over_http(
    dispatcher: Dispatcher,
    *,
    mcp: bool,
    web: bool,
    body_s: float | None = None,
    announced: Callable[[str], object] | None = None,
) -> int:
    """Serve until a signal; then finish what was accepted, close the store and return the exit status.

    ``body_s`` bounds how long the body of a request may take, ``announced`` gets the address once it can be used.

    Raises:
        InvalidInput: the address or the TLS files cannot be used, or there is no token where one is needed.
        Unavailable: the port is taken, or a package that is needed is not installed.
    """
    settings = dispatcher.settings
    check_exposure(settings, mcp=mcp, web=web)
    try:
        from mimir.server.auth import BODY_S
        from mimir.server.front import Front, Traffic, bind, check_certificate, quiet_libraries

        traffic = Traffic()
        calls: Calls | None = None
        faces: list[Face] = []
        if mcp:
            from mimir.server.http import Calls, mcp_face

            calls = Calls(dispatcher, traffic)
            faces.append(mcp_face(calls, body_s=body_s or BODY_S))
        if web:
            faces.append(_dashboard(dispatcher, traffic))
    except ImportError as error:
        raise Unavailable(
            f"HTTP needs packages that are not installed ({error.name or error}).",
            hint="Run: pip install 'mimir-local[server]'",
        ) from error
    check_certificate(settings.tls_cert, settings.tls_key)

    def announce(url: str) -> None:
        sys.stderr.write(f"mimir: {', '.join(face.greeting.format(url=url) for face in faces)}\n")
        if announced is not None:
            announced(url)

    with bind(settings.web_bind, settings.port) as listener:
        dispatcher.warm_up()
        quiet_libraries(settings.log_level)
        Front(settings, faces, traffic, listener, announce).run(sockets=[listener])
    if calls is not None:
        calls.close()
    try:
        dispatcher.close()
    except MimirError as error:
        # Every acknowledged memory is safe: what is lost is how often some were used.
        logging.getLogger(__name__).warning("closing the store: %s", error.message)
    return 0


class Beside:
    """The dashboard on a thread of a process that serves stdio. What keeps it from starting is one warning."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._thread = threading.Thread(target=self._run, name="mimir-dashboard", daemon=True)
        self._traffic: Traffic | None = None
        self._ended = False

    def start(self) -> Callable[[], None]:
        """Begin to serve, for which nothing is imported before, and return what ends it."""
        self._thread.start()
        return self.stop

    def stop(self) -> None:
        """Accept nothing more, and wait for what was accepted."""
        self._ended = True
        if self._traffic is not None:
            self._traffic.stopping = True
            self._thread.join(_BESIDE_END_S)

    def _run(self) -> None:
        try:
            self._serve()
        except (MimirError, ImportError) as error:
            reason = f"{error.message} {error.hint}".rstrip() if isinstance(error, MimirError) else str(error)
            # Clients may never read standard error; one line does not fill its pipe.
            sys.stderr.write(f"mimir: warning: serving without the dashboard. {reason}\n")

    def _serve(self) -> None:
        from mimir.server.front import Front, Traffic, bind, check_certificate, quiet_libraries

        settings = self._dispatcher.settings
        check_certificate(settings.tls_cert, settings.tls_key)
        traffic = Traffic()
        face = _dashboard(self._dispatcher, traffic)

        def announce(url: str) -> None:
            if sys.stderr.isatty():
                sys.stderr.write(f"mimir: {face.greeting.format(url=url)}\n")

        with bind(settings.web_bind, settings.port) as listener:
            quiet_libraries(settings.log_level)
            self._traffic = traffic
            if not self._ended:
                Front(settings, [face], traffic, listener, announce).run(sockets=[listener])


def _dashboard(dispatcher: Dispatcher, traffic: Traffic) -> Face:
    from mimir.server.front import body_check, face_of
    from mimir.web.app import FORMS, build_dashboard

    app = build_dashboard(dispatcher.engine, dispatcher.settings, traffic.on_stop, checks=[body_check(FORMS)])
    return face_of(app, "dashboard at {url}/")

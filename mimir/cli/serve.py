"""`mimir serve`: flags to settings without the command-line library, which would cost the start too much."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mimir import __version__
from mimir.config import (
    OPTIONS,
    check_exposure,
    given_on_command_line,
    load_settings,
    parse_option,
    warn_of_other_stores,
)
from mimir.errors import InvalidInput, MimirError
from mimir.server.dispatch import Dispatcher
from mimir.server.stdio import serve_stdio

if TYPE_CHECKING:
    from mimir.config import Settings

WITHOUT_EFFECT: Final = frozenset({"--mcp"})
"""Flags of older clients that ask for what is the case anyway: MCP is served."""

NOT_YET: Final = frozenset(
    {
        "--workspace-token",
    }
)
"""Flags that the published documentation names and this version refuses, because ignoring them would mislead."""

GARBAGE_THRESHOLD: Final = 50_000
"""New objects between two searches for unreachable ones; the default walks all that a start allocates ten times."""


def serve(arguments: Iterable[str], *, web_only: bool = False, announced: Callable[[str], object] | None = None) -> int:
    """Serve with the settings of these arguments; the process ends with the serving.

    The word ``serve`` itself may stand anywhere among the flags. A setting that is wrong or not available ends in one
    line on standard error and the status of the failure, before anything is served. With ``web_only`` the dashboard is
    all that is served; ``announced`` gets the address of HTTP once it can be used.
    """
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        flags = read_flags(arguments)
        settings = load_settings(**flags)
        dispatcher = Dispatcher(settings)
        configure_log(settings)
        check_key(settings)
        check_models(settings)
        if settings.web:
            check_exposure(settings, mcp=settings.transport != "stdio", web=True)
    except MimirError as error:
        return _refused(error)
    warning = warn_of_other_stores(flags.get("db"))
    if warning:
        sys.stderr.write(warning)
    # Every reply is written and the store is closed; taking the interpreter apart would cost a lone call a tenth more.
    stdio = settings.transport == "stdio" and not web_only
    if stdio and not settings.web:
        os._exit(serve_stdio(dispatcher))
    from mimir.cli.faces import Beside, serve_over_http

    if stdio:
        os._exit(serve_stdio(dispatcher, Beside(dispatcher).start))
    try:
        web = web_only or settings.web
        os._exit(serve_over_http(dispatcher, mcp=not web_only, web=web, announced=announced))
    except MimirError as error:
        return _refused(error)


def read_flags(arguments: Iterable[str]) -> dict[str, object]:
    """Return the settings that are given, by field; a later flag wins over an earlier one.

    Raises:
        InvalidInput: a flag is unknown, not available, or lacks its value.
    """
    options = {option.flag: option for option in OPTIONS}
    rest = iter(arguments)
    flags: dict[str, object] = {}
    commands = 0
    for argument in rest:
        flag, equals, value = argument.partition("=")
        option = options.get(flag)
        if option is not None and option.kind is bool:
            flags[option.field] = parse_option(option, value, flag) if equals else True
        elif option is not None:
            flags[option.field] = given_on_command_line(option, value if equals else _value(flag, rest))
        elif flag in NOT_YET:
            raise InvalidInput(
                f"{flag} is not available in version {__version__}.",
                hint="Start without it.",
            )
        elif argument == "serve" and not commands:
            commands += 1
        elif argument not in WITHOUT_EFFECT:
            kind = "option" if argument.startswith("-") else "argument"
            raise InvalidInput(f"serve knows no {kind} {argument!r}.", hint="Run: mimir serve --help")
    return flags


def check_models(settings: Settings) -> None:
    """See that the models that the settings name can be asked for, as far as nothing is loaded or sent.

    Raises:
        InvalidInput: an endpoint is no HTTP address, a key can be none, or there is no model where one is named.
    """
    if settings.embedding_endpoint or settings.embedding_model:
        from mimir.embedding import open_embedder

        open_embedder(settings)
    if settings.llm_endpoint and not settings.offline:
        from mimir.llm import open_llm

        open_llm(settings, "mimir_ask")


def check_key(settings: Settings) -> None:
    """See that the key file can be read and is that of the store; without a key, as far as its first bytes tell.

    Raises:
        Locked: the key file cannot be read, or the store is sealed and the key is missing or another.
        Conflict: a key is given for a store that is not sealed, or is sealed in another scope than asked for.
        StorageFailure: the first bytes of a sealed store are damaged.
    """
    head = b""
    # A pipe would be waited for; what is no file is named when it is opened as a store.
    with suppress(OSError, ValueError):
        if os.path.isfile(settings.db):
            with open(settings.db, "rb") as file:
                head = file.read(24)
    plain = not head or head.startswith(b"SQLite format 3\0")
    if settings.encryption_key or not plain:
        from mimir.crypto import check_head, load_keys

        keys = load_keys(settings.encryption_key)
        if not check_head(head, keys, settings.db) and head and keys is not None:
            from mimir.store import check_plain_file

            check_plain_file(settings.db, keys, settings.encryption_scope)


def configure_log(settings: Settings) -> None:
    """Send log lines where the settings say; by default, and without a cost, warnings go to standard error.

    Raises:
        InvalidInput: the log file cannot be written.
    """
    if not settings.log_file and settings.log_level == "warning":
        return
    import logging

    try:
        logging.basicConfig(
            filename=settings.log_file or None,
            encoding="utf-8" if settings.log_file else None,
            level=settings.log_level.upper(),
            format="%(asctime)s %(levelname)s %(message)s",
        )
    except OSError as error:
        raise InvalidInput(
            f"--log-file: {settings.log_file} cannot be written: {error.strerror}.", hint="Name another file."
        ) from error


def _refused(error: MimirError) -> int:
    from mimir.cli.output import printable  # hardly any start needs it

    sys.stderr.write(printable(f"mimir: {error.message} {error.hint}".rstrip() + "\n"))
    return error.exit_status


def _value(flag: str, rest: Iterable[str]) -> str:
    value = next(iter(rest), None)
    if value is None or value.startswith("--"):
        raise InvalidInput(f"{flag} needs a value.", hint=f"Write {flag} VALUE or {flag}=VALUE.")
    return value

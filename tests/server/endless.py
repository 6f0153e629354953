"""A server whose tool mimir_health never ends by itself: one statement, after one report of progress."""

from __future__ import annotations

import sys

from mimir.cli.serve import read_flags
from mimir.config import load_settings
from mimir.engine import Engine
from mimir.progress import report
from mimir.server.dispatch import Dispatcher
from mimir.server.stdio import serve_stdio

ENDLESS = "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted) SELECT max(n) FROM counted"


def count_for_ever(engine: Engine) -> None:
    report(1)
    engine.store.database.execute(ENDLESS).fetchall()  # type: ignore[attr-defined]  # the store is an SQLite file


def main() -> int:
    settings = load_settings(**read_flags(sys.argv[1:]))
    dispatcher = Dispatcher(settings)
    dispatcher.catalogue["health"].update(module="tests.server.endless", function="count_for_ever")
    if settings.transport == "stdio":
        return serve_stdio(dispatcher)
    from mimir.cli.faces import serve_over_http

    return serve_over_http(dispatcher, mcp=True, web=False)


if __name__ == "__main__":
    sys.exit(main())

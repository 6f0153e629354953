"""Programs from the npm registry: where they cannot be had a test is skipped, unless the run is to fail then."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from scripts.node_tools import Unavailable, command

# Read before the tests take every setting of Mimir out of the environment.
REQUIRED = bool(os.environ.get("MIMIR_REQUIRE_NODE"))

Program = Callable[[str], list[str]]


@pytest.fixture(scope="session")
def program() -> Program:
    """Return how a program is started, by its name in `scripts/node_tools.py`."""

    def started_by(name: str) -> list[str]:
        try:
            return command(name)
        except Unavailable as error:
            if REQUIRED:
                pytest.fail(str(error))
            pytest.skip(str(error))

    return started_by

"""The public conformance suite against our HTTP server: all that a revision requires passes, or is excluded here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.clients import conformance_fixtures
from tests.clients.conftest import Program
from tests.server.client import PATIENCE_S
from tests.server.web import WebServer, free_port

pytestmark = pytest.mark.slow

NO_LOGGING = "The protocol has deprecated logging; Mimir logs to standard error or a file."
ASKS_NOTHING = "Mimir asks nothing of its client: no sampling, no elicitation, no second round."
NO_SUBSCRIPTIONS = "Mimir offers no subscriptions: what it lists does not change while it serves."
NO_TASKS = "Tasks are an extension that Mimir does not offer: its calls end in seconds and can be cancelled."
NO_PARAMETER_HEADERS = "No tool of Mimir asks for a parameter to be repeated in a header."
NO_RESUMPTION = "Checks nothing of a server that does not resume broken streams, which is optional and gone since."

EXCLUDED = {
    "2025-11-25": {
        "logging-set-level": NO_LOGGING,
        "tools-call-with-logging": NO_LOGGING,
        "tools-call-sampling": ASKS_NOTHING,
        "tools-call-elicitation": ASKS_NOTHING,
        "elicitation-sep1034-defaults": ASKS_NOTHING,
        "elicitation-sep1330-enums": ASKS_NOTHING,
        "resources-subscribe": NO_SUBSCRIPTIONS,
        "resources-unsubscribe": NO_SUBSCRIPTIONS,
        "server-sse-polling": NO_RESUMPTION,
    },
    "2026-07-28": {
        "input-required-result-basic-elicitation": ASKS_NOTHING,
        "input-required-result-basic-sampling": ASKS_NOTHING,
        "input-required-result-basic-list-roots": ASKS_NOTHING,
        "input-required-result-request-state": ASKS_NOTHING,
        "input-required-result-multiple-input-requests": ASKS_NOTHING,
        "input-required-result-multi-round": ASKS_NOTHING,
        "input-required-result-non-tool-request": ASKS_NOTHING,
        "input-required-result-result-type": ASKS_NOTHING,
        "input-required-result-tampered-state": ASKS_NOTHING,
        "input-required-result-capability-check": ASKS_NOTHING,
        "tasks-lifecycle": NO_TASKS,
        "tasks-capability-negotiation": NO_TASKS,
        "tasks-wire-fields": NO_TASKS,
        "tasks-request-state-removal": NO_TASKS,
        "tasks-mrtr-input": NO_TASKS,
        "tasks-request-headers": NO_TASKS,
        "tasks-dispatch-and-envelope": NO_TASKS,
        "tasks-status-notifications": NO_TASKS,
        "tasks-required-task-error": NO_TASKS,
        "tasks-mrtr-composition": NO_TASKS,
        "http-custom-header-server-validation": NO_PARAMETER_HEADERS,
    },
}
"""Scenarios that do not pass, by revision, with the reason."""

VERDICT = re.compile(r"^[✓✗] ([\w-]+): (\d+) passed, (\d+) failed$", re.MULTILINE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    folder = tmp_path_factory.mktemp("conformance")
    port = free_port()
    command = [sys.executable, conformance_fixtures.__file__, str(folder / "m.db"), str(port)]
    server = WebServer(command, port, HOME=str(folder))
    yield server
    server.close()


@pytest.mark.parametrize("revision", EXCLUDED)
def test_every_scenario_passes_that_is_not_excluded_and_no_other(
    program: Program, server: WebServer, revision: str
) -> None:
    ran = subprocess.run(
        [*program("conformance"), "server", "--url", f"{server.url}/mcp", "--requirements", revision],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=5 * PATIENCE_S,
        check=False,
    )
    verdicts = {name: (int(passed), int(failed)) for name, passed, failed in VERDICT.findall(ran.stdout)}
    assert len(verdicts) > len(EXCLUDED[revision]), ran.stderr
    # A scenario that checks nothing has shown nothing.
    failing = {name for name, (passed, failed) in verdicts.items() if failed or not passed}
    details = "\n".join(line for line in ran.stdout.splitlines() if "FAILURE" in line or line.startswith("✗"))
    assert failing == EXCLUDED[revision].keys(), details

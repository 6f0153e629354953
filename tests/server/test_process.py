"""The server as a process: how it starts, what it prints, and every way in which it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

import mimir
from mimir.cli.serve import NOT_YET
from tests.server.client import PATIENCE_S, SERVE, Client, Run, Start, call, remember, request, wire

HEAVY = {"asyncio", "urllib.parse", "mcp", "numpy", "onnxruntime", "pydantic", "tokenizers"}
LATER = {"apsw", "click", "cryptography", "logging", "msgspec", "rich"}

# A server that looks after its parent ten times a second.
WATCHFUL = """
import sys
from mimir.config import load_settings
from mimir.server.dispatch import Dispatcher
from mimir.server.stdio import serve_stdio
sys.exit(serve_stdio(Dispatcher(load_settings(db=sys.argv[1])), parent_poll_s=0.1))
"""

# A server that gives a call a second after the end of input.
BOUNDED = """
import sys
from mimir.server import stdio

stdio.END_OF_INPUT_S = 1.0
from mimir.cli.serve import serve
sys.exit(serve(sys.argv[1:]))
"""

# A parent that starts a server on descriptors it was given and lives until its own input ends.
PARENT = """
import subprocess, sys
server, db, source, sink = sys.argv[1:]
subprocess.Popen([sys.executable, "-c", server, db], stdin=int(source), stdout=int(sink))
sys.stdin.read()
"""

NOISY = """
import os, subprocess, sys
from mimir.server.stdio import claim_streams
source, sink = claim_streams()
print("printed")
os.system("echo echoed")
subprocess.run([sys.executable, "-c", "import sys; print('child read', repr(sys.stdin.read()))"])
os.write(sink, b"wire: " + os.read(source, 100))
"""


def imported(printed: str) -> set[str]:
    """Return the top-level modules in what ``-X importtime`` printed."""
    lines = (line.rpartition("|")[2].strip() for line in printed.splitlines() if "|" in line)
    return {name.partition(".")[0] for name in lines}


@pytest.fixture
def locked(db: str) -> apsw.Connection:
    """Return a connection that holds the store's write lock until it rolls back."""
    subprocess.run(
        [*SERVE, "--db", db], input=wire(call(1, "mimir_stats")), capture_output=True, timeout=PATIENCE_S, check=True
    )
    connection = apsw.Connection(db)
    connection.execute("BEGIN IMMEDIATE")
    return connection


# How it starts


def test_the_first_replies_need_no_library(db: str) -> None:
    asked = ("ping", "tools/list", "resources/list", "initialize")
    client = Client((sys.executable, "-X", "importtime", *SERVE[1:], "--db", db))
    for method in asked:
        client.ask(request(1, method))
    client.process.kill()
    before_the_replies = client.errors().partition("msgspec")[0]
    assert "mimir" in imported(before_the_replies)
    assert imported(before_the_replies).isdisjoint(HEAVY | LATER)
    client.close()


def test_a_whole_handshake_loads_nothing_heavy_and_stores_nothing(db: str) -> None:
    client = Client((sys.executable, "-X", "importtime", *SERVE[1:], "--db", db))
    client.ask(request(1, "initialize", protocolVersion="2025-06-18"))
    client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    client.ask(request(2, "tools/list"))
    assert client.end() == []
    loaded = imported(client.errors())
    assert "msgspec" in loaded
    assert loaded.isdisjoint(HEAVY | {"click", "rich"})
    assert not Path(db).exists()
    client.close()


@pytest.mark.parametrize("words", [("serve", "--db"), ("--db",), ("--mcp", "--offline", "--db")])
def test_the_server_starts_with_and_without_its_word(db: str, words: tuple[str, ...]) -> None:
    client = Client((sys.executable, "-m", "mimir", *words, db))
    assert client.use("mimir_health")["db_path"] == db
    client.close()


# What it prints


def test_only_replies_reach_standard_output() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOISY], input=b"line", capture_output=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout == b"wire: line"
    assert sorted(done.stderr.decode().splitlines()) == ["child read ''", "echoed", "printed"]


def test_each_request_gets_one_line_and_standard_error_stays_silent(run: Run) -> None:
    messages = [
        request(1, "initialize", protocolVersion="2025-06-18"),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        request(2, "tools/list"),
        remember(3, "k"),
        call(4, "mimir_recall", query="x"),
        call(5, "mimir_get_entity", id="none"),
        call(6, "mimir_unheard_of"),
        request(7, "ping"),
    ]
    done = run(b"".join(map(wire, messages)))
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(json.loads(line)["id"] for line in done.stdout.splitlines()) == [1, 2, 3, 4, 5, 6, 7]


def test_replies_reach_a_client_whose_pipe_does_not_block(db: str) -> None:
    from_server, to_test = os.pipe()
    os.set_blocking(to_test, False)
    sent = wire(request(1, "tools/list")) * 20
    process = subprocess.Popen([*SERVE, "--db", db], stdin=subprocess.PIPE, stdout=to_test, bufsize=0)
    os.close(to_test)
    assert process.stdin is not None
    with process.stdin, os.fdopen(from_server, "rb") as replies:
        process.stdin.write(sent)
        for _ in range(20):
            assert json.loads(replies.readline())["id"] == 1
    assert process.wait(PATIENCE_S) == 0


def test_log_lines_go_where_they_are_asked_to(start: Start, tmp_path: Path) -> None:
    talkative = start("--log-level", "debug")
    talkative.use("mimir_health")
    talkative.end()
    assert "mimir_health: answered in" in talkative.errors()
    log = tmp_path / "mimir.log"
    start("--log-level=info", "--log-file", str(log)).end()
    assert "stopping: end of input" in log.read_text(encoding="utf-8")


# How it ends


def test_the_end_of_input_ends_an_idle_server(server: Client) -> None:
    assert server.end() == []


def test_what_was_accepted_is_answered_after_the_end_of_input(run: Run) -> None:
    done = run(b"".join(wire(remember(number, f"k{number}")) for number in range(100)), "--embedding", "off")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == list(range(100))


@pytest.mark.slow
def test_calls_that_take_longer_together_than_one_may_are_all_answered_after_the_end_of_input(db: str) -> None:
    sent = b"".join(wire(remember(number, f"k{number}")) for number in range(2_000))
    command = [sys.executable, "-c", BOUNDED, "--db", db, "--embedding", "off"]
    done = subprocess.run(command, input=sent, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == list(range(2_000))


def test_a_call_that_never_ends_after_the_end_of_input_is_given_up(db: str, locked: apsw.Connection) -> None:
    command = [sys.executable, "-c", BOUNDED, "--db", db, "--embedding", "off"]
    done = subprocess.run(
        command, input=wire(remember(1, "never")), capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"1 were left" in done.stderr
    locked.close()


def test_a_call_that_runs_at_the_end_of_input_is_answered(server: Client, locked: apsw.Connection) -> None:
    server.send(remember(1, "slow"))
    server.ask(request("now it is read", "ping"))
    server.stdin.close()
    locked.close()
    (reply,) = server.rest()
    assert reply["result"]["structuredContent"]["action"] == "created"
    assert server.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_server_with_success(server: Client, number: signal.Signals) -> None:
    server.use("mimir_health")
    server.process.send_signal(number)
    assert server.process.wait(PATIENCE_S) == 0
    assert server.rest() == []


def test_a_call_that_runs_when_a_signal_comes_is_answered(server: Client, locked: apsw.Connection) -> None:
    server.send(remember(1, "slow"))
    server.ask(request("now it is read", "ping"))
    server.process.send_signal(signal.SIGTERM)
    locked.close()
    (reply,) = server.rest()
    assert reply["result"]["structuredContent"]["action"] == "created"
    assert server.process.wait(PATIENCE_S) == 0


def test_a_call_that_outlives_the_bound_after_a_signal_is_given_up(server: Client, locked: apsw.Connection) -> None:
    server.send(remember(1, "never"))
    server.ask(request("now it is read", "ping"))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE_S) == 1
    assert server.rest() == []
    locked.close()


def test_a_signal_ends_a_server_whose_replies_nobody_takes(db: str) -> None:
    process = subprocess.Popen([*SERVE, "--db", db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.write(wire(request(1, "ping")) + wire(request(2, "tools/list")) * 100)
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def test_a_client_that_stops_reading_ends_the_server_quietly(db: str) -> None:
    process = subprocess.Popen(
        [*SERVE, "--db", db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdin, process.stderr:
        process.stdin.write(wire(request(1, "ping")))
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(wire(remember(2, "unread")) + wire(call(3, "mimir_stats")))
        process.stdin.flush()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == b""


def test_the_death_of_the_parent_ends_a_server_whose_input_stays_open(db: str) -> None:
    from_test, to_server = os.pipe()
    from_server, to_test = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, WATCHFUL, db, str(from_test), str(to_test)],
        stdin=subprocess.PIPE,
        pass_fds=(from_test, to_test),
    )
    os.close(from_test)
    os.close(to_test)
    assert parent.stdin is not None
    with os.fdopen(from_server, "rb") as replies, os.fdopen(to_server, "wb", buffering=0) as requests:
        requests.write(wire(request(1, "ping")))
        assert json.loads(replies.readline())["id"] == 1
        parent.stdin.close()
        assert parent.wait(PATIENCE_S) == 0
        assert replies.read() == b""  # only the end of the process closes its output


def test_a_server_whose_parent_lives_goes_on_while_nothing_is_asked(db: str) -> None:
    client = Client((sys.executable, "-c", WATCHFUL, db))
    client.ask(request(1, "ping"))
    with pytest.raises(subprocess.TimeoutExpired):
        client.process.wait(0.5)  # five looks at the parent
    assert client.ask(request(2, "ping"))["result"] == {}
    client.close()


@pytest.mark.parametrize("redirection", ["<&-", ">&-"])
def test_a_closed_standard_stream_is_refused_in_words(redirection: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *SERVE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert b"is closed" in done.stderr


def test_a_server_without_standard_error_serves_all_the_same(db: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *SERVE, "--db", db],
        input=wire(remember(1, "k")),
        stdout=subprocess.PIPE,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["result"]["structuredContent"]["action"] == "created"


# What stops it from starting


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--unheard-of",), "--unheard-of"),
        (("serve",), "'serve'"),
        (("surprise",), "'surprise'"),
        (("--durability", "sometimes"), "'sometimes'"),
        (("--durability",), "needs a value"),
        (("--agent-id", "--read-only"), "--agent-id needs a value"),
        (("--busy-timeout-ms=soon",), "'soon'"),
        (("--read-only=maybe",), "'maybe'"),
        (("--tools", "core,recall"), "'core'"),
        (("--transport", "carrier-pigeon"), "'carrier-pigeon'"),
        (("--log-file", "/nowhere/at/all.log"), "/nowhere/at/all.log"),
        (("--encryption-key", ""), "--encryption-key is empty"),
        (("--mcp-token=",), "--mcp-token is empty"),
    ],
)
def test_a_wrong_flag_is_refused_with_one_line(run: Run, flags: tuple[str, ...], words: str) -> None:
    done = run(wire(request(1, "ping")), *flags)
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("mimir: ")
    assert words in line


@pytest.mark.parametrize("flag", sorted(NOT_YET))
def test_a_flag_that_would_do_nothing_is_refused(run: Run, flag: str, db: str) -> None:
    done = run(wire(remember(1, "k")), flag, "value")
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"{flag} is not available in version {mimir.__version__}" in done.stderr.decode()
    assert not Path(db).exists()


def test_the_only_transport_may_be_named(run: Run) -> None:
    assert run(wire(request(1, "ping")), "--transport", "stdio").returncode == 0

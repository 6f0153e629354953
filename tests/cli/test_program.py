"""The program as a whole: which way a line goes, how it ends, what it says on a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from mimir import Memory, __version__
from mimir.__main__ import command_word
from tests.cli.conftest import RunMimir

ON_WINDOWS = sys.platform == "win32"


def test_the_version_is_printed(process: RunMimir) -> None:
    assert process("--version") == (0, f"mimir {__version__}\n", "")


def test_help_lists_every_command_under_its_heading(process: RunMimir) -> None:
    ran = process("--help")
    assert (ran.status, ran.err) == (0, "")
    for part in ("Start here:", "  demo ", "Entity CRUD:", "  remember ", "Search & Retrieval:", "  semantic-search "):
        assert part in ran.out


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("", None),
        ("--db P", None),
        ("--db P serve", "serve"),
        ("--db=P remember a b", "remember"),
        ("--read-only recall x", "recall"),
        ("--transport stdio", None),
        ("--web --port 8767", None),
        ("--embedding off --db P stats", "stats"),
    ],
)
def test_the_command_is_the_first_word_that_is_no_flag_and_no_value(line: str, word: str | None) -> None:
    assert command_word(line.split()) == word


@pytest.mark.parametrize("line", ["--db {db}", "serve --db {db}", "--db {db} serve", "--transport stdio --db {db}"])
def test_every_spelling_of_serve_answers_on_standard_output(process: RunMimir, db: str, line: str) -> None:
    ping = '{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n'
    ran = process(*line.format(db=db).split(), stdin=ping)
    assert ran == (0, '{"jsonrpc":"2.0","id":1,"result":{}}\n', "")


def test_serving_does_not_load_the_command_line_library(db: str) -> None:
    arguments = [sys.executable, "-X", "importtime", "-m", "mimir", "--db", db]
    ran = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "mimir.cli.serve" in loaded
    assert not {"click", "rich"} & loaded


def test_json_does_not_load_the_table_library(db: str) -> None:
    code = "import sys; from mimir.__main__ import main; main(); print('rich' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, "stats", "--json", "--db", db], capture_output=True, text=True, check=True
    )
    assert ran.stdout.endswith("False\n")


def test_help_of_serve_names_the_server_flags(process: RunMimir) -> None:
    ran = process("serve", "--help")
    assert ran.status == 0
    for flag in ("--db", "--durability", "--read-only", "--tools", "--log-file"):
        assert flag in ran.out


def test_a_store_is_warned_about_when_two_could_be_meant(process: RunMimir, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for path in (home / ".mimir" / "data" / "mimir.db", home / "mimir.db"):
        Memory.open(str(path), embedding="off").close()
    ran = process("stats", "--json")
    assert ran.status == 0
    assert "several stores exist" in ran.err
    assert str(home / "mimir.db") in ran.err
    assert process("stats", "--json", "--db", str(home / "mimir.db")).err == ""


def test_the_environment_names_the_store_without_a_warning(
    process: RunMimir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    for path in (home / ".mimir" / "data" / "mimir.db", home / "mimir.db"):
        Memory.open(str(path), embedding="off").close()
    monkeypatch.setenv("MIMIR_DB_PATH", "~/mimir.db")
    ran = process("health", "--json")
    assert (ran.status, ran.err) == (0, "")
    assert str(home / "mimir.db") in ran.out


def test_the_default_store_is_made_with_its_folders(process: RunMimir, tmp_path: Path) -> None:
    assert process("remember", "note", "a", "text").status == 0
    assert (tmp_path / "home" / ".mimir" / "data" / "mimir.db").is_file()


def test_text_that_is_no_utf8_on_standard_input_is_refused(db: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "mimir", "remember", "note", "a", "-", "--db", db],
        input=b"caf\xe9",
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 2
    assert b"not UTF-8: byte 3" in ran.stderr


@pytest.mark.skipif(ON_WINDOWS, reason="arguments are Unicode there")
def test_an_argument_that_is_no_utf8_is_refused_without_a_traceback(db: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "mimir", "remember", b"caf\xe9", "a", "text", "--db", db],
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith(b"mimir: 'category' holds half of a surrogate pair")


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["table", "json"])
def test_a_reader_that_goes_away_ends_the_program_quietly(db: str, form: list[str]) -> None:
    with Memory.open(db, embedding="off") as memory:
        memory.remember_many(
            {"category": "c", "key": f"k{n}", "body_json": {"text": "word " * 200}} for n in range(300)
        )
    running = subprocess.Popen(
        [sys.executable, "-m", "mimir", "recall", "", "--limit", "300", *form, "--db", db],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    assert running.stdout.read(1)
    running.stdout.close()
    _, errors = running.communicate(timeout=60)
    assert errors == b""
    assert running.returncode in (0, 1)  # 0 where the system took the rest in one piece


def opened_once_read(path: Path, running: subprocess.Popen[bytes]) -> BinaryIO:
    """Open a named pipe for writing as soon as a program waits for what is in it."""
    while True:
        assert running.poll() is None, "the program ended before it read the file"
        time.sleep(0.01)
        with contextlib.suppress(OSError):  # while nobody reads
            return os.fdopen(os.open(path, os.O_WRONLY | os.O_NONBLOCK), "wb")


@pytest.mark.skipif(ON_WINDOWS, reason="interrupts go to a whole console there")
def test_an_interrupt_ends_the_program_with_130_and_no_traceback(db: str, tmp_path: Path) -> None:
    never_written = tmp_path / "key"
    os.mkfifo(never_written)
    running = subprocess.Popen(
        [sys.executable, "-m", "mimir", "recall", "tea", "--db", db, "--encryption-key", str(never_written)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with opened_once_read(never_written, running):
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert b"Traceback" not in errors


@pytest.mark.skipif(ON_WINDOWS, reason="has no pseudo-terminals in the standard library")
def test_colours_are_for_terminals_and_NO_COLOR_takes_them_away(db: str) -> None:  # noqa: N802 - the variable's name
    with Memory.open(db, embedding="off") as memory:
        memory.remember("note", "a", {"content": "text"})
    colour = re.compile(rb"\x1b\[[0-9;]*3[0-7]m")
    arguments = ["recall", "", "--db", db]
    assert colour.search(on_terminal(arguments))
    assert not colour.search(on_terminal(arguments, NO_COLOR="1"))
    piped = subprocess.run([sys.executable, "-m", "mimir", *arguments], capture_output=True, check=True)
    assert b"\x1b" not in piped.stdout


@pytest.mark.skipif(ON_WINDOWS, reason="has no pseudo-terminals in the standard library")
def test_a_server_started_on_a_terminal_says_what_it_waits_for() -> None:
    main_end, program_end = os.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "mimir"], stdin=program_end, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.close(program_end)
    assert running.stderr is not None
    assert running.stderr.readline().startswith(b"mimir: serving MCP")
    os.write(main_end, b'{"jsonrpc":"2.0","id":7,"method":"ping"}\n\x04')
    assert running.stdout is not None
    assert running.stdout.readline() == b'{"jsonrpc":"2.0","id":7,"result":{}}\n'
    running.communicate(timeout=60)
    os.close(main_end)
    assert running.returncode == 0


def on_terminal(arguments: list[str], **environment: str) -> bytes:
    """Return what the program prints on a pseudo-terminal."""
    main_end, program_end = os.openpty()
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    running = subprocess.Popen(
        [sys.executable, "-m", "mimir", *arguments],
        stdin=program_end,
        stdout=program_end,
        stderr=program_end,
        env={**plain, "TERM": "xterm-256color", **environment},
    )
    os.close(program_end)
    shown = b""
    while True:
        try:
            part = os.read(main_end, 65_536)
        except OSError:  # Linux reports the end of a terminal so
            break
        if not part:
            break
        shown += part
    os.close(main_end)
    assert running.wait(timeout=60) == 0
    return shown

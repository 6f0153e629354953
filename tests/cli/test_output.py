"""Words for people: times, sizes, bodies."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from mimir.catalogue import load_catalogue
from mimir.cli.output import as_commands, distance, moment, printable, read_moment, readable, size
from mimir.cli.reference import cli_reference
from mimir.config import OPTIONS
from mimir.errors import InvalidInput


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7_300, "2 hours ago"),
        (86_400 * 3, "3 days ago"),
        (86_400 * 70, "2 months ago"),
        (86_400 * 800, "2 years ago"),
        (-86_400 * 2, "in 2 days"),
    ],
)
def test_a_distance_in_time_is_told_in_its_largest_unit(seconds: float, words: str) -> None:
    assert distance(seconds) == words


def test_an_instant_has_date_time_and_distance() -> None:
    shown = moment(1_750_000_000_000, now_ms=1_750_000_000_000 + 3 * 86_400_000)
    assert re.fullmatch(r"2025-06-1[45] \d\d:\d\d \(3 days ago\)", shown)


def test_an_instant_beyond_the_calendar_is_shown_as_a_number() -> None:
    assert moment(1 << 62) == f"{1 << 62} ms"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1750000000000", 1_750_000_000_000),
        ("2026-01-31T12:00:00+00:00", int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)),
        ("2026-01-31T12:00Z", int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)),
        ("2026-01-31", int(datetime(2026, 1, 31).astimezone().timestamp() * 1000)),
        ("-5", -5),
    ],
)
def test_an_instant_is_read_from_a_number_or_a_date(text: str, expected: int) -> None:
    assert read_moment(text) == expected


def test_what_is_neither_is_refused() -> None:
    with pytest.raises(InvalidInput):
        read_moment("soon")


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")])
def test_a_size_is_told_in_a_unit_that_fits(count: int, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"content": "plain"}', "plain"),
        ('"only text"', "only text"),
        ('{"a": 1, "b": [2, {"c": 3}], "ok": true}', 'a: 1\nb: [2,{"c":3}]\nok: yes'),
        ('{"tags": ["x", "y"]}', "tags: x, y"),
        ("[1, 2]", "[1, 2]"),
        ("no json", "no json"),
    ],
)
def test_a_body_is_readable(body: str, text: str) -> None:
    assert readable(body) == text


def test_control_characters_become_visible_and_line_breaks_stay() -> None:
    assert printable("a\x1b[31m\tb\r\nc\x9b\u202ed") == "a\ufffd[31m\tb\nc\ufffd\ufffdd"


def test_names_of_tools_become_commands() -> None:
    assert as_commands("see mimir_recall_when, not mimir_as_of.") == "see mimir recall-when, not mimir as-of."


def test_the_reference_names_every_command_parameter_and_setting() -> None:
    page = cli_reference()
    for name, entry in load_catalogue().items():
        section = page.split(f"\n### {name.replace('_', '-')}\n")[1].split("\n### ")[0]
        for parameter, note in entry["parameters"].items():
            assert (parameter.upper() if note.get("positional") else "--" + parameter.replace("_", "-")) in section
    for word in ("demo", "doctor", "serve", "tools", "write", "state-digest"):
        assert f"\n### {word}\n" in page
    for option in OPTIONS:
        assert f"| `{option.flag}` | " in page


def test_the_reference_is_the_same_on_every_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    page = cli_reference()
    monkeypatch.setenv("COLUMNS", "40")
    assert cli_reference() == page

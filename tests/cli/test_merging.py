"""Edits of configuration files: the entry goes in and out, and nothing else moves."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mimir.cli.merging import Format, find, put, restored, take
from mimir.cli.merging.document import Change
from mimir.errors import InvalidInput

ENTRY = {"command": '/opt/a "b"\\mimir', "args": ["serve", "--db", "/home/é/m.db", "--tools", "core"]}

names = st.sampled_from(["theme", "servers", "mcpServers", "mcp_servers", "a b", 'q"uote', "ünï", "x-1", "hooks"])
words = st.text(st.sampled_from("abc é\"\\/#{}[],:'*-"), max_size=8)
scalars = st.one_of(st.booleans(), st.integers(-(10**6), 10**6), words)
values = st.recursive(
    scalars,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(names, below, max_size=3)),
    max_leaves=6,
)
documents = st.dictionaries(names, values, max_size=4)
servers = st.dictionaries(st.sampled_from(["time", "git", "my server"]), st.just({"command": "uvx"}), max_size=2)


def change_at(*path: str) -> Change:
    return Change(path=path, value=ENTRY)


@st.composite
def commented_json(draw: st.DrawFn) -> tuple[str, Any]:
    """JSON with comments, odd spaces, trailing commas and either line break, with the value it stands for."""
    value = draw(documents)
    value["mcpServers"] = draw(servers)
    line_break = draw(st.sampled_from(["\n", "\r\n"]))
    gaps = st.sampled_from(["", " ", "\t", line_break, f' // , }} "{line_break}', "/* { */", f"{line_break}    "])
    has_commas = draw(st.booleans())

    def written(part: object) -> str:
        if isinstance(part, dict):
            parts = [
                f"{draw(gaps)}{json.dumps(name)}{draw(gaps)}:{draw(gaps)}{written(below)}{draw(gaps)}"
                for name, below in part.items()
            ]
        elif isinstance(part, list):
            parts = [f"{draw(gaps)}{written(below)}{draw(gaps)}" for below in part]
        else:
            return json.dumps(part, ensure_ascii=False)
        opening, closing = "{}" if isinstance(part, dict) else "[]"
        last = "," if parts and has_commas else ""
        return opening + ",".join(parts) + last + draw(gaps) + closing

    if draw(st.booleans()):
        del value["mcpServers"]
    bom = draw(st.sampled_from(["", "\ufeff"]))
    return bom + draw(gaps) + written(value) + draw(gaps), value


@st.composite
def commented_toml(draw: st.DrawFn) -> str:
    lines = [
        "# head",
        'model = "o" # kept',
        "",
        "[profiles.x]",
        "list = [",
        "  [1, 2],",
        "]",
        'text = """',
        "[no]",
        '"""',
    ]
    lines = lines[: draw(st.sampled_from([0, 1, 3, 5, 10]))] if draw(st.booleans()) else lines
    if lines[-1:] == ["list = ["]:
        lines.pop()
    for name in draw(servers):
        lines += [f"[mcp_servers.{json.dumps(name)}]  # one", 'command = "uvx"', "", "# about the next"]
    text = draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    return (
        draw(st.sampled_from(["", "\ufeff"]))
        + text
        + draw(st.sampled_from(["", "\n", "\n\n"]) if lines else st.just(""))
    )


@st.composite
def commented_yaml(draw: st.DrawFn) -> str:
    lines = draw(st.lists(st.sampled_from(["# note", "", "model: x  # kept", "list:", "- a"]), max_size=2, unique=True))
    lines = [line for line in lines if line not in {"list:", "- a"}]
    form = draw(st.sampled_from(["none", "block", "flow", "null"]))
    if form == "block":
        margin = draw(st.sampled_from(["  ", "    "]))
        lines.append("mcp_servers:  # these")
        for name in ["time", *draw(servers)][: draw(st.integers(1, 3))]:
            lines += [f"{margin}# about", f"{margin}{json.dumps(name)}:", f"{margin}  command: uvx"]
    elif form == "flow":
        lines.append(draw(st.sampled_from(["mcp_servers: {}", 'mcp_servers: {"time": {command: uvx}}  # one'])))
    elif form == "null":
        lines.append("mcp_servers:")
    lines += draw(st.sampled_from([[], ["", "other:", "  - 1"], ["text: |", "  mcp_servers:", "    mimir: no"]]))
    text = draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    return draw(st.sampled_from(["", "\ufeff"])) + text + draw(st.sampled_from(["", "\n"]) if lines else st.just(""))


def assert_in_and_out(format_: Format, text: str, changes: Sequence[Change]) -> str:
    """Put entries in twice and take them out; return the text between."""
    with_entries = text
    for change in changes:
        with_entries = put(format_, with_entries, change)
    for change in changes:
        assert put(format_, with_entries, change) == with_entries
        assert find(format_, with_entries, change) == change.value
    assert restored(format_, with_entries, changes, text) == text
    return with_entries


@given(commented_json())
def test_json_with_comments_gets_the_entry_and_is_restored_byte_for_byte(document: tuple[str, Any]) -> None:
    text, value = document
    hook = Change(path=("hooks", "SessionStart"), value={"command": "mimir x"}, mark="mimir")
    is_free = not isinstance(value.get("hooks", {}), dict) or "SessionStart" in value.get("hooks", {})
    changes = [change_at("mcpServers", "mimir"), *([] if is_free else [hook])]
    after = find("jsonc", assert_in_and_out("jsonc", text, changes), change_at())
    value.setdefault("mcpServers", {})["mimir"] = ENTRY
    if not is_free:
        value.setdefault("hooks", {})["SessionStart"] = [hook.value]
    assert after == value


@given(commented_json())
def test_every_line_of_json_is_still_there_with_the_entry_in_it(document: tuple[str, Any]) -> None:
    text, _ = document
    rest = iter(put("jsonc", text, change_at("mcpServers", "mimir")))
    assert all(character in rest for character in text)


@given(commented_toml())
def test_toml_gets_the_entry_and_is_restored_byte_for_byte(text: str) -> None:
    after = tomllib.loads(assert_in_and_out("toml", text, [change_at("mcp_servers", "mimir")]).lstrip("\ufeff"))
    expected = tomllib.loads(text.lstrip("\ufeff"))
    expected.setdefault("mcp_servers", {})["mimir"] = ENTRY
    assert after == expected


def test_an_entry_of_toml_is_found_among_a_thousand_tables() -> None:
    tables = "".join(f'[projects."/home/me/{n}"]\ntrust_level = "trusted"\n\n' for n in range(1_000))
    change = change_at("mcp_servers", "mimir")
    text = f"{tables}{put('toml', '', change)}"
    other = put("toml", text, Change(path=change.path, value={"command": "other"}))
    assert tomllib.loads(other)["mcp_servers"]["mimir"]["command"] == "other"
    assert tomllib.loads(restored("toml", other, [change], None) or "") == tomllib.loads(tables)


@pytest.mark.parametrize(
    "entry",
    [
        '[mcp_servers]\nmimir = { command = "m" }\n',
        '[mcp_servers]\nmimir.command = "m"\n',
        '[ "mcp_servers" . mimir ] # ours\ncommand = "m"\n',
        '[mcp_servers.mimir.env]\nA = "b"\n',
    ],
)
def test_an_entry_of_toml_written_in_another_way_is_taken_out(entry: str) -> None:
    text = f'text = """\n[mcp_servers.mimir]\n"""\n\n{entry}\n[last]\na = 1\n'
    expected = {"text": "[mcp_servers.mimir]\n", "last": {"a": 1}}
    assert tomllib.loads(take("toml", text, change_at("mcp_servers", "mimir"), None)) == expected


@given(commented_yaml())
def test_yaml_gets_the_entry_and_is_restored_byte_for_byte(text: str) -> None:
    after = yaml.safe_load(assert_in_and_out("yaml", text, [change_at("mcp_servers", "mimir")]))
    expected = yaml.safe_load(text) or {}
    expected["mcp_servers"] = {**(expected.get("mcp_servers") or {}), "mimir": ENTRY}
    assert after == expected


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_text_at_the_end_of_yaml_gets_no_line_break_from_the_entry(mark: str) -> None:
    text = f"{mark}# head\ntext: |\n  last"
    after = put("yaml", text, change_at("mcp_servers", "mimir"))
    assert yaml.safe_load(after) == {"text": "last", "mcp_servers": {"mimir": ENTRY}}
    assert restored("yaml", after, [change_at("mcp_servers", "mimir")], text) == text


@given(st.text(st.sampled_from("a# \n"), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_a_note_goes_into_a_text_and_out_of_it(text: str, line_break: str) -> None:
    text = text.replace("\n", line_break)
    note = Change(path=("note",), value="<!-- mimir: begin -->\nUse it.\n<!-- mimir: end -->")
    assert assert_in_and_out("markdown", text, [note]).startswith(text)


@pytest.mark.parametrize(
    ("format_", "text", "added", "path"),
    [
        ("jsonc", '{\n  "a": 1 // one\n}\n', ('"a": 1', '"b": 2,\n  "a": 1'), ("mcpServers", "mimir")),
        ("toml", "a = 1\n\n[t]\nb = 2\n", ("b = 2", "b = 3\nc = [1]"), ("mcp_servers", "mimir")),
        ("yaml", "a: 1\nmcp_servers:\n  # t\n  t:\n    command: x\n", ("a: 1", "a: 2\nb: 3"), ("mcp_servers", "mimir")),
    ],
)
def test_what_was_changed_after_the_entry_came_in_stays_when_it_goes(
    format_: Format, text: str, added: tuple[str, str], path: tuple[str, str]
) -> None:
    changed = put(format_, text, change_at(*path)).replace(*added)
    assert restored(format_, changed, [change_at(*path)], text) == text.replace(*added)


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("jsonc", '{"mcpServers": {"mimir": {"command": "old", "args": [], "disabled": true}}}'),
        ("toml", '[mcp_servers.mimir]\ncommand = "old"\ndisabled = true\n\n[mcp_servers.mimir.env]\nA = "b"\n# end\n'),
        ("yaml", "mcp_servers:\n  mimir:\n    command: old\n    disabled: true\n"),
    ],
)
def test_what_somebody_added_to_the_entry_survives_a_new_command(format_: Format, text: str) -> None:
    change = change_at("mcpServers" if format_ == "jsonc" else "mcp_servers", "mimir")
    after = find(format_, put(format_, text, change), change)
    assert {name: after[name] for name in ENTRY} == ENTRY
    assert after["disabled"] is True
    assert find(format_, take(format_, put(format_, text, change), change, text), change) is None


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("json", '{"a": 1, // no comments here\n}'),
        ("jsonc", '{"a": 1'),
        ("jsonc", '{"a": 1} trailing'),
        ("jsonc", "[1]"),
        ("jsonc", '{"mcpServers": []}'),
        ("jsonc", '{"mcpServers": {}, "mcpServers": {}}'),
        ("jsonc", "[" * 100_000),
        ("toml", "a = "),
        ("toml", 'mcpServers = "x"'),
        ("toml", "mcpServers = { a = { command = 'x' } }"),
        ("yaml", "a: [1"),
        ("yaml", "- a"),
        ("yaml", "{a: 1}"),
        ("yaml", "a: &x {b: 1}\nmcpServers: *x\n"),
        ("yaml", "a: 1\n---\nb: 2\n"),
    ],
)
def test_a_text_that_cannot_take_the_entry_is_refused(format_: Format, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        put(format_, text, change_at("mcpServers", "mimir"))
    assert refused.value.hint


def test_an_entry_stands_in_the_style_of_its_neighbours() -> None:
    text = '{\n\t"mcpServers": {\n\t\t"time": {} // t\n\t}\n}'
    assert put("jsonc", text, Change(path=("mcpServers", "mimir"), value={"command": "m"})) == (
        '{\n\t"mcpServers": {\n\t\t"time": {}, // t\n\t\t"mimir": {\n\t\t\t"command": "m"\n\t\t}\n\t}\n}'
    )

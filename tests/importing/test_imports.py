"""Imports: an export of each program comes in whole, once, and is found again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from mimir import InvalidInput, Memory
from mimir.config import environment_for_child
from mimir.importing.formats import FORMATS
from mimir.model import Hit
from mimir.operations.importing import Imported
from tests.conftest import OpenMemory
from tests.importing.exports import CONVERSATIONS, KNOWLEDGE, NOISE, START, Said, conversations, lines, zipped

EXPORTS: Final = CONVERSATIONS | KNOWLEDGE
TALKS: Final = conversations()
TURNS: Final = [turn for said in TALKS.values() for turn in said]
QUESTIONS: Final = (
    ("how are items assigned to a target prefixed with an asterisk", "starred"),
    ("when does an assert statement raise an exception", "assert"),
    ("what must an async for iterate over", "async for"),
    ("which names are looked up as attribute references", "attribute"),
    ("what does augmented assignment do in place", "in-place"),
    ("which operator intends matrix multiplication", "matrix multiplication"),
    ("what does the modulo operator yield", "modulo"),
    ("operands of the shifting operations", "shift"),
    ("bitwise AND of integer arguments", "bitwise AND"),
    ("how does the debugger set a breakpoint at a line", "breakpoint"),
)


@pytest.fixture
def memory(keyword_memory: Memory) -> Memory:
    return keyword_memory


def everything(memory: Memory) -> list[Hit]:
    return list(memory.recall("", limit=2_000, reinforce=False).items)


def body(hit: Hit) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(hit.body_json)
    return read


def turn_of(hit: Hit) -> str:
    """Return what was said first in a turn, before tools came into it."""
    content: str = body(hit)["content"]
    return content.partition("\n")[0]


# every format


@pytest.fixture(scope="module", params=EXPORTS)
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Memory]]:
    """Return the name of a format and a memory that holds an export of it."""
    folder = tmp_path_factory.mktemp("imported")
    with Memory.open(str(folder / "memory.db"), embedding="off") as memory:
        memory.import_from(str(EXPORTS[request.param](folder, TALKS)))
        yield request.param, memory


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_comes_in_whole_and_once(memory: Memory, tmp_path: Path, name: str) -> None:
    export = EXPORTS[name](tmp_path, TALKS)
    assert len(TURNS) >= 500
    expected = len(TURNS) + (name == "mem0")
    links = len(TURNS) - 1 if name in ("memory-server", "basic-memory") else 0
    counts = {
        "format": name,
        "files": len(TURNS) if name == "basic-memory" else len(TALKS) if export.is_dir() else 1,
        "conversations": len(TALKS) if name in CONVERSATIONS else 0,
        "updated": 0,
        "failed": 0,
        "errors": (),
    }
    fresh = Imported(created=expected, unchanged=0, links=links, dry_run=True, **counts)  # type: ignore[arg-type]
    assert memory.import_from(str(export), dry_run=True) == fresh
    assert memory.stats().total_entities == 0

    known = Imported(created=0, unchanged=expected, links=0, dry_run=False, **counts)  # type: ignore[arg-type]
    assert memory.import_from(str(export)) == Imported(**(vars_of(fresh) | {"dry_run": False}))
    before = vars_of(memory.stats())
    assert memory.import_from(str(export), format=name) == known
    assert vars_of(memory.stats()) == before

    texts = "\n".join(hit.body_json for hit in everything(memory))
    assert texts.count("\n") == expected - 1
    for turn in TURNS:
        assert texts.count(json.dumps(turn.text, ensure_ascii=False)[1:-1]) == 1


def test_ten_questions_are_answered_from_an_export(imported: tuple[str, Memory]) -> None:
    _, memory = imported
    for question, word in QUESTIONS:
        hits = memory.recall(question, limit=5).items
        assert any(word in hit.evidence for hit in hits), question


@pytest.mark.parametrize("imported", CONVERSATIONS, indirect=True)
def test_turns_keep_speaker_time_order_and_provenance(imported: tuple[str, Memory]) -> None:
    name, memory = imported
    hits = sorted(everything(memory), key=lambda hit: (hit.topic_path, hit.valid_from_unix_ms))
    assert {(hit.category, hit.type, hit.source) for hit in hits} == {("transcript", "transcript", f"import:{name}")}
    assert len({hit.topic_path for hit in hits}) == len(TALKS)
    assert all(hit.topic_path.startswith(f"transcript/{name}/") for hit in hits)
    assert [(body(hit)["speaker"], turn_of(hit)) for hit in hits] == [(turn.speaker, turn.text) for turn in TURNS]
    assert [hit.valid_from_unix_ms for hit in hits] == [int(turn.at.timestamp() * 1000) for turn in TURNS]
    assert [hit.created_at_unix_ms for hit in hits] == [hit.valid_from_unix_ms for hit in hits]
    assert body(hits[0])["at"] == f"{START:%Y-%m-%dT%H:%M:%SZ}"
    assert all(body(hit)["source"] for hit in hits)
    if name != "codex":
        assert [body(hit)["conversation"] for hit in hits] == [title for title, said in TALKS.items() for _ in said]


@pytest.mark.parametrize("imported", CONVERSATIONS, indirect=True)
def test_noise_of_programs_stays_out(imported: tuple[str, Memory]) -> None:
    name, memory = imported
    texts = "\n".join(hit.body_json for hit in everything(memory))
    for noise in (NOISE[:400], "Never say this", "Caveat", "Look into it", "Thrown away", "environment_context", "Hm."):
        assert noise not in texts
    if name in ("claude-code", "codex"):
        assert "[Bash] command: ls" in texts or "[shell]" in texts
        assert f"({len(NOISE) - 300} more characters)" in texts


def test_a_conversation_that_went_on_gets_only_its_new_turns(memory: Memory, tmp_path: Path) -> None:
    part, rest = ({title: said[:size] for title, said in list(TALKS.items())[:2]} for size in (20, 26))
    for name in CONVERSATIONS:
        (tmp_path / name).mkdir()
        memory.import_from(str(EXPORTS[name](tmp_path / name, part)), format=name)
        result = memory.import_from(str(EXPORTS[name](tmp_path / name, rest)), format=name)
        assert (result.created, result.updated, result.unchanged) == (12, 0, 40)


def test_what_was_forgotten_since_stays_forgotten(memory: Memory, tmp_path: Path) -> None:
    export = str(EXPORTS["claude"](tmp_path, {"t": TURNS[:10]}))
    memory.import_from(export)
    hit = everything(memory)[0]
    memory.forget(hit.category, hit.key)
    assert memory.import_from(export).unchanged == 10
    assert hit.id not in {one.id for one in everything(memory)}


def test_an_import_may_go_into_a_workspace(memory: Memory, tmp_path: Path) -> None:
    export = str(EXPORTS["memory-server"](tmp_path, {"t": TURNS[:10]}))
    memory.import_from(export, workspace_hash="w")
    assert {hit.workspace_hash for hit in everything(memory)} == {"w"}
    assert memory.import_from(export).created == 10


def test_a_secret_in_a_name_is_told_by_that_name_without_it(open_memory: OpenMemory, tmp_path: Path, db: str) -> None:
    token = "gh" + "p_" + "aB3dE5fG7hJ9kL2mN4pQ6rS8tU1vW3xY5zA7"
    entities = [
        {"type": "entity", "name": name, "entityType": "t", "observations": ["o"]} for name in ("a", "b", token)
    ]
    path = tmp_path / "memory.jsonl"
    lines(path, [*entities, {"type": "relation", "from": "a", "to": "b", "relationType": token}])
    memory = open_memory(secrets="mask")
    result = memory.import_from(str(path))
    assert (result.created, result.links, result.failed) == (2, 0, 2)
    assert all("GitHub token" in error and token not in error for error in result.errors)
    memory.close()
    assert token.lower().encode() not in Path(db).read_bytes().lower()


def test_secrets_are_treated_as_the_settings_say(open_memory: OpenMemory, tmp_path: Path) -> None:
    talk = {"t": [Said("user", "password: Xk9#mmQ2ppLw41", START), Said("assistant", "Thanks.", START)]}
    export = str(EXPORTS["claude"](tmp_path, talk))
    refusing = open_memory(secrets="refuse").import_from(export)
    assert (refusing.created, refusing.failed) == (1, 1)
    masking = open_memory(secrets="mask").import_from(export)
    assert (masking.created, masking.unchanged) == (1, 1)
    assert masking.warnings
    assert open_memory(secrets="mask").import_from(export).unchanged == 2


# links and fields of what other memories know


def test_relations_become_links(memory: Memory, tmp_path: Path) -> None:
    memory.import_from(str(KNOWLEDGE["memory-server"](tmp_path, {"t": TURNS[:3]})))
    walk = memory.traverse("concept", "Thing_0", max_depth=5)
    assert [step.relationship for step in walk.traversed] == ["precedes", "precedes"]


def test_notes_keep_tags_and_links_by_title_permalink_or_path(memory: Memory, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "Coffee.md").write_text("---\ntitle: Coffee Brewing\ntags: [drinks\n---\n", encoding="utf-8")
    (notes / "a.md").write_text(
        "---\ntitle: Beans\npermalink: things/beans\ntags: food, drinks\n---\n\n- [taste] Sweet #brown (from memory)\n"
        "- requires [[Water]]\n- [[b]]\nSee [[things/beans|these]] and [[Nowhere]].\n",
        encoding="utf-8",
    )
    (notes / "b.md").write_text("# Plain\n\n## Relations\n- made of [[Beans#Part]]\n", encoding="utf-8")
    (notes / "w.md").write_text("---\ntitle: Water\ntype: liquid\npermalink: w\n---\nWet.\n", encoding="utf-8")
    result = memory.import_from(str(notes))
    assert (result.created, result.links, result.failed) == (3, 3, 2)
    assert "front matter" in result.errors[0]
    assert "there is no 'Nowhere' in this import" in result.errors[1]
    hits = {hit.key: hit for hit in everything(memory)}
    assert hits["things/beans"].tags == ("food", "drinks", "brown")
    assert hits["w"].category == "liquid"
    assert {step.relationship for step in memory.traverse("note", "things/beans").traversed} >= {
        "requires",
        "relates_to",
    }


# what is not as it should be


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", ["", "\n\n", "[]", "{}", "null", "[1, [2]]", '{"a": ', "\0\0", "[" * 100_000, '"x"'])
def test_what_is_in_no_format_is_refused_or_brings_nothing(
    memory: Memory, tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / "export.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match="in a known format") as raised:
        memory.import_from(str(path))
    assert "claude-code, codex" in raised.value.hint
    result = memory.import_from(str(path), format=name)
    # To Basic Memory every text is a note.
    assert result.created == (name == "basic-memory" and bool(text.strip()))


def test_broken_lines_are_named_and_the_rest_is_read(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    lines(path, [{"type": "user", "sessionId": "s", "uuid": "u", "message": {"content": "hello there"}}])
    path.write_bytes(path.read_bytes() + b'{"type": "user"}\n[1]\n{"type": "\xaa"}\n{"type": "us')
    result = memory.import_from(str(path))
    assert (result.created, result.failed) == (1, 4)
    assert [error.partition(" ")[0] for error in result.errors] == [f"s.jsonl:{number}:" for number in range(2, 6)]


def test_trees_with_circles_and_holes_are_read_as_far_as_they_go(memory: Memory, tmp_path: Path) -> None:
    def node(parent: str | None, text: object) -> dict[str, object]:
        message = {"author": {"role": "user"}, "create_time": 1e9, "content": {"content_type": "text", "parts": [text]}}
        return {"parent": parent, "message": message}

    nodes: dict[str, object] = {"a": node("b", "one"), "b": node("a", "two"), "c": node("gone", {"x": 1}), "d": 5}
    told = [
        {"title": "t", "id": "1", "mapping": nodes, "current_node": "a"},
        {"title": "t", "id": "2", "mapping": nodes, "current_node": "gone"},
        {"title": 5, "id": "3", "mapping": [], "current_node": None},
        {"mapping": {}},
    ]
    path = zipped(tmp_path / "e.zip", {"conversations.json": told})
    result = memory.import_from(str(path))
    assert (result.created, result.failed) == (4, 1)


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06", b"nothing", b"PK\x03\x04" + bytes(40)])
def test_an_archive_that_is_none_is_refused(memory: Memory, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "e.zip").write_bytes(data)
    with pytest.raises(InvalidInput):
        memory.import_from(str(tmp_path / "e.zip"))


def test_an_archive_that_unfolds_too_far_is_refused(open_memory: OpenMemory, tmp_path: Path) -> None:
    path = zipped(tmp_path / "e.zip", {"conversations.json": " " * 2_000_000})
    memory = open_memory(max_ingest_bytes=1_000_000)
    result = memory.import_from(str(path), format="chatgpt")
    assert (result.created, result.failed) == (0, 1)
    assert "MIMIR_MAX_INGEST_BYTES" in result.errors[0]


def test_two_things_of_one_name_are_told(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "memory.jsonl"
    entity = {"type": "entity", "name": "Ann", "entityType": "person"}
    lines(path, [{**entity, "observations": ["Tall."]}, {**entity, "observations": ["Small."]}])
    result = memory.import_from(str(path))
    assert (result.created, result.failed) == (1, 1)
    assert "person/Ann" in result.errors[0]


def test_links_inside_a_folder_are_not_followed(memory: Memory, tmp_path: Path) -> None:
    export = EXPORTS["claude-code"](tmp_path / "in", {"t": TURNS[:10]})
    (tmp_path / "out.jsonl").write_text("{}", encoding="utf-8")
    try:
        (export / "link.jsonl").symlink_to(tmp_path / "out.jsonl")
    except OSError:
        pytest.skip("links need a privilege here")
    assert memory.import_from(str(export)).files == 1


@pytest.mark.parametrize(
    ("path", "format"), [("gone.json", "auto"), ("", "auto"), ("x", "word-perfect"), ("x\0", "auto")]
)
def test_a_path_or_format_that_is_not_there_is_named(memory: Memory, tmp_path: Path, path: str, format: str) -> None:
    with pytest.raises(InvalidInput):
        memory.import_from(str(tmp_path / path) if path else "", format=format)


# the command


@pytest.fixture
def command(db: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mimir", "import", *words, "--db", db],
            capture_output=True,
            text=True,
            check=False,
            env=environment_for_child(MIMIR_EMBEDDING="off"),
        )

    return run


def test_the_command_imports_with_and_without_a_format(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    export = str(EXPORTS["chatgpt"](tmp_path, {"t": TURNS[:10]}))
    dry = json.loads(command("chatgpt", export, "--dry-run", "--json").stdout)
    assert (dry["created"], dry["dry_run"]) == (10, True)
    assert json.loads(command(export, "--workspace", "w", "--json").stdout)["created"] == 10
    shown = command("chatgpt", export, "--workspace", "w")
    assert "unchanged" in shown.stdout.lower()
    assert shown.returncode == 0


def test_the_command_says_what_is_wrong(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command(str(tmp_path / "gone.zip"))
    assert done.returncode == 2
    assert "gone.zip" in done.stderr
    assert "Traceback" not in done.stderr
    assert "PATH" in command("--help").stdout


def vars_of(struct: Any) -> dict[str, Any]:  # noqa: ANN401 - any result
    return {name: getattr(struct, name) for name in struct.__struct_fields__}

"""Ingestion: documents and folders become memories, unchanged ones leave no trace, unreadable ones are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import docx
import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from mimir import InvalidInput, Memory, MimirError, StorageFailure
from mimir.config import environment_for_child
from mimir.documents import TEXT_FORMATS
from mimir.model import Hit
from mimir.operations.ingestion import Ingested
from tests.conftest import OpenMemory
from tests.doubles import FixedClock

needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
needs_permissions = pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="the administrator may read everything"
)

OpenWith = Callable[..., Memory]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def notes(home: Path) -> Path:
    folder = home / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def watching(open_memory: OpenMemory, tmp_path: Path) -> OpenWith:
    """Open memories with a connectors file."""

    def open_with(text: str, **settings: object) -> Memory:
        config = tmp_path / "connectors.yaml"
        config.write_text(text, encoding="utf-8")
        return open_memory(connectors_config=str(config), **settings)

    return open_with


@pytest.fixture
def watcher(watching: OpenWith, notes: Path) -> Memory:
    """Return a memory that watches the notes."""
    return watching(f"connectors:\n  file_watcher:\n    enabled: true\n    paths: [{json.dumps(str(notes))}]\n")


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def contents(memory: Memory, category: str) -> dict[str, str]:
    """Return the content of every memory of a category by key."""
    hits = memory.recall("", category=category, limit=1_000, reinforce=False).items
    return {hit.key: json.loads(hit.body_json)["content"] for hit in hits}


def only(memory: Memory, category: str) -> Hit:
    (hit,) = memory.recall("", category=category, reinforce=False).items
    return hit


def pdf(*pages: str, password: str = "") -> bytes:
    import io

    writer = PdfWriter()
    font = DictionaryObject({NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1")})
    font[NameObject("/BaseFont")] = NameObject("/Helvetica")
    fonts = DictionaryObject({NameObject("/F1"): font})
    for text in pages:
        page = writer.add_blank_page(200, 200)
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode() if text else b"")
        page[NameObject("/Contents")] = writer._add_object(stream)  # noqa: SLF001 - the library's own way for new parts
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    assert PdfReader(io.BytesIO(out.getvalue())).is_encrypted == bool(password)
    return out.getvalue()


# one file


def test_a_text_file_becomes_a_document(memory: Memory, notes: Path) -> None:
    path = write(notes / "plan.md", "# Plan\n\nShip it. ü")
    result = memory.ingest_file(str(path), tags=["plan"])
    assert (result.action, result.category, result.key, result.chars) == ("created", "document", "plan.md", 18)
    hit = only(memory, "document")
    assert hit.id == result.id
    assert hit.id.startswith("mem-")
    assert (hit.type, hit.source, hit.decay_score, hit.layer, hit.tags) == (
        "document",
        "ingest_file",
        1.0,
        "buffer",
        ("plan",),
    )
    assert json.loads(hit.body_json) == {"content": "# Plan\n\nShip it. ü", "source_path": str(path)}


def test_the_home_folder_is_understood(memory: Memory, notes: Path) -> None:
    write(notes / "plan.md", "Ship it.")
    result = memory.ingest_file("~/notes/plan.md", "plan", "first")
    assert (result.category, result.key) == ("plan", "first")
    assert json.loads(only(memory, "plan").body_json)["source_path"] == str(notes / "plan.md")


def test_the_same_file_again_leaves_no_version(memory: Memory, notes: Path, clock: FixedClock) -> None:
    path = write(notes / "plan.md", "Ship it.")
    memory.ingest_file(str(path), tags=["plan"])
    clock.advance()
    assert memory.ingest_file(str(path)).action == "updated"
    assert memory.history("document", "plan.md").total == 0
    write(path, "Ship it soon.")
    clock.advance()
    memory.ingest_file(str(path))
    assert memory.history("document", "plan.md").total == 1
    assert only(memory, "document").tags == ("plan",)


def test_a_file_that_resembles_another_is_kept_beside_it(open_memory: OpenMemory, notes: Path) -> None:
    memory = open_memory(dedup="similar")
    for name in ("a.txt", "b.txt"):
        assert memory.ingest_file(str(write(notes / name, "The same long words."))).action == "created"


@pytest.mark.parametrize("extension", sorted(TEXT_FORMATS))
def test_every_text_format_is_taken_as_it_is(memory: Memory, notes: Path, extension: str) -> None:
    path = write(notes / f"x.{extension.upper()}", "<a>\tb\r\n")
    memory.ingest_file(str(path))
    assert contents(memory, "document") == {path.name: "<a>\tb\r\n"}


def test_html_gives_what_a_page_shows(memory: Memory, notes: Path) -> None:
    page = (
        "<!doctype html><html><head><meta charset=iso-8859-1><title>Caf\u00e9</title><style>p {x: y}</style></head>"
        "<body><h2>Menu &amp; more</h2><p>One\n  line<br>next</p><script>if (a < b) alert('no')</script>"
        "<ul><li>tea<li>milk</ul>"
        "<table><tr><th>a<th>b<tr><td>1<td>2</table><pre>x\n  y</pre><!-- no --><p>end"
    )
    memory.ingest_file(str(write(notes / "page.html", page.encode("iso-8859-1"))))
    assert contents(memory, "document")["page.html"] == (
        "Caf\u00e9\n\n## Menu & more\n\nOne line\nnext\n\n- tea\n- milk\n\n | a | b\n | 1 | 2\n\nx\n  y\n\nend"
    )


def test_the_mark_before_utf8_text_is_dropped(memory: Memory, notes: Path) -> None:
    memory.ingest_file(str(write(notes / "x.txt", b"\xef\xbb\xbfwords")))
    assert contents(memory, "document") == {"x.txt": "words"}


def test_word_documents_keep_headings_lists_and_tables(memory: Memory, notes: Path) -> None:
    document = docx.Document()
    document.add_heading("The plan", 0)
    document.add_heading("Storage", 2)
    paragraph = document.add_paragraph("We chose\tSQLite.")
    paragraph.add_run().add_break()
    paragraph.add_run("One file.")
    document.add_paragraph("fast", "List Bullet")
    document.add_paragraph("really", "List Bullet 2")
    document.add_paragraph("small", "List Number")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ("name", "use", "a|b", "two\nlines"), strict=True):  # noqa: SLF001 - all cells
        cell.text = text
    document.add_paragraph("The end.")
    document.save(str(notes / "plan.docx"))
    memory.ingest_file(str(notes / "plan.docx"))
    assert contents(memory, "document")["plan.docx"] == (
        "# The plan\n\n## Storage\n\nWe chose\tSQLite.\nOne file.\n\n- fast\n  - really\n- small\n\n"
        "| name | use |\n| --- | --- |\n| a\\|b | two lines |\n\nThe end."
    )


def test_pdf_documents_give_their_words_by_page(memory: Memory, notes: Path) -> None:
    memory.ingest_file(str(write(notes / "plan.pdf", pdf("We chose SQLite.", "", "It is one file."))))
    text = "[page 1] We chose SQLite.\n\n[page 2] (no text, perhaps scanned)\n\n[page 3] It is one file."
    assert contents(memory, "document") == {"plan.pdf": text}


def test_every_passage_of_a_long_pdf_names_its_page(memory: Memory, notes: Path) -> None:
    words = {1: "alpaca", 2: "badger", 3: "chamois"}
    pages = [" ".join(f"{word} sentence {number}." for number in range(400)) for word in words.values()]
    memory.ingest_file(str(write(notes / "long.pdf", pdf(*pages))))
    for page, word in words.items():
        for number in (1, 150, 390):
            evidence = memory.recall(f"{word} sentence {number}", mode="fts5").items[0].evidence
            assert word in evidence
            assert f"[page {page}]" in evidence


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("noext", b"x", "no file extension; cannot determine document format"),
        (".hidden", b"x", "no file extension"),
        ("x.exe", b"MZ", "unsupported document type '.exe'"),
        ("x.txt", b"caf\xe9", "no UTF-8 text, byte 3 is wrong"),
        ("x.txt", "caf\u00e9".encode("utf-16"), "it seems to be UTF-16"),
        ("x.txt", b"\xff\xfe\0\0a\0\0\0", "it seems to be UTF-32"),
        ("x.html", b"<p>caf\xe9", "no utf-8 text, byte 6 is wrong"),
        ("x.docx", b"not a zip", "no DOCX, or a damaged one"),
        ("x.docx", b"PK\x05\x06" + bytes(18), "no DOCX, or a damaged one"),
        ("x.pdf", b"%PDF-1.7 broken", "no PDF, or a damaged one"),
        ("x.pdf", pdf(""), "it holds no text"),
        ("x.pdf", pdf("secret", password="p"), "it needs a password"),
    ],
    ids=range(12),
)
def test_what_cannot_be_read_is_refused_and_leaves_nothing(
    memory: Memory, notes: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes, words: str
) -> None:
    path = write(notes / name, content)
    with pytest.raises(InvalidInput) as raised:
        memory.ingest_file(str(path))
    assert words in raised.value.message
    assert memory.stats().total_entities == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("path", ["missing.txt", "missing/x.txt", "x\0.txt"])
def test_a_missing_file_is_named(memory: Memory, notes: Path, path: str) -> None:
    with pytest.raises(InvalidInput, match="cannot stat"):
        memory.ingest_file(str(notes / path))


@needs_posix
def test_folders_devices_and_pipes_are_refused_at_once(memory: Memory, notes: Path) -> None:
    (notes / "folder.txt").mkdir()
    os.mkfifo(notes / "pipe.txt")
    (notes / "device.txt").symlink_to("/dev/zero")
    for name in ("folder.txt", "pipe.txt", "device.txt"):
        with pytest.raises(InvalidInput, match="not a regular file"):
            memory.ingest_file(str(notes / name))


@needs_permissions
def test_a_file_that_may_not_be_read_is_named(memory: Memory, notes: Path) -> None:
    path = write(notes / "x.txt", "secret")
    path.chmod(0)
    with pytest.raises(InvalidInput, match="failed to read"):
        memory.ingest_file(str(path))


def test_a_file_beyond_the_limit_is_refused(open_memory: OpenMemory, notes: Path) -> None:
    memory = open_memory(max_ingest_bytes=10)
    memory.ingest_file(str(write(notes / "ten.txt", "0123456789")))
    with pytest.raises(InvalidInput) as raised:
        memory.ingest_file(str(write(notes / "eleven.txt", "0123456789a")))
    assert "file is 11 bytes, exceeding the 10-byte ingest limit" in raised.value.message
    assert "MIMIR_MAX_INGEST_BYTES" in raised.value.message


def test_the_limit_comes_from_the_environment(
    open_memory: OpenMemory, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMIR_MAX_INGEST_BYTES", "3")
    with pytest.raises(InvalidInput, match="3-byte"):
        open_memory().ingest_file(str(write(notes / "x.txt", "four")))


def test_a_text_beyond_the_largest_memory_is_refused(memory: Memory, notes: Path) -> None:
    with pytest.raises(InvalidInput, match="body_json"):
        memory.ingest_file(str(write(notes / "x.txt", "word " * 1_000_000)))


@pytest.mark.parametrize(("package", "name"), [("docx", "x.docx"), ("pypdf", "x.pdf")])
def test_a_missing_library_is_named_with_its_command(notes: Path, db: str, package: str, name: str) -> None:
    write(notes / name, b"x")
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from mimir import Memory, Unavailable\n"
        f"with Memory.open({db!r}, embedding='off') as memory:\n"
        "    try:\n"
        f"        memory.ingest_file({str(notes / name)!r})\n"
        "    except Unavailable as error:\n"
        "        print(error.message, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "which is not installed" in done.stdout
    assert "pip install 'mimir-local[documents]'" in done.stdout


# folders


def test_files_of_folders_become_memories(watcher: Memory, notes: Path) -> None:
    write(notes / "a.md", "first")
    path = write(notes / "deep" / "er" / "b.txt", "second")
    write(notes / "c.py", "not asked for")
    assert watcher.ingest() == Ingested(ingested=2, dry_run=False, errors=())
    key = str(path).replace("/", "-").replace("\\", "-")
    assert contents(watcher, "file")[key] == "second"
    (hit,) = (hit for hit in watcher.recall("", category="file").items if hit.key == key)
    assert hit.id.startswith("ingest-")
    assert (hit.type, hit.source, hit.decay_score, hit.certainty, hit.layer, hit.tags) == (
        "insight",
        "connector:file_watcher",
        1.0,
        0.5,
        "buffer",
        ("ext:txt",),
    )
    assert json.loads(hit.body_json) == {"path": str(path), "content": "second"}


def test_only_changed_files_are_read_again_also_by_another_process(
    watcher: Memory, watching: OpenWith, notes: Path, clock: FixedClock
) -> None:
    write(notes / "a.md", "first")
    write(notes / "b.md", "second")
    assert watcher.ingest().ingested == 2
    watcher.close()
    again = watching(f"connectors: {{file_watcher: {{enabled: true, paths: [{json.dumps(str(notes))}]}}}}")
    assert again.ingest().ingested == 0
    clock.advance()
    write(notes / "b.md", "second thoughts")
    assert again.ingest() == Ingested(ingested=1, dry_run=False, errors=())
    key = str(notes / "b.md").replace("/", "-").replace("\\", "-")
    assert again.history("file", key).total == 1
    assert again.ingest().ingested == 0


def test_a_dry_run_counts_and_leaves_no_trace(watcher: Memory, notes: Path) -> None:
    write(notes / "a.md", "first")
    assert watcher.ingest(dry_run=True) == Ingested(ingested=1, dry_run=True, errors=())
    assert watcher.stats().total_entities == 0
    assert watcher.ingest().ingested == 1


def test_a_forgotten_file_stays_forgotten_until_it_changes(watcher: Memory, notes: Path) -> None:
    write(notes / "a.md", "first")
    watcher.ingest()
    watcher.forget("file", only(watcher, "file").key)
    assert watcher.ingest().ingested == 0
    assert contents(watcher, "file") == {}
    write(notes / "a.md", "changed")
    assert watcher.ingest().ingested == 1
    assert list(contents(watcher, "file").values()) == ["changed"]


def test_tags_that_were_given_since_are_kept(watcher: Memory, notes: Path) -> None:
    write(notes / "a.md", "first")
    watcher.ingest()
    hit = only(watcher, "file")
    watcher.remember("file", hit.key, hit.body_json, tags=["mine"])
    write(notes / "a.md", "changed")
    watcher.ingest()
    assert only(watcher, "file").tags == ("mine",)


def test_hidden_and_built_folders_are_left_out(watcher: Memory, notes: Path) -> None:
    for name in (".git/a.md", "node_modules/b.md", "x/target/c.md", ".secret.md", "x/.hid/d.md", "x/kept.md"):
        write(notes / name, name)
    assert watcher.ingest().ingested == 1
    assert list(contents(watcher, "file").values()) == ["x/kept.md"]


@needs_posix
def test_links_lead_nowhere(watcher: Memory, notes: Path, tmp_path: Path) -> None:
    write(tmp_path / "outside" / "secret.md", "secret")
    write(notes / "real.md", "real")
    (notes / "circle").symlink_to(notes, target_is_directory=True)
    (notes / "away").symlink_to(tmp_path / "outside", target_is_directory=True)
    (notes / "file.md").symlink_to(tmp_path / "outside" / "secret.md")
    assert watcher.ingest() == Ingested(ingested=1, dry_run=False, errors=())
    assert list(contents(watcher, "file").values()) == ["real"]


@needs_posix
def test_a_path_that_is_itself_a_link_is_followed(watching: OpenWith, notes: Path, tmp_path: Path) -> None:
    write(notes / "a.md", "first")
    (tmp_path / "link").symlink_to(notes, target_is_directory=True)
    memory = watching(f"connectors: {{file_watcher: {{enabled: true, paths: [{tmp_path}/link]}}}}")
    assert memory.ingest().ingested == 1


def test_paths_of_equal_keys_stay_apart(watcher: Memory, notes: Path) -> None:
    write(notes / "a" / "b.md", "in a folder")
    assert watcher.ingest().ingested == 1
    write(notes / "a-b.md", "with a dash")
    assert watcher.ingest().ingested == 1
    write(notes / "a" / "b.md", "in a folder still")
    write(notes / "a-b.md", "with a dash still")
    assert watcher.ingest().ingested == 2
    assert sorted(contents(watcher, "file").values()) == ["in a folder still", "with a dash still"]
    assert watcher.stats().total_entities == 2


def test_what_cannot_be_read_is_listed_and_the_rest_is_ingested(watcher: Memory, notes: Path) -> None:
    write(notes / "bad.md", b"\xff\xff")
    write(notes / "good.md", "good")
    write(notes / "worse.md", b"\x7fELF\0\0\0")
    result = watcher.ingest()
    assert result.ingested == 1
    bad, worse = result.errors
    assert bad.startswith("file_watcher/")
    assert "bad.md" in bad
    assert "no UTF-8" in bad
    assert "worse.md" in worse
    assert "a binary file" in worse
    assert watcher.ingest().errors == result.errors


@pytest.mark.skipif(sys.platform != "linux", reason="only there are names of files any bytes")
def test_names_that_are_no_text_are_named_all_the_same(watcher: Memory, notes: Path) -> None:
    write(notes / os.fsdecode(b"caf\xe9.md"), "words")
    result = watcher.ingest()
    assert result.ingested == 0
    (error,) = result.errors
    assert "caf?.md" in error
    error.encode()


def test_a_missing_path_is_named(watching: OpenWith, notes: Path) -> None:
    memory = watching("connectors: {file_watcher: {enabled: true, paths: [~/notes, ~/gone]}}")
    write(notes / "a.md", "first")
    result = memory.ingest()
    assert result.ingested == 1
    (error,) = result.errors
    assert "gone" in error


def test_overlapping_paths_and_single_files_count_once(watching: OpenWith, notes: Path) -> None:
    write(notes / "sub" / "a.md", "first")
    write(notes / "one.rst", "second")
    paths = "[~/notes, ~/notes/sub, ~/notes/one.rst]"
    memory = watching(f"connectors: {{file_watcher: {{enabled: true, paths: {paths}, extensions: [md]}}}}")
    assert memory.ingest() == Ingested(ingested=2, dry_run=False, errors=())


def test_documents_of_other_formats_are_read_when_asked_for(watching: OpenWith, notes: Path) -> None:
    write(notes / "a.pdf", pdf("We chose SQLite."))
    write(notes / "b.py", "x = 1")
    memory = watching("connectors: {file_watcher: {enabled: true, paths: [~/notes], extensions: [.pdf, .py]}}")
    assert memory.ingest().errors == ()
    assert sorted(contents(memory, "file").values()) == ["[page 1] We chose SQLite.", "x = 1"]


@pytest.mark.parametrize(
    "text", ["", "connectors:\n", "connectors: {}\n", "connectors: {file_watcher: {paths: [~/notes]}}", "other: 1"]
)
def test_without_an_enabled_connector_there_is_one_clear_error(watching: OpenWith, text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        watching(text).ingest()
    assert raised.value.message == "Ingest failed: No connectors configured. Add connectors to enable ingestion."


def test_without_a_configuration_there_is_the_same_error(memory: Memory) -> None:
    with pytest.raises(InvalidInput, match="No connectors configured"):
        memory.ingest()


@pytest.mark.parametrize(
    "text",
    [
        "connectors: [",
        "connectors: {file_watcher: {enabled: perhaps}}",
        "connectors: {file_watcher: {paths: ~/notes}}",
        "connectors: 5",
        "a: !!python/object/apply:os.system ['exit 1']",
        "[" * 5_000,
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(watching: OpenWith, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"connectors\.yaml"):
        watching(text).ingest()


def test_a_missing_configuration_is_named(open_memory: OpenMemory) -> None:
    with pytest.raises(InvalidInput, match=r"gone\.yaml"):
        open_memory(connectors_config="~/gone.yaml").ingest()


def test_an_unknown_connector_runs_nothing_and_says_so(watcher: Memory, notes: Path) -> None:
    write(notes / "a.md", "first")
    result = watcher.ingest("slack")
    assert result.ingested == 0
    assert result.errors[0].startswith("slack: no such connector is enabled")
    assert watcher.ingest("file_watcher").ingested == 1


def test_a_failing_store_ends_the_run(watcher: Memory, notes: Path) -> None:
    write(notes / "a.md", "first")
    watcher.store.close()
    with pytest.raises(MimirError) as raised:
        watcher.ingest()
    assert isinstance(raised.value, StorageFailure)


def test_the_command_line_ingests(notes: Path, db: str) -> None:
    write(notes / "a.md", "first")
    config = write(notes.parent / "c.yaml", "connectors: {file_watcher: {enabled: true, paths: [~/notes]}}")
    done = subprocess.run(
        [sys.executable, "-m", "mimir", "ingest", "--json", "--db", db, "--connectors-config", str(config)],
        capture_output=True,
        text=True,
        check=True,
        env=environment_for_child(HOME=str(notes.parent), MIMIR_EMBEDDING="off"),
    )
    assert json.loads(done.stdout) == {"ingested": 1, "dry_run": False, "errors": []}

"""Paths that lead astray, files that are none, and small files that unfold to almost anything."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from mimir import InvalidInput, Memory, MimirError
from mimir.cli.main import run
from mimir.connectors import load_sources
from mimir.crypto import write_key_file
from mimir.documents import EXTRACTION_S
from mimir.rules.note import read_note
from tests.conftest import OpenMemory

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of POSIX")
needs_proc = pytest.mark.skipif(not os.path.ismount("/proc"), reason="no /proc here")

ASTRAY: Final = (
    "../outside",
    "..\\outside",
    "a/../../outside",
    "/tmp/outside",  # noqa: S108 - a name in an attack, nothing is written there
    "C:\\outside",
    "~/outside",
    "outside\0.md",
    "..",
    ".",
    "con",
    "a:b",
    "x" * 300,
    "\u202emd.exe",
    ".hidden",
    "-rf",
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder with nothing beside it but the store, so that whatever lands outside is seen."""
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.startswith("memory.db")}


# --- the vault


@pytest.mark.parametrize("name", ASTRAY)
def test_a_note_named_astray_stays_in_its_folder(memory: Memory, site: Path, tmp_path: Path, name: str) -> None:
    note = f"---\nid: {json.dumps(name)}\ncategory: {json.dumps(name[:200])}\nkey: {json.dumps(name)}\n---\n\nwords\n"
    (site / "note.md").write_text(note, encoding="utf-8")
    memory.vault_import(str(site))
    out = tmp_path / "out"
    memory.vault_export(str(out))
    (written,) = [path for path in everything(tmp_path) if path not in ("site", "site/note.md", "out")]
    assert Path(written).parent == Path("out")
    assert (tmp_path / written).is_file()


@needs_posix
def test_an_export_writes_through_no_link(memory: Memory, site: Path, tmp_path: Path) -> None:
    entity_id = memory.remember("c", "k", {"content": "words"}).id
    secret = tmp_path / "secret"
    secret.write_text("untouched", encoding="utf-8")
    (site / f"{entity_id}.md").symlink_to(secret)
    result = memory.vault_export(str(site))
    assert len(result.errors) == 1
    assert secret.read_text(encoding="utf-8") == "untouched"


@needs_posix
def test_an_import_reads_through_no_link_that_leads_out(memory: Memory, site: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.md").write_text("---\nkey: outside\n---\n\nsecret\n", encoding="utf-8")
    (site / "link.md").symlink_to(tmp_path / "outside.md")
    (site / "far.md").symlink_to("../outside.md")
    (site / "pipe.md").symlink_to("/dev/zero")
    os.mkfifo(site / "fifo.md")
    result = memory.vault_import(str(site))
    assert result.files_created == 0
    assert len(result.errors) == 4


@pytest.mark.parametrize("folder", ["", "nul\0l", "x" * 5_000])
def test_a_folder_that_can_be_none_is_refused(memory: Memory, folder: str) -> None:
    for use in (memory.vault_export, memory.vault_import):
        with pytest.raises(InvalidInput):
            use(folder)


# --- connectors and documents


@needs_posix
def test_a_connector_reads_nothing_outside_its_folder(open_memory: OpenMemory, site: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("secret", encoding="utf-8")
    (site / "link.md").symlink_to(outside / "secret.md")
    (site / "folder").symlink_to(outside)
    (site / "own.md").write_text("own", encoding="utf-8")
    os.mkfifo(site / "pipe.md")
    (site / "device.md").symlink_to("/dev/zero")
    config = tmp_path / "connectors.yaml"
    config.write_text(
        json.dumps({"connectors": {"file_watcher": {"enabled": True, "paths": [str(site)]}}}), encoding="utf-8"
    )
    memory = open_memory(connectors_config=str(config))
    result = memory.ingest()
    assert result.ingested == 1
    assert len(result.errors) == 1
    assert "pipe.md" in result.errors[0]
    assert [hit.key.rpartition("-")[2] for hit in memory.recall("").items] == ["own.md"]


@needs_posix
def test_a_folder_that_becomes_a_link_while_it_is_read_leads_nowhere(
    open_memory: OpenMemory, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.md").write_text("secret", encoding="utf-8")
    (site / "inner").mkdir()
    (site / "inner" / "a.md").write_text("own", encoding="utf-8")
    config = tmp_path / "connectors.yaml"
    config.write_text(
        json.dumps({"connectors": {"file_watcher": {"enabled": True, "paths": [str(site)]}}}), encoding="utf-8"
    )
    listed = os.walk

    def swapping(
        top: str, onerror: Callable[[OSError], object] | None = None
    ) -> Iterator[tuple[str, list[str], list[str]]]:
        for step in listed(top, onerror=onerror):
            if step[0].endswith("inner"):
                (site / "inner").rename(tmp_path / "moved")
                (site / "inner").symlink_to(tmp_path / "outside")
            yield step

    monkeypatch.setattr(os, "walk", swapping)
    result = open_memory(connectors_config=str(config)).ingest()
    assert (result.ingested, len(result.errors)) == (0, 1)
    assert "outside the folder" in result.errors[0]


@needs_proc
@pytest.mark.parametrize("path", ["/proc/self/environ", "/proc/self/mem", "/proc/kmsg", "/proc/cpuinfo"])
def test_what_the_kernel_makes_up_is_no_document(memory: Memory, site: Path, path: str) -> None:
    (site / "notes.txt").symlink_to(path)
    with pytest.raises(InvalidInput, match=r"not a regular file|cannot stat"):
        memory.ingest_file(str(site / "notes.txt"))
    assert memory.stats().total_entities == 0


@needs_posix
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "kernel", "missing", "nul", "long", "nothing"])
def test_a_file_to_migrate_from_that_is_none_is_refused(memory: Memory, site: Path, kind: str) -> None:
    os.mkfifo(site / "pipe")
    paths = {
        "folder": str(site),
        "pipe": str(site / "pipe"),
        "device": "/dev/zero",
        "kernel": "/proc/self/mem",
        "missing": str(site / "missing"),
        "nul": "a\0b",
        "long": "x" * 5_000,
        "nothing": "",
    }
    with pytest.raises(MimirError):
        memory.migrate(paths[kind])
    assert sorted(path.name for path in site.iterdir()) == ["pipe"]


@needs_posix
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "broken link"])
def test_a_backup_replaces_nothing_that_is_no_file(memory: Memory, site: Path, kind: str) -> None:
    path = site / "here"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/null")
    else:
        path.symlink_to(site / "nowhere")
    before = os.lstat(path)
    assert run(["backup", str(path), "--force", "--db", memory.store.path]) == InvalidInput.exit_status
    assert os.lstat(path) == before
    assert not (site / "nowhere").exists()


@needs_posix
@pytest.mark.parametrize("ending", ["", f".partial-{os.getpid()}"])
def test_a_backup_follows_no_link_that_was_planted_where_it_writes(memory: Memory, site: Path, ending: str) -> None:
    theirs = site / "theirs"
    theirs.write_text("precious", encoding="utf-8")
    copy = site / "copy.db"
    (site / f"copy.db{ending}").symlink_to(theirs)
    assert run(["backup", str(copy), "--force", "--db", memory.store.path]) == 0
    assert theirs.read_text(encoding="utf-8") == "precious"
    assert not copy.is_symlink()
    with Memory.open(str(copy), embedding="off") as opened:
        assert opened.verify().ok


@needs_posix
def test_a_change_of_keys_follows_no_link_that_was_planted_where_it_writes(site: Path) -> None:
    theirs, db, key = site / "theirs", site / "memory.db", str(site / "key")
    theirs.write_text("precious", encoding="utf-8")
    Memory.open(str(db), embedding="off").close()
    write_key_file(key)
    for ending in (".resealing", ".resealing.between", ".resealing-wal"):
        (site / f"memory.db{ending}").symlink_to(theirs)
    assert run(["seal", "--db", str(db), "--encryption-key", key]) == 0
    assert theirs.read_text(encoding="utf-8") == "precious"
    assert not db.is_symlink()


@needs_posix
@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_a_store_that_is_no_file_is_refused_at_once(site: Path, kind: str) -> None:
    os.mkfifo(site / "pipe")
    path = {"folder": str(site), "pipe": str(site / "pipe"), "device": "/dev/zero"}[kind]
    with pytest.raises(MimirError):
        Memory.open(path, embedding="off")


# --- what unfolds


def pdf(*objects: bytes) -> bytes:
    """Return a PDF file of objects that are numbered from 1, the first being its root."""
    out, offsets = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    table += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(out))
    return out + table + trailer


def stream(data: bytes, more: bytes = b"") -> bytes:
    return b"<</Length %d%b>>\nstream\n%b\nendstream" % (len(data), more, data)


CATALOG: Final = b"<</Type/Catalog/Pages 2 0 R>>"
PAGES: Final = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
PAGE: Final = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>"
FORM: Final = b"/Type/XObject/Subtype/Form/Resources<</XObject<</X 5 0 R>>>>"


def docx(document: bytes, **more: bytes) -> bytes:
    """Return a Word file with the given document part."""
    kinds = "http://schemas.openxmlformats.org"
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": f'<Types xmlns="{kinds}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument'
        '.wordprocessingml.document.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{kinds}/package/2006/relationships"><Relationship Id="r"'
        f' Type="{kinds}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>'
        "</Relationships>",
        "word/document.xml": document,
        **more,
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return data.getvalue()


WORDS: Final = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
ENTITIES: Final = "<!DOCTYPE w [<!ENTITY a0 'lol'>" + "".join(
    f"<!ENTITY a{number} '{f'&a{number - 1};' * 10}'>" for number in range(1, 10)
)

BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "pages in a circle.pdf": lambda: pdf(CATALOG, b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>"),
    "one page very often.pdf": lambda: pdf(
        CATALOG,
        b"<</Type/Pages/Kids[" + b"3 0 R " * 20_000 + b"]/Count 20000>>",
        PAGE,
        stream(b""),
        stream(b"", FORM),
    ),
    "forms in a circle.pdf": lambda: pdf(CATALOG, PAGES, PAGE, stream(b"/X Do"), stream(b"/X Do /X Do", FORM)),
    "unpacks without end.pdf": lambda: pdf(
        CATALOG, PAGES, PAGE, stream(zlib.compress(b" " * 200_000_000, 1), b"/Filter/FlateDecode"), stream(b"", FORM)
    ),
    "nested arrays.pdf": lambda: pdf(CATALOG, PAGES, b"[" * 100_000),
    "tables in a circle.pdf": lambda: (
        b"%PDF-1.7\nxref\n0 1\n0000000000 65535 f \ntrailer\n<</Size 1/Root 1 0 R/Prev 9>>\nstartxref\n9\n%%EOF"
    ),
    "a huge table.pdf": lambda: (
        b"%PDF-1.7\nxref\n0 900000000\n0000000000 65535 f \ntrailer\n<</Size 9/Root 1 0 R>>\nstartxref\n9\n%%EOF"
    ),
    "unpacks to much.docx": lambda: docx(b"<w/>", **{"word/media.bin": bytes(300_000_000)}),
    "entities.docx": lambda: docx(f"{ENTITIES}]><w:document {WORDS}>&a9;</w:document>".encode()),
    "deep.docx": lambda: docx(f"<w:document {WORDS}>".encode() + b"<w:p>" * 200_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_document_that_unfolds_is_refused_within_bounds(memory: Memory, site: Path, name: str) -> None:
    path = site / name
    path.write_bytes(BOMBS[name]())
    with pytest.raises(InvalidInput) as raised:
        memory.ingest_file(str(path))
    assert name in raised.value.message
    assert memory.stats().total_entities == 0


def test_a_document_reads_no_other_file(memory: Memory, site: Path) -> None:
    (site / "secret.txt").write_text("precious", encoding="utf-8")
    path = site / "outside.docx"
    path.write_bytes(
        docx(
            f"<!DOCTYPE w [<!ENTITY x SYSTEM '{(site / 'secret.txt').as_uri()}'>]><w:document {WORDS}>"
            "<w:body><w:p><w:r><w:t>here: &x;</w:t></w:r></w:p></w:body></w:document>".encode()
        )
    )
    kept = memory.get_entity(memory.ingest_file(str(path)).id)
    assert json.loads(kept.body_json)["content"].strip() == "here:"


@needs_posix
def test_a_reader_of_documents_has_bounds_of_time_and_memory() -> None:
    code = (
        "import sys, resource\n"
        "from mimir import documents\n"
        "def read(data):\n"
        "    print(resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_CPU)[0])\n"
        "    return bytearray(2 * documents.EXTRACTION_BYTES).hex()\n"
        "documents._EXTRACTORS = {'x': documents._EXTRACTORS['pdf']._replace(text=read)}\n"
        "sys.exit(documents.main('x'))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert ran.returncode == 1
    assert ran.stdout.split() == [str(1 << 30).encode(), str(EXTRACTION_S).encode()]
    assert ran.stderr == b""


def test_a_module_in_the_present_folder_is_not_taken_for_a_library(
    memory: Memory, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = site / "ran"
    for module in ("pypdf", "docx", "logging", "zipfile"):
        (site / f"{module}.py").write_text(f"open({str(mark)!r}, 'w').close()", encoding="utf-8")
    monkeypatch.chdir(site)
    (site / "x.pdf").write_bytes(b"%PDF-1.7 broken")
    with pytest.raises(InvalidInput):
        memory.ingest_file("x.pdf")
    assert not mark.exists()


def test_a_very_long_line_is_refused_or_stored_whole(memory: Memory, site: Path) -> None:
    path = site / "line.txt"
    path.write_text("x" * 50_000_000, encoding="utf-8")
    with pytest.raises(InvalidInput, match="body_json"):
        memory.ingest_file(str(path))
    path.write_text("x" * 1_000_000, encoding="utf-8")
    assert memory.ingest_file(str(path)).chars == 1_000_000


NOTES: Final = {
    "aliases": "a: &a [x, x]\nb: &b [*a, *a]\ntags: *b",
    "a circle": "tags: &a [*a]",
    "a deep list": "tags: " + "[" * 5_000,
    "a very deep list": "tags: " + "[" * 500_000,
    "deep objects": "tags: " + "{a: " * 5_000,
    "deep indentation": "\n".join(" " * depth + "a:" for depth in range(900)),
    "a very long field": "topic_path: " + "x" * 1_000_000,
}


@pytest.mark.parametrize("name", NOTES)
def test_a_note_builds_nothing_but_text(site: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(site)
    with pytest.raises(InvalidInput):
        read_note(f"---\n{NOTES[name]}\n---\n\nwords")
    assert everything(site) == set()


def test_a_note_that_asks_for_an_object_gets_a_text(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site)
    note = read_note("---\nkey: !!python/object/apply:os.system ['touch pwned']\n---\n\nwords")
    assert note.fields == {}
    assert json.loads(note.body_json)["properties"] == {"key_": ["touch pwned"]}
    assert everything(site) == set()


@pytest.mark.parametrize("tail", ["]] (", "]] (x) ", "]", "|", "1"])
def test_a_line_that_is_almost_a_link_is_read_in_no_time(tail: str) -> None:
    note = read_note("---\nkey: k\n---\nwords\n\n## Links\n\n- [[a|" + tail * 100_000 + "\n")
    assert len(note.links) <= 1


@pytest.mark.parametrize(
    "text",
    [
        "connectors: !!python/object/apply:os.system ['touch pwned']",
        "connectors: " + "[" * 30_000,
        "a: &a [x, x]\nb: &b [*a, *a]\nconnectors: {file_watcher: {paths: *b}}",
        "connectors: {x: [" + "a," * 100_000 + "]}",
    ],
    ids=range(4),
)
def test_a_configuration_builds_nothing_but_settings(site: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(site)
    (site / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput):
        load_sources(str(site / "c.yaml"))
    assert everything(site) == {"c.yaml"}


@pytest.mark.parametrize(
    "field", ["status", "type", "layer", "topic_path", "agent_id", "workspace_hash", "tags", "recall_when", "body_json"]
)
def test_no_field_of_a_memory_is_without_bound(memory: Memory, field: str) -> None:
    long = "x" * 5_000_000
    given: dict[str, object] = {"body_json": {"content": "x"}, field: long}
    if field in ("tags", "recall_when"):
        given[field] = [long]
    if field == "body_json":
        given[field] = {"content": long}
    with pytest.raises(InvalidInput, match="bytes long"):
        memory.remember("c", "k", **given)  # type: ignore[arg-type]  # one field at a time


def test_a_very_long_word_is_looked_for_and_not_found(memory: Memory) -> None:
    memory.remember("c", "k", {"content": "words"})
    assert memory.recall("x" * 1_000_000, mode="fts5").items == ()
    assert memory.recall("x" * 1_000_000 + " words", mode="fts5").items[0].key == "k"

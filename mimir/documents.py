"""Text out of files: plain text formats as they are, what HTML shows, Word and PDF through libraries of an extra."""

from __future__ import annotations

import codecs
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from mimir.config import IS_WINDOWS, MAXIMUM_BODY_BYTES
from mimir.errors import InvalidInput, Unavailable
from mimir.rules.text import PASSAGE_PIECES, cut_text, estimated_pieces

TEXT_FORMATS: Final = frozenset(
    "csv json jsonl log markdown md org rst tex toml tsv txt xml yaml yml".split()  # noqa: SIM905 - one line
)
"""Extensions of formats whose text is what the file holds."""

EXTRACTION_S: Final = 60
"""How long the text of a Word or PDF file may take, in seconds."""

EXTRACTION_BYTES: Final = 1024 * 1024 * 1024
"""How much memory that may take, where the system keeps such a bound."""

_UNPACKED_BYTES: Final = 256 * 1024 * 1024
_BULLET: Final = "- "
_DEEPEST_HEADING: Final = 6
_DEEPEST_LIST: Final = 8
_NO_TEXT: Final = "(no text, perhaps scanned)"
_MARK_PIECES: Final = 60
"""Room in a passage for the mark of its page, and for stretches that take more pieces than the page on average."""

_KERNEL_FOLDERS: Final = ("/proc", "/sys")
_REFUSED_STATUS: Final = 3
_OTHER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def read_document(path: str, most_bytes: int) -> str:
    """Return the text of the document at ``path``, by its extension.

    Raises:
        InvalidInput: it has no extension or one of an unknown format, is missing, no regular file, larger than
            ``most_bytes``, damaged, or no UTF-8.
        Unavailable: the library for its format is not installed.
    """
    extension = extension_of(path)
    if not extension:
        raise InvalidInput(
            f"{path}: no file extension; cannot determine document format", hint="Rename it, for instance to .txt."
        )
    if extension not in TEXT_FORMATS and extension not in _EXTRACTORS:
        raise InvalidInput(
            f"unsupported document type '.{extension}'.",
            hint="Use one of: " + ", ".join(sorted({*TEXT_FORMATS, *_EXTRACTORS})) + ".",
        )
    return text_of_document(path, read_bytes(path, most_bytes))


def text_of_document(path: str, data: bytes) -> str:
    """Return the text of a document that was read: of HTML, Word and PDF what they show, of others what they hold.

    Those three are read by a process of its own, whose time and memory are bounded: a small file of these formats can
    unfold to almost anything.

    Raises:
        InvalidInput: it is damaged, takes too much, or is no UTF-8.
        Unavailable: the library for its format is not installed.
    """
    extension = extension_of(path)
    if extension in _EXTRACTORS:
        return _extracted(path, extension, data)
    if b"\0" in data and not data.startswith(tuple(mark for mark, _ in _OTHER_MARKS)):
        raise InvalidInput(f"failed to read {path}: no text, but a binary file", hint="Give a file of text.")
    return decode(path, data)


def extension_of(path: str) -> str:
    """Return the extension of a path in lower case, without its dot."""
    return os.path.splitext(path)[1][1:].lower()


def read_bytes(path: str, most_bytes: int, *, follow: bool = True) -> bytes:
    """Return what the regular file at ``path`` holds; a link is an error unless ``follow``.

    Raises:
        InvalidInput: there is no such file, it is none, it cannot be read or is larger than ``most_bytes``.
    """
    # Asked before it is opened, since opening a pipe waits and opening a device may do something; and again after.
    try:
        kind = os.stat(path, follow_symlinks=follow).st_mode
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"cannot stat {path}: {_reason(error)}", hint="Give the path of a file that exists."
        ) from None
    if not stat.S_ISREG(kind):
        raise InvalidInput(f"failed to read {path}: not a regular file", hint="Give the path of a file.")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    flags |= 0 if follow else getattr(os, "O_NOFOLLOW", 0)
    try:
        with open(os.open(path, flags), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_dev in _kernel_devices():
                raise InvalidInput(f"failed to read {path}: not a regular file", hint="Give the path of a file.")
            # One byte more, since a file may grow while it is read.
            data = file.read(most_bytes + 1) if about.st_size <= most_bytes else b""
    except OSError as error:
        raise InvalidInput(
            f"failed to read {path}: {_reason(error)}", hint="Check that you may read the file."
        ) from None
    if about.st_size > most_bytes or len(data) > most_bytes:
        size = max(about.st_size, len(data))
        raise InvalidInput(
            f"{path}: file is {size} bytes, exceeding the {most_bytes}-byte ingest limit"
            " (raise MIMIR_MAX_INGEST_BYTES to override)",
            hint="Split the file, or raise the limit.",
        )
    return data


def valid_text(text: str) -> str:
    """Return a text that names a file with marks in place of those of its bytes that are no text."""
    return text.encode("utf-8", "replace").decode()


def decode(path: str, data: bytes) -> str:
    """Return UTF-8 text, without the mark that some programs put before it.

    Raises:
        InvalidInput: it is none; the message names where, or the encoding that it seems to have.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        named = next((name for mark, name in _OTHER_MARKS if data.startswith(mark)), "")
        seems = f"it seems to be {named}" if named else f"byte {error.start} is wrong"
        raise InvalidInput(f"failed to read {path}: no UTF-8 text, {seems}", hint="Save it as UTF-8.") from None


@cache
def _kernel_devices() -> set[int]:
    """Return the devices of folders whose files the kernel makes up when they are read: none of them is a document."""
    return {os.stat(folder).st_dev for folder in _KERNEL_FOLDERS if os.path.ismount(folder)}


def _extracted(path: str, extension: str, data: bytes) -> str:
    import importlib.util
    import subprocess

    extractor = _EXTRACTORS[extension]
    if importlib.util.find_spec(extractor.module) is None:
        raise Unavailable(
            f"{extractor.name} extraction needs {extractor.package}, which is not installed.",
            hint="Run: pip install 'mimir-local[documents]'",
        )
    try:
        done = subprocess.run(
            # Without the present folder among those that modules are imported from: it may be anybody's.
            [sys.executable, "-P", "-m", "mimir.documents", extension],
            input=data,
            capture_output=True,
            timeout=EXTRACTION_S,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        if done.returncode in (0, _REFUSED_STATUS):
            told: str = json.loads(done.stdout)
            if done.returncode == 0:
                return told
            raise InvalidInput(f"failed to read {path}: {told}", hint=extractor.advice)
        reason = "it takes more memory than it may"
    except subprocess.TimeoutExpired:
        reason = f"it takes longer than {EXTRACTION_S} s"
    except OSError as error:
        reason = f"no process can be started for it: {_reason(error)}"
    except ValueError:
        reason = "its text cannot be read"
    raise InvalidInput(f"failed to read {path}: {reason}", hint="Export it as text first.")


def main(extension: str) -> int:
    """Read a document from standard input, write its text or why there is none, and return the exit status."""
    if not IS_WINDOWS:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (EXTRACTION_BYTES, EXTRACTION_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (EXTRACTION_S, EXTRACTION_S))
    extractor = _EXTRACTORS[extension]
    status = 0
    try:
        told = extractor.text(sys.stdin.buffer.read())
    except _Refused as refusal:
        told, status = str(refusal), _REFUSED_STATUS
    except MemoryError:
        return 1
    except Exception as error:  # noqa: BLE001 - a damaged file may raise anything in the library
        told, status = f"no {extractor.name}, or a damaged one ({type(error).__name__})", _REFUSED_STATUS
    sys.stdout.buffer.write(json.dumps(told).encode())
    return status


class _Refused(Exception):
    """A document is what it should be, and is refused all the same."""


def _html_text(data: bytes) -> str:
    from mimir.rules.html import html_text

    try:
        return html_text(data)
    except UnicodeDecodeError as error:
        raise _Refused(f"no {error.encoding} text, byte {error.start} is wrong") from None


def _docx_text(data: bytes) -> str:
    import zipfile

    import docx

    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        unpacked = sum(part.file_size for part in parts.infolist())
    if unpacked > _UNPACKED_BYTES:
        raise _Refused(f"it unpacks to {unpacked} bytes, more than {_UNPACKED_BYTES}")
    document = docx.Document(io.BytesIO(data))
    return _docx_blocks(document.element.body, {style.style_id: style.name for style in document.styles}).strip("\n")


def _docx_blocks(parent: Any, styles: Mapping[str, str | None]) -> str:  # noqa: ANN401 - lxml ships no types
    """Return the paragraphs and tables below an element of a Word document as Markdown."""
    blocks: list[str] = []
    for element in parent:
        match element.tag.rpartition("}")[2]:
            case "p":
                text, mark = _docx_paragraph(element), _docx_mark(element, styles)
                follows = mark.lstrip().startswith(_BULLET) and blocks and blocks[-1].lstrip().startswith(_BULLET)
                blocks.append(("\n" if follows else "\n\n") * bool(blocks) + mark * bool(text.strip()) + text)
            case "tbl":
                blocks.append("\n\n" * bool(blocks) + _docx_table(element))
            case "sdt" | "sdtContent" | "ins" | "smartTag" | "customXml":
                blocks.append("\n\n" * bool(blocks) + _docx_blocks(element, styles))
    return "".join(blocks)


def _docx_paragraph(paragraph: Any) -> str:  # noqa: ANN401 - the same
    text: list[str] = []
    for element in paragraph.iter():
        match element.tag.rpartition("}")[2] if isinstance(element.tag, str) else "":
            case "t":
                text.append(element.text or "")
            case "tab":
                # The same tag also describes a tab stop, which is no text.
                text.append("\t" if element.getparent().tag.endswith("}r") else "")
            case "br" | "cr":
                text.append("\n")
            case "p":
                # One in a box that hangs on this paragraph.
                text.append("\n" * bool(text))
    return "".join(text)


def _docx_mark(paragraph: Any, styles: Mapping[str, str | None]) -> str:  # noqa: ANN401 - the same
    """Return what begins a paragraph of its style in Markdown: a heading, an item of a list, or nothing."""
    style = next((one for one in paragraph.iterfind("./{*}pPr/{*}pStyle")), None)
    name = (styles.get(next(iter(style.values()), "")) or "").lower() if style is not None else ""
    if name == "title":
        return "# "
    if name.startswith("heading "):
        return "#" * min(max(int(name[8:]) if name[8:].isdecimal() else 1, 1), _DEEPEST_HEADING) + " "
    numbering = next((one for one in paragraph.iterfind("./{*}pPr/{*}numPr")), None)
    if numbering is None and not name.startswith("list "):
        return ""
    level = next((one for one in numbering.iterfind("./{*}ilvl")), None) if numbering is not None else None
    depth = next(iter(level.values()), "0") if level is not None else name[-1:]
    # The second style of lists is called List Bullet 2.
    steps = int(depth) - (level is None) if depth.isdecimal() else 0
    return "  " * min(max(steps, 0), _DEEPEST_LIST) + _BULLET


def _docx_table(table: Any) -> str:  # noqa: ANN401 - the same
    rows = [
        [" ".join(" ".join(map(_docx_paragraph, cell.iter("{*}p"))).split()) for cell in row.iterfind("./{*}tc")]
        for row in table.iterfind("./{*}tr")
    ]
    width = max(map(len, rows), default=0)
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row + [""] * (width - len(row))) + " |" for row in rows
    ]
    return "\n".join([*lines[:1], "|" + " --- |" * width, *lines[1:]]) if width else ""


def _pdf_text(data: bytes) -> str:
    import logging

    import pypdf

    # What it finds odd in a file goes to standard error otherwise.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise _Refused("it needs a password; save it without one")
    pages: list[str] = []
    room = MAXIMUM_BODY_BYTES
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text().strip()
        pages += _marked_page(number, text)
        room -= len(text)
        if room < 0:
            raise _Refused(f"its text is longer than {MAXIMUM_BODY_BYTES} characters")
    if all(page.endswith(_NO_TEXT) for page in pages):
        raise _Refused("it holds no text, perhaps only scanned pages: run a text recognition over it first")
    # Letters that a page's font has no character for come as halves of surrogate pairs.
    return "\n\n".join(pages).encode("utf-8", "replace").decode()


def _marked_page(number: int, text: str) -> Iterator[str]:
    """Yield the text of a page in blocks that each name it, so that every passage that is found does."""
    pieces = max(1, estimated_pieces(text))
    longest = max(1, (PASSAGE_PIECES - _MARK_PIECES) * len(text) // pieces)
    for block in cut_text(text, longest) if text else (_NO_TEXT,):
        if block.strip():
            yield f"[page {number}] {block.strip()}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class _Extractor(NamedTuple):
    """How the text of one format is read: by which module of which package, and what to do when it cannot be."""

    name: str
    module: str
    package: str
    text: Callable[[bytes], str]
    advice: str


_HTML: Final = _Extractor("HTML", "html", "Python", _html_text, "Save it as UTF-8, or as text.")

_EXTRACTORS: Final[Mapping[str, _Extractor]] = {
    "htm": _HTML,
    "html": _HTML,
    "docx": _Extractor("DOCX", "docx", "python-docx", _docx_text, "Open it in Word and save it anew, or as text."),
    "pdf": _Extractor("PDF", "pypdf", "pypdf", _pdf_text, "Make its text readable, or export it as text first."),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

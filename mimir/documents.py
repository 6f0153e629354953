"""Text out of files: plain text formats as they are, Word and PDF through libraries that are an extra."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Callable, Mapping
from typing import Final

from mimir.errors import InvalidInput, Unavailable

TEXT_FORMATS: Final = frozenset(
    "csv htm html json jsonl log markdown md org rst tex toml tsv txt xml yaml yml".split()  # noqa: SIM905 - one line
)
"""Extensions of formats whose text is what the file holds."""

_UNPACKED_BYTES: Final = 256 * 1024 * 1024
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
    """Return the text of a document that was read: of Word and PDF what they show, of all others what they hold.

    Raises:
        InvalidInput: it is damaged, or no UTF-8.
        Unavailable: the library for its format is not installed.
    """
    return _EXTRACTORS.get(extension_of(path), decode)(path, data)


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
            if not stat.S_ISREG(about.st_mode):
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


def _docx_text(path: str, data: bytes) -> str:
    try:
        import docx
        from docx.oxml.ns import qn
    except ImportError:
        raise _missing("DOCX", "python-docx") from None
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            unpacked = sum(part.file_size for part in parts.infolist())
        if unpacked > _UNPACKED_BYTES:
            raise InvalidInput(
                f"failed to read {path}: it unpacks to {unpacked} bytes, more than {_UNPACKED_BYTES}",
                hint="Export it as text first.",
            )
        body = docx.Document(io.BytesIO(data)).element.body
    except InvalidInput:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file may raise anything in the library
        raise _damaged(path, "DOCX", error) from None
    text: list[str] = []
    for element in body.iter(qn("w:t"), qn("w:tab"), qn("w:br"), qn("w:cr"), qn("w:p")):
        if element.tag == qn("w:t"):
            text.append(element.text or "")
        elif element.tag == qn("w:tab"):
            # The same tag also describes a tab stop, which is no text.
            text.append("\t" if element.getparent().tag == qn("w:r") else "")
        else:
            text.append("\n")
    return "".join(text).strip("\n")


def _pdf_text(path: str, data: bytes) -> str:
    try:
        import pypdf
    except ImportError:
        raise _missing("PDF", "pypdf") from None
    import logging

    # What it finds odd in a file goes to standard error otherwise, which belongs to us.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        locked = reader.is_encrypted and not reader.decrypt("")
        text = "" if locked else "\n\n".join(page.extract_text() for page in reader.pages)
    except Exception as error:  # noqa: BLE001 - a damaged file may raise anything in the library
        raise _damaged(path, "PDF", error) from None
    if locked:
        raise InvalidInput(f"failed to read {path}: it needs a password", hint="Save it without one.")
    if not text.strip():
        raise InvalidInput(
            f"failed to read {path}: it holds no text, perhaps only scanned pages",
            hint="Make its text readable with a program for optical character recognition.",
        )
    # Letters that a page's font has no character for come as halves of surrogate pairs.
    return text.encode("utf-8", "replace").decode()


def _missing(name: str, package: str) -> Unavailable:
    return Unavailable(
        f"{name} extraction needs {package}, which is not installed.",
        hint="Run: pip install 'mimir-local[documents]'",
    )


def _damaged(path: str, name: str, error: Exception) -> InvalidInput:
    return InvalidInput(
        f"failed to read {path}: no {name}, or a damaged one ({type(error).__name__})",
        hint="Open it in its own program and save it anew.",
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


_EXTRACTORS: Final[Mapping[str, Callable[[str, bytes], str]]] = {"docx": _docx_text, "pdf": _pdf_text}

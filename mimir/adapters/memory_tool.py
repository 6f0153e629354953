"""The file interface of Anthropic's memory tool, over memories instead of files.

Each file below ``/memories`` is a memory: its path is the key, its text the body; every edit is a version in history.
`MimirFiles` needs nothing but Mimir; `memory_tool` makes a tool of it for the runner of the ``anthropic`` package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mimir.adapters.session import Json, Session, entity_named, every_item
from mimir.errors import Conflict, InvalidInput, MimirError, NotFound

if TYPE_CHECKING:
    from anthropic.lib.tools import BetaAbstractMemoryTool

ROOT: Final = "/memories"
CATEGORY: Final = "memory_file"

_LISTED_DEPTH: Final = 2
_NUMBER_WIDTH: Final = 6
_SNIPPET_LINES: Final = 2


class MimirFiles:
    """The six commands on files; each returns the text for the model and raises what should be told as an error.

    ``category`` holds the files, ``workspace_hash`` is their workspace.
    """

    def __init__(self, session: Session, *, category: str = CATEGORY, workspace_hash: str = "") -> None:
        self._session = session
        self._category = category
        self._workspace = workspace_hash

    def run(self, command: Mapping[str, Json]) -> str:
        """Run a command as the model gives it: ``command`` and its arguments.

        Raises:
            InvalidInput: there is no such command, or its arguments are wrong.
            NotFound: there is no such file or folder.
            Conflict: the file exists already.
        """
        arguments = dict(command)
        name = arguments.pop("command", None)
        if name not in _COMMANDS:
            raise InvalidInput(f"There is no command {name!r}.", hint="Use one of: " + ", ".join(_COMMANDS) + ".")
        try:
            return str(getattr(self, name)(**arguments))
        except TypeError:
            raise InvalidInput(f"{name} does not take {', '.join(map(repr, arguments)) or 'nothing'}.") from None

    def view(self, path: str, view_range: Sequence[int] | None = None) -> str:
        """Return the numbered lines of a file, or what a folder holds, two levels deep."""
        clean = _clean(path)
        text = self._text(clean)
        if text is None:
            return self._listing(clean)
        lines = text.split("\n")
        first, last = (view_range or (1, -1)) if view_range is None or len(view_range) == 2 else (1, -1)  # noqa: PLR2004 - a pair
        last = len(lines) if last == -1 else last
        shown = list(enumerate(lines, 1))[max(first, 1) - 1 : last]
        return f"Here's the content of {clean} with line numbers:\n" + _numbered(shown)

    def create(self, path: str, file_text: str) -> str:
        """Store a new file."""
        clean = _file(path)
        if self._text(clean) is not None:
            raise Conflict(f"File {clean} already exists.", hint="Use str_replace or insert to change it.")
        self._store(clean, file_text)
        return f"File created successfully at: {clean}"

    def str_replace(self, path: str, old_str: str, new_str: str = "") -> str:
        """Replace a text that stands in a file exactly once."""
        clean, text = self._existing(path)
        places = [place for place in range(len(text)) if text.startswith(old_str, place)] if old_str else []
        if len(places) != 1:
            lines = ", ".join(str(text.count("\n", 0, place) + 1) for place in places)
            raise InvalidInput(
                f"No replacement was performed: old_str stands {len(places)} times in {clean}"
                + (f", in lines {lines}." if places else "."),
                hint="Give a text that stands there exactly once.",
            )
        changed = text.replace(old_str, new_str)
        self._store(clean, changed)
        line = text.count("\n", 0, places[0])
        around = list(enumerate(changed.split("\n"), 1))[max(line - _SNIPPET_LINES, 0) : line + _SNIPPET_LINES + 1]
        return "The memory file has been edited. Here is the snippet showing the change:\n" + _numbered(around)

    def insert(self, path: str, insert_line: int, insert_text: str) -> str:
        """Insert lines after a line; 0 is the beginning."""
        clean, text = self._existing(path)
        lines = text.split("\n")
        if not 0 <= insert_line <= len(lines):
            raise InvalidInput(
                f"'insert_line' is {insert_line}, not from 0 to {len(lines)}.", hint="Give the line to insert after."
            )
        lines[insert_line:insert_line] = insert_text.rstrip("\n").split("\n")
        self._store(clean, "\n".join(lines))
        return f"The file {clean} has been edited."

    def delete(self, path: str) -> str:
        """Take a file, or all files of a folder, out of memory; their history stays."""
        clean = _file(path)
        for one in self._within(clean):
            self._forget(one)
        return f"Successfully deleted {clean}"

    def rename(self, old_path: str, new_path: str) -> str:
        """Give a file or folder another path."""
        old, new = _file(old_path), _file(new_path)
        if self._paths(new):
            raise Conflict(f"The destination {new} already exists.", hint="Choose another path.")
        if new.startswith(f"{old}/"):
            raise InvalidInput(f"{new} lies within {old}.", hint="Choose a path outside.")
        for one in self._within(old):
            self._store(new + one.removeprefix(old), self._text(one) or "")
            self._forget(one)
        return f"Successfully renamed {old} to {new}"

    def clear_all_memory(self) -> str:
        """Take every file out of memory."""
        for one in self._paths(ROOT):
            self._forget(one)
        return "All memory cleared"

    def _listing(self, path: str) -> str:
        files = self._within(path) if path != ROOT else self._paths(path)
        shown = {
            "/".join(parts[:depth]) + ("/" if depth < len(parts) else "")
            for file in files
            for parts in [file.removeprefix(f"{path}/").split("/")]
            for depth in range(1, min(len(parts), _LISTED_DEPTH) + 1)
        }
        lines = [f"Here're the files and directories up to 2 levels deep in {path}:", path]
        return "\n".join([*lines, *(f"{path}/{name}" for name in sorted(shown))])

    def _within(self, path: str) -> list[str]:
        """Return the files at or below a path.

        Raises:
            NotFound: there is none.
        """
        found = self._paths(path)
        if not found:
            raise NotFound(f"The path {path} does not exist.", hint=f"Use view on {ROOT} to see what exists.")
        return found

    def _paths(self, path: str) -> list[str]:
        if path != ROOT and self._text(path) is not None:
            return [path]
        found = every_item(
            self._session, query="", category=self._category, workspace_hash=self._workspace, topic_path=f"{path}/"
        )
        return sorted(str(item["key"]) for item in found)

    def _existing(self, path: str) -> tuple[str, str]:
        clean = _file(path)
        text = self._text(clean)
        if text is None:
            raise NotFound(f"The file {clean} does not exist.", hint=f"Use view on {ROOT} to see what exists.")
        return clean, text

    def _text(self, path: str) -> str | None:
        entity = entity_named(self._session, self._category, path, self._workspace)
        return None if entity is None else str(json.loads(entity["body_json"])["content"])

    def _store(self, path: str, text: str) -> None:
        self._session.call(
            "remember",
            category=self._category,
            key=path,
            body_json={"content": text},
            type="file",
            topic_path=path,
            workspace_hash=self._workspace,
        )

    def _forget(self, path: str) -> None:
        self._session.call("forget", category=self._category, key=path, workspace_hash=self._workspace)


_COMMANDS: Final = ("view", "create", "str_replace", "insert", "delete", "rename")


def memory_tool(files: MimirFiles) -> BetaAbstractMemoryTool:
    """Return the memory tool that the ``anthropic`` package's tool runner takes.

    Raises:
        Unavailable: that package is not installed.
    """
    from mimir.adapters.extras import needed

    with needed("the anthropic package", "anthropic"):
        from anthropic.lib.tools import BetaAbstractMemoryTool, ToolError

    class MimirMemoryTool(BetaAbstractMemoryTool):
        """Runs each command on the files of a store."""

        def _run(self, command: Any) -> str:  # noqa: ANN401 - one of six models of that package
            try:
                return files.run(command.model_dump(exclude_none=True, by_alias=True))
            except MimirError as error:
                raise ToolError(f"{error.message} {error.hint}".rstrip()) from error

        view = create = str_replace = insert = delete = rename = _run

        def clear_all_memory(self) -> str:
            """Take every file out of memory."""
            return files.clear_all_memory()

    return MimirMemoryTool()


def _clean(path: str) -> str:
    """Return a path in its one form.

    Raises:
        InvalidInput: it leads out of the root.
    """
    parts = path.split("/")
    if (path != ROOT and not path.startswith(f"{ROOT}/")) or ".." in parts or "\0" in path:
        raise InvalidInput(f"'path' is {path!r}.", hint=f"Give a path below {ROOT}, without '..'.")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def _file(path: str) -> str:
    clean = _clean(path)
    if clean == ROOT:
        raise InvalidInput(f"{ROOT} is the folder of all files.", hint="Name a file or folder in it.")
    return clean


def _numbered(lines: Sequence[tuple[int, str]]) -> str:
    return "\n".join(f"{number:>{_NUMBER_WIDTH}}\t{line}" for number, line in lines)

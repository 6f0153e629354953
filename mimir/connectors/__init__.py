"""Connectors: what they are told to read in connectors.yaml, and what they bring."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from mimir.config import with_environment
from mimir.documents import decode, read_bytes
from mimir.errors import InvalidInput
from mimir.model import Json

_LARGEST_CONFIG_BYTES: Final = 64 * 1024

_Count: TypeAlias = Annotated[int, Meta(ge=1)]


class GithubSource(Struct, frozen=True, kw_only=True):
    """Issues and pull requests of repositories, with their comments.

    `days_past` and `max_items_per_repo` bound how many; `longest_wait_secs` is how long a run waits for GitHub to
    answer again before it stops.
    """

    enabled: bool = False
    token: str = ""
    repos: tuple[str, ...] = ()
    days_past: _Count = 90
    max_items_per_repo: _Count = 500
    base_url: str = "https://api.github.com"
    timeout_secs: _Count = 30
    longest_wait_secs: Annotated[int, Meta(ge=0)] = 60


class FileSource(Struct, frozen=True, kw_only=True):
    """Files in folders; `extensions` have their dots, `debounce_ms` is how long a watched folder must be quiet."""

    enabled: bool = False
    paths: tuple[str, ...] = ()
    extensions: tuple[str, ...] = (".md", ".markdown", ".txt", ".rst", ".org", ".json")
    debounce_ms: _Count = 1500


class Sources(Struct, frozen=True, kw_only=True):
    """Everything that connectors may read."""

    github: GithubSource = GithubSource()
    file_watcher: FileSource = FileSource()

    @property
    def enabled(self) -> tuple[str, ...]:
        """Return the names of the connectors that are switched on."""
        return tuple(name for name in self.__struct_fields__ if getattr(self, name).enabled)


class Text(Struct, frozen=True, kw_only=True):
    """One memory as a connector brings it."""

    category: str
    key: str
    tags: tuple[str, ...]
    body: dict[str, Json]
    topic_path: str = ""


class Document(Struct, frozen=True, kw_only=True):
    """One document as a connector found it, in one memory or several; in none if it is gone.

    `item` names it within its connector and does not show what it is called, so that nothing of a memory that is
    erased stays behind; `position` is another one whenever its content is.
    """

    item: str
    position: str
    texts: tuple[Text, ...]


class Bookmark(Struct, frozen=True, kw_only=True):
    """How far a connector has read, once all that it found before is stored."""

    item: str
    position: str


class Unreadable(Struct, frozen=True, kw_only=True):
    """One document, or one place of documents, that a connector could not read, and why."""

    key: str
    reason: str


Found: TypeAlias = Document | Bookmark | Unreadable


def load_sources(path: str) -> Sources:
    """Return what the YAML file at ``path`` says under ``connectors``; names that are not known are ignored.

    ``${NAME}`` in a text stands for a variable of the environment.

    Raises:
        InvalidInput: the file cannot be read, is no YAML, a value is of the wrong kind, or a variable is not set.
    """
    import yaml

    text = decode(path, read_bytes(path, _LARGEST_CONFIG_BYTES))
    try:
        told = yaml.safe_load(text)
        connectors = told.get("connectors") if isinstance(told, dict) else told
        named = connectors if connectors is not None else {}
        known = {name: one for name, one in dict(named).items() if one is not None}
        return msgspec.convert(_filled(msgspec.convert(known, Sources), path), Sources)
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"{path}: {' '.join(str(error).split())}",
            hint="Write, for example: connectors: {file_watcher: {enabled: true, paths: [~/notes]}}",
        ) from None


def _filled(sources: Sources, path: str) -> dict[str, dict[str, Json]]:
    """Return the sources as plain values; texts of those that are switched on have the environment put in."""

    def fill(value: Json) -> Json:
        if isinstance(value, tuple):
            return tuple(map(fill, value))
        return with_environment(value, path) if isinstance(value, str) else value

    return {
        name: {field: fill(value) for field, value in msgspec.structs.asdict(getattr(sources, name)).items()}
        for name in sources.enabled
    }

"""Connectors: what they are told to read in connectors.yaml, and the documents that they bring."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from mimir.documents import decode, read_bytes
from mimir.errors import InvalidInput

_LARGEST_CONFIG_BYTES: Final = 64 * 1024


class GithubSource(Struct, frozen=True, kw_only=True):
    """Issues of repositories; `days_past` and `max_items_per_repo` bound how many."""

    enabled: bool = False
    token: str = ""
    repos: tuple[str, ...] = ()
    days_past: int = 90
    max_items_per_repo: int = 500


class FileSource(Struct, frozen=True, kw_only=True):
    """Files in folders; `extensions` have their dots."""

    enabled: bool = False
    paths: tuple[str, ...] = ()
    extensions: tuple[str, ...] = (".md", ".txt")


class Sources(Struct, frozen=True, kw_only=True):
    """Everything that connectors may read."""

    github: GithubSource = GithubSource()
    file_watcher: FileSource = FileSource()

    @property
    def enabled(self) -> tuple[str, ...]:
        """Return the names of the connectors that are switched on."""
        return tuple(name for name in self.__struct_fields__ if getattr(self, name).enabled)


class Document(Struct, frozen=True, kw_only=True):
    """One document as a connector found it.

    `item` names it within its connector and does not show what it is called, so that nothing of a memory that is
    erased stays behind; `position` is another one whenever its content is.
    """

    item: str
    position: str
    key: str
    tags: tuple[str, ...]
    body: dict[str, str]


class Unreadable(Struct, frozen=True, kw_only=True):
    """One document that a connector could not read, and why."""

    key: str
    reason: str


def load_sources(path: str) -> Sources:
    """Return what the YAML file at ``path`` says under ``connectors``; names that are not known are ignored.

    Raises:
        InvalidInput: the file cannot be read, is no YAML, or a value is of the wrong kind.
    """
    import yaml

    text = decode(path, read_bytes(path, _LARGEST_CONFIG_BYTES))
    try:
        told = yaml.safe_load(text)
        connectors = told.get("connectors") if isinstance(told, dict) else told
        named = connectors if connectors is not None else {}
        return msgspec.convert({name: one for name, one in dict(named).items() if one is not None}, Sources)
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"{path}: {' '.join(str(error).split())}",
            hint="Write, for example: connectors: {file_watcher: {enabled: true, paths: [~/notes]}}",
        ) from None

"""A zip file for Notion's import: a page for each memory, links between them, and a table of all."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import msgspec

from mimir.engine import Engine
from mimir.errors import InvalidInput
from mimir.model import Entity, Filter, Stored
from mimir.progress import report
from mimir.recording import may_read
from mimir.rules.front_matter import write_moment
from mimir.rules.note import prose_of

_UNSAFE: Final = re.compile(r'[\\/:*?"<>|#%\[\]\x00-\x1f\x7f]+')
_LONGEST_TITLE: Final = 60
_ID_DIGITS: Final = 12
_FIRST_DAY: Final = (1980, 1, 1, 0, 0, 0)
_COLUMNS: Final = ("Name", "Category", "Tags", "Type", "Status", "Certainty", "Created", "Text")


def write_notion_zip(engine: Engine, path: str, workspace_hash: str | None = None) -> int:
    """Write the zip file at ``path`` whole or not at all; return how many pages are in it.

    The same memories give the same bytes.

    Raises:
        InvalidInput: it cannot be written.
    """
    import zipfile

    filter_ = Filter(workspace_hash=workspace_hash, include_archived=True, caller=engine.settings.agent_id)
    total = sum(count for _, _, count in engine.store.count_by_scope(filter_))
    partial = f"{path}.{engine.clock.new_id('', 16)}.partial"
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(_COLUMNS)
    pages = 0
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with zipfile.ZipFile(partial, "x", zipfile.ZIP_DEFLATED) as pack:
            for stored in _unarchived(engine, filter_):
                entity = stored.entity
                pack.writestr(
                    zipfile.ZipInfo(_page_path(entity.id, entity.category, entity.key), _FIRST_DAY),
                    _page(engine, entity),
                    zipfile.ZIP_DEFLATED,
                )
                rows.writerow(_row(entity))
                pages += 1
                report(pages, total)
            # Programs that open tables take text for UTF-8 only with this mark.
            told = "\ufeff" + table.getvalue()
            pack.writestr(zipfile.ZipInfo("Memories.csv", _FIRST_DAY), told, zipfile.ZIP_DEFLATED)
        os.replace(partial, path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}", hint="Name another file.") from None
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    return pages


def _unarchived(engine: Engine, filter_: Filter) -> Iterator[Stored]:
    for batch in engine.store.scan(filter_):
        yield from (stored for stored in batch if not stored.entity.archived)


def _page(engine: Engine, entity: Entity) -> str:
    told = [f"{name}: {value}" for name, value in zip(_COLUMNS[1:-1], _row(entity)[1:-1], strict=True) if value]
    lines = [f"# {_title(entity.key)}", "", *told, "", _text(entity)]
    links = list(_links(engine, entity))
    return "\n".join([*lines, "", "## Links", "", *links, ""] if links else [*lines, ""])


def _links(engine: Engine, entity: Entity) -> Iterator[str]:
    for link in entity.links:
        target = engine.store.get(link.target_id)
        if target is not None and not target.entity.archived and may_read(engine, target.entity):
            one = target.entity
            label = _title(one.key).replace("[", "(").replace("]", ")")
            yield f"- [{label}](../{quote(_page_path(one.id, one.category, one.key))}) ({link.relationship})"


def _text(entity: Entity) -> str:
    return prose_of(entity.body_json) or f"```json\n{msgspec.json.format(entity.body_json, indent=2)}\n```"


def _row(entity: Entity) -> tuple[str, ...]:
    return (
        _title(entity.key),
        entity.category,
        ", ".join(tag.replace(",", " ") for tag in entity.tags),
        entity.type,
        entity.status,
        f"{entity.certainty:g}",
        write_moment(entity.created_at_unix_ms),
        _text(entity),
    )


def _title(key: str) -> str:
    return " ".join(key.split()) or key


def _page_path(entity_id: str, category: str, key: str) -> str:
    """Return where the page of a memory is; the end of its id keeps it apart from others of the same words."""
    mark = _UNSAFE.sub("_", entity_id)[-_ID_DIGITS:]
    return f"{_file_name(category)}/{_file_name(key)} {mark}.md"


def _file_name(words: str) -> str:
    return " ".join(_UNSAFE.sub(" ", words).split())[:_LONGEST_TITLE].strip(" .") or "untitled"

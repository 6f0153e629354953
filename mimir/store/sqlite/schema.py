"""The schema of a store file and its ordered migrations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import apsw

from mimir.errors import StorageFailure
from mimir.store.sqlite.connection import Database

if TYPE_CHECKING:
    from mimir.crypto import Keys

APPLICATION_ID: Final = 0x4D696D72
"""The four letters Mimr in the header of every store file."""

_TEXT_INDEX: Final = """
CREATE VIRTUAL TABLE {name} USING fts5(
  key, text, tags, topic,
  content='', contentless_delete=1, tokenize="porter unicode61 remove_diacritics 2"
);
-- Merging away many deleted rows at once would keep the write lock for half a second; they cost a search next to
-- nothing, and leave with the next merge.
INSERT INTO {name}({name}, rank) VALUES ('deletemerge', 0);
"""

_ENTITY_COLUMNS: Final = """
  category TEXT NOT NULL,
  key TEXT NOT NULL,
  workspace_hash TEXT NOT NULL,
  body_json TEXT NOT NULL,
  status TEXT NOT NULL,
  type TEXT NOT NULL,
  tags TEXT NOT NULL,
  decay_score REAL NOT NULL,
  retrieval_count INTEGER NOT NULL,
  layer TEXT NOT NULL,
  topic_path TEXT NOT NULL,
  archived INTEGER NOT NULL,
  archive_reason TEXT NOT NULL,
  verified INTEGER NOT NULL,
  source TEXT NOT NULL,
  always_on INTEGER NOT NULL,
  certainty REAL NOT NULL,
  agent_id TEXT NOT NULL,
  visibility TEXT NOT NULL,
  created_at_unix_ms INTEGER NOT NULL,
  last_accessed_unix_ms INTEGER NOT NULL,
  recorded_at_unix_ms INTEGER NOT NULL,
  valid_from_unix_ms INTEGER,
  valid_to_unix_ms INTEGER,
  score_floor REAL,
  passages INTEGER NOT NULL,
  archived_at_unix_ms INTEGER,
  has_triggers INTEGER NOT NULL
"""

_REFUSED: Final = "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
JOURNAL_GUARDS: Final = {
    name: f"CREATE TRIGGER {name} {condition}\n{_REFUSED}"
    for name, condition in (
        (
            # REPLACE deletes what is in its way without asking the trigger on deletion.
            "journal_replaces_nothing",
            """BEFORE INSERT ON journal
WHEN EXISTS (SELECT 1 FROM journal WHERE sequence = NEW.sequence OR id = NEW.id)""",
        ),
        (
            "journal_grows_at_its_end",
            """AFTER INSERT ON journal
WHEN NEW.sequence < 1 OR EXISTS (SELECT 1 FROM journal WHERE sequence > NEW.sequence)""",
        ),
        ("journal_is_append_only", "BEFORE DELETE ON journal"),
        (
            "journal_keeps_its_rows",
            """BEFORE UPDATE ON journal
WHEN NEW.payload IS NOT NULL
  OR (NEW.sequence, NEW.id, NEW.event_type, NEW.category, NEW.key, NEW.entity_id, NEW.agent_id, NEW.workspace_hash,
      NEW.payload_commitment, NEW.audit_hash, NEW.created_at_unix_ms)
  IS NOT (OLD.sequence, OLD.id, OLD.event_type, OLD.category, OLD.key, OLD.entity_id, OLD.agent_id,
      OLD.workspace_hash, OLD.payload_commitment, OLD.audit_hash, OLD.created_at_unix_ms)""",
        ),
    )
}
"""The triggers that let the journal only grow, by name, each as the file keeps it; a payload may be blanked."""

_GUARDS: Final = ";\n".join(JOURNAL_GUARDS.values()) + ";"

_V1: Final = f"""
-- Numbers are never given twice: another process may still hold that of an entity or passage which was erased.
CREATE TABLE entities (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
{_ENTITY_COLUMNS},
  fading_from_unix_ms INTEGER
);
CREATE UNIQUE INDEX entities_identity ON entities(category, key, workspace_hash);
-- Ascending, since new rows then come at its end: read backwards it gives the order of browsing.
CREATE INDEX entities_browse ON entities(retrieval_count, last_accessed_unix_ms) WHERE archived = 0;
CREATE INDEX entities_topic ON entities(topic_path, number) WHERE topic_path <> '';
CREATE INDEX entities_triggers ON entities(number) WHERE has_triggers = 1;
CREATE INDEX entities_always_on ON entities(number) WHERE always_on = 1 AND archived = 0;

CREATE TABLE versions (
  number INTEGER PRIMARY KEY,
  version_id TEXT NOT NULL UNIQUE,
  entity INTEGER NOT NULL,
  id TEXT NOT NULL,
{_ENTITY_COLUMNS},
  links TEXT NOT NULL,
  invalidated_at_unix_ms INTEGER NOT NULL,
  superseded_by TEXT NOT NULL,
  amended INTEGER NOT NULL
);
CREATE INDEX versions_entity ON versions(entity, recorded_at_unix_ms);

CREATE TABLE links (
  source INTEGER NOT NULL,
  target_id TEXT NOT NULL,
  relationship TEXT NOT NULL,
  weight REAL NOT NULL,
  created_at_unix_ms INTEGER NOT NULL,
  PRIMARY KEY (source, target_id, relationship)
) WITHOUT ROWID;
CREATE INDEX links_target ON links(target_id);

-- Workspace and category never change. Kept beside each passage they let a search drop what is outside without looking
-- at the rows of entities, which are many times larger.
CREATE TABLE scopes (
  number INTEGER PRIMARY KEY,
  workspace_hash TEXT NOT NULL,
  category TEXT NOT NULL,
  UNIQUE (workspace_hash, category)
);
-- The owner is the number of an entity, or the negative number of a version. The id is the row's id in the text index.
CREATE TABLE passages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  owner INTEGER NOT NULL,
  scope INTEGER NOT NULL,
  start INTEGER NOT NULL,
  length INTEGER NOT NULL
);
CREATE INDEX passages_owner ON passages(owner);
CREATE TABLE pending (
  passage INTEGER PRIMARY KEY,
  leased_until_unix_ms INTEGER NOT NULL
);
CREATE TABLE models (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  dimensions INTEGER NOT NULL
);
-- A vector is its bytes as signed 8-bit numbers followed by a 32-bit float scale, little-endian.
CREATE TABLE vectors (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  passage INTEGER NOT NULL UNIQUE,
  model INTEGER NOT NULL,
  vector BLOB NOT NULL
);
CREATE TABLE sketches (
  mark INTEGER NOT NULL,
  entity INTEGER NOT NULL,
  PRIMARY KEY (mark, entity)
) WITHOUT ROWID;

CREATE TABLE journal (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  event_type TEXT NOT NULL,
  category TEXT NOT NULL,
  key TEXT NOT NULL,
  entity_id TEXT NOT NULL,
  agent_id TEXT NOT NULL,
  workspace_hash TEXT NOT NULL,
  payload TEXT,
  payload_commitment TEXT NOT NULL,
  audit_hash TEXT NOT NULL,
  created_at_unix_ms INTEGER NOT NULL
);
CREATE INDEX journal_created ON journal(created_at_unix_ms);
CREATE INDEX journal_entity ON journal(entity_id) WHERE entity_id <> '';
CREATE INDEX journal_subject ON journal(key, category, workspace_hash) WHERE key <> '';
{_GUARDS}
-- From which row on the journal is chained with which key; see sealing.py.
CREATE TABLE journal_keys (
  first_sequence INTEGER PRIMARY KEY,
  key TEXT
);

CREATE TABLE state (
  key TEXT PRIMARY KEY,
  value_json TEXT NOT NULL,
  expires_at_unix_ms INTEGER,
  created_at_unix_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX state_expires ON state(expires_at_unix_ms) WHERE expires_at_unix_ms IS NOT NULL;

-- A row for each erasure whose words may still stand in the text index, in free pages or in the log.
CREATE TABLE unswept (number INTEGER PRIMARY KEY AUTOINCREMENT);

CREATE TABLE cursors (
  connector TEXT NOT NULL,
  item TEXT NOT NULL,
  position TEXT NOT NULL,
  updated_at_unix_ms INTEGER NOT NULL,
  PRIMARY KEY (connector, item)
) WITHOUT ROWID;

-- Entities that a pass has archived, whose text still stands in the index of live ones.
CREATE TABLE leaving (entity INTEGER PRIMARY KEY);

{_TEXT_INDEX.format(name="passage_text")}
{_TEXT_INDEX.format(name="past_text")}
CREATE VIRTUAL TABLE passage_vocabulary USING fts5vocab(passage_text, row);
"""

_SHOWN: Final = """
  {0}.body_json, {0}.status, {0}.type, {0}.tags, {0}.layer, {0}.topic_path, {0}.archived, {0}.archive_reason,
  {0}.verified, {0}.source, {0}.always_on, {0}.certainty, {0}.agent_id, {0}.visibility, {0}.created_at_unix_ms,
  {0}.recorded_at_unix_ms, {0}.valid_from_unix_ms, {0}.valid_to_unix_ms, {0}.score_floor
"""
# What the statement that fires a trigger does about conflicts holds in the trigger as well, so that it must have none.
_NOTE_CHANGE: Final = """BEGIN
  UPDATE changes SET counter = (SELECT max(counter) + 1 FROM changes) WHERE entity = {0};
  INSERT INTO changes(entity) SELECT {0} WHERE NOT EXISTS (SELECT 1 FROM changes WHERE entity = {0});
END"""

_V2: Final = f"""
-- When each entity changed last: the highest counter there is, and one more. Erased entities keep their row, so that
-- whoever follows the changes learns of it. Neither use nor fading counts.
CREATE TABLE changes (
  counter INTEGER PRIMARY KEY,
  entity INTEGER NOT NULL UNIQUE
);
CREATE TRIGGER entity_added AFTER INSERT ON entities {_NOTE_CHANGE.format("NEW.number")};
CREATE TRIGGER entity_removed AFTER DELETE ON entities {_NOTE_CHANGE.format("OLD.number")};
CREATE TRIGGER entity_changed AFTER UPDATE ON entities
WHEN ({_SHOWN.format("NEW")}) IS NOT ({_SHOWN.format("OLD")})
{_NOTE_CHANGE.format("NEW.number")};
CREATE TRIGGER link_added AFTER INSERT ON links {_NOTE_CHANGE.format("NEW.source")};
CREATE TRIGGER link_removed AFTER DELETE ON links {_NOTE_CHANGE.format("OLD.source")};
CREATE TRIGGER link_changed AFTER UPDATE OF weight ON links WHEN NEW.weight IS NOT OLD.weight
{_NOTE_CHANGE.format("NEW.source")};
"""

_V3: Final = """
-- Orders in which a list can be walked. New rows come at the end of most of them.
CREATE INDEX IF NOT EXISTS entities_accessed ON entities(last_accessed_unix_ms);
CREATE INDEX IF NOT EXISTS entities_created ON entities(created_at_unix_ms);
CREATE INDEX IF NOT EXISTS entities_recorded ON entities(recorded_at_unix_ms);
CREATE INDEX IF NOT EXISTS entities_key ON entities(key);
-- What is counted over all entities, in the order of the groups, without reading their much longer rows.
CREATE INDEX IF NOT EXISTS entities_facets ON entities(
  category, type, layer, archived, status, workspace_hash, visibility, agent_id, created_at_unix_ms
);
"""

_V4: Final = f"""
-- What fading and use write is not shown: a trigger on all columns compared each row with itself for nothing.
DROP TRIGGER entity_changed;
CREATE TRIGGER entity_changed AFTER UPDATE OF {_SHOWN.replace("{0}.", "").strip()} ON entities
WHEN ({_SHOWN.format("NEW")}) IS NOT ({_SHOWN.format("OLD")})
{_NOTE_CHANGE.format("NEW.number")};
"""

MIGRATIONS: Final[tuple[Callable[[apsw.Connection], None], ...]] = (
    lambda connection: _run(connection, _V1),
    lambda connection: _run(connection, _V2),
    lambda connection: _run(connection, _V3),
    lambda connection: _run(connection, _V4),
)
"""Step n brings a file from user_version n to n + 1."""


ORIGINAL: Final = -1
"""Stands for the format of a file that the Rust Mimir wrote."""


def prepare(database: Database) -> bool:
    """Bring the file to the present schema: create it, migrate it after a backup, or refuse it untouched.

    Returns whether it was one that the Rust Mimir wrote, whose former pages are now free ones.

    Raises:
        StorageFailure: it is another program's file, damaged, or one of a newer Mimir.
        Locked: it is one of the Rust Mimir whose bodies are encrypted, and the keys are missing or others.
    """
    with database.reading() as connection:
        version = format_version(connection, database.path, database.keys)
    if version == len(MIGRATIONS):
        return False
    with database.writing() as connection:
        # Another process may have migrated while this one waited for the lock.
        version = format_version(connection, database.path, database.keys)
        if version == ORIGINAL:
            _convert(database)
        elif 0 < version < len(MIGRATIONS):
            with _kept_copy(database, f"v{version}"):
                _migrate(database, version)
        else:
            _migrate(database, version)
        if version > 0:
            # Made by another process meanwhile, it may not be sealed as this one would have done.
            database.unlock(connection)
    return version == ORIGINAL


def _migrate(database: Database, version: int) -> None:
    connection = database.connection
    for step in MIGRATIONS[version:]:
        step(connection)
    if version == 0:
        database.begin_sealing()
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")


def _convert(database: Database) -> None:
    """Convert a file of the Rust Mimir; a copy of it as it was stays beside it."""
    # Imported here since hardly any file is one of those.
    from mimir.store.sqlite.filling import convert

    version = database.execute("PRAGMA user_version").get
    with _kept_copy(database, f"original-{version}"):
        convert(database, lambda: _migrate(database, 0))


@contextmanager
def _kept_copy(database: Database, what: str) -> Iterator[None]:
    """Copy the file as it is before the block changes it; the copy is named at the end and no other one is replaced.

    So an attempt that fails or is cut off leaves nothing that looks like a backup.
    """
    from mimir.crypto import sync_folder
    from mimir.store.sqlite.files import unused

    name = f"{database.path}.{what}"
    partial = f"{name}.bak.partial"
    try:
        _copy(database, partial)
        yield
        os.rename(partial, unused(name))
        sync_folder(os.path.dirname(name))
    finally:
        with suppress(FileNotFoundError):
            os.remove(partial)


def format_version(connection: apsw.Connection, path: str, keys: Keys | None = None) -> int:
    """Return the format of the file: 0 for an empty one, `ORIGINAL` for one that the Rust Mimir wrote.

    Raises:
        StorageFailure: it is another program's file, damaged, or one of a newer Mimir.
        Locked: it is one of the Rust Mimir whose bodies are encrypted, and the keys are missing or others.
    """
    if connection.in_transaction:
        return _format(connection, path)
    with _snapshot(connection):
        version = _format(connection, path)
        if version == ORIGINAL:
            from mimir.store.sqlite.original import refuse_unreadable

            # Looked at when the file is opened, before a byte of it is changed.
            refuse_unreadable(connection, path, keys)
    return version


@contextmanager
def _snapshot(connection: apsw.Connection) -> Iterator[None]:
    """Read the file as it is now, although another process may be making or converting it at this moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _format(connection: apsw.Connection, path: str) -> int:
    application_id = connection.execute("PRAGMA application_id").get
    version = int(connection.execute("PRAGMA user_version").get)
    if application_id == APPLICATION_ID:
        if version > len(MIGRATIONS):
            raise StorageFailure(
                f"The store {path} was written by a newer Mimir (format {version}, this one knows {len(MIGRATIONS)}).",
                hint="Upgrade this installation; the file was left untouched.",
            )
        return version
    if application_id == 0:
        if not connection.execute("SELECT count(*) FROM sqlite_schema").get:
            return 0
        # Imported here since hardly any file is one of those.
        from mimir.store.sqlite.original import is_original

        if is_original(connection):
            return ORIGINAL
    raise StorageFailure(
        f"{path} is a database of another program; its tables are not Mimir's.",
        hint="Choose another file with --db; this one was left untouched.",
    )


def _copy(database: Database, destination: str) -> None:
    from mimir.store.sqlite.replacing import copy_pages, copy_sealed
    from mimir.store.sqlite.sealing import BODY, use_page_key

    keys = database.keys
    with database.naming_failures():
        if keys is not None and not database.pages_sealed and database.scope != BODY:
            # A file of the Rust Mimir, which becomes a sealed store.
            copy_sealed(database.path, destination, keys)
            return
        # A connection of its own: one that holds the write lock cannot be copied from.
        source = apsw.Connection(database.path, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            if keys is not None and database.pages_sealed:
                use_page_key(source, keys)
            copy_pages(source, destination, keys if database.pages_sealed else None)
        finally:
            source.close()


def _run(connection: apsw.Connection, script: str) -> None:
    for _ in connection.execute(script):
        pass

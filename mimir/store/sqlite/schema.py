"""The schema of a store file and its ordered migrations."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import apsw

from mimir.errors import StorageFailure
from mimir.store.sqlite.connection import Database

APPLICATION_ID: Final = 0x4D696D72
"""The four letters Mimr in the header of every store file."""

_TEXT_INDEX: Final = """
CREATE VIRTUAL TABLE {name} USING fts5(
  key, text, tags, topic,
  content='', contentless_delete=1, tokenize="porter unicode61 remove_diacritics 2"
);
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
  archived_at_unix_ms INTEGER
"""

_V1: Final = f"""
CREATE TABLE entities (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
{_ENTITY_COLUMNS}
);
CREATE UNIQUE INDEX entities_identity ON entities(key, category, workspace_hash);
CREATE INDEX entities_category ON entities(category, archived);
CREATE INDEX entities_workspace ON entities(workspace_hash) WHERE workspace_hash <> '';
-- Ascending, since new rows then come at its end: read backwards it gives the order of browsing.
CREATE INDEX entities_browse ON entities(retrieval_count, last_accessed_unix_ms) WHERE archived = 0;
CREATE INDEX entities_topic ON entities(topic_path, number) WHERE topic_path <> '';
CREATE INDEX entities_triggers ON entities(number) WHERE instr(body_json, '"recall_when"') > 0;
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
  id INTEGER PRIMARY KEY,
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
CREATE TRIGGER journal_replaces_nothing BEFORE INSERT ON journal
WHEN EXISTS (SELECT 1 FROM journal WHERE sequence = NEW.sequence OR id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_is_append_only BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_keeps_its_rows BEFORE UPDATE ON journal
WHEN NEW.payload IS NOT NULL
  OR (NEW.sequence, NEW.id, NEW.event_type, NEW.category, NEW.key, NEW.entity_id, NEW.agent_id, NEW.workspace_hash,
      NEW.payload_commitment, NEW.audit_hash, NEW.created_at_unix_ms)
  IS NOT (OLD.sequence, OLD.id, OLD.event_type, OLD.category, OLD.key, OLD.entity_id, OLD.agent_id,
      OLD.workspace_hash, OLD.payload_commitment, OLD.audit_hash, OLD.created_at_unix_ms)
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TABLE state (
  key TEXT PRIMARY KEY,
  value_json TEXT NOT NULL,
  expires_at_unix_ms INTEGER,
  created_at_unix_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE cursors (
  connector TEXT NOT NULL,
  item TEXT NOT NULL,
  position TEXT NOT NULL,
  updated_at_unix_ms INTEGER NOT NULL,
  PRIMARY KEY (connector, item)
) WITHOUT ROWID;

{_TEXT_INDEX.format(name="passage_text")}
{_TEXT_INDEX.format(name="past_text")}
CREATE VIRTUAL TABLE passage_vocabulary USING fts5vocab(passage_text, row);
"""

MIGRATIONS: Final[tuple[Callable[[apsw.Connection], None], ...]] = (lambda connection: _run(connection, _V1),)
"""Step n brings a file from user_version n to n + 1."""


def prepare(database: Database) -> None:
    """Bring the file to the present schema: create it, migrate it after a backup, or refuse it untouched.

    Raises:
        StorageFailure: it is another program's file, or one of a newer Mimir.
    """
    with database.reading() as connection:
        version = format_version(connection, database.path)
    if version == len(MIGRATIONS):
        return
    with database.writing() as connection:
        # Another process may have migrated while this one waited for the lock.
        version = format_version(connection, database.path)
        if 0 < version < len(MIGRATIONS):
            back_up(database, f"{database.path}.v{version}.bak")
        for step in MIGRATIONS[version:]:
            step(connection)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")


def format_version(connection: apsw.Connection, path: str) -> int:
    """Return the format of the file, 0 for an empty one.

    Raises:
        StorageFailure: it is another program's file, or one of a newer Mimir.
    """
    application_id = connection.execute("PRAGMA application_id").get
    version = int(connection.execute("PRAGMA user_version").get)
    if application_id == APPLICATION_ID:
        if version > len(MIGRATIONS):
            raise StorageFailure(
                f"The store {path} was written by a newer Mimir (format {version}, this one knows {len(MIGRATIONS)}).",
                hint="Upgrade this installation; the file was left untouched.",
            )
        return version
    if application_id != 0 or connection.execute("SELECT count(*) FROM sqlite_schema").get:
        raise StorageFailure(
            f"{path} is a database of another program; its tables are not Mimir's.",
            hint="Choose another file with --db; this one was left untouched.",
        )
    return 0


def back_up(database: Database, destination: str) -> None:
    """Copy the store, as it is now, into a new file at ``destination``; an older file there is replaced."""
    partial = destination + ".partial"
    if os.path.exists(partial):
        os.remove(partial)
    with database.naming_failures():
        # A connection of its own: one that holds the write lock cannot be copied from.
        source = apsw.Connection(database.path, flags=apsw.SQLITE_OPEN_READONLY)
        target = apsw.Connection(partial)
        try:
            with target.backup("main", source, "main") as copy:
                while not copy.done:
                    copy.step(1_000)
        finally:
            target.close()
            source.close()
    os.replace(partial, destination)


def _run(connection: apsw.Connection, script: str) -> None:
    for _ in connection.execute(script):
        pass

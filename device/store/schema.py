"""Tables of the state file and how an older file becomes a newer one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

APPLICATION_ID = 0x6564_6774  # "edgt": tells a state file from any other SQLite file
SCHEMA_VERSION = 1
# Small pages: a taught sample dirties a handful of pages, and each is written whole, twice. With 1024
# bytes an SD card takes about a third of what the default 4096 costs (benchmarks/writes.py).
PAGE_SIZE = 1024

# Labels stand apart from the codes so that renaming or listing never rewrites or reads the large rows.
# A row of samples is never deleted: label NULL means forgotten, so ids are dense and never reused.
TABLES = (
    "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE samples (id INTEGER PRIMARY KEY, uuid BLOB NOT NULL, label TEXT, time REAL NOT NULL,"
    " source TEXT NOT NULL, burst INTEGER NOT NULL, seq INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT",
    "CREATE TABLE codes (sample INTEGER PRIMARY KEY, crc INTEGER NOT NULL, code BLOB NOT NULL) STRICT",
    "CREATE TABLE thumbnails (sample INTEGER PRIMARY KEY, crc INTEGER NOT NULL, jpeg BLOB NOT NULL) STRICT",
    "CREATE TABLE lab (label TEXT PRIMARY KEY, name TEXT) STRICT",
    "CREATE TABLE journal (seq INTEGER PRIMARY KEY, time REAL NOT NULL, action TEXT NOT NULL,"
    " undoes INTEGER, changes TEXT NOT NULL, crc INTEGER NOT NULL) STRICT",
    "CREATE TABLE versions (version INTEGER PRIMARY KEY, seq INTEGER NOT NULL, time REAL NOT NULL,"
    " note TEXT NOT NULL, metrics TEXT NOT NULL) STRICT",
    "CREATE TABLE heads (head TEXT PRIMARY KEY, seq INTEGER NOT NULL, digest TEXT NOT NULL,"
    " crc INTEGER NOT NULL, state BLOB NOT NULL) STRICT",
)
TABLE_NAMES = frozenset(statement.split()[2] for statement in TABLES)

# Version found -> the step that makes it one newer. Steps are never changed once released.
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {}


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of the current version; runs inside the caller's transaction."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def migrate(connection: sqlite3.Connection, found: int) -> None:
    """Bring tables of version `found` to the current one; runs inside the caller's transaction."""
    for version in range(found, SCHEMA_VERSION):
        MIGRATIONS[version](connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

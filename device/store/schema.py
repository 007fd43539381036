"""Tables of the state file, and the migration of older files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

APPLICATION_ID = 0x6564_6774  # "edgt": distinguishes a state file from other SQLite files
SCHEMA_VERSION = 2
# Small pages: a taught sample changes a few pages, and each is written completely, twice. With 1024 bytes
# about a third as many bytes go to an SD card as with the default 4096 (benchmarks/writes.py).
PAGE_SIZE = 1024

# Labels and codes are in separate tables, so that renaming or listing never rewrites or reads the large rows.
# A row of samples is never deleted: label NULL means forgotten, so ids are dense and never reused. A label that starts
# with `records.EXCLUDED` means kept, but not taught; one with `negatives.MARK`, a negative or background.
# The table lab has the present names of the host's labels; its name is that of version 0.1.
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

# Version found -> the step to the next version. Steps are never changed once released.
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {
    # the tables are the same; version 1 knows no excluded samples and no negatives
    1: lambda connection: None,
}


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

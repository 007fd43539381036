"""Older state files are brought to the present version, completely or not at all."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from device.errors import StateError, StorageError
from device.store import NewSample, Store, rows, schema
from device.store.records import changes_to_json, checksum
from device.store.store import identity_to_json

from .test_store import IDENTITY, new

# The tables of version 1 as they were released. This text never changes: such files are out there.
VERSION_1 = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE samples (id INTEGER PRIMARY KEY, uuid BLOB NOT NULL, label TEXT, time REAL NOT NULL,
 source TEXT NOT NULL, burst INTEGER NOT NULL, seq INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE codes (sample INTEGER PRIMARY KEY, crc INTEGER NOT NULL, code BLOB NOT NULL) STRICT;
CREATE TABLE thumbnails (sample INTEGER PRIMARY KEY, crc INTEGER NOT NULL, jpeg BLOB NOT NULL) STRICT;
CREATE TABLE lab (label TEXT PRIMARY KEY, name TEXT) STRICT;
CREATE TABLE journal (seq INTEGER PRIMARY KEY, time REAL NOT NULL, action TEXT NOT NULL,
 undoes INTEGER, changes TEXT NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE TABLE versions (version INTEGER PRIMARY KEY, seq INTEGER NOT NULL, time REAL NOT NULL,
 note TEXT NOT NULL, metrics TEXT NOT NULL) STRICT;
CREATE TABLE heads (head TEXT PRIMARY KEY, seq INTEGER NOT NULL, digest TEXT NOT NULL,
 crc INTEGER NOT NULL, state BLOB NOT NULL) STRICT;
PRAGMA application_id = 1701078900;
PRAGMA user_version = 1;
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of version 1 with one sample, made by SQL alone."""
    path = tmp_path / "old.db"
    file = sqlite3.connect(path)
    file.executescript(VERSION_1)
    file.execute("INSERT INTO settings VALUES ('model', ?)", (json.dumps(identity_to_json(IDENTITY)),))
    code, uuid = np.full(8, 7, "<i2").tobytes(), bytes(range(16))
    changes = '[["s",1,1,null,"mug"]]'
    file.execute("INSERT INTO samples VALUES (1, ?, 'mug', 5.0, '0', 9, 1, ?)",
                 (uuid, checksum("sample", 1, uuid, "mug", 5.0, "0", 9, 1)))  # fmt: skip
    file.execute("INSERT INTO codes VALUES (1, ?, ?)", (checksum("code", 1, code), code))
    file.execute(
        "INSERT INTO journal VALUES (1, 5.0, 'learn', NULL, ?, ?)",
        (changes, checksum("journal", 1, 5.0, "learn", None, changes)),
    )
    file.commit()
    file.close()
    return path


def add_a_column(connection: sqlite3.Connection) -> None:
    """Simulate the step to a future version."""
    connection.execute("ALTER TABLE versions ADD COLUMN picture BLOB")


def test_a_file_of_version_1_opens_and_learns(old: Path) -> None:
    """This holds for any present version."""
    with Store.open(old, IDENTITY) as store:
        assert store.verify() == 1
        assert store.codes([1]).tolist() == [[7] * 8]
        store.learn([new("bowl")])
        assert store.counts() == {"bowl": 1, "mug": 1}
        assert store.database.value("PRAGMA user_version") == schema.SCHEMA_VERSION


def test_an_older_file_is_migrated_with_its_content(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This happens once, at the first opening."""
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    monkeypatch.setitem(schema.MIGRATIONS, schema.SCHEMA_VERSION - 1, add_a_column)
    for _ in range(2):
        with Store.open(old, IDENTITY) as store:
            assert store.verify() == 1
            assert store.database.value("SELECT count(picture) FROM versions") == 0


def test_a_failed_migration_leaves_the_older_file_unchanged(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example on a full disk."""

    def fail(connection: sqlite3.Connection) -> None:
        add_a_column(connection)
        connection.execute("PRAGMA max_page_count = 1")
        connection.execute("CREATE TABLE filler (x)")
        connection.execute("INSERT INTO filler VALUES (zeroblob(100000))")

    version = schema.SCHEMA_VERSION
    with monkeypatch.context() as later:
        later.setattr(schema, "SCHEMA_VERSION", version + 1)
        later.setitem(schema.MIGRATIONS, version, fail)
        with pytest.raises(StorageError, match="full"):
            Store.open(old, IDENTITY)
    with Store.open(old, IDENTITY) as store:
        assert store.verify() == 1


def test_an_older_file_is_read_without_being_migrated(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading changes nothing, not even the version."""
    before = old.read_bytes()
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    monkeypatch.setitem(schema.MIGRATIONS, schema.SCHEMA_VERSION - 1, add_a_column)
    with Store.open(old, IDENTITY, read_only=True) as store:
        assert store.verify() == 1
    assert old.read_bytes() == before


def test_a_version_of_zero_or_less_is_damage(old: Path) -> None:
    """No such version was ever written."""
    file = sqlite3.connect(old)
    file.execute("PRAGMA user_version = -3")
    file.commit()
    file.close()
    with pytest.raises(StateError, match="version reads -3"):
        Store.open(old, IDENTITY)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '[["s",0,1,null,"a"]]', '[["s",5,1,null,"a"]]', '[["x"]]', "null"]
)
def test_a_journal_entry_that_cannot_be_read_is_refused(old: Path, text: str) -> None:
    """Even if its checksum is right."""
    file = sqlite3.connect(old)
    file.execute(
        "UPDATE journal SET changes = ?, crc = ?", (text, checksum("journal", 1, 5.0, "learn", None, text))
    )
    file.commit()
    file.close()
    with pytest.raises(StateError, match=r"old\.db is damaged.*edgetl recover"):
        Store.open(old, IDENTITY)


def test_rows_of_the_wrong_size_are_refused(old: Path) -> None:
    """A code of another length never reaches an array."""
    with Store.open(old, IDENTITY) as store:
        code = bytes(4)
        store.database.rows(
            "UPDATE codes SET code = ?, crc = ? WHERE sample = 1", (code, rows.code_checksum(1, code))
        )
        with pytest.raises(StateError, match="does not match"):
            store.codes([1])


def test_changes_survive_being_written_as_json() -> None:
    """With unusual labels."""
    with Store.open(None, IDENTITY) as store:
        entry = store.learn([NewSample('"] \\ ☕', np.zeros(8, np.int16), 0.0)])
        assert store.entries() == [entry]
        assert '☕' in changes_to_json(entry.changes)  # fmt: skip

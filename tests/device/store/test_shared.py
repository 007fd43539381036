"""Noticing what other connections and processes write, on every frame."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.store import Store, shared
from device.store.database import Database
from device.store.shared import mapped_header

from .test_store import IDENTITY, new

WRITE = (
    "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1]); "
    "connection.execute('PRAGMA user_version = ' + str(connection.execute('PRAGMA user_version').fetchone()[0])); "
    "connection.commit(); connection.close()"
)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the memory of a process")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Open a state with one sample, whose mark was asked for several times."""
    with Store.open(tmp_path / "mugs.db", IDENTITY) as opened:
        opened.learn([new("mug")])
        for _ in range(3):
            opened.database.change_mark()
        yield opened


def path_of(store: Store) -> Path:
    """Return the path of the state file."""
    assert store.path is not None
    return store.path


@on_linux
def test_the_index_of_the_log_is_found_in_memory(store: Store) -> None:
    """Its header changes with a commit, of this process or another."""
    header = mapped_header(path_of(store))
    assert header is not None
    before = header.raw
    assert header.raw == before
    store.learn([new("mug", 2)])
    assert header.raw != before


@on_linux
def test_an_unchanged_file_is_not_read(store: Store) -> None:
    """Neither the file nor its locks: SQLite runs no statement."""
    statements: list[str] = []
    mark = store.database.change_mark()
    store.database.connection.set_trace_callback(statements.append)
    assert store.database.change_mark() == mark
    assert statements == []
    store.learn([new("mug", 2)])
    statements.clear()
    assert store.database.change_mark() == mark
    assert store.database.change_mark() == mark
    assert statements == ["PRAGMA data_version"]


def test_an_index_that_is_not_found_is_not_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the list of the memory of a process takes too long for every frame."""
    asked: list[Path] = []
    monkeypatch.setattr("device.store.database.mapped_header", asked.append)
    with Store.open(tmp_path / "mugs.db", IDENTITY) as opened:
        assert len({opened.database.change_mark() for _ in range(4)}) == 1
        assert asked == [tmp_path / "mugs.db"]


@pytest.mark.parametrize("listed", [True, False])
def test_a_commit_of_another_process_changes_the_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    """Also where the memory of a process is not listed, as on macOS; twice, and after the log was folded in."""
    if not listed:
        monkeypatch.setattr(shared, "_MAPS", tmp_path / "missing")
    with Store.open(tmp_path / "mugs.db", IDENTITY) as store:
        store.learn([new("mug")])
        marks = [store.database.change_mark() for _ in range(4)]
        assert len(set(marks)) == 1
        assert (store.database._header is not None) == (listed and sys.platform == "linux")
        for _ in range(2):
            subprocess.run([sys.executable, "-c", WRITE, str(path_of(store))], check=True)
            assert store.database.change_mark() not in marks
            marks.append(store.database.change_mark())
            store.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            assert store.database.change_mark() == marks[-1]


def test_each_commit_of_another_connection_changes_the_mark(store: Store) -> None:
    """However quickly they follow each other, and although the log begins again meanwhile."""
    other = sqlite3.connect(path_of(store), isolation_level=None)
    other.execute("PRAGMA wal_autocheckpoint = 2")
    other.execute("CREATE TABLE noted (number)")
    marks = {store.database.change_mark()}
    for number in range(200):
        other.execute("INSERT INTO noted VALUES (?)", (number,))
        marks.add(store.database.change_mark())
        assert store.database.value("SELECT count(*) FROM noted") == number + 1
    other.close()
    assert len(marks) == 201


def test_a_commit_between_two_marks_counts_for_the_second(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another connection writes while the mark is being read is noticed by the next call."""
    other = sqlite3.connect(path_of(store), isolation_level=None)
    other.execute("CREATE TABLE noted (number)")
    rows = Database.rows

    def and_then_write(database: Database, statement: str) -> list[tuple[int, ...]]:
        found = rows(database, statement)
        other.execute("INSERT INTO noted VALUES (1)")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Database, "rows", and_then_write)
        first = store.database.change_mark()
    assert store.database.change_mark() != first
    other.close()


def test_a_header_of_another_file_is_not_taken(store: Store, tmp_path: Path) -> None:
    """A file without an index, and one that is not mapped."""
    assert mapped_header(tmp_path / "missing.db") is None
    Path(tmp_path / "other.db-shm").write_bytes(bytes(32768))
    assert mapped_header(tmp_path / "other.db") is None
    assert store.database.change_mark() == store.database.change_mark()

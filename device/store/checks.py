"""The checks that each opening of a state file makes before a row of it is trusted."""

from __future__ import annotations

import sqlite3

from ..errors import StateError
from . import journal, schema
from .faults import damaged
from .records import SampleRun

# Reading every page of a small file costs a few milliseconds; only `verify` checks a large one.
QUICK_CHECK_BYTES = 4 << 20
# Counting rows reads every page with rows: 20 ms for 12,000 samples, and seconds for 100,000 on a cold SD card.
# In a larger file only the newest rows are counted, and `verify` finds a gap among the others.
COUNT_BYTES, _NEWEST = 64 << 20, 1000
_RUNS_LOOKED_AT = 50


def holds_tables(connection: sqlite3.Connection) -> bool:
    """Return whether the file has any table."""
    return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def check_contents(connection: sqlite3.Connection, name: str) -> None:
    """Check that the file is an intact state file of a version known here.

    Args:
        connection: A connection that may only read.
        name: The file's name for messages.

    Raises:
        StateError: The file is foreign, damaged or newer.
    """
    if not holds_tables(connection):
        raise StateError(
            f"{name} contains no sample and no table; was it copied without its log ({name}-wal)? Copy both while no"
            f" program uses them, or use: edgetl backup. If nothing was ever taught, remove {name} and try again"
        )
    found = _pragma(connection, "application_id")
    if found != schema.APPLICATION_ID:
        raise StateError(
            f"{name} is an SQLite file of another program (application id {found:#x}, expected"
            f" {schema.APPLICATION_ID:#x}); use another path"
        )
    _check_pages(connection, name)
    _check_version(connection, name)
    _check_tables(connection, name)
    try:
        _check_agreement(connection)
    except StateError as error:
        raise damaged(name, error) from error


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _check_pages(connection: sqlite3.Connection, name: str) -> None:
    if _pragma(connection, "page_count") * _pragma(connection, "page_size") <= QUICK_CHECK_BYTES:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise damaged(name, problem)


def _check_version(connection: sqlite3.Connection, name: str) -> None:
    found = _pragma(connection, "user_version")
    if found > schema.SCHEMA_VERSION:
        raise StateError(
            f"{name} was written by a newer edgetl (state version {found}, this one reads up to"
            f" {schema.SCHEMA_VERSION}); update edgetl: pip install -U edgetl"
        )
    if found < 1:
        raise damaged(name, f"its state version reads {found}")


def _check_tables(connection: sqlite3.Connection, name: str) -> None:
    listed = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    ).fetchall()
    names = {name for kind, name in listed if kind == "table"}
    if any(kind != "table" for kind, _ in listed) or names != schema.TABLE_NAMES:
        raise damaged(name, f"its tables are not those of a state file: {sorted(map(str, names))}")


def _check_agreement(connection: sqlite3.Connection) -> None:
    """Check that the journal and the samples have no gap and end at the same change."""
    whole = _pragma(connection, "page_count") * _pragma(connection, "page_size") <= COUNT_BYTES
    missing, position = _missing_and_last(connection, "journal", "seq", whole)
    if missing:
        raise StateError(f"its journal lacks {missing} of {position} entries")
    missing, newest = _missing_and_last(connection, "samples", "id", whole)
    if missing:
        raise StateError(f"it lacks {missing} of {newest} rows of samples")
    last = connection.execute("SELECT max(seq) FROM (SELECT seq FROM samples ORDER BY id DESC LIMIT 1)")
    changed = last.fetchone()[0] or 0
    if changed > position:
        raise StateError(f"its newest sample was changed by entry {changed} of the journal, which is missing")
    if position:
        _check_last_entry(connection, newest)


def _missing_and_last(
    connection: sqlite3.Connection, table: str, column: str, whole: bool
) -> tuple[int, int]:
    """Return the number of missing rows of a table and its last number, from all rows or the newest."""
    # one at a time: SQLite finds either end directly, but both in one statement by reading every row
    first, last = (
        connection.execute(f"SELECT {end}({column}) FROM {table}").fetchone()[0]  # noqa: S608 - our own names
        for end in ("min", "max")
    )
    if first is not None and first < 1:
        raise StateError(f"its {table} begin with number {first} instead of 1")
    if first is None:
        return 0, 0
    start = 1 if whole else max(1, last - _NEWEST)
    statement = f"SELECT count(*) FROM {table} WHERE {column} >= ?"  # noqa: S608 - our own names
    (count,) = connection.execute(statement, (start,)).fetchone()
    missing = int(first != 1) if not whole else 0  # the oldest is checked in any case
    return max(missing, last - start + 1 - count), int(last)


def _check_last_entry(connection: sqlite3.Connection, newest: int) -> None:
    entry = next(iter(journal.read(connection, newest_first=True)))
    runs = [change for change in entry.changes if isinstance(change, SampleRun)]
    for run in runs[-_RUNS_LOOKED_AT:]:
        if run.last > newest:
            raise StateError(f"entry {entry.seq} of its journal names sample {run.last}, which is missing")
        for number in {run.first, run.last}:
            statement = "SELECT label, seq FROM samples WHERE id = ?"
            if connection.execute(statement, (number,)).fetchone() != (run.new, entry.seq):
                raise StateError(f"sample {number} does not match the last entry of its journal")

"""Checking a state file to the last byte that matters."""

from __future__ import annotations

from ..errors import SampleNotFoundError, StateError
from . import journal, rows
from .database import Database, damaged

_CHUNK = 500


def verify(database: Database, dimensions: int) -> int:
    """Check pages, every row's checksum, that names are unique, and that the tables are the journal's sum.

    Returns:
        Samples checked, forgotten ones included.

    Raises:
        StateError: Something does not match; says what.
    """
    with database.reading():
        problem = database.value("PRAGMA integrity_check(1)")
        if problem != "ok":
            raise damaged(database.name, problem)
        try:
            return _verify_rows(database, dimensions)
        except (StateError, SampleNotFoundError) as error:
            raise damaged(database.name, error) from error


def _verify_rows(database: Database, dimensions: int) -> int:
    taught, lab = journal.fold(journal.read(database.connection))
    listed = database.rows(f"SELECT {rows.SAMPLE_COLUMNS} FROM samples ORDER BY id")  # noqa: S608 - a constant
    names = set()
    for expected, (number, uuid, label, *rest) in enumerate(listed, 1):
        if number != expected:
            raise StateError(f"sample {expected} is missing")
        if rows.sample_checksum(number, uuid, label, *rest[:-1]) != rest[-1]:
            raise StateError(f"sample {number} does not match its checksum")
        if taught.get(number) != label:
            raise StateError(f"the journal calls sample {number} {taught.get(number)!r}, its row {label!r}")
        names.add(uuid)
    if len(names) != len(listed):
        raise StateError(f"{len(listed) - len(names)} samples stand twice")
    if lab != dict(database.rows("SELECT label, name FROM lab")):
        raise StateError("the names of the host's labels are not those of the journal")
    _verify_codes(database, [row[0] for row in listed if row[2] is not None], dimensions)
    return len(listed)


def _verify_codes(database: Database, numbers: list[int], dimensions: int) -> None:
    for start in range(0, len(numbers), _CHUNK):
        rows.codes(database, numbers[start : start + _CHUNK], dimensions)

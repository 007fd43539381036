"""Rows of samples, codes and thumbnails, each with a checksum over its content."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError, SampleNotFoundError, StateError
from ..negatives import MARK, check_stored
from .database import Database
from .faults import escaped, without_controls
from .records import (
    CODE_TYPE,
    EXCLUDED,
    MAX_PICTURE_BYTES,
    MAX_SOURCE_CHARACTERS,
    HostChange,
    NewSample,
    Sample,
    SampleRun,
    Value,
    checksum,
    plain_label,
)

_CHUNK = 500
SAMPLE_COLUMNS = "id, uuid, label, time, source, burst, seq, crc"
IS_EXCLUDED = f"substr(label, 1, 1) = char({ord(EXCLUDED)})"
IS_HIDDEN = f"substr(label, 1, 1) = char({ord(MARK)})"
IS_TAUGHT = f"label IS NOT NULL AND NOT {IS_EXCLUDED}"
HAS_LABEL = f"{IS_TAUGHT} AND NOT {IS_HIDDEN}"
# a picture larger than any thumbnail is not even read
_PICTURE = f"CASE WHEN length(t.jpeg) <= {MAX_PICTURE_BYTES} THEN t.jpeg END, t.crc"


@lru_cache(maxsize=1024)
def checked_label(label: str) -> str:
    """Return `label` if it is a stored label in its canonical form.

    Raises:
        StateError: It is not, so the file is damaged or foreign.
    """
    try:
        if check_stored(label) == label:
            return label
        problem = "is not written in its canonical form (NFC, trimmed)"
    except LabelError:
        problem = "is no label"
    raise StateError(f"the text {escaped(repr(label), 60)} {problem}")


def next_id(connection: sqlite3.Connection) -> int:
    """Return the id of the next sample; ids are dense and never reused, since rows are never deleted."""
    return int(connection.execute("SELECT coalesce(max(id), 0) + 1 FROM samples").fetchone()[0])


def insert(connection: sqlite3.Connection, number: int, sample: NewSample, seq: int) -> None:
    """Write one sample; runs inside the caller's transaction."""
    # a photo's name may contain anything; the stored source can be shown on any terminal
    source = without_controls(sample.source)[:MAX_SOURCE_CHARACTERS]
    values = (number, sample.uuid, sample.label, float(sample.time), source, sample.burst, seq)
    connection.execute(
        f"INSERT INTO samples ({SAMPLE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
        (*values, sample_checksum(*values)),
    )
    insert_code(connection, number, code_bytes(sample.code))
    if sample.thumbnail is not None:
        insert_thumbnail(connection, number, sample.thumbnail)


def insert_found(
    connection: sqlite3.Connection,
    number: int,
    kept: tuple[bytes, float, str, int] | None,
    label: str | None,
    seq: int,
) -> None:
    """Write a recovered row of (uuid, time, source, burst), or a forgotten one with a new uuid for a lost one."""
    uuid, time, source, burst = kept or (os.urandom(16), 0.0, "", 0)
    values = (number, uuid, label, time, source, burst, seq)
    connection.execute(
        f"INSERT INTO samples ({SAMPLE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
        (*values, sample_checksum(*values)),
    )


def code_bytes(code: NDArray[np.int16]) -> bytes:
    """Return a code [D] as stored in the file."""
    return np.ascontiguousarray(code, CODE_TYPE).tobytes()


def insert_code(connection: sqlite3.Connection, number: int, code: bytes) -> None:
    """Write a sample's code."""
    connection.execute(
        "INSERT INTO codes (sample, crc, code) VALUES (?, ?, ?)", (number, code_checksum(number, code), code)
    )


def insert_thumbnail(connection: sqlite3.Connection, number: int, jpeg: bytes) -> None:
    """Write a sample's thumbnail."""
    connection.execute(
        "INSERT INTO thumbnails (sample, crc, jpeg) VALUES (?, ?, ?)",
        (number, thumbnail_checksum(number, jpeg), jpeg),
    )


def sample_checksum(*values: Value) -> int:
    """Return the CRC-32 of a row of samples: all of `SAMPLE_COLUMNS` but the last."""
    return checksum("sample", *values)


def code_checksum(number: int, code: bytes) -> int:
    """Return the CRC-32 of a row of codes."""
    return checksum("code", number, code)


def thumbnail_checksum(number: int, jpeg: bytes) -> int:
    """Return the CRC-32 of a row of thumbnails."""
    return checksum("thumbnail", number, jpeg)


def set_label(connection: sqlite3.Connection, run: SampleRun, seq: int) -> None:
    """Set the new label of a run of samples, and the position of the entry that changed it."""
    statement = f"SELECT {SAMPLE_COLUMNS} FROM samples WHERE id BETWEEN ? AND ?"  # noqa: S608 - a constant
    changed = []
    for row in connection.execute(statement, (run.first, run.last)).fetchall():
        number, uuid, _, time, source, burst, _, _ = row
        crc = sample_checksum(number, uuid, run.new, time, source, burst, seq)
        changed.append((run.new, seq, crc, number))
    connection.executemany("UPDATE samples SET label = ?, seq = ?, crc = ? WHERE id = ?", changed)


def set_host_label(connection: sqlite3.Connection, change: HostChange) -> None:
    """Write the present name of a label of the host; a label with its own name has no row."""
    if change.new == change.label:
        connection.execute("DELETE FROM lab WHERE label = ?", (change.label,))
    else:
        connection.execute(
            "INSERT OR REPLACE INTO lab (label, name) VALUES (?, ?)", (change.label, change.new)
        )


def erase_forgotten(connection: sqlite3.Connection) -> int:
    """Delete codes and thumbnails of forgotten samples; their rows stay, so that ids are never reused."""
    erased = connection.execute(
        "DELETE FROM codes WHERE sample IN (SELECT id FROM samples WHERE label IS NULL)"
    ).rowcount
    connection.execute("DELETE FROM thumbnails WHERE sample IN (SELECT id FROM samples WHERE label IS NULL)")
    return int(erased)


def labels(database: Database, numbers: Sequence[int]) -> dict[int, str]:
    """Return the stored labels of those of `numbers` that are taught or excluded."""
    found: dict[int, str] = {}
    for marks, chunk in _chunks(numbers):
        found.update(
            database.rows(
                f"SELECT id, label FROM samples WHERE label IS NOT NULL AND id IN ({marks})",  # noqa: S608 - marks
                chunk,
            )
        )
    return found


def samples(
    database: Database,
    label: str | None,
    limit: int | None,
    thumbnails: bool,
    before: int | None = None,
    excluded: bool = False,
) -> list[Sample]:
    """List taught samples, or the excluded ones, newest first; with `before`, those of smaller ids."""
    which = (IS_EXCLUDED if excluded else IS_TAUGHT) if label is None else "label = ?"
    values: list[Any] = [] if label is None else [EXCLUDED + label if excluded else label]
    if before is not None:
        which += " AND s.id < ?"
        values.append(before)
    picture, join = (
        (_PICTURE, "LEFT JOIN thumbnails t ON t.sample = s.id") if thumbnails else ("NULL, NULL", "")
    )
    listed = database.rows(
        f"SELECT s.id, s.uuid, s.label, s.time, s.source, s.burst, s.seq, s.crc, {picture}"  # noqa: S608 - constants
        f" FROM samples s {join} WHERE {which} ORDER BY s.id DESC LIMIT ?",
        [*values, -1 if limit is None else limit],
    )
    return [_sample(row) for row in listed]


def samples_in(database: Database, numbers: Sequence[int]) -> list[Sample]:
    """Return those of `numbers` that are taught or excluded, with thumbnails, by id."""
    found: list[Sample] = []
    for marks, chunk in _chunks(numbers):
        listed = database.rows(
            f"SELECT s.id, s.uuid, s.label, s.time, s.source, s.burst, s.seq, s.crc, {_PICTURE}"  # noqa: S608
            " FROM samples s LEFT JOIN thumbnails t ON t.sample = s.id"
            f" WHERE s.label IS NOT NULL AND s.id IN ({marks}) ORDER BY s.id",
            chunk,
        )
        found += [_sample(row) for row in listed]
    return found


def _sample(row: tuple[Any, ...]) -> Sample:
    number, _, label, time, source, burst, _, crc, jpeg, jpeg_crc = row
    if sample_checksum(*row[:7]) != crc:
        raise StateError(f"sample {number} does not match its checksum")
    if jpeg is not None and thumbnail_checksum(number, jpeg) != jpeg_crc:
        jpeg = None  # only people look at it; nothing learned depends on it
    checked_label(plain_label(label))
    return Sample.from_stored(number, label, time, source, burst, jpeg)


def codes(database: Database, numbers: Sequence[int], dimensions: int) -> NDArray[np.int16]:
    """Read codes in the order of `numbers`, each checked: int16 [N, D]."""
    place = {number: index for index, number in enumerate(numbers)}
    result = np.empty((len(numbers), dimensions), np.int16)
    size = dimensions * CODE_TYPE.itemsize  # of another size: not even read
    for marks, chunk in _chunks(list(place)):
        for number, crc, code in database.rows(
            f"SELECT sample, crc, CASE WHEN length(code) = {size} THEN code END"  # noqa: S608 - marks and a number
            f" FROM codes WHERE sample IN ({marks})",
            chunk,
        ):
            if not isinstance(code, bytes) or code_checksum(number, code) != crc:
                raise StateError(f"the embedding of sample {number} does not match its checksum")
            result[place.pop(number)] = np.frombuffer(code, CODE_TYPE)
    if place:
        listed = ", ".join(map(str, sorted(place)[:10]))
        raise SampleNotFoundError(f"the samples {listed} are not in the state file, or were purged")
    return result


def without_code(database: Database, numbers: Sequence[int]) -> list[int]:
    """Return those of `numbers` that are taught and have no code."""
    found: list[int] = []
    for marks, chunk in _chunks(numbers):
        statement = (
            f"SELECT id FROM samples WHERE label IS NOT NULL AND id IN ({marks})"  # noqa: S608 - question marks
            " AND id NOT IN (SELECT sample FROM codes) ORDER BY id"
        )
        found += [number for (number,) in database.rows(statement, chunk)]
    return found


def _chunks(numbers: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    for start in range(0, len(numbers), _CHUNK):
        chunk = [int(number) for number in numbers[start : start + _CHUNK]]
        yield ",".join("?" * len(chunk)), chunk


def uuids_of(database: Database, numbers: Sequence[int]) -> dict[int, bytes]:
    """Return the names of those of `numbers` that exist."""
    found: dict[int, bytes] = {}
    for marks, chunk in _chunks(numbers):
        found.update(database.rows(f"SELECT id, uuid FROM samples WHERE id IN ({marks})", chunk))  # noqa: S608
    return found


def uuids(database: Database) -> Iterable[bytes]:
    """Return the names of all samples, with the forgotten ones."""
    return (row[0] for row in database.rows("SELECT uuid FROM samples"))

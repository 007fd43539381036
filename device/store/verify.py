"""Checking everything in a state file that decides an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import PhotoError, SampleNotFoundError, StateError
from . import journal, rows
from .database import Database
from .faults import damaged
from .records import MAX_PICTURE_BYTES, plain_label

_CHUNK = 500


@dataclass(frozen=True)
class PictureCheck:
    """The condition of the thumbnails of the taught samples.

    Attributes:
        intact: Number of samples whose thumbnail can be shown.
        missing: Number of samples without a thumbnail, for example after ``teach --no-thumbnails``.
        broken: Ids of samples whose thumbnail does not match its checksum or is no JPEG.
    """

    intact: int
    missing: int
    broken: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-serializable values."""
        return {**vars(self), "broken": list(self.broken)}


def verify(database: Database, dimensions: int) -> int:
    """Check pages, every row's checksum, that names are unique, and that the tables are the journal's sum.

    Returns:
        Number of samples checked, forgotten ones included.

    Raises:
        StateError: Something does not match; the message names it.
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
    taught, host = journal.fold(journal.read(database.connection))
    listed = database.rows(f"SELECT {rows.SAMPLE_COLUMNS} FROM samples ORDER BY id")  # noqa: S608 - a constant
    names = set()
    for expected, (number, uuid, label, *rest) in enumerate(listed, 1):
        if number != expected:
            raise StateError(f"sample {expected} is missing")
        if rows.sample_checksum(number, uuid, label, *rest[:-1]) != rest[-1]:
            raise StateError(f"sample {number} does not match its checksum")
        if taught.get(number) != label:
            raise StateError(
                f"sample {number} is {taught.get(number)!r} in the journal and {label!r} in its row"
            )
        if label is not None:
            rows.checked_label(plain_label(label))
        names.add(uuid)
    if len(names) != len(listed):
        raise StateError(f"{len(listed) - len(names)} samples appear twice")
    if host != dict(database.rows("SELECT label, name FROM lab")):
        raise StateError("the names of the host's labels are not those of the journal")
    _verify_codes(database, [row[0] for row in listed if row[2] is not None], dimensions)
    return len(listed)


def _verify_codes(database: Database, numbers: list[int], dimensions: int) -> None:
    for start in range(0, len(numbers), _CHUNK):
        rows.codes(database, numbers[start : start + _CHUNK], dimensions)


def verify_pictures(database: Database) -> PictureCheck:
    """Decode the thumbnail of every taught sample."""
    with database.reading():
        ids = [
            number
            for (number,) in database.rows("SELECT id FROM samples WHERE label IS NOT NULL ORDER BY id")
        ]
        intact, broken = 0, []
        for number in ids:
            found = database.rows(
                f"SELECT CASE WHEN length(jpeg) <= {MAX_PICTURE_BYTES} THEN jpeg END, crc FROM thumbnails"  # noqa: S608
                " WHERE sample = ?",
                (number,),
            )
            if found and _is_picture(number, *found[0]):
                intact += 1
            elif found:
                broken.append(number)
    return PictureCheck(intact, len(ids) - intact - len(broken), tuple(broken))


def _is_picture(number: int, jpeg: bytes | None, crc: int) -> bool:
    from ..images import read_photo

    if jpeg is None or rows.thumbnail_checksum(number, jpeg) != crc:
        return False
    try:
        read_photo(jpeg)
    except PhotoError:
        return False
    return True

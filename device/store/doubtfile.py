"""The file of uncertain frames that wait for a label: beside the state file, small, and never at its expense.

It is a SQLite file of its own, so that nothing about it can damage, lock or fill the state file. It is not written where
the disk is nearly full. A damaged file is set aside and a new one is begun: the camera will see such frames again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError
from .footing import uri
from .records import MAX_PICTURE_BYTES, is_plausible_time

MAX_BYTES = 16 << 20
"""Maximum size of the file."""

RESERVE = 32_000_000
"""Free bytes of the disk that are left to the samples; with less, nothing is written."""

_APPLICATION_ID = 0x6564_6775  # "edgu"
_VERSION = 1
_BUSY_SECONDS = 2.0
_PAGE = 4096
_TABLES = (
    "CREATE TABLE doubts (id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, source TEXT NOT NULL,"
    " seen INTEGER NOT NULL, embedding BLOB NOT NULL, jpeg BLOB NOT NULL, crc INTEGER NOT NULL) STRICT",
    "CREATE TABLE settled (id INTEGER PRIMARY KEY AUTOINCREMENT, code BLOB NOT NULL, crc INTEGER NOT NULL) STRICT",
    "CREATE TABLE seen (id INTEGER PRIMARY KEY, code BLOB NOT NULL, crc INTEGER NOT NULL) STRICT",
    "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
)


@dataclass(frozen=True, eq=False)
class KeptDoubt:
    """A frame in the file.

    Attributes:
        id: Its number, never used again.
        time: When it was seen, in seconds since the epoch.
        source: The camera.
        seen: How often it, or a frame like it, was seen.
        embedding: float32 [D].
        jpeg: The picture.
    """

    id: int
    time: float
    source: str
    seen: int
    embedding: NDArray[np.float32]
    jpeg: bytes


class DoubtFile:
    """The file of one state, which belongs to one model.

    Several processes may use it. The methods raise `StorageError` or `sqlite3.Error` where it cannot be used.

    Args:
        path: The file; it is made with the first frame.
        sha256: Checksum of the model file; the frames of another model are dropped.
        dimensions: Length D of an embedding.
        settled: Number of labeled or dropped frames that are remembered.
        read_only: Change nothing on the disk.
    """

    def __init__(
        self, path: Path, sha256: str, dimensions: int, settled: int, *, read_only: bool = False
    ) -> None:
        self.path, self.read_only = path, read_only
        self._sha256, self._dimensions, self._most_settled = sha256, dimensions, settled
        self._connection: sqlite3.Connection | None = None
        self._mark = (-1, -1)
        self._generation = 0

    def changed(self) -> bool:
        """Return whether another process has changed the file since the last call."""
        if self._connection is None and not self.path.exists():
            return False
        with self._open() as connection:
            mark = (self._generation, int(connection.execute("PRAGMA data_version").fetchone()[0]))
        before, self._mark = self._mark, mark
        return mark != before

    def frames(self) -> list[KeptDoubt]:
        """Return the frames, oldest first; a row that does not match its checksum is skipped."""
        if self._connection is None and not self.path.exists():
            return []
        with self._open() as connection:
            if not self._is_mine(connection):
                return []
            listed = connection.execute(
                f"SELECT id, time, source, seen, CASE WHEN length(embedding) = {4 * self._dimensions} THEN embedding END,"  # noqa: S608
                f" CASE WHEN length(jpeg) <= {MAX_PICTURE_BYTES} THEN jpeg END, crc FROM doubts ORDER BY id LIMIT 1000"
            ).fetchall()
        found = [self._frame(*row) for row in listed]
        return [frame for frame in found if frame is not None]

    def settled(self) -> list[NDArray[np.int16]]:
        """Return the codes [D] of frames that were labeled or dropped lately, oldest first."""
        if self._connection is None and not self.path.exists():
            return []
        return self._codes("settled")

    def seen(self, limit: int) -> NDArray[np.int16]:
        """Return the codes of frames that stand for what the camera sees, int16 [m, D]."""
        if self._connection is None and not self.path.exists():
            return np.zeros((0, self._dimensions), np.int16)
        codes = self._codes("seen")[:limit]
        return np.array(codes, np.int16).reshape(-1, self._dimensions)

    def keep_seen(self, codes: NDArray[np.int16]) -> None:
        """Replace the codes that `seen` returns."""
        if not len(codes) or not self._writable():
            return
        self._refuse_full_disk()
        rows = [np.ascontiguousarray(code, "<i2").tobytes() for code in codes]
        with self._open() as connection, _transaction(connection):
            connection.execute("DELETE FROM seen")
            connection.executemany(
                "INSERT INTO seen (code, crc) VALUES (?, ?)", [(row, zlib.crc32(row)) for row in rows]
            )

    def _codes(self, table: str) -> list[NDArray[np.int16]]:
        with self._open() as connection:
            if not self._is_mine(connection):
                return []
            listed = connection.execute(f"SELECT code, crc FROM {table} ORDER BY id LIMIT 1000").fetchall()  # noqa: S608
        size = 2 * self._dimensions
        return [
            np.frombuffer(code, "<i2").astype(np.int16)
            for code, crc in listed
            if isinstance(code, bytes) and len(code) == size and zlib.crc32(code) == crc
        ]

    def add(self, time: float, source: str, embedding: NDArray[np.float32], jpeg: bytes) -> int:
        """Write a frame and return its id.

        Raises:
            StorageError: The disk is nearly full, or the file is read-only.
        """
        if self.read_only:
            raise StorageError(f"{self.path} was opened read-only")
        self._refuse_full_disk()
        with self._open() as connection, _transaction(connection):
            data = np.ascontiguousarray(embedding, "<f4").tobytes()
            cursor = connection.execute(
                "INSERT INTO doubts (time, source, seen, embedding, jpeg, crc) VALUES (?, ?, 1, ?, ?, ?)",
                (float(time), source, data, jpeg, _checksum(data, jpeg)),
            )
            return int(cursor.lastrowid or 0)

    def remove(self, numbers: Iterable[int], settled: Iterable[NDArray[np.int16]] = ()) -> None:
        """Remove frames, and remember the codes of those that were labeled or dropped."""
        chosen = [(number,) for number in numbers]
        if not chosen or not self._writable():
            return
        with self._open() as connection, _transaction(connection):
            connection.executemany("DELETE FROM doubts WHERE id = ?", chosen)
            codes = [np.ascontiguousarray(code, "<i2").tobytes() for code in settled]
            connection.executemany(
                "INSERT INTO settled (code, crc) VALUES (?, ?)", [(code, zlib.crc32(code)) for code in codes]
            )
            connection.execute(
                "DELETE FROM settled WHERE id <= (SELECT coalesce(max(id), 0) FROM settled) - ?",
                (self._most_settled,),
            )

    def forget_settled(self) -> None:
        """Forget which frames were labeled or dropped, so that such frames may come again."""
        if not self._writable():
            return
        with self._open() as connection, _transaction(connection):
            connection.execute("DELETE FROM settled")

    def count(self, seen: dict[int, int]) -> None:
        """Write how often frames were seen."""
        if not seen or not self._writable():
            return
        with self._open() as connection, _transaction(connection):
            rows = [(count, number) for number, count in seen.items()]
            connection.executemany("UPDATE doubts SET seen = max(seen, ?) WHERE id = ?", rows)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _writable(self) -> bool:
        return not self.read_only and (self._connection is not None or self.path.exists())

    def _frame(
        self, id: int, time: float, source: str, seen: int, data: object, jpeg: object, crc: int
    ) -> KeptDoubt | None:
        if not isinstance(data, bytes) or not isinstance(jpeg, bytes) or _checksum(data, jpeg) != crc:
            return None
        embedding = np.frombuffer(data, "<f4").astype(np.float32)
        if not np.isfinite(embedding).all() or not is_plausible_time(time):
            return None
        return KeptDoubt(id, time, source[:4096], max(1, min(seen, 2**40)), embedding, jpeg)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            self._connect()
        assert self._connection is not None  # noqa: S101 - connected above
        try:
            yield self._connection
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
                raise
            self._set_aside()
            raise
        except (UnicodeDecodeError, OverflowError) as error:
            self._set_aside()
            raise sqlite3.DatabaseError(str(error)[:200]) from error

    def _connect(self) -> None:
        try:
            self._connection = self._opened()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
                raise
            self._set_aside()
            self._connection = self._opened()
        self._generation += 1

    def _opened(self) -> sqlite3.Connection:
        address = uri(self.path, "ro" if self.read_only else "rwc")
        connection = sqlite3.connect(
            address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_PICTURE_BYTES + _PAGE)
        connection.execute("PRAGMA trusted_schema = OFF")
        if self.read_only:
            return self._check(connection)
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        connection.execute(f"PRAGMA max_page_count = {MAX_BYTES // _PAGE}")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._create(connection)
        self._check(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        # a power cut loses the last frames, and damages nothing
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 1048576")
        if not self._is_mine(connection):
            self._drop_others(connection)
        return None

    def _check(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if found != _APPLICATION_ID or version != _VERSION:
            raise sqlite3.DatabaseError(f"the file is foreign (application id {found:#x}, version {version})")

    def _is_mine(self, connection: sqlite3.Connection) -> bool:
        """Return whether the frames are of this model."""
        model = connection.execute("SELECT value FROM settings WHERE key = 'model'").fetchone()
        return bool(model == (self._sha256,))

    def _create(self, connection: sqlite3.Connection) -> None:
        self._refuse_full_disk()
        with _transaction(connection):
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return  # another process was faster
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("INSERT INTO settings VALUES ('model', ?)", (self._sha256,))
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _drop_others(self, connection: sqlite3.Connection) -> None:
        """Drop the frames of another model, whose embeddings mean nothing here."""
        with _transaction(connection):
            for table in ("doubts", "settled", "seen"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            connection.execute("INSERT OR REPLACE INTO settings VALUES ('model', ?)", (self._sha256,))

    def _refuse_full_disk(self) -> None:
        place = os.statvfs(self.path.parent)
        free = place.f_bavail * place.f_frsize
        if free < RESERVE:
            raise StorageError(
                f"only {free / 1e6:.0f} MB are free on the disk of {self.path}, and the last {RESERVE / 1e6:.0f} MB are left to"
                " samples"
            )

    def _set_aside(self) -> None:
        """Rename a damaged file, so that a new one can be begun and someone may look at it."""
        self.close()
        if self.read_only:
            return
        with contextlib.suppress(OSError):
            self.path.replace(self.path.with_name(f"{self.path.name}.damaged"))
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self.path}{suffix}").unlink()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _checksum(embedding: bytes, jpeg: bytes) -> int:
    return zlib.crc32(jpeg, zlib.crc32(embedding))


def _is_damage(error: sqlite3.Error) -> bool:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    missing = code == sqlite3.SQLITE_ERROR and "no such" in str(error)
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or missing

"""One SQLite connection: opened durably, checked, its errors told in our words."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import DeviceError, StateBusyError, StateError, StorageError
from ..files import may_write, sync
from . import schema

BUSY_SECONDS = 10.0
MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
MAX_VALUE_BYTES = (
    512 << 20
)  # a head's statistics at D = 4096 take 134 MB; a hostile file gets no more than this
# Reading every page of a small file costs a few milliseconds; a large one is checked by `verify` alone.
QUICK_CHECK_BYTES = 4 << 20
# SQLite's own 2 MB fill up while a device is taught and look like a leak; nothing here reads a page twice soon.
CACHE_KIB = 512

_STORAGE_STEPS = {
    sqlite3.SQLITE_FULL: (errno.ENOSPC, "the disk is full: free some space and try again"),
    sqlite3.SQLITE_READONLY: (errno.EROFS, "it is read-only: remount the file system writable or copy the file"),
    sqlite3.SQLITE_CANTOPEN: (errno.EACCES, "the file or its folder cannot be opened: check the path and its permissions"),
    sqlite3.SQLITE_PERM: (errno.EACCES, "no permission: check who owns the file and its folder"),
    sqlite3.SQLITE_IOERR: (errno.EIO, "the disk reported an error: check free space, quota and the SD card"),
}  # fmt: skip


def damaged(path: object, what: object) -> StateError:
    """Say that a state file is damaged, and how to save what is intact."""
    return StateError(
        f"{path} is damaged: {what}; save what is intact with: edgetl recover {path} --out NEW.db"
    )


def translated(error: sqlite3.Error, path: object) -> DeviceError:
    """Turn an SQLite error into one of ours, with the next step."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # the low byte is the primary code
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StateBusyError(
            f"{path} is being written by another process and stayed so for {BUSY_SECONDS:g} s;"
            " wait for it to finish or stop it, then try again"
        )
    if code in _STORAGE_STEPS:
        number, step = _STORAGE_STEPS[code]
        return StorageError(number, f"cannot use the state file {path}: {step} ({error})")
    return damaged(path, error)


@contextlib.contextmanager
def errors_told(path: object) -> Iterator[None]:
    """Let no raw SQLite error out."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from error


class Database:
    """A connection to one state file, or to memory when `path` is None.

    Use `Database.open`. Every statement outside `transaction` is a transaction of its own. All methods
    may be called from several threads.

    Attributes:
        path: The file, or None.
        read_only: True when nothing can be written, for example on a read-only file system.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path | None,
        *,
        read_only: bool,
        scratch: Path | None = None,
    ) -> None:
        self.connection = connection
        self.path = path
        self.read_only = read_only
        self.lock = threading.RLock()
        self.closed = False
        self._scratch = scratch

    @classmethod
    def open(cls, path: Path | None, *, create: bool = True, read_only: bool = False) -> Database:
        """Open `path`, making it when it is missing and `create` holds.

        Raises:
            StateError: The file is foreign, damaged, or of a newer version.
            StateBusyError: Another process holds the file.
            StorageError: The file is missing and may not be made, or cannot be opened.
        """
        if path is None:
            return cls._ready(cls(_connect(":memory:"), None, read_only=False))
        _refuse_unusable(path, create and not read_only)
        with errors_told(path):
            if read_only or not _writable(path):
                return cls._ready(_open_read_only(path))
            return cls._ready(cls(_connect(_uri(path, "rwc")), path, read_only=False))

    @classmethod
    def _ready(cls, database: Database) -> Database:
        try:
            with errors_told(database.name):
                _configure(database)
                _check(database)
        except BaseException:
            database.close()
            raise
        return database

    @property
    def name(self) -> str:
        """The path for messages."""
        return str(self.path) if self.path else "the state in memory"

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and give all its rows."""
        with self._open_for_use():
            return self.connection.execute(statement, values).fetchall()

    def value(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run a statement and give the first column of its first row, or None."""
        rows = self.rows(statement, values)
        return rows[0][0] if rows else None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the file's one write lock; commit durably at the end, or leave everything as it was."""
        with self._open_for_use():
            if self.read_only:
                raise StorageError(
                    errno.EROFS,
                    f"{self.name} was opened read-only and nothing can be taught to it; make the file and its"
                    " folder writable, or copy it to where it can be written",
                )
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # a full disk may have rolled it back already
                    self.connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """See one unchanging state over several statements."""
        with self._open_for_use():
            inner = self.connection.in_transaction
            if not inner:
                self.connection.execute("BEGIN")
            try:
                yield
            finally:
                if not inner:
                    self.connection.rollback()

    @contextlib.contextmanager
    def _open_for_use(self) -> Iterator[None]:
        with self.lock, errors_told(self.name):
            if self.closed:
                raise StateError(f"{self.name} is closed; open it again")
            yield

    def close(self) -> None:
        """Close the connection; calling it again does nothing."""
        self.closed = True
        with self.lock, contextlib.suppress(sqlite3.Error):
            self.connection.close()  # a checkpoint that fails here loses nothing: the log stays
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)


def copy_database(database: Database, path: Path) -> None:
    """Write a consistent copy to `path` and check it page by page."""
    with database.lock, errors_told(path), contextlib.closing(_connect(_uri(path, "rwc"))) as target:
        database.connection.backup(target)
        target.execute(
            "PRAGMA journal_mode = DELETE"
        )  # one file, no log beside it; opening makes it WAL again
        problem = target.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if problem != "ok":
            raise damaged(database.name, problem)


def _refuse_unusable(path: Path, create: bool) -> None:
    if path.is_dir():
        raise StorageError(
            errno.EISDIR, f"{path} is a folder; give the name of a state file such as {path}/state.db"
        )
    if not path.exists():
        if not create:
            raise StorageError(
                errno.ENOENT, f"{path} is not there; teach something first or correct the path"
            )
        if not path.parent.is_dir():
            raise StorageError(
                errno.ENOENT, f"the folder {path.parent} is not there; make it first: mkdir -p {path.parent}"
            )
        return
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER_BYTES)
    except OSError as error:
        raise StorageError(
            error.errno or errno.EIO, f"cannot read {path}: {error.strerror}; check who owns it"
        ) from error
    if start and not start.startswith(MAGIC):
        raise StateError(
            f"{path} is no state file: expected an SQLite file, but it begins with {start[: len(MAGIC)]!r}; give another path,"
            f" or if it was one and is damaged: edgetl recover {path} --out NEW.db"
        )
    _refuse_truncated(path, start)


def _refuse_truncated(path: Path, header: bytes) -> None:
    """Find a file that was cut off, by the size its header states (file format, section 1.3)."""
    size, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    expected, have = pages * (65536 if size == 1 else size), path.stat().st_size
    log = Path(f"{path}-wal")
    # with a log beside it, pages may stand there alone; and the size counts only where both versions agree
    if have < expected and header[24:28] == header[92:96] and not (log.exists() and log.stat().st_size):
        raise damaged(path, f"it should have {expected} bytes and has {have}")


def _writable(path: Path) -> bool:
    # SQLite needs the folder too, for the write-ahead log
    return may_write(path.parent) and (not path.exists() or may_write(path))


def _uri(path: Path, mode: str) -> str:
    quoted = str(path.absolute())  # Path.as_uri would import urllib for these three characters
    for character in "%?#":
        quoted = quoted.replace(character, f"%{ord(character):02x}")
    return f"file:{quoted}?mode={mode}"


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _open_read_only(path: Path) -> Database:
    """Open a file that cannot be written, as on a read-only SD card, even after a power cut."""
    log = Path(f"{path}-wal")
    if _writable(path):  # may be opened as usual; `query_only` keeps it from being changed
        return Database(_connect(_uri(path, "rw")), path, read_only=True)
    if not log.exists() or not log.stat().st_size:
        return Database(_connect(_uri(path, "ro") + "&immutable=1"), path, read_only=True)
    # The log holds acknowledged samples and cannot be folded in where it lies, so a copy is opened.
    scratch = Path(tempfile.mkdtemp(prefix="edgetl-"))
    shutil.copyfile(path, scratch / path.name)
    shutil.copyfile(log, scratch / log.name)
    return Database(_connect(_uri(scratch / path.name, "rw")), path, read_only=True, scratch=scratch)


def _configure(database: Database) -> None:
    connection = database.connection
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")  # takes effect on a new file alone
    if database.read_only:
        connection.execute("PRAGMA query_only = ON")
    elif connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal":
        connection.execute("PRAGMA synchronous = FULL")
    else:
        connection.execute(
            "PRAGMA synchronous = EXTRA"
        )  # no shared memory here: a rollback journal, as durable


def _check(database: Database) -> None:
    connection = database.connection
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        _create(database)
        return
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    if found != schema.APPLICATION_ID:
        raise StateError(
            f"{database.name} is an SQLite file of another program (application id {found:#x}, expected"
            f" {schema.APPLICATION_ID:#x}); give another path"
        )
    _check_pages(database)
    _check_version(database)
    _check_tables(database)


def _create(database: Database) -> None:
    if database.read_only:
        raise StorageError(
            errno.EROFS, f"{database.name} is empty and cannot be written; choose another path"
        )
    with database.transaction() as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[
            0
        ]:  # else: another was quicker
            schema.create_tables(connection)
    if database.path:
        sync(database.path.parent)  # or the file's very name may be gone after a power cut


def _check_version(database: Database) -> None:
    found = database.connection.execute("PRAGMA user_version").fetchone()[0]
    if found > schema.SCHEMA_VERSION:
        raise StateError(
            f"{database.name} was written by a newer edgetl (state version {found}, this one knows up to"
            f" {schema.SCHEMA_VERSION}); update edgetl: pip install -U edgetl"
        )
    if found == schema.SCHEMA_VERSION:
        return
    if found < 1:
        raise damaged(database.name, f"its state version reads {found}")
    with database.transaction() as connection:
        found = connection.execute("PRAGMA user_version").fetchone()[
            0
        ]  # another process may have been quicker
        schema.migrate(connection, found)


def _check_tables(database: Database) -> None:
    listed = database.connection.execute(
        "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    ).fetchall()
    names = {name for kind, name in listed if kind == "table"}
    if any(kind != "table" for kind, _ in listed) or names != schema.TABLE_NAMES:
        raise damaged(database.name, f"its tables are not those of a state file: {sorted(map(str, names))}")


def _check_pages(database: Database) -> None:
    """Find torn pages at once in a file small enough for it, before a row of it is trusted."""
    pages, size = (int(database.value(f"PRAGMA {name}")) for name in ("page_count", "page_size"))
    if pages * size <= QUICK_CHECK_BYTES:
        problem = database.value("PRAGMA quick_check(1)")
        if problem != "ok":
            raise damaged(database.name, problem)

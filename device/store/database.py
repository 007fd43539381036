"""One SQLite connection: durable, checked before it is trusted, with errors that name the next step."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StateBusyError, StateError, StorageError
from ..files import sync
from . import faults, footing, schema
from .checks import check_contents, holds_tables
from .faults import damaged, errors_translated, primary_code
from .footing import Footing
from .log import Log
from .shared import mapped_header

# a head's statistics at D = 4096 take 134 MB; a hostile file gets no more than this
MAX_VALUE_BYTES = 512 << 20
# SQLite's own 2 MB fill up during teaching and look like a leak; nothing here reads a page twice soon.
CACHE_KIB = 512
# Pages in the log from which SQLite folds it into the file. SQLite's own 1000 writes 5 % less to an SD card, but
# leaves four times as many samples only in the log (benchmarks/writes.py).
LOG_PAGES = 250
_RETRY_SECONDS = 0.01
_PATIENCE_SECONDS = 0.3  # opening or closing the file takes less
# While another process opens or closes the file, a read-only connection gets these errors for a moment.
_PASSING = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL)

Result = TypeVar("Result")


class Database:
    """A connection to one state file, or to RAM when `path` is None.

    Use `Database.open`. Every statement outside `transaction` is a transaction of its own. All methods
    may be called from several threads.

    Attributes:
        path: The file, or None.
        read_only: True when nothing can be written, for example on a read-only file system. Then no byte of
            the file, its log or its shared memory is changed either.
    """

    def __init__(self, path: Path | None, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self.lock = threading.RLock()
        self.closed = False
        self._connection: sqlite3.Connection | None = None
        self._footing: Footing | None = None
        self._generation = 0  # how often a reader has opened the file
        self._header: ctypes.Array[ctypes.c_char] | None = None  # of the index of a writer's log
        self._is_searched = False  # whether it was looked for, which takes a millisecond
        # the header before the last `change_mark`, and the mark
        self._mark: tuple[bytes, tuple[int, int]] | None = None

    @classmethod
    def open(
        cls,
        path: Path | None,
        *,
        begin: Callable[[sqlite3.Connection], None] | None = None,
        check: Callable[[Database], object] | None = None,
        read_only: bool = False,
    ) -> Database:
        """Open `path`. The file and its log are checked before SQLite may change them.

        Args:
            path: The file, or None for a state in RAM.
            begin: Called with the connection of a new file, in the transaction that makes its tables. With None, no
                file is made.
            check: Called with a reader of an existing file before it is opened for writing; raises to refuse it.
            read_only: Change no byte on the disk.

        Raises:
            StateError: The file is foreign, damaged, or of a newer version.
            StateBusyError: Another process holds the file.
            StorageError: The file is missing and may not be made, or cannot be opened.
        """
        if path is None:
            return cls(None, read_only=False)._started(lambda new: new._open_memory(begin))
        if path.is_symlink():  # SQLite keeps the log beside the file, not beside a link to it
            path = Path(os.path.realpath(path))
        footing.refuse_unusable(path, begin is not None and not read_only)
        if path.exists() and not path.stat().st_size:
            _warn_about_an_empty_file(path, may_begin=begin is not None)
            if read_only or not footing.writable(path):
                return cls(path, read_only=True)._started(lambda new: new._open_memory(begin))
        if read_only or not footing.writable(path):
            return cls(path, read_only=True)._started(cls._open_reader)
        if path.exists() and path.stat().st_size:
            reader = cls(path, read_only=True)._started(cls._open_reader)
            try:
                if check is not None:
                    check(reader)
            finally:
                reader.close()
        return cls(path, read_only=False)._started(lambda new: new._open_writer(begin))

    def _started(self, opening: Callable[[Database], None]) -> Database:
        try:
            with errors_translated(self.name):
                opening(self)
        except BaseException:
            self.close()
            raise
        return self

    def _open_memory(self, begin: Callable[[sqlite3.Connection], None] | None) -> None:
        self._connection = _configured(footing.connect(":memory:"))
        schema.create_tables(self._connection)
        if begin is not None:
            begin(self._connection)

    def _open_reader(self) -> None:
        """Open the file without changing it, waiting while another process opens or closes it."""
        start = time.monotonic()
        private = False
        while True:
            try:
                self._open_reader_once(private)
                return
            except (sqlite3.Error, StateError) as error:
                stable = not _is_passing(error) and not self._moved()
                self._disconnect()
                waited = time.monotonic() - start
                if stable or (private and waited > faults.BUSY_SECONDS):
                    raise
                # a crash can leave a rollback journal or shared memory that only a writer can repair
                rollback = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK
                private = rollback or waited > _PATIENCE_SECONDS
                time.sleep(_RETRY_SECONDS)

    def _open_reader_once(self, private: bool) -> None:
        path = self._file()
        seen = footing.signature(path, content=True)
        log = footing.examine_log(path)
        self._footing = None
        self._footing = footing.find_footing(path, log, seen, private=private)
        self._connection = _configured(footing.connect(self._footing.uri))
        footing.note_open(self)
        self._generation += 1
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.execute("BEGIN")
        check_contents(self._connection, self.name)
        self._connection.execute("ROLLBACK")

    def _open_writer(self, begin: Callable[[sqlite3.Connection], None] | None) -> None:
        path = self._file()
        for other in footing.opened_here(path):
            other.release()
        log = footing.examine_log(path)
        if not path.exists() or not path.stat().st_size:
            _refuse_log_without_file(path, log)
            _create(path, begin)
        self._connection = _configured(footing.connect(footing.uri(path, "rw")))
        footing.note_open(self)
        _make_durable(self._connection)
        _migrate(self._connection)
        if log.unfinished:
            self._drop_unfinished()

    def _drop_unfinished(self) -> None:
        """Begin a new log after a power cut, so that old frames are not mistaken for lost changes later."""
        connection = self.connection
        connection.execute("PRAGMA busy_timeout = 0")  # another process in the file does the same
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute(f"PRAGMA busy_timeout = {int(faults.BUSY_SECONDS * 1000)}")

    @property
    def name(self) -> str:
        """The path for messages."""
        return str(self.path) if self.path else "the state in RAM"

    @property
    def connection(self) -> sqlite3.Connection:
        """The SQLite connection; a reader reconnects after another process replaced the file."""
        if self._connection is None:
            if self.closed or self.path is None:
                raise StateError(f"{self.name} is closed; open it again")
            self._open_reader()
        return self._connected()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StateError(f"{self.name} is closed; open it again")
        return self._connection

    def _file(self) -> Path:
        if self.path is None:
            raise StateError("a state in RAM has no file")
        return self.path

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return all its rows."""
        with self._open_for_use():
            if not self._outermost_reader():
                return self.connection.execute(statement, values).fetchall()
            return self._retried(lambda: self.connection.execute(statement, values).fetchall())

    def value(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run a statement and return the first column of its first row, or None."""
        rows = self.rows(statement, values)
        return rows[0][0] if rows else None

    def read(self, work: Callable[[], Result]) -> Result:
        """Return the result of `work`, which reads one consistent state; it runs again if the file was replaced."""
        with self._open_for_use():
            if self._outermost_reader():
                return self._retried(work)
            with self.reading():
                return work()

    def _retried(self, work: Callable[[], Result]) -> Result:
        limit = time.monotonic() + faults.BUSY_SECONDS
        while True:
            try:
                with self._one_state():
                    return work()
            except (sqlite3.Error, StateError) as error:
                if time.monotonic() > limit or not (_is_passing(error) or self._moved()):
                    raise
                self._disconnect()
                time.sleep(_RETRY_SECONDS)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Read one consistent state over several statements.

        Raises:
            StateBusyError: Another process has changed the file, which had no writer when it was opened.
        """
        with self._open_for_use():
            if self._outermost_reader():
                with self._one_state():
                    yield
                return
            inner = self.connection.in_transaction
            if not inner:
                self.connection.execute("BEGIN")
            try:
                yield
            finally:
                if not inner:
                    self.connection.rollback()

    def _outermost_reader(self) -> bool:
        return self._footing is not None and not (self._connection and self._connection.in_transaction)

    @contextlib.contextmanager
    def _one_state(self) -> Iterator[None]:
        """Hold a read transaction of a reader, on the files that are at the path now."""
        if self._moved():
            self._disconnect()
        connection = self.connection
        connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.rollback()
        if self._footing is not None and self._footing.content and self._moved():
            raise StateBusyError(f"{self.name} was written by another process while it was read; try again")

    def _moved(self) -> bool:
        return self._footing is not None and self._footing.moved(self._file())

    def change_mark(self) -> tuple[int, int]:
        """Return a mark that differs once another connection has changed the file."""
        with self.lock:
            header = b"" if self._header is None else self._header.raw
            if header and self._mark is not None and self._mark[0] == header:
                return self._mark[1]
            mark = self._generation, int(self.rows("PRAGMA data_version")[0][0])
            self._mark = header, mark
            if not self._is_searched and self._footing is None and self.path is not None:
                self._header, self._is_searched = mapped_header(self.path), True
            return mark

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock of the file; commit durably at the end, or leave everything unchanged."""
        with self._open_for_use():
            if self.read_only:
                raise StorageError(
                    errno.EROFS,
                    f"{self.name} was opened read-only, so nothing can be taught; make the file and its"
                    " folder writable, or copy it to a writable folder",
                )
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk may have rolled it back already
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _open_for_use(self) -> Iterator[None]:
        with self.lock, errors_translated(self.name):
            if self.closed:
                raise StateError(f"{self.name} is closed; open it again")
            yield

    def release(self) -> None:
        """Disconnect a reader until its next use, before this process writes the same file.

        SQLite shares one view of the shared memory among all connections of a process, and a reader's is read-only.
        """
        with self.lock:
            if self._outermost_reader():
                self._disconnect()

    def close(self) -> None:
        """Close the connection; calling it again does nothing."""
        self.closed = True
        with self.lock:
            if not self.read_only and self.path is not None and self._connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    # Folds the log in even while other processes keep the file open. A failure loses nothing.
                    self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._disconnect()

    def _disconnect(self) -> None:
        # SQLite removes the index from memory
        self._header, self._mark, self._is_searched = None, None, False
        if self.path is not None:
            footing.note_closed(self)
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        if self._footing is not None:
            self._footing.leave()


def _is_passing(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        return primary_code(error) in _PASSING
    return isinstance(error, StateBusyError)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Database]:
    """Yield a database in one new file without a log; flush and rename it when it is complete.

    Meant for a file under a temporary name: after a crash it is not usable.
    """
    database = Database(path, read_only=False)

    def opening(new: Database) -> None:
        new._connection = _configured(footing.connect(footing.uri(path, "rwc")))
        new._connection.execute("PRAGMA journal_mode = MEMORY")
        new._connection.execute("PRAGMA synchronous = OFF")
        schema.create_tables(new._connection)

    database._started(opening)
    try:
        yield database
    finally:
        database.close()


def copy_database(database: Database, path: Path) -> None:
    """Write a consistent copy to `path` and check it page by page."""
    with (
        database.reading(),
        errors_translated(path),
        contextlib.closing(footing.connect(footing.uri(path, "rwc"))) as target,
    ):
        database.connection.backup(target)
        # one file, no log beside it; opening it for writing makes it WAL again
        target.execute("PRAGMA journal_mode = DELETE")
        problem = target.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if problem != "ok":
            raise damaged(database.name, problem)


def _warn_about_an_empty_file(path: Path, *, may_begin: bool) -> None:
    log = footing.examine_log(path)
    _refuse_log_without_file(path, log)
    if not may_begin:
        raise StateError(f"{path} is empty (0 bytes), so it contains no state; use the newest backup instead")
    warnings.warn(
        f"{path} is empty (0 bytes): it contains no samples. If it had some before, restore the newest backup",
        RuntimeWarning,
        stacklevel=3,
    )


def _refuse_log_without_file(path: Path, log: Log) -> None:
    # the file is checked again: another process may just have made it
    if log.frames and not (path.exists() and path.stat().st_size):
        raise damaged(
            path,
            f"the file itself is empty or missing, but the log beside it (-wal) contains {log.frames} pages (remove it"
            " only to start from scratch)",
        )


def _create(path: Path, begin: Callable[[sqlite3.Connection], None] | None) -> None:
    """Make the tables before the file gets a log, so that edgetl never leaves a file with a log and no tables."""
    with contextlib.closing(_configured(footing.connect(footing.uri(path, "rwc")))) as connection:
        # otherwise another process was faster
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not holds_tables(connection):
                schema.create_tables(connection)
                if begin is not None:
                    begin(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    sync(path.parent)  # otherwise the file's name may be missing after a power cut


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring an older file to the present version, completely or not at all."""
    if _version(connection) == schema.SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        schema.migrate(connection, _version(connection))  # another process may have been faster
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _configured(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Set the limits of a new connection; close it where the file is too damaged for that."""
    try:
        _set_limits(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_limits(connection: sqlite3.Connection) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")  # takes effect only on a new file


def _make_durable(connection: sqlite3.Connection) -> None:
    limit = time.monotonic() + faults.BUSY_SECONDS
    while True:  # SQLite does not wait by itself for another process that is switching at the same time
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > limit:
                raise
            time.sleep(_RETRY_SECONDS)
    # without shared memory there is only a rollback journal; EXTRA makes it as durable
    connection.execute(f"PRAGMA synchronous = {'FULL' if mode == 'wal' else 'EXTRA'}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")

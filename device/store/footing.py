"""Choosing a way to read a state file without changing anything on the disk.

To read a file with a log, SQLite normally needs the shared-memory file and, at the end, folds the log in. The way chosen
here depends on what is on the disk:

- A log and shared memory (another process has the file open, or did when it was killed): SQLite reads both with
  ``readonly_shm``; without another process it keeps its index of the log in RAM.
- A log without shared memory (copied by hand), or the unfinished files of a crash: a private copy is opened.
- A file that never had a log, such as a backup: SQLite's locks on the file are enough.
- A file whose log was folded in: the file itself is opened as immutable. When another process begins to write,
  `Footing.moved` returns True and the reader opens the file again.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
import tempfile
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StateBusyError, StateError, StateNotFoundError, StorageError
from ..files import may_write
from . import faults
from .faults import damaged
from .log import Log, judge, log_path

if TYPE_CHECKING:
    from .database import Database

MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_WAL_FORMAT = b"\x02\x02"  # bytes 18 and 19 of the header
Signature = tuple[tuple[int, ...] | None, ...]

# Files that this process has open. Opening and closing one of them directly would drop SQLite's locks on it (POSIX:
# the locks of a process on a file end with the first descriptor it closes).
_open_files: dict[tuple[int, int], weakref.WeakSet[Database]] = {}
_open_lock = threading.Lock()


@dataclass(frozen=True)
class Footing:
    """How a state file is being read.

    Attributes:
        uri: The file's URI for SQLite.
        signature: The signature of the files when they were opened, see `signature`.
        content: Whether the signature includes sizes and times, for readers that SQLite does not update.
        scratch: Folder of a private copy, removed when it is closed.
    """

    uri: str
    signature: Signature
    content: bool
    scratch: Path | None = None

    def moved(self, path: Path) -> bool:
        """Return whether the files at `path` are no longer those that were opened."""
        return signature(path, self.content) != self.signature

    def leave(self) -> None:
        """Remove the private copy, if there is one."""
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)


def signature(path: Path, content: bool) -> Signature:
    """Return the identities of the files at `path`, and with `content` also their sizes and times."""
    return tuple(_stat(f"{path}{ending}", content) for ending in ("", "-wal", "-shm", "-journal"))


def _stat(path: str, content: bool) -> tuple[int, ...] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    identity = (found.st_dev, found.st_ino)
    return (*identity, found.st_size, found.st_mtime_ns) if content else identity


def find_footing(path: Path, log: Log, seen: Signature, *, private: bool) -> Footing:
    """Choose how to read the file at `path`.

    Args:
        path: The file.
        log: The result of `judge` for its log.
        seen: The signature of the files before the log was read.
        private: Whether to read a copy, because SQLite found a rollback journal without a writer, or incomplete
            shared memory after a crash.

    Raises:
        StateBusyError: Another process wrote the file while it was copied; trying again helps.
        StorageError: The file cannot be read, or a private copy cannot be written.
    """
    log_file, shared = log_path(path), Path(f"{path}-shm")
    # a writer of this process: the reader shares its memory mapping
    if any(not database.read_only for database in opened_here(path)):
        return Footing(uri(path, "ro"), signature(path, content=False), content=False)
    if not private and log.frames and log_file.exists() and shared.exists():
        return Footing(uri(path, "ro") + "&readonly_shm=1", signature(path, content=False), content=False)
    if log.frames or private:
        scratch = _copied(path)
        if signature(path, content=True) != seen:
            shutil.rmtree(scratch, ignore_errors=True)
            raise StateBusyError(f"{path} was written by another process while it was read; try again")
        return Footing(uri(scratch / path.name, "rw"), seen, content=True, scratch=scratch)
    if read_header(path)[18:20] == _WAL_FORMAT:
        return Footing(uri(path, "ro") + "&immutable=1", seen, content=True)
    return Footing(uri(path, "ro") + "&readonly_shm=1", seen, content=True)


def _copied(path: Path) -> Path:
    scratch = Path(tempfile.mkdtemp(prefix="edgetl-"))
    try:
        for ending in ("", "-wal", "-journal"):
            if Path(f"{path}{ending}").exists():
                shutil.copyfile(f"{path}{ending}", scratch / f"{path.name}{ending}")
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        problem = f"cannot copy {path} to {scratch} for reading: {error.strerror}; free some space there"
        raise StorageError(error.errno or errno.EIO, problem) from error
    return scratch


def examine_log(path: Path) -> Log:
    """Return the result of `judge` for the log beside `path`, if the log is intact.

    Raises:
        StateError: The log is damaged, so that SQLite would drop intact changes.
        StorageError: The log cannot be read.
    """
    try:
        found = judge(path)
    except OSError as error:
        raise _unreadable(log_path(path), error) from error
    if found.damage:
        raise damaged(path, found.damage)
    return found


def refuse_unusable(path: Path, create: bool) -> None:
    """Refuse a file that is foreign or truncated, before SQLite opens it.

    Raises:
        StateError: The file is foreign or truncated.
        StorageError: The file is missing and `create` is false, or cannot be read.
    """
    if path.is_dir():
        raise StorageError(
            errno.EISDIR, f"{path} is a folder; pass the path of a state file such as {path}/state.db"
        )
    if not path.exists():
        _refuse_missing(path, create)
        return
    if not path.is_file():
        raise StateError(f"{path} is no regular file; pass the path of a state file")
    if opened_here(path):
        return
    start = read_header(path)
    if start and not start.startswith(MAGIC):
        raise StateError(
            f"{path} is no state file: expected an SQLite file, but it begins with {start[: len(MAGIC)]!r}; use another"
            f" path, or if it was one and is damaged: edgetl recover {path} --out NEW.db"
        )
    _refuse_truncated(path, start)


def _refuse_missing(path: Path, create: bool) -> None:
    if not create:
        raise StateNotFoundError(
            errno.ENOENT, f"{path} does not exist; teach something first or correct the path"
        )
    if not path.parent.is_dir():
        raise StorageError(
            errno.ENOENT, f"the folder {path.parent} does not exist; make it first: mkdir -p {path.parent}"
        )


def read_header(path: Path) -> bytes:
    """Return the first 100 bytes of a file that this process does not have open."""
    try:
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(error.errno or errno.EIO, f"cannot read {path}: {error.strerror}; check who owns it")


def _refuse_truncated(path: Path, header: bytes) -> None:
    """Refuse a truncated file, by the size in its header (file format, section 1.3)."""
    size, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    expected, have = pages * (65536 if size == 1 else size), path.stat().st_size
    log = log_path(path)
    # with a log, pages may be there only; and the size counts only where both version numbers agree
    if have < expected and header[24:28] == header[92:96] and not (log.exists() and log.stat().st_size):
        raise damaged(path, f"it should have {expected} bytes and has {have}")


def writable(path: Path) -> bool:
    """Return whether SQLite can write the file; it also needs the folder, for the log."""
    return may_write(path.parent) and (not path.exists() or may_write(path))


def uri(path: Path, mode: str) -> str:
    """Return the URI of `path` for SQLite, opened as `mode`."""
    quoted = str(path.absolute())  # Path.as_uri would import urllib for these three characters
    for character in "%?#":
        quoted = quoted.replace(character, f"%{ord(character):02x}")
    return f"file:{quoted}?mode={mode}"


def connect(name: str) -> sqlite3.Connection:
    """Connect to a file by its `uri`, or to ``:memory:``."""
    return sqlite3.connect(
        name, uri=True, timeout=faults.BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


def opened_here(path: Path) -> list[Database]:
    """Return the open connections of this process to the file at `path`."""
    identity = _stat(str(path), content=False)
    with _open_lock:
        return [] if identity is None else list(_open_files.get((identity[0], identity[1]), ()))


def note_open(database: Database) -> None:
    """Note that this process has a file open."""
    identity = _stat(str(database.path), content=False)
    if identity is not None:
        with _open_lock:
            _open_files.setdefault((identity[0], identity[1]), weakref.WeakSet()).add(database)


def note_closed(database: Database) -> None:
    """Note that this process has closed it."""
    with _open_lock:
        for key in [key for key, opened in _open_files.items() if database in opened]:
            _open_files[key].discard(database)
            if not _open_files[key]:
                del _open_files[key]

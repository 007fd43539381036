"""Translating errors of SQLite and of damaged rows into errors that name the file and the next step."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import unicodedata
from collections.abc import Iterator

from ..errors import EdgetlError, StateBusyError, StateError, StorageError

BUSY_SECONDS = 10.0

_STORAGE_STEPS = {
    sqlite3.SQLITE_FULL: (errno.ENOSPC, "the disk is full: free some space and try again"),
    sqlite3.SQLITE_READONLY: (errno.EROFS, "it is read-only: remount the file system writable or copy the file"),
    sqlite3.SQLITE_CANTOPEN: (errno.EACCES, "the file or its folder cannot be opened: check the path and its permissions"),
    sqlite3.SQLITE_PERM: (errno.EACCES, "no permission: check who owns the file and its folder"),
    sqlite3.SQLITE_IOERR: (errno.EIO, "the disk reported an error: check free space, quota and the SD card"),
}  # fmt: skip
# Values that no intact state file contains: text that is not UTF-8 (SQLite's own error text included), numbers out of
# range, JSON nested without end. All of them mean that the file is damaged or foreign.
_UNREADABLE = (UnicodeDecodeError, UnicodeEncodeError, OverflowError, RecursionError)


def damaged(path: object, what: object) -> StateError:
    """Return the error for a damaged state file, with the command that saves what is intact."""
    return StateError(
        f"{path} is damaged: {escaped(what)}; save what is intact with: edgetl recover {path} --out NEW.db"
    )


def escaped(text: object, limit: int = 500) -> str:
    r"""Return `text` with control characters escaped, cut to `limit` characters.

    Example:
        >>> escaped("a\x1b[2J")
        'a\\x1b[2J'
    """
    written = str(text)
    if len(written) > limit:
        written = written[:limit] + "..."
    return "".join(character if character.isprintable() else _escaped(character) for character in written)


def without_controls(text: str) -> str:
    r"""Return `text` with control characters and line breaks escaped; other characters stay unchanged.

    Example:
        >>> without_controls("a\nb\u3000c") == "a\\nb\u3000c"
        True
    """
    if text.isprintable():
        return text
    controls = ("Cc", "Cs", "Zl", "Zp")
    return "".join(_escaped(one) if unicodedata.category(one) in controls else one for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode()


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, 0 when the error has none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def translated(error: sqlite3.Error, path: object) -> EdgetlError:
    """Return the error of edgetl for an SQLite error, with the next step."""
    code = primary_code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StateBusyError(
            f"{path} was being written by another process for {BUSY_SECONDS:g} s;"
            " wait for it to finish or stop it, then try again"
        )
    if code in _STORAGE_STEPS:
        number, step = _STORAGE_STEPS[code]
        return StorageError(number, f"cannot use the state file {path}: {step} ({error})")
    return damaged(path, error)


@contextlib.contextmanager
def errors_translated(path: object) -> Iterator[None]:
    """Raise errors of edgetl in place of SQLite and decoding errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from error
    except _UNREADABLE as error:
        raise damaged(path, f"a value in it cannot be read ({type(error).__name__})") from error

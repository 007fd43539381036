"""Writing files so that a partial file never has its final name."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import OutputExistsError, StorageError
from .printable import printable

_NEXT_STEP = {
    errno.ENOSPC: "free some space on the disk and try again",
    errno.EDQUOT: "free some of your quota and try again",
    errno.EFBIG: "raise the file size limit and try again",
    errno.EROFS: "the file system is read-only: remount it writable or choose another folder",
    errno.EACCES: "choose a folder you may write to, or change its permissions",
    errno.EPERM: "choose a folder you may write to, or change its permissions",
    errno.ENOENT: "create the folder first or correct the path",
    errno.ENOTDIR: "a part of the path is a file: correct the path",
    errno.EISDIR: "that path is a folder: pass the path of a file",
}


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return the error for an `OSError` raised while writing `path`; its message names the next step."""
    step = _NEXT_STEP.get(error.errno or 0, "check the disk and the path")
    return StorageError(error.errno or errno.EIO, f"cannot write {path}: {error.strerror or error}; {step}")


def refuse_existing(path: Path, force: bool = False) -> None:
    """Raise `OutputExistsError` when `path` exists and `force` is false."""
    if path.exists() and not force:
        raise OutputExistsError(
            errno.EEXIST, f"{path} already exists and is not overwritten; use --force or another name"
        )


def may_write(path: Path) -> bool:
    """Return whether this process, as its effective user, may write the existing file or folder `path`."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def require_writable(path: Path) -> None:
    """Raise `StorageError` when `path` cannot be written; call it before long work."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise storage_error(error, path) from error


@contextlib.contextmanager
def atomic_output(path: str | Path, *, force: bool = False, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the final name, durably.

    The temporary file is flushed to the disk before the rename and the folder after it, so that
    after a power cut there is the old file or the new one, never a partial one. On any exception the
    temporary file is removed.

    Args:
        path: The final name.
        force: Replace a file of that name.
        private: Create the file readable only by its owner, from its first byte on.

    Raises:
        StorageError: `path` exists and `force` is false, or the disk is full, read-only, or forbidden.
    """
    path = Path(path)
    refuse_existing(path, force)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        if not private:  # mkstemp sets 0600, which would lock out other users of the file
            os.fchmod(handle, 0o666 & ~_umask())
        os.close(handle)
    except OSError as error:
        raise storage_error(error, path) from error
    temporary = Path(name)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except StorageError:
        raise
    except OSError as error:
        raise (storage_error(error, path) if error.errno in _NEXT_STEP else error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync(path: Path) -> None:
    """Flush the content of a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def shown(path: str | Path) -> str:
    """Return a path for people: control characters and bytes that are not UTF-8 are escaped."""
    return printable(str(path))

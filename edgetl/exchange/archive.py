"""Zip archives from elsewhere: nothing is unpacked to the disk, and no size in them is trusted."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from device.errors import PhotoError
from device.files import shown
from device.formats import Reason
from device.printable import printable

from .photos import MOST_BYTES

_MOST_FILES = 100_000
_MOST_TOTAL = 8 * 2**30  # bytes of all files, unpacked
_MOST_RATIO = 200  # photos are compressed already; a file that shrinks more is a bomb
_SMALL = 2**20  # bytes; a smaller file is harmless at any ratio


class Archive:
    """A zip archive, read in RAM file by file; use it in a ``with`` statement.

    Args:
        path: The archive.

    Attributes:
        path: The archive.
        files: Path below the archive -> reader. A name that leaves the archive, with ``..`` or from the root of the disk,
            has lost these parts.

    Raises:
        PhotoError: The file is not a zip archive, is damaged, or would unpack to more than the limits.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise PhotoError(f"{shown(path)} is not a zip archive that can be read: {error}") from error
        try:
            self._check()
        except PhotoError:
            self._zip.close()
            raise
        self.files = {
            str(safe_path(info.filename)): self._reader(info)
            for info in self._zip.infolist()
            if not info.is_dir() and safe_path(info.filename).parts
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def _check(self) -> None:
        found = self._zip.infolist()
        total = sum(info.file_size for info in found)
        if len(found) > _MOST_FILES or total > _MOST_TOTAL:
            raise PhotoError(
                f"{shown(self.path)} has {len(found)} files of {total} bytes unpacked; at most {_MOST_FILES} files and"
                f" {_MOST_TOTAL} bytes are read; split it",
                Reason.TOO_LARGE,
            )

    def _reader(self, info: zipfile.ZipInfo) -> Callable[[], bytes]:
        name = printable(info.filename)

        def read() -> bytes:
            bomb = info.file_size > max(_SMALL, _MOST_RATIO * info.compress_size)
            if info.file_size > MOST_BYTES or bomb:
                raise PhotoError(
                    f"{name} unpacks from {info.compress_size} to {info.file_size} bytes, which no photo does",
                    Reason.TOO_LARGE,
                )
            try:
                with self._zip.open(info) as stream:
                    return stream.read(MOST_BYTES)
            except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
                raise PhotoError(f"{name} is damaged: {error}") from error
            except (RuntimeError, NotImplementedError) as error:  # encrypted, or another compression
                raise PhotoError(f"{name} cannot be unpacked: {error}", Reason.FORMAT) from error

        return read


def safe_path(name: str) -> PurePosixPath:
    r"""Return the path of a file in an archive, without parts that leave the archive.

    Example:
        >>> str(safe_path("../../etc/passwd")), str(safe_path("C:\\mug\\0.jpg"))
        ('etc/passwd', 'mug/0.jpg')
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return PurePosixPath(*(part for part in parts if part not in ("/", "//", "..", ".") and part[1:] != ":"))

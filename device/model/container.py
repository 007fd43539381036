"""The container of a model file: a flatbuffer with a zip archive appended.

Interpreters ignore what follows the flatbuffer; `zipfile` finds the archive at the end. A file is opened once, must be
a plain file, and every read has a limit that does not depend on the archive's directory.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ..errors import ModelFileError, ModelNotFoundError

LABELS, MANIFEST, MEMORY, SEAL = "labels.txt", "edgetl.json", "taught.npz", "edgetl.sha256"
NEGATIVES = "negatives.npz"
# bytes, unpacked
LIMITS = {LABELS: 2**20, MANIFEST: 4 * 2**20, MEMORY: 512 * 2**20, NEGATIVES: 128 * 2**20, SEAL: 64}
MAX_MODEL_BYTES = 2**30
IDENTIFIER = b"TFL3"  # after the four bytes of the root offset
FOREIGN = "convert a model with 'edgetl convert' to get a file that can be taught"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # no time of writing: equal content makes equal files
_CHUNK = 2**20
_END = struct.Struct("<4s4H2LH")  # end of central directory record
_MAX_DIRECTORY = 2**16  # bytes; ours take a few hundred
_UNREADABLE = (
    zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, OverflowError, LookupError, struct.error,
    zlib.error, OSError,
)  # fmt: skip


@contextlib.contextmanager
def open_plain(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file, or a link to one, for reading.

    Opening a named pipe could block, and reading a device might never end, so neither is opened.

    Raises:
        ModelFileError: The file is missing, cannot be read, or is no plain file.
    """
    try:
        _require_plain(path, path.stat())
        # another file may have taken the name by now: a pipe must not block, and is checked again
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as stream:
            _require_plain(path, os.fstat(handle))
            yield stream
    except FileNotFoundError as error:
        raise ModelNotFoundError(errno.ENOENT, f"there is no model file {path}; check the path") from error
    except OSError as error:
        raise ModelFileError(
            f"the model file {path} cannot be read: {error.strerror or error}; check the path"
        ) from error


def read_whole(stream: BinaryIO) -> BinaryIO:
    """Return the whole content of a file in RAM, so that what is checked and what is used are the same bytes.

    Raises:
        ModelFileError: It is larger than a model file can be.
    """
    size, limit = _size(stream), MAX_MODEL_BYTES + sum(LIMITS.values()) + _MAX_DIRECTORY
    if size > limit:
        raise ModelFileError(f"the file has {size} bytes, a model file at most {limit}")
    stream.seek(0)
    return io.BytesIO(stream.read(size))


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Put the path of the file in front of the message of a `ModelFileError`."""
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error


def read_tflite(path: Path) -> bytes:
    """Read a whole .tflite that need not be a model file of edgetl.

    Raises:
        ModelFileError: It is no plain file, too large, or does not start like a .tflite.
    """
    with open_plain(path) as stream:
        size = _size(stream)
        if size > MAX_MODEL_BYTES:
            raise ModelFileError(f"{path} has {size} bytes, at most {MAX_MODEL_BYTES} are read")
        data = stream.read(size)
    require_identifier(path, data[:8])
    return data


def read_part(stream: BinaryIO, length: int) -> bytes:
    """Read the model part, the first `length` bytes of a model file.

    Raises:
        ModelFileError: The file is shorter, or the part is too large.
    """
    size = _size(stream)
    if not 8 <= length <= min(size, MAX_MODEL_BYTES):
        raise ModelFileError(
            f"the manifest declares a model part of {length} bytes, expected 8 to {min(size, MAX_MODEL_BYTES)} in a file "
            f"of {size}; copy or convert the file again"
        )
    stream.seek(0)
    return stream.read(length)


def read_members(path: Path, stream: BinaryIO) -> dict[str, bytes]:
    """Read the known members; none beyond its limit or its declared size.

    Raises:
        ModelFileError: There is no readable archive, or a member is missing, duplicate or too large.
    """
    # a file of size 0 may be one that never ends
    require_identifier(path, stream.read(min(8, _size(stream))))
    try:
        _check_directory(stream)
        with zipfile.ZipFile(stream) as archive:
            infos = _known(path, archive.infolist())
            members = {name: _read_member(archive, info) for name, info in infos.items()}
            strangers = sorted(set(archive.namelist()) - LIMITS.keys())
    except ModelFileError:
        raise
    except _UNREADABLE as error:
        raise ModelFileError(
            f"{path} has no readable edgetl manifest: it was truncated, or is not from edgetl ({error}); "
            f"copy it again, or {FOREIGN}"
        ) from error
    missing = {LABELS, MANIFEST} - members.keys()
    if missing:
        raise ModelFileError(
            f"{path} is a .tflite but no edgetl model file: {', '.join(sorted(missing))} missing; {FOREIGN}"
        )
    if strangers:  # such as the memory under a damaged name
        raise ModelFileError(
            f"{path} holds {', '.join(map(repr, strangers))}, which no model file has; copy or convert it again"
        )
    return members


def write_container(target: BinaryIO, model: bytes, members: Mapping[str, bytes | Iterable[bytes]]) -> None:
    """Write a flatbuffer and append `members`, stored, in their order.

    Args:
        target: Open for writing, seekable, empty.
        model: The flatbuffer.
        members: Name -> content, whole or in pieces that need not fit into RAM together.
    """
    target.write(model)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            with archive.open(zipfile.ZipInfo(name, date_time=_EPOCH), "w") as member:
                for piece in [content] if isinstance(content, bytes) else content:
                    member.write(piece)


def sha256(content: bytes) -> str:
    """Return the checksum of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def require_identifier(path: Path, head: bytes) -> None:
    """Raise `ModelFileError` unless `head`, the first eight bytes, are those of a .tflite."""
    if head[4:8] != IDENTIFIER:
        raise ModelFileError(f"{path} is no .tflite file: it starts with {head[:8]!r}; {FOREIGN}")


def _require_plain(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise ModelFileError(f"the model file {path} cannot be read: it is a folder; check the path")
    if not stat.S_ISREG(found.st_mode):
        raise ModelFileError(
            f"{path} is no plain file but a device, a pipe or a socket; pass the path of a .tflite file"
        )


def _size(stream: BinaryIO) -> int:
    place = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(place)
    return size


def _check_directory(stream: BinaryIO) -> None:
    """Check the size of the archive's directory, which `zipfile` reads whole before anything else."""
    size = _size(stream)
    stream.seek(max(0, size - _END.size - 2**16))  # a comment of at most 64 KiB may follow
    tail = stream.read(_END.size + 2**16)
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < _END.size:
        raise zipfile.BadZipFile("no archive at the end")
    length = _END.unpack_from(tail, place)[5]
    if tail[max(0, place - 20) :].startswith(b"PK\6\7"):  # a second, larger end record counts then
        raise zipfile.BadZipFile("a zip64 archive")
    if length > min(size, _MAX_DIRECTORY):
        raise zipfile.BadZipFile(f"a directory of {length} bytes, at most {_MAX_DIRECTORY} are read")


def _known(path: Path, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if info.filename not in LIMITS:
            continue
        if info.filename in found:
            raise ModelFileError(f"{path} holds {info.filename} twice; copy or convert it again")
        if info.file_size > LIMITS[info.filename]:
            raise ModelFileError(
                f"{info.filename} in {path} has {info.file_size} bytes, at most {LIMITS[info.filename]} are read"
            )
        found[info.filename] = info
    return found


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Read a member; its checksum is checked at its end, and nothing is unpacked beyond it."""
    pieces, left = [], info.file_size + 1
    with archive.open(info) as member:
        while left > 0 and (piece := member.read(min(left, _CHUNK))):
            pieces.append(piece)
            left -= len(piece)
    return b"".join(pieces)

"""Arrays to bytes and back: the npz format without pickle and with its sizes checked before use."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ArraysError

MAX_BYTES = 512 * 2**20
_MAX_MEMBERS = 64
_HEADER_ROOM = 2**16
_KINDS = frozenset("biuf")  # bool, int, unsigned, float: text travels as UTF-8 bytes in uint8


def pack_arrays(arrays: Mapping[str, NDArray[Any]], *, compress: bool = True) -> bytes:
    """Write named arrays as npz bytes; the same arrays always give the same bytes."""
    target = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", method) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(arrays[name]), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            archive.writestr(info, member.getvalue())
    return target.getvalue()


def unpack_arrays(data: bytes, max_bytes: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """Read what `pack_arrays` (or ``numpy.savez``) wrote; nothing is unpickled.

    Raises:
        ArraysError: The bytes are damaged, larger than `max_bytes` unpacked, or not plain numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if len(members) > _MAX_MEMBERS or total > max_bytes:
                raise ArraysError(
                    f"{len(members)} arrays of {total} bytes, at most {_MAX_MEMBERS} of {max_bytes} are read"
                )
            return {
                member.filename.removesuffix(".npy"): _read_array(archive.read(member)) for member in members
            }
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise ArraysError(f"the arrays are damaged: {error}") from error


def pack_texts(texts: list[str]) -> NDArray[np.uint8]:
    """Write lines of text as uint8, one text a line."""
    return np.frombuffer("\n".join(texts).encode(), np.uint8)


def unpack_texts(data: NDArray[np.uint8]) -> list[str]:
    """Read what `pack_texts` wrote; an empty array is an empty list."""
    try:
        return bytes(data).decode().split("\n") if data.size else []
    except UnicodeDecodeError as error:
        raise ArraysError(f"the stored texts are damaged: {error}") from error


def _read_array(data: bytes) -> NDArray[Any]:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            version
        ]
        shape, fortran, dtype = header(stream, max_header_size=_HEADER_ROOM)
    except (ValueError, KeyError) as error:
        raise ArraysError(f"an array's header is damaged: {error}") from error
    if dtype.kind not in _KINDS:
        raise ArraysError(f"arrays of numbers are read, got dtype {dtype}")
    # the header is not trusted: memory is taken only for bytes that are really there
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ArraysError(
            f"an array's header says shape {shape} of {dtype}, but {len(data) - stream.tell()} bytes follow"
        )
    values = np.frombuffer(data, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if fortran else "C").copy()

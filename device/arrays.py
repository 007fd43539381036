"""Arrays to bytes and back: the npz format without pickle and with its sizes checked before use."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ArraysError

MAX_BYTES = 512 * 2**20
_MAX_MEMBERS = 64
_CHUNK = 2**20
_MAGIC = b"\x93NUMPY\x01\x00"  # with a 16-bit length of the header; longer headers are for records, which are not read
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[A-Za-z][0-9]{0,4})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,18}, ?){0,8}(?:[0-9]{1,18})?)\), ?\}[ \n]*",
)
# bool, int, unsigned, float; text is stored as UTF-8 bytes in uint8
_NUMBERS = re.compile(r"[<>|=]?[biuf][1248]")
_UNREADABLE = (
    zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, OverflowError, LookupError, OSError,
    struct.error, zlib.error,
)  # fmt: skip


def pack_arrays(arrays: Mapping[str, NDArray[Any]], *, compress: bool = True) -> bytes:
    """Return named arrays as npz bytes; equal arrays become equal bytes."""
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
    """Return the arrays in npz bytes, from `pack_arrays` or ``numpy.savez``; nothing is unpickled.

    Raises:
        ArraysError: The bytes are damaged, larger than `max_bytes` unpacked, or not plain numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_sizes(members, max_bytes)
            return {
                member.filename.removesuffix(".npy"): _parse_array(_read_member(archive, member))
                for member in members
            }
    except ArraysError:
        raise
    except _UNREADABLE as error:
        raise ArraysError(f"the arrays are damaged: {error}") from error


def pack_texts(texts: list[str]) -> NDArray[np.uint8]:
    """Return texts as UTF-8 in uint8, one per line."""
    return np.frombuffer("\n".join(texts).encode(), np.uint8)


def unpack_texts(data: NDArray[np.uint8]) -> list[str]:
    """Return the texts that `pack_texts` packed; an empty array is an empty list."""
    try:
        return bytes(data).decode().split("\n") if data.size else []
    except UnicodeDecodeError as error:
        raise ArraysError(f"the stored texts are damaged: {error}") from error


def _check_sizes(members: list[zipfile.ZipInfo], max_bytes: int) -> None:
    total = sum(member.file_size for member in members)
    if len(members) > _MAX_MEMBERS or total > max_bytes:
        raise ArraysError(
            f"{len(members)} arrays of {total} bytes, at most {_MAX_MEMBERS} of {max_bytes} are read"
        )
    if len({member.filename for member in members}) != len(members):
        raise ArraysError("two arrays have the same name")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytearray:
    """Read a member piece by piece: no more is unpacked than its directory entry declares."""
    data, place = bytearray(), 0
    with archive.open(info) as member:
        while place <= info.file_size and (piece := member.read(_CHUNK)):
            data += piece
            place += len(piece)
    return data


def _parse_array(data: bytearray) -> NDArray[Any]:
    """Return a writable view of an .npy file's numbers.

    The header is matched, not evaluated, and never trusted: RAM is allocated only for bytes that are present.
    """
    length = int.from_bytes(data[8:10], "little")
    header = _HEADER.fullmatch(data[10 : 10 + length])
    if data[:8] != _MAGIC or len(data) < 10 + length or header is None:
        raise ArraysError(f"an array's header is damaged: it starts with {bytes(data[:40])!r}")
    dtype = _dtype(header[1].decode())
    shape = tuple(int(side) for side in header[3].replace(b" ", b"").split(b",") if side)
    follow = len(data) - 10 - length
    if math.prod(shape) * dtype.itemsize != follow:
        raise ArraysError(f"an array's header declares shape {shape} of {dtype}, but {follow} bytes follow")
    values = np.frombuffer(data, dtype, offset=10 + length)
    return values.reshape(shape, order="F" if header[2] == b"True" else "C")


def _dtype(text: str) -> np.dtype[Any]:
    try:
        if _NUMBERS.fullmatch(text):
            return np.dtype(text)
    except TypeError:  # such as a bool of eight bytes
        pass
    raise ArraysError(f"only arrays of numbers are read, got dtype {text!r}")

"""Reading arrays from untrusted bytes."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.arrays import pack_arrays, pack_texts, unpack_arrays, unpack_texts
from device.errors import ArraysError


def test_arrays_make_the_round_trip_and_equal_arrays_become_equal_bytes() -> None:
    """Integers, floats, Fortran order and empty arrays."""
    arrays = {"a": np.arange(6).reshape(2, 3).T, "b": np.zeros((0, 4), np.int16), "c": np.float32(2.5)}
    read = unpack_arrays(pack_arrays(arrays))
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)
    assert pack_arrays(arrays) == pack_arrays(dict(reversed(arrays.items())))


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)))
def test_texts_make_the_round_trip(texts: list[str]) -> None:
    """One per line."""
    assert unpack_texts(pack_texts(texts)) == texts


def test_numpy_reads_what_is_written() -> None:
    """The format is npz, so that people can look inside."""
    with np.load(io.BytesIO(pack_arrays({"x": np.arange(3)}))) as archive:
        assert archive["x"].tolist() == [0, 1, 2]


def test_a_pickled_array_is_refused() -> None:
    """Object arrays would run code when loaded."""
    target = io.BytesIO()
    np.savez(target, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ArraysError, match="numbers"):
        unpack_arrays(target.getvalue())


def test_a_bare_pickle_is_refused() -> None:
    """A pickle under an array's name is not unpickled either."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("x.npy", pickle.dumps([1, 2]))
    with pytest.raises(ArraysError, match="header"):
        unpack_arrays(target.getvalue())


def test_a_header_with_a_false_shape_is_refused() -> None:
    """No RAM is allocated for missing rows."""
    honest = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        honest, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**3)}
    )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("x.npy", honest.getvalue() + bytes(80))
    with pytest.raises(ArraysError, match="bytes follow"):
        unpack_arrays(target.getvalue())


def test_an_archive_that_would_grow_too_large_is_refused() -> None:
    """A zip bomb is recognized by its directory, before anything is unpacked."""
    with pytest.raises(ArraysError, match="at most"):
        unpack_arrays(pack_arrays({"x": np.zeros(10**6)}), max_bytes=10**5)


def archive(header: bytes, follow: bytes = b"") -> bytes:
    """Pack one array with a header of any text."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        made.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + follow)
    return target.getvalue()


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<i2', (((\n",
        b"(" * 9000 + b")" * 9000,
        b"-" * 60000 + b"1",
        b"{'descr': '<i2', 'fortran_order': False, 'shape': (1" + b"0" * 4000 + b",)}\n",
        b"{'descr': '<i2', 'fortran_order': False, 'shape': (-1,)}\n",
        b"{'descr': '<i2', 'fortran_order': False, 'shape': (" + b"1, " * 40 + b")}\n",
        b"{'descr': '|b8', 'fortran_order': False, 'shape': (0,)}\n",
        b"{'descr': '<M8[s]', 'fortran_order': False, 'shape': (0,)}\n",
        b"{'descr': [('a', '<i2')], 'fortran_order': False, 'shape': (0,)}\n",
    ],
)
def test_a_header_is_matched_and_never_evaluated(header: bytes) -> None:
    """Deep nesting and length lead only to a refusal."""
    with pytest.raises(ArraysError):
        unpack_arrays(archive(header, bytes(64)))


def test_a_member_is_not_unpacked_beyond_its_declared_size() -> None:
    """It declares 100 bytes and contains 64 MiB."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("x.npy", bytes(2**26))
    data = bytearray(target.getvalue())
    for place, at in ((data.index(b"PK\3\4"), 14), (data.index(b"PK\1\2"), 16)):
        data[place + at : place + at + 4] = struct.pack("<I", zlib.crc32(bytes(100)))
        data[place + at + 8 : place + at + 12] = struct.pack("<I", 100)
    tracemalloc.start()
    with pytest.raises(ArraysError):
        unpack_arrays(bytes(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_two_arrays_of_one_name_are_refused() -> None:
    """Only one of them would be read, silently."""
    target = io.BytesIO(pack_arrays({"x": np.arange(3)}))
    with zipfile.ZipFile(target, "a") as made:
        made.writestr("x.npy", b"")
    with pytest.raises(ArraysError, match="same name"):
        unpack_arrays(target.getvalue())


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    """All other bytes lead to the same error."""
    with pytest.raises(ArraysError):
        unpack_arrays(data)

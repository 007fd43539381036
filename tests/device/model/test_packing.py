"""Packing the memory: values that no samples have are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from device.arrays import pack_arrays, pack_texts, unpack_arrays
from device.errors import ModelFileError
from device.model.memory import Memory, Samples, Sums
from device.model.packing import pack_memory, unpack_memory

WIDTH = 12
CODES = np.random.default_rng(1).integers(-4096, 4097, (30, WIDTH)).astype(np.int16)
LABELS = tuple(["blue", "green", "red"] * 10)
SAMPLES = Samples(CODES, LABELS)
SUMS = Sums.of(CODES, LABELS)

Arrays = dict[str, Any]


def changed(memory: Memory, change: Callable[[Arrays], Arrays]) -> bytes:
    """Return a packed memory with changed arrays."""
    return pack_arrays(change(unpack_arrays(pack_memory(memory))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"codes": a["codes"].astype(np.float32)}, "codes must be int16"),
        (lambda a: a | {"codes": a["codes"].astype(">i2")}, "codes must be int16"),
        (lambda a: a | {"codes": a["codes"].ravel()}, "codes must be int16"),
        (lambda a: a | {"codes": a["codes"][:-1]}, "codes must be int16"),
        (lambda a: a | {"codes": np.full_like(a["codes"], -32768)}, "within"),
        (lambda a: a | {"codes": a["codes"][:, :0], "index": a["index"][:0]}, "no sample"),
        (lambda a: a | {"index": a["index"].astype(bool)}, "index must be int32"),
        (lambda a: a | {"index": a["index"].astype(np.float64)}, "index must be int32"),
        (lambda a: a | {"index": a["index"][:-1]}, "index must be int32"),
        (lambda a: a | {"index": a["index"] + 1}, "outside the list"),
        (lambda a: a | {"index": a["index"] - 1}, "outside the list"),
        (lambda a: a | {"names": a["names"].astype(np.float64)}, "names must be uint8"),
        (lambda a: a | {"names": a["names"].reshape(1, -1)}, "names must be uint8"),
        (lambda a: a | {"names": pack_texts(["blue", "gr\aeen", "red"])}, "control"),
        (lambda a: a | {"names": pack_texts(["blue", "blue", "red"])}, "more than once"),
        (lambda a: a | {"names": pack_texts(["red", "green", "blue"])}, "sorted"),
        (lambda a: a | {"names": pack_texts([" blue", "green", "red"])}, "canonical"),
        (lambda a: a | {"names": pack_texts([])}, "sorted"),
        (lambda a: a | {"names": np.frombuffer(b"\xff\n", np.uint8)}, "texts"),
        (lambda a: {"codes": a["codes"], "index": a["index"]}, "names is missing"),
        (lambda a: a | {"judge": np.full(30, 2, np.uint8)}, "judge"),
        (lambda a: a | {"judge": np.ones(29, np.uint8)}, "judge"),
        (lambda a: a | {"group": np.full(30, -1, np.int32)}, "group"),
        (lambda a: a | {"group": np.zeros(30, np.int64)}, "group"),
        (lambda a: {}, "missing"),
    ],
)
def test_impossible_samples_are_refused(change: Callable[[Arrays], Arrays], message: str) -> None:
    """Types, shapes, ranges and names."""
    with pytest.raises(ModelFileError, match=message):
        unpack_memory(changed(SAMPLES, change), WIDTH)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"counts": -a["counts"]}, "samples"),
        (lambda a: a | {"counts": np.full(3, 2**62)}, "samples"),
        (lambda a: a | {"counts": np.zeros(3, np.int64)}, "samples"),
        (lambda a: a | {"counts": np.full(3, np.nan)}, "counts must be int64"),
        (lambda a: a | {"sums": np.full((3, WIDTH), 2**62)}, "a sum is larger"),
        (lambda a: a | {"sums": np.full((3, WIDTH), -(2**63))}, "a sum is larger"),
        (lambda a: a | {"sums": a["sums"] * 40}, "second moment|a sum is larger"),
        (lambda a: a | {"sums": a["sums"][:, :-1]}, "sums must be int64"),
        (lambda a: a | {"gram": np.array(7)}, "gram must be int64"),
        (lambda a: a | {"gram": np.full_like(a["gram"], 2**62)}, "second moment"),
        (lambda a: a | {"gram": -a["gram"]}, "second moment"),
        (lambda a: a | {"gram": a["gram"].astype(np.float64)}, "gram must be int64"),
        (lambda a: a | {"names": pack_texts(["blue", "blue", "red"])}, "more than once"),
    ],
)
def test_sums_that_no_samples_have_are_refused(change: Callable[[Arrays], Arrays], message: str) -> None:
    """A sum is at most the number of samples times the largest code; moments obey Cauchy and Schwarz."""
    with pytest.raises(ModelFileError, match=message):
        unpack_memory(changed(SUMS, change), WIDTH)


def test_a_moment_larger_than_its_diagonal_allows_is_refused() -> None:
    """The error is only off the diagonal."""

    def enlarged(arrays: Arrays) -> Arrays:
        gram = arrays["gram"].copy()
        gram[1] = 2 * gram.max()
        return arrays | {"gram": gram}

    with pytest.raises(ModelFileError, match="second moment"):
        unpack_memory(changed(SUMS, enlarged), WIDTH)


def test_no_ram_is_allocated_for_a_missing_moment() -> None:
    """65,536 dimensions would take 32 GiB; the array in the file has one number."""
    few = {"names": pack_texts(["a"]), "counts": np.ones(1, np.int64), "sums": np.zeros((1, 65536), np.int64)}
    with pytest.raises(ModelFileError, match="gram must be int64"):
        unpack_memory(pack_arrays(few | {"gram": np.zeros(1, np.int64)}), 65536)


def test_sums_of_real_samples_are_read() -> None:
    """The bounds are not too strict for any samples."""
    noise = np.random.default_rng(2)
    for count in (1, 2, 50):
        for scale in (1, 4096, 32767):
            codes = noise.integers(-scale, scale + 1, (count, WIDTH)).astype(np.int16)
            sums = Sums.of(codes, ["a"] * count)
            again = unpack_memory(pack_memory(sums), WIDTH)
            assert isinstance(again, Sums)
            assert (again.gram == sums.gram).all()


def test_judges_and_groups_make_the_round_trip() -> None:
    """They are left out where they are unknown."""
    judge, groups = np.arange(30) % 2 == 0, np.repeat(np.arange(10, dtype=np.int32), 3)
    read = unpack_memory(pack_memory(Samples(CODES, LABELS, judge, groups)), WIDTH)
    assert isinstance(read, Samples)
    assert read.judge is not None
    assert read.groups is not None
    assert (read.judge == judge).all()
    assert (read.groups == groups).all()
    plain = unpack_memory(pack_memory(SAMPLES), WIDTH)
    assert isinstance(plain, Samples)
    assert plain.judge is None
    assert plain.groups is None


def test_a_memory_unpacks_to_no_more_than_its_dimensions_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that unpacks to gigabytes of samples is refused before they are read."""
    monkeypatch.setattr("device.model.packing._ROOM", 1000)
    packed = pack_memory(Samples(np.ones((5000, WIDTH), np.int16), ("mug",) * 5000))
    with pytest.raises(ModelFileError, match=r"taught\.npz in the model file is damaged"):
        unpack_memory(packed, WIDTH)

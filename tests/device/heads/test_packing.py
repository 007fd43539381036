"""Packed integers, exact products and triangular solves."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.heads.exact import ExactHead
from device.heads.integers import pack_integers, pack_rows, pack_symmetric, unpack_rows, unpack_symmetric
from device.heads.products import EXACT, inner, second_moment
from device.heads.statistics import MAX_SAMPLES
from device.heads.triangular import BLOCK, Factor
from device.model.codes import encode

from .conftest import D, samples

whole = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.lists(st.one_of(whole, st.integers(-3, 3)), max_size=9), max_size=7))
def test_packed_rows_are_restored(rows: list[list[int]]) -> None:
    """Any rows of int64 are the same after packing, with extreme values and empty rows."""
    arrays = [np.array(row, np.int64) for row in rows]
    widths, bits = pack_rows(arrays)
    again = unpack_rows(widths, bits, [len(row) for row in arrays])
    assert [row.tolist() for row in again] == rows


def test_extreme_values_use_the_bits_they_need() -> None:
    """In two's complement, -2^(b-1) fits b bits, 2^(b-1) needs one more; zeros need none."""
    for bits in (2, 8, 9, 31, 32, 33, 63):
        assert pack_rows([np.array([-(2 ** (bits - 1))])])[0].tolist() == [bits]
        assert pack_rows([np.array([2 ** (bits - 1)])])[0].tolist() == [bits + 1]
    assert pack_rows([np.zeros(5, np.int64)])[1].size == 0


def test_long_rows_are_packed_in_parts_and_restored() -> None:
    """The rows are longer than one part, and their width is not a whole number of bytes."""
    values = np.random.default_rng(0).integers(-(2**12), 2**12, 20_001)
    widths, bits = pack_rows([values, ~values])
    assert len(bits) == -(-2 * 20_001 * 13 // 8)
    for row, expected in zip(unpack_rows(widths, bits, [20_001] * 2), (values, ~values), strict=True):
        np.testing.assert_array_equal(row, expected)


@pytest.mark.parametrize("count", [1, 1000, MAX_SAMPLES])
def test_the_second_moment_of_a_long_stream_is_restored(count: int) -> None:
    """With codes of the largest value, `count` times, every entry of G is the same after packing."""
    code = np.random.default_rng(1).choice([-32767, 32767, 1, 0], 40).astype(np.int64)
    gram = np.outer(code, code) * count
    np.testing.assert_array_equal(unpack_symmetric(pack_symmetric(gram), 40), gram.astype(np.float64))
    assert (unpack_symmetric(pack_symmetric(gram), 40) == gram).all()


def test_bits_of_the_wrong_length_are_refused() -> None:
    """Missing or extra bytes are detected."""
    widths, bits = pack_rows([np.array([5, 6, 7])])
    for wrong in (bits[:-1], np.append(bits, np.uint8(0))):
        with pytest.raises(ValueError):  # noqa: PT011  # NumPy words one of the two
            unpack_rows(widths, wrong, [3])


def test_states_from_before_bits_were_packed_are_read() -> None:
    """A state with G in whole bytes and the sketch in int16 leads to the same head."""
    codes, labels = samples(200)
    head = ExactHead(D)
    head.learn_many(codes, labels)
    state = head.state()
    old: dict[str, Any] = {name: array for name, array in state.items() if not name.startswith("gram_")}
    upper = head.statistics.gram()[np.triu_indices(D)].astype(np.int64)
    shown, _, _, keys = head.statistics._sketch.smallest(1000, head.statistics._vocabulary.ranks())
    np.testing.assert_array_equal(keys, state["sketch_keys"])
    old |= {"gram": pack_integers(upper), "sketch_codes": shown}
    del old["sketch_widths"], old["sketch_bits"]
    again = ExactHead.restore(D, old)
    assert again.digest() == head.digest()
    np.testing.assert_array_equal(again.probabilities(codes), head.probabilities(codes))


codes = st.integers(0, 60).flatmap(
    lambda count: st.integers(1, 40).flatmap(
        lambda width: st.builds(
            lambda seed, top: np.random.default_rng(seed).integers(-top, top + 1, (count, width), np.int16),
            st.integers(0, 10_000),
            st.sampled_from([1, 600, 4096, 32767]),
        )
    )
)


@given(codes)
def test_products_are_exact(values: np.ndarray) -> None:
    """Inner products and second moments equal those of Python integers, for small and the largest codes."""
    integers = values.astype(np.int64)
    np.testing.assert_array_equal(inner(values, values), (integers @ integers.T).astype(np.float64))
    np.testing.assert_array_equal(inner(values[:33], values), (integers[:33] @ integers.T).astype(np.float64))
    np.testing.assert_array_equal(second_moment(values), (integers.T @ integers).astype(np.float64))


def test_products_are_exact_at_the_limit_of_float32() -> None:
    """Rows whose squares sum to just above 2**24, where float32 would round, are still exact."""
    row = np.zeros(40, np.int16)
    row[:2] = 4096, 1
    assert int(row.astype(np.int64) @ row) == EXACT + 1
    values = np.tile(row, (40, 1))
    assert (inner(values, values) == EXACT + 1).all()
    assert second_moment(np.tile(row[:2], (3, 1)))[0, 0] == 3 * EXACT


def test_embeddings_of_length_one_are_multiplied_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typical codes meet the bound, so that no float64 product is computed."""
    values = encode(np.random.default_rng(0).normal(size=(40, 200)))
    monkeypatch.setattr("device.heads.products._FEW", 0)
    summed = Mock(return_value=np.zeros(0))
    monkeypatch.setattr("device.heads.products._summed", summed)
    inner(values, values)
    summed.assert_called_once()


@pytest.mark.parametrize("size", [1, 5, BLOCK, BLOCK + 1, 3 * BLOCK - 7])
def test_factors_solve_like_numpy(size: int) -> None:
    """The forward and backward solves and the last entries of the inverse are right for any size of the last block."""
    random = np.random.default_rng(size)
    values = random.normal(size=(size, size + 3))
    matrix, right = values @ values.T + 0.1 * np.eye(size), random.normal(size=(size, 4))
    factor = Factor(matrix)
    np.testing.assert_allclose(factor.solve(right), np.linalg.solve(matrix, right), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(factor.L @ factor.forward(right), right, atol=1e-10)
    for count in {1, size, max(size - 1, 1)}:
        expected = np.linalg.inv(matrix)[-count:, -count:]
        np.testing.assert_allclose(factor.last_corner(count), expected, rtol=1e-7, atol=1e-9)


def test_a_matrix_that_rounding_made_indefinite_is_solved() -> None:
    """Identical samples under a vanishing ridge have a finite solution."""
    matrix = np.ones((100, 100)) - 1e-14 * np.eye(100)
    solved = Factor(matrix).solve(np.ones((100, 1)))
    assert np.isfinite(solved).all()
    np.testing.assert_allclose(matrix @ solved, 1, rtol=1e-6)

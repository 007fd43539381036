"""The embedding map and its fixed point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from device.errors import EmbeddingError
from device.model.codes import MAPS, SCALE, apply_map, decode, encode, representative
from device.model.runtime import load_runtime

# tflite-runtime's library for aarch64 makes the processor take subnormal numbers for zero as soon as it is loaded
load_runtime()
HAS_SUBNORMALS = bool(np.float32(1e-45) * np.float32(1))
FINITE = st.floats(-1e6, 1e6, width=32, allow_subnormal=HAS_SUBNORMALS)


@given(arrays(np.float32, (3, 7), elements=FINITE))
def test_a_code_is_within_half_a_step_of_the_mapped_embedding(embeddings: np.ndarray) -> None:
    """Only rounding is lost."""
    assert np.abs(decode(encode(embeddings)) - apply_map(embeddings)).max() <= 0.5 / SCALE


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("shape", [(1280,), (7,), (40, 130), (2, 0)])
def test_codes_are_exactly_those_of_the_formula(name: str, shape: tuple[int, ...]) -> None:
    """State files contain codes: no order of the steps may change a bit of them."""
    random = np.random.default_rng(0)
    for length in (1e-20, 1e-3, 1.0):
        values = (random.normal(size=shape) * length).astype(np.float32).astype(np.float64)
        mapped = np.sign(values) * np.sqrt(np.abs(values)) if name == "signed_sqrt_l2" else values
        if name != "identity":
            norm = np.linalg.norm(mapped, axis=-1, keepdims=True)
            mapped = np.divide(mapped, norm, out=np.zeros_like(mapped), where=norm > 0)
        assert np.array_equal(apply_map(values, name), mapped)
        assert np.array_equal(encode(values, name), np.rint(SCALE * mapped).astype(np.int16))


@given(arrays(np.float32, (3, 7), elements=FINITE))
def test_the_map_returns_unit_vectors_and_keeps_zero(embeddings: np.ndarray) -> None:
    """The norm is one wherever there is anything to normalize."""
    norms = np.linalg.norm(apply_map(embeddings), axis=1)
    assert np.allclose(norms[np.abs(embeddings).max(1) > 0], 1)
    assert (norms[np.abs(embeddings).max(1) == 0] == 0).all()


@pytest.mark.parametrize("name", MAPS)
def test_a_representative_maps_back_to_its_code(name: str) -> None:
    """Signatures get it in place of the embedding, which is not stored, and map it to the same code."""
    codes = encode(np.random.default_rng(0).normal(size=(5, 20)) / 5, name)
    assert np.abs(encode(representative(codes, name), name).astype(int) - codes).max() <= 1


def test_scale_does_not_matter_to_the_code() -> None:
    """The map is invariant to the embedding's length."""
    one = np.random.default_rng(0).random(30)
    assert (encode(one) == encode(1000 * one)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    """A NaN frame never enters the statistics."""
    for name in MAPS:
        for embeddings in ([1.0, bad], [[1.0, 0.5], [0.5, bad]]):
            with pytest.raises(EmbeddingError, match="NaN"):
                encode(embeddings, name)


def test_wrong_shapes_names_and_ranges_are_refused() -> None:
    """Each with its own message."""
    with pytest.raises(EmbeddingError, match="shape"):
        encode(np.zeros((1, 1, 1)))
    with pytest.raises(EmbeddingError, match="one of"):
        encode([1.0], "cosine")
    with pytest.raises(EmbeddingError, match="within"):
        encode([100.0], "identity")

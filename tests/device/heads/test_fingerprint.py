"""The fingerprint of a second moment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from device.heads import fingerprint

CODES = arrays.arrays(np.int16, st.tuples(st.integers(1, 12), st.just(7)))


def exact(codes: np.ndarray) -> list[int]:
    """Return the fingerprint by its definition, in Python's integers."""
    vectors = np.concatenate([part for _, part in fingerprint._spans(codes.shape[1])])
    r, s = (vectors[:, half].astype(int).T.tolist() for half in (slice(0, 8), slice(8, 16)))
    rows = codes.tolist()

    def inner(left: list[int], right: list[int]) -> int:
        return sum(a * b for a, b in zip(left, right, strict=True))

    return [sum(inner(a, z) * inner(b, z) for z in rows) % (2**31 - 1) for a, b in zip(r, s, strict=True)]


@given(CODES)
def test_the_fingerprint_follows_its_definition(codes: np.ndarray) -> None:
    """From samples and from their second moment, with the largest and smallest codes too."""
    wide = codes.astype(np.float64)
    assert fingerprint.of_samples(codes).tolist() == exact(codes)
    assert fingerprint.of_gram(wide.T @ wide).tolist() == exact(codes)


def test_the_fingerprint_is_exact_for_many_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dimensions are summed in spans, without rounding for extreme codes."""
    codes = np.full((2, 9000), -(2**15), np.int16)
    codes[1, ::2] = 2**15 - 1
    assert len(fingerprint._spans(9000)) == 2
    assert fingerprint.of_samples(codes).tolist() == exact(codes)


def test_second_moments_as_large_as_can_be_summed_are_exact() -> None:
    """Numbers up to 2**53, positive and negative."""
    gram = np.array([[2.0**53 - 1, -(2.0**53) + 1], [-(2.0**53) + 1, 2.0**53 - 3]])
    vectors = fingerprint._spans(2)[0][1].astype(int).tolist()
    G = [[int(value) for value in row] for row in gram.tolist()]
    expected = [
        sum(vectors[a][j] * G[a][b] * vectors[b][8 + j] for a in (0, 1) for b in (0, 1)) % (2**31 - 1)
        for j in range(8)
    ]
    assert fingerprint.of_gram(gram).tolist() == expected


def test_one_changed_number_changes_the_fingerprint() -> None:
    """Also where the sums and the trace stay the same."""
    codes = np.random.default_rng(0).integers(-4096, 4096, (20, 30)).astype(np.int16)
    changed = codes.copy()
    changed[0, [3, 4]] = codes[0, [4, 3]]
    assert (fingerprint.of_samples(codes) != fingerprint.of_samples(changed)).all()

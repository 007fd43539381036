"""Noise on what a device contributes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from device.errors import FleetError
from device.fleet import FleetModel, check_contribution, contribution_of
from device.fleet.membership import Membership, contribute, join, leave
from device.fleet.noise import add_noise, epsilon
from device.model.codes import SCALE, encode
from device.store import ModelIdentity, NewSample, Store

from .conftest import DIMENSIONS

IDENTITY = ModelIdentity("7" * 64, DIMENSIONS)


def test_noise_has_the_given_size_and_keeps_the_length() -> None:
    """Measured across many samples: before scaling, the squared distance is the variance times D."""
    codes = encode(np.random.default_rng(0).standard_normal((400, 256)))
    noisy = add_noise(codes, 0.02, b"secret")
    lengths = np.linalg.norm(noisy.astype(np.float64), axis=1) / SCALE
    np.testing.assert_allclose(lengths, 1, atol=0.01)
    cosines = (noisy.astype(np.float64) * codes).sum(axis=1) / SCALE**2
    assert np.mean(cosines) == pytest.approx(1 / math.sqrt(1 + 256 * 0.02**2), abs=0.01)


def test_the_noise_of_a_sample_depends_on_the_sample_and_the_secret_alone() -> None:
    """So that rounds do not average it out, and forgetting subtracts what was added."""
    codes = encode(np.random.default_rng(0).standard_normal((5, 16)))
    noisy = add_noise(codes, 0.1, b"secret")
    np.testing.assert_array_equal(add_noise(codes[2:], 0.1, b"secret"), noisy[2:])
    assert (add_noise(codes, 0.1, b"another") != noisy).any(axis=1).all()
    np.testing.assert_array_equal(add_noise(codes, 0, b"secret"), codes)


def test_a_noisy_contribution_passes_every_check_and_is_not_the_exact_one(draw: Any) -> None:
    """It consists of the statistics of noisy samples."""
    codes, labels = draw(1, 60)
    model = FleetModel.of(IDENTITY)
    with Store.open(None, IDENTITY) as store:
        store.learn([NewSample(label, code, 0.0) for code, label in zip(codes, labels, strict=True)])
        exact = contribution_of(store, "shed")
        noisy = contribution_of(store, "shed", noise=0.3, secret=b"secret")
        check_contribution(noisy, model)
        assert noisy.counts == exact.counts
        assert noisy.digest() != exact.digest()
        store.relabel(dict.fromkeys(range(1, 11), None))
        fewer = contribution_of(store, "shed", noise=0.3, secret=b"secret")
    np.testing.assert_array_equal(
        noisy.sums.gram - fewer.sums.gram,
        (sent := add_noise(codes[:10], 0.3, b"secret").astype(np.float64)).T @ sent,
    )


def test_a_device_keeps_its_secret_when_it_joins_again(draw: Any) -> None:
    """Otherwise each join would add fresh noise to the same samples."""
    codes, labels = draw(1)
    with Store.open(None, IDENTITY) as store:
        store.learn([NewSample(label, code, 0.0) for code, label in zip(codes, labels, strict=True)])
        sent = []
        for _ in range(2):
            join(store, Membership.of("shed", noise=0.1))
            membership = store.setting("fleet")
            sent.append(contribute(store, Membership(**(membership | {"personal": ()}))))
            leave(store)
        assert sent[0] == sent[1]


def test_noise_needs_embeddings_of_length_one() -> None:
    """Without a fixed length there is no bound on what noise must hide."""
    with (
        Store.open(None, ModelIdentity("7" * 64, DIMENSIONS, "identity")) as store,
        pytest.raises(FleetError, match="length one"),
    ):
        join(store, Membership.of("shed", noise=0.1))


@pytest.mark.parametrize("noise", [-0.1, 11, math.nan])
def test_noise_out_of_range_is_refused(noise: float) -> None:
    """The message contains the value."""
    with pytest.raises(FleetError, match=f"{noise:g}"):
        Membership.of("shed", noise=noise)


def test_epsilon_is_that_of_the_gaussian_mechanism() -> None:
    """With distance 2: compared with the definition by integration of both densities."""
    for noise in (0.5, 1.0, 4.0):
        value = epsilon(noise, 1e-3)
        x = np.linspace(-20 * noise, 20 * noise + 2, 2_000_001)
        p = np.exp(-((x - 2) ** 2) / (2 * noise**2))
        q = np.exp(-(x**2) / (2 * noise**2))
        step = (x[1] - x[0]) / (noise * math.sqrt(2 * math.pi))
        failure = float(np.maximum(p - np.exp(value) * q, 0).sum()) * step
        assert failure == pytest.approx(1e-3, rel=1e-3)
    assert epsilon(0) == math.inf
    for noise in (0.01, 0.05):  # far in the tails: (2 / noise)^2 / 2 + 4.26 (2 / noise)
        assert epsilon(noise) == pytest.approx(2 / noise**2 + 4.26 * 2 / noise, rel=0.02)
    assert epsilon(0.05) > epsilon(0.5) > epsilon(5)

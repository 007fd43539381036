"""The networks of gan-28: shapes and ranges, pooled features of every convolution, and their principal components."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the networks are Keras models; run: pip install 'edgetl[host]'")

from edgetl.backbones.gan import (
    NOISE,
    build_discriminator,
    build_features,
    build_generator,
    fit_components,
)
from edgetl.backbones.registry import require_keras

require_keras()
BLOCKS = ("block1", "block2", "block3")


def images(count: int, seed: int = 0) -> np.ndarray:
    """Return normalized images with smooth content, float32 [count, 28, 28, 1]."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(-1, 1, (count, 7, 7, 1)).astype(np.float32)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def test_the_generator_draws_gray_images_between_minus_one_and_one() -> None:
    """Even for noise far outside of a normal distribution."""
    noise = 10 * np.random.default_rng(0).standard_normal((5, NOISE)).astype(np.float32)
    drawn = np.asarray(build_generator()(noise, training=False))
    assert drawn.shape == (5, 28, 28, 1)
    assert np.abs(drawn).max() <= 1
    assert np.unique(drawn.reshape(5, -1), axis=0).shape[0] == 5  # other noise, another image


def test_the_discriminator_shares_the_convolutions_of_the_features() -> None:
    """Training the discriminator trains the backbone."""
    features = build_features()
    discriminator = build_discriminator(features)
    for block in BLOCKS:
        name = f"{block}_conv"
        assert discriminator.get_layer(name) is features.get_layer(name)
    assert discriminator(images(3), training=False).shape == (3, 1)
    trained = {variable.path for variable in discriminator.trainable_variables}
    assert not [path for path in trained if "components" in path]


def test_the_embedding_holds_features_of_every_convolution() -> None:
    """Without the components of one convolution, a part of the embedding is zero and the rest unchanged."""
    features = build_features()
    fit_components(features, images(64))
    whole = np.asarray(features(images(4), training=False))
    assert whole.shape == (4, features.output_shape[-1])
    parts = []
    for block in BLOCKS:
        layer = features.get_layer(f"{block}_components")
        kept = layer.get_weights()
        layer.set_weights([np.zeros_like(value) for value in kept])
        without = np.asarray(features(images(4), training=False))
        layer.set_weights(kept)
        gone = (without == 0).all(axis=0)
        np.testing.assert_array_equal(without[:, ~gone], whole[:, ~gone])
        parts.append(gone)
    assert (np.sum(parts, axis=0) == 1).all()


def test_components_are_the_principal_ones_of_the_pooled_filters() -> None:
    """Per convolution they are uncorrelated, have mean 0 and a total variance of 1, and match a singular value decomposition."""
    import keras

    features, photos = build_features(), images(200)
    fit_components(features, photos)
    for block in BLOCKS:
        outputs = [features.get_layer(f"{block}_{end}").output for end in ("pool", "components")]
        pooled, kept = (
            np.asarray(value, np.float64) for value in keras.Model(features.inputs[0], outputs)(photos)
        )
        flat = kept.reshape(-1, kept.shape[-1])
        covariance = np.cov(flat, rowvar=False)
        np.testing.assert_allclose(flat.mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-3)
        assert np.trace(covariance) == pytest.approx(1, rel=1e-3)
        centered = pooled.reshape(-1, pooled.shape[-1])
        spread = np.linalg.svd(centered - centered.mean(axis=0), compute_uv=False) ** 2
        expected = spread[: len(covariance)] / spread[: len(covariance)].sum()
        np.testing.assert_allclose(np.diag(covariance), expected, atol=1e-3)


def test_features_are_deterministic() -> None:
    """The dropout of the discriminator does not reach the embedding."""
    features = build_features()
    first, again = (np.asarray(features(images(3), training=False)) for _ in range(2))
    np.testing.assert_array_equal(first, again)

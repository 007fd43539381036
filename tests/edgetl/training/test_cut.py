"""Cutting a backbone and resizing its input: the parts compute what the whole computes, with the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

from edgetl.training.cut import Division, reduce_images, split_early


def make_backbone(side: int = 128, *, tied: bool = False) -> Any:
    """Return four blocks that halve the image each; `tied` ends in a layer that works at one size only."""
    import keras

    x = image = keras.Input((side, side, 3))
    for number in range(4):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"block{number}_conv")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
    if tied:
        return keras.Model(image, keras.layers.Dense(5)(keras.layers.Flatten()(x)))
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))


def images(side: int) -> Any:
    """Return two random images."""
    return np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)


def test_the_early_blocks_are_those_with_large_feature_maps() -> None:
    """Of 128 rows, the first three blocks compute 64, 32 and 16; the fourth reads 16, an eighth."""
    backbone = make_backbone()
    parts = split_early(backbone)
    assert parts.trunk is not None
    assert [len(part.trainable_variables) for part in (parts.trunk, parts.tail)] == [6, 2]
    batch = images(128)
    assert np.allclose(parts.tail(parts.trunk(batch)), backbone(batch), atol=1e-6)
    assert parts.tail.trainable_variables[0] is backbone.get_layer("block3_conv").kernel


def test_a_network_without_small_feature_maps_has_no_early_blocks() -> None:
    """A single convolution that keeps the size: all of it is trained."""
    import keras

    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="block0_conv")(image)
    backbone = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))
    assert split_early(backbone) == Division(None, backbone)


@pytest.mark.parametrize("cut", [True, False])
def test_parts_for_smaller_images_share_the_weights(cut: bool) -> None:
    """They compute what a backbone of that size with the same weights computes, whether it is cut or not."""
    backbone = make_backbone()
    smaller = reduce_images(split_early(backbone) if cut else Division(None, backbone))
    assert smaller.size == (96, 96)
    backbone.get_layer("block0_conv").bias.assign(np.full(4, 0.5, np.float32))
    other = make_backbone(96)
    other.set_weights(backbone.get_weights())
    features = images(96) if smaller.trunk is None else smaller.trunk(images(96))
    assert np.allclose(smaller.tail(features), other(images(96)), atol=1e-6)
    assert smaller.tail.variables[-1] is backbone.variables[-1]


def test_a_backbone_that_works_at_one_size_only_is_not_reduced() -> None:
    """It ends in a Dense layer on all pixels."""
    for parts in (split_early(make_backbone(tied=True)), Division(None, make_backbone(tied=True))):
        assert reduce_images(parts) is parts


@pytest.mark.parametrize(
    ("side", "reduced"), [(224, 160), (240, 160), (260, 192), (128, 96), (96, 96), (28, 28)]
)
def test_images_are_reduced_to_a_multiple_of_32_pixels(side: int, reduced: int) -> None:
    """Small images stay as they are."""
    assert reduce_images(split_early(make_backbone(side))).size == (reduced, reduced)

"""The networks of gan-28: a DCGAN for gray images of 28x28 pixels (Radford et al. 2016).

The discriminator learns from photos without labels to distinguish them from generated ones. Its convolutions are the
backbone: the features of all of them are maximum-pooled to a small grid, flattened and concatenated, as in section 5.1 of
the paper. The paper has 28,672 such features; here each convolution keeps only the principal components of its filters,
because a head for a device must be small. The last dense layer of the discriminator is not part of the backbone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOISE = 32  # numbers that the generator turns into an image
_SIDE, _SLOPE, _DROPOUT = 28, 0.2, 0.3
_SEED_SIDE, _SEED_FILTERS, _MIDDLE_FILTERS = 7, 48, 24  # of the generator
_MOMENTUM = 0.9  # a short memory: an epoch of 1,000 photos has 16 steps


@dataclass(frozen=True)
class _Block:
    """A convolution with stride 2 and what the backbone keeps of it.

    Attributes:
        name: Prefix of its layers.
        filters: Number of its filters.
        kernel: Side of its kernel.
        window: Side of the window of the maximum pooling.
        kept: Number of principal components of the filters.
    """

    name: str
    filters: int
    kernel: int
    window: int
    kept: int


# of seven divisions of about 200 numbers, the one with the best leave-one-out accuracy on MNIST
_BLOCKS = (
    _Block("block1", 24, 4, 7, 4),
    _Block("block2", 48, 4, 4, 12),
    _Block("block3", 96, 3, 1, 9),
)


def build_features() -> Any:
    """Build the convolutions of the discriminator with their pooled features; random weights.

    Returns:
        keras.Model, normalized float32 [N, 28, 28, 1] -> embedding float32 [N, D].
    """
    import keras

    layers = keras.layers
    x = inputs = keras.Input((_SIDE, _SIDE, 1), name="image")
    pooled = []
    for block in _BLOCKS:
        x = layers.Conv2D(block.filters, block.kernel, 2, "same", name=f"{block.name}_conv")(x)
        x = layers.LeakyReLU(_SLOPE, name=f"{block.name}_act")(x)
        grid = layers.MaxPooling2D(block.window, padding="same", name=f"{block.name}_pool")(x)
        kept = layers.Conv2D(block.kept, 1, trainable=False, name=f"{block.name}_components")(grid)
        pooled.append(layers.Flatten(name=f"{block.name}_flat")(kept))
    return keras.Model(inputs, layers.Concatenate(name="embedding")(pooled), name="gan_28")


def fit_components(features: Any, images: NDArray[np.float32]) -> None:
    """Set what `features` keeps of each convolution: the principal components of its pooled filters on `images`.

    The components of each convolution are scaled to a total variance of 1, so that no convolution outweighs the others.

    Args:
        features: keras.Model of `build_features`, changed in place.
        images: Normalized images float32 [N, 28, 28, 1].
    """
    import keras

    grids = [features.get_layer(f"{block.name}_pool").output for block in _BLOCKS]
    pooled = keras.Model(features.inputs[0], grids)(images, training=False)
    for block, grid in zip(_BLOCKS, pooled, strict=True):
        values = np.asarray(grid, np.float64).reshape(-1, block.filters)
        mean = values.mean(axis=0)
        spread, directions = np.linalg.eigh(np.cov(values - mean, rowvar=False))
        kept = directions[:, ::-1][:, : block.kept]  # [filters, kept], the largest first
        scaled = kept / np.sqrt(max(spread[::-1][: block.kept].sum(), 1e-12))
        features.get_layer(f"{block.name}_components").set_weights([scaled[None, None], -mean @ scaled])


def build_discriminator(features: Any) -> Any:
    """Build a discriminator on the convolutions of `features`, which it shares.

    Returns:
        keras.Model, normalized float32 [N, 28, 28, 1] -> logit float32 [N, 1], positive for photos.
    """
    import keras

    last = keras.layers.Flatten(name="discriminator_flat")(features.get_layer("block3_act").output)
    # without batch normalization: it lets the discriminator compare the statistics of whole batches
    dropped = keras.layers.Dropout(_DROPOUT, name="discriminator_dropout")(last)
    logit = keras.layers.Dense(1, name="discriminator_logit")(dropped)
    return keras.Model(features.inputs[0], logit, name="discriminator")


def build_generator() -> Any:
    """Build the generator with random weights.

    Returns:
        keras.Model, standard normal noise float32 [N, 32] -> normalized image float32 [N, 28, 28, 1], -1 to 1.
    """
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((NOISE,), name="noise"),
            layers.Dense(_SEED_SIDE**2 * _SEED_FILTERS, use_bias=False, name="seed"),
            layers.BatchNormalization(momentum=_MOMENTUM, name="seed_bn"),
            layers.ReLU(name="seed_act"),
            layers.Reshape((_SEED_SIDE, _SEED_SIDE, _SEED_FILTERS), name="seed_grid"),
            layers.Conv2DTranspose(_MIDDLE_FILTERS, 4, 2, "same", use_bias=False, name="middle_conv"),
            layers.BatchNormalization(momentum=_MOMENTUM, name="middle_bn"),
            layers.ReLU(name="middle_act"),
            layers.Conv2DTranspose(1, 4, 2, "same", activation="tanh", name="image"),
        ],
        name="generator",
    )

"""A normalization as a layer of the network, where the quantization of the input cannot express it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from device.model.preprocess import Preprocessing

_MEAN, _STD = 127.0, 128.0  # of all channels: an integer zero point and one scale


def absorb_normalization(
    model: Any, preprocessing: Preprocessing
) -> tuple[Callable[..., Any], Preprocessing]:
    """Return the network with its normalization as first layer, and the preprocessing in front of that.

    The layer is a depthwise convolution of one pixel, which has a scale and an offset per channel, and int8 in and out. The
    network still pads with zeros after the normalization, as in its training.

    Args:
        model: keras.Model, images [N, H, W, C] normalized by `preprocessing` -> embeddings [N, D].
        preprocessing: A mean and std per channel.

    Returns:
        A function with the arguments of `model`, for images that are normalized by the mean 127 and std 128 of every
        channel; and this preprocessing.
    """
    channels = preprocessing.channels
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    scale = (_STD / std).astype(np.float32).reshape(1, 1, channels, 1)
    offset = ((_MEAN - mean) / std).astype(np.float32)

    def normalized(images: Any, training: bool = False) -> Any:
        import tensorflow as tf

        scaled = tf.nn.depthwise_conv2d(images, scale, strides=[1, 1, 1, 1], padding="VALID")
        return model(tf.nn.bias_add(scaled, offset), training=training)

    plain = replace(preprocessing, mean=(_MEAN,) * channels, std=(_STD,) * channels)
    return normalized, plain

"""MobileNetV2 in Keras, with the ImageNet weights of torchvision.

The network of Sandler et al. (2018), width 1.0, as PyTorch computes it: a convolution of stride 2 pads one pixel on
every side, where TensorFlow's SAME pads the bottom and the right alone, and epsilon is 1e-5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .torch_layers import LayerSetter, Tensors

EPSILON = 1e-5
SIDE, DIMENSIONS = 224, 1280
CLASSIFIER = ("classifier.1.weight", "classifier.1.bias")
_STEM = 32
# expansion, output channels, repeats, stride of the first: Table 2 of the paper
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@dataclass(frozen=True)
class Block:
    """An inverted residual."""

    expand: int
    inputs: int
    outputs: int
    stride: int


def blocks() -> Iterator[Block]:
    """Yield the 17 blocks in order."""
    inputs = _STEM
    for expand, outputs, repeats, stride in _STAGES:
        for number in range(repeats):
            yield Block(expand, inputs, outputs, 1 if number else stride)
            inputs = outputs


def build(_name: str = "", side: int = SIDE) -> Any:
    """Build the backbone with random weights.

    Args:
        side: Rows and columns of the input, in pixels.

    Returns:
        keras.Model, float32 [N, side, side, 3] normalized -> embedding float32 [N, 1280].
    """
    import keras

    inputs = keras.Input((side, side, 3), name="image")
    x = keras.layers.Conv2D(_STEM, 3, 2, padding="valid", use_bias=False, name="stem_conv")(
        keras.layers.ZeroPadding2D(1, name="stem_pad")(inputs)
    )
    x = _normalize(x, "stem", activate=True)
    for index, block in enumerate(blocks()):
        x = _block(x, block, f"block{index}")
    x = _normalize(_pointwise(x, DIMENSIONS, "head"), "head", activate=True)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(inputs, embedding, name="mobilenet_v2")


def set_weights(model: Any, _name: str, tensors: Tensors) -> None:
    """Set the weights of `model` to those of torchvision's file.

    Raises:
        BackboneError: A tensor is missing, has another shape, or belongs to another network.
    """
    setter = LayerSetter(model, tensors)
    setter.set_conv("stem_conv", "features.0.0")
    setter.set_normalization("stem_bn", "features.0.1")
    for index, block in enumerate(blocks()):
        ours, theirs = f"block{index}", f"features.{index + 1}.conv"
        # without an expansion, everything moves up by one place
        first = 0
        if block.expand != 1:
            setter.set_conv(f"{ours}_expand_conv", f"{theirs}.0.0")
            setter.set_normalization(f"{ours}_expand_bn", f"{theirs}.0.1")
            first = 1
        setter.set_conv(f"{ours}_depthwise", f"{theirs}.{first}.0")
        setter.set_normalization(f"{ours}_depthwise_bn", f"{theirs}.{first}.1")
        setter.set_conv(f"{ours}_project_conv", f"{theirs}.{first + 1}")
        setter.set_normalization(f"{ours}_project_bn", f"{theirs}.{first + 2}")
    setter.set_conv("head_conv", "features.18.0")
    setter.set_normalization("head_bn", "features.18.1")
    setter.refuse_others(CLASSIFIER)


def _pointwise(x: Any, channels: int, name: str) -> Any:
    import keras

    return keras.layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_conv")(x)


def _normalize(x: Any, name: str, *, activate: bool) -> Any:
    import keras

    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def _block(x: Any, block: Block, name: str) -> Any:
    import keras

    shortcut = x
    if block.expand != 1:
        x = _normalize(
            _pointwise(x, block.inputs * block.expand, f"{name}_expand"), f"{name}_expand", activate=True
        )
    padding = "same"
    if block.stride == 2:
        x, padding = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x), "valid"
    x = keras.layers.DepthwiseConv2D(
        3, block.stride, padding=padding, use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _normalize(x, f"{name}_depthwise", activate=True)
    x = _normalize(_pointwise(x, block.outputs, f"{name}_project"), f"{name}_project", activate=False)
    if block.stride == 1 and block.inputs == block.outputs:
        x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return x

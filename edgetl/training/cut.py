"""Cut a backbone before its last blocks: a frozen trunk and a tail that is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from converters.layer_graph import Passage, Step, list_passages, list_steps

from ..errors import TrainingError

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

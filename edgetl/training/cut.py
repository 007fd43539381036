"""Cut a backbone before its last blocks: a frozen trunk and a tail that is trained."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from ..errors import TrainingError

# how networks name their blocks: block12_expand_conv, block_13_expand, conv5_block1_1_conv, conv_pw_13,
# expanded_conv_10_expand, stage_3_block_2_layer_norm
_BLOCK = re.compile(r"^(.*(?:block|expanded_conv|conv_(?:dw|pw)|mixed)_?\d+[a-z]?)(?:_|$)")


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
            f"the backbone {backbone.name} has {len(starts)} blocks that can be trained, got {blocks}; use fewer"
        )
    features = starts[-blocks]
    return keras.Model(backbone.input, features), keras.Model(features, backbone.output)


def block_starts(backbone: Any) -> list[Any]:
    """Return the inputs of the blocks in order: places where all data passes through one tensor."""
    layers = [layer for layer in backbone.layers if layer is not backbone.layers[0]]
    passages = _passages(layers)
    named = [
        (tensor, _block_of(following.name), _block_of(before.name)) for before, tensor, following in passages
    ]
    starts = [tensor for tensor, entered, left in named if entered and entered != left]
    if starts:
        return starts
    # no name of a block is known: every layer with weights is a block of its own
    return [tensor for _, tensor, following in passages if following.weights]


def freeze_normalization(model: Any) -> None:
    """Freeze every normalization of `model`, which keeps the statistics of ImageNet."""
    for layer in model.layers:
        if "Normalization" in type(layer).__name__:
            layer.trainable = False


def _passages(layers: list[Any]) -> list[tuple[Any, Any, Any]]:
    """Yield (layer, its output, next layer) wherever no later layer needs another tensor."""
    waiting: dict[int, int] = {}  # tensor -> layers that still have to read it
    for layer in layers:
        for tensor in _inputs(layer):
            waiting[id(tensor)] = waiting.get(id(tensor), 0) + 1
    live: set[int] = set()
    found = []
    for layer, following in pairwise(layers):
        for tensor in _inputs(layer):
            waiting[id(tensor)] -= 1
            if not waiting[id(tensor)]:
                live.discard(id(tensor))
        live.add(id(layer.output))
        if live == {id(layer.output)}:
            found.append((layer, layer.output, following))
    return found


def _inputs(layer: Any) -> list[Any]:
    return layer.input if isinstance(layer.input, list) else [layer.input]


def _block_of(name: str) -> str:
    found = _BLOCK.match(name)
    return re.sub("conv_(dw|pw)", "conv", found.group(1)) if found else ""

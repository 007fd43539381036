"""Richer embeddings: the averages of two earlier feature maps beside the last one.

Early maps keep shapes and textures that the last layers of a backbone average away. Of the maps after an activation, two
are chosen by their size alone, so that it works for any convolutional network: the last of the widest ones at the
resolution before the final one, and the middle one of the widest at the final resolution. Each is scaled so that its mean
sum is half of that of the embedding on the calibration photos, and so is its squared length after the square root of the
embedding map: as much as the embedding would gain more where the maps help, and cost more where they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from device.images import Image

from .errors import ConversionError
from .frozen_graph import FrozenModel
from .layer_graph import Step, flatten, list_steps, require_graph
from .parity import source_embeddings
from .source import TrainedModel

LAST, DEEP = EMBEDDINGS = ("last", "deep")
_ACTIVATIONS = ("ReLU", "Activation", "LeakyReLU", "PReLU", "ELU")
_MEASURED = 32  # photos whose mean sums scale the parts
_SHARE = 0.5  # mean sum of an earlier map, as a share of that of the embedding
_LEAST = 1e-6


@dataclass(frozen=True)
class _Map:
    """A feature map [N, H, W, C] after an activation."""

    name: str
    tensor: Any

    @property
    def side(self) -> int:
        """Its height."""
        return int(self.tensor.shape[1])

    @property
    def channels(self) -> int:
        """Its number of channels."""
        return int(self.tensor.shape[3])


def deepen(model: TrainedModel, images: Sequence[Image]) -> TrainedModel:
    """Return the model with a longer embedding: its own, followed by the averages of two earlier feature maps.

    Args:
        model: The model; its head is dropped, because it was trained on the short embedding.
        images: Prepared photos, which scale the parts.

    Raises:
        ConversionError: The backbone has no earlier feature maps of a fixed size.
    """
    import keras

    made, name = model.preprocessing, model.backbone_name
    if isinstance(model.backbone, FrozenModel):
        raise ConversionError(
            f"{name} is a SavedModel, whose layers are not known; --embedding deep needs a Keras model or a backbone by name"
        )
    require_graph(model.backbone, name)
    flat = flatten(model.backbone, (made.height, made.width, made.channels), name)
    chosen = _choose(list_steps(flat), name)
    pool = keras.layers.GlobalAveragePooling2D
    parts = [flat.outputs[0], *(pool(name=f"{one.name}_mean")(one.tensor) for one in chosen)]
    joined = keras.layers.Concatenate(name="deep_parts")(parts)
    scales = _scales(keras.Model(flat.inputs[0], joined), parts, images[:_MEASURED], model)
    scaled = [
        keras.layers.Rescaling(scale, name=f"{one.name}_scaled")(part)
        for one, part, scale in zip(chosen, parts[1:], scales, strict=True)
    ]
    longer = keras.layers.Concatenate(name="deep_embedding")([parts[0], *scaled])
    info = {**model.info, "embedding": {"deep": [one.name for one in chosen]}}
    backbone = keras.Model(flat.inputs[0], longer, name=flat.name)
    return replace(model, backbone=backbone, head=None, info=info)


def _choose(steps: Sequence[Step], name: str) -> list[_Map]:
    """Return the two earlier maps of a flat model, deepest last."""
    maps = [_Map(step.name, step.outputs[0]) for step in steps if _is_map(step)]
    final = min((one.side for one in maps), default=0)
    earlier = [one.side for one in maps if one.side > final]
    # the very last map is what the embedding is the average of
    late = _widest([one for one in maps if one.side == final][:-1])
    before = _widest([one for one in maps if one.side == min(earlier)]) if earlier else []
    if not late or not before:
        raise ConversionError(
            f"{name} has no earlier feature maps of two resolutions, so its embedding cannot be made deeper; leave out "
            "--embedding deep"
        )
    return [before[-1], late[len(late) // 2]]


def _widest(maps: Sequence[_Map]) -> list[_Map]:
    most = max((one.channels for one in maps), default=0)
    return [one for one in maps if one.channels == most]


def _is_map(step: Step) -> bool:
    """Return whether a step makes a feature map of a fixed size with an activation."""
    if len(step.outputs) != 1 or len(step.outputs[0].shape) != 4 or None in step.outputs[0].shape[1:]:
        return False
    if int(step.outputs[0].shape[1]) < 2:
        return False
    activation = getattr(getattr(step.operation, "activation", None), "__name__", "linear")
    return step.kind in _ACTIVATIONS or activation != "linear"


def _scales(joined: Any, parts: Sequence[Any], images: Sequence[Image], model: TrainedModel) -> list[float]:
    """Return the factor of each part after the first that gives it `_SHARE` of the mean sum of the first."""
    embeddings = np.abs(source_embeddings(joined, images, model.preprocessing))
    widths = [int(part.shape[-1]) for part in parts]
    sums = [float(part.sum(axis=1).mean()) for part in np.split(embeddings, np.cumsum(widths)[:-1], axis=1)]
    return [_SHARE * sums[0] / max(one, _LEAST) for one in sums[1:]]

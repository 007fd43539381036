"""Which pixel values a Keras model expects: found from the scaling inside it, or named by its owner."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConversionError
from .layer_graph import Step, list_steps

RANGES = ("0..255", "0..1", "-1..1", "imagenet")
QUESTION = (
    "-1..1 for MobileNet, MobileNetV2, ResNet50V2, Xception and Inception of keras.applications; imagenet (0..1, then mean "
    "and standard deviation of ImageNet) for DenseNet and most networks from PyTorch; 0..1 where photos were divided by "
    "255; 0..255 where pixels were not changed"
)
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_NUMBERS = re.compile(r"^(-?[\d.]+)\.\.(-?[\d.]+)$")
_SMALLEST_SPAN = 0.1  # of the values behind the scaling; below it, pixels were scaled twice
_IMAGENET_ENDS = (-2.12, 2.64)
_RAW = (0.0, 255.0)
_CANDIDATES = {"0..255": _RAW, "0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0)}
_UNCHANGED = ("Random", "Dropout", "GaussianNoise", "Identity", "Resizing", "CenterCrop", "Cast", "Convert")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """The scaling at the start of a model: ``value * scale + offset`` per channel.

    Attributes:
        layers: Names of the layers that scale; empty when there are none.
        scale: [C] factors, in the order of the input's channels.
        offset: [C] numbers added.
        size: Rows and columns that a Resizing layer makes, or None.
    """

    layers: tuple[str, ...]
    scale: Array
    offset: Array
    size: tuple[int, int] | None = None

    def maps(self, low: float, high: float) -> tuple[float, float]:
        """Return the lowest and the highest value behind the scaling, for inputs from `low` to `high`."""
        ends = np.concatenate([low * self.scale + self.offset, high * self.scale + self.offset])
        return float(ends.min()), float(ends.max())


def find_scaling(model: Any) -> Scaling:
    """Return the scaling at the start of a flat functional model: layers and operations with constants."""
    channels = int(model.input_shape[-1])
    scale, offset = np.ones(channels), np.zeros(channels)
    names: list[str] = []
    size = None
    tensor = model.inputs[0]
    for step in _chain(list_steps(model), tensor):
        if step.kind == "Resizing":
            size = size or (int(step.operation.height), int(step.operation.width))
        change = _change(step)
        if change is None:
            break
        factor, added = change
        if step.kind == "GetItem":
            scale, offset = scale[::-1], offset[::-1]
        if step.kind == "GetItem" or (np.all(factor == 1) and np.all(added == 0)):
            continue
        scale, offset = scale * factor, offset * factor + added
        names.append(step.name)
    return Scaling(tuple(names), scale, offset, size)


def find_range(scaling: Scaling) -> str | None:
    """Return the range of pixel values that fits the scaling inside the model; None when that is unknown."""
    if not scaling.layers:
        return None
    fitting = [name for name, (low, high) in _CANDIDATES.items() if _is_usual(*scaling.maps(low, high))]
    if len(fitting) == 1:
        return fitting[0]
    # only the means of ImageNet subtracted, in pixel values
    shifted = np.all(scaling.scale == 1) and np.all((scaling.offset < -50) & (scaling.offset > -200))
    return "0..255" if shifted and not fitting else None


def normalization(input_range: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std, in pixel values, that map pixels 0..255 to a range.

    Args:
        input_range: One of `RANGES`, or any ``LOW..HIGH``.
        channels: 3 for RGB, 1 for gray.

    Raises:
        ConversionError: The range is malformed, or is for RGB and the model is gray.

    Example:
        >>> normalization("-1..1", 1)
        ((127.5,), (127.5,))
    """
    if input_range == "imagenet":
        if channels != 3:
            raise ConversionError("the input range imagenet is for RGB, but the model takes gray images")
        return _IMAGENET
    low, high = _ends(input_range)
    std = 255 / (high - low)
    return (0.0 - low * std,) * channels, (std,) * channels


def refuse_double_scaling(scaling: Scaling, input_range: str, name: str) -> None:
    """Raise `ConversionError` when photos in this range would be scaled once more inside the model."""
    if not scaling.layers:
        return
    low, high = _IMAGENET_ENDS if input_range == "imagenet" else _ends(input_range)
    least, most = scaling.maps(low, high)
    expected = find_range(scaling)
    if most - least < _SMALLEST_SPAN and expected not in (None, input_range):
        raise ConversionError(
            f"{name} scales its input itself (layer {', '.join(scaling.layers)}): with --input-range {input_range} photos "
            f"would be scaled twice, to {least:.3g}..{most:.3g}; leave --input-range out, or use {expected}"
        )


def refuse_normalizing_twice(model: Any, mean: Sequence[float], std: Sequence[float], name: str) -> None:
    """Raise `ConversionError` when a backbone scales pixels itself after the preprocessing has scaled them."""
    scaling = find_scaling(model)
    if not scaling.layers or find_range(scaling) != "0..255":
        return
    low = min(-one / other for one, other in zip(mean, std, strict=True))
    high = max((255 - one) / other for one, other in zip(mean, std, strict=True))
    least, most = scaling.maps(low, high)
    if most - least < _SMALLEST_SPAN:
        raise ConversionError(
            f"the backbone {name} scales its input itself (layer {', '.join(scaling.layers)}), and its preprocessing does "
            f"so before: pixels would be scaled twice, to {least:.3g}..{most:.3g}. Use the mean 0 and the std 1"
        )


def _ends(input_range: str) -> tuple[float, float]:
    found = _NUMBERS.match(input_range)
    try:
        low, high = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise ConversionError(
            f"the input range must be {', '.join(RANGES)} or LOW..HIGH such as -0.5..0.5, got {input_range!r}"
        )
    return low, high


def _is_usual(low: float, high: float) -> bool:
    """Return whether networks are usually trained on values from `low` to `high`."""
    return -6 <= low <= 0.1 and 0.4 <= high <= 6 and abs(low + high) <= 1.5


def _chain(steps: Sequence[Step], tensor: Any) -> list[Step]:
    """Return the steps at the start that follow one another, each the only reader of the one before."""
    chain: list[Step] = []
    while True:
        readers = [step for step in steps if any(one is tensor for one in step.inputs)]
        if len(readers) != 1 or len(readers[0].inputs) != 1 or len(readers[0].outputs) != 1:
            return chain
        chain.append(readers[0])
        tensor = readers[0].outputs[0]


def _change(step: Step) -> tuple[Array, Array] | None:
    """Return factor and addition of a step that only scales, [C] or [1]; None for any other step."""
    kind, layer = step.kind, step.operation
    one, zero = np.ones(1), np.zeros(1)
    if kind == "Rescaling":
        return _flat(layer.scale), _flat(layer.offset)
    if kind == "Normalization":
        mean, deviation = _flat(layer.mean), np.sqrt(np.maximum(_flat(layer.variance), 1e-14))
        return (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
    if kind == "BatchNormalization":
        gamma = _flat(layer.gamma) if layer.scale else one
        beta = _flat(layer.beta) if layer.center else zero
        factor = gamma / np.sqrt(_flat(layer.moving_variance) + layer.epsilon)
        return factor, beta - _flat(layer.moving_mean) * factor
    if kind == "GetItem":
        return (one, zero) if _is_channel_flip(step) else None
    if kind in ("TrueDivide", "Divide", "Multiply", "Add", "Subtract"):
        return _arithmetic(step)
    return (one, zero) if kind.startswith(_UNCHANGED) else None


def _arithmetic(step: Step) -> tuple[Array, Array] | None:
    """Return factor and addition of an operation between the image and a constant."""
    first, second = (*step.arguments, None)[:2]
    reverse = second is step.inputs[0]
    try:
        constant = _flat(first if reverse else second)
    except (TypeError, ValueError):
        return None
    one, zero = np.ones(1), np.zeros(1)
    if step.kind == "Multiply":
        return constant, zero
    if step.kind == "Add":
        return one, constant
    if step.kind == "Subtract":
        return (-one, constant) if reverse else (one, -constant)
    return None if reverse or not constant.all() else (1 / constant, zero)


def _is_channel_flip(step: Step) -> bool:
    key = step.arguments[-1]
    last = key[-1] if isinstance(key, tuple) and key else key
    return isinstance(last, slice) and last.step == -1


def _flat(value: Any) -> Array:
    return np.asarray(value, np.float64).reshape(-1)

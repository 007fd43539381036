"""What a foreign .tflite expects at its input, in terms of pixels from 0 to 255."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .anatomy import Anatomy
from .constants import constant_values
from .errors import ConversionError
from .flatbuffer import schema
from .input_range import normalization
from .metadata import Metadata

_ASSUMED = "-1..1"
_CHOICES = "0..1, -1..1, 0..255 or imagenet"
_KNOWN = {"0..255": (0.0, 255.0), "0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "imagenet": (-2.118, 2.64)}
# of the absolute weights of a filter: 1 to 20 in networks for inputs around 1, and 1/127 of that for pixels
_LEAST_SUM = 0.2
_MOST_APART = 0.1  # of the range; calibration photos rarely reach both of its ends
_LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


@dataclass(frozen=True)
class Pixels:
    """How pixels become the input of a model: ``(pixel - mean) / std``.

    Attributes:
        mean: Per channel.
        std: Per channel.
        raw: Whether the quantized input takes the pixels themselves, so that no op is needed for the formula.
        how: Where this was found, in words.
        warning: What was assumed, a sentence; empty when it is known.
        scale: Scale of a quantized input.
        zero_point: Zero point of a quantized input.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    raw: bool
    how: str
    warning: str = ""
    scale: float = 1.0
    zero_point: int = 0


def find_pixels(model: Any, anatomy: Anatomy, metadata: Metadata, input_range: str | None) -> Pixels:
    """Find what the input of a model expects.

    The first that is known counts: `input_range`, the metadata, the quantization of the input. Where nothing is known,
    -1..1 is assumed, with a warning.

    Raises:
        ConversionError: The range does not exist, or the input is quantized without a scale.
    """
    channels = anatomy.image.channels
    if input_range is not None:
        known = normalization(input_range, channels), f"--input-range {input_range}"
    elif metadata.mean:
        known = _spread(metadata, channels), "its metadata"
    else:
        known = None
    if anatomy.image.dtype != "float32":
        return _quantized(model, anatomy, known, forced=input_range is not None)
    if known is None:
        known = _from_first_op(model, anatomy)
    if known is None:
        (mean, std), how = normalization(_ASSUMED, channels), f"assumed {_ASSUMED}"
        warning = (
            f"the file does not contain how its input is normalized, so pixels are passed as {_ASSUMED}; if the predictions "
            f"are bad, convert again with --input-range {_CHOICES}"
        )
        return Pixels(mean, std, False, how, warning)
    (mean, std), how = known
    return Pixels(mean, std, False, how)


def _quantized(
    model: Any, anatomy: Anatomy, known: tuple[tuple[Any, Any], str] | None, forced: bool
) -> Pixels:
    image = anatomy.image
    tensor = model.subgraphs[anatomy.number].tensors[image.tensor]
    found = _scale_of(tensor)
    if found is None:
        if image.dtype == "int8":
            raise ConversionError(
                "its input is int8 without a scale, so it is not clear which pixels it expects"
            )
        # such as a model that casts its pixels itself
        return Pixels((0.0,) * image.channels, (1.0,) * image.channels, True, "pixels as they are")
    scale, zero = found
    lowest = _LIMITS[image.dtype][0]
    as_is = Pixels(
        (float(zero - lowest),) * image.channels,
        (float(1 / np.float64(scale)),) * image.channels,
        True,
        "pixels as they are; the quantization of the input contains the normalization",
        scale=scale,
        zero_point=zero,
    )
    # a uint8 input takes pixels by convention, whatever its metadata names for float programs
    if known is None or (image.dtype == "uint8" and not forced):
        return as_is
    (mean, std), how = known
    pixels = np.arange(256.0)[:, np.newaxis]
    numbers = (pixels - np.array(mean)) / np.array(std) / scale + zero - lowest
    if np.abs(numbers - pixels).max() <= 1:
        return as_is
    return Pixels(mean, std, False, how, scale=scale, zero_point=zero)


def _from_first_op(model: Any, anatomy: Anatomy) -> tuple[tuple[Any, Any], str] | None:
    """Read the range from the first op: a QUANTIZE, or a scaling of pixels that the model does itself."""
    graph, image = model.subgraphs[anatomy.number], anatomy.image
    readers = [op for op in graph.operators if image.tensor in [int(number) for number in op.inputs]]
    if len(readers) != 1:
        return None
    op, kinds = readers[0], schema().BuiltinOperator
    kind = model.operatorCodes[op.opcodeIndex].builtinCode
    if kind == kinds.QUANTIZE:
        return _from_quantize(graph.tensors[op.outputs[0]], image.channels)
    if kind in (kinds.MUL, kinds.DIV, kinds.SUB):
        other = next((int(number) for number in op.inputs if int(number) != image.tensor), image.tensor)
        content = model.buffers[graph.tensors[other].buffer].data
        if content is not None and graph.tensors[other].type == schema().TensorType.FLOAT32:
            values = np.asarray(content, np.uint8).view("<f4")
            if values.size in (1, 3) and _scales_pixels(kind, values):
                return normalization(
                    "0..255", image.channels
                ), "its first op scales pixels from 0..255 itself"
    if kind in (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D):
        return _from_weights(constant_values(model, graph, int(op.inputs[1])), image.channels)
    return None


def _from_weights(weights: Any, channels: int) -> tuple[tuple[Any, Any], str] | None:
    """Recognize a scaling that the converter multiplied into the first convolution: its weights are 100 times smaller."""
    if weights is None:
        return None
    sums = np.abs(weights).reshape(weights.shape[0], -1).sum(axis=1)
    if float(np.median(sums)) >= _LEAST_SUM:
        return None
    return normalization("0..255", channels), "0..255, because the weights of its first layer are so small"


def _scales_pixels(kind: int, values: Any) -> bool:
    kinds = schema().BuiltinOperator
    if kind == kinds.MUL:
        return bool((values > 1 / 300).all() and (values < 1 / 40).all())  # such as 1/255, 1/127.5 or 1/58
    if kind == kinds.DIV:
        return bool((values > 40).all() and (values < 300).all())
    return bool((values > 90).all() and (values < 160).all())  # a mean


def _from_quantize(tensor: Any, channels: int) -> tuple[tuple[Any, Any], str] | None:
    found, types = _scale_of(tensor), schema().TensorType
    limits = {types.INT8: (-128, 127), types.UINT8: (0, 255)}.get(tensor.type)
    if found is None or limits is None:
        return None
    low, high = ((limit - found[1]) * found[0] for limit in limits)
    distances = {
        name: max(abs(low - least), abs(high - most)) / (most - least)
        for name, (least, most) in _KNOWN.items()
        if channels == 3 or name != "imagenet"
    }
    best = min(distances, key=distances.__getitem__)
    if distances[best] > _MOST_APART:
        return None
    return normalization(
        best, channels
    ), f"{best}, from the quantization of its input ({low:.3g}..{high:.3g})"


def _scale_of(tensor: Any) -> tuple[float, int] | None:
    parameters = tensor.quantization
    if parameters is None or parameters.scale is None or not len(parameters.scale):
        return None
    zero = (
        0 if parameters.zeroPoint is None or not len(parameters.zeroPoint) else int(parameters.zeroPoint[0])
    )
    return float(parameters.scale[0]), zero


def _spread(metadata: Metadata, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std for each channel; metadata may have one number for all of them."""
    mean, std = metadata.mean, metadata.std
    if len(mean) == channels:
        return mean, std
    return (mean[0],) * channels, (std[0],) * channels

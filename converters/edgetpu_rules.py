"""Coral's rules for the Edge TPU: which ops it supports, and within which limits.

They are those of the page "TensorFlow models on the Edge TPU", https://coral.ai/docs/edgetpu/models-intro/ , sections
"Model requirements" and "Supported operations" (table 1, compiler 16). A rule returns why an op is not mapped, or "".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.model.flatbuffer import Table
from device.model.graph import INT8, INT32, UINT8, Tensor

SOURCE = "https://coral.ai/docs/edgetpu/models-intro/#supported-operations"
_EIGHT_BITS = (INT8, UINT8)
_TYPES = {0: "float32", 1: "float16", INT32: "int32", UINT8: "uint8", 4: "int64", 7: "int16", INT8: "int8"}
_MOST_CLASSES = 16_000
_UNLIMITED = (
    "ADD", "L2_NORMALIZATION", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "RSQRT",
    "SPACE_TO_DEPTH", "SQUARED_DIFFERENCE", "SUB", "TANH", "UNIDIRECTIONAL_SEQUENCE_LSTM",
)  # fmt: skip
_ACTIVATION = "it has a fused activation function"
_BATCH = "it works on the batch dimension"


@dataclass(frozen=True)
class Op:
    """An op with what the rules look at.

    Attributes:
        name: Name of the op.
        inputs: Its input tensors; None for one that is left out.
        outputs: Its output tensors.
        contents: The content of each constant input, or None for an input that is computed.
        options: The table of its options, or None.
    """

    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    contents: tuple[NDArray[np.generic] | None, ...]
    options: Table | None

    def option(self, field: int, kind: str = "<i", default: int = 0) -> int:
        """Return a number of the options."""
        return self.options.number(field, kind, default) if self.options else default

    def content(self, place: int) -> NDArray[np.generic]:
        """Return the content of a constant input, empty if it is none."""
        found = self.contents[place] if place < len(self.contents) else None
        return np.zeros(0, np.int32) if found is None else found

    def shape(self, place: int = 0) -> tuple[int, ...]:
        """Return the shape of an input."""
        tensor = self.inputs[place] if place < len(self.inputs) else None
        return tensor.shape if tensor else ()


def reason_not_mapped(op: Op) -> str:
    """Return why the Edge TPU does not run an op, or an empty text."""
    if op.name not in _SUPPORTED:
        return "the Edge TPU does not support this op"
    parameters, rule = _SUPPORTED[op.name]
    return _types(op) or _constants(op, parameters) or _shapes(op) or (rule(op) if rule else "")


def _types(op: Op) -> str:
    """Activations must have 8 bits; constants may also be the int32 of biases, axes and shapes."""
    for tensor in (*op.inputs, *op.outputs):
        if tensor is None:
            continue
        allowed = (*_EIGHT_BITS, INT32) if tensor.constant else _EIGHT_BITS
        if tensor.type not in allowed:
            kind = _TYPES.get(tensor.type, f"type {tensor.type}")
            return f"{'a constant' if tensor.constant else 'a tensor'} is {kind}, expected int8 or uint8"
    return ""


def _shapes(op: Op) -> str:
    for tensor in (*op.inputs, *op.outputs):
        if tensor and not tensor.constant and any(side > 1 for side in tensor.shape[:-3]):
            return f"a tensor has the shape {list(tensor.shape)}; only the three innermost sides may be larger than 1"
    return ""


def _constants(op: Op, parameters: tuple[int, ...]) -> str:
    for place in parameters:
        tensor = op.inputs[place] if place < len(op.inputs) else None
        if tensor is not None and not tensor.constant:
            return "its parameters (weights, biases, axes or sizes) are computed, expected constants"
    return ""


def _activation(field: int) -> Callable[[Op], str]:
    return lambda op: _ACTIVATION if op.option(field, "<b") else ""


def _dilation(across: int, down: int) -> Callable[[Op], str]:
    def rule(op: Op) -> str:
        width, height = op.option(across, default=1), op.option(down, default=1)
        return "" if width == height else f"its dilations differ: {width} across, {height} down"

    return rule


def _concatenation(op: Op) -> str:
    constants = [place for place, tensor in enumerate(op.inputs) if tensor is not None and tensor.constant]
    if op.option(1, "<b"):
        return _ACTIVATION
    if not constants:
        return ""
    # the quantized zero is one value, whatever it is
    zero = all(not np.any(op.content(place) != op.content(place).flat[0]) for place in constants)
    if len(op.inputs) == 2 and zero:
        return ""
    return "it has a constant input, which is only possible beside one other input, and with zeros alone"


def _fully_connected(op: Op) -> str:
    if op.option(1, "<b"):
        return "its weights are not in the default format"
    return (
        "" if _flat(op.outputs[0].shape) else f"its output {list(op.outputs[0].shape)} is not one-dimensional"
    )


def _softmax(op: Op) -> str:
    shape = op.shape()
    if not _flat(shape):
        return f"its input {list(shape)} is not one-dimensional"
    return (
        ""
        if shape[-1] <= _MOST_CLASSES
        else f"its input has {shape[-1]} elements, at most {_MOST_CLASSES:,} are supported"
    )


def _flat(shape: tuple[int, ...]) -> bool:
    return all(side == 1 for side in shape[:-1])


def _axes(op: Op, place: int = 1) -> set[int]:
    rank = len(op.shape(1 if place == 0 else 0))
    return {int(axis) % rank for axis in op.content(place).ravel().tolist()} if rank else set()


def _no_batch(op: Op) -> str:
    return _BATCH if 0 in _axes(op) and len(op.shape()) > 1 else ""


def _mean(op: Op) -> str:
    shape = op.shape()
    if len(shape) == 4 and 3 in _axes(op) and shape[3] % 4:
        return f"it averages over {shape[3]} channels, which is not a multiple of 4"
    return _no_batch(op)


def _pack(op: Op) -> str:
    rank = len(op.outputs[0].shape)
    return _BATCH if rank and op.option(1) % rank == 0 else ""


def _split(op: Op) -> str:
    return _BATCH if 0 in _axes(op, 0) and len(op.shape(1)) > 1 else ""


def _pad(op: Op) -> str:
    paddings = op.content(1).ravel()
    return _BATCH if len(op.shape()) == 4 and paddings[:2].any() else ""


def _prelu(op: Op) -> str:
    shape = op.shape(1)
    return (
        ""
        if _flat(shape)
        else f"its alpha has the shape {list(shape)}, only the innermost side may be larger than 1"
    )


def _squeeze(op: Op) -> str:
    shape = op.shape()
    kept = [side for side in shape if side > 1]
    return (
        ""
        if not kept or shape[len(shape) - len(kept) :] == tuple(kept)
        else "it removes a side that is not among the first"
    )


def _strided_slice(op: Op) -> str:
    if np.any(op.content(3) != 1):
        return "its strides are not 1"
    return "it has an ellipsis or a new axis" if op.option(2) or op.option(3) else ""


def _resize(op: Op) -> str:
    shape = op.outputs[0].shape
    return "" if len(shape) == 4 else f"its output {list(shape)} is not an image"


# op -> inputs that must be constant, and the rule for its known limitations
_SUPPORTED: dict[str, tuple[tuple[int, ...], Callable[[Op], str] | None]] = {
    **dict.fromkeys(_UNLIMITED, ((), None)),
    **dict.fromkeys(("EXPAND_DIMS", "RESHAPE", "TRANSPOSE"), ((1,), None)),
    **dict.fromkeys(("REDUCE_MAX", "REDUCE_MIN", "SUM"), ((1,), _no_batch)),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), ((1,), _resize)),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), ((), _activation(5))),
    "CONCATENATION": ((), _concatenation),
    "CONV_2D": ((1, 2), _dilation(4, 5)),
    "DEPTHWISE_CONV_2D": ((1, 2), _dilation(5, 6)),
    "FULLY_CONNECTED": ((1, 2), _fully_connected),
    "MEAN": ((1,), _mean),
    "PACK": ((), _pack),
    "PAD": ((1,), _pad),
    "PRELU": ((1,), _prelu),
    "SLICE": ((1, 2), None),
    "SOFTMAX": ((), _softmax),
    "SPLIT": ((0,), _split),
    "SQUEEZE": ((), _squeeze),
    "STRIDED_SLICE": ((1, 2, 3), _strided_slice),
    "TRANSPOSE_CONV": ((0, 1), None),
}

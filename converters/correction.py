"""Bias correction: what rounding the weights adds to the mean of each channel is subtracted from its bias.

A rounded kernel shifts the mean of its output by (rounded - exact) times the mean of its input. The mean of an input
behind a ReLU is far from zero, so the shift is the largest part of the error that int8 weights cause. The bias is a
32-bit integer and can take it back exactly, at no cost when the file runs. Source: Nagel, van Baalen, Blankevoort and
Welling 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2; the means are
measured on the calibration photos here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .flatbuffer import parse, schema, serialize
from .ranges import Statistics

_BIAS = 2  # number of the bias among the inputs of an op with weights


def correct_biases(quantized: bytes, source: bytes, statistics: Statistics) -> bytes:
    """Correct the biases of a quantized graph.

    Args:
        quantized: A .tflite that was quantized from `source`; its ops are found by the names of their outputs.
        source: The float .tflite.
        statistics: Means of the tensors of `source`.

    Returns:
        The corrected graph. Ops without int8 weights or without a bias are as before.
    """
    model, origin = parse(quantized), parse(source)
    graph, exact = model.subgraphs[0], origin.subgraphs[0]
    float_ops = {_output(exact, op): op for op in exact.operators}
    for operator in graph.operators:
        twin = float_ops.get(_output(graph, operator))
        if twin is None or not _is_rounded(model, operator):
            continue
        mean = statistics.means.get(int(twin.inputs[0]))
        before = constant(origin, exact.tensors[twin.inputs[1]])
        after = constant(model, graph.tensors[operator.inputs[1]])
        shift = None if mean is None else _shift(_code(model, operator), after - before, mean)
        if shift is not None:
            _subtract(model, operator, shift)
    return serialize(model)


def constant(model: Any, tensor: Any) -> NDArray[np.float64]:
    """Return the values of a constant tensor, dequantized if it is quantized."""
    names = {value: name for name, value in vars(schema().TensorType).items() if not name.startswith("_")}
    kind = np.dtype(names[tensor.type].lower())
    values = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(kind).reshape(tensor.shape)
    quantization = tensor.quantization
    if np.issubdtype(kind, np.floating) or quantization is None or quantization.scale is None:
        exact: NDArray[np.float64] = values.astype(np.float64)
        return exact
    scale = np.asarray(quantization.scale, np.float64)
    if scale.size > 1:
        shape = np.ones(values.ndim, int)
        shape[quantization.quantizedDimension] = scale.size
        scale = scale.reshape(shape)
    zero = int(quantization.zeroPoint[0]) if quantization.zeroPoint is not None else 0
    scaled: NDArray[np.float64] = (values.astype(np.float64) - zero) * scale
    return scaled


def _output(graph: Any, operator: Any) -> bytes:
    """Return the name of the first output of an op; empty if it has none."""
    outputs = operator.outputs
    return bytes(graph.tensors[outputs[0]].name) if outputs is not None and len(outputs) else b""


def _code(model: Any, operator: Any) -> int:
    return int(model.operatorCodes[operator.opcodeIndex].builtinCode)


def _is_rounded(model: Any, operator: Any) -> bool:
    """Return whether an op has int8 weights and a bias, both constant."""
    ops = schema().BuiltinOperator
    if _code(model, operator) not in (ops.CONV_2D, ops.DEPTHWISE_CONV_2D, ops.FULLY_CONNECTED):
        return False
    if len(operator.inputs) <= _BIAS or operator.inputs[_BIAS] < 0:
        return False
    weights, bias = (model.subgraphs[0].tensors[operator.inputs[place]] for place in (1, _BIAS))
    filled = all(model.buffers[tensor.buffer].data is not None for tensor in (weights, bias))
    return filled and weights.type == schema().TensorType.INT8


def _shift(code: int, change: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return how a change of the weights shifts the mean of each output channel; None for grouped convolutions."""
    ops = schema().BuiltinOperator
    if code == ops.DEPTHWISE_CONV_2D:  # [1, rows, columns, C times multiplier]
        taps = change.sum(axis=(0, 1, 2))
        return taps * np.repeat(mean, taps.size // mean.size) if taps.size % mean.size == 0 else None
    taps = change.sum(axis=tuple(range(1, change.ndim - 1)))  # [out, in]
    return taps @ mean if taps.shape[1] == mean.size else None


def _subtract(model: Any, operator: Any, shift: NDArray[np.float64]) -> None:
    graph = model.subgraphs[0]
    tensor = graph.tensors[operator.inputs[_BIAS]]
    values = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
    types = schema().TensorType
    kind = np.dtype({types.FLOAT32: "float32", types.INT32: "int32", types.INT64: "int64"}[tensor.type])
    bias = values.view(kind)
    if kind == np.float32:
        corrected = bias - shift
    else:
        corrected = np.round(bias - shift / np.asarray(tensor.quantization.scale, np.float64))
        corrected = np.clip(corrected, np.iinfo(np.int32).min, np.iinfo(np.int32).max)
    buffer = schema().BufferT()  # its own, because equal biases of several ops may share one
    buffer.data = np.frombuffer(corrected.astype(kind).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.buffer = len(model.buffers) - 1

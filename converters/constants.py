"""The numbers of a constant in a parsed .tflite, in float32 whatever it is stored as."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .flatbuffer import schema


def _source(model: Any, graph: Any, number: int) -> int:
    """Return the constant that a tensor comes from: itself, or the input of the DEQUANTIZE that computes it."""
    for op in graph.operators:
        if number in [int(output) for output in op.outputs]:
            kind = model.operatorCodes[op.opcodeIndex].builtinCode
            return int(op.inputs[0]) if kind == schema().BuiltinOperator.DEQUANTIZE else number
    return number


def constant_values(model: Any, graph: Any, number: int) -> NDArray[np.float32] | None:
    """Return a constant in float32, dequantized per tensor or per channel; None where a tensor is none."""
    tensor, types = graph.tensors[_source(model, graph, number)], schema().TensorType
    kinds = {
        types.FLOAT32: "<f4",
        types.FLOAT16: "<f2",
        types.INT8: "i1",
        types.UINT8: "u1",
        types.INT32: "<i4",
        types.INT64: "<i8",
    }
    content = model.buffers[tensor.buffer].data
    if content is None or tensor.type not in kinds or tensor.sparsity is not None:
        return None
    raw = np.asarray(content, np.uint8).view(kinds[tensor.type]).reshape([int(side) for side in tensor.shape])
    values = raw.astype(np.float64)
    parameters = tensor.quantization
    if (
        raw.dtype.kind != "f"
        and parameters is not None
        and parameters.scale is not None
        and len(parameters.scale)
    ):
        sides = [1] * raw.ndim
        sides[int(parameters.quantizedDimension) if len(parameters.scale) > 1 else 0] = len(parameters.scale)
        zero = np.asarray(parameters.zeroPoint if parameters.zeroPoint is not None else [0], np.float64)
        zeros = np.broadcast_to(zero, len(parameters.scale)).reshape(sides)
        values = (values - zeros) * np.asarray(parameters.scale, np.float64).reshape(sides)
    return values.astype(np.float32)

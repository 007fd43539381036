"""The work of a backbone, computed from its flatbuffer: multiply-adds and bytes per op."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from device.model.graph import FLOAT32, INT8, INT32, INT64, UINT8, Graph, Operator, Tensor, read_graphs

_BYTES = {FLOAT32: 4, INT32: 4, INT64: 8, UINT8: 1, INT8: 1, 1: 2, 7: 2}  # TensorType -> bytes of an element
_CONV, _DEPTHWISE, _FULLY_CONNECTED, _TRANSPOSE_CONV, _BATCH_MATMUL = 3, 4, 9, 67, 126
_NAMES = {
    _CONV: "convolution",
    _DEPTHWISE: "depthwise convolution",
    _FULLY_CONNECTED: "fully connected",
    _TRANSPOSE_CONV: "transposed convolution",
    _BATCH_MATMUL: "matrix product",
}


@dataclass(frozen=True)
class Operation:
    """The work of an op.

    Attributes:
        name: Its kind: one of the five with multiply-adds, or ``other``.
        multiply_adds: For one image.
        bytes: Of its inputs, constants included, and of its outputs, each counted once.
    """

    name: str
    multiply_adds: int
    bytes: int


def operations(model: bytes, signature: str = "features") -> list[Operation]:
    """Return the ops of the graph of a signature, or of the first graph if there is no such signature.

    Raises:
        ModelFileError: The flatbuffer is damaged.
    """
    found = read_graphs(model)
    known = found.signatures.get(signature)
    graph = found.graphs[known.graph if known else 0]
    return [_operation(graph, operator) for operator in graph.operators]


def _operation(graph: Graph, operator: Operator) -> Operation:
    inputs, outputs = (
        [graph.tensors[place] for place in side if place >= 0] for side in (operator.inputs, operator.outputs)
    )
    count = _COUNTS.get(operator.kind)
    return Operation(
        _NAMES.get(operator.kind, "other"),
        count(inputs, outputs) if count else 0,
        sum(tensor.elements * _BYTES.get(tensor.type, 1) for tensor in (*inputs, *outputs)),
    )


def _conv(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
    # weights [O, height, width, I]: every output is a sum over one filter
    return outputs[0].elements * math.prod(inputs[1].shape[1:])


def _depthwise(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
    # weights [1, height, width, C]: every output is a sum over one channel
    return outputs[0].elements * math.prod(inputs[1].shape[1:3])


def _transposed(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
    # inputs: shape of the output, weights [O, height, width, I], image [N, H, W, I]: every input meets every filter
    return inputs[2].elements * math.prod(inputs[1].shape[:3])


def _product(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
    # the number of terms of a sum follows from the sizes, whether or not a side is transposed: |A| = batch M K
    rows, columns = outputs[0].shape[-2:]
    batch = outputs[0].elements // max(1, rows * columns)
    return outputs[0].elements * (inputs[0].elements // max(1, batch * rows))


_COUNTS: dict[int, Callable[[Sequence[Tensor], Sequence[Tensor]], int]] = {
    _CONV: _conv,
    _DEPTHWISE: _depthwise,
    _FULLY_CONNECTED: _conv,
    _TRANSPOSE_CONV: _transposed,
    _BATCH_MATMUL: _product,
}

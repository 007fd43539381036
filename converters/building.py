"""Build graphs of a .tflite op by op with the classes of its schema: no converter and no TensorFlow is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .flatbuffer import schema

_SCHEMA_VERSION = 3
_OLD_CODES = 127  # kinds above it have this number in the field of older readers
_TYPES = {
    "float32": "FLOAT32",
    "int32": "INT32",
    "bool": "BOOL",
    "uint8": "UINT8",
    "int8": "INT8",
    "int64": "INT64",
}
# op -> class of its options; ops that are not listed have none
_OPTIONS = {
    "ABS": "Abs", "ADD": "Add", "ASSIGN_VARIABLE": "AssignVariable", "BATCH_MATMUL": "BatchMatMul", "CALL_ONCE": "CallOnce",
    "CAST": "Cast", "CONCATENATION": "Concatenation", "CONV_2D": "Conv2D", "DEQUANTIZE": "Dequantize", "DIV": "Div",
    "FULLY_CONNECTED": "FullyConnected", "GATHER": "Gather", "GREATER": "Greater", "LESS": "Less",
    "LOGICAL_AND": "LogicalAnd", "LOG_SOFTMAX": "LogSoftmax", "MAXIMUM": "MaximumMinimum", "MEAN": "Reducer", "MUL": "Mul",
    "NEG": "Neg", "QUANTIZE": "Quantize", "READ_VARIABLE": "ReadVariable", "REDUCE_MAX": "Reducer",
    "REDUCE_MIN": "Reducer", "RESHAPE": "Reshape", "SELECT_V2": "SelectV2", "SHAPE": "Shape", "SOFTMAX": "Softmax",
    "STRIDED_SLICE": "StridedSlice", "SUB": "Sub", "SUM": "Reducer", "TRANSPOSE": "Transpose", "VAR_HANDLE": "VarHandle",
}  # fmt: skip


def empty_model() -> Any:
    """Return a model without graphs; its buffer 0 is empty, as the schema requires."""
    model = schema().ModelT()
    model.version = _SCHEMA_VERSION
    model.operatorCodes, model.subgraphs, model.signatureDefs = [], [], []
    model.buffers = [schema().BufferT()]
    model.metadata, model.metadataBuffer = [], []
    return model


class GraphBuilder:
    """Adds ops to a graph of a model. Tensors are numbers; the batch, the first side of a shape, may be -1.

    Args:
        model: The model.
        graph: A graph of the model to extend; by default a new one is added.
        name: Name of a new graph.

    Attributes:
        graph: The graph.
        number: Its number in the model.
        operators: The ops that were added, in order.
    """

    def __init__(self, model: Any, name: str = "", graph: Any = None) -> None:
        self.model, self.operators = model, list[Any]()
        if graph is None:
            graph = schema().SubGraphT()
            graph.name, graph.tensors, graph.operators, graph.inputs, graph.outputs = (
                name.encode(),
                [],
                [],
                [],
                [],
            )
            model.subgraphs.append(graph)
        self.graph = graph
        self.number = next(place for place, known in enumerate(model.subgraphs) if known is graph)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def input(self, name: str, shape: Sequence[int], dtype: str = "float32") -> int:
        """Add an input of the graph."""
        tensor = self.tensor(shape, dtype, name)
        self.graph.inputs = [*self.graph.inputs, tensor]
        return tensor

    def tensor(
        self, shape: Sequence[int], dtype: str = "float32", name: str = "", quantization: Any = None
    ) -> int:
        """Add a tensor without content.

        Args:
            shape: Its sides; -1 for a free batch.
            dtype: A NumPy name, or ``resource`` for a variable.
            name: Its name.
            quantization: Its ``QuantizationParametersT``, see `quantized`.
        """
        tensor = schema().TensorT()
        tensor.name, tensor.hasRank = name.encode(), True
        tensor.type = getattr(schema().TensorType, _TYPES.get(dtype, dtype.upper()))
        tensor.shape = [abs(int(side)) for side in shape]
        if -1 in shape:
            tensor.shapeSignature = [int(side) for side in shape]
        tensor.quantization = quantization
        self.graph.tensors = [*self.graph.tensors, tensor]
        return len(self.graph.tensors) - 1

    def constant(self, values: ArrayLike, *, name: str = "", apart: bool = False) -> int:
        """Add a constant; equal constants of a graph are stored once unless `apart` is true."""
        array: NDArray[Any] = np.ascontiguousarray(values)
        key = (str(array.dtype), np.shape(values), array.tobytes())
        if key in self._constants and not apart:
            return self._constants[key]
        buffer = schema().BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        number = self.tensor(np.shape(values), str(array.dtype), name)
        self.graph.tensors[number].buffer = len(self.model.buffers) - 1
        if not apart:
            self._constants[key] = number
        return number

    def op(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        dtype: str = "float32",
        *,
        quantization: Any = None,
        name: str = "",
        version: int = 1,
        **options: Any,
    ) -> int:
        """Add an op with one output and return that tensor.

        Args:
            kind: Its name in the schema, such as ``ADD``.
            inputs: Its input tensors.
            shape: Shape of the output.
            dtype: Type of the output.
            quantization: Quantization of the output.
            name: Name of the output.
            version: Version of the op, which depends on its types.
            options: Fields of the op's options.
        """
        output = self.tensor(shape, dtype, name, quantization)
        self.effect(kind, inputs, [output], version, **options)
        return output

    def effect(
        self,
        kind: str,
        inputs: Sequence[int] = (),
        outputs: Sequence[int] = (),
        version: int = 1,
        **options: Any,
    ) -> None:
        """Add an op whose outputs exist, or that has none."""
        operator = schema().OperatorT()
        operator.opcodeIndex = _code(self.model, kind, version)
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if kind in _OPTIONS:
            known = f"{_OPTIONS[kind]}Options"
            operator.builtinOptionsType = getattr(schema().BuiltinOptions, known)
            operator.builtinOptions = getattr(schema(), f"{known}T")()
            for field, value in options.items():
                setattr(operator.builtinOptions, field, value)
        self.operators.append(operator)
        self.graph.operators = [*self.graph.operators, operator]


def quantized(scale: float, zero_point: int) -> Any:
    """Return the quantization parameters of a whole tensor."""
    parameters = schema().QuantizationParametersT()
    parameters.scale = np.array([scale], np.float32)
    parameters.zeroPoint = np.array([zero_point], np.int64)
    return parameters


def _code(model: Any, kind: str, version: int) -> int:
    wanted = getattr(schema().BuiltinOperator, kind)
    for number, known in enumerate(model.operatorCodes):
        if known.builtinCode == wanted and known.version == version and not known.customCode:
            return number
    code = schema().OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = wanted, min(wanted, _OLD_CODES), version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1

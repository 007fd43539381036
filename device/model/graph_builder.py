"""Cut one graph out of a .tflite and append ops to it, as a tree of tables (`device.model.tree`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError
from .flatbuffer_writer import Node, Number
from .graph import FLOAT32, INT32

# fields of the schema
_CODES, _GRAPHS, _DESCRIPTION, _BUFFERS, _METADATA, _SIGNATURES = 1, 2, 3, 4, 6, 7
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS, _GRAPH_NAME = 0, 1, 2, 3, 4
_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTIZATION, _SHAPE_SIGNATURE = 0, 1, 2, 3, 4, 7
_CODE, _OP_INPUTS, _OP_OUTPUTS, _OPTIONS_TYPE, _OPTIONS = 0, 1, 2, 3, 4

# ops that can be appended: number in BuiltinOperator, type of the options, and their fields that are not the default
_OPS: dict[str, tuple[int, int, dict[int, Number]]] = {
    "ADD": (0, 11, {}),
    "FLOOR": (8, 0, {}),
    "FULLY_CONNECTED": (9, 8, {}),
    "MUL": (18, 21, {}),
    "SOFTMAX": (25, 9, {0: Number("f", 1.0)}),
    "CAST": (53, 0, {}),
    "MAXIMUM": (55, 0, {}),
    "SUM": (74, 27, {0: Number("?", True)}),  # keeps the dimension
    "RSQRT": (76, 0, {}),
    "ABS": (101, 0, {}),
    "ROUND": (116, 0, {}),  # to the nearest even number, like NumPy
}


class GraphBuilder:
    """One graph of a model, with one input and one output, that ops can be added to.

    The batch is fixed to one image: programs such as ML Kit refuse an input of a free size.

    Args:
        model: The tree of a .tflite; it is changed.
        graph: Number of the graph to keep.

    Attributes:
        input: Number of the input tensor.
        output: Number of the output tensor.
    """

    def __init__(self, model: Node, graph: int) -> None:
        kept = model.nodes(_GRAPHS)[graph]
        self._tensors, self._operators = kept.nodes(_TENSORS), kept.nodes(_OPERATORS)
        self._codes, self._buffers = model.nodes(_CODES), model.nodes(_BUFFERS)
        self._signatures: list[Node] = []
        self._metadata: list[Node] = []
        self._front = 0  # number of ops that were put before the graph
        (self.input,), (self.output,) = kept.numbers(_INPUTS), kept.numbers(_OUTPUTS)
        for tensor in self._tensors:
            tensor.fields.pop(_SHAPE_SIGNATURE, None)
        if self.shape(self.input)[0] != 1:
            raise ModelFileError(
                f"the backbone's input has the shape {list(self.shape(self.input))}, expected one image; convert the model again"
            )

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return tuple(self._tensors[tensor].numbers(_SHAPE))

    def quantization(self, tensor: int) -> tuple[float, int] | None:
        """Return scale and zero point of a tensor, or None if it has none."""
        found = self._tensors[tensor].fields.get(_QUANTIZATION)
        scales = found.fields.get(2) if isinstance(found, Node) else None
        if not isinstance(found, Node) or not isinstance(scales, np.ndarray) or not scales.size:
            return None
        return float(scales[0]), next(iter(found.numbers(3)), 0)

    def tensor(self, name: str, shape: Sequence[int], kind: int = FLOAT32, buffer: int = 0) -> int:
        """Add a tensor of a TensorType, and return its number."""
        tensor = Node({_SHAPE: np.array(shape, "<i4"), _TYPE: Number("b", kind), _NAME: name})
        tensor.fields[_BUFFER] = Number("I", buffer)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def constant(self, value: NDArray[np.float32] | NDArray[np.int32]) -> int:
        """Add a constant of float32 or int32, and return the number of its tensor."""
        kind = INT32 if value.dtype == np.int32 else FLOAT32
        self._buffers.append(Node({0: np.ascontiguousarray(value).view(np.uint8).tobytes()}))
        return self.tensor(f"constant {len(self._tensors)}", value.shape, kind, len(self._buffers) - 1)

    def add(
        self,
        name: str,
        inputs: Sequence[int],
        shape: Sequence[int] = (),
        *,
        output: int | None = None,
        front: bool = False,
    ) -> int:
        """Add an op, and return the number of its output tensor.

        Args:
            name: One of the ops that `device.model.graph_builder` knows.
            inputs: Numbers of its input tensors.
            shape: Shape of its output, float32.
            output: An existing tensor to write instead of a new one.
            front: Put it before the graph, behind the ops that were put there before.
        """
        number, kind, options = _OPS[name]
        output = self.tensor(f"{name.lower()} {len(self._tensors)}", shape) if output is None else output
        operator = Node(
            {
                _CODE: Number("I", self._code(number)),
                _OP_INPUTS: np.array(inputs, "<i4"),
                _OP_OUTPUTS: np.array([output], "<i4"),
            }
        )
        if kind:
            operator.fields |= {_OPTIONS_TYPE: Number("B", kind), _OPTIONS: Node({**options})}
        self._operators.insert(self._front if front else len(self._operators), operator)
        self._front += front
        return output

    def rename(self, tensor: int, name: str) -> None:
        """Set the name of a tensor, which programs without signatures show."""
        self._tensors[tensor].fields[_NAME] = name

    def sign(self, name: str, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        """Add a signature: names of the inputs and outputs, and the numbers of their tensors."""
        sides = [
            [Node({0: key, 1: Number("I", tensor)}) for key, tensor in side.items()]
            for side in (inputs, outputs)
        ]
        self._signatures.append(Node({0: sides[0], 1: sides[1], 2: name, 4: Number("I", 0)}))

    def describe(self, name: str, content: bytes) -> None:
        """Add an entry to the model's metadata."""
        self._buffers.append(Node({0: content}))
        self._metadata.append(Node({0: name, 1: Number("I", len(self._buffers) - 1)}))

    def finished(self, description: str) -> Node:
        """Return the model with this graph alone, without the constants and op codes that only others used."""
        codes: dict[int, int] = {}
        _renumber(self._operators, _CODE, codes)
        buffers = {0: 0}  # the empty one comes first in every model
        _renumber(self._tensors, _BUFFER, buffers)
        _renumber(self._metadata, 1, buffers)
        graph = Node(
            {
                _TENSORS: self._tensors,
                _INPUTS: np.array([self.input], "<i4"),
                _OUTPUTS: np.array([self.output], "<i4"),
                _OPERATORS: self._operators,
                _GRAPH_NAME: "main",
            }
        )
        return Node(
            {
                0: Number("I", 3),
                _CODES: [self._codes[number] for number in codes],
                _GRAPHS: [graph],
                _DESCRIPTION: description,
                _BUFFERS: [self._buffers[number] for number in buffers],
                _METADATA: self._metadata,
                _SIGNATURES: self._signatures,
            }
        )

    def _code(self, kind: int) -> int:
        """Return the number of the code of an op of version 1; it is added if there is none."""
        for number, code in enumerate(self._codes):
            if max(code.number(0), code.number(3)) == kind and code.number(2, 1) == 1:
                return number
        self._codes.append(Node({0: Number("b", kind), 2: Number("i", 1), 3: Number("i", kind)}))
        return len(self._codes) - 1


def _renumber(tables: Sequence[Node], field: int, places: dict[int, int]) -> None:
    """Change the numbers in a field to consecutive ones in the order of first use.

    Args:
        tables: Tables that refer to entries of a list by number.
        field: The field with the number.
        places: Old number -> new number, extended here.
    """
    for table in tables:
        number = table.number(field)
        table.fields[field] = Number("I", places.setdefault(number, len(places)))

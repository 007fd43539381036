"""The graphs of a .tflite, read without generated code and checked for what runtimes do not check.

Runtimes verify that a flatbuffer is well-formed, but not what it means: a quantization scale of 0 or a signature of a
graph that is not there ends the process. `read_graphs` refuses such a file before an interpreter sees it. Field numbers are
those of TensorFlow's ``schema.fbs``, version 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .flatbuffer import Table, damaged, root
from .ops import CALL_ONCE, IF, WHILE, check_op, check_types

_VERSION = 3
_MAX_BYTES = 2**31  # of a constant; its buffer is as large
_MAX_COMPUTED_BYTES = 2**27  # of a tensor that is computed: 1024 x 1024 pixels with 32 channels of float32
FLOAT32, INT32, UINT8, INT64, STRING, INT8 = 0, 2, 3, 4, 5, 9
# TensorType -> bits of an element; strings, resources and variants have no fixed size
_BITS = {
    FLOAT32: 32, 1: 16, INT32: 32, UINT8: 8, INT64: 64, 6: 8, 7: 16, 8: 64, INT8: 8, 10: 64, 11: 128, 12: 64, 15: 32,
    16: 16, 17: 4, 18: 16,
}  # fmt: skip
_ZERO_POINTS = {INT8: (-128, 127), UINT8: (0, 255), INT32: (0, 0)}
_LEAST_SCALE = float(np.finfo(np.float32).tiny)  # below it, kernels divide by zero
_VARIABLE_TYPES = (13, 14)  # RESOURCE, VARIANT
_CALLS = {CALL_ONCE: (0,), IF: (0, 1), WHILE: (0, 1)}  # op -> fields of its options that number a graph
_OPTIONS_OF = {CALL_ONCE: 103, IF: 92, WHILE: 93}  # op -> type of its options


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph.

    Attributes:
        name: Name of the tensor, for errors.
        type: A TensorType of the schema.
        shape: The stored shape; 1 where a side is free.
        free: The same shape with -1 where a side is free.
        buffer: Number of the buffer with its content.
        constant: Whether that buffer has content.
        variable: Whether it keeps its content from run to run.
    """

    name: str
    type: int
    shape: tuple[int, ...]
    free: tuple[int, ...]
    buffer: int
    constant: bool
    variable: bool

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Operator:
    """An op of a graph: its kind as a number of the schema's BuiltinOperator, its tensors, and the graphs it calls."""

    kind: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """A subgraph of a model."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class Signature:
    """A signature: the number of its graph and, by name, the numbers of its tensors there."""

    graph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True)
class Graphs:
    """What `read_graphs` found.

    Attributes:
        graphs: The subgraphs.
        signatures: By their keys.
        buffers: Byte offset and byte length of each buffer's content; (0, 0) when it is empty.
    """

    graphs: tuple[Graph, ...]
    signatures: dict[str, Signature]
    buffers: tuple[tuple[int, int], ...]

    def tensors_of(self, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the input and the output tensors of a signature, by name."""
        signature = self.signatures[name]
        tensors = self.graphs[signature.graph].tensors
        return (
            {key: tensors[number] for key, number in signature.inputs.items()},
            {key: tensors[number] for key, number in signature.outputs.items()},
        )


def read_graphs(data: bytes) -> Graphs:
    """Read and check the graphs of a .tflite.

    Raises:
        ModelFileError: An offset or a number leads outside, a buffer does not fit its tensor, a scale is not a positive
            number, a tensor is read before it is written, or graphs call each other in a cycle.
    """
    model = root(data)
    version = model.number(0, "<I")
    if version != _VERSION:
        raise damaged(f"it has schema version {version}, expected {_VERSION}")
    kinds = [_kind(code) for code in model.tables(1)]
    buffers = tuple(_buffer(entry, len(data)) for entry in model.tables(4))
    graphs = tuple(_graph(entry, kinds, buffers) for entry in model.tables(2))
    if not graphs:
        raise damaged("it contains no graph")
    _check_calls(graphs)
    for metadata in model.tables(6):
        _number(metadata.number(1, "<I"), buffers, "metadata refers to the buffer")
    return Graphs(graphs, _signatures(model.tables(7), graphs), buffers)


def _kind(code: Table) -> int:
    code.text(1)  # the name of a custom op
    # old writers use only the first field, new ones write 127 there for larger kinds
    return max(code.number(0, "<b"), code.number(3))


def _buffer(entry: Table, size: int) -> tuple[int, int]:
    start, length = entry.number(1, "<Q"), entry.number(2, "<Q")
    if start > 1 or length > 1:  # content after the flatbuffer, as in models beyond 2 GB
        if start + length > size:
            raise damaged(f"a buffer at {start} of {length} bytes reaches outside")
        return start, length
    return entry.vector(0, 1)


def _graph(entry: Table, kinds: Sequence[int], buffers: Sequence[tuple[int, int]]) -> Graph:
    tensors = tuple(_tensor(tensor, buffers) for tensor in entry.tables(0))
    inputs, outputs = _numbers(entry, 1, tensors), _numbers(entry, 2, tensors)
    operators = tuple(_operator(operator, kinds, tensors) for operator in entry.tables(3))
    graph = Graph(tensors, inputs, outputs, operators)
    _check_order(graph)
    return graph


def _tensor(entry: Table, buffers: Sequence[tuple[int, int]]) -> Tensor:
    kind, name = entry.number(1, "<b"), entry.text(3)
    shape = tuple(entry.numbers(0))
    free = tuple(entry.numbers(7)) or shape
    buffer = entry.number(2, "<I")
    if buffer:  # 0 means no content, even where there is no buffer at all
        _number(buffer, buffers, f"the tensor {name!r} refers to the buffer")
    length, elements = buffers[buffer][1] if buffers else 0, math.prod(shape)
    if min(shape, default=0) < 0 or min(free, default=0) < -1 or len(free) != len(shape):
        raise damaged(f"the tensor {name!r} has the shape {list(shape)} and the signature {list(free)}")
    size = (elements * _BITS.get(kind, 8) + 7) // 8
    most = _MAX_BYTES if length else _MAX_COMPUTED_BYTES
    if size > most:
        raise damaged(f"the tensor {name!r} takes {size} bytes, at most {most} are possible")
    sparse = entry.table(6) is not None
    if length and kind in _BITS and not sparse and length != size:
        raise damaged(
            f"the tensor {name!r} of shape {list(shape)} takes {size} bytes, its buffer has {length}"
        )
    quantization = entry.table(4)
    if quantization is not None:
        _check_quantization(quantization, name, kind, shape)
    variable = bool(entry.number(5, "<B")) or kind in _VARIABLE_TYPES
    return Tensor(name, kind, shape, free, buffer, length > 0, variable)


def _check_quantization(entry: Table, name: str, kind: int, shape: tuple[int, ...]) -> None:
    scales, zeros = entry.array(2, "<f4"), entry.array(3, "<i8")
    axis = entry.number(6)
    if not scales.size:
        return
    if not ((scales >= _LEAST_SCALE) & (scales <= 1 / _LEAST_SCALE)).all():  # False for NaN
        raise damaged(f"the tensor {name!r} has a quantization scale that is not a positive number")
    if scales.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scales.size):
        raise damaged(
            f"the tensor {name!r} of shape {list(shape)} has {scales.size} scales along axis {axis}"
        )
    if zeros.size not in (1, scales.size):
        raise damaged(f"the tensor {name!r} has {scales.size} scales and {zeros.size} zero points")
    lowest, highest = _ZERO_POINTS.get(kind, (-(2**31), 2**31 - 1))
    if (zeros < lowest).any() or (zeros > highest).any():
        raise damaged(f"the tensor {name!r} has a zero point outside of {lowest} to {highest}")


def _operator(entry: Table, kinds: Sequence[int], tensors: Sequence[Tensor]) -> Operator:
    kind = kinds[_number(entry.number(0, "<I"), kinds, "an op has the kind")]
    options = entry.table(4)
    calls: tuple[int, ...] = ()
    if kind in _CALLS:
        if options is None or entry.number(3, "<B") != _OPTIONS_OF[kind]:
            raise damaged("an op that calls a graph does not name it")
        calls = tuple(options.number(field) for field in _CALLS[kind])
    _numbers(entry, 8, tensors)  # intermediate tensors
    inputs, outputs = _numbers(entry, 1, tensors), _numbers(entry, 2, tensors)
    check_op(kind, inputs, outputs, entry)
    check_types(
        kind, *([tensors[number].type for number in side if number >= 0] for side in (inputs, outputs))
    )
    return Operator(kind, inputs, outputs, calls)


def _check_order(graph: Graph) -> None:
    """Refuse a tensor that is read before it is written, or written where it must not be: both crash runtimes."""
    known = {
        number
        for number, tensor in enumerate(graph.tensors)
        if tensor.constant or tensor.variable or not tensor.elements
    }
    known |= {number for number in graph.inputs if number >= 0}
    for operator in graph.operators:
        _require_known(graph, operator.inputs, known)
        for number in operator.outputs:
            if number in known and not graph.tensors[number].variable and graph.tensors[number].elements:
                raise damaged(f"the tensor {graph.tensors[number].name!r} is written twice, or is constant")
        known.update(operator.outputs)
    _require_known(graph, graph.outputs, known)


def _require_known(graph: Graph, numbers: Iterable[int], known: set[int]) -> None:
    for number in numbers:
        if number >= 0 and number not in known:
            raise damaged(f"the tensor {graph.tensors[number].name!r} is read before it is written")


def _check_calls(graphs: Sequence[Graph]) -> None:
    """Refuse graphs that call themselves, directly or through others."""
    calls = {
        place: {number for operator in graph.operators for number in operator.calls}
        for place, graph in enumerate(graphs)
    }
    for numbers in calls.values():
        for number in numbers:
            _number(number, graphs, "an op calls the graph")
    open_graphs = set(calls)
    while open_graphs:
        done = {place for place in open_graphs if not calls[place] & open_graphs}
        if not done:
            raise damaged("graphs call each other in a cycle")
        open_graphs -= done


def _signatures(entries: Iterable[Table], graphs: Sequence[Graph]) -> dict[str, Signature]:
    found: dict[str, Signature] = {}
    for entry in entries:
        name = entry.text(2)
        if name in found:
            raise damaged(f"there are two signatures {name!r}")
        place = _number(entry.number(4, "<I"), graphs, f"the signature {name!r} names the graph")
        graph = graphs[place]
        inputs = _tensor_names(entry, 0, name, graph.inputs)
        outputs = _tensor_names(entry, 1, name, graph.outputs)
        found[name] = Signature(place, inputs, outputs)
    return found


def _tensor_names(entry: Table, field: int, signature: str, allowed: tuple[int, ...]) -> dict[str, int]:
    names: dict[str, int] = {}
    for item in entry.tables(field):
        name, number = item.text(0), item.number(1, "<I")
        if name in names or number not in allowed:
            raise damaged(
                f"{name!r} of the signature {signature!r} is a duplicate, or is no input or output of its graph"
            )
        names[name] = number
    return names


def _number(number: int, items: Sequence[object], what: str) -> int:
    if not 0 <= number < len(items):
        raise damaged(f"{what} {number}, there are {len(items)}")
    return number


def _numbers(entry: Table, field: int, tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """Return the numbers of tensors; -1 means an optional tensor that is left out."""
    numbers: NDArray[np.int32] = entry.array(field, "<i4")
    if numbers.size and (numbers.min() < -1 or numbers.max() >= len(tensors)):
        raise damaged(f"a graph refers to the tensors {numbers.min()} to {numbers.max()} of {len(tensors)}")
    return tuple(numbers.tolist())

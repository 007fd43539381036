"""More columns for the head of a model file, without TensorFlow and without a flatbuffer library.

The capacity C occurs in the graphs only as the last dimension of tensors, so the numbers are changed in place. The
initial weights get longer: they are appended to the model part, and their buffers refer to the new place.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace

from ..errors import LabelError, ModelFileError
from ..model.flatbuffer import Table, root
from ..model.manifest import Manifest

CAPACITY = 32
MOST = 4096  # columns, as `Manifest` allows
_SPARE = 8  # minimum number of free columns when the capacity follows from the number of labels
_STEP = 16
_ALIGNMENT = 16  # bytes; the schema requires it for buffers
_FLOAT_BYTES = 4

# numbers of fields and ops in the schema of TFLite
_CODES, _GRAPHS, _BUFFERS, _SIGNATURES = 1, 2, 4, 7
_TENSORS, _OPERATORS = 0, 3
_SHAPE, _BUFFER, _SHAPE_SIGNATURE = 0, 2, 7
_READ_VARIABLE, _REDUCE_MIN = 143, 89
_INPUTS_WITH_COLUMNS = {"train": {"label"}, "set_weights": {"W", "b", "W_momentum", "b_momentum"}}

Places = dict[str, tuple[int, int]]


def capacity_for(labels: int) -> int:
    """Return a capacity with room for a quarter more labels, and for 8 more at least.

    Raises:
        LabelError: There are more labels than a head can have.

    Example:
        >>> capacity_for(5), capacity_for(43), capacity_for(100)
        (32, 64, 128)
    """
    if labels > MOST:
        raise LabelError(f"the head of a model file has at most {MOST} labels, got {labels}; delete some")
    wanted = labels + max(_SPARE, labels // 4)
    return min(MOST, max(CAPACITY, -(-wanted // _STEP) * _STEP))


def grow(part: bytes, manifest: Manifest, capacity: int) -> tuple[bytes, Manifest]:
    """Return the model part and its manifest with a head of `capacity` columns.

    The initial weights of the new head are zero; write them with `device.learner.export.patch`.

    Raises:
        ModelFileError: The head does not have the layout that edgetl writes.
    """
    data = bytearray(part)
    try:
        buffers = _weight_buffers(data, manifest.head_weights)
        dimensions = _dimensions(data, set(buffers.values()), manifest.capacity)
    except IndexError as error:
        raise _unknown("a graph names a missing tensor or op") from error
    for place in sorted(dimensions):
        struct.pack_into("<i", data, place, capacity)
    places = _relocate(data, buffers, manifest, capacity)
    return bytes(data), replace(manifest, capacity=capacity, head_weights=places)


def _weight_buffers(data: bytearray, places: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Return the number of the buffer of each initial weight."""
    found: dict[str, int] = {}
    for number, buffer in enumerate(root(data).tables(_BUFFERS)):
        start, length = buffer.vector(0, 1)
        found |= {name: number for name, place in places.items() if place == (start, length)}
    if not places or found.keys() != places.keys():
        raise _unknown(
            f"the weights {sorted(places.keys() - found.keys())} are not at the places in the manifest"
        )
    return found


def _dimensions(data: bytearray, weights: set[int], capacity: int) -> set[int]:
    """Return the places of all dimensions that are the capacity: those of tensors with a column per label."""
    model = root(data)
    codes = [max(code.number(0, "<b"), code.number(3)) for code in model.tables(_CODES)]
    places: set[int] = set()
    for number, graph in enumerate(model.tables(_GRAPHS)):
        tensors = list(graph.tables(_TENSORS))
        columns = {at for at, tensor in enumerate(tensors) if tensor.number(_BUFFER, "<I") in weights}
        columns |= _inputs(model, number)
        for operator in graph.tables(_OPERATORS):
            _follow(operator, codes, tensors, columns, capacity)
        for at in columns:
            places |= _last_dimensions(tensors[at], capacity)
    return places


def _inputs(model: Table, graph: int) -> set[int]:
    """Return the inputs of a graph that have a column per label, by their names in its signature."""
    return {
        entry.number(1, "<I")
        for signature in model.tables(_SIGNATURES)
        if signature.number(4, "<I") == graph
        for entry in signature.tables(0)
        if entry.text(0) in _INPUTS_WITH_COLUMNS.get(signature.text(2), ())
    }


def _follow(
    operator: Table, codes: list[int], tensors: list[Table], columns: set[int], capacity: int
) -> None:
    """Add the outputs of an op that have a column per label: those computed from variables or from such tensors."""
    code = codes[operator.number(0, "<I")]
    if code == _REDUCE_MIN or not (code == _READ_VARIABLE or columns.intersection(operator.numbers(1))):
        return
    for output in operator.numbers(2):
        shape = tensors[output].numbers(_SHAPE)
        if shape and shape[-1] == capacity:
            columns.add(output)


def _last_dimensions(tensor: Table, capacity: int) -> set[int]:
    places: set[int] = set()
    for field in (_SHAPE, _SHAPE_SIGNATURE):
        start, length = tensor.vector(field)
        if length and tensor.numbers(field)[-1] != capacity:
            raise _unknown(f"a tensor has the shape {tensor.numbers(field)}, expected {capacity} columns")
        if length:
            places.add(start + 4 * (length - 1))
    return places


def _relocate(data: bytearray, buffers: Mapping[str, int], manifest: Manifest, capacity: int) -> Places:
    """Append longer weights, make their buffers refer to them, and return their places."""
    tables = list(root(data).tables(_BUFFERS))
    places = {}
    for name, (start, length) in manifest.head_weights.items():
        data[start : start + length] = bytes(length)  # no longer part of the model
        size = length // manifest.capacity * capacity
        data += bytes(-(len(data) + _FLOAT_BYTES) % _ALIGNMENT)
        reference = tables[buffers[name]].field(0)
        if reference is None:
            raise _unknown(f"the weight {name} has no buffer")
        struct.pack_into("<I", data, reference, len(data) - reference)
        data += struct.pack("<I", size) + bytes(size)
        places[name] = (len(data) - size, size)
    return places


def _unknown(problem: str) -> ModelFileError:
    return ModelFileError(
        f"the head of the model file cannot grow: {problem}; convert the model again with a larger --capacity"
    )

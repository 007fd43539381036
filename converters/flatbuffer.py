"""Edit .tflite files as trees of objects: parse, chain, join, serialize.

Backbone and head are converted separately and joined here. Converting them together has two problems: calibration
also quantizes the training, which then no longer learns, and Keras 3 models lose their weights.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConversionError

_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # bytes; the schema requires it of buffers, and the Python writer does not do it


def schema() -> Any:
    """Import the classes of the .tflite schema.

    Raises:
        ConversionError: LiteRT or flatbuffers is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise ConversionError(
            "changing a .tflite needs the classes of its schema, which LiteRT contains and tflite-runtime does not "
            f"({error}); install it with: pip install 'edgetl[device]', or convert the file on another machine: the result "
            "runs with both"
        ) from error
    return schema_py_generated


def parse(data: bytes) -> Any:
    """Read a .tflite as a tree of objects (``ModelT`` of the schema).

    Raises:
        ConversionError: The bytes are not a .tflite, or are truncated.
    """
    if data[4:8] != _IDENTIFIER:
        raise ConversionError(f"a .tflite starts with TFL3 after four bytes, got {data[:8]!r}")
    classes = schema()
    try:
        model = classes.ModelT.InitFromPackedBuf(bytearray(data), 0)
    except (TypeError, ValueError, IndexError, OverflowError, MemoryError, AttributeError) as error:
        raise ConversionError(f"the .tflite is damaged or truncated: {error!r}") from error
    except Exception as error:  # struct.error and flatbuffers' own, which share no base
        raise ConversionError(f"the .tflite is damaged or truncated: {error!r}") from error
    if not model.subgraphs:
        raise ConversionError("the .tflite contains no graph; it is damaged or truncated")
    # old writers use only the first field, new ones write 127 there for larger kinds
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    return model


def serialize(model: Any) -> bytes:
    """Write a tree of objects as a .tflite, its buffers aligned to 16 bytes."""
    import flatbuffers

    class Builder(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers has no types
        head: int

        def CreateNumpyVector(self, values: NDArray[Any]) -> Any:  # noqa: N802  # overrides
            data = np.ascontiguousarray(values).tobytes()
            self.StartVector(values.itemsize, values.size, max(_ALIGNMENT, values.itemsize))
            self.head -= len(data)
            self.Bytes[self.head : self.head + len(data)] = data
            return self.EndVector()

    room = sum(0 if buffer.data is None else len(buffer.data) for buffer in model.buffers)
    builder = Builder(room + 2**16)
    with _shared_written_once(model):
        builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


@contextlib.contextmanager
def _shared_written_once(model: Any) -> Iterator[None]:
    """Write tensors and ops that several graphs share only once."""
    seen, shared = set(), {}
    for entry in (entry for graph in model.subgraphs for entry in (*graph.tensors, *graph.operators)):
        if id(entry) in seen:
            shared[id(entry)] = entry
        seen.add(id(entry))
    for entry in shared.values():
        entry.Pack = functools.cache(entry.Pack)  # an offset in the builder, valid for every reference
    try:
        yield
    finally:
        for entry in shared.values():
            del entry.Pack


def chain(first: Any, second: Any) -> Any:
    """Append the graph of `second` to that of `first`: one model with one subgraph.

    Both have one input and one output; the output of `first` becomes the input of `second`.
    """
    model = copy.deepcopy(first)
    graph = model.subgraphs[0]
    added = _adopt(model, copy.deepcopy(second))[0]
    append_graph(graph, added)
    graph.name = b"features"
    return model


def append_graph(graph: Any, added: Any) -> None:
    """Append the ops of `added` to `graph`; its buffers and op codes are already those of the same model."""
    if len(graph.outputs) != 1 or len(added.inputs) != 1:
        raise ConversionError(
            f"only graphs with one output and one input can be chained, got {len(graph.outputs)} and {len(added.inputs)}"
        )
    shift, joint, entry = len(graph.tensors), int(graph.outputs[0]), int(added.inputs[0])

    def place(index: int) -> int:
        return joint if index == entry else int(index) + shift if index >= 0 else int(index)

    for operator in added.operators:
        operator.inputs = [place(index) for index in operator.inputs]
        operator.outputs = [place(index) for index in operator.outputs]
    graph.tensors = [*graph.tensors, *added.tensors]  # the tensor of the entry stays, unused and empty
    graph.operators = [*graph.operators, *added.operators]
    graph.outputs = [place(index) for index in added.outputs]


def join(features: Any, head: Any) -> Any:
    """Join a backbone and a head: subgraph 0 is the backbone, the subgraphs of the head follow.

    Args:
        features: A model of one subgraph: image -> embedding.
        head: A model with signatures and variables.

    Returns:
        A model with the signatures of the head and ``features``.
    """
    model = copy.deepcopy(features)
    head = copy.deepcopy(head)
    if len(model.subgraphs) != 1:
        raise ConversionError(
            f"a backbone must be one graph without branches or loops, got {len(model.subgraphs)} graphs"
        )
    shift = len(model.subgraphs)
    model.subgraphs[0].name = b"features"
    model.subgraphs.extend(_adopt(model, head, shift))
    for signature in head.signatureDefs:
        signature.subgraphIndex += shift
    graph = model.subgraphs[0]
    model.signatureDefs = head.signatureDefs
    add_signature(model, "features", 0, {"image": graph.inputs[0]}, {"embedding": graph.outputs[0]})
    _drop_metadata(model)
    model.description = b"edgetl model file"
    return model


def add_graph(model: Any, other: Any, name: str) -> int:
    """Append the only graph of `other` to a joined model, in place; return its number.

    Raises:
        ConversionError: `other` has more than one graph.
    """
    if len(other.subgraphs) != 1:
        raise ConversionError(
            f"{name} must be one graph without branches or loops, got {len(other.subgraphs)}"
        )
    other = copy.deepcopy(other)
    _drop_metadata(other)
    (graph,) = _adopt(model, other)
    graph.name = name.encode()
    model.subgraphs.append(graph)
    return len(model.subgraphs) - 1


def weight_buffers(model: Any) -> dict[str, int]:
    """Return the number of the buffer with the initial value of each head variable, by its name in ``get_weights``.

    Raises:
        ConversionError: A variable has no initial value, or is not an output of ``get_weights``.
    """
    names = {handle: name for name, handle in _variables(model).items()}
    buffers = {names.get(handle, repr(handle)): int(tensor.buffer) for tensor, handle in _assignments(model)}
    if buffers.keys() != set(names.values()):
        raise ConversionError(
            f"the head sets {sorted(buffers)} when it starts, expected {sorted(names.values())}"
        )
    return buffers


def buffer_places(data: bytes, buffers: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return byte offset and byte length of numbered buffers within a serialized model."""
    model = schema().Model.GetRootAs(data, 0)
    places = {}
    for name, number in buffers.items():
        table = model.Buffers(number)._tab
        field = table.Offset(4)
        places[name] = (int(table.Vector(field)), int(table.VectorLen(field)))
    return places


def count_ops(data: bytes) -> dict[str, int]:
    """Count the ops of a .tflite by name, most frequent first; custom ops have their own names.

    Raises:
        ConversionError: The bytes are not a .tflite, or the classes of the schema are not installed.
    """
    model = parse(data)
    names = {
        value: name for name, value in vars(schema().BuiltinOperator).items() if not name.startswith("_")
    }
    codes = [
        code.customCode.decode() if code.customCode else names.get(code.builtinCode, f"op {code.builtinCode}")
        for code in model.operatorCodes
    ]
    counted = Counter(codes[op.opcodeIndex] for graph in model.subgraphs for op in graph.operators)
    return dict(counted.most_common())


def _adopt(model: Any, other: Any, shift: int = 0) -> list[Any]:
    # buffers: 0 is the empty one everywhere, the rest follow ours
    offset = len(model.buffers) - 1
    model.buffers.extend(other.buffers[1:])
    codes = [_code(model, code) for code in other.operatorCodes]
    for graph in other.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer += offset if tensor.buffer else 0
        for operator in graph.operators:
            operator.opcodeIndex = codes[operator.opcodeIndex]
            options = operator.builtinOptions
            if hasattr(options, "initSubgraphIndex"):
                options.initSubgraphIndex += shift  # variables are initialized there, by CALL_ONCE
    return list(other.subgraphs)


def _code(model: Any, code: Any) -> int:
    for number, known in enumerate(model.operatorCodes):
        if all(
            getattr(known, field) == getattr(code, field)
            for field in ("builtinCode", "customCode", "version")
        ):
            return number
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def add_signature(
    model: Any, name: str, subgraph: int, inputs: dict[str, int], outputs: dict[str, int]
) -> None:
    """Add a signature for a subgraph, with the names of its inputs and outputs (name -> tensor index)."""
    signature = schema().SignatureDefT()
    signature.signatureKey = name.encode()
    signature.subgraphIndex = subgraph
    signature.inputs = [_tensor_map(*item) for item in inputs.items()]
    signature.outputs = [_tensor_map(*item) for item in outputs.items()]
    model.signatureDefs = [*model.signatureDefs, signature]


def signature_of(model: Any, name: str) -> Any:
    """Return the signature called `name`."""
    return next(entry for entry in model.signatureDefs if entry.signatureKey == name.encode())


def _tensor_map(name: str, index: int) -> Any:
    entry = schema().TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), int(index)
    return entry


def _drop_metadata(model: Any) -> None:
    # it describes the conversions of the parts, and its buffers are no longer needed
    for entry in model.metadata or []:
        model.buffers[entry.buffer].data = None
    model.metadata, model.metadataBuffer = [], []


def drop_unused_buffers(model: Any) -> None:
    """Empty the buffers that no tensor refers to."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None


def _operators(model: Any, graph: Any, name: str) -> list[Any]:
    wanted = getattr(schema().BuiltinOperator, name)
    return [op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == wanted]


def _handles(model: Any, graph: Any) -> dict[int, bytes]:
    return {
        int(op.outputs[0]): bytes(op.builtinOptions.sharedName)
        for op in _operators(model, graph, "VAR_HANDLE")
    }


def _variables(model: Any) -> dict[str, bytes]:
    signature = signature_of(model, "get_weights")
    graph = model.subgraphs[signature.subgraphIndex]
    handles = _handles(model, graph)
    read = {
        int(op.outputs[0]): handles[int(op.inputs[0])] for op in _operators(model, graph, "READ_VARIABLE")
    }
    return {entry.name.decode(): read[entry.tensorIndex] for entry in signature.outputs}


def _assignments(model: Any) -> list[tuple[Any, bytes]]:
    starts = {
        op.builtinOptions.initSubgraphIndex
        for graph in model.subgraphs
        for op in _operators(model, graph, "CALL_ONCE")
    }
    found = []
    for graph in (model.subgraphs[number] for number in sorted(starts)):
        handles = _handles(model, graph)
        for op in _operators(model, graph, "ASSIGN_VARIABLE"):
            found.append((graph.tensors[op.inputs[1]], handles[int(op.inputs[0])]))
    return found

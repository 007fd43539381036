"""Cut the backbone out of a .tflite and fit its ends: pixels in, float embeddings out. The ops between stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .anatomy import Anatomy, Candidate
from .building import GraphBuilder, quantized
from .flatbuffer import schema
from .pixels import Pixels

_ANY = (0, 1)  # buffers with such an offset have their content inside the flatbuffer


def cut(model: Any, data: bytes, anatomy: Anatomy, candidate: Candidate) -> Any:
    """Reduce a model to the ops that compute one tensor from the image, in place.

    Args:
        model: The parsed model.
        data: Its bytes, for buffers that are stored after the flatbuffer.
        anatomy: Its parts.
        candidate: The tensor, which becomes the only output.
    """
    graph = model.subgraphs[anatomy.number]
    graph.operators = [graph.operators[place] for place in anatomy.needed(candidate.tensor)]
    graph.inputs, graph.outputs = [anatomy.image.tensor], [candidate.tensor]
    model.subgraphs = [graph]
    model.signatureDefs, model.metadata, model.metadataBuffer = [], [], []
    _keep_used_tensors(graph)
    _keep_used_buffers(model, data)
    _keep_used_codes(model)
    return model


def free_batch(model: Any) -> None:
    """Let a graph that was made for one image accept any number of them, in place.

    Only ``RESHAPE`` contains the number of images as a constant; whether the graph then works is for the caller to test.
    """
    graph = model.subgraphs[0]
    kinds = [code.builtinCode for code in model.operatorCodes]
    for op in graph.operators:
        if kinds[op.opcodeIndex] == schema().BuiltinOperator.RESHAPE:
            _free_reshape(model, graph, op)
    entry = graph.tensors[graph.inputs[0]]
    entry.shapeSignature = [-1, *(int(side) for side in entry.shape[1:])]


def fit_input(model: Any, anatomy: Anatomy, pixels: Pixels) -> None:
    """Put ops before the graph that turn uint8 pixels [N, H, W, channels] into what it expects, in place."""
    image = anatomy.image
    graph = model.subgraphs[0]
    entry = int(graph.inputs[0])
    if image.dtype == "uint8" and pixels.raw and not image.channels_first:
        graph.tensors[entry].name = b"image"
        return
    kept, graph.operators, graph.inputs = list(graph.operators), [], []
    free = -1 if graph.tensors[entry].shapeSignature is not None else 1
    builder = GraphBuilder(model, graph=graph)
    shape = (free, image.height, image.width, image.channels)
    source = builder.input("image", shape, "uint8")
    expected = graph.tensors[entry]
    if pixels.raw and image.dtype == "int8":
        # the same numbers, 128 lower
        scale, zero = pixels.scale, pixels.zero_point
        graph.tensors[source].quantization = quantized(scale, zero + 128)
        source = builder.op(
            "QUANTIZE", [source], shape, "int8", quantization=quantized(scale, zero), version=2
        )
    elif not pixels.raw:
        source = _normalize(builder, source, shape, pixels)
        if image.dtype != "float32":
            source = builder.op("QUANTIZE", [source], shape, image.dtype, quantization=expected.quantization)
    if image.channels_first:
        order = builder.constant(np.array([0, 3, 1, 2], np.int32))
        turned = (free, image.channels, image.height, image.width)
        source = builder.op(
            "TRANSPOSE", [source, order], turned, image.dtype, quantization=expected.quantization
        )
    _redirect(builder, source, entry)
    graph.operators = [*builder.operators, *kept]


def fit_output(model: Any, candidate: Candidate, scale: float = 1.0) -> None:
    """Put ops after the graph that turn its output into float32 [N, D], in place.

    Args:
        model: The cut graph.
        candidate: Its output.
        scale: Multiplies the embedding; a power of two changes no digit of it.
    """
    graph = model.subgraphs[0]
    tensor = int(graph.outputs[0])
    builder = GraphBuilder(model, graph=graph)
    sides = (-1, *candidate.sides)
    if candidate.dtype != "float32":
        version = {"uint8": 1, "int8": 2, "int16": 3}[candidate.dtype]
        tensor = builder.op("DEQUANTIZE", [tensor], sides, version=version)
    if candidate.averaged:
        axes = builder.constant(np.array([1, 2], np.int32))
        tensor = builder.op("MEAN", [tensor, axes], (-1, candidate.dimensions))
    elif len(candidate.shape) != 2:
        wanted = (-1, candidate.dimensions)
        shape = builder.constant(np.array(wanted, np.int32))
        tensor = builder.op("RESHAPE", [tensor, shape], wanted, newShape=list(wanted))
    if scale != 1:
        factor = builder.constant(np.float32(scale))
        tensor = builder.op("MUL", [tensor, factor], (-1, candidate.dimensions))
    graph.outputs = [tensor]


def quantization_of(model: Any) -> str:
    """Return the format of a graph: ``int8``, ``uint8``, ``int16x8``, ``float16``, ``dynamic`` or ``none``."""
    types = schema().TensorType
    graph = model.subgraphs[0]
    constant = {number for number, tensor in enumerate(graph.tensors) if _has_content(model, tensor)}
    computed = {graph.tensors[number].type for op in graph.operators for number in op.outputs}
    weights = {
        graph.tensors[number].type for op in graph.operators for number in op.inputs if number in constant
    }
    for name, present in (
        ("int16x8", types.INT16 in computed),
        ("int8", types.INT8 in computed),
        ("uint8", types.UINT8 in computed),
        ("dynamic", types.INT8 in weights),
        ("float16", types.FLOAT16 in weights),
    ):
        if present:
            return name
    return "none"


def _normalize(builder: GraphBuilder, source: int, shape: Sequence[int], pixels: Pixels) -> int:
    """Add ``(pixel - mean) / std`` in float32; a mean of 0 and a std of 1 take no op."""
    source = builder.op("CAST", [source], shape)
    for kind, values, neutral in (("SUB", pixels.mean, 0.0), ("DIV", pixels.std, 1.0)):
        if any(value != neutral for value in values):
            numbers = np.array(values[0] if len(set(values)) == 1 else values, np.float32)
            source = builder.op(kind, [source, builder.constant(numbers)], shape)
    return source


def _redirect(builder: GraphBuilder, source: int, target: int) -> None:
    """Make the last op write into `target`; its own output was the last tensor added."""
    builder.operators[-1].outputs = [target]
    builder.graph.tensors = builder.graph.tensors[:source]


def _free_reshape(model: Any, graph: Any, op: Any) -> None:
    shape = [int(side) for side in graph.tensors[op.outputs[0]].shape]
    given = graph.tensors[op.inputs[0]].shape
    if not shape or shape[0] != 1 or given is None or not len(given) or given[0] != 1:
        return
    shape[0] = -1
    if len(op.inputs) > 1:
        if model.buffers[graph.tensors[op.inputs[1]].buffer].data is None:
            return  # computed from the number of images
        builder = GraphBuilder(model, graph=graph)
        op.inputs = [op.inputs[0], builder.constant(np.array(shape, np.int32))]
    if op.builtinOptions is not None:
        op.builtinOptions.newShape = shape


def _keep_used_tensors(graph: Any) -> None:
    used = {int(graph.inputs[0]), int(graph.outputs[0])}
    for op in graph.operators:
        used.update(int(number) for number in (*op.inputs, *op.outputs, *_intermediates(op)) if number >= 0)
    places = {number: place for place, number in enumerate(sorted(used))}
    graph.tensors = [graph.tensors[number] for number in sorted(used)]
    graph.inputs, graph.outputs = (
        [places[int(number)] for number in side] for side in (graph.inputs, graph.outputs)
    )
    for op in graph.operators:
        op.inputs = [places.get(int(number), -1) for number in op.inputs]
        op.outputs = [places[int(number)] for number in op.outputs]
        op.intermediates = [places.get(int(number), -1) for number in _intermediates(op)] or None


def _intermediates(op: Any) -> Sequence[int]:
    return () if op.intermediates is None else op.intermediates


def _keep_used_buffers(model: Any, data: bytes) -> None:
    """Drop the buffers of removed tensors; bring content that follows the flatbuffer into it."""
    buffers = [schema().BufferT()]
    places = {0: 0}
    for tensor in model.subgraphs[0].tensors:
        number = int(tensor.buffer) if model.buffers else 0
        if number not in places:
            buffer = model.buffers[number]
            if buffer.offset not in _ANY:
                content = data[buffer.offset : buffer.offset + buffer.size]
                buffer.data, buffer.offset, buffer.size = np.frombuffer(content, np.uint8), 0, 0
            if buffer.data is None or not len(buffer.data):
                places[number] = 0
            else:
                places[number] = len(buffers)
                buffers.append(buffer)
        tensor.buffer = places[number]
    model.buffers = buffers


def _keep_used_codes(model: Any) -> None:
    used = sorted({op.opcodeIndex for op in model.subgraphs[0].operators})
    places = {number: place for place, number in enumerate(used)}
    model.operatorCodes = [model.operatorCodes[number] for number in used]
    for op in model.subgraphs[0].operators:
        op.opcodeIndex = places[op.opcodeIndex]


def _has_content(model: Any, tensor: Any) -> bool:
    content: NDArray[np.uint8] | None = model.buffers[tensor.buffer].data
    return content is not None and len(content) > 0

"""The tensors of a float graph on photos: their ranges, which decide how integers represent them, and their means.

TensorFlow's converter measures the same ranges with its reference kernels, an op at a time. Here LiteRT's fast kernels
compute every tensor as an output of the graph, in two fifths of the processor time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.model.runtime import open_interpreter

from .errors import ConversionError
from .flatbuffer import parse, schema, serialize
from .tensorflow import quiet

Tensors = dict[int, NDArray[Any]]


def is_plain(graph: bytes) -> bool:
    """Return whether a graph has no loops, branches or state, so that every tensor can be an output."""
    model = parse(graph)
    first = model.subgraphs[0]
    return (
        len(model.subgraphs) == 1
        and len(first.inputs) == 1
        and not any(tensor.isVariable for tensor in first.tensors)
        and all(operator.outputs is not None for operator in first.operators)
    )


def input_of(graph: bytes) -> int:
    """Return the index of the input tensor of a graph."""
    return int(parse(graph).subgraphs[0].inputs[0])


def with_all_outputs(graph: bytes) -> tuple[bytes, list[int]]:
    """Make the result of every op an output of the graph.

    Returns:
        The graph, and the indices of the tensors in the order of its outputs.
    """
    model = parse(graph)
    subgraph = model.subgraphs[0]
    computed = [int(index) for operator in subgraph.operators for index in operator.outputs]
    subgraph.outputs = computed
    model.signatureDefs = []
    return serialize(model), computed


def run_all(graph: bytes, inputs: Iterable[NDArray[Any]], threads: int = 2) -> Iterator[Tensors]:
    """Run a graph and yield all tensors that it computes, for each input.

    Args:
        graph: A .tflite of one subgraph with one input.
        inputs: Each a batch, as the graph expects it.
        threads: Number of threads.

    Yields:
        Index of each tensor -> its value, float or integer as in the graph; the input is included.
    """
    exposed, computed = with_all_outputs(graph)
    interpreter = open_interpreter(exposed, threads=threads)
    with quiet():
        interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]["index"]
    places = [details["index"] for details in interpreter.get_output_details()]
    for value in inputs:
        interpreter.set_tensor(entry, value)
        interpreter.invoke()
        found = {index: interpreter.get_tensor(place) for index, place in zip(computed, places, strict=True)}
        yield found | {int(entry): value}


@dataclass(frozen=True)
class Statistics:
    """What quantization needs to know about the float tensors of a graph.

    Attributes:
        ranges: Index of each tensor -> its lowest and its highest value.
        means: Index of each tensor -> the mean of each channel, float64 [C], the last axis being the channels.
    """

    ranges: dict[int, tuple[float, float]]
    means: dict[int, NDArray[np.float64]]


def measure(graph: bytes, inputs: Iterable[NDArray[np.float32]]) -> Statistics:
    """Measure ranges and means of all float tensors over all inputs.

    Raises:
        ConversionError: A value is NaN or infinite.
    """
    ranges: dict[int, tuple[float, float]] = {}
    sums: dict[int, NDArray[np.float64]] = {}
    count = 0
    for tensors in run_all(graph, inputs):
        count += 1
        for index, values in tensors.items():
            if values.dtype == np.float32 and values.size:
                low, high = ranges.get(index, (np.inf, -np.inf))
                ranges[index] = min(low, float(values.min())), max(high, float(values.max()))
                channels = values.reshape(-1, values.shape[-1] if values.ndim else 1)
                sums[index] = sums.get(index, 0.0) + channels.mean(axis=0)
    if not np.isfinite(list(ranges.values())).all():
        raise ConversionError(
            "the float backbone returns NaN or infinity on the calibration photos, so it cannot be quantized; "
            "its weights were lost or overflow: try --quantize none, and report this with the name of the model"
        )
    return Statistics(ranges, {index: total / count for index, total in sums.items()})


def with_ranges(graph: bytes, ranges: dict[int, tuple[float, float]]) -> bytes:
    """Write the ranges into a graph, where the quantizer reads them."""
    model = parse(graph)
    for index, (low, high) in ranges.items():
        tensor = model.subgraphs[0].tensors[index]
        tensor.quantization = tensor.quantization or schema().QuantizationParametersT()
        tensor.quantization.min, tensor.quantization.max = [low], [high]
    return serialize(model)

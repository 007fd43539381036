"""Find the layers that int8 affects most: by the error of every tensor, then by keeping the worst of them in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.images import Image
from device.model.runtime import open_interpreter

from .backbone import FloatGraph
from .flatbuffer import parse
from .layers import Layer
from .parity import compare, converted_embeddings
from .ranges import is_plain, run_all

_PHOTOS = 32
_CANDIDATES = 6  # layers that are kept in float one after the other
_STILL = 1e-9  # variance of a channel relative to the largest; below it float32 only rounds


@dataclass(frozen=True)
class LayerError:
    """The effect of int8 on a layer.

    Attributes:
        name: The layer in Keras.
        keep: The layer and those that read its output: the tensor between them is an integer unless all stay float.
        error: Squared error of its output, relative to the variance in float, per channel and averaged.
        added: The part of it that its inputs did not have: the layer's own.
        gain: By how much the centered cosine of the embeddings rises when the layers `keep` stay float.
    """

    name: str
    keep: tuple[str, ...]
    error: float
    added: float
    gain: float


def find_hurt_layers(
    source: FloatGraph, images: Sequence[Image], original: NDArray[np.float32]
) -> list[LayerError]:
    """Return the layers that int8 affects most, by gain; empty for a graph with loops or state.

    Args:
        source: The float backbone with its calibration photos.
        images: Prepared photos; at most 32 of them are run.
        original: Their embeddings by the source, float32 [N, D].
    """
    if not is_plain(source.graph):
        return []
    places = np.linspace(0, len(images) - 1, min(_PHOTOS, len(images))).astype(int)
    some, expected = [images[place] for place in places], original[places]
    quantized = source.convert("int8")
    errors = _errors(source, quantized, some)
    before = _similarity(quantized, some, expected)
    added = {layer: _added(layer, errors) for layer in source.layers if layer.output in errors}
    worst = sorted(added, key=lambda layer: -added[layer])[:_CANDIDATES]
    found = []
    for layer in worst:
        readers = [other.name for other in source.layers if layer.output in other.inputs]
        keep = tuple(dict.fromkeys([layer.name, *readers]))
        gain = _similarity(source.convert("int8", keep), some, expected) - before
        found.append(LayerError(layer.name, keep, errors[layer.output], added[layer], gain))
    return sorted(found, key=lambda layer: -layer.gain)


def _errors(source: FloatGraph, quantized: bytes, images: Sequence[Image]) -> dict[int, float]:
    """Return the relative squared error of each tensor that both graphs have, by its index in the float graph."""
    tensors = parse(quantized).subgraphs[0].tensors
    places = {tensor.name.decode(errors="replace"): index for index, tensor in enumerate(tensors)}
    sums: dict[int, NDArray[np.float64]] = {}  # [4, C]: squared error, sum, sum of squares, count
    exact = run_all(source.graph, source.normalized(images))
    rounded = run_all(quantized, (image[np.newaxis] for image in images))
    for before, after in zip(exact, rounded, strict=True):
        for layer in source.layers:
            place = places.get(layer.tensor)
            if place in after and before[layer.output].shape == after[place].shape:
                real = before[layer.output].astype(np.float64)
                parts = _parts(real, _real(after[place], tensors[place]))
                sums[layer.output] = sums.get(layer.output, np.zeros_like(parts)) + parts
    return {index: _relative(parts) for index, parts in sums.items()}


def _parts(real: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    channels = real.reshape(-1, real.shape[-1] if real.ndim else 1)
    gap = value.reshape(channels.shape) - channels
    count = np.full(channels.shape[1], float(len(channels)))
    return np.stack([(gap**2).sum(axis=0), channels.sum(axis=0), (channels**2).sum(axis=0), count])


def _relative(parts: NDArray[np.float64]) -> float:
    gap, total, squares, count = parts
    variance = np.maximum(squares - total**2 / count, 0.0)
    varied = variance > _STILL * max(float(variance.max()), 1e-30)
    # a channel cannot lose more than all that it has
    return float(np.minimum(gap[varied] / variance[varied], 1.0).mean()) if varied.any() else 0.0


def _real(values: NDArray[Any], tensor: Any) -> NDArray[np.float64]:
    if not np.issubdtype(values.dtype, np.integer) or tensor.quantization is None:
        return values.astype(np.float64)
    zero, scale = float(tensor.quantization.zeroPoint[0]), float(tensor.quantization.scale[0])
    real: NDArray[np.float64] = (values.astype(np.float64) - zero) * scale
    return real


def _added(layer: Layer, errors: dict[int, float]) -> float:
    return errors[layer.output] - max((errors.get(index, 0.0) for index in layer.inputs), default=0.0)


def _similarity(graph: bytes, images: Sequence[Image], expected: NDArray[np.float32]) -> float:
    embeddings = converted_embeddings(open_interpreter(graph), images)
    return compare(expected, embeddings, images, None).centered_cosine or 0.0

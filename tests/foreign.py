"""Tiny .tflite files as other tools write them, made op by op."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converters.building import GraphBuilder, empty_model, quantized
from converters.flatbuffer import add_signature, serialize

SIDE, FEATURES, LABELS = 8, 6, 4
SCALE = 1 / 127.5  # of a quantized input, which then means -1..1
_LOWEST = {"uint8": 0, "int8": -128}
_ANSWERS = {"softmax": "SOFTMAX", "logistic": "LOGISTIC"}


def foreign(
    dtype: str = "float32",
    last: str = "softmax",
    *,
    labels: int = LABELS,
    signature: bool = False,
    free: bool = False,
    flatten: bool = False,
    sides: tuple[int, ...] = (SIDE, SIDE, 3),
    output: str = "answers",
    outputs: int = 1,
) -> bytes:
    """Return a classifier: a convolution, the mean over its places, a dense layer.

    Args:
        dtype: ``float32``, ``uint8`` or ``int8``, of its input and of all that it computes.
        last: ``softmax``, ``logistic`` or ``none``; ``extractor`` leaves the dense layer out.
        labels: Number of its outputs.
        signature: Whether it has the signature ``serving_default``.
        free: Whether it accepts any number of images.
        flatten: Whether a RESHAPE with a constant shape follows the mean, as after Keras' Flatten.
        sides: Shape of the input without the batch.
        output: Name of the last tensor.
        outputs: Number of outputs; the second one is the embedding.
    """
    model = empty_model()
    graph = Foreign(model, dtype, -1 if free else 1)
    image = graph.image(sides)
    embedding = graph.features(image, flatten)
    answers = embedding if last == "extractor" else graph.dense(embedding, labels)
    if last in _ANSWERS:
        quantization = graph.quantization(1 / 256)
        answers = graph.op(_ANSWERS[last], [answers], (graph.batch, labels), dtype, quantization=quantization)
    graph.graph.tensors[answers].name = output.encode()
    graph.graph.outputs = [answers, embedding][:outputs]
    if signature:
        add_signature(model, "serving_default", 0, {"x": image}, {output: answers})
    return serialize(model)


class Foreign(GraphBuilder):
    """A graph of one type, float or quantized."""

    def __init__(self, model: Any, dtype: str, batch: int) -> None:
        super().__init__(model, "main")
        self.dtype, self.batch, self.random = dtype, batch, np.random.default_rng(3)

    def quantization(self, scale: float, zero: int | None = None) -> Any:
        """Return quantization parameters; by default, the lowest number means 0."""
        if self.dtype == "float32":
            return None
        return quantized(scale, _LOWEST[self.dtype] if zero is None else zero)

    def image(self, sides: tuple[int, ...]) -> int:
        """Add the input."""
        image = self.input("image_input", (self.batch, *sides), self.dtype)
        zero = _LOWEST.get(self.dtype, 0) + 128
        self.graph.tensors[image].quantization = self.quantization(SCALE, zero)
        return image

    def features(self, image: int, flatten: bool) -> int:
        """Add a convolution with stride 2 and the mean over its places."""
        map_scale = 6 / 255
        weights = self.weights((FEATURES, 3, 3, 3), 0.02)
        options = {"strideH": 2, "strideW": 2, "dilationHFactor": 1, "dilationWFactor": 1}
        places = (self.batch, SIDE // 2, SIDE // 2, FEATURES)
        features = self.op(
            "CONV_2D",
            [image, weights, self.bias(FEATURES, SCALE * 0.02)],
            places,
            self.dtype,
            quantization=self.quantization(map_scale),
            name="features_map",
            padding=0,
            fusedActivationFunction=3,  # RELU6
            **options,
        )
        axes = self.constant(np.array([1, 2], np.int32))
        shape = (self.batch, 1, 1, FEATURES) if flatten else (self.batch, FEATURES)
        pooled = self.op(
            "MEAN", [features, axes], shape, self.dtype, quantization=self.quantization(map_scale), name="pooled",
            keepDims=flatten,
        )  # fmt: skip
        if not flatten:
            return pooled
        wanted = self.constant(np.array([1, FEATURES], np.int32))
        flat = (self.batch, FEATURES)
        quantization = self.quantization(map_scale)
        return self.op("RESHAPE", [pooled, wanted], flat, self.dtype, quantization=quantization, name="flat")

    def dense(self, embedding: int, labels: int) -> int:
        """Add a dense layer."""
        weights = self.weights((labels, FEATURES), 0.01)
        inputs = [embedding, weights, self.bias(labels, 6 / 255 * 0.01)]
        quantization = self.quantization(0.05, _LOWEST.get(self.dtype, 0) + 128)
        return self.op(
            "FULLY_CONNECTED",
            inputs,
            (self.batch, labels),
            self.dtype,
            quantization=quantization,
            name="logits",
        )

    def weights(self, shape: tuple[int, ...], scale: float) -> int:
        """Add random weights."""
        numbers = self.random.integers(-100, 101, shape)
        if self.dtype == "float32":
            return self.constant((numbers * scale).astype(np.float32))
        zero = _LOWEST[self.dtype] + 128
        tensor = self.constant((numbers + zero).astype(self.dtype))
        self.graph.tensors[tensor].quantization = self.quantization(scale, zero)
        return tensor

    def bias(self, count: int, scale: float) -> int:
        """Add a bias: zeros and ones in turn."""
        values = np.arange(count) % 2
        if self.dtype == "float32":
            return self.constant(values.astype(np.float32))
        tensor = self.constant(np.round(values / scale).astype(np.int32), apart=True)
        self.graph.tensors[tensor].quantization = quantized(scale, 0)
        return tensor


def write(folder: Path, data: bytes, name: str = "other.tflite") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(data)
    return path

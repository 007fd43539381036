"""What this machine can do at most, measured on one thread: multiply-adds in int8 and float32, and bytes of memory.

The peaks are those of the runtime that also runs the backbone: matrix products large enough that nothing else counts. They
are built op by op, so no converter is needed. The shortest of many runs counts, because other programs only make a run longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.building import GraphBuilder, empty_model, quantized
from converters.flatbuffer import serialize
from device.model.runtime import open_interpreter

ROWS, SIDE, LAYERS = 256, 1024, 2  # a product [256, 1024] x [1024, 1024] is 0.27 giga multiply-adds
_COPIED = 64 * 2**20  # bytes; larger than caches


def multiply_adds_per_second(dtype: str, repeats: int = 30, side: int = SIDE, rows: int = ROWS) -> float:
    """Return the peak of multiply-adds per second of the runtime, ``int8`` or ``float32``, on one thread."""
    interpreter = open_interpreter(products(dtype, side, rows), threads=1)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    image = np.random.default_rng(0).integers(-128, 128, (rows, side)).astype(given["dtype"])
    interpreter.set_tensor(given["index"], image)
    return LAYERS * rows * side * side / shortest(interpreter.invoke, repeats)


def bytes_per_second(repeats: int = 15, size: int = _COPIED) -> float:
    """Return the bytes per second that one thread reads and writes when it copies large arrays."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    return 2 * size / shortest(lambda: np.copyto(target, source), repeats)


def products(dtype: str, side: int, rows: int) -> bytes:
    """Return a .tflite of fully connected layers, [rows, side] -> [rows, side]."""
    model = empty_model()
    builder = GraphBuilder(model, "products")
    random = np.random.default_rng(0)
    integers = dtype == "int8"
    tensor = builder.tensor([rows, side], dtype, "input", _scale(0.05) if integers else None)
    builder.graph.inputs = [tensor]
    for layer in range(LAYERS):
        weights = random.integers(-127, 128, (side, side)).astype(dtype)
        bias = np.zeros(side, np.int32 if integers else np.float32)
        constants = [
            builder.constant(weights, name=f"weights{layer}"),
            builder.constant(bias, name=f"bias{layer}"),
        ]
        if integers:
            for number, scale in zip(constants, (0.01, 0.0005), strict=True):
                builder.graph.tensors[number].quantization = _scale(scale)
        tensor = builder.op(
            "FULLY_CONNECTED",
            [tensor, *constants],
            [rows, side],
            dtype,
            quantization=_scale(0.05) if integers else None,
            version=4 if integers else 1,
        )
    builder.graph.outputs = [tensor]
    return serialize(model)


def shortest(work: Callable[[], Any], repeats: int) -> float:
    """Return the shortest processor time of `repeats` runs, in seconds."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return max(min(times), 1e-9)


def _scale(scale: float) -> Any:
    return quantized(scale, 0)

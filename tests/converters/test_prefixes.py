"""The first ops of a backbone as files of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.prefixes import Prefixes
from device.model.graph import read_graphs
from device.model.modelfile import ModelFile
from device.model.runtime import open_interpreter
from tests.tiny import DIMENSIONS, SIDE, TINY

MODEL = ModelFile.open(TINY)
FRAME = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)


def run(part: bytes) -> Any:
    """Return the output of a .tflite for one frame."""
    interpreter = open_interpreter(part, threads=1)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], FRAME.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], FRAME)
    interpreter.invoke()
    return interpreter.get_tensor(target["index"])


def test_the_last_prefix_computes_the_embedding() -> None:
    """Bit-identical to the whole file."""
    prefixes = Prefixes(MODEL.part)
    assert np.array_equal(run(prefixes.cut(len(prefixes.layers))), run(MODEL.part))


def test_each_prefix_ends_with_the_output_of_its_last_op() -> None:
    """The shapes are those of the layers, the constants of later ops are left out, and the graph is valid."""
    prefixes = Prefixes(MODEL.part)
    sizes = []
    for layer in prefixes.layers:
        part = prefixes.cut(layer.index + 1)
        (graph,) = read_graphs(part).graphs
        assert len(graph.operators) == layer.index + 1
        assert run(part).shape == layer.shape
        sizes.append(len(part))
    assert sizes == sorted(sizes)
    assert sizes[-1] < len(MODEL.part)


def test_layers_have_kinds_and_multiply_adds() -> None:
    """The backbone of `tests.tiny`: two convolutions and a depthwise one."""
    layers = Prefixes(MODEL.part).layers
    assert [layer.op for layer in layers][:4] == ["QUANTIZE", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D"]
    counts = [layer.multiply_adds for layer in layers if layer.multiply_adds]
    half, quarter = (SIDE // 2) ** 2, (SIDE // 4) ** 2
    assert counts == [half * 8 * 27, half * 8 * 9, quarter * DIMENSIONS * 72]


def test_a_prefix_needs_one_op() -> None:
    """No op has no output."""
    with pytest.raises(IndexError):
        Prefixes(MODEL.part).cut(0)

"""The work of a backbone and the limits of the machine."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from benchmarks import peaks, roofline, roofline_picture
from benchmarks.operations import Operation, operations
from device.model.modelfile import ModelFile
from device.model.runtime import open_interpreter
from tests.tiny import TINY

pytest.importorskip("ai_edge_litert", reason="building a .tflite needs the schema of LiteRT")


def test_the_multiply_adds_of_the_tiny_backbone_are_those_of_its_layers() -> None:
    """32x32x3 -> conv 3x3, 8, stride 2 -> depthwise 3x3 -> conv 3x3, 32, stride 2 -> mean."""
    work = operations(ModelFile.open(TINY).model_part())
    convolutions = [one.multiply_adds for one in work if one.name == "convolution"]
    depthwise = [one.multiply_adds for one in work if one.name == "depthwise convolution"]
    assert convolutions == [16 * 16 * 8 * 3 * 3 * 3, 8 * 8 * 32 * 3 * 3 * 8]
    assert depthwise == [16 * 16 * 8 * 3 * 3]
    assert all(one.bytes > 0 for one in work)


def test_a_matrix_product_has_as_many_multiply_adds_as_its_sides_multiply_to() -> None:
    """The file that measures a peak is counted by the same function."""
    work = operations(peaks.products("int8", 64, 8))
    assert [one.multiply_adds for one in work] == [8 * 64 * 64] * peaks.LAYERS
    assert work[0].bytes == 8 * 64 * 2 + 64 * 64 + 64 * 4


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_the_products_of_a_peak_are_computed(dtype: str) -> None:
    """The runtime runs the built file, and a product of zeros is zero."""
    interpreter = open_interpreter(peaks.products(dtype, 32, 4), threads=1)
    interpreter.allocate_tensors()
    given, found = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.set_tensor(given["index"], np.zeros((4, 32), given["dtype"]))
    interpreter.invoke()
    assert not interpreter.get_tensor(found["index"]).any()
    assert peaks.multiply_adds_per_second(dtype, 2, 32, 4) > 0
    assert peaks.bytes_per_second(2, 2**16) > 0


def test_an_op_takes_as_long_as_the_slower_one_of_compute_and_memory() -> None:
    """Ten multiply-adds at ten per second take a second; 30 bytes at ten per second take three."""
    work = [Operation("convolution", 10, 5), Operation("other", 0, 30)]
    assert roofline.limits(work, peak=10, bandwidth=10) == (4.0, 1.0)


def result() -> dict[str, Any]:
    """Return a result with round numbers."""
    work = [
        Operation("convolution", 4_000_000, 100_000),
        Operation("depthwise convolution", 400_000, 200_000),
    ]
    return {
        "backbone": "net<1>",
        "format": "int8",
        "multiply_adds": 4_400_000,
        "bytes": 300_000,
        "ops": roofline.grouped([*work, Operation("other", 0, 10)]),
        "peaks": {"int8": 200.0, "float32": 50.0},
        "gigabytes_per_second": 20.0,
        "limit_ms": 2.0,
        "compute_ms": 1.0,
        "embedding_ms": 4.0,
    }


def test_the_embedding_is_compared_with_both_limits() -> None:
    """The work is compared exactly, because no machine changes it."""
    values = {figure.name: figure.value for figure in roofline.figures(result())}
    assert values["embedding / limit"] == 2
    assert values["embedding / compute"] == 4
    assert values["multiply-adds of the backbone"] == 4.4
    limits, work = roofline.tables(result())
    assert [row[0] for row in work.rows] == ["convolution", "depthwise convolution", "other"]
    assert limits.rows[-1] == ("measured, ms", 4.0)


def test_the_picture_is_well_formed_and_depends_only_on_the_result() -> None:
    """All roofs, ops and the backbone are in it, and nothing is outside of the picture."""
    drawn = roofline_picture.draw({"roofline": result()})
    assert drawn == roofline_picture.draw({"roofline": result()})
    texts = [node.text for node in ET.fromstring(drawn).iter() if node.tag.endswith("text")]
    assert {"int8, 200 at most", "float32, 50 at most", "convolution", "depthwise convolution"} <= set(texts)
    assert any("net<1>" in (text or "") for text in texts)
    circle = next(node for node in ET.fromstring(drawn).iter() if node.tag.endswith("circle"))
    assert 0 < float(circle.attrib["cx"]) < roofline_picture.WIDTH
    assert 0 < float(circle.attrib["cy"]) < roofline_picture.HEIGHT

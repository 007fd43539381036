"""Quantized backbones: their ranges, the correction of their biases, and layers that stay float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import ConversionError, convert
from converters.backbone import FloatGraph
from converters.correction import constant, correct_biases
from converters.flatbuffer import parse, schema, serialize
from converters.layers import find_layers, layers_of
from converters.ranges import is_plain, measure, run_all, with_ranges
from converters.tensorflow import calibrate, quantize_calibrated
from device.model.modelfile import ModelFile
from tests import tiny

NEWEST = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "ADD": 2,
    "MEAN": 2,
    "QUANTIZE": 1,
    "DEQUANTIZE": 3,
    "CAST": 1,
}
"""Newest versions of the ops in a quantized backbone that files of ours have run with in tflite-runtime 2.14."""


@pytest.fixture(scope="module")
def model() -> Any:
    """The tiny Keras backbone."""
    return tiny.backbone()


@pytest.fixture(scope="module")
def inputs() -> list[Any]:
    """Normalized photos, float32 [1, 32, 32, 3] each."""
    images = (tiny.photo(label, seed) for label in tiny.COLORS for seed in range(8))
    return [tiny.PREPROCESSING.normalize(image[np.newaxis]) for image in images]


@pytest.fixture(scope="module")
def floats(model: Any) -> FloatGraph:
    """Its float graph with photos."""
    photos = [tiny.photo(label, seed) for label in tiny.COLORS for seed in range(8)]
    return FloatGraph(model, tiny.PREPROCESSING, photos)


def test_the_ranges_are_those_of_the_calibrator_of_tensorflow(floats: FloatGraph, inputs: list[Any]) -> None:
    """Up to the rounding of other kernels."""
    ranges = measure(floats.graph, inputs).ranges
    calibrated = parse(calibrate(floats.graph, lambda: iter([[value] for value in inputs])))
    for index, (low, high) in ranges.items():
        expected = calibrated.subgraphs[0].tensors[index].quantization
        assert np.allclose((low, high), (expected.min[0], expected.max[0]), atol=1e-4), index


def test_the_means_are_those_of_the_channels(floats: FloatGraph, inputs: list[Any]) -> None:
    """Over all photos, rows and columns."""
    found = measure(floats.graph, inputs)
    entry = int(parse(floats.graph).subgraphs[0].inputs[0])
    assert np.allclose(found.means[entry], np.concatenate(inputs).mean(axis=(0, 1, 2)), atol=1e-5)


def channel_errors(quantized: bytes, floats: FloatGraph, inputs: list[Any]) -> list[float]:
    """Return the largest error of a channel's mean per op, relative to the spread of the op's output."""
    graph = parse(quantized).subgraphs[0]
    places = {tensor.name: index for index, tensor in enumerate(graph.tensors)}
    exact, rounded = list(run_all(floats.graph, inputs)), list(run_all(quantized, inputs))
    errors = []
    for layer in floats.layers[:-1]:
        place = places[layer.tensor.encode()]
        quantization = graph.tensors[place].quantization
        values = np.stack([one[place] for one in rounded]).astype(np.float64)
        values = (values - quantization.zeroPoint[0]) * quantization.scale[0]
        expected = np.stack([one[layer.output] for one in exact])
        gap = (values - expected).mean(axis=tuple(range(values.ndim - 1)))
        errors.append(float(np.abs(gap).max() / expected.std()))
    return errors


def test_corrected_biases_keep_the_mean_of_every_channel(floats: FloatGraph, inputs: list[Any]) -> None:
    """Coarse weights shift it, and the correction takes most of the shift back."""
    statistics = measure(floats.graph, inputs)
    quantized = quantize_calibrated(with_ranges(floats.graph, statistics.ranges))
    coarse = parse(quantized)
    for operator in coarse.subgraphs[0].operators:
        tensor = coarse.subgraphs[0].tensors[operator.inputs[1]] if len(operator.inputs) == 3 else None
        if tensor is not None and tensor.type == schema().TensorType.INT8:
            weights = np.asarray(coarse.buffers[tensor.buffer].data).view(np.int8)
            # four bits, rounded down: a shift that all taps share
            coarse.buffers[tensor.buffer].data = (weights // 16 * 16).view(np.uint8)
    before = serialize(coarse)
    after = correct_biases(before, floats.graph, statistics)
    shifted, corrected = (channel_errors(one, floats, inputs) for one in (before, after))
    assert max(shifted) > 0.2
    assert corrected[0] < 0.3 * shifted[0]
    assert max(corrected) < 0.5 * max(shifted)


def test_a_float_graph_is_not_corrected(floats: FloatGraph, inputs: list[Any]) -> None:
    """No weight is rounded, so no bias changes."""
    corrected = parse(correct_biases(floats.graph, floats.graph, measure(floats.graph, inputs)))
    before = parse(floats.graph)
    for one, other in zip(before.subgraphs[0].tensors, corrected.subgraphs[0].tensors, strict=True):
        assert (before.buffers[one.buffer].data is None) == (corrected.buffers[other.buffer].data is None)
        if before.buffers[one.buffer].data is not None:
            assert np.array_equal(before.buffers[one.buffer].data, corrected.buffers[other.buffer].data)


def test_constants_are_dequantized_per_channel(floats: FloatGraph) -> None:
    """The weights of the file are within half a step of the exact ones."""
    quantized, exact = parse(floats.convert("int8")), parse(floats.graph)
    outputs = {exact.subgraphs[0].tensors[op.outputs[0]].name: op for op in exact.subgraphs[0].operators}
    checked = 0
    for operator in quantized.subgraphs[0].operators:
        twin = outputs.get(quantized.subgraphs[0].tensors[operator.outputs[0]].name)
        if twin is None or len(twin.inputs) != 3:
            continue
        tensor = quantized.subgraphs[0].tensors[operator.inputs[1]]
        gap = constant(quantized, tensor) - constant(exact, exact.subgraphs[0].tensors[twin.inputs[1]])
        assert np.abs(gap).max() <= 0.51 * max(tensor.quantization.scale)
        checked += 1
    assert checked == 3


def test_a_graph_with_state_or_loops_is_calibrated_by_tensorflow(floats: FloatGraph) -> None:
    """Only plain graphs can show all their tensors."""
    assert is_plain(floats.graph)
    stateful = parse(floats.graph)
    stateful.subgraphs[0].tensors[-1].isVariable = True
    assert not is_plain(serialize(stateful))


def test_layers_have_the_names_of_keras(floats: FloatGraph, model: Any) -> None:
    """Also where Keras itself numbers them."""
    assert [layer.name for layer in floats.layers] == [layer.name for layer in model.layers]


def test_a_fused_op_has_the_name_of_the_layer_with_weights() -> None:
    """It is found by the name of its activation too, and in nested models."""
    import keras

    inside = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False, name="stem_conv"),
            keras.layers.BatchNormalization(name="stem_bn"),
            keras.layers.ReLU(6.0, name="stem_relu"),
        ],
        name="inside",
    )
    entry = keras.Input((8, 8, 3))
    outer = keras.Model(entry, keras.layers.GlobalAveragePooling2D(name="pool")(inside(entry)))
    photos = [np.full((8, 8, 3), level, np.uint8) for level in (0, 128, 255)]
    graph = FloatGraph(outer, tiny.Preprocessing(8, 8), photos).graph
    layers = layers_of(graph, outer)
    assert [layer.name for layer in layers] == ["stem_conv", "pool"]
    assert find_layers(layers, ["stem_relu"]) == find_layers(layers, ["stem_*", "stem_conv"]) == layers[:1]


def weight_types(path: Path) -> list[int]:
    """Return the types of the weights of all convolutions in a file."""
    parsed = parse(ModelFile.open(path).model_part())
    ops = schema().BuiltinOperator
    graph = parsed.subgraphs[0]
    return [
        int(graph.tensors[operator.inputs[1]].type)
        for operator in graph.operators
        if parsed.operatorCodes[operator.opcodeIndex].builtinCode in (ops.CONV_2D, ops.DEPTHWISE_CONV_2D)
    ]


def test_layers_can_be_kept_in_float(photos: Any, tmp_path: Path) -> None:
    """Only these; the report and the manifest name them."""
    types = schema().TensorType
    report = convert(tiny.trained_model(photos), tmp_path / "m.tflite", keep_float=["depthwise_*"])
    assert weight_types(report.path) == [types.INT8, types.FLOAT32, types.INT8]
    assert report.keep_float == ("depthwise_*",)
    assert ModelFile.open(report.path).manifest.extra["keep_float"] == ["depthwise_*"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_float": ["convolution"]}, "no layer is called 'convolution'.* such as .*conv2d"),
        ({"keep_float": ["conv2d"], "quantize": "float16"}, "only with --quantize int8, got float16"),
        ({"keep_float": ["conv2d"], "edgetpu": True}, "exclude each other"),
        ({"keep_float": "conv2d"}, "a sequence of names, got the string 'conv2d'"),
    ],
)
def test_layers_that_cannot_be_kept_are_refused(
    photos: Any, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """The message has the next step, and no file is left."""
    with pytest.raises(ConversionError, match=message):
        convert(tiny.trained_model(photos), tmp_path / "m.tflite", **options)
    assert list(tmp_path.iterdir()) == []


def test_the_head_stays_float_in_every_format(converted: Any) -> None:
    """No tensor of its graphs is an integer of 8 or 16 bits."""
    parsed = parse(ModelFile.open(converted.path).model_part())
    types = schema().TensorType
    for graph in parsed.subgraphs[1:]:
        assert not {tensor.type for tensor in graph.tensors} & {types.INT8, types.UINT8, types.INT16}


def test_no_op_of_the_backbone_is_newer_than_the_oldest_runtime(floats: FloatGraph) -> None:
    """tflite-runtime 2.14 refuses op versions that it does not know."""
    names = {value: name for name, value in vars(schema().BuiltinOperator).items()}
    for quantization in ("int8", "int16x8", "float16", "none"):
        for code in parse(floats.convert(quantization)).operatorCodes:
            assert code.version <= NEWEST.get(names[code.builtinCode], 1), (
                quantization,
                names[code.builtinCode],
            )

"""Surgery on existing .tflite files: the same embeddings as before, whatever the type and the end of the model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.building import GraphBuilder
from converters.cutting import cut
from converters.errors import ConversionError
from converters.flatbuffer import count_ops, parse, schema, serialize
from converters.foreign import Source
from converters.head import build_head, initial_weights
from converters.oldhead import clean_labels
from converters.original import drawn_images
from converters.surgery import convert_tflite
from device.errors import EdgetlError, ModelFileError, OutputExistsError
from device.learner import Learner
from device.model.modelfile import ModelFile
from device.model.preprocess import Preprocessing
from device.model.runtime import open_interpreter
from tests.foreign import FEATURES, LABELS, SIDE, foreign, write

TYPES = ("float32", "uint8", "int8")


def interpret(model: bytes, batch: Any, output: int) -> Any:
    """Return the embedding of a bare interpreter, whose graph ends at the tensor `output`."""
    cut = parse(model)
    cut.subgraphs[0].outputs = [output]
    interpreter = open_interpreter(serialize(cut))
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
    interpreter.invoke()
    details = interpreter.get_output_details()[0]
    scale, zero = details["quantization"]
    values = interpreter.get_tensor(details["index"]).reshape(1, -1)
    return (values.astype(np.float32) - np.float32(zero)) * np.float32(scale) if scale else values


def as_input(pixels: Any, dtype: str) -> Any:
    """Return uint8 pixels as a program would pass them to the original, which expects -1..1."""
    if dtype == "float32":
        return (pixels.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    return pixels if dtype == "uint8" else (pixels.astype(np.int16) - 128).astype(np.int8)


def tensor_named(model: bytes, name: str) -> int:
    """Return the number of a tensor."""
    return [tensor.name.decode() for tensor in parse(model).subgraphs[0].tensors].index(name)


def pixels(count: int = 3) -> Any:
    """Return images of the size of the tiny models, uint8 [N, H, W, 3]."""
    return np.stack(drawn_images(Preprocessing(SIDE, SIDE)))[:count]


def features(path: Path, batch: Any) -> Any:
    """Return the embeddings of a model file."""
    interpreter = open_interpreter(ModelFile.open(path).model_part())
    return interpreter.get_signature_runner("features")(image=batch)["embedding"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("last", ["softmax", "logistic", "none", "extractor"])
@pytest.mark.parametrize("form", [{}, {"signature": True}, {"free": True}, {"flatten": True}])
def test_the_embedding_is_bit_identical_to_that_of_the_original(
    dtype: str, last: str, form: dict[str, Any], tmp_path: Path
) -> None:
    """Float and quantized, with every end, with and without signatures, one image at a time."""
    model = foreign(dtype, last, **form)
    out = tmp_path / "mine.tflite"
    report = convert_tflite(write(tmp_path, model), out)
    assert report.surgery is not None
    assert report.surgery.identical
    assert report.dimensions == FEATURES
    tensor = tensor_named(model, report.surgery.cut)
    for image in pixels():
        expected = interpret(model, as_input(image[np.newaxis], dtype), tensor)
        assert np.ptp(expected) > 0
        assert np.array_equal(features(out, image[np.newaxis]), expected)


@pytest.mark.parametrize("dtype", TYPES)
def test_several_images_are_embedded_at_once(dtype: str, tmp_path: Path) -> None:
    """Although the original was made for one, with that number in a RESHAPE."""
    out = tmp_path / "mine.tflite"
    report = convert_tflite(write(tmp_path, foreign(dtype, flatten=True)), out)
    assert report.surgery is not None
    assert report.surgery.batch
    together = features(out, pixels())
    for image, embedding in zip(pixels(), together, strict=True):
        np.testing.assert_allclose(features(out, image[np.newaxis])[0], embedding, atol=6 / 255)


def test_the_classifier_is_gone_and_the_head_can_be_taught(tmp_path: Path) -> None:
    """Its weights are no longer in the file, and a learner teaches and predicts."""
    source = write(tmp_path, foreign("int8", labels=900))
    out = tmp_path / "mine.tflite"
    report = convert_tflite(source, out, infer=True)
    assert report.surgery is not None
    assert report.surgery.removed == "the classifier of 900 labels and softmax (2 ops)"
    assert "FULLY_CONNECTED" not in count_ops(ModelFile.open(out).model_part())
    assert 900 * FEATURES not in [
        len(buffer.data) for buffer in parse(out.read_bytes()).buffers if buffer.data is not None
    ]
    manifest = ModelFile.open(out).manifest
    assert (manifest.origin, manifest.quantization) == ("surgery of other.tflite", "int8")
    with Learner.open(out, None) as learner:
        for label, level in (("dark", 20), ("bright", 230)):
            for step in range(3):
                learner.learn_one(np.full((SIDE, SIDE, 3), level + step, np.uint8), label)
        assert learner.predict_one(np.full((SIDE, SIDE, 3), 225, np.uint8)).label == "bright"


def test_the_preprocessing_describes_what_the_file_does(tmp_path: Path) -> None:
    """Mean and std per type: -1..1 in all three, written in pixel values."""
    for dtype, mean in (("float32", 127.5), ("uint8", 128.0), ("int8", 128.0)):
        out = tmp_path / f"{dtype}.tflite"
        report = convert_tflite(write(tmp_path, foreign(dtype)), out, resize="squash")
        made = ModelFile.open(out).manifest.preprocessing
        assert (made.height, made.width, made.resize, made.mean[0]) == (SIDE, SIDE, "squash", mean)
        assert made.std[0] == pytest.approx(127.5)
        assert bool(report.warnings) == (dtype == "float32")  # where it was only assumed


def test_an_input_range_decides_what_a_float_model_sees(tmp_path: Path) -> None:
    """0..1 divides by 255, imagenet subtracts a mean per channel; a quantized input is scaled by ops where it must be."""
    batch = pixels(1)
    for dtype in TYPES:
        model = foreign(dtype)
        source, tensor = write(tmp_path, model), tensor_named(model, "pooled")
        for name, values in (
            ("0..1", batch.astype(np.float32) / np.float32(255)),
            ("imagenet", (batch / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ):
            out = tmp_path / f"{dtype}{name}.tflite"
            report = convert_tflite(source, out, input_range=name)
            assert not report.warnings
            expected = interpret(model, quantize(values, dtype), tensor)
            np.testing.assert_allclose(
                features(out, batch), expected, atol=1e-4 if dtype == "float32" else 6 / 255
            )
    with pytest.raises(ConversionError, match=r"must be .* got 'wide'"):
        convert_tflite(source, tmp_path / "w.tflite", input_range="wide")


def first(kind: str, values: Any, model: bytes) -> bytes:
    """Return a float model with one more op in front, as Keras' Rescaling makes it."""
    parsed = parse(model)
    graph = parsed.subgraphs[0]
    builder, entry, kept = GraphBuilder(parsed, graph=graph), int(graph.inputs[0]), list(graph.operators)
    graph.inputs, graph.operators = [], []
    source = builder.input("pixels", (1, SIDE, SIDE, 3))
    builder.effect(kind, [source, builder.constant(np.float32(values))], [entry])
    graph.operators = [*builder.operators, *kept]
    return serialize(parsed)


def test_a_model_that_scales_pixels_itself_receives_them_as_they_are(tmp_path: Path) -> None:
    """By its first op, or by weights into which the converter multiplied the scaling."""
    folded = parse(foreign("float32"))
    weights = folded.subgraphs[0].tensors[folded.subgraphs[0].operators[0].inputs[1]]
    content = folded.buffers[weights.buffer].data.view("<f4") / np.float32(255)
    folded.buffers[weights.buffer].data = content.astype("<f4").view(np.uint8)
    for number, model in enumerate(
        (
            first("MUL", 1 / 127.5, foreign()),
            first("SUB", [123.7, 116.3, 103.5], foreign()),
            serialize(folded),
        )
    ):
        out = tmp_path / f"{number}.tflite"
        report = convert_tflite(write(tmp_path, model), out)
        assert not report.warnings
        made = ModelFile.open(out).manifest.preprocessing
        assert (made.mean, made.std) == ((0.0,) * 3, (1.0,) * 3)
        expected = interpret(model, pixels(1).astype(np.float32), tensor_named(model, "pooled"))
        assert np.array_equal(features(out, pixels(1)), expected)


def test_the_file_is_no_larger_than_its_parts(tmp_path: Path) -> None:
    """Backbone and head as files of their own, plus the manifest: the old classifier leaves nothing behind."""
    source, out = write(tmp_path, foreign("int8", labels=3000)), tmp_path / "mine.tflite"
    report = convert_tflite(source, out)
    opened = Source.open(source)
    candidate = opened.anatomy.candidate(opened.anatomy.default_cut())
    backbone = serialize(cut(parse(opened.data), opened.data, opened.anatomy, candidate))
    head = serialize(build_head(initial_weights(FEATURES, report.capacity), "signed_sqrt_l2"))
    assert out.stat().st_size < len(backbone) + len(head) + 4096


def quantize(values: Any, dtype: str) -> Any:
    """Return real numbers as the input of a tiny model."""
    if dtype == "float32":
        return values.astype(np.float32)
    numbers = np.round(values * 127.5) + (128 if dtype == "uint8" else 0)
    limits = np.iinfo(dtype)
    return np.clip(numbers, limits.min, limits.max).astype(dtype)


def test_a_named_tensor_is_cut_and_a_map_is_averaged(tmp_path: Path) -> None:
    """By name and by number; the mean over its places equals the original's own."""
    for dtype in TYPES:
        source = write(tmp_path, foreign(dtype))
        plain, averaged = tmp_path / "plain.tflite", tmp_path / "averaged.tflite"
        convert_tflite(source, plain, force=True)
        report = convert_tflite(source, averaged, cut="features_map", force=True)
        assert report.surgery is not None
        assert report.surgery.averaged == (SIDE // 2, SIDE // 2)
        np.testing.assert_allclose(features(averaged, pixels()), features(plain, pixels()), atol=3 / 255)
        again = convert_tflite(
            source, averaged, cut=str(tensor_named(source.read_bytes(), "features_map")), force=True
        )
        assert again.surgery is not None
        assert again.surgery.cut == report.surgery.cut


def test_channels_before_rows_are_turned(tmp_path: Path) -> None:
    """A model from PyTorch expects [1, 3, H, W]; the model file takes [N, H, W, 3] like any other."""
    model = parse(foreign("float32"))
    graph = model.subgraphs[0]
    builder, entry, kept = GraphBuilder(model, graph=graph), int(graph.inputs[0]), list(graph.operators)
    graph.inputs, graph.operators = [], []
    source = builder.input("nchw", (1, 3, SIDE, SIDE))
    order = builder.constant(np.array([0, 2, 3, 1], np.int32))
    builder.effect("TRANSPOSE", [source, order], [entry])
    graph.operators = [*builder.operators, *kept]
    turned, plain = tmp_path / "turned.tflite", tmp_path / "plain.tflite"
    report = convert_tflite(write(tmp_path, serialize(model)), turned)
    assert report.surgery is not None
    assert report.surgery.identical
    convert_tflite(write(tmp_path, foreign("float32")), plain)
    assert np.array_equal(features(turned, pixels(1)), features(plain, pixels(1)))


def custom(name: str, outputs: int = 1) -> bytes:
    """Return a model whose last op is a custom one."""
    model = parse(foreign(outputs=outputs))
    code = schema().OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version = 32, 32, name.encode(), 1
    model.operatorCodes.append(code)
    last = model.subgraphs[0].operators[-1]
    last.opcodeIndex, last.builtinOptions, last.builtinOptionsType = len(model.operatorCodes) - 1, None, 0
    return serialize(model)


def recurrent() -> bytes:
    """Return a model in which an LSTM makes the embedding."""
    model = parse(foreign(last="extractor"))
    graph = model.subgraphs[0]
    code = schema().OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = 44, 44, 1
    model.operatorCodes.append(code)
    op = graph.operators[-1]
    op.opcodeIndex, op.builtinOptions, op.builtinOptionsType = len(model.operatorCodes) - 1, None, 0
    op.inputs = [op.inputs[0], *[op.inputs[1]] * 19]
    return serialize(model)


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        (foreign(outputs=2), {}, "it has 2 outputs"),
        (custom("TFLite_Detection_PostProcess", 2), {}, "is a detector"),
        (custom("edgetpu-custom-op"), {}, "compiled for the Edge TPU"),
        (custom("MyOp"), {}, "the custom op MyOp"),
        (recurrent(), {}, "contains LSTM"),
        (foreign(sides=(SIDE, SIDE, 4)), {}, "expected one image with 3 channels or 1"),
        (foreign(sides=(SIDE, 3)), {}, "expected an image"),
        (foreign(), {"cut": "nothing"}, "there is no tensor 'nothing'; candidates are: pooled"),
        (foreign(), {"cut": "image_input"}, "is not computed from the image"),
        (foreign(), {"input_range": "wide"}, "got 'wide'"),
        (foreign()[:-300], {}, "damaged"),
        (foreign()[:6], {}, "is no .tflite"),
        (b"hello, world", {}, "is no .tflite"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused_with_the_reason(
    model: bytes, options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """In a sentence that names the file; nothing is left under the final name or beside it."""
    source, out = write(tmp_path, model), tmp_path / "mine.tflite"
    with pytest.raises(EdgetlError, match=reason) as caught:
        convert_tflite(source, out, **options)
    assert str(source) in str(caught.value)
    assert isinstance(caught.value, ConversionError | ModelFileError)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_a_dynamic_size_is_refused(tmp_path: Path) -> None:
    """Of the input, and of the tensor to cut at."""
    model = parse(foreign())
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shapeSignature = [1, -1, -1, 3]
    with pytest.raises(ConversionError, match="of dynamic size"):
        convert_tflite(write(tmp_path, serialize(model)), tmp_path / "mine.tflite")
    model = parse(foreign())
    named = next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"features_map")
    named.shapeSignature = [1, -1, -1, FEATURES]
    source = write(tmp_path, serialize(model))
    with pytest.raises(ConversionError, match=r"features_map has the shape .* no fixed size"):
        convert_tflite(source, tmp_path / "mine.tflite", cut="features_map")
    convert_tflite(source, tmp_path / "mine.tflite")  # before the classifier, the size is fixed


def test_two_outputs_and_a_detector_are_converted_where_a_tensor_is_named(tmp_path: Path) -> None:
    """What follows it, and thus the custom op, is removed."""
    for number, model in enumerate((foreign(outputs=2), custom("TFLite_Detection_PostProcess", 2))):
        report = convert_tflite(write(tmp_path, model), tmp_path / f"{number}.tflite", cut="pooled")
        assert report.dimensions == FEATURES


def test_a_model_file_is_not_converted_again(tmp_path: Path) -> None:
    """It can be taught as it is."""
    source, out = write(tmp_path, foreign()), tmp_path / "mine.tflite"
    convert_tflite(source, out)
    with pytest.raises(ConversionError, match="model file of edgetl already"):
        convert_tflite(out, tmp_path / "again.tflite")
    with pytest.raises(OutputExistsError):
        convert_tflite(source, out)


def test_an_output_named_embedding_is_not_taken_for_a_classifier(tmp_path: Path) -> None:
    """A dense layer may also end an extractor; its output's name decides."""
    named = Source.open(write(tmp_path, foreign(last="none", output="face_embedding"))).anatomy
    assert named.classifier() is None
    assert named.candidate(named.default_cut()).dimensions == LABELS
    assert Source.open(write(tmp_path, foreign(last="none"))).anatomy.classifier() is not None


def test_surgery_works_where_tensorflow_is_not_installed(tmp_path: Path) -> None:
    """Through the command, in a process that cannot import it."""
    source = write(tmp_path, foreign("uint8"))
    program = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'scipy', 'matplotlib', 'sklearn'):\n"
        "    sys.modules[name] = None\n"
        "from edgetl.cli import main\n"
        f"main(['convert', {str(source)!r}, '--out', 'mine.tflite'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "bit-identical" in done.stdout
    assert ModelFile.open(tmp_path / "mine.tflite").manifest.dimensions == FEATURES


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("last", ["softmax", "none", "logistic"])
def test_a_kept_head_answers_as_the_old_classifier(dtype: str, last: str, tmp_path: Path) -> None:
    """The same probabilities where it ended in softmax; the same order of labels elsewhere."""
    model = foreign(dtype, last)
    names = tmp_path / "names.txt"
    names.write_text("wolf\nape\nape\nbear\n")
    out = tmp_path / "mine.tflite"
    report = convert_tflite(write(tmp_path, model), out, keep_head=True, labels=names, infer=True)
    opened = ModelFile.open(out)
    assert report.labels == opened.labels == opened.manifest.kept_labels == ("ape", "ape (2)", "bear", "wolf")
    assert bool([warning for warning in report.warnings if "independently" in warning]) == (
        last == "logistic"
    )
    infer = open_interpreter(opened.model_part()).get_signature_runner("infer")
    order = [1, 2, 3, 0]  # of the sorted labels
    for image in pixels():
        given = infer(image=image[np.newaxis])["probabilities"][0, :LABELS]
        logits = interpret(
            model,
            as_input(image[np.newaxis], dtype),
            tensor_named(model, "answers" if last == "none" else "logits"),
        )
        powers = np.exp(logits[0, order] - logits.max())
        np.testing.assert_allclose(given, powers / powers.sum(), atol=1e-5 if dtype == "float32" else 0.04)
    with Learner.open(out, None) as learner:
        assert learner.labels == report.labels


def test_a_large_embedding_is_scaled_by_a_power_of_two(tmp_path: Path) -> None:
    """Codes hold numbers up to 8; the head's weights are scaled back, so the answers stay."""
    model = parse(foreign("float32", last="none"))
    graph = model.subgraphs[0]
    dense = graph.operators[-1]
    builder, kept = GraphBuilder(model, graph=graph), list(graph.operators)
    graph.operators = []
    large = builder.op(
        "MUL", [dense.inputs[0], builder.constant(np.float32(50))], (1, FEATURES), name="large"
    )
    dense.inputs = [large, *dense.inputs[1:]]
    graph.operators = [*kept[:-1], *builder.operators, dense]
    data = serialize(model)
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd")
    out = tmp_path / "mine.tflite"
    convert_tflite(write(tmp_path, data), out, keep_head=True, labels=names)
    scale = ModelFile.open(out).manifest.extra["scale"]
    assert scale < 1
    assert np.log2(scale) == round(np.log2(scale))
    values = as_input(pixels(1), "float32")
    embedding = interpret(data, values, tensor_named(data, "large"))
    assert np.array_equal(features(out, pixels(1)), embedding * np.float32(scale))
    classify = open_interpreter(ModelFile.open(out).model_part()).get_signature_runner("classify")
    logits = classify(embedding=features(out, pixels(1)))["logits"][:, :LABELS]
    np.testing.assert_allclose(logits, interpret(data, values, tensor_named(data, "answers")), rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "text", "reason"),
    [
        (foreign(), None, "contains no labels for the 4 outputs"),
        (foreign(), "a\nb", "has 4 outputs, but there are 2 labels"),
        (foreign(last="extractor"), "a\nb\nc\nd", "needs a classifier"),
        (foreign(), "a\nb\n\xff".encode("latin-1"), "no text in UTF-8"),
    ],
)
def test_a_head_that_cannot_be_kept_is_refused(
    model: bytes, text: str | bytes | None, reason: str, tmp_path: Path
) -> None:
    """With the reason and what to do; nothing is written."""
    names = tmp_path / "names.txt"
    names.write_bytes(text if isinstance(text, bytes) else (text or "").encode())
    with pytest.raises(ConversionError, match=reason):
        convert_tflite(
            write(tmp_path, model),
            tmp_path / "mine.tflite",
            keep_head=True,
            labels=None if text is None else names,
        )
    assert not (tmp_path / "mine.tflite").exists()


def test_labels_of_common_files_are_read() -> None:
    """Numbered lines, repeated and empty names, and names that are too long."""
    assert clean_labels(["0  background", "1  crane", "2  crane", ""]) == ("background", "crane", "crane (2)")
    assert clean_labels(["7 up", "cola"]) == ("7 up", "cola")
    assert clean_labels(["a", "", "b"]) == ("a", "label 1", "b")
    long = clean_labels(["x" * 150, "x" * 151])
    assert len(set(long)) == 2
    assert max(map(len, long)) <= 100

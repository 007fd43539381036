"""From a trained model to a model file: its content, its agreement with the source, and what is refused."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from converters import ConversionError, TrainedModel, backbone, conversion, convert
from converters.flatbuffer import count_ops, parse
from converters.parity import compare, source_embeddings
from device.errors import PhotoError, StorageError
from device.heads import create_head
from device.images import read_photo
from device.model import modelfile
from device.model.codes import apply_map, encode
from device.model.embedder import Embedder
from device.model.memory import Samples
from device.model.modelfile import ModelFile
from device.model.preprocess import Preprocessing
from device.model.runtime import open_interpreter
from tests import tiny

# of the largest number
TOLERANCE = {"none": 1e-5, "float16": 2e-3, "dynamic": 0.05, "int16x8": 0.05, "int8": 0.05}


def test_the_file_follows_the_contract(converted: Any) -> None:
    """Signatures, shapes, labels, memory, and builtin ops alone."""
    opened = ModelFile.open(converted.path)
    assert opened.labels == tuple(tiny.COLORS)
    assert isinstance(opened.memory, Samples)
    assert len(opened.memory.labels) == 36
    manifest = opened.manifest
    assert (manifest.dimensions, manifest.capacity, manifest.quantization) == (32, 8, converted.quantization)
    names = set(open_interpreter(converted.path).get_signature_list())
    assert names == {"features", "classify", "train", "get_weights", "set_weights"}
    ops = count_ops(opened.model_part())
    assert not [name for name in ops if name.startswith(("Flex", "CUSTOM"))]
    assert parse(opened.model_part()).subgraphs[0].name == b"features"


def test_no_signature_input_has_rank_zero(converted: Any) -> None:
    """LiteRT on aarch64 crashes on such inputs; x86 does not show it."""
    interpreter = open_interpreter(converted.path)
    for name in interpreter.get_signature_list():
        inputs = interpreter.get_signature_runner(name).get_input_details()
        assert inputs, name
        assert all(len(details["shape"]) for details in inputs.values()), name


def test_embeddings_equal_those_of_keras(converted: Any, source: Any, photos: Any) -> None:
    """Within rounding for float, within the quantization's steps for the others."""
    images = [tiny.PREPROCESSING.prepare(read_photo(path)) for path, _ in photos]
    expected = source_embeddings(source.backbone, images, tiny.PREPROCESSING)
    embeddings = Embedder(ModelFile.open(converted.path)).embed_many(images)
    assert np.abs(embeddings - expected).max() <= TOLERANCE[converted.quantization] * expected.max()


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_any_number_of_images_can_be_embedded_at_once(converted: Any, count: int) -> None:
    """Any batch size works, and the embeddings do not depend on it."""
    features = open_interpreter(converted.path).get_signature_runner("features")
    images = np.stack([tiny.photo("red", number) for number in range(count)])
    together = features(image=images)["embedding"]
    alone = [features(image=image[np.newaxis])["embedding"][0] for image in images]
    assert together.shape == (count, 32)
    assert np.allclose(together, alone, atol=0.02 * np.abs(together).max())


def test_an_interpreter_without_signatures_runs_the_backbone(converted: Any) -> None:
    """Features come first in the file, so a bare invoke() gives the embedding."""
    interpreter = open_interpreter(converted.path)
    interpreter.allocate_tensors()
    image = tiny.photo("blue", 1)[np.newaxis]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    bare = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    by_name = open_interpreter(converted.path).get_signature_runner("features")(image=image)["embedding"]
    assert np.allclose(bare, by_name, atol=1e-5)


def test_parity_is_measured_and_kept(converted: Any) -> None:
    """The figures of the report are in the manifest."""
    assert converted.parity.cosine_mean > 0.999
    assert converted.parity.accuracy_float is not None
    assert ModelFile.open(converted.path).manifest.parity == converted.parity.to_dict()
    assert converted.to_dict()["sizes"]["total"] == converted.path.stat().st_size


def test_the_head_of_the_file_predicts_like_a_head_taught_with_the_memory(converted: Any) -> None:
    """Its probabilities are those of the exact head taught with the memory."""
    opened = ModelFile.open(converted.path)
    head = create_head("exact", 32)
    assert isinstance(opened.memory, Samples)
    head.learn_many(opened.memory.codes, list(opened.memory.labels))
    embedder = Embedder(opened)
    embeddings = embedder.embed_many(tiny.photo(label, 99) for label in tiny.COLORS)
    given = embedder.signature("classify")(embedding=embeddings)["probabilities"]
    assert np.allclose(given[:, :3], head.probabilities(encode(embeddings)), atol=0.02)  # codes are rounded
    assert not given[:, 3:].any()


def test_the_quantization_of_the_input_replaces_the_normalization_where_possible(photos: Any) -> None:
    """Scale 1/std and zero point mean: the pixels themselves are the quantized input."""
    images = [tiny.photo("red", number) // 2 + 40 for number in range(8)]  # no black and no white in them
    part = backbone.convert_backbone(tiny.backbone(), tiny.PREPROCESSING, "int8", images)
    graph = parse(part).subgraphs[0]
    entry = graph.tensors[graph.inputs[0]].quantization
    assert (entry.scale[0], entry.zeroPoint[0]) == (1 / 128, 127)
    assert "CAST" not in count_ops(part)


def test_other_normalizations_become_float_ops(photos: Any, source: Any, tmp_path: Path) -> None:
    """ImageNet's mean and deviation differ by channel and cannot be folded."""
    preprocessing = Preprocessing(
        32, 32, "squash", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    )
    report = convert(replace(source, preprocessing=preprocessing), tmp_path / "m.tflite", capacity=8)
    assert report.parity.cosine_mean > 0.999
    assert "CAST" in count_ops(ModelFile.open(report.path).model_part())


@pytest.mark.parametrize("quantize", ["int8", "none"])
@pytest.mark.parametrize("std", [128.0, 58.4])
def test_a_gray_backbone_is_converted(photos: Any, tmp_path: Path, quantize: Any, std: float) -> None:
    """Calibration, comparison and verification use the one channel, folded or as float ops."""
    gray = replace(tiny.GRAY, std=(std,))
    report = convert(tiny.trained_model(photos, gray), tmp_path / "m.tflite", quantize=quantize, capacity=8)
    assert report.parity.cosine_mean > 0.99
    signature = Embedder(ModelFile.open(report.path)).signature("features")
    assert list(signature.get_input_details()["image"]["shape"][1:]) == [32, 32, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_preprocessing_with_other_channels_than_the_backbone_is_refused(
    photos: Any, tmp_path: Path, channels: int
) -> None:
    """Before the long work begins; the message names both shapes."""
    other = tiny.PREPROCESSING if channels == 1 else tiny.GRAY
    model = replace(
        tiny.trained_model(photos), backbone=tiny.backbone(channels=channels), preprocessing=other
    )
    with pytest.raises(
        ConversionError,
        match=rf"\[32, 32, {channels}\], but its preprocessing makes \[32, 32, {4 - channels}",
    ):
        convert(model, tmp_path / "m.tflite", capacity=8)
    assert not (tmp_path / "m.tflite").exists()


def test_a_backbone_without_labels_is_ready_to_be_taught(tmp_path: Path) -> None:
    """The fastest way to start: without photos the report names the sample photos."""
    report = convert(tiny.trained_model(), tmp_path / "base.tflite")
    assert report.labels == ()
    assert "sample photos" in report.calibration
    assert (report.memory, report.head) == ("none", "untaught")
    bias = _weights(report.path)["b"]
    assert (bias == -1e9).all()


def test_without_memory_the_file_has_the_trained_head(source: Any, tmp_path: Path) -> None:
    """And the file is smaller."""
    head = (np.eye(32, 3, dtype=np.float32), np.arange(3, dtype=np.float32))
    report = convert(replace(source, head=head), tmp_path / "m.tflite", memory=False, capacity=5)
    assert (report.memory, report.sizes["memory"]) == ("none", 0)
    assert ModelFile.open(report.path).memory is None
    weights = _weights(report.path)
    assert np.array_equal(weights["W"][:, :3], head[0])
    assert weights["b"].tolist() == [0, 1, 2, np.float32(-1e9), np.float32(-1e9)]


def test_a_head_with_large_weights_is_verified_with_its_own_rounding(
    source: Any, photos: Any, tmp_path: Path
) -> None:
    """Where photos hardly differ, weights are large and their sums small, so that float32 leaves few digits."""
    images = [tiny.PREPROCESSING.prepare(read_photo(path)) for path, _ in photos]
    mapped = apply_map(source_embeddings(source.backbone, images, tiny.PREPROCESSING))
    common = np.linalg.svd(mapped, full_matrices=False)[2][:20]
    weights = np.random.default_rng(0).normal(size=(32, 3))
    weights = (1e7 * (weights - common.T @ (common @ weights))).astype(np.float32)
    out = tmp_path / "m.tflite"
    convert(replace(source, head=(weights, np.zeros(3, np.float32))), out, quantize="none", memory=False)
    assert np.array_equal(_weights(out)["W"][:, :3], weights)


def test_many_photos_are_kept_as_sums() -> None:
    """Whichever is smaller; the sums are exact."""
    from device.model.memory import remember

    codes = np.random.default_rng(0).integers(-4096, 4097, (900, 16)).astype(np.int16)
    memory = remember(codes, ["a", "b", "c"] * 300)
    assert not isinstance(memory, Samples)
    assert np.array_equal(memory.gram, codes.astype(np.int64).T @ codes.astype(np.int64))
    assert isinstance(remember(codes[:4], list("abca")), Samples)


def test_embeddings_can_be_projected_inside_the_file(source: Any, tmp_path: Path) -> None:
    """Shorter embeddings that separate the labels and fit the fixed point."""
    report = convert(source, tmp_path / "m.tflite", project=12, capacity=8)
    opened = ModelFile.open(report.path)
    assert (opened.manifest.dimensions, opened.manifest.embedding_map) == (12, "identity")
    embedder = Embedder(opened)
    raw = source_embeddings(source.backbone, [tiny.photo("red", 3)], tiny.PREPROCESSING)
    embedding = embedder.embed_one(tiny.photo("red", 3))
    assert embedding.shape == (12,)
    assert np.abs(embedding).max() <= 4 < np.abs(apply_map(raw)).max() * 32
    answers = embedder.signature("classify")(
        embedding=embedder.embed_many(tiny.photo(label, 77) for label in tiny.COLORS)
    )
    assert answers["probabilities"].argmax(1).tolist() == [0, 1, 2]


def test_too_few_photos_for_a_projection_are_refused(source: Any, tmp_path: Path) -> None:
    """The message has the numbers, and no file is left."""
    few = replace(source, photos=source.photos[::3])  # 12 of them
    with pytest.raises(ConversionError, match="more than 20 photos, got 12"):
        convert(few, tmp_path / "m.tflite", project=20)
    with pytest.raises(ConversionError, match="can keep 1 to 31 of them, got 32"):
        convert(source, tmp_path / "m.tflite", project=32)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "normalization",
    [
        {},
        {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)},
        {"mean": (160.0, 90.0, 20.0), "std": (200.0, 40.0, 20.0)},
    ],
    ids=["in the quantization", "ImageNet", "far apart"],
)
def test_the_twin_for_the_edge_tpu_is_int8_throughout(
    normalization: dict[str, Any], source: Any, tmp_path: Path
) -> None:
    """One static image in, a quantized embedding out, one graph and no float op; the pixels are normalized in it."""
    source = replace(source, preprocessing=replace(source.preprocessing, **normalization))
    report = convert(source, tmp_path / "m.tflite", edgetpu=True)
    assert report.twin == tmp_path / "m.backbone.tflite"
    interpreter = open_interpreter(report.twin)
    interpreter.allocate_tensors()
    entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert (entry["dtype"], result["dtype"]) == (np.uint8, np.uint8)
    assert entry["shape_signature"].tolist() == [1, 32, 32, 3]
    interpreter.set_tensor(entry["index"], tiny.photo("red", 0)[np.newaxis])
    interpreter.invoke()
    scale, zero = result["quantization"]
    embedding = scale * (interpreter.get_tensor(result["index"])[0].astype(np.float32) - zero)
    expected = Embedder(ModelFile.open(report.path)).embed_one(tiny.photo("red", 0))
    assert np.allclose(embedding, expected, atol=3 * scale)
    assert not {detail["dtype"] for detail in interpreter.get_tensor_details()} & {np.float32}


# what goes wrong


def test_lost_weights_are_noticed(source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion of a Keras 3 model can lose the weights without an error: they are NaN then."""

    def forgetful(*arguments: Any, **options: Any) -> bytes:
        broken = tiny.backbone()
        broken.set_weights([np.full_like(value, np.nan) for value in broken.get_weights()])
        return backbone.convert_backbone(broken, tiny.PREPROCESSING, "none")

    monkeypatch.setattr(conversion, "convert_backbone", forgetful)
    with pytest.raises(ConversionError, match="weights of the converted backbone contain NaN"):
        convert(source, tmp_path / "m.tflite", quantize="none")
    assert not list(tmp_path.iterdir())


def test_a_backbone_that_lost_too_much_is_refused(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finite weights that differ from those of the source."""

    def mistaken(*arguments: Any, **options: Any) -> bytes:
        other = tiny.backbone()
        other.set_weights([-value for value in other.get_weights()])
        return backbone.convert_backbone(other, tiny.PREPROCESSING, "none")

    monkeypatch.setattr(conversion, "convert_backbone", mistaken)
    with pytest.raises(ConversionError, match=r"lost too much.*float16"):
        convert(source, tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_a_file_that_fails_verification_is_not_kept(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The initial weights of the head are compared when the file is reopened; an older file stays unchanged."""
    (tmp_path / "m.tflite").write_bytes(b"older")
    untaught = conversion.initial_weights(32, 32)
    joined = conversion._join
    monkeypatch.setattr(conversion, "_join", lambda features, _, *rest: joined(features, untaught, *rest))
    with pytest.raises(ConversionError, match="W does not start as written"):
        convert(source, tmp_path / "m.tflite", force=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


def test_nan_from_the_source_model_is_reported_as_such() -> None:
    """A fault of the training is not reported as one of the conversion, nor the other way round."""
    good, bad = np.ones((2, 32), np.float32), np.full((2, 32), np.nan, np.float32)
    with pytest.raises(ConversionError, match="source model itself returns NaN"):
        compare(bad, bad, [], None)
    with pytest.raises(ConversionError, match="converted backbone returns NaN"):
        compare(good, bad, [], None)


def test_existing_files_are_not_overwritten(source: Any, tmp_path: Path) -> None:
    """This is reported before the conversion."""
    (tmp_path / "m.tflite").write_bytes(b"older")
    with pytest.raises(StorageError, match="--force"):
        convert(source, tmp_path / "m.tflite")


def test_a_missing_output_folder_is_reported_before_the_conversion(source: Any, tmp_path: Path) -> None:
    """A conversion takes a minute; a wrong path must fail at once."""
    with pytest.raises(StorageError, match="create the folder"):
        convert(source, tmp_path / "nowhere" / "m.tflite")


def test_a_full_disk_leaves_nothing_behind(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no file under the final name, and no temporary file."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(modelfile, "write_container", full)
    with pytest.raises(StorageError, match="free some space"):
        convert(source, tmp_path / "m.tflite", quantize="none")
    assert not list(tmp_path.iterdir())


def test_the_capacity_follows_the_number_of_labels(source: Any, tmp_path: Path) -> None:
    """Without --capacity any number of labels is converted, with room for more."""
    labels = tuple(f"label {number:02d}" for number in range(43))
    head = (np.zeros((32, 43), np.float32), np.zeros(43, np.float32))
    photos = [path for path, _ in source.photos[:8]]
    model = replace(source, labels=labels, head=head, photos=())
    report = convert(model, tmp_path / "m.tflite", memory=False, calibrate=photos)
    assert (report.capacity, report.labels) == (64, labels)


def test_more_labels_than_columns_are_refused(source: Any, tmp_path: Path) -> None:
    """The message names the option that helps."""
    with pytest.raises(ConversionError, match=r"3 labels, which is more than the capacity 2.*--capacity"):
        convert(source, tmp_path / "m.tflite", capacity=2)


def test_missing_or_damaged_photos_are_named(source: Any, tmp_path: Path) -> None:
    """For moved photos the message names the option that helps."""
    shutil.copy(source.photos[0][0], tmp_path / "a.png")
    gone = replace(source, photos=((tmp_path / "gone.png", "blue"), *source.photos[1:]))
    with pytest.raises(ConversionError, match=r"gone\.png is no longer there.*--photos"):
        convert(gone, tmp_path / "m.tflite")
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(PhotoError, match=r"text\.jpg"):
        convert(source, tmp_path / "m.tflite", calibrate=[tmp_path / "text.jpg"])
    with pytest.raises(ConversionError, match="at least one photo"):
        convert(source, tmp_path / "m.tflite", calibrate=[])


def test_gray_photos_of_any_size_calibrate(tmp_path: Path) -> None:
    """Calibration reads photos with the function the device uses."""
    cv2.imwrite(str(tmp_path / "gray.png"), np.arange(0, 250, dtype=np.uint8).reshape(10, 25).repeat(4, 0))
    report = convert(tiny.trained_model(), tmp_path / "m.tflite", calibrate=[tmp_path / "gray.png"])
    assert report.calibration == "1 of 1 photos"


def test_an_unknown_quantization_is_refused(source: Any, tmp_path: Path) -> None:
    """The message lists the known names."""
    with pytest.raises(ConversionError, match="int8, int16x8, float16, dynamic, none, got 'int4'"):
        convert(source, tmp_path / "m.tflite", quantize="int4")


def test_a_backbone_with_an_op_that_has_no_builtin_is_refused(tmp_path: Path) -> None:
    """The message of the converter is passed on in one sentence."""
    import keras

    class Odd(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            import tensorflow as tf

            return tf.math.betainc(1.0, 2.0, tf.sigmoid(tf.reduce_mean(inputs, [1, 2])))

    model = TrainedModel(keras.Sequential([keras.Input((8, 8, 3)), Odd()]), "odd", Preprocessing(8, 8))
    with pytest.raises(ConversionError, match="converter refused the model"):
        convert(model, tmp_path / "m.tflite", quantize="none")


def _weights(path: Path) -> dict[str, Any]:
    reader = open_interpreter(path).get_signature_runner("get_weights")
    weights: dict[str, Any] = reader(unused=np.zeros(1, np.float32))
    return weights

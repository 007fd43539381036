"""A user's Keras model from its file to a model file, as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("tensorflow", reason="a Keras model needs TensorFlow")

import edgetl
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from edgetl.backbones.own import load_own, prepare_own
from edgetl.cli import main
from edgetl.errors import BackboneError
from tests import keras_models, tiny


def run(*arguments: object) -> Result:
    """Run edgetl in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of synthetic photos."""
    folder = tmp_path_factory.mktemp("photos")
    tiny.write_photos(folder)
    return folder


def pictures(count: int = 6) -> list[Any]:
    """Return photos of three colors, uint8 [40, 40, 3]."""
    return [tiny.photo(label, seed, 40) for seed in range(count // 3) for label in tiny.COLORS]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_converted_file_embeds_like_the_layer_of_the_model(
    suffix: str, photos: Path, tmp_path: Path
) -> None:
    """Pixels go in as they are, because the model scales them itself."""
    import keras

    model = keras_models.classifier()
    model.save(tmp_path / f"mine{suffix}")
    done = run(
        "convert", tmp_path / f"mine{suffix}", "--out", tmp_path / "m.tflite", "--quantize", "none", "--calibrate", photos
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "layer 'pool', the last pooled layer before the classifier, 16 numbers" in done.stdout
    assert "the model scales them itself (rescaling)" in " ".join(done.stdout.split())
    opened = ModelFile.open(tmp_path / "m.tflite")
    prepared = np.stack([opened.manifest.preprocessing.prepare(image) for image in pictures()])
    oracle = keras.Model(model.inputs[0], model.get_layer("pool").output)
    expected = np.asarray(oracle(prepared.astype(np.float32)))
    assert np.allclose(Embedder(opened, threads=1).embed_many(pictures()), expected, atol=1e-4)
    assert str(tmp_path) not in json.dumps(opened.manifest.described())


def test_an_int8_file_points_in_the_direction_of_its_source(photos: Path, tmp_path: Path) -> None:
    """The cosine of each embedding is high; the model is passed as an object."""
    model = keras_models.nested()
    report = edgetl.convert(model, tmp_path / "m.tflite", calibrate=photos)
    assert report.parity.cosine_min > 0.99
    assert report.source["embedding"].startswith("layer 'pool'")
    assert (report.backbone, report.dimensions) == ("nested", 16)


def test_a_gray_model_and_a_named_layer(tmp_path: Path) -> None:
    """The file takes one channel, and photos in color are turned gray."""
    keras_models.textbook().save(tmp_path / "mine.keras")
    own = load_own(tmp_path / "mine.keras", embedding_layer="conv")
    assert (own.preprocessing.channels, own.backbone.output_shape) == (1, (None, 4))
    assert "averaged over its places" in own.facts["embedding"]


def test_a_model_without_scaling_asks_for_the_range() -> None:
    """The question names the ranges of known networks; the answer becomes mean and std."""
    model = keras_models.classifier(scaled=False)
    with pytest.raises(
        BackboneError, match=r"nothing in it scales them\. Name them with --input-range: -1\.\.1 for"
    ):
        prepare_own(model, "mine")
    made = prepare_own(model, "mine", input_range="-1..1").preprocessing
    assert (made.mean, made.std) == ((127.5,) * 3, (127.5,) * 3)


def test_a_model_of_any_size_asks_for_the_size() -> None:
    """A size that is named is used; a malformed one is refused."""
    model = keras_models.classifier(side=None)
    with pytest.raises(BackboneError, match="--size HEIGHTxWIDTH"):
        prepare_own(model, "mine")
    made = prepare_own(model, "mine", size="24x40").preprocessing
    assert (made.height, made.width) == (24, 40)
    assert prepare_own(model, "mine", size=48).preprocessing.height == 48
    with pytest.raises(BackboneError, match="HEIGHTxWIDTH or one side"):
        prepare_own(model, "mine", size="big")


def test_a_size_that_the_layers_do_not_accept_is_refused() -> None:
    """A dense layer behind a flattened feature map needs the size it was trained with."""
    with pytest.raises(BackboneError, match="do not accept images of 32x32 pixels"):
        prepare_own(keras_models.textbook(), "mine", size=32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (keras_models.two_inputs, "2 inputs"),
        (keras_models.two_outputs, "2 outputs"),
        (keras_models.channels_first, "channels first"),
        (lambda: keras_models.classifier(channels=4), r"\[N, H, W, 3\] in RGB"),
    ],
)
def test_a_model_that_cannot_be_a_backbone_is_refused(make: Callable[[], Any], message: str) -> None:
    """The error comes before any photo is read."""
    with pytest.raises(BackboneError, match=message):
        prepare_own(make(), "mine")


def test_a_model_of_half_precision_is_computed_in_float32() -> None:
    """Its embeddings are close to those that it computed."""
    import keras

    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = keras_models.classifier()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    own = prepare_own(model, "mine")
    assert own.facts["precision"] == "mixed_float16, computed in float32 here"
    images = np.stack([own.preprocessing.prepare(image) for image in pictures()]).astype(np.float32)
    oracle = keras.Model(model.inputs[0], model.get_layer("pool").output)
    found, expected = np.asarray(own.backbone(images)), np.asarray(oracle(images), np.float32)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("make", [keras_models.with_lambda, keras_models.with_custom_class])
def test_a_file_with_code_is_refused_and_nothing_is_written(make: Callable[[], Any], tmp_path: Path) -> None:
    """The command fails with one sentence."""
    make().save(tmp_path / "mine.keras")
    refused = run("convert", tmp_path / "mine.keras", "--out", tmp_path / "m.tflite")
    assert refused.exit_code == 1
    assert "code from a file is never run" in " ".join(refused.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.keras"]


def test_options_of_a_keras_model_are_refused_with_anything_else(tmp_path: Path) -> None:
    """Nothing is ignored in silence."""
    refused = run("convert", "efficientnet-lite0", "--size", "64", "--out", tmp_path / "m.tflite")
    assert (refused.exit_code, "--size can only be used with a Keras model" in refused.output) == (1, True)
    with pytest.raises(BackboneError, match=r"a TrainedModel or a keras\.Model, got int"):
        edgetl.convert(3, tmp_path / "m.tflite")  # type: ignore[arg-type]


def test_an_unknown_name_is_answered_with_every_choice(tmp_path: Path) -> None:
    """The near one is suggested."""
    refused = " ".join(run("convert", "resnet28", "--out", tmp_path / "m.tflite").output.split())
    for part in ("did you mean 'resnet-28'?", "cnn-28", "efficientnet-lite0", "keras:MobileNetV2"):
        assert part in refused


def test_a_saved_model_is_converted_without_its_code(photos: Path, tmp_path: Path) -> None:
    """A model with a layer of the user's class can be exported, and the graph contains no Python."""
    import keras

    model = keras_models.classifier()
    model.export(tmp_path / "mine", verbose=False)
    done = run(
        "convert",
        tmp_path / "mine",
        "--out",
        tmp_path / "m.tflite",
        "--quantize",
        "none",
        "--calibrate",
        photos,
    )
    assert done.exit_code == 0, done.output
    assert "the last pooled layer before the classifier, 16 numbers" in " ".join(done.stdout.split())
    opened = ModelFile.open(tmp_path / "m.tflite")
    prepared = np.stack([opened.manifest.preprocessing.prepare(image) for image in pictures()])
    oracle = keras.Model(model.inputs[0], model.get_layer("pool").output)
    expected = np.asarray(oracle(prepared.astype(np.float32)))
    assert np.allclose(Embedder(opened, threads=1).embed_many(pictures()), expected, atol=1e-4)
    report = edgetl.convert(tmp_path / "mine", tmp_path / "q.tflite", calibrate=photos)
    assert report.parity.cosine_min > 0.99
    with pytest.raises(BackboneError, match="SavedModel, which cannot be trained"):
        edgetl.finetune(photos, tmp_path / "out", backbone=tmp_path / "mine")

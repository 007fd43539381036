"""Small networks trained from random weights, from the photos to the model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow; run: pip install 'edgetl[host]'")
pytest.importorskip("sklearn", reason="the digits need scikit-learn; run: pip install scikit-learn")

import cv2
from sklearn.datasets import load_digits

from converters import convert as convert_model
from converters.source import TrainedModel
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from edgetl import convert, finetune
from edgetl.backbones.small import SMALL, is_unsupervised, load_small
from edgetl.errors import BackboneError, TrainingError
from edgetl.training.crops import Crops
from edgetl.training.pipeline import Pipeline
from edgetl.training.whole import Recipe, WholeTraining

LABELS = 4
COUNT = 80  # photos per label


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of handwritten digits, gray PNG files of 8x8 pixels, one folder per label."""
    folder = tmp_path_factory.mktemp("digits")
    images, targets = load_digits().images, load_digits().target
    for label in range(LABELS):
        (folder / str(label)).mkdir()
        for number, image in enumerate(images[targets == label][:COUNT]):
            cv2.imwrite(str(folder / str(label) / f"{number:02d}.png"), (image * 15.9).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The outcome of training cnn-28 on the digits."""
    out = tmp_path_factory.mktemp("trained") / "digits"
    return finetune(photos, out, backbone="cnn-28", epochs=20, batch=16, head_epochs=20, flip=False)


def batches(photos: Path, part: slice, folder: Path) -> Pipeline:
    """Return some photos of each label, with light augmentation in training."""
    paths = [path for label in range(LABELS) for path in sorted((photos / str(label)).glob("*.png"))[part]]
    targets = np.array([int(path.parent.name) for path in paths], np.int64)
    crops = Crops(0.7, flip=False, vertical_flip=False, brightness=0.15, varied=True)
    return Pipeline(paths, targets, load_small("cnn-28")[1], crops, 0, 16, folder)


def phase(name: str, epochs: int) -> WholeTraining:
    """Return the training of a network with seeded weights."""
    import keras

    keras.utils.set_random_seed(3)
    return WholeTraining(load_small(name)[0], np.ones(LABELS), Recipe(epochs, 2e-3, scratch=True))


def test_training_from_scratch_recognizes_held_out_digits(trained: Any) -> None:
    """The held-out photos did not train the network; chance is a quarter."""
    assert trained.metrics["validation"]["accuracy"] > 0.8
    compared = trained.metrics["comparison"]
    assert compared["tuned"] > compared["frozen"]  # frozen: the random weights of the start


def test_photos_that_trained_the_network_do_not_judge_it(trained: Any, tmp_path: Path) -> None:
    """Only held-out photos judge, in the folder and in the memory of the model file."""
    model = TrainedModel.load(trained.folder)
    assert model.tuned
    assert model.judges.sum() == trained.metrics["validation"]["photos"] < len(model.photos)
    opened = ModelFile.open(convert_model(model, tmp_path / "m.tflite").path)
    assert (opened.manifest.origin, opened.manifest.family) == ("trained here", "cnn")
    assert opened.manifest.held_out
    assert opened.manifest.held_out["photos"] == trained.metrics["validation"]["photos"]


def test_the_int8_file_of_cnn_28_is_small_and_gray(trained: Any, tmp_path: Path) -> None:
    """Under 150 KB with a head of 32 columns and the memory; it takes the gray of an RGB frame."""
    report = convert(trained.folder, tmp_path / "digits.tflite")
    assert report.capacity == 32
    assert report.path.stat().st_size < 150_000
    embedder = Embedder(ModelFile.open(report.path))
    assert embedder.embed_one(np.full((480, 640, 3), 90, np.uint8)).shape == (64,)


@pytest.mark.parametrize("name", [name for name in SMALL if not is_unsupervised(name)])
def test_every_small_network_learns(name: str, photos: Path, tmp_path: Path) -> None:
    """Its validation accuracy in inference mode, with the collected statistics, is far above chance."""
    run = phase(name, 12)
    training = batches(photos, slice(30), tmp_path / "training")
    run.run(training, batches(photos, slice(30, 50), tmp_path / "validation"))
    assert max(entry["validation_accuracy"] for entry in run.history) > 0.75


def test_training_continues_exactly_with_the_statistics_of_the_normalization(
    photos: Path, tmp_path: Path
) -> None:
    """Four epochs in one go and in two parts give the same weights and statistics."""
    training = batches(photos, slice(12), tmp_path)
    whole = phase("resnet-28", 4)
    kept: list[Any] = []
    whole.run(
        training,
        None,
        save=lambda arrays, state: kept.append((arrays, {**state, "history": list(state["history"])})),
    )
    rest = phase("resnet-28", 4)
    rest.run(training, None, resume=kept[1])
    assert [entry["loss"] for entry in rest.history] == pytest.approx(
        [entry["loss"] for entry in whole.history], rel=1e-3
    )
    for ours, theirs in zip(rest.backbone.get_weights(), whole.backbone.get_weights(), strict=True):
        assert np.allclose(ours, theirs, atol=1e-2)


def test_a_network_without_pretrained_weights_cannot_stay_unchanged(photos: Path, tmp_path: Path) -> None:
    """Training the head alone on random features is refused before the long work, and leaves no model."""
    with pytest.raises(TrainingError, match="no pretrained weights"):
        finetune(photos, tmp_path / "out", backbone="resnet-28", head_only=True)
    assert not (tmp_path / "out").exists()


def test_a_network_without_pretrained_weights_is_not_converted(tmp_path: Path) -> None:
    """The message names the command that trains it."""
    with pytest.raises(BackboneError, match="edgetl finetune PHOTOS --backbone cnn-28"):
        convert("cnn-28", tmp_path / "m.tflite")

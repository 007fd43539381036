"""What models learn from photos, judged by others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from device.errors import MeasurementError
from device.images import read_photo
from device.learner import Learner
from device.model.modelfile import ModelFile
from edgetl.measuring.accuracy import ALL, DRAWS, Accuracy, measure_accuracy
from edgetl.measuring.held_out import part_photos
from tests.tiny import TINY, TINY_TAUGHT, write_photos

LABELS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with twelve photos of each of three labels."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 12)
    return folder


@pytest.fixture(scope="module")
def found(photos: Path) -> Accuracy:
    """Return the accuracies of two models with two heads."""
    models = [ModelFile.open(TINY), ModelFile.open(TINY_TAUGHT)]
    return measure_accuracy(models, photos, heads=("exact", "ncm"), shots=(1, ALL), threads=1)


def test_each_model_and_head_has_an_accuracy_per_number_of_photos(found: Accuracy) -> None:
    """More photos are no worse, on these easy ones; models with the same model part share one entry."""
    entries = {(model.name, model.head): model.shots for model in found.models}
    assert {head for _, head in entries} == {"exact", "ncm"}
    for shots in entries.values():
        assert [shot.shots for shot in shots] == [1, ALL]
        assert [shot.draws for shot in shots] == [DRAWS, 1]
        assert shots[1].accuracy >= 0.6
        for shot in shots:
            assert shot.lowest <= shot.accuracy <= shot.highest
            assert len(shot.right) == found.judged
            assert np.mean(shot.right) / shot.draws == pytest.approx(shot.accuracy, abs=1e-3)
            assert shot.interval[0] < shot.accuracy <= shot.interval[1]


def test_the_accuracy_is_that_of_a_learner_which_is_taught_these_photos(
    photos: Path, found: Accuracy
) -> None:
    """Another path through the product: the learner embeds, teaches and predicts."""
    parted = part_photos(photos)
    with Learner.open(TINY, None, threads=1) as learner:
        learner.learn_many([read_photo(e.path) for e in parted.taught], [e.label for e in parted.taught])
        predicted = [
            entry.label for entry in learner.predict_many([read_photo(e.path) for e in parted.judged])
        ]
    right = [int(label == entry.label) for label, entry in zip(predicted, parted.judged, strict=True)]
    shot = next(model for model in found.models if (model.name, model.head) == (TINY.name, "exact")).shots[1]
    assert shot.accuracy == pytest.approx(np.mean(right), abs=1e-4)


def test_a_model_that_was_taught_photos_which_judge_is_noted(tmp_path: Path) -> None:
    """Its memory contains them."""
    pairs = write_photos(tmp_path / "photos", 8)
    with Learner.open(TINY, None, threads=1) as learner:
        learner.learn_many([read_photo(path) for path, _ in pairs], [label for _, label in pairs])
        learner.export(tmp_path / "taught.tflite")
    taught, untaught = ModelFile.open(tmp_path / "taught.tflite"), ModelFile.open(TINY)
    result = measure_accuracy([taught], tmp_path / "photos", shots=(ALL,), threads=1)
    fresh = measure_accuracy([untaught], tmp_path / "photos", shots=(ALL,), threads=1)
    assert any("was taught" in note and "too good" in note for note in result.notes)
    assert not any("too good" in note for note in fresh.notes)


def test_unreadable_photos_are_left_out_and_noted(tmp_path: Path) -> None:
    """Their names end in .png, their content does not decode."""
    write_photos(tmp_path, 8)
    good = (tmp_path / "red" / "003.png").read_bytes()
    (tmp_path / "red" / "003.png").write_bytes(good[:60])
    result = measure_accuracy([ModelFile.open(TINY)], tmp_path, shots=(ALL,), threads=1)
    assert any("cannot be read" in note for note in result.notes)


def test_a_folder_in_which_no_photo_can_judge_is_refused(tmp_path: Path) -> None:
    """Two photos per label are too few."""
    write_photos(tmp_path, 2)
    with pytest.raises(MeasurementError, match="three photos"):
        measure_accuracy([ModelFile.open(TINY)], tmp_path)


def test_a_head_without_room_for_the_labels_is_refused(tmp_path: Path) -> None:
    """The message contains the numbers."""
    write_photos(tmp_path, 5)
    for number in range(7):
        shutil.copytree(tmp_path / "red", tmp_path / f"label{number}")
        for place, path in enumerate(sorted((tmp_path / f"label{number}").iterdir())):
            write_one(path, 100 * number + place)
    with pytest.raises(MeasurementError, match="room for 8 labels"):
        measure_accuracy([ModelFile.open(TINY)], tmp_path, heads=("softmax",), shots=(ALL,))


def write_one(path: Path, seed: int) -> None:
    """Write a picture of noise."""
    import cv2

    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (48, 48, 3), np.uint8))

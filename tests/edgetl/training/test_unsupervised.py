"""gan-28 from a folder of photos to the model file: what it learns from, how it is judged, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow; run: pip install 'edgetl[host]'")
pytest.importorskip("sklearn", reason="the digits need scikit-learn; run: pip install scikit-learn")

import cv2
from sklearn.datasets import load_digits

from converters.source import TrainedModel
from device.errors import HeadError
from device.images import read_photo
from device.learner import Learner
from device.model.modelfile import ModelFile
from device.model.preprocess import Preprocessing
from edgetl import convert, finetune
from edgetl.errors import PhotoFolderError, TrainingError
from edgetl.photos import find_photos, find_unlabeled
from edgetl.training.unsupervised import GanFigures, measure_diversity, read_prepared, tile

LABELS, LABELED, MORE = 3, 20, 40


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Few labeled digits, and more digits in one folder without labels, which contains two of the labeled ones too."""
    labeled, more = tmp_path_factory.mktemp("labeled"), tmp_path_factory.mktemp("more")
    images, targets = load_digits().images, load_digits().target
    for label in range(LABELS):
        (labeled / str(label)).mkdir()
        chosen = images[targets == label][: LABELED + MORE]
        for number, image in enumerate(chosen):
            folder = labeled / str(label) if number < LABELED else more
            cv2.imwrite(str(folder / f"{label}-{number:02d}.png"), (image * 15.9).astype(np.uint8))
    for number in range(2):
        name = f"0-{number:02d}.png"
        (more / f"copy-{name}").write_bytes((labeled / "0" / name).read_bytes())
    return labeled, more


@pytest.fixture(scope="module")
def trained(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The outcome of training gan-28 for a few epochs."""
    out = tmp_path_factory.mktemp("trained") / "digits"
    return finetune(
        folders[0], out, backbone="gan-28", unlabeled=folders[1], epochs=3, batch=16, head_epochs=10
    )


@pytest.fixture(scope="module")
def model_file(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 file with the generator."""
    path = tmp_path_factory.mktemp("file") / "digits.tflite"
    return convert(trained.folder, path, generator=True).path


def test_the_gan_learns_from_training_photos_and_unlabeled_ones(trained: Any) -> None:
    """Held-out photos are not among them, and copies count once."""
    held_out = trained.metrics["validation"]["photos"]
    figures = trained.metrics["gan"]
    assert figures["unlabeled"] == LABELS * MORE
    assert figures["photos"] == LABELS * (LABELED + MORE) - held_out
    assert (figures["judged"], figures["held_out"]) == (held_out, True)


def test_the_features_are_judged_beside_pixels_and_untrained_features(trained: Any) -> None:
    """All three accuracies are in metrics.json, with the losses of every epoch."""
    metrics = json.loads((trained.folder / "metrics.json").read_text())
    for name in ("features", "untrained", "pixels"):
        assert 0.5 < metrics["gan"][name] <= 1
    epochs = [entry for entry in metrics["history"] if entry["phase"] == 4]
    assert len(epochs) == metrics["epochs"]["all"] == 3
    assert metrics["epochs"]["all_kept"] >= 1
    assert all("validation_accuracy" in entry for entry in epochs)


def test_the_result_contains_a_picture_of_generated_images(trained: Any) -> None:
    """Ten rows of ten images of 28x28 pixels, which are not all the same."""
    picture = read_photo(trained.folder / "samples.png")
    assert picture.shape == (280, 280, 3)
    assert not (picture[:28, :28] == picture[28:56, :28]).all()


def test_the_generator_is_saved_with_the_model(trained: Any) -> None:
    """Reading the folder returns the same generator; all photos may judge, because the GAN did not see their labels."""
    model = TrainedModel.load(trained.folder)
    noise = np.random.default_rng(0).standard_normal((4, 32)).astype(np.float32)
    ours, theirs = (np.asarray(one.generator(noise, training=False)) for one in (model, trained.model))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert not model.tuned
    assert model.judges.all()


def test_the_int8_file_without_generator_is_small_and_gray(trained: Any, tmp_path: Path) -> None:
    """Under 150 KB without the memory, like the other networks of 28x28 pixels."""
    report = convert(trained.folder, tmp_path / "digits.tflite", memory=False)
    assert report.capacity == 32
    assert report.path.stat().st_size < 150_000
    manifest = ModelFile.open(report.path).manifest
    assert (manifest.preprocessing.channels, manifest.origin, manifest.family) == (1, "trained here", "gan")


def test_a_softmax_head_replays_generated_images(model_file: Path, folders: tuple[Path, Path]) -> None:
    """It learns a new label, and two learners with the same samples agree."""
    learners = []
    for _ in range(2):
        with Learner.open(
            model_file, None, head="softmax", threads=1, options={"replay": "generated"}
        ) as learner:
            photos = [read_photo(path) for path in sorted((folders[0] / "2").glob("*.png"))[:8]]
            learner.learn_many([255 - photo for photo in photos], ["inverted"] * len(photos))
            assert learner.predict_one(255 - photos[0]).label == "inverted"
            learners.append(learner.head.digest())
    assert learners[0] == learners[1]


def test_replay_of_generated_images_is_refused_where_it_cannot_work(
    trained: Any, model_file: Path, tmp_path: Path
) -> None:
    """Another head does not replay, a file may lack the generator, and the name of the replay is checked."""
    with pytest.raises(HeadError, match="only the softmax head replays, got --head exact"):
        Learner.open(model_file, None, options={"replay": "generated"})
    with pytest.raises(HeadError, match="one of stored, generated, got 'none'"):
        Learner.open(model_file, None, head="softmax", options={"replay": "none"})
    plain = convert(trained.folder, tmp_path / "plain.tflite").path
    with pytest.raises(HeadError, match=r"no generator.*--generator"):
        Learner.open(plain, None, head="softmax", options={"replay": "generated"})


def test_all_photos_judge_where_none_is_held_out(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Each is left out of the head alone, because the GAN does not use labels."""
    outcome = finetune(
        folders[0], tmp_path / "out", backbone="gan-28", epochs=1, head_epochs=2, validation=0.0
    )
    figures = outcome.metrics["gan"]
    assert (figures["judged"], figures["held_out"], figures["unlabeled"]) == (LABELS * LABELED, False, 0)
    assert figures["features"] > 0.5


def test_unlabeled_photos_are_refused_where_they_are_of_no_use(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Other backbones need labels; the folder must exist and contain other photos."""
    with pytest.raises(TrainingError, match="cnn-28 cannot learn from photos without labels"):
        finetune(folders[0], tmp_path / "out", backbone="cnn-28", unlabeled=folders[1])
    with pytest.raises(PhotoFolderError, match="does not exist"):
        finetune(folders[0], tmp_path / "out", backbone="gan-28", unlabeled=tmp_path / "missing")
    with pytest.raises(PhotoFolderError, match="no photo that is not among the labeled ones"):
        finetune(folders[0], tmp_path / "out", backbone="gan-28", unlabeled=folders[0])
    assert not (tmp_path / "out").exists()


def test_unlabeled_copies_of_labeled_photos_are_left_out(folders: tuple[Path, Path]) -> None:
    """A held-out photo must not come back without its label."""
    found = find_unlabeled(folders[1], find_photos(folders[0]))
    assert len(found) == LABELS * MORE
    assert not [path for path in found if path.name.startswith("copy-")]


def test_useless_features_and_a_collapsed_generator_are_reported() -> None:
    """The warnings have the figures; good ones give no warning."""
    good = GanFigures(100, 50, 20, True, features=0.9, untrained=0.8, pixels=0.7, diversity=0.9)
    assert good.warnings == []
    (useless,) = replace(good, features=0.7).warnings
    assert "no useful features" in useless
    assert "0.700" in useless
    (collapsed,) = replace(good, diversity=0.1).warnings
    assert "the generator has collapsed" in collapsed


def test_diversity_compares_the_variation_of_images() -> None:
    """1 for the photos themselves, 0 for equal images."""
    photos = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 1)).astype(np.uint8)
    assert measure_diversity(photos, photos) == 1
    assert measure_diversity(np.repeat(photos[:1], 30, axis=0), photos) == 0
    assert measure_diversity(photos, np.zeros_like(photos)) == 0


def test_the_picture_has_rows_of_ten() -> None:
    """The first image is at the top left, the eleventh below it."""
    images = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 1), np.uint8)
    picture = tile(images)
    assert picture.shape == (6, 20)
    assert (picture[0, 0], picture[0, 2], picture[3, 0], picture[5, 19]) == (0, 1, 10, 19)


def test_photos_that_cannot_be_read_are_skipped(tmp_path: Path) -> None:
    """Their places are None, and the others are prepared."""
    cv2.imwrite(str(tmp_path / "good.png"), np.full((8, 8), 200, np.uint8))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    gray = Preprocessing(28, 28, mean=(127.0,), std=(128.0,), channels=1)
    bad, good = read_prepared([tmp_path / "bad.png", tmp_path / "good.png"], gray, lambda *_: None)
    assert bad is None
    assert good is not None
    assert good.shape == (28, 28, 1)

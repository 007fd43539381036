"""Training all layers, on a tiny backbone with batch normalization and synthetic photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

import cv2

from device.errors import PhotoError
from device.model.preprocess import Preprocessing
from edgetl.errors import TrainingError
from edgetl.training.crops import Crops
from edgetl.training.pipeline import Pipeline
from edgetl.training.whole import Recipe, WholeTraining
from tests import tiny

SIDE = 16
RECIPE = Recipe(epochs=6, rate=0.01)


def make_backbone(channels: int = 3) -> Any:
    """Return a convolution with batch normalization, ReLU and pooling, always with the same weights."""
    import keras

    layers = keras.layers
    image = keras.Input((SIDE, SIDE, channels))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(12, 3, strides=2, name="conv")(image))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.ReLU()(x)))
    generator = np.random.default_rng(3)
    kernel = model.get_layer("conv").kernel
    kernel.assign(generator.normal(0, 0.3, kernel.shape))
    return model


def make_pipeline(folder: Path, count: int = 12, first: int = 0, seed: int = 0, **options: Any) -> Pipeline:
    """Write photos of three colors and return batches of eight of them."""
    pairs = tiny.write_photos(folder / f"photos{first}", count, first=first)
    names = sorted(tiny.COLORS)
    preprocessing = Preprocessing(SIDE, SIDE, resize="squash")
    targets = np.array([names.index(label) for _, label in pairs], np.int64)
    settings: dict[str, Any] = {
        "crops": Crops(area=0.6),
        "seed": seed,
        "batch": 8,
        "folder": folder / "reduced",
    }
    return Pipeline([path for path, _ in pairs], targets, preprocessing, **settings | options)


def mislabel(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline with another class for each photo."""
    return replace(pipeline, targets=(pipeline.targets + 1) % 3)


def make_phase(recipe: Recipe = RECIPE, channels: int = 3) -> WholeTraining:
    """Return untrained training of the tiny backbone with three classes."""
    return WholeTraining(make_backbone(channels), np.ones(3), recipe)


def vectors(phase: WholeTraining) -> list[np.ndarray]:
    """Return every weight of the backbone and the head."""
    return [*phase.backbone.get_weights(), np.array(phase.weights), np.array(phase.bias)]


def test_training_all_layers_learns(tmp_path: Path) -> None:
    """The loss falls, the layers change, and other photos are recognized."""
    phase, start = make_phase(), make_backbone().get_weights()
    phase.run(make_pipeline(tmp_path), make_pipeline(tmp_path, first=100))
    assert phase.history[-1]["loss"] < 0.8 * phase.history[0]["loss"]
    assert phase.history[phase.best_epoch - 1]["validation_accuracy"] >= 0.9
    assert not np.array_equal(start[0], phase.backbone.get_weights()[0])


@pytest.mark.parametrize("scratch", [False, True])
def test_statistics_of_normalization_change_only_from_scratch(tmp_path: Path, scratch: bool) -> None:
    """A pretrained backbone keeps its own; a new one has to find them."""
    phase = make_phase(Recipe(epochs=1, scratch=scratch))
    norm = phase.backbone.get_layer("norm")
    before = [np.array(norm.moving_mean), np.array(norm.moving_variance)]
    phase.run(make_pipeline(tmp_path), None)
    after = [np.array(norm.moving_mean), np.array(norm.moving_variance)]
    same = [np.array_equal(one, other) for one, other in zip(before, after, strict=True)]
    assert same == [not scratch, not scratch]


def test_the_head_starts_at_zero_so_that_the_first_loss_is_that_of_chance(tmp_path: Path) -> None:
    """The natural logarithm of three classes."""
    phase = make_phase()
    assert not np.array(phase.weights).any()
    images, targets = next(make_pipeline(tmp_path).training(0))
    loss, _ = phase._train((images, targets), 0, 0.0)
    assert loss == pytest.approx(np.log(3), abs=1e-5)


def test_an_interrupted_training_continues_exactly(tmp_path: Path) -> None:
    """The process is killed in the fourth epoch: weights, best epoch and history end as without that."""
    training, validation = make_pipeline(tmp_path), make_pipeline(tmp_path, first=100)
    whole = make_phase()
    whole.run(training, validation)
    kept: list[Any] = []

    def kill(task: str, done: int, total: int | None) -> None:
        if "epoch 4" in task and done == 2:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        make_phase().run(
            training, validation, save=lambda arrays, state: kept.append((arrays, state)), progress=kill
        )
    assert len(kept) == 3
    continued = make_phase()
    continued.run(training, validation, resume=kept[-1])
    assert continued.best_epoch == whole.best_epoch
    assert len(continued.history) == len(whole.history)
    for one, other in zip(vectors(whole), vectors(continued), strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_ctrl_c_keeps_the_best_epoch_so_far(tmp_path: Path) -> None:
    """In the fourth epoch: the result is that of a training that saved the best of three."""
    training, validation = make_pipeline(tmp_path), make_pipeline(tmp_path, first=100)
    best: list[np.ndarray] = []

    def interrupt(task: str, done: int, total: int | None) -> None:
        if "epoch 4" in task:
            raise KeyboardInterrupt

    phase = make_phase()
    phase.run(
        training, validation, save=lambda arrays, _: best.append(arrays["best"].copy()), progress=interrupt
    )
    assert phase.interrupted
    assert (len(phase.history), 1 <= phase.best_epoch <= 3) == (3, True)
    assert np.array_equal(phase._vector(), best[-1])


def test_the_epoch_with_the_lowest_validation_loss_is_kept(tmp_path: Path) -> None:
    """A rate far too high makes later epochs worse than the first ones."""
    validation = make_pipeline(tmp_path, first=100)
    phase = make_phase(Recipe(epochs=5, rate=0.5, patience=5))
    phase.run(make_pipeline(tmp_path), validation)
    losses = [entry["validation_loss"] for entry in phase.history]
    assert phase.best_epoch == int(np.argmin(losses)) + 1
    assert phase._judge(validation)["loss"] == pytest.approx(min(losses), rel=1e-4)


def test_a_complete_schedule_keeps_its_last_epoch(tmp_path: Path) -> None:
    """Without a patience, even where validation photos with wrong labels have a loss that rises."""
    pipeline = make_pipeline(tmp_path)
    phase, alone = make_phase(Recipe(epochs=4, rate=0.02)), make_phase(Recipe(epochs=4, rate=0.02))
    phase.run(pipeline, mislabel(make_pipeline(tmp_path, first=100)))
    alone.run(pipeline, None)
    assert phase.best_epoch == len(phase.history) == 4
    for one, other in zip(vectors(phase), vectors(alone), strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_training_stops_without_improvement_in_the_second_half_only(tmp_path: Path) -> None:
    """Validation photos with wrong labels: the better the training, the higher their loss."""
    phase = make_phase(Recipe(epochs=12, rate=0.02, patience=2))
    phase.run(make_pipeline(tmp_path), mislabel(make_pipeline(tmp_path, first=100)))
    assert 6 <= len(phase.history) < 12


def test_the_same_seed_trains_the_same_backbone(tmp_path: Path) -> None:
    """Another seed does not."""
    results = []
    for seed in (0, 0, 1):
        phase = make_phase(Recipe(epochs=2, rate=0.01, seed=seed))
        phase.run(make_pipeline(tmp_path, seed=seed), None)
        results.append(np.concatenate([vector.ravel() for vector in vectors(phase)]))
    assert np.allclose(results[0], results[1], atol=1e-6)
    assert not np.allclose(results[0], results[2], atol=1e-4)


def test_measuring_the_speed_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """Weights and the state of the optimizer."""
    phase, fresh = make_phase(), make_phase()
    assert phase.measure_step(make_pipeline(tmp_path)) > 0
    pipeline = make_pipeline(tmp_path)
    phase.run(pipeline, None)
    fresh.run(pipeline, None)
    for one, other in zip(vectors(phase), vectors(fresh), strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_a_loss_that_is_not_finite_is_reported_with_the_rate(tmp_path: Path) -> None:
    """Weights of 1e30 overflow in the convolution."""
    phase = make_phase()
    phase.backbone.get_layer("conv").kernel.assign(np.full((3, 3, 3, 12), 1e38))
    with pytest.raises(TrainingError, match="lower --rate"):
        phase.run(make_pipeline(tmp_path), None)


def test_a_progress_task_has_the_time_left_and_the_accuracy_so_far(tmp_path: Path) -> None:
    """From the second epoch on."""
    tasks: list[str] = []

    def note(task: str, done: int, total: int | None) -> None:
        tasks.append(task)

    make_phase(Recipe(epochs=2)).run(
        make_pipeline(tmp_path), make_pipeline(tmp_path, first=100), progress=note
    )
    assert tasks[0] == "all layers, epoch 1 of 2"
    assert "min left, accuracy so far" in tasks[-1]


def test_the_schedule_is_shortened_where_time_runs_out(tmp_path: Path) -> None:
    """A second is not enough for 1000 epochs: the rate still falls to zero, and a killed run continues the same way."""
    training, kept, rates = make_pipeline(tmp_path), [], []

    def note(task: str, done: int, total: int | None) -> None:
        rates.append(float(phase._optimizer.learning_rate))

    phase = make_phase(Recipe(epochs=1000, rate=0.01))
    phase.run(
        training, None, seconds=0.001, save=lambda arrays, state: kept.append((arrays, state)), progress=note
    )
    assert len(phase.history) == phase.epochs == 2
    assert rates[-1] < 0.2 * max(rates)
    continued = make_phase(Recipe(epochs=1000, rate=0.01))
    continued.run(training, None, seconds=0.001, resume=kept[0])
    for one, other in zip(vectors(phase), vectors(continued), strict=True):
        assert np.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(("most", "epochs"), [(7, 7), (None, 3)])
def test_quick_epochs_are_followed_by_more(tmp_path: Path, most: int | None, epochs: int) -> None:
    """Three are planned in an hour that has room for many: the limit decides, and the rate still falls to zero."""
    phase = make_phase(Recipe(epochs=3, rate=0.01))
    phase.run(make_pipeline(tmp_path), None, seconds=3600, most=most)
    assert len(phase.history) == phase.epochs == epochs
    assert phase._position == pytest.approx(1)


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    """Ten epochs of ten steps: ten steps up to the highest rate, then down along a half cosine."""
    phase = make_phase(Recipe(epochs=10, rate=1.0))
    rates = []
    for epoch in range(10):
        phase._position = epoch / 10
        rates += [phase._rate(epoch, step / 10) for step in range(10)]
    assert rates[:10] == pytest.approx([0.02, *[step / 10 for step in range(1, 10)]])
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_every_epoch_has_each_photo_once_with_other_crops(tmp_path: Path) -> None:
    """The order and the crops depend on the epoch; batches are of nearly equal size."""
    pipeline = make_pipeline(tmp_path, count=11)
    first, again, second = (list(pipeline.training(epoch)) for epoch in (0, 0, 1))
    assert sorted(np.concatenate([targets for _, targets in first])) == sorted(pipeline.targets)
    assert [len(targets) for _, targets in first] == [7, 7, 7, 7, 5]
    assert all(np.array_equal(one[0], other[0]) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[0][0], second[0][0])


def test_plain_photos_are_prepared_as_on_the_device(tmp_path: Path) -> None:
    """Bit for bit, and in the order of the paths; without augmentation training photos are too."""
    from device.images import read_photo

    pipeline = make_pipeline(tmp_path, crops=Crops(varied=False))
    prepared = np.stack([pipeline.preprocessing.prepare(read_photo(path)) for path in pipeline.paths])
    expected = pipeline.preprocessing.normalize(prepared)
    assert np.array_equal(np.concatenate([images for images, _ in pipeline.plain()]), expected)
    order = np.random.default_rng([0, 3, 0]).permutation(len(pipeline.paths))
    assert np.array_equal(np.concatenate([images for images, _ in pipeline.training(0)]), expected[order])


def test_a_large_photo_is_reduced_once_and_gives_the_same_crops_from_disk(tmp_path: Path) -> None:
    """A photo of 20 times the input is kept at twice the input's sides or a little more."""
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (320, 400, 3), np.uint8))
    pipeline = Pipeline(
        [path], np.zeros(1, np.int64), Preprocessing(SIDE, SIDE), Crops(), 0, 8, tmp_path / "reduced"
    )
    first, second = (next(pipeline.training(0))[0] for _ in range(2))
    kept = cv2.imread(str(tmp_path / "reduced" / "0.jpg"))
    assert kept.shape == (32, 40, 3)
    assert np.array_equal(first, second)


def test_a_large_photo_without_variation_is_prepared_once(tmp_path: Path) -> None:
    """Bit for bit as on the device, also when it comes from disk."""
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (320, 400, 3), np.uint8))
    pipeline = Pipeline(
        [path], np.zeros(1, np.int64), Preprocessing(SIDE, SIDE), Crops(), 0, 8, tmp_path / "validation"
    )
    first = next(pipeline.plain())[0]
    path.unlink()
    assert np.array_equal(first, next(pipeline.plain())[0])


def test_a_gray_backbone_trains_from_scratch(tmp_path: Path) -> None:
    """Bright and dark discs of one channel, with normalization in training mode."""
    gray = Preprocessing(SIDE, SIDE, resize="squash", mean=(128.0,), std=(64.0,), channels=1)
    pipeline = replace(make_pipeline(tmp_path), preprocessing=gray)
    assert next(pipeline.training(0))[0].shape == (8, SIDE, SIDE, 1)
    phase = make_phase(Recipe(epochs=3, rate=0.02, scratch=True), channels=1)
    phase.run(pipeline, None)
    assert phase.history[-1]["loss"] < phase.history[0]["loss"]


def test_a_photo_that_disappears_during_training_is_named(tmp_path: Path) -> None:
    """Not a message of TensorFlow."""
    pipeline = make_pipeline(tmp_path)
    pipeline.paths[3].unlink()
    with pytest.raises(PhotoError, match=pipeline.paths[3].name):
        make_phase().run(pipeline, None)

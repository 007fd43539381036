"""The training of a GAN: finite losses, both networks learn, seeds reproduce it, and it continues from a checkpoint."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow; run: pip install 'edgetl[host]'")

from device.images import Image
from edgetl.backbones.registry import require_keras
from edgetl.backbones.small import load_small
from edgetl.errors import TrainingError
from edgetl.training.adversarial import GanRecipe, GanTraining, steps_per_epoch, to_pixels

require_keras()


def strokes(count: int, seed: int = 0) -> Image:
    """Return white strokes on black, uint8 [count, 28, 28, 1]."""
    random = np.random.default_rng(seed)
    pictures = np.zeros((count, 28, 28), np.uint8)
    for picture in pictures:
        ends = random.integers(5, 23, (2, 2)).tolist()
        cv2.line(picture, ends[0], ends[1], 255, 3)
    return pictures[..., None]


def trained(epochs: int, judge: Any = None, **more: Any) -> GanTraining:
    """Return a training of some epochs of three steps each."""
    training, preprocessing = fresh(epochs, more.pop("seed", 3), more.pop("rate", 1e-3))
    training.run(strokes(48), preprocessing, judge, **more)
    return training


def fresh(epochs: int, seed: int = 3, rate: float = 1e-3) -> tuple[GanTraining, Any]:
    """Return a training with seeded weights, and the preprocessing."""
    import keras

    keras.utils.set_random_seed(seed)
    features, preprocessing = load_small("gan-28")
    return GanTraining(features, GanRecipe(epochs, rate, batch=16, seed=seed)), preprocessing


def weights_of(training: GanTraining) -> list[np.ndarray]:
    """Return the weights of both networks."""
    return [*training.discriminator.get_weights(), *training.generator.get_weights()]


def test_both_networks_learn_and_losses_are_finite() -> None:
    """Every epoch has its losses and shares; the discriminator and the generator change."""
    before, _ = fresh(4)
    start = [value.copy() for value in weights_of(before)]
    run = trained(4)
    assert [entry["epoch"] for entry in run.history] == [1, 2, 3, 4]
    for entry in run.history:
        assert np.isfinite([entry["loss"], entry["generator_loss"], entry["seconds"]]).all()
        assert 0 <= entry["photos_recognized"] <= 1
        assert 0 <= entry["generated_recognized"] <= 1
    changed = [not np.array_equal(a, b) for a, b in zip(start, weights_of(run), strict=True)]
    kernels = [index for index, value in enumerate(start) if value.ndim > 1]
    # the components of the backbone are not part of either network's training
    assert all(changed[index] for index in kernels)
    assert run.best_epoch == 4


def test_the_discriminator_learns_to_recognize_photos() -> None:
    """After some epochs it distinguishes strokes from the blurs of an untrained generator; a coin would be right for half."""
    run = trained(8)
    logits = np.asarray(
        run.discriminator(load_small("gan-28")[1].normalize(strokes(32, seed=9)), training=False)
    )
    blurs = np.asarray(fresh(1, seed=77)[0].generator(np.zeros((1, 32), np.float32), training=False))
    assert logits.mean() > float(np.asarray(run.discriminator(blurs, training=False))[0, 0])


def test_the_same_seed_reproduces_the_training() -> None:
    """Losses and images agree; another seed gives others."""
    first, again, other = trained(2), trained(2), trained(2, seed=4)
    assert [entry["loss"] for entry in first.history] == pytest.approx(
        [entry["loss"] for entry in again.history], rel=1e-3
    )
    assert np.abs(first.draw(10).astype(int) - again.draw(10)).mean() < 1
    assert first.history[0]["loss"] != pytest.approx(other.history[0]["loss"], rel=1e-4)


def test_training_continues_from_a_checkpoint() -> None:
    """Four epochs in one go and in two parts give the same weights."""
    kept: list[Any] = []

    def save(arrays: Any, state: Any) -> None:
        kept.append((arrays, {**state, "history": list(state["history"])}))

    whole = trained(4, save=save)
    assert len(kept) == 4
    rest = trained(4, resume=kept[1])
    assert len(rest.history) == 4
    assert [entry["loss"] for entry in rest.history] == pytest.approx(
        [entry["loss"] for entry in whole.history], rel=1e-2
    )
    for ours, theirs in zip(weights_of(rest), weights_of(whole), strict=True):
        assert np.allclose(ours, theirs, atol=2e-2)


def test_the_best_epoch_is_kept() -> None:
    """The judge prefers the second of three epochs, so its weights are restored."""
    ratings = iter([0.5, 0.9, 0.7])
    snapshots: list[list[np.ndarray]] = []
    training, preprocessing = fresh(3)

    def judge() -> float:
        snapshots.append([value.copy() for value in weights_of(training)])
        return next(ratings)

    training.run(strokes(48), preprocessing, judge)
    assert training.best_epoch == 2
    for kept, second in zip(weights_of(training), snapshots[1], strict=True):
        np.testing.assert_array_equal(kept, second)


def test_ctrl_c_keeps_the_best_epoch_so_far() -> None:
    """It ends the training without an error."""
    calls = iter([0.5, KeyboardInterrupt])

    def judge() -> float:
        value = next(calls)
        if value is KeyboardInterrupt:
            raise KeyboardInterrupt
        return float(value)  # type: ignore[arg-type]

    run = trained(5, judge)
    assert run.interrupted
    assert run.best_epoch == 1


def test_training_ends_when_the_time_is_over() -> None:
    """The first epoch always runs; no other one fits into a millisecond."""
    run = trained(50, seconds=1e-3)
    assert len(run.history) == run.best_epoch == 1


def test_long_trainings_are_judged_forty_times() -> None:
    """And after the last epoch."""
    ratings: list[int] = []

    def judge() -> float:
        ratings.append(1)
        return 0.0

    training, preprocessing = fresh(81)
    training.run(strokes(2), preprocessing, judge)
    assert len(ratings) == 27  # every third of 81 epochs
    assert training.best_epoch == 81


def test_a_loss_that_is_not_finite_is_refused() -> None:
    """The message names the rate."""
    with pytest.raises(TrainingError, match=r"NaN or infinite in epoch 1.*lower --rate"):
        trained(3, rate=1e30)


def test_drawn_images_are_pixels_of_prepared_photos() -> None:
    """They cover the full range, and the same training draws the same images."""
    run = trained(1)
    drawn = run.draw(20)
    assert (drawn.dtype, drawn.shape) == (np.uint8, (20, 28, 28, 1))
    np.testing.assert_array_equal(drawn, run.draw(20))
    assert to_pixels(np.array([-1, 0, 1, 2], np.float32)).tolist() == [0, 128, 255, 255]


def test_an_epoch_uses_every_photo() -> None:
    """The last batch is not dropped."""
    assert [steps_per_epoch(photos, 16) for photos in (1, 16, 17, 160)] == [1, 1, 2, 10]

"""Targets as probabilities, mixup, and the optimizers by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

from edgetl import finetune
from edgetl.errors import TrainingError
from edgetl.training.mixing import mix_photos, spread_targets
from edgetl.training.optimizers import OPTIMIZERS, RATES, make_optimizer
from edgetl.training.whole import Recipe
from tests import tiny
from tests.edgetl.training.test_whole import make_phase, make_pipeline


def test_targets_are_spread_by_the_smoothing() -> None:
    """With .3 over three classes the class keeps .8; without, all of it."""
    assert spread_targets(np.array([0, 2]), 3, 0.3) == pytest.approx(
        np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    )
    assert spread_targets(np.array([1]), 3, 0.0).tolist() == [[0, 1, 0]]


def test_mixup_blends_photos_and_targets_in_the_same_ratio() -> None:
    """An image that is the number of its class shows the ratio; the photo itself dominates."""
    targets = np.arange(6)
    images = targets.astype(np.float32)[:, None, None, None] * np.ones((6, 2, 2, 3), np.float32)
    ratios = []
    for step in range(20):
        mixed, spread = mix_photos(images, spread_targets(targets, 6, 0.0), 1.0, 0, step)
        assert mixed[:, 0, 0, 0] == pytest.approx(spread @ np.arange(6), abs=1e-5)
        assert spread.sum(axis=1) == pytest.approx(np.ones(6))
        assert (spread.argmax(axis=1) == targets).all()
        ratios.append(float(spread.max(axis=1).min()))
    assert min(ratios) >= 0.5
    assert len(set(ratios)) > 10


def test_mixup_depends_on_the_seed_and_the_step_alone() -> None:
    """So an interrupted training continues exactly."""
    images, spread = np.random.default_rng(0).random((4, 2, 2, 3), np.float32), np.eye(4, dtype=np.float32)
    first, again, other = (mix_photos(images, spread, 0.4, 0, step)[0] for step in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_training_with_mixup_learns_other_weights(tmp_path: Path) -> None:
    """They are finite, and those of every repetition."""
    results = []
    for mixup in (0.0, 0.4, 0.4):
        phase = make_phase(Recipe(epochs=2, rate=0.01, mixup=mixup))
        phase.run(make_pipeline(tmp_path), None)
        results.append(phase._vector().view(np.float32))
    assert np.isfinite(results[1]).all()
    assert np.allclose(results[1], results[2], atol=1e-6)
    assert not np.allclose(results[0], results[1], atol=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_a_parabola_and_decays_kernels_alone(name: str) -> None:
    """From 1 toward 0.5 with the gradient of a squared distance; without a gradient, the kernel shrinks and the bias does not."""
    import keras

    kernel, bias = keras.Variable(np.ones((2, 2)), name="kernel"), keras.Variable(np.ones(2), name="bias")
    optimizer = make_optimizer(name, RATES[name], [kernel, bias], gradient_norm=1.0)
    for _ in range(20):
        optimizer.apply([2 * (np.array(kernel) - 0.5), 2 * (np.array(bias) - 0.5)], [kernel, bias])
    assert (np.array(kernel) < 1).all()
    assert (np.array(bias) < 1).all()
    before = np.array(kernel), np.array(bias)
    decaying = make_optimizer(name, 0.1, [kernel, bias], weight_decay=0.1)
    decaying.apply([np.zeros((2, 2)), np.zeros(2)], [kernel, bias])
    assert (np.array(kernel) < before[0]).all()
    assert np.array_equal(np.array(bias), before[1])


def test_an_unknown_optimizer_and_a_negative_mixup_are_refused(tmp_path: Path) -> None:
    """Before the photos are read."""
    with pytest.raises(TrainingError, match="optimizer must be one of adamw, sgd, lion, got 'adam'"):
        finetune(tmp_path, tmp_path / "out", optimizer="adam")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="mixup must be 0 to 10"):
        finetune(tmp_path, tmp_path / "out", mixup=-1)


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize("layers", ["blocks", "all"])
def test_the_optimizer_of_the_options_trains(tmp_path: Path, layers: str) -> None:
    """The default rate is that of the optimizer: a fifth of it for the last blocks."""
    tiny.write_photos(tmp_path / "photos")
    outcome = finetune(
        tmp_path / "photos", tmp_path / "out", optimizer="sgd", layers=layers, epochs=1, head_epochs=2,
        copies=0, blocks=1 if layers == "blocks" else None, resize="squash",
    )  # fmt: skip
    settings = outcome.metrics["settings"]
    assert (settings["optimizer"], settings["rate"], settings["whole_rate"]) == ("sgd", 0.004, 0.02)
    assert outcome.metrics["epochs"][layers] == 1

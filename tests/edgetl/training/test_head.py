"""The first phase against finite differences and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from device.model.preprocess import Preprocessing
from edgetl.training.augment import vary
from edgetl.training.head import Examples, _gradient, balance, fit_head, probabilities, softmax
from edgetl.training.settings import Augmentation


@pytest.fixture
def examples() -> Examples:
    """Return three overlapping clouds in five dimensions."""
    chooser = np.random.default_rng(0)
    targets = np.repeat(np.arange(3), 40)
    return Examples(chooser.normal(size=(120, 5)) + 1.2 * np.eye(3, 5)[targets], targets)


def test_the_gradient_equals_finite_differences_of_the_loss(examples: Examples) -> None:
    """The loss is the weighted cross-entropy with decay; the differences are central."""
    weights = np.array([0.5, 1.0, 2.0])
    parameters = np.random.default_rng(1).normal(size=(6, 3))

    def loss(values: np.ndarray) -> float:
        given = softmax(examples.mapped @ values[:-1] + values[-1])
        picked = given[np.arange(120), examples.targets]
        return float(-(weights[examples.targets] * np.log(picked)).mean() + 0.5e-4 * (values[:-1] ** 2).sum())

    numeric = np.zeros_like(parameters)
    for place in np.ndindex(parameters.shape):
        step = np.zeros_like(parameters)
        step[place] = 1e-5
        numeric[place] = (loss(parameters + step) - loss(parameters - step)) / 2e-5
    assert np.abs(_gradient(parameters, examples, weights) - numeric).max() < 1e-8


def test_the_head_equals_logistic_regression_of_scikit_learn(examples: Examples) -> None:
    """The decay is the same, and probabilities differ by less than a point."""
    linear = pytest.importorskip("sklearn.linear_model")
    fit = fit_head(examples, None, np.ones(3), epochs=400, rate=0.02, batch=120, seed=0)
    peer = linear.LogisticRegression(C=1 / (120 * 1e-4), max_iter=2000).fit(examples.mapped, examples.targets)
    ours = probabilities(examples.mapped, fit.weights, fit.bias)
    assert np.abs(ours - peer.predict_proba(examples.mapped)).max() < 0.01


def test_the_best_epoch_is_kept(examples: Examples) -> None:
    """Training stops early by the validation loss."""
    held_out = Examples(examples.mapped[::3], examples.targets[::3])
    fit = fit_head(
        examples, held_out, balance(examples.targets, 3, True), epochs=30, rate=0.1, batch=16, seed=0
    )
    given = probabilities(held_out.mapped, fit.weights, fit.bias)
    loss = -np.log(given[np.arange(len(given)), held_out.targets]).mean()
    assert loss == pytest.approx(min(entry["validation_loss"] for entry in fit.history), rel=1e-4)


def test_gray_copies_have_one_channel_and_vary_in_light() -> None:
    """Brightness and contrast vary, and the shape is that of the input."""
    preprocessing = Preprocessing(24, 24, "squash", mean=(0.0,), std=(255.0,), channels=1)
    photo = np.random.default_rng(0).integers(60, 190, (24, 24, 3), np.uint8)
    lively = Augmentation(flip=False, crop=1.0, color=0.5)
    copies = [vary(photo, preprocessing, lively, np.random.default_rng(seed)) for seed in range(3)]
    assert all(copy.shape == (24, 24, 1) and copy.dtype == np.uint8 for copy in copies)
    assert len({copy.mean() for copy in copies}) == 3


def test_copies_vary_within_bounds_and_depend_on_the_seed_only() -> None:
    """Without any variation, a copy equals the prepared photo."""
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    preprocessing = Preprocessing(32, 32)
    still = Augmentation(copies=1, flip=False, crop=1.0, color=0.0)
    assert (vary(photo, preprocessing, still, np.random.default_rng(0)) == preprocessing.prepare(photo)).all()
    lively = Augmentation(copies=1)
    one, two = (vary(photo, preprocessing, lively, np.random.default_rng(5)) for _ in range(2))
    assert (one == two).all()
    assert (one != preprocessing.prepare(photo)).any()

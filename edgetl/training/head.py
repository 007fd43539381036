"""Phase 1: the softmax head, trained in NumPy on embeddings that were computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.progress import Progress, no_progress

from ..evaluation.figures import judge

Array = NDArray[np.float64]
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # default constants of Adam (Kingma and Ba 2015)
_DECAY = 1e-4  # weight decay; without it the weights of separable labels grow forever


@dataclass(frozen=True)
class HeadFit:
    """A trained head with its history.

    Attributes:
        weights: float32 [D, C] on mapped embeddings.
        bias: float32 [C].
        history: One entry per epoch.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Examples:
    """Mapped embeddings [N, D] and the indices of their labels [N]."""

    mapped: Array
    targets: NDArray[np.int64]


def fit_head(
    training: Examples,
    validation: Examples | None,
    class_weights: Array,
    *,
    epochs: int,
    rate: float,
    batch: int,
    seed: int,
    progress: Progress = no_progress,
) -> HeadFit:
    """Train a softmax head with Adam; the rate falls to zero along a half cosine.

    Args:
        training: Examples to train on.
        validation: Examples that choose the best epoch; None takes the last epoch.
        class_weights: [C], weight of an example of each label.
        epochs: Number of epochs.
        rate: Initial learning rate of Adam.
        batch: Number of examples per step.
        seed: Seed of the order.
        progress: Called as task "head" with the number of epochs.

    Returns:
        The head of the epoch with the lowest validation loss.
    """
    dimensions, classes = training.mapped.shape[1], len(class_weights)
    # the last row is the bias, whose input is constant
    parameters = np.zeros((dimensions + 1, classes))
    adam = _Adam(parameters.shape)
    best, lowest, history = parameters, np.inf, []
    steps = -(-len(training.targets) // batch)
    for epoch in range(epochs):
        order = np.random.default_rng([seed, 1, epoch]).permutation(len(training.targets))
        for step, rows in enumerate(np.array_split(order, steps)):
            part = Examples(training.mapped[rows], training.targets[rows])
            progressed = (epoch * steps + step) / (epochs * steps)
            gradient = _gradient(parameters, part, class_weights)
            parameters = parameters - rate * (1 + np.cos(np.pi * progressed)) / 2 * adam.step(gradient)
        entry = _measure(parameters, training, validation, class_weights)
        history.append({"phase": 1, "epoch": epoch + 1, **entry})
        judged = entry.get("validation_loss", -epoch)
        if judged < lowest:
            best, lowest = parameters, judged
        progress("head", epoch + 1, epochs)
    return HeadFit(best[:-1].astype(np.float32), best[-1].astype(np.float32), history)


def probabilities(mapped: Array, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> Array:
    """Return softmax(mapped @ weights + bias) as float64 [N, C]."""
    return softmax(mapped @ weights.astype(np.float64) + bias)


def softmax(logits: Array) -> Array:
    """Return the softmax over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    normalized: Array = powers / powers.sum(-1, keepdims=True)
    return normalized


def balance(targets: NDArray[np.int64], classes: int, weigh: bool) -> Array:
    """Return the weight of an example of each label: N / (C n_c), so that the mean over examples is 1."""
    counts = np.bincount(targets, minlength=classes)
    if not weigh:
        return np.ones(classes)
    weighed: Array = len(targets) / (classes * np.maximum(1, counts))
    return weighed


class _Adam:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.first, self.second, self.steps = np.zeros(shape), np.zeros(shape), 0

    def step(self, gradient: Array) -> Array:
        """Return the step for a learning rate of 1."""
        self.steps += 1
        self.first = _BETA1 * self.first + (1 - _BETA1) * gradient
        self.second = _BETA2 * self.second + (1 - _BETA2) * gradient**2
        mean = self.first / (1 - _BETA1**self.steps)
        spread = np.sqrt(self.second / (1 - _BETA2**self.steps))
        step: Array = mean / (spread + _EPSILON)
        return step


def _gradient(parameters: Array, examples: Examples, class_weights: Array) -> Array:
    errors = softmax(examples.mapped @ parameters[:-1] + parameters[-1])  # [N, C]
    errors[np.arange(len(errors)), examples.targets] -= 1
    errors *= class_weights[examples.targets, None] / len(errors)
    gradient = np.vstack([examples.mapped.T @ errors, errors.sum(0)])
    gradient[:-1] += _DECAY * parameters[:-1]
    return gradient


def _measure(
    parameters: Array, training: Examples, validation: Examples | None, class_weights: Array
) -> dict[str, float]:
    entry: dict[str, float] = {}
    for prefix, part in (("", training), ("validation_", validation)):
        if part is not None:
            given = softmax(part.mapped @ parameters[:-1] + parameters[-1])
            judged = judge(given, part.targets, class_weights)
            entry |= {f"{prefix}{name}": value for name, value in judged.items()}
    return entry

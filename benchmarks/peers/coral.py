"""Coral's two ways to learn on the device, from the descriptions in its documentation and examples.

Imprinting (Qi, Brown and Lowe 2018; coral.ai/docs/edgetpu/retrain-classification-ondevice): embeddings are
scaled to length one; the weights of a class are the mean of its embeddings, scaled to length one.

Backpropagation of the last layer (coral.ai/docs/edgetpu/retrain-classification-ondevice-backprop): softmax
regression on unscaled embeddings, weights drawn from a normal distribution of scale 0.05, 500 iterations of
plain SGD on random batches of 100, learning rate 0.01, no regularization: the settings of the example
``backprop_last_layer.py`` and of pycoral's own benchmark.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import Features, Owners

ITERATIONS = 500
_BATCH = 100
RATE = 1e-2
_SCALE = 5e-2


class Imprinting:
    """A classifier whose weights are normalized mean embeddings."""

    def __init__(self, dimensions: int, classes: int) -> None:
        self._sums = np.zeros((classes, dimensions))

    def learn(self, features: Features, owners: Owners) -> None:
        """Add embeddings of length one to their class."""
        length = np.linalg.norm(features, axis=1, keepdims=True)
        np.add.at(self._sums, owners, features / np.maximum(length, 1e-12))

    def predict(self, features: Features) -> Owners:
        """Return the class whose weights have the largest cosine with the embedding."""
        length = np.linalg.norm(self._sums, axis=1, keepdims=True)
        scores = features @ (self._sums / np.maximum(length, 1e-12)).T
        scores[:, length[:, 0] == 0] = -np.inf
        answers: Owners = scores.argmax(axis=1)
        return answers


class SoftmaxRegression:
    """A last layer trained by SGD, each time from the start on all samples; float32, as Coral's is.

    Args:
        dimensions: D.
        classes: C.
        iterations: Number of SGD steps.
        rate: Learning rate.
    """

    def __init__(
        self, dimensions: int, classes: int, iterations: int = ITERATIONS, rate: float = RATE
    ) -> None:
        self._random = np.random.default_rng(0)
        self._shape = (dimensions, classes)
        self._iterations, self._rate = iterations, rate
        self._features, self._owners = np.zeros((0, dimensions), np.float32), np.zeros(0, np.int64)
        self.W, self.b = np.zeros(self._shape, np.float32), np.zeros(classes, np.float32)

    def learn(self, features: Features | NDArray[np.float32], owners: Owners) -> None:
        """Keep the samples and train."""
        self._features = np.concatenate([self._features, features.astype(np.float32, copy=False)])
        self._owners = np.concatenate([self._owners, owners])
        self.W = (_SCALE * self._random.normal(size=self._shape)).astype(np.float32)
        self.b = np.zeros(self._shape[1], np.float32)
        rows = np.arange(_BATCH)
        for _ in range(self._iterations):
            batch = self._random.integers(0, len(self._features), _BATCH)
            x = self._features[batch]
            error = x @ self.W
            error += self.b
            error -= error.max(axis=1, keepdims=True)
            np.exp(error, out=error)
            error /= error.sum(axis=1, keepdims=True)
            error[rows, self._owners[batch]] -= 1
            error *= self._rate / _BATCH
            self.W -= x.T @ error
            self.b -= error.sum(axis=0)

    def predict(self, features: Features | NDArray[np.float32]) -> Owners:
        """Return the class with the largest logit."""
        answers: Owners = (features @ self.W + self.b).argmax(axis=1)
        return answers


def softmax(logits: Features) -> Features:
    """Return the probabilities of logits [N, C]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Features = powers / powers.sum(axis=1, keepdims=True)
    return probabilities

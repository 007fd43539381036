"""Coral's two ways to learn on the device, from the descriptions in its documentation and examples.

Imprinting (Qi, Brown and Lowe 2018; coral.ai/docs/edgetpu/retrain-classification-ondevice): embeddings are
scaled to length one, a class's weights are the mean of its embeddings scaled to length one.

Backpropagation of the last layer (coral.ai/docs/edgetpu/retrain-classification-ondevice-backprop): softmax
regression on the embeddings as they are, weights drawn from a normal distribution of scale 0.05, 500
iterations of plain SGD on batches of 100 drawn at random, learning rate 0.01, no regularisation.
"""

from __future__ import annotations

import numpy as np

from . import Features, Owners

ITERATIONS = 500
_BATCH = 100
_RATE = 1e-2
_SCALE = 5e-2


class Imprinting:
    """Weights are normalised mean embeddings."""

    def __init__(self, dimensions: int, classes: int) -> None:
        self._sums = np.zeros((classes, dimensions))

    def learn(self, features: Features, owners: Owners) -> None:
        """Add embeddings of length one to their class."""
        length = np.linalg.norm(features, axis=1, keepdims=True)
        np.add.at(self._sums, owners, features / np.maximum(length, 1e-12))

    def predict(self, features: Features) -> Owners:
        """Give the class whose weights point most the same way."""
        length = np.linalg.norm(self._sums, axis=1, keepdims=True)
        scores = features @ (self._sums / np.maximum(length, 1e-12)).T
        scores[:, length[:, 0] == 0] = -np.inf
        answers: Owners = scores.argmax(axis=1)
        return answers


class SoftmaxRegression:
    """The last layer by SGD, trained again from the start on all samples."""

    def __init__(self, dimensions: int, classes: int) -> None:
        self._random = np.random.default_rng(0)
        self._shape = (dimensions, classes)
        self._features, self._owners = np.zeros((0, dimensions)), np.zeros(0, np.int64)
        self.W, self.b = np.zeros(self._shape), np.zeros(classes)

    def learn(self, features: Features, owners: Owners) -> None:
        """Keep the samples and train."""
        self._features = np.concatenate([self._features, features])
        self._owners = np.concatenate([self._owners, owners])
        self.W, self.b = _SCALE * self._random.normal(size=self._shape), np.zeros(self._shape[1])
        for _ in range(ITERATIONS):
            batch = self._random.integers(0, len(self._features), _BATCH)
            self._step(self._features[batch], self._owners[batch])

    def predict(self, features: Features) -> Owners:
        """Give the class of the largest logit."""
        answers: Owners = (features @ self.W + self.b).argmax(axis=1)
        return answers

    def _step(self, x: Features, owners: Owners) -> None:
        error = softmax(x @ self.W + self.b)
        error[np.arange(len(x)), owners] -= 1
        error /= len(x)
        self.W -= _RATE * (x.T @ error)
        self.b -= _RATE * error.sum(axis=0)


def softmax(logits: Features) -> Features:
    """Give probabilities of logits [N, C]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Features = powers / powers.sum(axis=1, keepdims=True)
    return probabilities

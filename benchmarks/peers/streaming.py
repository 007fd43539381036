"""Learners for data streams, each implemented from its published equations."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from . import Features, Owners
from .coral import softmax

_RATE = 0.5  # learning rate of the SGD peers on features of length one, with too few samples to choose it
_RATES = (0.1, 0.5, 2.0)
# samples per class from which on a quarter is held out to choose the rate, as for the upper limit
_CHOOSABLE = 4
_REPLAYED = 20  # kept samples per class


class NearestNeighbors:
    """The three nearest neighbors by cosine; every sample is kept (project-teachable and Coral's examples)."""

    def __init__(self, dimensions: int, classes: int) -> None:
        self._classes = classes
        self._features, self._owners = np.zeros((0, dimensions)), np.zeros(0, np.int64)

    def learn(self, features: Features, owners: Owners) -> None:
        """Keep the samples."""
        self._features = np.concatenate([self._features, features])
        self._owners = np.concatenate([self._owners, owners])

    def predict(self, features: Features) -> Owners:
        """Return the majority class of the three nearest; ties go to the nearest."""
        near = np.argsort(-(features @ self._features.T), axis=1, kind="stable")[:, :3]
        votes = np.zeros((len(features), self._classes))
        for place in range(near.shape[1]):
            votes[np.arange(len(features)), self._owners[near[:, place]]] += 1 - 0.01 * place
        answers: Owners = votes.argmax(axis=1)
        return answers


class OnePassSgd:
    """Softmax regression with one step per sample, in their order."""

    def __init__(self, dimensions: int, classes: int, rate: float = _RATE) -> None:
        self.rate = rate
        self.W, self.b = np.zeros((dimensions, classes)), np.zeros(classes)

    def learn(self, features: Features, owners: Owners) -> None:
        """Take one step per sample."""
        for x, owner in zip(features, owners, strict=True):
            self._step(x[None], np.array([owner]))

    def predict(self, features: Features) -> Owners:
        """Return the class with the largest logit."""
        answers: Owners = (features @ self.W + self.b).argmax(axis=1)
        return answers

    def _step(self, x: Features, owners: Owners) -> None:
        error = softmax(x @ self.W + self.b)
        error[np.arange(len(x)), owners] -= 1
        self.W -= self.rate * (x.T @ error) / len(x)
        self.b -= self.rate * error.mean(axis=0)


class ReplaySgd(OnePassSgd):
    """One-pass SGD that adds a sample from each class's reservoir to every step (experience replay)."""

    def __init__(self, dimensions: int, classes: int, rate: float = _RATE) -> None:
        super().__init__(dimensions, classes, rate)
        self._random = np.random.default_rng(0)
        self._kept: dict[int, list[Features]] = {}
        self._seen = np.zeros(classes, np.int64)

    def learn(self, features: Features, owners: Owners) -> None:
        """Take one step per sample, on it and on one kept sample per class."""
        for x, owner in zip(features, owners.tolist(), strict=True):
            classes = sorted(self._kept)
            drawn = [self._kept[at][int(self._random.integers(len(self._kept[at])))] for at in classes]
            self._step(np.stack([x, *drawn]), np.array([owner, *classes]))
            self._keep(x, owner)

    def _keep(self, x: Features, owner: int) -> None:
        self._seen[owner] += 1
        shelf = self._kept.setdefault(owner, [])
        if len(shelf) < _REPLAYED:
            shelf.append(x)
        elif (place := int(self._random.integers(self._seen[owner]))) < _REPLAYED:
            shelf[place] = x


class Tuned:
    """An SGD peer that chooses its rate on a quarter of the first samples that it learns.

    Args:
        make: (dimensions, classes, rate) -> the peer.
        dimensions: D.
        classes: C.
    """

    def __init__(self, make: type[OnePassSgd], dimensions: int, classes: int) -> None:
        self._make, self._shape = make, (dimensions, classes)
        self._peer: OnePassSgd | None = None

    def learn(self, features: Features, owners: Owners) -> None:
        """Choose the rate, then learn all samples with it."""
        if self._peer is None:
            self._peer = self._make(*self._shape, self._chosen(features, owners))
        self._peer.learn(features, owners)

    def predict(self, features: Features) -> Owners:
        """Return the class with the largest logit."""
        if self._peer is None:
            return np.zeros(len(features), np.int64)
        return self._peer.predict(features)

    def _chosen(self, features: Features, owners: Owners) -> float:
        numbers = np.bincount(owners)
        if (numbers > 0).sum() < 2 or numbers[numbers > 0].min() < _CHOOSABLE:
            return _RATE
        held_out = np.arange(len(owners)) % 4 == 0
        scores = []
        for rate in _RATES:
            peer = self._make(*self._shape, rate)
            peer.learn(features[~held_out], owners[~held_out])
            scores.append(float((peer.predict(features[held_out]) == owners[held_out]).mean()))
        return _RATES[int(np.argmax(scores))]


def tuned(make: type[OnePassSgd]) -> Callable[[int, int], Tuned]:
    """Return a function that creates peers which choose their rate."""
    return lambda dimensions, classes: Tuned(make, dimensions, classes)


class DeepSlda:
    """Deep streaming linear discriminant analysis (Hayes and Kanan 2020, equations 2 to 5).

    For sample t (from 0) of class y: ``Sigma <- (t Sigma + Delta) / (t + 1)`` with
    ``Delta = t (x - mu_y)(x - mu_y)^T / (t + 1)``, then the mean moves; ``Lambda = ((1 - eps) Sigma + eps I)^-1``
    with eps = 1e-4; the score is ``Lambda mu . x - mu . Lambda mu / 2``. The rank-one terms are collected and
    added as one product, which is the same sum.
    """

    def __init__(self, dimensions: int, classes: int) -> None:
        self._means, self._counts = np.zeros((classes, dimensions)), np.zeros(classes, np.int64)
        self._terms: list[Features] = []
        self._scatter = np.zeros((dimensions, dimensions))
        self._seen = 0

    def learn(self, features: Features, owners: Owners) -> None:
        """Update the covariance and the means sample by sample."""
        for x, owner in zip(features, owners.tolist(), strict=True):
            t = self._seen
            self._terms.append((t / (t + 1)) ** 0.5 * (x - self._means[owner]))
            self._means[owner] += (x - self._means[owner]) / (self._counts[owner] + 1)
            self._counts[owner] += 1
            self._seen += 1
        terms = np.stack(self._terms)
        self._scatter += terms.T @ terms
        self._terms = []

    def predict(self, features: Features) -> Owners:
        """Return the class with the largest discriminant."""
        shrunk = (1 - 1e-4) * self._scatter / self._seen + 1e-4 * np.eye(len(self._scatter))
        W = np.linalg.solve(shrunk, self._means.T)
        scores = features @ W - 0.5 * np.einsum("cd,dc->c", self._means, W)
        scores[:, self._counts == 0] = -np.inf
        answers: Owners = scores.argmax(axis=1)
        return answers


class PartialFit:
    """scikit-learn's ``SGDClassifier`` with the logistic loss, one ``partial_fit`` per sample, as its user guide shows."""

    def __init__(self, dimensions: int, classes: int) -> None:
        from sklearn.linear_model import SGDClassifier

        self._model: Any = SGDClassifier(loss="log_loss", random_state=0)
        self._classes = np.arange(classes)

    def learn(self, features: Features, owners: Owners) -> None:
        """Learn one by one."""
        for number in range(len(features)):
            self._model.partial_fit(features[number : number + 1], owners[number : number + 1], self._classes)

    def predict(self, features: Features) -> Owners:
        """Return the class with the largest score."""
        answers: Owners = self._model.predict(features)
        return answers


class RiverSoftmax:
    """River's ``linear_model.SoftmaxRegression``, with features as dicts, which it requires."""

    def __init__(self, dimensions: int, classes: int) -> None:
        from river import linear_model, optim

        self._model: Any = linear_model.SoftmaxRegression(optimizer=optim.SGD(_RATE))
        self._names = list(range(dimensions))

    def learn(self, features: Features, owners: Owners) -> None:
        """Learn one by one."""
        for x, owner in zip(features, owners.tolist(), strict=True):
            self._model.learn_one(dict(zip(self._names, x.tolist(), strict=True)), owner)

    def predict(self, features: Features) -> Owners:
        """Predict one by one."""
        answers = [self._model.predict_one(dict(zip(self._names, x.tolist(), strict=True))) for x in features]
        return np.array([-1 if answer is None else answer for answer in answers], np.int64)


def has_river() -> bool:
    """Whether River is installed."""
    return importlib.util.find_spec("river") is not None

"""Learners of data streams, each from its published equations."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from . import Features, Owners
from .coral import softmax

_RATE = 0.5  # of the SGD peers on features of length one: picked by hand, not searched, so they may be under-tuned
_REPLAYED = 20  # samples a class, as in the experiments the field notes cite


class NearestNeighbours:
    """Three nearest by cosine, every sample kept (project-teachable and Coral's examples)."""

    def __init__(self, dimensions: int, classes: int) -> None:
        self._classes = classes
        self._features, self._owners = np.zeros((0, dimensions)), np.zeros(0, np.int64)

    def learn(self, features: Features, owners: Owners) -> None:
        """Keep the samples."""
        self._features = np.concatenate([self._features, features])
        self._owners = np.concatenate([self._owners, owners])

    def predict(self, features: Features) -> Owners:
        """Give the class of most of the three nearest; ties go to the nearest."""
        near = np.argsort(-(features @ self._features.T), axis=1, kind="stable")[:, :3]
        votes = np.zeros((len(features), self._classes))
        for place in range(near.shape[1]):
            votes[np.arange(len(features)), self._owners[near[:, place]]] += 1 - 0.01 * place
        answers: Owners = votes.argmax(axis=1)
        return answers


class OnePassSgd:
    """Softmax regression, one step a sample, in the order they come."""

    def __init__(self, dimensions: int, classes: int) -> None:
        self.W, self.b = np.zeros((dimensions, classes)), np.zeros(classes)

    def learn(self, features: Features, owners: Owners) -> None:
        """Take one step for each sample."""
        for x, owner in zip(features, owners, strict=True):
            self._step(x[None], np.array([owner]))

    def predict(self, features: Features) -> Owners:
        """Give the class of the largest logit."""
        answers: Owners = (features @ self.W + self.b).argmax(axis=1)
        return answers

    def _step(self, x: Features, owners: Owners) -> None:
        error = softmax(x @ self.W + self.b)
        error[np.arange(len(x)), owners] -= 1
        self.W -= _RATE * (x.T @ error) / len(x)
        self.b -= _RATE * error.mean(axis=0)


class ReplaySgd(OnePassSgd):
    """One-pass SGD with a reservoir for each class mixed into every step (experience replay)."""

    def __init__(self, dimensions: int, classes: int) -> None:
        super().__init__(dimensions, classes)
        self._random = np.random.default_rng(0)
        self._kept: dict[int, list[Features]] = {}
        self._seen = np.zeros(classes, np.int64)

    def learn(self, features: Features, owners: Owners) -> None:
        """Take one step for each sample, on it and one kept sample of each class."""
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


class DeepSlda:
    """Deep streaming linear discriminant analysis (Hayes and Kanan 2020, equations 2 to 5).

    For sample t (from 0) of class y: ``Sigma <- (t Sigma + Delta) / (t + 1)`` with
    ``Delta = t (x - mu_y)(x - mu_y)^T / (t + 1)``, then the mean moves; ``Lambda = ((1 - eps) Sigma + eps I)^-1``
    with eps = 1e-4; the score is ``Lambda mu . x - mu . Lambda mu / 2``. The rank-one terms are gathered and
    added in one product, which is the same sum.
    """

    def __init__(self, dimensions: int, classes: int) -> None:
        self._means, self._counts = np.zeros((classes, dimensions)), np.zeros(classes, np.int64)
        self._terms: list[Features] = []
        self._scatter = np.zeros((dimensions, dimensions))
        self._seen = 0

    def learn(self, features: Features, owners: Owners) -> None:
        """Update covariance and means sample by sample."""
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
        """Give the class of the largest discriminant."""
        shrunk = (1 - 1e-4) * self._scatter / self._seen + 1e-4 * np.eye(len(self._scatter))
        W = np.linalg.solve(shrunk, self._means.T)
        scores = features @ W - 0.5 * np.einsum("cd,dc->c", self._means, W)
        scores[:, self._counts == 0] = -np.inf
        answers: Owners = scores.argmax(axis=1)
        return answers


class RiverSoftmax:
    """River's ``linear_model.SoftmaxRegression``, features as dicts as it wants them."""

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

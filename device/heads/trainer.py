"""One step of softmax regression by SGD with momentum: in NumPy, or through a model file's signatures.

For mapped embeddings z, one-hot labels y and N samples (the same as the model file's ``train``):

    g_W = z^T (softmax(z W + b) - y) / N,   m <- 0.9 m + g,   W <- W - rate m

A column without a label is closed by its bias. Before the step, the closed columns that `y` uses are opened.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import HeadError
from ..model.codes import apply_map
from .base import Floats, softmax

MOMENTUM = 0.9  # as in the model file's signature
MASKED = -1e9  # bias of a closed column, whose probability and gradient are therefore exactly zero
CLOSED = -1e8  # a bias below this marks a closed column
VARIABLES = ("W", "b", "W_momentum", "b_momentum")

Weights = dict[str, NDArray[np.float32]]


class Trainer(Protocol):
    """The interface through which the softmax head trains; all arrays are float32."""

    @property
    def capacity(self) -> int:
        """Number of columns C, open or closed."""

    def train(
        self, embedding: NDArray[np.float32], label: NDArray[np.float32], learning_rate: float
    ) -> float:
        """Take one step on embeddings [N, D] and one-hot labels [N, C]; return the loss before the step."""

    def get_weights(self) -> Weights:
        """Return copies of W [D, C], b [C] and their momenta."""

    def set_weights(self, weights: Weights) -> None:
        """Set W, b and their momenta."""


def empty_weights(dimensions: int, capacity: int) -> Weights:
    """Return the weights of a head without labels."""
    return {
        "W": np.zeros((dimensions, capacity), np.float32),
        "b": np.full(capacity, MASKED, np.float32),
        "W_momentum": np.zeros((dimensions, capacity), np.float32),
        "b_momentum": np.zeros(capacity, np.float32),
    }


def opened(bias: NDArray[np.float32], label: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the bias [C] after opening the closed columns that `label` [N, C] uses.

    A new column starts at the lowest bias of the open columns, at most 0, so that it takes little probability from the
    other labels. On the flowers of docs/model-file.md, the start value changed the accuracy by at most one point.
    """
    closed = bias < CLOSED
    lowest = np.where(closed, 0, bias).min()
    return np.where(closed & (label.max(axis=0) > 0), lowest, bias).astype(np.float32)


class NumpyTrainer:
    """A trainer in NumPy; computes in float64.

    Args:
        dimensions: D.
        capacity: C.
        embedding_map: Map to apply to embeddings first, see `device.model.codes`.
    """

    def __init__(self, dimensions: int, capacity: int = 32, embedding_map: str = "signed_sqrt_l2") -> None:
        self.capacity = capacity
        self._map = embedding_map
        self._weights = empty_weights(dimensions, capacity)

    def train(
        self, embedding: NDArray[np.float32], label: NDArray[np.float32], learning_rate: float
    ) -> float:
        """Open the columns of the labels in the batch, take one step, and return the loss before it."""
        z: Floats = apply_map(embedding, self._map)
        self._weights["b"] = opened(self._weights["b"], label)
        p = softmax(z @ self._weights["W"] + self._weights["b"])
        error = (p - label) / len(z)
        self._step("W", z.T @ error, learning_rate)
        self._step("b", error.sum(axis=0), learning_rate)
        own = (p * label).sum(axis=1)
        # not np.finfo: it warns if the processor treats subnormal numbers as zero, as with tflite-runtime on aarch64
        return float(-np.log(np.maximum(own, sys.float_info.min)).mean())

    def get_weights(self) -> Weights:
        """Return copies of the weights."""
        return {name: value.copy() for name, value in self._weights.items()}

    def set_weights(self, weights: Weights) -> None:
        """Set the weights.

        Raises:
            HeadError: The weights have other names or shapes.
        """
        check_weights(weights, self._weights)
        self._weights = {name: np.array(weights[name], np.float32) for name in VARIABLES}

    def _step(self, name: str, gradient: Floats, learning_rate: float) -> None:
        momentum = MOMENTUM * self._weights[f"{name}_momentum"] + gradient
        self._weights[f"{name}_momentum"] = momentum.astype(np.float32)
        self._weights[name] = (self._weights[name] - learning_rate * momentum).astype(np.float32)


class SignatureTrainer:
    """A trainer that uses the signatures of a model file.

    Args:
        interpreter: Interpreter of a model file, from `device.model.runtime.open_interpreter`.
    """

    def __init__(self, interpreter: Any) -> None:
        self._train = interpreter.get_signature_runner("train")
        self._get = interpreter.get_signature_runner("get_weights")
        self._set = interpreter.get_signature_runner("set_weights")
        self.capacity = len(self.get_weights()["b"])

    def train(
        self, embedding: NDArray[np.float32], label: NDArray[np.float32], learning_rate: float
    ) -> float:
        """Take one step and return the loss before it."""
        rate = np.full(1, learning_rate, np.float32)  # never of rank 0, which crashes LiteRT on aarch64
        given = self._train(
            embedding=np.asarray(embedding, np.float32),
            label=np.asarray(label, np.float32),
            learning_rate=rate,
        )
        return float(given["loss"][0])

    def get_weights(self) -> Weights:
        """Return copies of the weights."""
        given = self._get(unused=np.zeros(1, np.float32))
        return {name: np.array(given[name], np.float32) for name in VARIABLES}

    def set_weights(self, weights: Weights) -> None:
        """Set the weights.

        Raises:
            HeadError: The weights have other names or shapes.
        """
        check_weights(weights, self.get_weights())
        self._set(**{name: np.ascontiguousarray(weights[name], np.float32) for name in VARIABLES})


def check_weights(weights: Weights, expected: Weights) -> None:
    """Check the names and shapes of weights.

    Raises:
        HeadError: A name or a shape differs from `expected`.
    """
    for name in VARIABLES:
        shape = weights[name].shape if name in weights else None
        if shape != expected[name].shape:
            raise HeadError(f"the weight {name} must have shape {expected[name].shape}, got {shape}")

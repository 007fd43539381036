"""Stage 6: the head, a softmax layer that can be trained by signatures made of builtin ops only.

A column that no label uses is closed: its bias is `device.heads.trainer.MASKED`, so that its probability and its
gradient are exactly zero. No gradient step could open it again (float32 numbers of that size are 64 apart),
so ``train`` opens the columns of the labels in the batch before it takes the step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import Linear
from device.heads.trainer import CLOSED, MOMENTUM, VARIABLES
from device.learner.export import head_variables

from .source import FloatHead
from .tensorflow import convert_module, import_tensorflow

_TINY = 1e-12  # keeps rsqrt finite at zero; far below the values of an embedding

HeadWeights = dict[str, NDArray[np.float32]]


def initial_weights(
    dimensions: int, capacity: int, labels: tuple[str, ...] = (), taught: FloatHead | None = None
) -> HeadWeights:
    """Return the initial variables of a head.

    Args:
        dimensions: D.
        capacity: C, the number of columns.
        labels: Labels of the first columns.
        taught: W [D, labels] and b [labels] of a head trained before, or None.

    Returns:
        W [D, C], b [C] and their momenta, which are zero. Columns without a label are zero and closed.
    """
    if taught is None:
        labels, taught = (), (np.zeros((dimensions, 0), np.float32), np.zeros(0, np.float32))
    linear = Linear(*(value.astype(np.float64) for value in taught))
    return head_variables(dimensions, capacity, linear, labels)


def convert_head(dimensions: int, capacity: int, embedding_map: str) -> bytes:
    """Convert a head with the signatures ``classify``, ``train``, ``get_weights`` and ``set_weights``.

    The gradient is written by hand: that of `tf.GradientTape` needs ops that no runtime from pip has. For logits
    ``z = phi(e) W + b`` and the mean cross-entropy over N samples it is
    ``dW = phi(e)^T (softmax(z) - y) / N`` and ``db = mean(softmax(z) - y)``. Before the step, a closed column
    that a label of the batch uses gets the lowest bias of the open columns, at most 0.

    Args:
        dimensions: D.
        capacity: C.
        embedding_map: Map applied to embeddings first, see `device.model.codes`.

    Returns:
        A .tflite in float32. No input has rank 0: LiteRT on aarch64 crashes on those.
    """
    tf = import_tensorflow()
    head = _Head(dimensions, capacity, embedding_map)
    module = tf.Module()
    module.head = head.variables  # a module saves the variables that its attributes hold
    return convert_module(
        module,
        {
            name: tf.function(getattr(head, name), input_signature=inputs)
            for name, inputs in head.inputs().items()
        },
    )


def embedding_map_function(name: str) -> Any:
    """Return `device.model.codes.apply_map` as TensorFlow ops on float32 [N, D]."""
    tf = import_tensorflow()

    def unit(values: Any) -> Any:
        return values * tf.math.rsqrt(tf.maximum(tf.reduce_sum(values * values, 1, keepdims=True), _TINY))

    def signed_sqrt(values: Any) -> Any:
        return values * tf.math.rsqrt(tf.maximum(tf.abs(values), _TINY))

    return {
        "identity": lambda values: values,
        "l2": unit,
        "signed_sqrt_l2": lambda values: unit(signed_sqrt(values)),
    }[name]


class _Head:
    """The variables of a head and its signatures as TensorFlow functions.

    Attributes:
        variables: W [D, C], b [C] and their momenta.
    """

    def __init__(self, dimensions: int, capacity: int, embedding_map: str) -> None:
        self.tf = import_tensorflow()
        self.phi = embedding_map_function(embedding_map)
        self.shapes = {"W": (dimensions, capacity), "b": (capacity,)}
        # distinct values, so that the converter does not store two variables as one
        self.variables = {
            name: self.tf.Variable(np.full(self.shapes[name[0]], number, np.float32), name=name)
            for number, name in enumerate(VARIABLES, 1)
        }

    def inputs(self) -> dict[str, list[Any]]:
        """Return the inputs of each signature."""
        dimensions, capacity = self.shapes["W"]
        embedding = self._spec("embedding", None, dimensions)
        return {
            "classify": [embedding],
            "train": [embedding, self._spec("label", None, capacity), self._spec("learning_rate", 1)],
            "get_weights": [self._spec("unused", 1)],
            "set_weights": [self._spec(name, *self.shapes[name[0]]) for name in VARIABLES],
        }

    def classify(self, embedding: Any) -> dict[str, Any]:
        """Return probabilities and logits [N, C] for embeddings [N, D]."""
        logits = self.tf.matmul(self.phi(embedding), self.variables["W"]) + self.variables["b"]
        return {"probabilities": self.tf.nn.softmax(logits), "logits": logits}

    def train(self, embedding: Any, label: Any, learning_rate: Any) -> dict[str, Any]:
        """Take one step on embeddings [N, D] with labels [N, C]; return the loss before it."""
        tf, mapped, b = self.tf, self.phi(embedding), self._opened(label)
        logits = tf.matmul(mapped, self.variables["W"]) + b
        share = 1.0 / tf.cast(tf.shape(embedding)[:1], tf.float32)
        error = (tf.nn.softmax(logits) - label) * share  # [N, C]
        loss = -tf.reduce_sum(label * tf.nn.log_softmax(logits), keepdims=False) * share
        self._step("W", self.variables["W"], tf.matmul(mapped, error, transpose_a=True), learning_rate)
        self._step("b", b, tf.reduce_sum(error, 0), learning_rate)
        return {"loss": loss}

    def get_weights(self, unused: Any) -> dict[str, Any]:
        """Return all variables."""
        return {name: variable.read_value() for name, variable in self.variables.items()}

    def set_weights(self, W: Any, b: Any, W_momentum: Any, b_momentum: Any) -> dict[str, Any]:  # noqa: N803
        """Replace all variables."""
        for name, value in zip(VARIABLES, (W, b, W_momentum, b_momentum), strict=True):
            self.variables[name].assign(value)
        return {"ok": self.tf.ones(1)}

    def _spec(self, name: str, *shape: int | None) -> Any:
        return self.tf.TensorSpec(shape, self.tf.float32, name=name)

    def _opened(self, label: Any) -> Any:
        """Return b [C] with the closed columns that `label` [N, C] uses opened."""
        tf, b = self.tf, self.variables["b"]
        closed = b < CLOSED
        lowest = tf.reduce_min(tf.where(closed, 0.0, b), keepdims=True)  # at most 0
        taught = tf.reduce_max(label, 0) > 0.0
        return tf.where(tf.logical_and(closed, taught), lowest, b)

    def _step(self, name: str, value: Any, gradient: Any, learning_rate: Any) -> None:
        """Assign `value` after one step of gradient descent with momentum."""
        momentum = self.variables[f"{name}_momentum"]
        speed = MOMENTUM * momentum + gradient
        momentum.assign(speed)
        self.variables[name].assign(value - learning_rate * speed)

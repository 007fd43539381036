"""Phase 2: the last blocks and the head, trained together on features cached at the cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.model.codes import apply_map
from device.progress import Progress, no_progress

from ..evaluation.figures import judge
from .features import Features
from .head import probabilities
from .optimizers import make_optimizer
from .preserving import make_penalty
from .settings import PATIENCE, Settings

_ROOT_EPSILON = 1e-4  # the slope of a square root is infinite at 0; this limits it to 50
_HEAD_PACE = 10.0  # the weights of the head are larger than those of the blocks by about this factor, and so are their steps
_EVALUATION_BATCH = 64

Array = NDArray[np.float64]
Embed = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Saver = Callable[[dict[str, NDArray[Any]], dict[str, Any]], None]


@dataclass(frozen=True)
class Rows:
    """The rows of the features that belong to the photos of a part, and their labels.

    Attributes:
        first: int64 [P], the row of each unchanged photo.
        rows: int64 [P], number of rows of each photo with its copies.
        targets: int64 [P], index of the label of each photo.
    """

    first: NDArray[np.int64]
    rows: NDArray[np.int64]
    targets: NDArray[np.int64]


class BlockTraining:
    """Training of a tail and a head; it can stop after any epoch and continue from its checkpoint.

    Args:
        tail: keras.Model, features -> embedding; trained in place.
        head: Initial W [D, C] and b [C], on mapped embeddings.
        class_weights: [C], weight of an example of each label.
        settings: Epochs, rate, batch, patience and seed are used.
    """

    def __init__(
        self,
        tail: Any,
        head: tuple[NDArray[np.float32], NDArray[np.float32]],
        class_weights: Array,
        settings: Settings,
    ) -> None:
        import keras

        self.tail, self.settings, self.class_weights = tail, settings, class_weights
        self.weights = keras.Variable(head[0] / _HEAD_PACE, name="head_weights")
        self.bias = keras.Variable(head[1] / _HEAD_PACE, name="head_bias")
        self._trained = [*tail.trainable_variables, self.weights, self.bias]
        self._optimizer = make_optimizer(settings.optimizer, settings.rate, self._trained)
        self._penalty = make_penalty(tail, settings.preserve)
        self._step = _make_step(self)
        self._embed = make_embed(tail)
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0

    @property
    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Present W and b."""
        return np.array(self.weights) * np.float32(_HEAD_PACE), np.array(self.bias) * np.float32(_HEAD_PACE)

    def run(
        self,
        features: Features,
        training: Rows,
        validation: Rows | None,
        *,
        resume: tuple[dict[str, NDArray[Any]], dict[str, Any]] | None,
        save: Saver,
        progress: Progress = no_progress,
    ) -> None:
        """Train for all epochs, or until the validation loss stops falling.

        Tail and head end with the weights of the best epoch, which may be the initial ones.

        Args:
            features: Features of the frozen trunk.
            training: Rows to train on; each epoch uses one copy of each photo.
            validation: Rows that choose the best epoch; None takes the last epoch.
            resume: The arguments of the last call of `save` in an interrupted run.
            save: Called after each epoch with everything needed to continue.
            progress: Called as task "blocks" with the number of steps.
        """
        best = self._vector()
        lowest = np.inf
        if resume:
            best, lowest = self._restore(*resume)
        elif validation is not None:
            lowest = self._measure(features, validation)["loss"]
        for epoch in range(len(self.history), self.settings.epochs):
            if validation is not None and epoch - self.best_epoch >= (self.settings.patience or PATIENCE):
                break
            entry = self._epoch(features, training, epoch, progress)
            if validation is not None:
                judged = self._measure(features, validation)
                entry |= {f"validation_{name}": value for name, value in judged.items()}
            self.history.append(entry)
            if entry.get("validation_loss", -np.inf) < lowest:
                best, self.best_epoch = self._vector(), epoch + 1
                lowest = entry.get("validation_loss", lowest)
            save(
                self._arrays(best),
                {"history": self.history, "best": self.best_epoch, "lowest": float(lowest)},
            )
        self._assign(self._trained, best)

    def embed(self, features: Features, rows: NDArray[np.int64]) -> Array:
        """Return the mapped embeddings of `rows`, float64 [N, D]."""
        return embed_rows(self._embed, features, rows)

    def _epoch(
        self,
        features: Features,
        training: Rows,
        epoch: int,
        progress: Progress,
    ) -> dict[str, float]:
        generator = np.random.default_rng([self.settings.seed, 2, epoch])
        order = generator.permutation(len(training.targets))
        copies = training.first + generator.integers(training.rows)
        steps = -(-len(order) // self.settings.batch)
        total, right, losses = steps * self.settings.epochs, 0.0, 0.0
        for step, chosen in enumerate(np.array_split(order, steps)):
            done = epoch * steps + step
            self._optimizer.learning_rate.assign(self.settings.rate * (1 + np.cos(np.pi * done / total)) / 2)
            targets = training.targets[chosen]
            importance = self.class_weights[targets].astype(np.float32)
            loss, hits = self._step(features.take(copies[chosen]), targets, importance)
            losses, right = losses + float(loss) * len(chosen), right + float(hits)
            progress("blocks", done + 1, total)
        return {"phase": 2, "epoch": epoch + 1, "loss": losses / len(order), "accuracy": right / len(order)}

    def _measure(self, features: Features, part: Rows) -> dict[str, float]:
        given = probabilities(self.embed(features, part.first), *self.head)
        return judge(given, part.targets, self.class_weights)

    def _vector(self) -> NDArray[np.float32]:
        return _flatten(self._trained)

    def _arrays(self, best: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        moments = [variable for variable in self._optimizer.variables if variable.shape]
        return {"now": self._vector(), "best": best, "moments": _flatten(moments)}

    def _restore(
        self, arrays: dict[str, NDArray[Any]], state: dict[str, Any]
    ) -> tuple[NDArray[np.float32], float]:
        self.history, self.best_epoch = list(state["history"]), int(state["best"])
        self._assign(self._trained, arrays["now"])
        self._assign(
            [variable for variable in self._optimizer.variables if variable.shape], arrays["moments"]
        )
        return arrays["best"], float(state["lowest"])

    @staticmethod
    def _assign(variables: list[Any], vector: NDArray[np.float32]) -> None:
        start = 0
        for variable in variables:
            count = int(np.prod(variable.shape))
            variable.assign(vector[start : start + count].reshape(variable.shape))
            start += count


def _flatten(variables: list[Any]) -> NDArray[np.float32]:
    return np.concatenate([np.asarray(variable, np.float32).ravel() for variable in variables])


def make_embed(tail: Any) -> Embed:
    """Compile `tail` for inference: features float32 [N, ...] -> embeddings float32 [N, D]."""
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *tail.input_shape[1:]), tf.float32)]
    forward = tf.function(lambda features: tail(features, training=False), input_signature=signature)
    return lambda features: np.asarray(forward(features))


def embed_rows(embed: Embed, features: Features, rows: NDArray[np.int64]) -> Array:
    """Return the mapped embeddings of `rows`, float64 [N, D]."""
    starts = range(0, len(rows), _EVALUATION_BATCH)
    parts = [embed(features.take(rows[start : start + _EVALUATION_BATCH])) for start in starts]
    return apply_map(np.concatenate(parts))


def _make_step(owner: BlockTraining) -> Callable[..., Any]:
    import tensorflow as tf

    tail, trained, optimizer = owner.tail, owner._trained, owner._optimizer
    signature = [
        tf.TensorSpec((None, *tail.input_shape[1:]), tf.float32),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.float32),
    ]

    def step(features: Any, targets: Any, importance: Any) -> Any:
        with tf.GradientTape() as tape:
            # inference mode: normalization keeps ImageNet's statistics
            embedding = tail(features, training=False)
            logits = (map_softly(embedding) @ owner.weights.value + owner.bias.value) * _HEAD_PACE
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses * importance)
            if owner._penalty is not None:
                loss += owner._penalty(features, embedding)
        variables = [variable.value for variable in trained]
        optimizer.apply(tape.gradient(loss, variables), trained)
        hits = tf.cast(tf.argmax(logits, axis=1) == targets, tf.float32)
        return loss, tf.reduce_sum(hits)

    compiled: Callable[..., Any] = tf.function(step, input_signature=signature)
    return compiled


def map_softly(embedding: Any) -> Any:
    """Return `device.model.codes.apply_map` with a finite slope: l2(sign(e) sqrt(|e|))."""
    import tensorflow as tf

    root = tf.sqrt(tf.abs(embedding) + _ROOT_EPSILON) - _ROOT_EPSILON**0.5
    return tf.math.l2_normalize(tf.sign(embedding) * root, axis=1)

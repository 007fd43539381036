"""Softmax regression by SGD with momentum through the model file's ``train``, with class-balanced replay.

This head exists for parity with TensorFlow. It depends on the order of samples and cannot unlearn: forgetting,
deleting and merging train it again from the samples that it keeps. With a source of generated images, learning replays
these instead of the kept samples, see `generated`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..arrays import pack_texts, unpack_texts
from ..errors import EdgetlError, HeadError, LabelError
from ..model.codes import Codes, representative
from .base import FALSE_REJECTION, Fit, Floats, Head, Linear, State, check_codes, softmax
from .calibration import NO_JUDGES
from .generated import Source, draw_replay
from .keys import KeySet
from .nearest import mean_directions, nearest_mean
from .replay import Replay
from .trainer import MASKED, VARIABLES, NumpyTrainer, Trainer, empty_weights
from .vocabulary import Vocabulary

ROOM = 40  # kept samples per label
BATCH = 32
STEPS = 4  # per new batch
SETTLED = 16  # steps after which the effect of a new label's first gradients on the momentum has faded
RATE = 1.0  # mapped embeddings have length one, so the loss is smooth: rates up to 2 would be stable
_FOLDS = 5
_EPOCHS = 30  # when training again from the start


class SoftmaxHead(Head):
    """A softmax layer trained on the device.

    Args:
        dimensions: D.
        trainer: Trainer that takes the steps; default NumPy.
        embedding_map: The model file's embedding map, see `device.model.codes`.
        learning_rate: Learning rate.
        steps: Steps per batch of new samples.
        room: Number of samples to keep per label for replay.
        seed: Seed for the draws from replay.
        false_rejection: Share of the taught samples that may be predicted as unknown.
        source: Returns codes of generated images to replay; None replays kept samples.
        priors: Only None: what the head expects depends on the order of its steps.

    Example:
        >>> from device.model.codes import encode
        >>> head = SoftmaxHead(2)
        >>> head.learn_many(encode([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0]]), ["a", "a", "b"])
        >>> head.predict_one(encode([0.0, 1.0])).label
        'b'
    """

    name: ClassVar[str] = "softmax"
    order_free: ClassVar[bool] = False

    def __init__(
        self,
        dimensions: int,
        *,
        trainer: Trainer | None = None,
        embedding_map: str = "signed_sqrt_l2",
        learning_rate: float = RATE,
        steps: int = STEPS,
        room: int = ROOM,
        seed: int = 0,
        false_rejection: float = FALSE_REJECTION,
        source: Source | None = None,
        priors: str | None = None,
    ) -> None:
        if priors is not None:
            raise HeadError(
                f"the softmax head has no priors, because they depend on the order of its steps, got priors={priors!r}; "
                "leave priors out, or use --head exact"
            )
        super().__init__(dimensions, false_rejection=false_rejection)
        self.embedding_map, self.learning_rate = embedding_map, learning_rate
        self.steps, self.room, self.seed, self.source = steps, room, seed, source
        self._trainer: Trainer = trainer or NumpyTrainer(dimensions, embedding_map=embedding_map)
        self._trainer.set_weights(empty_weights(dimensions, self._trainer.capacity))
        self._vocabulary = Vocabulary()
        self._columns: dict[str, int] = {}
        self._replay = Replay(dimensions, room)
        self._taken = 0  # number of random draws so far; together with the seed, it makes them reproducible

    @property
    def counts(self) -> dict[str, int]:
        """Number of learned samples per label, in the order of `labels`."""
        return self._vocabulary.counts

    def use(self, trainer: Trainer) -> None:
        """Continue with another trainer, such as one of an interpreter, from the same weights.

        Raises:
            HeadError: The trainer's weights have other shapes.
        """
        trainer.set_weights(self._trainer.get_weights())
        self._trainer = trainer

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return W [D, capacity], b [capacity] and their momenta, with the names of the model file's ``get_weights``."""
        return self._trainer.get_weights()

    def leave_out(
        self, codes: Codes, labels: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> Floats:
        """Return held-out logits from five-fold cross-validation with the same settings; groups stay together.

        SGD has no leave-one-out formula. A fold leaves out more than one sample, so the estimate is pessimistic.
        """
        codes = check_codes(codes, self.dimensions)
        if missing := sorted(set(labels) - set(self.counts)):
            raise LabelError(f"cannot leave out samples of labels never learned: {', '.join(missing)}")
        columns = {label: column for column, label in enumerate(self.labels)}
        groups = np.arange(len(codes)) if groups is None else np.asarray(groups)
        folds = np.unique(groups, return_inverse=True)[1].ravel() * 7919 % _FOLDS
        logits = np.full((len(codes), len(columns)), MASKED)
        for fold in range(_FOLDS):
            out = folds == fold
            rest = [label for label, gone in zip(labels, out, strict=True) if not gone]
            if out.any() and rest:
                head = type(self)(self.dimensions, embedding_map="identity", learning_rate=self.learning_rate)
                head._embedded(codes[~out], rest)
                known = [columns[label] for label in head.labels]
                logits[np.ix_(out, known)] = head._weighted().logits(codes[out])
        return logits

    def digest(self) -> str:
        """Return the sha256 of the weights, the labels and the kept samples."""
        digest = hashlib.sha256(f"edgetl softmax 1, {self.dimensions} dimensions\n".encode())
        for name, array in sorted(self.state().items()):
            digest.update(name.encode() + array.tobytes())
        return digest.hexdigest()

    def state(self) -> State:
        """Return the weights, the momenta, the replay samples, the labels and the options."""
        columns = sorted(self._columns, key=self._columns.__getitem__)
        numbers = [self._vocabulary.counts.get(label, 0) for label in columns]
        options = [self.learning_rate, self.steps, self.room, self.seed, self.false_rejection, self._taken]
        return {
            "labels": pack_texts(columns),
            "columns": np.array([self._columns[label] for label in columns], np.int64),
            "counts": np.array(numbers, np.int64),
            "options": np.array(options, np.float64),
            "embedding_map": pack_texts([self.embedding_map]),
            **self._trainer.get_weights(),
            **self._replay.state(),
            **self.tuned.state(),
        }

    @classmethod
    def restore(cls, dimensions: int, state: State) -> Self:
        """Return a head with the given state and a NumPy trainer; see `use`.

        Raises:
            HeadError: The state is damaged or has another number of dimensions.
        """
        try:
            rate, steps, room, seed, rejection, taken = state["options"].tolist()
            embedding_map = unpack_texts(state["embedding_map"])[0]
            head = cls(
                dimensions,
                trainer=NumpyTrainer(dimensions, len(state["b"]), embedding_map),
                embedding_map=embedding_map,
                learning_rate=rate,
                steps=int(steps),
                room=int(room),
                seed=int(seed),
                false_rejection=rejection,
            )
            labels = unpack_texts(state["labels"])
            head._vocabulary.add_counts(labels, state["counts"])
            head._columns = dict(zip(labels, state["columns"].tolist(), strict=True))
            head._taken = int(taken)
            head._replay = Replay.restore(dimensions, int(room), state)
            head._trainer.set_weights({name: state[name] for name in VARIABLES})
            head.tuned = KeySet.restore(state)
        except (KeyError, IndexError, ValueError, EdgetlError) as error:
            raise HeadError(f"the head's state is damaged: {error}; rebuild it from the samples") from error
        return head

    def _learn(self, codes: Codes, labels: list[str]) -> None:
        drawn_before = self._draw(codes, labels)  # labeled by the head as it is before the update
        new = self._open_columns(labels)
        self._vocabulary.add(labels)
        self._replay.add(codes, labels)
        replay = self._replay
        if drawn_before is not None:
            replay = drawn_before
            replay.add(codes, labels)
        order = self._random().permutation(len(codes)).tolist()  # samples of one call have no order
        # with more than an equal share of a step, new samples would displace the old labels
        share = max(1, BATCH // max(len(self.counts), 2))
        parts = -(-len(order) // share)
        steps = max(self.steps, -(-SETTLED // parts)) if new else self.steps
        for start in range(0, len(order), share):
            part = order[start : start + share]
            names = [labels[at] for at in part]
            for _ in range(steps):
                old, drawn = replay.fill(names, BATCH - len(part), self._random())
                self._step(np.concatenate([codes[part], old]), names + drawn)

    def _draw(self, new: Codes, new_labels: list[str]) -> Replay | None:
        """Return generated images under the labels that the head assigns, or None without a source or a label.

        Args:
            new: The samples that are learned next.
            new_labels: Their labels.
        """
        if self.source is None or not self.counts:
            return None
        linear, names = self._weighted(), self.labels

        def judge(codes: Codes) -> tuple[list[str], list[float]]:
            found = softmax(linear.logits(codes))
            return [names[column] for column in found.argmax(axis=1)], found.max(axis=1).tolist()

        return draw_replay(self.source, judge, len(names), (new, new_labels), self._random(), room=self.room)

    def _forget(self, codes: Codes, labels: list[str]) -> None:
        self._vocabulary.remove(labels)
        self._replay.remove(codes, labels)
        self._train_again()

    def _merge(self, other: Any) -> None:
        self._open_columns(list(other.labels))
        self._vocabulary.merge(other._vocabulary)
        self._replay.merge(other._replay)
        self._train_again()

    def _rename(self, old: str, new: str) -> None:
        joined = new in self._vocabulary.counts
        self._vocabulary.rename(old, new)
        self._replay.rename(old, new)
        column = self._columns.pop(old)
        if joined:
            self._train_again()
        else:
            self._columns[new] = column

    def _delete(self, label: str) -> None:
        self._vocabulary.delete(label)
        self._replay.delete(label)
        self._train_again()

    def _compute_fit(self) -> Fit:
        linear = self._weighted()
        codes, labels = self._replay.all()
        means, threshold = mean_directions(codes, labels, self.false_rejection, self.may_judge(codes))
        notes = (NO_JUDGES,) if len(self.tuned) and not np.isfinite(threshold) else ()
        return Fit(linear, lambda queried, logits: nearest_mean(queried, means), threshold, notes)

    def _weighted(self) -> Linear:
        weights = self._trainer.get_weights()
        used = [self._columns[label] for label in self.labels]
        return Linear(weights["W"][:, used].astype(np.float64), weights["b"][used].astype(np.float64))

    def _open_columns(self, labels: list[str]) -> bool:
        """Open a column for each new label; return whether there was a new label."""
        new = [label for label in dict.fromkeys(labels) if label not in self._columns]
        free = sorted(set(range(self._trainer.capacity)) - set(self._columns.values()))
        if len(new) > len(free):
            raise LabelError(
                f"the softmax head of this model file has room for {self._trainer.capacity} labels, too few for "
                f"{new[len(free)]!r}; use --head exact, or make room with: edgetl export MODEL --head exact --out NEW"
            )
        if new:
            weights = self._trainer.get_weights()
            for label, column in zip(new, free, strict=False):
                self._columns[label] = column
                weights["b"][column] = 0
            self._trainer.set_weights(weights)
        return bool(new)

    def _train_again(self) -> None:
        codes, labels = self._replay.all()
        self._embedded(codes, labels)

    def _embedded(self, codes: Codes, labels: list[str]) -> None:
        """Train on samples for some epochs, from empty weights."""
        self._trainer.set_weights(empty_weights(self.dimensions, self._trainer.capacity))
        if not self._vocabulary.total:
            self._vocabulary.add(labels)
        self._columns = {}
        self._open_columns(labels)
        for _ in range(_EPOCHS):
            order = self._random().permutation(len(codes))
            for start in range(0, len(order), BATCH):
                batch = order[start : start + BATCH].tolist()
                self._step(codes[batch], [labels[at] for at in batch])

    def _step(self, codes: Codes, labels: list[str]) -> None:
        one_hot = np.zeros((len(codes), self._trainer.capacity), np.float32)
        one_hot[np.arange(len(codes)), [self._columns[label] for label in labels]] = 1
        self._trainer.train(representative(codes, self.embedding_map), one_hot, self.learning_rate)

    def _random(self) -> np.random.Generator:
        self._taken += 1
        return np.random.default_rng([self.seed, self._taken])

"""The devices of `benchmarks.fleet_scale`: which samples each has, and what it computes from them.

The samples are those of a set of `benchmarks.embeddings`, of which a quarter is held out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.fleet import Contribution, FleetModel, Total
from device.heads.exact import ExactHead
from device.heads.trainer import NumpyTrainer, Weights
from device.model.codes import Codes, encode

PER_DEVICE = 20
BATCH = 32
MODEL = "benchmark"  # stands for the checksum of a backbone


@dataclass(frozen=True)
class Split:
    """A set of samples, of which each fourth of a label is held out.

    Attributes:
        embeddings: float32 [N, D] of the samples to learn.
        labels: N labels.
        test_embeddings: float32 [M, D] of the samples to judge with.
        test_labels: M labels.
    """

    embeddings: NDArray[np.float32]
    labels: NDArray[np.str_]
    test_embeddings: NDArray[np.float32]
    test_labels: NDArray[np.str_]

    @classmethod
    def of(cls, embeddings: NDArray[np.float32], labels: NDArray[np.str_], seed: int = 0) -> Split:
        """Hold out a quarter of each label."""
        held = np.zeros(len(labels), np.bool_)
        chooser = np.random.default_rng(seed)
        for label in np.unique(labels):
            mine = np.flatnonzero(labels == label)
            held[chooser.permutation(mine)[: len(mine) // 4]] = True
        return cls(embeddings[~held], labels[~held], embeddings[held], labels[held])

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(np.unique(self.labels).tolist())

    @property
    def model(self) -> FleetModel:
        """The model of the fleet."""
        return FleetModel(MODEL, self.embeddings.shape[1])

    def accuracy(
        self, weights: NDArray[np.float64], bias: NDArray[np.float64], classes: tuple[str, ...]
    ) -> float:
        """Return the share of held-out samples that a linear map of the mapped embeddings predicts correctly."""
        from device.model.codes import apply_map

        best = (apply_map(self.test_embeddings) @ weights + bias).argmax(axis=1)
        return float(np.mean(np.array(classes)[best] == self.test_labels))


def drawn(split: Split, device: int, count: int = PER_DEVICE) -> tuple[Codes, list[str]]:
    """Return the samples of a device of a large fleet, drawn with replacement."""
    places = np.random.default_rng([1, device]).integers(0, len(split.labels), count)
    return encode(split.embeddings[places]), split.labels[places].tolist()


def contribution(split: Split, device: int, count: int = PER_DEVICE) -> Contribution:
    """Return the statistics of these samples."""
    return Contribution.of(f"device-{device}", split.model, *drawn(split, device, count))


def one_device(split: Split, devices: int, count: int = PER_DEVICE) -> str:
    """Return the digest of one exact head that learned the samples of all devices."""
    head = ExactHead(split.model.dimensions)
    for device in range(devices):
        head.learn_many(*drawn(split, device, count))
    return head.digest()


def assign(split: Split, devices: int, evenness: float, seed: int = 0) -> list[NDArray[np.intp]]:
    """Return the samples of each device: every sample belongs to one.

    Args:
        split: The samples.
        devices: Number of devices.
        evenness: Parameter of the Dirichlet distribution of a label over the devices; with infinity, labels are even.
        seed: Seed.
    """
    chooser = np.random.default_rng(seed)
    owners = np.zeros(len(split.labels), np.int64)
    for label in split.classes:
        mine = chooser.permutation(np.flatnonzero(split.labels == label))
        shares = (
            np.full(devices, 1 / devices)
            if np.isinf(evenness)
            else chooser.dirichlet(np.full(devices, evenness))
        )
        owners[mine] = np.searchsorted(np.cumsum(shares)[:-1], (np.arange(len(mine)) + 0.5) / len(mine))
    return [np.flatnonzero(owners == device) for device in range(devices)]


def exact_round(split: Split, parts: list[NDArray[np.intp]]) -> tuple[float, list[int], int]:
    """Return the accuracy of the exact head after one round, the bytes of each contribution, and those of the sum."""
    from device.fleet import pack_contribution, unpack_contribution

    total, sizes = Total(split.model), []
    codes = encode(split.embeddings)
    for device, part in enumerate(parts):
        sent = pack_contribution(
            Contribution.of(f"device-{device}", split.model, codes[part], split.labels[part].tolist())
        )
        sizes.append(len(sent))
        total.add(unpack_contribution(sent, split.model))
    linear = total.head().linear()
    assert linear is not None
    returned = len(pack_contribution(Contribution("fleet", split.model, total.sums)))
    return split.accuracy(linear.W, linear.b, tuple(total.counts)), sizes, returned


def train_locally(
    split: Split, part: NDArray[np.intp], weights: Weights, *, epochs: int, rate: float, seed: int
) -> Weights:
    """Return the weights of the softmax head after epochs over the samples of one device; its momentum starts at zero."""
    trainer = NumpyTrainer(split.model.dimensions, len(split.classes))
    trainer.set_weights(
        {name: np.zeros_like(value) if "momentum" in name else value for name, value in weights.items()}
    )
    onehot = np.eye(len(split.classes), dtype=np.float32)[np.searchsorted(split.classes, split.labels)]
    chooser = np.random.default_rng(seed)
    for _ in range(epochs):
        order = chooser.permutation(part)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            trainer.train(split.embeddings[batch], onehot[batch], rate)
    return trainer.get_weights()

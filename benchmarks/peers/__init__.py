"""Other ways to learn a head on a device, implemented from their published descriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]
Owners = NDArray[np.int64]


class Peer(Protocol):
    """A learner over features."""

    def learn(self, features: Features, owners: Owners) -> None:
        """Learn samples [N, D] of classes [N], in their order."""

    def predict(self, features: Features) -> Owners:
        """Return the class of each sample, [N]."""


@dataclass(frozen=True)
class Contestant:
    """A way to learn a head, and how it takes part in the comparison.

    Attributes:
        name: Name in the tables.
        make: (dimensions, classes) -> a new peer.
        features: ``raw`` embeddings, their direction (``l2``), or ``mapped`` as our heads receive them.
        streaming: Whether it learns sample by sample, in one pass.
        ours: Whether it is one of our heads.
        slow: Whether it is run on a single draw.
        draws: Maximum number of draws of a full training part; fewer for peers that take seconds.
    """

    name: str
    make: Callable[[int, int], Peer]
    features: str = "mapped"
    streaming: bool = True
    ours: bool = False
    slow: bool = False
    draws: int = 20


def contestants(river: bool = True) -> list[Contestant]:
    """Return all contestants, our heads first."""
    from . import coral, offline, ours, streaming

    everyone = [
        *(
            Contestant(name, ours.maker(name), ours=True, draws=20 if name in ("exact", "ncm") else 5)
            for name in ("exact", "lda", "ncm", "softmax", "knn")
        ),
        Contestant("Coral imprinting", coral.Imprinting, "l2"),
        Contestant("Coral SGD head", coral.SoftmaxRegression, "raw", streaming=False, draws=10),
        Contestant("kNN-3", streaming.NearestNeighbors),
        Contestant("one-pass SGD", streaming.tuned(streaming.OnePassSgd), draws=10),
        Contestant("SGD + replay", streaming.tuned(streaming.ReplaySgd), draws=5),
        Contestant("Deep SLDA", streaming.DeepSlda),
        Contestant("logistic regression (offline)", offline.LogisticRegression, streaming=False, draws=10),
    ]
    if river and streaming.has_river():
        everyone.insert(-1, Contestant("River softmax", streaming.RiverSoftmax, slow=True))
    return everyone

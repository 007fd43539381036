"""Other ways to learn a head on a device, made from their published descriptions."""

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
        """Give the class of each sample."""


@dataclass(frozen=True)
class Contestant:
    """A way to learn, and how it takes part.

    Attributes:
        name: In the tables.
        make: (dimensions, classes) -> a fresh peer.
        features: ``raw`` embeddings, their direction (``l2``), or ``mapped`` as our heads see them.
        streaming: Whether it learns as samples come, one pass.
        ours: Whether it is one of our heads.
        slow: Whether one draw must do.
        draws: Most draws of a full training part: fewer for what takes seconds.
    """

    name: str
    make: Callable[[int, int], Peer]
    features: str = "mapped"
    streaming: bool = True
    ours: bool = False
    slow: bool = False
    draws: int = 20


def contestants(river: bool = True) -> list[Contestant]:
    """Give everybody, ours first."""
    from . import coral, offline, ours, streaming

    everybody = [
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
        everybody.insert(-1, Contestant("River softmax", streaming.RiverSoftmax, slow=True))
    return everybody

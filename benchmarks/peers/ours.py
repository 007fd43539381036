"""Our heads as contestants: they learn the codes of the mapped embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from device.heads import Head, create_head
from device.model.codes import Codes, encode

from . import Features, Owners


class Ours:
    """A head of `device.heads`.

    Args:
        name: Name of the head.
        dimensions: D.
        classes: C.
        **options: Options of the head.
    """

    def __init__(self, name: str, dimensions: int, classes: int, **options: Any) -> None:
        if name == "softmax":
            options = {"embedding_map": "identity", **options}
        self.head: Head = create_head(name, dimensions, **options)
        self.names = [f"{owner:03d}" for owner in range(classes)]

    def learn(self, features: Features, owners: Owners) -> None:
        """Learn the samples in their order."""
        self.head.learn_many(codes_of(features), [self.names[owner] for owner in owners])

    def predict(self, features: Features) -> Owners:
        """Return the most probable class."""
        best = self.head.probabilities(codes_of(features)).argmax(axis=1)
        columns = np.array([self.names.index(label) for label in self.head.labels], np.int64)
        answers: Owners = columns[best]
        return answers


def codes_of(features: Features) -> Codes:
    """Return the codes of mapped embeddings."""
    return encode(features, "identity")


def maker(name: str, **options: Any) -> Callable[[int, int], Ours]:
    """Return a function that creates peers with the head `name` and its options."""
    return lambda dimensions, classes: Ours(name, dimensions, classes, **options)

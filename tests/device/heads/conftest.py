"""Samples for the tests of heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from device.heads import Head, create_head
from device.model.codes import Codes, encode

D = 24


def samples(count: int, labels: int = 4, seed: int = 0, dimensions: int = D) -> tuple[Codes, list[str]]:
    """Return codes of overlapping classes and their labels."""
    random = np.random.default_rng(seed)
    owners = np.arange(count) % labels
    values = random.normal(size=(count, dimensions))
    values[np.arange(count), owners] += 3
    return encode(values), [f"label {owner}" for owner in owners]


def taught(name: str, count: int = 60, labels: int = 4, **options: Any) -> Head:
    """Return a head that has learned `samples`."""
    head = create_head(name, D, **options)
    head.learn_many(*samples(count, labels))
    return head


@pytest.fixture(params=[12, 60], ids=["fewer samples than dimensions", "more samples than dimensions"])
def count(request: pytest.FixtureRequest) -> int:
    """Return a number of samples below, and one above, the number of dimensions."""
    return int(request.param)

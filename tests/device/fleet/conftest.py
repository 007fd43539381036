"""Samples of a small fleet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from device.fleet import Contribution, FleetModel
from device.model.codes import Codes, encode

DIMENSIONS = 24
LABELS = ("bowl", "cup", "mug")
Drawn = tuple[Codes, list[str]]


@pytest.fixture(scope="session")
def model() -> FleetModel:
    """The model of the fleet."""
    return FleetModel("5" * 64, DIMENSIONS)


@pytest.fixture(scope="session")
def draw() -> Callable[..., Drawn]:
    """Draw codes [count, D] around one direction per label, with their labels."""

    def drawn(seed: int, count: int = 30, labels: tuple[str, ...] = LABELS) -> Drawn:
        rng = np.random.default_rng(seed)
        names = [labels[number] for number in rng.integers(len(labels), size=count)]
        centers = np.random.default_rng(0).standard_normal((len(LABELS), DIMENSIONS))
        means = np.array([centers[LABELS.index(name)] for name in names]).reshape(-1, DIMENSIONS)
        return encode(means + 0.8 * rng.standard_normal((count, DIMENSIONS))), names

    return drawn


@pytest.fixture(scope="session")
def contribute(model: FleetModel, draw: Callable[..., Drawn]) -> Callable[..., Contribution]:
    """Return the contribution of a device whose samples are drawn from its seed."""

    def contribution(seed: int, count: int = 30, labels: tuple[str, ...] = LABELS) -> Contribution:
        return Contribution.of(f"device {seed}", model, *draw(seed, count, labels))

    return contribution

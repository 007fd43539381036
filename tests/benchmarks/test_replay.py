"""The benchmark of replay: every head learns the digits in the same order, and none of them sees the test."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the benchmark trains networks; run: pip install 'edgetl[host]'")

from benchmarks.replay import HEADS, PER_DIGIT, Embedded, learn_in_order, make_head, measure
from device.model.codes import Codes, encode

D = 16


def embedded(count: int, seed: int) -> Embedded:
    """Return embeddings of ten digits that are easy to separate."""
    random = np.random.default_rng(seed)
    digits = np.arange(count) % 10
    values = 0.2 * random.normal(size=(count, D))
    values[np.arange(count), digits] += 3
    return Embedded(encode(values), digits.astype(np.int64))


def draw(count: int, random: np.random.Generator) -> Codes:
    """Draw embeddings of any digit."""
    return embedded(400, 7).codes[random.integers(0, 400, count)]


def test_without_replay_the_first_digits_are_forgotten() -> None:
    """With stored samples and with the exact head they are not."""
    taught, test = embedded(300, 0), embedded(200, 1)
    figures = {name: learn_in_order(name, draw, taught, test, 0) for name in HEADS}
    assert figures["none"]["first_five"] < 0.3
    assert figures["stored"]["first_five"] > 0.9
    assert figures["exact"]["accuracy"] > 0.9


def test_each_digit_is_taught_with_the_same_number_of_samples() -> None:
    """And the heads are empty at first."""
    for name in HEADS:
        assert not make_head(name, draw, D, 0).counts
    taught = embedded(400, 0)
    assert all(len(taught.of(digit)) > PER_DIGIT for digit in range(10))


def test_the_figures_are_means_over_the_orders() -> None:
    """One order has no deviation."""
    taught, test = embedded(300, 0), embedded(100, 1)
    one, two = (measure("stored", draw, taught, test, seeds) for seeds in (1, 2))
    assert one["accuracy"]["deviation"] == 0
    runs = [learn_in_order("stored", draw, taught, test, seed)["accuracy"] for seed in range(2)]
    assert two["accuracy"]["mean"] == pytest.approx(np.mean(runs), abs=1e-4)

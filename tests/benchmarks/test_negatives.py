"""The benchmark of negatives, on a small set that is drawn here."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import negatives
from benchmarks.embeddings import Dataset


@pytest.fixture
def dataset() -> Dataset:
    """Three labels of overlapping clouds in 16 dimensions."""
    random = np.random.default_rng(0)
    means = random.normal(size=(3, 16))
    owners = np.repeat(np.arange(3), 300)
    values = means[owners] + 1.6 * random.normal(size=(900, 16))
    return Dataset("clouds", values.astype(np.float32), np.array(["a", "b", "c"])[owners])


@pytest.mark.parametrize("kind", ["background", "not", "confused"])
def test_false_alarms_fall_and_the_accuracy_stays(dataset: Dataset, kind: str) -> None:
    """All figures are shares, and ten samples are taught at most."""
    row = negatives.measure(dataset, kind, "exact", draws=3, samples=10)
    assert row is not None
    assert row["samples"] <= 10
    assert row["alarms_after"] < row["alarms_before"] <= 1
    assert row["accuracy_after"] > row["accuracy_before"] - 0.05


def test_the_table_has_a_row_per_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored results are those of the docs."""
    rows = [row for row in json.loads(negatives.RESULT.read_text())["rows"] if row["draws"] >= 5]
    table = negatives.page()
    assert table.split("\n\nMedian")[0].count("\n| ") == len(rows) + 2
    monkeypatch.setattr(negatives, "RESULT", negatives.RESULT.with_name("missing.json"))
    assert negatives.page() == ""

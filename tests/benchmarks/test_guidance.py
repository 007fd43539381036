"""The benchmarks of the queue and of mislabeled samples, on small drawn sets."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import doubts, mislabels
from benchmarks.embeddings import Dataset


@pytest.fixture
def dataset() -> Dataset:
    """Five overlapping clusters of very different sizes in 30 dimensions."""
    random = np.random.default_rng(3)
    owners = random.choice(5, 400, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    centers = random.normal(0, 1, (5, 30))
    values = centers[owners] + random.normal(0, 1.1, (400, 30))
    return Dataset("drawn", values.astype(np.float32), np.array([f"label {at}" for at in owners]))


def test_the_first_frames_of_the_queue_help_more_than_random_frames(dataset: Dataset) -> None:
    """In the mean of four draws, with labels one by one and all at once."""
    rows = [doubts.measure(dataset, draw, shots=1, stream=150) for draw in range(4)]
    after = doubts.summarize(rows)["after"]
    for order in ("queue, at once", "queue, one by one"):
        assert sum(after[order][n]["ahead"] for n in ("5", "10", "20")) > 0


def test_wrong_labels_are_those_of_whole_groups() -> None:
    """Every sample of a chosen group gets the same wrong label, and no other changes."""
    owners, groups = np.repeat(np.arange(4), 25), np.arange(100) // 5
    given, wrong = mislabels.mislabel(owners, groups, 4, 0.1, np.random.default_rng(0))
    assert (given != owners).tolist() == wrong.tolist()
    assert wrong.sum() == 10
    for group in np.unique(groups[wrong]):
        assert len(np.unique(given[groups == group])) == 1


def test_neighbors_make_the_suspects_more_precise(dataset: Dataset) -> None:
    """Compared with the head alone, in the mean of three draws."""
    found = mislabels.summarize([mislabels.measure(dataset, draw, 0.05) for draw in range(3)])
    ours, alone = found["head and neighbors"], found["head alone, p < .25"]
    assert ours["precision"][0] > alone["precision"][0]
    assert ours["recall"][0] > 0.4

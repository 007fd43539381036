"""How the coverage benchmark draws splits and judges intervals on held-out photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.coverage import PhotoData, agrees, draw, frozen, summary
from device.heads.intervals import wilson
from device.model.codes import encode


def drawn(views: int = 60, frames: int = 3) -> PhotoData:
    """Return a set of two labels; every view has the same number of photos."""
    count = views * frames
    labels = np.repeat(np.array(["a", "b"])[np.arange(views) % 2], frames)
    paths = tuple(Path(f"{place}.jpg") for place in range(count))
    return PhotoData("drawn", paths, labels, np.repeat(np.arange(views), frames))


def test_split_keeps_views_whole_and_parts_disjoint() -> None:
    """Held-out and taught photos share no view, and each label has the requested number of photos."""
    data = drawn()
    for seed in range(5):
        taught, held_out = draw(data, 12, seed)
        assert not set(data.views[taught]) & set(data.views[held_out])
        assert len(taught) + len(held_out) == len(data.labels)
        assert np.unique(data.labels[taught], return_counts=True)[1].tolist() == [12, 12]
    assert draw(data, 12, 0)[0].tolist() != draw(data, 12, 1)[0].tolist()


def test_accuracies_agree_if_their_samples_explain_the_difference() -> None:
    """A small difference agrees, as does any inside the interval; a large one does not."""
    interval = wilson(80, 100)
    assert agrees(0.8, interval, 0.75, 1000)
    assert agrees(0.8, interval, interval[0] - 0.005, 200)
    assert not agrees(0.8, interval, 0.6, 1000)


def test_estimate_is_at_chance_for_random_labels() -> None:
    """The estimate leaves out all frames of a view together, so it agrees with the held-out photos."""
    data = drawn(120)
    random = np.random.default_rng(0)
    values = np.repeat(random.normal(size=(120, 64)), 3, axis=0) + random.normal(0, 0.05, (360, 64))
    runs = {f"drawn frozen {seed}": frozen(data, encode(values), *draw(data, 60, seed)) for seed in range(4)}
    assert all(run["agree"] for run in runs.values())
    row = summary(runs)["drawn frozen"]
    assert row["judged"] == 4
    assert abs(row["truth"] - 0.5) < 0.1

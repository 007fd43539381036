"""How splits are drawn and counted when intervals are checked on photos held out."""

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


def test_a_split_takes_whole_views_and_nothing_twice() -> None:
    """What is held out shares no view with what is taught, and each label has what was asked."""
    data = drawn()
    for seed in range(5):
        taught, held_out = draw(data, 12, seed)
        assert not set(data.views[taught]) & set(data.views[held_out])
        assert len(taught) + len(held_out) == len(data.labels)
        assert np.unique(data.labels[taught], return_counts=True)[1].tolist() == [12, 12]
    assert draw(data, 12, 0)[0].tolist() != draw(data, 12, 1)[0].tolist()


def test_two_accuracies_agree_when_their_samples_explain_the_difference() -> None:
    """A large difference does not; a small one does, and so does any within the interval."""
    interval = wilson(80, 100)
    assert agrees(0.8, interval, 0.75, 1000)
    assert agrees(0.8, interval, interval[0] - 0.005, 200)
    assert not agrees(0.8, interval, 0.6, 1000)


def test_what_cannot_be_learned_is_judged_at_chance() -> None:
    """Noise by view: the estimate, whose frames are left out together, agrees with photos held out."""
    data = drawn(120)
    random = np.random.default_rng(0)
    values = np.repeat(random.normal(size=(120, 64)), 3, axis=0) + random.normal(0, 0.05, (360, 64))
    runs = {f"drawn frozen {seed}": frozen(data, encode(values), *draw(data, 60, seed)) for seed in range(4)}
    assert all(run["agree"] for run in runs.values())
    row = summary(runs)["drawn frozen"]
    assert row["judged"] == 4
    assert abs(row["truth"] - 0.5) < 0.1

"""What the benchmarks of fine-tuned backbones share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

from benchmarks.tuned import hits, split_folder, summarize, teach
from benchmarks.unseen_labels import FEW, _draw
from device.model.codes import apply_map
from edgetl.photos import Photo
from tests import tiny


def test_a_split_takes_as_many_photos_of_each_label(tmp_path: Path) -> None:
    """Training, held-out and test photos are different ones; another seed chooses others."""
    tiny.write_photos(tmp_path, 20)
    split = split_folder(tmp_path, 36, 0)
    assert len(split.taught) + len(split.tested) == 36
    labels = [photo.label for photo in (*split.taught, *split.tested)]
    assert {label: labels.count(label) for label in tiny.COLORS} == dict.fromkeys(tiny.COLORS, 12)
    assert not {photo.path for photo in split.taught} & {photo.path for photo in split.tested}
    assert len(split.tuning) == len(split.taught) - split.held_out.sum() < len(split.taught)
    assert split_folder(tmp_path, 36, 1).tested != split.tested


def test_few_photos_are_drawn_of_every_label() -> None:
    """Also of a label that is rare."""
    names = np.array(["a"] * 50 + ["b"] * 7)
    drawn = _draw(names, [0, 1])
    assert [(names[drawn] == name).sum() for name in "ab"] == [FEW, FEW]


def test_the_exact_head_is_taught_and_asked() -> None:
    """Two clusters are distinguished."""
    generator = np.random.default_rng(0)
    photos = [Photo(Path(str(place)), "ab"[place % 2]) for place in range(20)]
    centers = np.where(np.arange(20)[:, None] % 2, [1.0, 0.1], [0.1, 1.0])
    mapped = apply_map(centers + generator.uniform(0, 0.05, (20, 2)))
    head = teach(mapped[:10], photos[:10], np.arange(10) % 5 == 0)
    assert hits(head, mapped[10:], photos[10:]).all()


def test_a_summary_has_means_and_deviations() -> None:
    """One run has no deviation."""
    assert summarize([{"old": 0.5}, {"old": 0.7}]) == {"old": 0.6, "deviation": {"old": 0.1414}}
    assert summarize([{"old": 0.5}])["deviation"] == {"old": 0.0}

"""The comparison of backbones pairs splits and reports what int8 loses."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.backbones import accuracy, measure
from tests.tiny import TINY, TINY_INFER, write_photos


def test_a_row_per_backbone_compares_int8_with_float_and_with_the_first(tmp_path: Path) -> None:
    """The same file in both places loses nothing; the differences to the first backbone are paired by split."""
    write_photos(tmp_path / "photos", 8)
    models = {"one": {"none": TINY, "int8": TINY}, "other": {"none": TINY_INFER, "int8": TINY}}
    one, other = measure(tmp_path / "photos", models, splits=2)
    assert (one["backbone"], one["count"], len(one["int8"]["by_split"])) == ("one", 24, 2)
    assert one["int8_minus_float"] == one["int8_minus_first"] == {"mean": 0.0, "deviation": 0.0}
    assert (one["cosine"], one["centered_cosine"]) == (1.0, 1.0)
    assert other["int8_minus_first"] == {"mean": 0.0, "deviation": 0.0}


def test_accuracy_counts_photos_that_were_not_taught() -> None:
    """Separable embeddings are all recognized; random labels are recognized by chance."""
    chooser = np.random.default_rng(0)
    labels = np.array(["a", "b"] * 60)
    apart = np.where(labels[:, None] == "a", [4.0, 0.0], [0.0, 4.0]) + chooser.uniform(0, 1, (120, 2))
    assert accuracy(apart.astype(np.float32), labels, 0) == 1.0
    noise = chooser.uniform(0, 1, (120, 2)).astype(np.float32)
    assert accuracy(noise, labels, 0) < 0.9

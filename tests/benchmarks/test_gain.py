"""The benchmark of what fine-tuning gains: its split and its means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gain import _split, summary
from device.images import encode_jpeg


def run(frozen: float, tuned: float, exact: float) -> dict[str, Any]:
    """Return the figures of one split."""
    kinds = {"frozen": frozen, "tuned": tuned, "float": exact}
    figures = {
        kind: {"accuracy": accuracy, "seconds": 60, "cpu_seconds": 30} for kind, accuracy in kinds.items()
    }
    return {"photos": 75, "held_out": 25, **figures}


def test_the_gain_is_the_mean_over_the_splits_in_points() -> None:
    """Two splits of one set, one of another."""
    runs = {
        "flowers 0": run(0.9, 0.95, 0.96),
        "flowers 1": run(0.88, 0.91, 0.9),
        "mugs 0": run(0.5, 0.5, 0.5),
    }
    found = summary(runs)
    assert (found["flowers"]["gain"], found["flowers"]["gains"]) == (4.0, [5.0, 3.0])
    assert (found["flowers"]["frozen"], found["flowers"]["tuned"], found["flowers"]["float"]) == (
        89.0,
        93.0,
        93.0,
    )
    assert (found["mugs"]["splits"], found["mugs"]["gain"], found["mugs"]["minutes"]) == (1, 0.0, 1.0)


def test_a_quarter_of_each_label_is_held_out(tmp_path: Path) -> None:
    """No photo is in both folders, and another seed draws others."""
    random = np.random.default_rng(0)
    photos = []
    for number in range(16):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(encode_jpeg(random.integers(0, 256, (64, 64, 3), np.uint8), 90))
        photos.append((path, "ab"[number % 2]))
    parts = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        assert _split(photos, folder, seed) == (12, 4)
        parts.append({path.name for path in (folder / "test").rglob("*.jpg")})
        assert not parts[-1] & {path.name for path in (folder / "train").rglob("*.jpg")}
    assert parts[0] != parts[1]

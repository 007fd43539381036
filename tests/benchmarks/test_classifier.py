"""The benchmark of exported classifiers compares the right things."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.classifier import compared, measure
from tests import tiny


@pytest.mark.parametrize("model", [tiny.TINY, tiny.TINY_GRAY], ids=lambda path: str(path.stem))
def test_a_bare_interpreter_agrees_with_the_learner(model: Path, tmp_path: Path) -> None:
    """Without MediaPipe's environment its part is left out."""
    tiny.write_photos(tmp_path, count=8)
    found = measure(model, tmp_path, taught=5, tested=3, python=tmp_path / "none")
    assert (found["photos"], found["bare_interpreter"]["same_label"], "mediapipe" in found) == (9, 9, False)
    assert found["bare_interpreter"]["largest_difference"] < 1e-3
    assert found["learner"]["accuracy"] == found["bare_interpreter"]["accuracy"]


def test_differences_and_agreement_are_counted() -> None:
    """The largest difference is that of any label of any photo."""
    ours, found = [{"a": 0.6, "b": 0.4}, {"a": 0.1, "b": 0.9}], [{"a": 0.4, "b": 0.6}, {"a": 0.1, "b": 0.9}]
    result = compared(found, ours, ["a", "b"])
    assert result == {"accuracy": 0.5, "same_label": 1, "largest_difference": 0.2, "mean_difference": 0.1}

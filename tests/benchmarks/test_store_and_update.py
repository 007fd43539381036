"""The benchmarks of lessons and of the state file run on small inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import store, update
from benchmarks.peers import streaming
from tests.tiny import TINY


def test_commits_are_compared_with_flushes_of_the_same_disk(tmp_path: Path) -> None:
    """Larger commits write fewer bytes per sample."""
    runs = [
        store.measure(tmp_path, 32, pictures, at_once) for pictures in (True, False) for at_once in (1, 32)
    ]
    assert [run["samples_at_once"] for run in runs] == [1, 32, 1, 32]
    assert all(run["commit_to_flush"] > 0 and run["samples_per_second"] > 0 for run in runs)
    assert runs[1]["bytes_written_per_sample"] <= runs[0]["bytes_written_per_sample"]
    assert runs[2]["thumbnail_bytes"] == 0
    assert not list(tmp_path.iterdir())


def test_a_state_is_opened_with_every_sample_and_again_with_the_kept_head(tmp_path: Path) -> None:
    """Both end with a prediction."""
    opening = store.measure_opening(TINY, tmp_path, 60)
    assert opening["samples"] == 60
    assert opening["file_bytes"] > 60 * 32
    runs = [store.measure(tmp_path, 2, False, 1)]
    names = [figure.name for figure in store.figures(runs, [opening])]
    assert "commit / flush, without thumbnails, one by one" in names
    assert "second / first opening of 60 samples" in names
    commits, openings = store.tables(runs, [opening], "ext4")
    assert commits.note.startswith("On ext4.")
    assert openings.rows[0][0] == 60


def test_everybody_learns_the_same_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each contestant predicts the label of the sample that it has just learned; the head of the tiny model has 8 columns."""
    monkeypatch.setattr(update, "LABELS", 4)
    drawn = update.samples(40, 32)
    everybody = update.contestants(TINY, drawn, 36)
    assert {one.name for one in everybody} >= {
        "edgetl, exact head",
        "Coral imprinting",
        "scikit-learn partial_fit",
    }
    for one in everybody:
        answer = one.lesson(37)
        if one.name.startswith("edgetl"):
            assert answer.label == f"label {drawn.owners[37]}"
        elif one.name == "train signature, one step":
            assert answer.shape == (1, 8)
        else:
            assert answer.shape == (1,)


def test_our_lesson_is_compared_with_each_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that is not installed has no figure."""
    monkeypatch.setattr(update, "LABELS", 4)
    monkeypatch.setattr(streaming, "has_river", lambda: False)
    result = update.measure(TINY, 20, 3)
    figures = {figure.name: figure.value for figure in update.figures(result)}
    assert figures["lesson / Coral SGD, 500 iterations"] < figures["lesson / Coral imprinting"]
    assert not any("River" in name for name in figures)
    assert "River was not installed." in update.table(result).note


def test_partial_fit_learns_sample_by_sample() -> None:
    """On two far classes it is always right."""
    peer = streaming.PartialFit(3, 2)
    features = np.repeat(np.eye(3)[:2], 20, axis=0)
    peer.learn(features, np.repeat([0, 1], 20))
    assert peer.predict(np.eye(3)[:2]).tolist() == [0, 1]

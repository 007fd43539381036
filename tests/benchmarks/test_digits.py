"""The benchmark of handwritten digits: its samples are apart, and each method runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the benchmark trains networks; run: pip install 'edgetl[host]'")
pytest.importorskip("sklearn", reason="the digits need scikit-learn; run: pip install scikit-learn")

from benchmarks.digits import (
    METHODS,
    Digits,
    Task,
    pooled_features,
    read_archive,
    read_sklearn,
    split,
    teach,
    train_gan,
    train_supervised,
    unlabeled,
)


def numbered(digits: Digits) -> Digits:
    """Return digits whose first pixels number them, to recognize them again."""
    images = digits.images.copy()
    number = np.arange(len(images))
    images[:, 0, 0, 0], images[:, 0, 0, 1] = number % 256, number // 256
    return Digits(images, digits.digits)


def test_test_digits_are_not_among_the_samples() -> None:
    """There are k samples of each digit, and no image is on both sides."""
    taught, test = split(numbered(read_sklearn()), 10, 0)
    assert np.bincount(taught.digits).tolist() == [10] * 10
    sides = [{tuple(image[0, 0, :2].tolist()) for image in part.images} for part in (taught, test)]
    assert len(sides[0]) == 100
    assert not sides[0] & sides[1]


def test_another_seed_draws_other_samples() -> None:
    """The same seed draws the same samples."""
    digits = read_sklearn()
    first, again, other = (split(digits, 10, seed)[0].images for seed in (0, 0, 1))
    assert (first == again).all()
    assert not (first == other).all()


def test_methods_on_raw_pixels_are_far_above_chance() -> None:
    """Chance is a tenth."""
    task = Task(read_sklearn(), 10, 0)
    assert METHODS["raw-exact"](task)["accuracy"] > 0.7
    assert METHODS["raw-svc"](task)["accuracy"] > 0.8


def test_a_backbone_is_trained_converted_and_taught() -> None:
    """A few epochs are enough to be far above chance, in a file under 150 KB."""
    task = Task(read_sklearn(), 10, 0)
    result = teach(train_supervised("cnn-28", task.taught, 6, 0), task)
    assert result["accuracy"] > 0.4
    assert result["kilobytes"] < 150


def test_a_gan_learns_from_digits_that_no_test_uses() -> None:
    """Where there are few digits, only the test of the same k is left out; otherwise those of all k."""
    digits = numbered(read_sklearn())
    seen = unlabeled(digits, 10, 0)
    _, test = split(digits, 10, 0)
    sides = [{tuple(image[0, 0, :2].tolist()) for image in part.images} for part in (seen, test)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) == len(digits.digits) - len(test.digits)
    many = Digits(np.concatenate([digits.images] * 4), np.concatenate([digits.digits] * 4))
    shared = [unlabeled(many, k, 0) for k in (10, 100)]
    assert (shared[0].images == shared[1].images).all()


def test_a_gan_is_trained_converted_and_taught() -> None:
    """Its features are far above chance, in a file under 150 KB."""
    task = Task(read_sklearn(), 10, 0)
    seen = unlabeled(task.digits, 10, 0).images[:64, ..., :1]
    model = train_gan(seen, 2, 0)
    assert pooled_features(model)(task.test.images[:300]).shape == (300, 2688)
    result = teach(model, task)
    assert result["accuracy"] > 0.4
    assert result["kilobytes"] < 150


def test_an_archive_of_another_form_is_refused(tmp_path: Path) -> None:
    """The message names what was expected and what came."""
    path = tmp_path / "digits.npz"
    np.savez(path, x=np.zeros((3, 8, 8), np.uint8), y=np.zeros(3))
    with pytest.raises(SystemExit, match=r"x uint8 \[N, 28, 28\] and y \[N\], got uint8 \(3, 8, 8\)"):
        read_archive(path)
    np.savez(path, images=np.zeros((3, 28, 28), np.uint8))
    with pytest.raises(SystemExit, match="arrays x and y"):
        read_archive(path)

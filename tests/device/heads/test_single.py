"""One embedding at a time is predicted like many of them."""

from __future__ import annotations

import numpy as np
import pytest

from device.heads import Prediction, create_head
from device.heads.base import Head
from device.heads.single import MOST_LABELS, Single
from device.model.codes import Codes, encode

from .conftest import D, samples, taught


def assert_alike(one: Prediction, other: Prediction) -> None:
    """Check that two predictions differ by no more than rounding."""
    assert (one.label, one.known, list(one.scores)) == (other.label, other.known, list(other.scores))
    assert list(one.scores.values()) == pytest.approx(list(other.scores.values()), abs=1e-12)
    assert one.unknown_score == pytest.approx(other.unknown_score, abs=1e-9)


def assert_single(head: Head, codes: Codes) -> None:
    """Check that the fit is arranged for one embedding, and predicts what it predicts for many."""
    assert isinstance(head._current_fit().single, Single)
    many = head.predict_many(np.concatenate([codes, codes]), all_scores=True)
    for code, expected in zip(codes, many, strict=False):
        assert_alike(head.predict_one(code, all_scores=True), expected)


@pytest.mark.parametrize("name", ["exact", "lda"])
@pytest.mark.parametrize(("count", "labels"), [(1, 1), (9, 1), (4, 4), (12, 4), (60, 4), (200, 20)])
def test_one_embedding_is_predicted_like_many(name: str, count: int, labels: int) -> None:
    """From one sample of one label to more samples than dimensions."""
    noise = encode(np.random.default_rng(9).normal(size=(10, D)))
    assert_single(taught(name, count, labels), np.concatenate([samples(10, labels, seed=1)[0], noise]))


@pytest.mark.parametrize("name", ["exact", "lda"])
def test_priors_count_for_one_embedding(name: str) -> None:
    """They are part of the linear map."""
    head = create_head(name, D, priors="taught")
    codes, labels = samples(40)
    head.learn_many(
        codes[:32], [label if number % 8 else "label 0" for number, label in enumerate(labels[:32])]
    )
    assert_single(head, codes[32:])


def test_an_updated_fit_is_arranged_too() -> None:
    """Directly after a lesson, before the complete fit."""
    head = taught("exact", 200)
    head.settle()
    head.learn_one(samples(1, seed=3)[0][0], "new")
    assert not head.settled
    assert_single(head, samples(8, seed=4)[0])


@pytest.mark.parametrize("code", [np.zeros(D, np.int16), np.full(D, 30_000, np.int16)])
def test_extreme_embeddings_are_predicted_like_many(code: Codes) -> None:
    """A black frame, and numbers that no map produces."""
    assert_single(taught("exact"), code[np.newaxis])


def test_of_equally_probable_labels_the_first_by_name_wins() -> None:
    """Labels with the same samples have the same rows, wherever these are in the matrix."""
    codes, _ = samples(6)
    head = create_head("exact", D)
    for label in ("e", "b", "a", "d", "c"):
        head.learn_many(codes, [label] * 6)
    seen = head.predict_one(codes[0])
    assert list(seen.scores) == ["a", "b", "c", "d", "e"]
    assert len(set(seen.scores.values())) == 1


def test_other_fits_are_predicted_as_many() -> None:
    """A head that is not linear, and one with so many labels that their rows would take much RAM."""
    assert taught("knn").fit.single is None
    count = MOST_LABELS + 1
    wide = create_head("exact", 80)
    wide.learn_many(*samples(2 * count, count, dimensions=80))
    assert wide.fit.single is None
    assert wide.predict_one(samples(1, count, dimensions=80)[0][0]).label == "label 0"

"""The correction of predictions by negatives and background."""

from __future__ import annotations

import numpy as np
import pytest

from device.errors import LabelError
from device.heads import create_head
from device.heads.rejection import LOSS, Rejection
from device.model.codes import Codes, encode
from device.negatives import BACKGROUND, check_stored, negative_of, split_counts, split_label, stored_label

DIMENSIONS = 24


def samples(center: int, count: int, seed: int) -> Codes:
    """Return codes around one of several directions, int16 [count, D]."""
    random = np.random.default_rng([seed, center])
    mean = np.random.default_rng(center).normal(size=DIMENSIONS)
    return encode(mean + 0.8 * random.normal(size=(count, DIMENSIONS)))


def taught(count: int = 12) -> tuple[object, Rejection]:
    """Return a head that knows two labels, and a rejection beside it."""
    head = create_head("exact", DIMENSIONS)
    for place, label in enumerate(("bowl", "mug")):
        head.learn_many(samples(place, count, 0), [label] * count)
    rejection = Rejection.beside(head)
    assert rejection is not None
    head.rejection = rejection
    return head, rejection


def test_a_negative_lowers_only_its_own_label() -> None:
    """Of any frame, the other label keeps at least its probability, and the sum never exceeds one."""
    head, rejection = taught()
    asked = np.concatenate([samples(center, 20, 1) for center in range(4)])
    plain = head.probabilities(asked)
    rejection.learn(samples(2, 5, 0), [negative_of("mug")] * 5)
    corrected, _ = rejection.correct(asked, head.labels, plain, np.ones(len(asked), bool))
    bowl, mug = 0, 1
    assert (corrected[:, mug] <= plain[:, mug] + 1e-12).all()
    assert (corrected[:, bowl] >= plain[:, bowl] - 1e-12).all()
    assert (corrected.sum(axis=1) <= 1 + 1e-12).all()


def test_background_never_makes_a_frame_known_nor_changes_the_order_of_labels() -> None:
    """It scales the probabilities of a frame by one factor."""
    head, rejection = taught()
    asked = np.concatenate([samples(center, 20, 1) for center in range(4)])
    plain, known = head.probabilities(asked), np.arange(len(asked)) % 2 == 0
    rejection.learn(samples(2, 5, 0), [BACKGROUND] * 5)
    corrected, still = rejection.correct(asked, head.labels, plain, known)
    assert not (still & ~known).any()
    np.testing.assert_allclose(corrected / corrected.sum(axis=1, keepdims=True), plain, atol=1e-9)
    assert still[40:60].mean() < 0.2 < still[:40].mean()


def test_the_samples_of_a_label_are_seldom_rejected_when_they_are_left_out() -> None:
    """Even if the negatives look like the label, because the margin is a quantile of its left-out samples."""
    head, rejection = taught(60)
    rejection.learn(samples(1, 6, 5), [negative_of("mug")] * 6)  # drawn like the label itself
    fresh = samples(1, 400, 9)
    plain = head.probabilities(fresh)
    corrected, known = rejection.correct(fresh, head.labels, plain, np.ones(len(fresh), bool))
    lost = ((plain[:, 1] > 0.5) & ~((corrected[:, 1] > 0.5) & known)).mean()
    assert lost <= 3 * LOSS


def test_a_frame_that_was_denied_is_denied_whatever_the_margin() -> None:
    """A correction takes effect where it was made."""
    head, rejection = taught(60)
    denied = samples(1, 3, 5)
    rejection.learn(denied, [negative_of("mug")] * 3)
    assert not any(seen.known and seen.label == "mug" for seen in head.predict_many(denied))


def test_forgetting_is_exact_and_the_order_does_not_matter() -> None:
    """Predictions are bit for bit those of a rejection that never learned the sample."""
    asked = np.concatenate([samples(center, 5, 1) for center in range(4)])
    head, rejection = taught()
    lesson = samples(2, 4, 0), [negative_of("mug")] * 4
    more = samples(3, 4, 0), [BACKGROUND] * 4
    rejection.learn(*lesson)
    before = head.predict_many(asked)
    rejection.learn(*more)
    assert head.predict_many(asked) != before
    rejection.forget(*more)
    rejection.classes.settle()
    assert head.predict_many(asked) == before


def test_negatives_of_a_label_without_samples_change_nothing() -> None:
    """Such as those of a label whose samples were all forgotten."""
    head, rejection = taught()
    asked = samples(1, 5, 1)
    before = head.predict_many(asked)
    rejection.learn(samples(2, 3, 0), [negative_of("cup")] * 3)
    assert head.predict_many(asked) == before
    assert not rejection.rejected(samples(2, 3, 0), negative_of("cup")).any()


@pytest.mark.parametrize("label", ["mug", "not mug", "ä"])
def test_stored_labels_are_read_back(label: str) -> None:
    """A label, its negative and background are three different texts."""
    assert split_label(stored_label(label)) == (label, None)
    assert split_label(stored_label(None, label)) == (None, label)
    assert split_label(stored_label(None)) == (None, None)
    assert split_counts({label: 1, negative_of(label): 2, BACKGROUND: 3}) == ({label: 2}, 3)
    assert check_stored(negative_of(label)) == negative_of(label)
    with pytest.raises(LabelError):
        check_stored(negative_of(negative_of(label)))


def test_a_lesson_needs_no_complete_fit_of_the_hidden_classes() -> None:
    """It updates the last one; completing it on a copy, as in the background, changes predictions little."""
    head, rejection = taught(100)
    rejection.learn(samples(2, 6, 0), [negative_of("mug")] * 6)
    rejection.learn(samples(3, 6, 0), [BACKGROUND] * 6)
    asked = np.concatenate([samples(center, 20, 1) for center in range(4)])
    head.predict_many(asked)
    for labels in (["mug"], [negative_of("mug")]):
        lesson = samples(1 if labels == ["mug"] else 2, 1, 7)
        if labels == ["mug"]:
            head.learn_many(lesson, labels)
        rejection.learn(lesson, labels)
    updated = head.predict_many(asked)
    assert not rejection.classes.settled
    copy = rejection.classes.snapshot()
    copy.settle()
    rejection.classes.adopt(copy)
    assert rejection.classes.settled
    complete = head.predict_many(asked)
    alike = [one.known == other.known for one, other in zip(updated, complete, strict=True)]
    assert np.mean(alike) >= 0.95

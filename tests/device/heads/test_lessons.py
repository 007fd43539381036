"""Predictions after a few lessons, from an update of the last complete fit."""

import numpy as np
import pytest

from device.heads.base import Linear
from device.heads.exact import ExactHead
from device.heads.lessons import FEWEST
from device.heads.nearest import directions
from device.heads.projected import ProjectedLinear
from device.heads.ridge import solve
from device.heads.single import MOST_LABELS
from device.heads.update import Update

from .conftest import D, samples

MANY = 2 * FEWEST


def taught(count: int = MANY) -> ExactHead:
    """Return a head with a complete fit."""
    head = ExactHead(D)
    head.learn_many(*samples(count))
    head.settle()
    return head


@pytest.mark.parametrize(
    "count", [30, 300], ids=["fewer samples than dimensions", "more samples than dimensions"]
)
def test_an_update_equals_solving_again_at_the_same_ridge(count: int) -> None:
    """Samples learned and forgotten, one of them of a new label, lead to the same solution to 1e-9."""
    codes, labels = samples(count + 10)
    labels[-1] = "a new label"
    head = ExactHead(D, ridge=0.5)
    head.learn_many(codes[:count], labels[:count])
    update = Update(head.solution(), head.labels)
    update.add(codes[count:], labels[count:], 1)
    update.add(codes[:3], labels[:3], -1)
    statistics = head.statistics.copy()
    statistics.add(codes[count:], labels[count:])
    statistics.remove(codes[:3], labels[:3])
    ours = update.solution(update.moved(statistics.counts))
    expected = solve(statistics, statistics.selection(8), 0.5)
    for name in ("W", "P"):
        np.testing.assert_allclose(getattr(ours, name), getattr(expected, name), atol=1e-9)
    for name in ("counts", "mean", "Q", "trace"):
        np.testing.assert_allclose(getattr(ours.moments, name), getattr(expected.moments, name), atol=1e-9)


def test_a_prediction_after_a_lesson_does_not_wait_for_the_complete_fit() -> None:
    """The head is unsettled then, and its predictions are close to those of the complete fit."""
    head = taught()
    codes, labels = samples(MANY + 60, seed=0)
    head.learn_many(codes[MANY : MANY + 3], labels[MANY : MANY + 3])
    soon = head.predict_many(codes[-50:], all_scores=True)
    assert not head.settled
    head.settle()
    assert head.settled
    later = head.predict_many(codes[-50:], all_scores=True)
    assert [one.label for one in soon] == [one.label for one in later]
    gaps = [
        abs(one.scores[name] - two.scores[name])
        for one, two in zip(soon, later, strict=True)
        for name in two.scores
    ]
    assert 0 < max(gaps) < 0.02


def test_the_new_label_of_a_lesson_is_predicted_at_once() -> None:
    """A label that the complete fit does not know gets its own score."""
    head = taught()
    new = np.zeros(D, np.int16)
    new[-1] = 4096
    head.learn_many(np.stack([new] * 3), ["new"] * 3)
    assert head.predict_one(new).label == "new"
    assert not head.settled


def test_what_is_forgotten_does_not_count_at_once() -> None:
    """Learning a label and forgetting it again leads back to the predictions of before."""
    head = taught()
    codes, _ = samples(MANY + 20)
    before = head.predict_many(codes[-20:], all_scores=True)
    head.learn_many(codes[MANY : MANY + 3], ["label 1"] * 3)
    head.forget(codes[MANY : MANY + 3], ["label 1"] * 3)
    for old, now in zip(before, head.predict_many(codes[-20:], all_scores=True), strict=True):
        assert now.scores == pytest.approx(old.scores, abs=1e-9)
    assert head.digest() == taught().digest()


def test_everything_but_predictions_uses_the_complete_fit() -> None:
    """The linear map, the report and the probabilities do not depend on when the head was last complete."""
    head, other = taught(), ExactHead(D)
    codes, labels = samples(MANY + 3)
    head.learn_many(codes[MANY:], labels[MANY:])
    _ = head.predict_one(codes[0])
    other.learn_many(codes[::-1], labels[::-1])
    np.testing.assert_array_equal(head.probabilities(codes[:20]), other.probabilities(codes[:20]))


@pytest.mark.parametrize("change", ["many lessons", "a renamed label", "a label gone", "few samples"])
def test_other_changes_lead_to_a_complete_fit(change: str) -> None:
    """An update is used only where it is close to the complete fit."""
    head = taught(FEWEST - 1 if change == "few samples" else MANY)
    codes, labels = samples(2 * MANY)
    if change == "many lessons":
        head.learn_many(codes[MANY:], labels[MANY:])
    elif change == "a renamed label":
        head.learn_many(codes[MANY : MANY + 1], ["label 1"])
        head.rename("label 1", "renamed")
    elif change == "a label gone":
        head.learn_one(codes[0], "short")
        head.settle()
        head.forget(codes[:1], ["short"])
    else:
        head.learn_one(codes[0], "label 0")
    _ = head.predict_one(codes[0])
    assert head.settled


def test_a_snapshot_is_adopted_with_the_lessons_since() -> None:
    """A fit that another thread computed is the new base, and later lessons are updates of it."""
    head = taught()
    codes, labels = samples(MANY + 4)
    head.learn_many(codes[MANY : MANY + 2], labels[MANY : MANY + 2])
    copy = head.snapshot()
    head.learn_many(codes[MANY + 2 :], labels[MANY + 2 :])
    copy.settle()
    head.adopt(copy)
    assert not head.settled
    soon = head.predict_many(codes[:30], all_scores=True)
    head.settle()
    for one, two in zip(soon, head.predict_many(codes[:30], all_scores=True), strict=True):
        assert one.scores == pytest.approx(two.scores, abs=0.02)


def test_an_adopted_snapshot_of_the_present_is_the_complete_fit() -> None:
    """Without lessons since, the head has the same fit as if it had computed it."""
    head, other = taught(), taught()
    codes, labels = samples(MANY + 2)
    for one in (head, other):
        one.learn_many(codes[MANY:], labels[MANY:])
    copy = head.snapshot()
    copy.settle()
    head.adopt(copy)
    assert head.settled
    np.testing.assert_array_equal(head.probabilities(codes), other.probabilities(codes))


def test_a_snapshot_from_before_a_renamed_label_is_not_adopted() -> None:
    """Its columns belong to other labels."""
    head = taught()
    codes, _ = samples(MANY + 1)
    head.learn_one(codes[-1], "label 1")
    copy = head.snapshot()
    copy.settle()
    head.rename("label 1", "renamed")
    head.adopt(copy)
    assert "renamed" in {head.predict_one(code).label for code in codes[:40]}
    assert "label 1" not in head.labels


def test_many_labels_are_predicted_without_the_product_of_all_of_them() -> None:
    """The same predictions as from the whole map, also after the first sample of a new label."""
    many = MOST_LABELS + 6
    codes, _ = samples(MANY + 40)
    labels = [f"label {place % many:02d}" for place in range(len(codes))]
    head = ExactHead(D)
    head.learn_many(codes[:MANY], labels[:MANY])
    head.settle()
    head.learn_many(codes[MANY : MANY + 3], [*labels[MANY : MANY + 2], "a new label"])
    head.forget(codes[:1], labels[:1])
    soon = head.predict_many(codes[-30:], all_scores=True)
    linear = head._current_fit().linear
    assert isinstance(linear, ProjectedLinear)
    whole = Linear(linear.W, linear.b)
    np.testing.assert_allclose(linear.logits(codes), whole.logits(codes), atol=1e-8)
    assert not head.settled
    head.settle()
    later = head.predict_many(codes[-30:], all_scores=True)
    assert set(soon[0].scores) == set(later[0].scores) >= {"a new label"}
    agree = [one.label == two.label for one, two in zip(soon, later, strict=True)]
    assert np.mean(agree) > 0.9  # seventy labels are drawn from a few clusters: most of them are ties


def test_means_of_labels_without_a_lesson_are_kept() -> None:
    """The unknown score uses the present mean of each label, to the bit."""
    head = taught()
    codes, labels = samples(MANY + 3)
    head.learn_many(codes[MANY:], labels[MANY:])
    novelty = head._current_fit().novelty
    expected = directions(head.statistics.sums()[1].astype(np.float64))
    np.testing.assert_array_equal(novelty.unknown.means, expected)  # type: ignore[attr-defined]


def test_a_head_that_is_settled_elsewhere_updates_longer() -> None:
    """Up to a tenth of new samples instead of a twentieth, from which on it asks for the complete fit."""
    head, alone = taught(), taught()
    head.expect_settling()
    codes, labels = samples(2 * MANY)
    for place in range(MANY, MANY + MANY // 20 + 1):
        for one in (head, alone):
            one.learn_one(codes[place], labels[place])
            assert not one.due or place == MANY + MANY // 20
    assert head.due
    assert not head.settled
    assert alone.settled  # its next prediction computes the complete fit
    head.learn_many(codes[-MANY // 10 :], labels[-MANY // 10 :])
    assert head.settled

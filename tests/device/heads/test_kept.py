"""The head that continues an old classifier: old answers stay, and taught labels are learned beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from device.errors import HeadError, LabelError
from device.heads import Linear
from device.heads.base import softmax
from device.heads.kept import RIDGE, KeptHead, corrections
from device.heads.report import self_report
from device.model.codes import Codes, decode, encode

D, OLD = 12, ("ant", "bee", "cat", "dog")
RANDOM = np.random.default_rng(5)
CENTERS = np.repeat(np.eye(6), 2, axis=1) + 0.2  # two numbers per center, and a part that all share
CLASSIFIER = Linear(8 * (CENTERS[:4] - CENTERS[:4].mean(0)).T, np.array([0.0, 0.5, -0.5, 1.0]))


def codes_of(center: int, count: int, seed: int = 0) -> Codes:
    """Return samples around a center."""
    noise = np.random.default_rng(seed * 10 + center).normal(0, 0.1, (count, D))
    return encode(CENTERS[center] + noise, "identity")


def kept(**options: Any) -> KeptHead:
    """Return a head that has learned nothing."""
    return KeptHead(D, old=CLASSIFIER, old_labels=OLD, **options)


def taught() -> KeptHead:
    """Return a head that has learned two new labels and samples of an old one."""
    head = kept()
    head.learn_many(codes_of(4, 8), ["emu"] * 8)
    head.learn_many(codes_of(5, 8), ["fox"] * 8)
    head.learn_many(codes_of(1, 4), ["bee"] * 4)
    return head


def test_it_answers_as_the_old_classifier_before_anything_is_taught() -> None:
    """The same probabilities, and all labels."""
    queried = codes_of(2, 5)
    expected = softmax(decode(queried) @ CLASSIFIER.W + CLASSIFIER.b)
    np.testing.assert_array_equal(kept().probabilities(queried), expected)
    assert kept().labels == OLD
    assert all(found.known for found in kept().predict_many(queried))


def test_new_labels_are_learned_and_old_answers_stay() -> None:
    """On new samples of both."""
    head = taught()
    assert head.labels == (*OLD, "emu", "fox")
    for center, label in enumerate((*OLD, "emu", "fox")):
        assert [found.label for found in head.predict_many(codes_of(center, 20, seed=1))] == [label] * 20


def test_untaught_columns_do_not_change() -> None:
    """The linear map contains them as they were."""
    linear = taught().linear()
    assert linear is not None
    for label in ("ant", "cat", "dog"):
        np.testing.assert_array_equal(
            linear.W[:, taught().labels.index(label)], CLASSIFIER.W[:, OLD.index(label)]
        )


def test_the_corrections_are_a_minimum() -> None:
    """The gradient of the loss, by finite differences, is zero there, and any other point is worse."""
    Z, truth = decode(codes_of(4, 9)), np.eye(2)[np.arange(9) % 2]
    start, others = RANDOM.normal(0, 1, (9, 2)), RANDOM.normal(2, 1, 9)
    unit = np.linalg.norm(Z, axis=1).mean()

    def loss(added: Any) -> float:
        logits = np.hstack([start + Z @ added, others[:, None]])
        chances = softmax(logits)[:, :2]
        return float(-np.log((truth * chances).sum(1)).mean() + RIDGE / 2 * unit**2 * (added**2).sum())

    found = corrections(Z, truth, start, others, steps=5000)
    for place in ((0, 0), (5, 1), (11, 0)):
        step = np.zeros_like(found)
        step[place] = 1e-5
        assert abs(loss(found + step) - loss(found - step)) / 2e-5 < 1e-5
    assert loss(found) < loss(np.zeros_like(found))


def test_the_order_of_samples_does_not_matter_and_forgetting_is_exact() -> None:
    """The same digest and the same answers."""
    head, codes, labels = (
        kept(),
        [*codes_of(4, 8), *codes_of(5, 8), *codes_of(1, 4)],
        ["emu"] * 8 + ["fox"] * 8 + ["bee"] * 4,
    )
    order = np.random.default_rng(1).permutation(len(codes))
    for place in order:
        head.learn_one(codes[place], labels[place])
    extra = codes_of(3, 3)
    head.learn_many(extra, ["gnu"] * 3)
    assert "gnu" in head.labels
    head.forget(extra, ["gnu"] * 3)
    assert head.digest() == taught().digest()
    assert head.labels == taught().labels
    np.testing.assert_array_equal(
        head.probabilities(codes_of(4, 4, 2)), taught().probabilities(codes_of(4, 4, 2))
    )
    with pytest.raises(HeadError, match="cannot forget"):
        head.forget(extra, ["gnu"] * 3)


def test_state_and_clone_keep_everything() -> None:
    """The state contains the samples; the old classifier is in the model file."""
    head = taught()
    again = KeptHead.restore(D, head.state()).continue_from(kept())
    for other in (again, head.clone()):
        assert other.digest() == head.digest()
        assert other.labels == head.labels
        np.testing.assert_array_equal(other.probabilities(codes_of(0, 3)), head.probabilities(codes_of(0, 3)))


def test_labels_are_renamed_joined_and_deleted() -> None:
    """Old ones and new ones."""
    head = taught()
    head.rename("ant", "termite")
    head.rename("emu", "ostrich")
    head.rename("fox", "dog")
    assert head.labels == ("bee", "cat", "dog", "ostrich", "termite")
    assert head.predict_one(codes_of(0, 1)[0]).label == "termite"
    assert head.predict_one(codes_of(5, 1, 1)[0]).label == "dog"
    head.delete("termite")
    head.delete("dog")
    assert head.labels == ("bee", "cat", "ostrich")
    with pytest.raises(LabelError):
        head.delete("termite")
    head = kept()
    head.rename_old({"ant": None, "bee": "wasp"})
    assert head.labels == ("cat", "dog", "wasp")


def test_it_merges_with_another_device() -> None:
    """As if one had learned both."""
    one, other = kept(), kept()
    one.learn_many(codes_of(4, 8), ["emu"] * 8)
    other.learn_many(codes_of(5, 8), ["fox"] * 8)
    other.learn_many(codes_of(1, 4), ["bee"] * 4)
    one.merge(other)
    np.testing.assert_allclose(
        one.probabilities(codes_of(5, 4, 3)), taught().probabilities(codes_of(5, 4, 3)), atol=1e-9
    )


def test_the_report_leaves_out_labels_that_play_no_part() -> None:
    """A thousand old labels would fill pages; only those taught or predicted are listed."""
    head = taught()
    codes = np.concatenate([codes_of(4, 8), codes_of(5, 8), codes_of(1, 4)])
    report = self_report(head, codes, ["emu"] * 8 + ["fox"] * 8 + ["bee"] * 4)
    assert set(report.labels) >= {"bee", "emu", "fox"}
    assert report.confusion.shape == (len(report.labels),) * 2
    assert not set(report.labels) & {"cat"}
    assert report.accuracy is not None
    assert report.accuracy >= 0.9
    only_bee = kept()
    only_bee.learn_many(codes_of(1, 4), ["bee"] * 4)
    left = only_bee.leave_out(codes_of(1, 4), ["bee"] * 4)
    assert left.shape == (4, 4)
    assert np.isfinite(left).all()

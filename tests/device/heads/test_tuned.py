"""Samples that tuned the backbone teach a head, but do not judge it."""

from __future__ import annotations

import numpy as np
import pytest

from device.heads import HEADS, Head, create_head, head_class, ridge
from device.heads.calibration import FEWEST_JUDGES, NO_JUDGES
from device.heads.exact import ExactHead
from device.heads.report import self_report
from device.model.codes import Codes, encode

from .conftest import D, samples

ORDER_FREE = [name for name in HEADS if head_class(name).order_free]
every_head = pytest.mark.parametrize("name", HEADS)
every_order_free_head = pytest.mark.parametrize("name", ORDER_FREE)


def leaky(fresh: int = 60, tuned: int = 240, seed: int = 0) -> tuple[Codes, list[str], int]:
    """Return codes, labels and the number of tuned samples, which come first.

    Tuned samples carry their label in one dimension, as after a backbone has learned them by heart. Fresh
    samples are noise, so that no head can do better than chance on new ones.
    """
    random = np.random.default_rng(seed)
    values = random.normal(size=(tuned + fresh, D))
    owners = np.arange(tuned + fresh) % 2
    values[:tuned, 0] += np.where(owners[:tuned] == 1, 8, -8)
    return encode(values), [f"label {owner}" for owner in owners], tuned


def taught(name: str, codes: Codes, labels: list[str], tuned: int) -> Head:
    """Return a head that has learned all samples, the first `tuned` of them excluded from judging."""
    head = create_head(name, D)
    head.exclude(codes[:tuned])
    head.learn_many(codes, labels)
    return head


@pytest.mark.parametrize("name", ["exact", "ncm", "lda", "knn"])
def test_samples_that_tuned_the_backbone_do_not_judge(name: str) -> None:
    """The accuracy is that of new samples; leave-one-out over all samples would be far higher."""
    codes, labels, tuned = leaky()
    all_samples = self_report(taught(name, codes, labels, 0), codes, labels)
    report = self_report(taught(name, codes, labels, tuned), codes, labels)
    assert all_samples.accuracy is not None
    assert report.accuracy is not None
    assert all_samples.interval[0] > 0.75
    assert report.interval[0] <= 0.5 <= report.interval[1]
    assert (report.samples, report.tuned, report.confusion.sum()) == (60, 240, 60)


@pytest.mark.parametrize("tuned", [15, 240], ids=["fewer samples than dimensions", "more samples"])
def test_the_exact_head_selects_samples_that_may_judge(tuned: int) -> None:
    """Its selection contains all of them, and no others."""
    codes, labels, _ = leaky(6 if tuned == 15 else 60, tuned)
    head = taught("exact", codes, labels, tuned)
    assert isinstance(head, ExactHead)
    selection = head.statistics.selection(256).codes
    assert sorted(map(bytes, selection)) == sorted(map(bytes, codes[tuned:]))


def test_the_temperature_comes_from_samples_that_may_judge() -> None:
    """On noise, the probabilities stay near one half."""
    codes, labels, tuned = leaky()
    new = encode(np.random.default_rng(9).normal(size=(200, D)))
    sure = taught("exact", codes, labels, 0).probabilities(new).max(axis=1).mean()
    modest = taught("exact", codes, labels, tuned).probabilities(new).max(axis=1).mean()
    assert modest < 0.65 < sure


def test_too_few_samples_that_may_judge_lead_to_defaults() -> None:
    """Defaults are used with a note, and everything is known."""
    codes, labels, tuned = leaky(FEWEST_JUDGES - 1)
    head = taught("exact", codes, labels, tuned)
    assert NO_JUDGES in head.fit.notes
    assert head.fit.threshold == np.inf
    enough = taught("exact", *leaky(FEWEST_JUDGES))
    assert NO_JUDGES not in enough.fit.notes
    assert np.isfinite(enough.fit.threshold)


@every_head
def test_without_samples_that_may_judge_there_is_no_accuracy(name: str) -> None:
    """A warning states the reason."""
    codes, labels, tuned = leaky(0)
    report = self_report(taught(name, codes, labels, tuned), codes, labels)
    assert report.accuracy is None
    assert any("all samples tuned the backbone" in warning for warning in report.warnings)


def test_labels_that_cannot_be_judged_are_listed() -> None:
    """All samples of one label tuned the backbone."""
    codes, labels, tuned = leaky()
    labels = ["rare" if at < 20 else label for at, label in enumerate(labels)]
    report = self_report(taught("exact", codes, labels, tuned), codes, labels)
    assert "rare" not in report.recall
    assert any("not judged" in warning and "rare" in warning for warning in report.warnings)


def test_a_near_duplicate_of_a_judged_sample_is_left_out_with_it() -> None:
    """A near-duplicate that tuned the backbone would reveal the label."""
    codes, labels, tuned = leaky(40, 40)
    codes = np.concatenate([codes, codes[tuned:] + np.int16(1)])
    labels = labels + labels[tuned:]
    head = create_head("exact", D)
    head.exclude(np.concatenate([codes[:tuned], codes[2 * tuned :]]))
    head.learn_many(codes, labels)
    report = self_report(head, codes, labels)
    assert report.samples == 40
    assert report.interval[0] <= 0.5 <= report.interval[1]


@every_order_free_head
@pytest.mark.parametrize("count", [12, 90])
def test_exclusion_does_not_depend_on_the_order(name: str, count: int) -> None:
    """Any order, and any split after merging, leads to the same digest and the same predictions."""
    codes, labels = samples(count)
    tuned = count // 2
    whole = taught(name, codes, labels, tuned)
    order = np.random.default_rng(0).permutation(count)
    mixed = create_head(name, D)
    mixed.exclude(codes[:tuned])
    mixed.learn_many(codes[order], [labels[at] for at in order])
    first = taught(name, codes[: tuned + 3], labels[: tuned + 3], tuned)
    second = create_head(name, D)
    second.learn_many(codes[tuned + 3 :], labels[tuned + 3 :])
    second.merge(first)
    new, _ = samples(20, seed=3)
    for other in (mixed, second):
        assert other.digest() == whole.digest()
        np.testing.assert_allclose(other.probabilities(new), whole.probabilities(new), atol=1e-9)
        assert other.fit.threshold == pytest.approx(whole.fit.threshold)


@every_order_free_head
@pytest.mark.parametrize("count", [12, 90])
def test_forgetting_is_exact_with_excluded_samples(name: str, count: int) -> None:
    """The result is the same as if the sample had never been taught, whether it may judge or not."""
    codes, labels = samples(count)
    tuned = count // 2
    before = taught(name, codes, labels, tuned)
    digest, threshold = before.digest(), before.fit.threshold
    more, names = samples(6, seed=5)
    before.learn_many(more, names)
    before.learn_many(codes[:2], labels[:2])
    before.forget(more, names)
    before.forget(codes[:2], labels[:2])
    assert before.digest() == digest
    assert before.fit.threshold == pytest.approx(threshold)


@every_head
def test_a_stored_state_keeps_the_excluded_samples(name: str) -> None:
    """A state without excluded samples has no additional array."""
    codes, labels, tuned = leaky()
    head = taught(name, codes, labels, tuned)
    back = head.clone()
    assert np.array_equal(back.may_judge(codes), np.arange(len(codes)) >= tuned)
    assert back.fit.threshold == pytest.approx(head.fit.threshold)
    assert "tuned" not in taught(name, codes, labels, 0).state()


def test_a_tuned_sample_taught_again_still_does_not_judge() -> None:
    """The same photo taught on the device has the same content."""
    codes, labels, tuned = leaky()
    head = taught("exact", codes, labels, tuned)
    head.learn_many(codes[:10], labels[:10])
    assert not head.may_judge(codes[:10]).any()


@pytest.mark.parametrize(
    ("better", "spread", "end"),
    [(0.2, 0.1, 7), (0.001, 0.5, 5), (0.0, 0.0, 5)],
    ids=["clearly lower losses", "by chance", "no difference"],
)
def test_the_ridge_moves_only_where_the_losses_fall_by_more_than_a_standard_error(
    better: float, spread: float, end: int
) -> None:
    """On 40 samples, whose losses have a minimum at index 7 of the grid; the walk begins at 5."""
    random = np.random.default_rng(0)
    noise = random.normal(0, spread, (20, 40))
    losses = [1 + better * abs(at - 7) + noise[at] - noise[at].mean() for at in range(20)]
    assert ridge._clearly_downhill(lambda at: losses[at], 5) == end

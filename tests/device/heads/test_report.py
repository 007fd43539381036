"""The head's report on its own accuracy with bursts, mislabeled samples and few samples."""

from __future__ import annotations

import json

import numpy as np
import pytest

from device.errors import HeadError, LabelError
from device.heads import HEADS, create_head
from device.heads.drift import Drift
from device.heads.folds import balanced, stacked
from device.heads.intervals import independent, left_out_interval, wilson
from device.heads.report import near_duplicates, self_report
from device.model.codes import encode

from .conftest import D, samples, taught


@pytest.mark.parametrize("name", HEADS)
def test_the_estimate_is_near_the_held_out_accuracy(name: str) -> None:
    """The accuracy on new samples is inside the interval, plus a small tolerance."""
    codes, labels = samples(160)
    head = taught(name, 160)
    report = self_report(head, codes, labels)
    fresh, names = samples(1000, seed=7)
    right = [answer.label == label for answer, label in zip(head.predict_many(fresh), names, strict=True)]
    assert report.accuracy is not None
    low, high = report.interval
    assert low - 0.05 <= np.mean(right) <= high + 0.05
    assert report.samples == 160
    assert report.confusion.sum() == 160
    assert report.confusion.trace() / 160 == pytest.approx(report.accuracy)
    assert set(report.recall) == set(head.labels)


def test_the_wilson_interval_has_known_values() -> None:
    """It matches known values, and is valid for 0 and for all."""
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_large_burst_counts_as_one_judgment() -> None:
    """Ten groups of the same size count as ten; one of 91 and nine of one count as little more than one."""
    assert independent(np.repeat(np.arange(10), 4)) == pytest.approx(10)
    assert independent(np.r_[np.zeros(91, int), np.arange(1, 10)]) == pytest.approx(1.2, abs=0.02)
    assert independent(np.zeros(0, int)) == 0


def test_leave_one_out_has_a_wider_interval_than_held_out_photos() -> None:
    """Heads that share samples have correlated errors: .6 of the variance with few samples, almost none with many."""
    for count, excess in ((20, 1.6), (100, 1.3), (3000, 1.01)):
        groups = np.arange(count)
        assert left_out_interval(0.8, groups, groups) == pytest.approx(
            wilson(0.8 * count / excess, count / excess)
        )
    few, many = np.arange(40), np.arange(400)
    low, high = left_out_interval(0.8, few, many)
    assert high - low == pytest.approx(np.subtract(*reversed(wilson(32, 40))), abs=0.01)
    assert left_out_interval(0.0, few[:0], many) == (0.0, 1.0)


def test_random_labels_are_judged_at_chance() -> None:
    """With random labels for forty scenes of eight frames, the interval contains one half."""
    held = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        scenes = np.repeat(random.normal(size=(40, 200)), 8, axis=0)
        codes = encode(scenes + random.normal(0, 0.15, scenes.shape))
        labels = np.repeat(np.array(["a", "b"])[random.integers(0, 2, 40)], 8).tolist()
        head = create_head("exact", 200)
        head.learn_many(codes, labels)
        report = self_report(head, codes, labels, bursts=np.arange(320) // 8)
        held.append(report.interval[0] <= 0.5 <= report.interval[1])
        assert report.groups == 40
    assert sum(held) >= 7


def test_bursts_do_not_raise_the_estimate() -> None:
    """Five near-duplicates of each sample raise the naive estimate, but not the burst-aware one."""
    random = np.random.default_rng(0)
    values = random.normal(size=(24, 200))  # pure noise: nothing can be learned
    codes = encode(np.repeat(values, 5, axis=0) + random.normal(0, 0.02, (120, 200)))
    labels = [f"label {at // 5 % 2}" for at in range(120)]
    head = create_head("exact", 200)
    head.learn_many(codes, labels)
    naive = head.leave_out(codes, labels).argmax(axis=1) == np.arange(120) // 5 % 2
    report = self_report(head, codes, labels, bursts=np.arange(120) // 5)
    assert naive.mean() > 0.9
    assert report.accuracy is not None
    assert report.accuracy < 0.75
    assert report.groups == 24
    assert any("separate views" in warning for warning in report.warnings)
    assert report.interval[1] - report.interval[0] > 0.3  # 24 views, not 120 samples


def test_near_duplicates_are_found_without_burst_numbers() -> None:
    """The same frames without burst numbers are grouped by their embeddings."""
    random = np.random.default_rng(0)
    codes = encode(np.repeat(random.normal(size=(6, 200)), 4, axis=0) + random.normal(0, 0.01, (24, 200)))
    owners = np.arange(24) // 12
    groups = near_duplicates(codes, owners, np.arange(24))
    assert len(np.unique(groups)) == 6
    assert all(len(np.unique(groups[at : at + 4])) == 1 for at in range(0, 24, 4))


def test_two_labels_are_never_one_view() -> None:
    """Similar samples of different labels stay separate, because they are confusion, not repetition."""
    codes = encode(np.ones((4, D)))
    groups = near_duplicates(codes, np.array([0, 0, 1, 1]), np.arange(4))
    assert groups[0] == groups[1] != groups[2] == groups[3]


def test_mislabeled_samples_are_suspected_first() -> None:
    """Samples taught under a wrong label are first in the list, with their ids."""
    codes, labels = samples(120)
    values = np.eye(4, D)[np.arange(120) % 4] * 3 + np.random.default_rng(1).normal(0, 0.5, (120, D))
    codes = encode(values)
    wrong = [7, 40, 93]
    for at in wrong:
        labels[at] = f"label {(at + 1) % 4}"
    head = create_head("exact", D)
    head.learn_many(codes, labels)
    report = self_report(head, codes, labels, ids=np.arange(120) + 1000)
    assert {1000 + at for at in wrong} <= set(report.suspects)
    assert len(report.suspects) <= 5


def test_samples_of_the_host_are_never_suspects() -> None:
    """Negative ids, which cannot be viewed on the device, are left out of the list."""
    codes, labels = samples(60)
    labels[3] = "label 0"
    head = create_head("exact", D)
    head.learn_many(codes, labels)
    assert not self_report(head, codes, labels, ids=-1 - np.arange(60)).suspects


def test_one_burst_per_label_leads_to_a_warning() -> None:
    """If every label was taught in a single burst, the estimate is shown with a warning."""
    codes, labels = samples(40)
    head = taught("exact", 40)
    bursts = np.unique(labels, return_inverse=True)[1]
    report = self_report(head, codes, labels, bursts=bursts)
    assert report.accuracy is not None
    assert report.accuracy > 0.3
    assert any("from one burst" in warning and "label 2" in warning for warning in report.warnings)


def test_a_single_sample_is_not_judged() -> None:
    """The only sample of a label is named and counts neither as right nor as wrong."""
    codes, labels = samples(41)
    labels[40] = "lonely"
    head = create_head("exact", D)
    head.learn_many(codes, labels)
    report = self_report(head, codes, labels)
    assert report.samples == 40
    assert "lonely" not in report.recall
    assert any("lonely" in warning for warning in report.warnings)


def test_few_views_lead_to_a_warning() -> None:
    """With fewer than five views, a label's recall is reported as unreliable."""
    report = self_report(taught("exact", 12), *samples(12))
    assert any("unreliable" in warning for warning in report.warnings)


def test_one_label_has_no_accuracy() -> None:
    """With one label there is no accuracy, rather than 100 %."""
    report = self_report(taught("exact", 10, 1), *samples(10, 1))
    assert report.accuracy is None
    assert report.interval == (0.0, 1.0)
    assert any("only one label" in warning for warning in report.warnings)


def test_samples_above_the_limit_are_not_all_judged() -> None:
    """An even selection is judged, and the report says so."""
    codes, labels = samples(600)
    report = self_report(taught("exact", 600), codes, labels, limit=100)
    assert report.samples == 100
    assert report.sampled
    assert any("100 of 600" in warning for warning in report.warnings)


def test_arguments_must_match() -> None:
    """The numbers of labels, ids and bursts must be that of the codes, and labels must be known."""
    codes, labels = samples(12)
    head = taught("exact", 12)
    for wrong in ({"ids": [1]}, {"bursts": [1]}):
        with pytest.raises(LabelError, match="12 codes"):
            self_report(head, codes, labels, **wrong)
    with pytest.raises(LabelError, match="never learned"):
        self_report(head, codes, ["nothing"] * 12)
    with pytest.raises((HeadError, LabelError)):
        self_report(create_head("exact", D), codes, labels)


def test_the_report_is_json_serializable() -> None:
    """to_dict contains only plain values."""
    text = json.dumps(self_report(taught("exact"), *samples(60)).to_dict(), allow_nan=False)
    assert json.loads(text)["labels"][0] == "label 0"


def test_drift_starts_with_other_samples_and_ends_with_familiar_ones() -> None:
    """Familiar samples raise no alarm, other samples do, and familiar ones end it."""
    head = taught("exact", 200)
    same = samples(60, seed=5)[0]
    other = encode(np.random.default_rng(6).normal(size=(60, D)) - 3)
    drift = Drift(window=20)
    assert not any(drift.update(answer).drifted for answer in head.predict_many(same))
    states = [drift.update(answer) for answer in head.predict_many(other)]
    assert states[-1].drifted
    assert not states[0].drifted
    assert states[-1].to_dict()["predictions"] == 120
    again = [drift.update(answer) for answer in head.predict_many(samples(80, seed=8)[0])]
    assert not again[-1].drifted
    drift.reset()
    assert drift.state.predictions == 0


def test_blocks_have_one_group_per_label_and_keep_groups_whole() -> None:
    """Every sample is in one block; a block has at most one group per label, and groups are never split."""
    random = np.random.default_rng(4)
    owners = random.integers(0, 3, 60)
    groups = owners * 100 + random.integers(0, 12, 60)
    for turn in (0, 1, 5):
        blocks = balanced(owners, groups, turn)
        for group in np.unique(groups):
            assert len(np.unique(blocks[groups == group])) == 1
        for block in np.unique(blocks):
            inside = blocks == block
            for owner in np.unique(owners[inside]):
                assert len(np.unique(groups[inside & (owners == owner)])) == 1


def test_balanced_labels_are_left_out_in_equal_numbers() -> None:
    """If all labels have the same number of samples, every block has one of each, in any turn."""
    owners = np.repeat(np.arange(4), 5)
    for turn in range(5):
        blocks = balanced(owners, np.arange(20), turn)
        assert all(sorted(owners[blocks == block]) == [0, 1, 2, 3] for block in range(5))
    assert (balanced(owners, np.arange(20), 1) != balanced(owners, np.arange(20), 0)).any()


def test_few_samples_of_many_dimensions_are_not_judged_too_pessimistically() -> None:
    """Leaving out one sample makes the mean of its label noisier; leaving out one of each label does not.

    With classes that overlap completely, the estimate is one half.
    """
    harsh, fair = [], []
    for seed in range(40):
        values = np.random.default_rng(seed).normal(size=(12, 300))
        labels = ["a", "b"] * 6
        head = create_head("exact", 300, ridge=5.0)
        codes = encode(values)
        head.learn_many(codes, labels)
        owners = np.arange(12) % 2
        harsh.append(float((head.leave_out(codes, labels).argmax(axis=1) == owners).mean()))
        fair.append(self_report(head, codes, labels).accuracy or 0.0)
    assert np.mean(harsh) < 0.4
    assert np.mean(fair) == pytest.approx(0.5, abs=0.08)


def test_stacks_contain_every_sample_once_and_are_small() -> None:
    """Stacks have at most the requested number of samples, unless one block is larger."""
    groups = np.random.default_rng(0).integers(0, 40, 300)
    stacks = stacked(groups, at_once=20)
    assert sorted(np.concatenate([stack.ravel() for stack in stacks]).tolist()) == list(range(300))
    assert all(stack.size <= 20 or len(stack) == 1 for stack in stacks)
    assert all(len(np.unique(groups[block])) == 1 for stack in stacks for block in stack)
    assert stacked(groups[:0]) == []


def test_the_labels_that_are_mixed_up_most_are_named_with_their_samples() -> None:
    """Two labels of the same cloud beside a third: the pair, the number and the samples agree with the confusion."""
    random = np.random.default_rng(1)
    values = random.normal(size=(90, D))
    values[:30, 0] += 9
    values[30:, 1] += 9
    codes, labels = encode(values.astype(np.float32)), ["far"] * 30 + ["cup", "mug"] * 30
    head = create_head("exact", D)
    head.learn_many(codes, labels)
    report = self_report(head, codes, labels, ids=np.r_[np.arange(-30, 0), np.arange(1, 61)])
    assert report.mixed is not None
    assert report.mixed.labels == ("cup", "mug")
    cup, mug = report.labels.index("cup"), report.labels.index("mug")
    assert report.mixed.count == report.confusion[cup, mug] + report.confusion[mug, cup]
    assert report.mixed.share == pytest.approx(report.mixed.count / 60)
    first, second = report.mixed.samples
    assert all(one % 2 == 1 for one in first)
    assert all(one % 2 == 0 for one in second)
    assert json.loads(json.dumps(report.to_dict()))["mixed"]["labels"] == ["cup", "mug"]


def test_nothing_is_mixed_up_without_an_error() -> None:
    """Labels that are far apart have no pair, and no label is split."""
    values = np.repeat(9 * np.eye(D)[:2], 20, axis=0) + np.random.default_rng(0).normal(size=(40, D)) / 4
    codes, labels = encode(values.astype(np.float32)), ["a"] * 20 + ["b"] * 20
    head = create_head("exact", D)
    head.learn_many(codes, labels)
    report = self_report(head, codes, labels)
    assert (report.accuracy, report.mixed, report.splits) == (1.0, None, ())

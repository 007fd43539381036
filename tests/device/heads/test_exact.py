"""The exact head's statistics: integers, independent of order and splits, of bounded size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import HeadError, LabelError
from device.heads import create_head
from device.heads.exact import ExactHead
from device.heads.integers import pack_integers, unpack_integers
from device.heads.sketch import HELD
from device.heads.statistics import Statistics
from device.model.codes import encode

from .conftest import D, samples, taught

SMALL = 6
rows = st.lists(
    st.tuples(
        st.lists(st.integers(-4096, 4096), min_size=SMALL, max_size=SMALL), st.sampled_from(["a", "b", "c"])
    ),
    min_size=1,
    max_size=20,
)


def learned(taught_rows: list[tuple[list[int], str]]) -> ExactHead:
    """Return a head that learned rows one by one."""
    head = ExactHead(SMALL)
    for code, label in taught_rows:
        head.learn_one(np.array(code, np.int16), label)
    return head


@settings(max_examples=40, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_the_digest_depends_only_on_the_remaining_samples(
    taught_rows: list[tuple[list[int], str]], random: st.DrawFn
) -> None:
    """The order, the splits, the merges and what was forgotten do not matter."""
    order = list(taught_rows)
    random.shuffle(order)  # type: ignore[attr-defined]
    cut = len(order) // 2
    first, second = learned(order[:cut]), learned(order[cut:])
    extra = ([7, -7, 1, 0, 2, 3], "d")
    second.learn_one(np.array(extra[0], np.int16), extra[1])
    first.merge(second)
    first.forget(np.array([extra[0]], np.int16), ["d"])
    whole = learned(taught_rows)
    assert first.digest() == whole.digest()
    assert first.counts == whole.counts
    probe = np.eye(SMALL, dtype=np.int16) * 4096
    np.testing.assert_allclose(first.probabilities(probe), whole.probabilities(probe), atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**62), 2**62)), st.integers(1, 3))
def test_packed_integers_are_restored(values: list[int], columns: int) -> None:
    """Any int64 survives being packed in as few bytes as it needs."""
    array = np.array(values * columns, np.int64).reshape(columns, -1)
    packed = pack_integers(array)
    np.testing.assert_array_equal(unpack_integers(packed), array)


def test_small_integers_take_few_bytes() -> None:
    """The largest value determines the number of bytes."""
    assert pack_integers(np.array([127, -128])).shape == (2, 1)
    assert pack_integers(np.array([128])).shape == (1, 2)


def test_sums_are_exact_beyond_float32() -> None:
    """The sum of a thousand codes of the largest value is exact."""
    codes = np.full((1000, SMALL), 32767, np.int16)
    head = ExactHead(SMALL)
    head.learn_many(codes, ["a"] * 1000)
    assert head.statistics.sums()[1][0, 0] == 32767 * 1000
    assert head.statistics.gram()[0, 0] == 32767**2 * 1000


def test_codes_are_kept_only_below_the_number_of_dimensions() -> None:
    """At D samples the codes are replaced by sums, and the state stops growing."""
    head = ExactHead(D)
    codes, labels = samples(D - 1)
    head.learn_many(codes, labels)
    assert head.statistics.complete
    head.learn_many(*samples(1, seed=1))
    assert not head.statistics.complete
    sizes = []
    for seed in range(2, 5):
        head.learn_many(*samples(2000, seed=seed))
        sizes.append(sum(array.nbytes for array in head.state().values()))
    assert sizes[2] <= 1.1 * sizes[0]


def test_the_sketch_is_bounded_and_independent_of_the_order() -> None:
    """After thousands of samples, temperature and threshold are bit-identical in any order and split."""
    codes, labels = samples(3000)
    order = np.random.default_rng(3).permutation(3000)
    one, other, part = ExactHead(D), ExactHead(D), ExactHead(D)
    one.learn_many(codes, labels)
    other.learn_many(codes[order[:1700]], [labels[at] for at in order[:1700]])
    part.learn_many(codes[order[1700:]], [labels[at] for at in order[1700:]])
    other.merge(part)
    assert one.digest() == other.digest()
    assert one.fit.figures == other.fit.figures
    assert one.fit.threshold == other.fit.threshold
    assert len(one.state()["sketch_keys"]) <= HELD


def test_forgetting_is_exact_after_codes_are_replaced_by_sums() -> None:
    """The head is the same as one that never learned the samples, temperature included."""
    codes, labels = samples(2000)
    head, never = ExactHead(D), ExactHead(D)
    head.learn_many(codes, labels)
    head.forget(codes[1500:], labels[1500:])
    never.learn_many(codes[:1500], labels[:1500])
    assert head.digest() == never.digest()
    assert head.fit.figures == never.fit.figures
    np.testing.assert_array_equal(head.probabilities(codes[:50]), never.probabilities(codes[:50]))


def test_merging_sums_with_codes_is_exact() -> None:
    """A long history and a short one can be merged in either direction."""
    codes, labels = samples(120)
    whole = taught("exact", 120)
    for cut in (10, 110):
        first, second = ExactHead(D), ExactHead(D)
        first.learn_many(codes[:cut], labels[:cut])
        second.learn_many(codes[cut:], labels[cut:])
        first.merge(second)
        assert first.digest() == whole.digest()
        np.testing.assert_array_equal(first.probabilities(codes), whole.probabilities(codes))


def test_sums_of_the_host_are_learned_exactly() -> None:
    """Learning from sums has the same result as learning from the samples."""
    codes, labels = samples(40)
    more, names = samples(10, seed=1)
    source, head, whole = Statistics(D), ExactHead(D, ridge=0.2), ExactHead(D, ridge=0.2)
    source.add(codes, labels)
    head.learn_many(more, names)
    head.learn_statistics(tuple(source.counts), *source.sums(), source.gram())
    whole.learn_many(np.concatenate([codes, more]), labels + names)
    assert head.digest() == whole.digest()
    np.testing.assert_allclose(head.solution().W, whole.solution().W, atol=1e-12)


def test_sums_alone_lead_to_a_note() -> None:
    """If no sample can be left out, the default ridge and temperature are used, and the fit has a note."""
    source, head = Statistics(D), ExactHead(D)
    codes, labels = samples(80)
    source.add(codes, labels)
    head.learn_statistics(tuple(source.counts), *source.sums(), source.gram())
    assert np.mean(head.probabilities(codes).argmax(axis=1) == np.arange(80) % 4) > 0.8
    assert any("calibrated" in note for note in head.fit.notes)


def test_a_label_cannot_be_deleted_after_codes_are_replaced_by_sums() -> None:
    """The label's share of the second moment is unknown, but forgetting with codes works."""
    codes, labels = samples(60)
    head = taught("exact", 60)
    with pytest.raises(HeadError, match="forget them with their codes"):
        head.delete("label 1")
    mine = [at for at, label in enumerate(labels) if label == "label 1"]
    head.forget(codes[mine], ["label 1"] * len(mine))
    assert "label 1" not in head.labels


def test_forgetting_is_all_or_nothing() -> None:
    """If one of several samples was never learned, none is forgotten."""
    codes, labels = samples(12)
    head = taught("exact", 12)
    digest = head.digest()
    wrong = codes[:2].copy()
    wrong[1] += 1
    with pytest.raises(HeadError, match="never learned"):
        head.forget(wrong, labels[:2])
    with pytest.raises(HeadError, match="cannot forget"):
        head.forget(np.tile(codes[:1], (9, 1)), ["label 0"] * 9)
    assert head.digest() == digest


def test_one_of_two_copies_is_forgotten() -> None:
    """A sample learned twice and forgotten once remains learned once."""
    codes, labels = samples(12)
    head = taught("exact", 12)
    head.learn_many(codes[:1], labels[:1])
    head.forget(codes[:1], labels[:1])
    assert head.digest() == taught("exact", 12).digest()


def test_leaving_out_an_unknown_label_is_refused() -> None:
    """Only samples of learned labels can be left out."""
    head = taught("exact")
    with pytest.raises(LabelError, match="never learned"):
        head.leave_out(samples(1)[0], ["nothing"])


def test_many_labels_with_one_sample_each_are_predicted() -> None:
    """A hundred labels have one sample each."""
    codes, _ = samples(100)
    head = create_head("exact", D)
    names = [f"{at:03d}" for at in range(100)]
    head.learn_many(codes, names)
    assert np.mean(head.probabilities(codes).argmax(axis=1) == np.arange(100)) > 0.9


def test_probabilities_are_calibrated_on_held_out_samples() -> None:
    """The temperature from left-out samples is also right for new ones."""
    from device.heads.calibration import expected_calibration_error

    head = taught("exact", 200)
    codes, labels = samples(3000, seed=9)
    owners = np.unique(labels, return_inverse=True)[1]
    assert expected_calibration_error(head.probabilities(codes), owners) < 0.06


def test_the_false_rejection_rate_is_kept() -> None:
    """About the configured share of new samples of taught labels is unknown."""
    codes, _ = samples(2000, seed=9)
    for rate in (0.05, 0.2):
        head = taught("exact", 240, false_rejection=rate)
        assert (head.unknown_scores(codes) > head.fit.threshold).mean() == pytest.approx(rate, abs=0.06)


def test_a_constant_offset_does_not_change_the_scores() -> None:
    """Codes shifted by a constant have the same scores, because the intercept is not part of the ridge.

    The temperature is not compared, because the content of samples determines which are left out together.
    """
    codes, labels = samples(60)
    plain, shifted = ExactHead(D, ridge=0.5), ExactHead(D, ridge=0.5)
    plain.learn_many(codes, labels)
    shifted.learn_many(codes + np.int16(1000), labels)
    pairs = ((plain, codes), (shifted, codes + np.int16(1000)))
    before, after = (head.fit.linear.logits(given) / head.fit.figures["sharpness"] for head, given in pairs)  # type: ignore[union-attr]
    np.testing.assert_allclose(after - after[:, :1], before - before[:, :1], atol=1e-7)


def test_too_many_samples_are_refused_before_sums_could_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of exact sums is checked before it is reached."""
    monkeypatch.setattr("device.heads.statistics.MAX_SAMPLES", 10)
    head = ExactHead(D)
    head.learn_many(*samples(10))
    with pytest.raises(HeadError, match="at most 10"):
        head.learn_many(*samples(1))
    assert sum(head.counts.values()) == 10


def test_the_example_of_the_interface_is_true() -> None:
    """The doctest on the abstract class passes."""
    head = create_head("exact", dimensions=2)
    head.learn_many(encode([[1.0, 0.1], [0.9, 0.2], [0.1, 1.0], [0.2, 0.9]]), ["a", "a", "b", "b"])
    assert head.predict_one(encode([0.8, 0.1])).label == "a"


def test_an_ill_conditioned_system_leads_to_a_warning() -> None:
    """With a vanishing ridge on identical samples, predictions are finite and a note names the fix."""
    code = encode(np.arange(1, D + 1, dtype=float))
    head = ExactHead(D, ridge=1e-14)
    more, labels = samples(30)
    head.learn_many(np.concatenate([np.tile(code, (40, 1)), more]), ["same"] * 40 + labels)
    assert np.isfinite(head.probabilities(more)).all()
    assert any("ill-conditioned" in note and "raise the ridge" in note for note in head.fit.notes)


@pytest.mark.parametrize("count", [1, 4])
def test_the_ridge_is_remembered_only_for_the_same_selection(count: int) -> None:
    """The remembered ridge leads to the same predictions as a new head.

    The same holds for one label, where no ridge can be chosen.
    """
    codes, labels = samples(608, count)
    head = ExactHead(D)
    head.learn_many(codes[:600], labels[:600])
    selections = set()
    for at in range(600, 608):
        head.learn_one(codes[at], labels[at])
        fresh = ExactHead(D)
        fresh.learn_many(codes[: at + 1], labels[: at + 1])
        assert head.fit.figures == fresh.fit.figures
        np.testing.assert_array_equal(head.probabilities(codes), fresh.probabilities(codes))
        selections.add(head.statistics.selection(256).fingerprint())
    assert 1 < len(selections) < 8  # some samples changed the selection, others did not

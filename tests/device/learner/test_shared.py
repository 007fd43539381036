"""A learner with what the other devices of a fleet learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from device.fleet import Contribution, FleetModel
from device.fleet.membership import Membership, join, leave
from device.heads import create_head
from device.heads.exact import ExactHead
from device.learner import Learner
from device.learner.shared import Shared, learn_shared, load_shared, reweigh_shared, save_shared
from device.model.codes import Codes, encode
from device.model.memory import Sums
from device.store import NewSample, Store
from tests import tiny

WIDTH = 24


def drawn(seed: int, count: int, labels: str, width: int = WIDTH) -> tuple[Codes, list[str]]:
    """Return codes around one direction per label, with their labels."""
    rng = np.random.default_rng(seed)
    names = [labels[number] for number in rng.integers(len(labels), size=count)]
    centers = np.random.default_rng(0).standard_normal((26, width))
    means = np.array([centers[ord(name) - ord("a")] for name in names])
    return encode(means + 0.5 * rng.standard_normal((count, width))), names


def shared_of(codes: Codes, labels: list[str], weight: float = 1.0, number: int = 1) -> Shared:
    """Return samples of other devices as shared statistics."""
    return Shared(Sums.of(codes, labels), weight, number, devices=2)


def test_with_weight_one_the_head_has_the_digest_of_all_samples() -> None:
    """Those of this device and those of the others, in either order."""
    others, mine = drawn(1, 40, "ab"), drawn(2, 10, "bc")
    one, first, last = ExactHead(WIDTH), ExactHead(WIDTH), ExactHead(WIDTH)
    one.learn_many(*others)
    one.learn_many(*mine)
    assert learn_shared(first, shared_of(*others))
    first.learn_many(*mine)
    last.learn_many(*mine)
    learn_shared(last, shared_of(*others))
    assert first.digest() == last.digest() == one.digest()


@pytest.mark.parametrize("weight", [0.5, 0.25])
def test_a_weight_counts_as_samples_that_were_learned_that_often(weight: float) -> None:
    """The oracle learns each own sample several times, each foreign one once, with a ridge as many times as large."""
    others, mine = drawn(1, 60, "ab"), drawn(2, 30, "abc")
    times = round(1 / weight)
    blended, oracle = ExactHead(WIDTH, ridge=1.0), ExactHead(WIDTH, ridge=float(times))
    learn_shared(blended, shared_of(*others, weight))
    blended.learn_many(*mine)
    learn_shared(oracle, shared_of(*others))
    for _ in range(times):
        oracle.learn_many(*mine)
    np.testing.assert_allclose(blended.solution().W, oracle.solution().W, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(blended.solution().b, oracle.solution().b, rtol=1e-9, atol=1e-12)


def test_a_weighted_head_is_the_same_in_any_order_and_after_forgetting() -> None:
    """Fractions of sixteenths are added exactly."""
    others, (codes, labels) = drawn(1, 41, "ab"), drawn(2, 30, "abc")
    one, other = ExactHead(WIDTH), ExactHead(WIDTH)
    learn_shared(one, shared_of(*others, 5 / 16))
    one.learn_many(codes, labels)
    one.forget(codes[:7], labels[:7])
    other.learn_many(codes[7:][::-1].copy(), labels[7:][::-1])
    learn_shared(other, shared_of(*others, 5 / 16))
    assert one.digest() == other.digest()
    assert one.predict_many(codes) == other.predict_many(codes)
    plain = ExactHead(WIDTH)
    plain.learn_many(codes[7:], labels[7:])
    assert one.digest() != plain.digest()


def test_a_weighted_head_can_be_stored_and_restored() -> None:
    """Counts, sums and second moment are fractions then."""
    head = ExactHead(WIDTH)
    learn_shared(head, shared_of(*drawn(1, 41, "ab"), 3 / 16))
    head.learn_many(*drawn(2, 30, "abc"))
    again = ExactHead.restore(WIDTH, head.state())
    codes, _ = drawn(3, 50, "abc")
    assert again.digest() == head.digest()
    assert again.predict_many(codes) == head.predict_many(codes)
    assert head.labels == ("a", "b", "c")


def test_lessons_after_a_complete_fit_are_updates_of_a_weighted_one() -> None:
    """The update equals the complete fit, also with fractions."""
    head = ExactHead(WIDTH, ridge=1.0)
    learn_shared(head, shared_of(*drawn(1, 300, "ab"), 5 / 16))
    head.learn_many(*drawn(2, 200, "abc"))
    head.settle()
    head.learn_many(*drawn(4, 2, "abc"))
    codes, _ = drawn(3, 20, "abc")
    assert not head.settled
    updated = head.predict_many(codes)
    fresh = ExactHead(WIDTH, ridge=1.0)
    learn_shared(fresh, shared_of(*drawn(1, 300, "ab"), 5 / 16))
    fresh.learn_many(*drawn(2, 200, "abc"))
    fresh.learn_many(*drawn(4, 2, "abc"))
    for mine, theirs in zip(updated, fresh.predict_many(codes), strict=True):
        assert mine.label == theirs.label
        assert mine.probability == pytest.approx(theirs.probability, abs=0.02)


def test_other_heads_stay_with_the_samples_of_the_device() -> None:
    """They cannot learn from sums."""
    for name in ("ncm", "knn"):
        head = create_head(name, WIDTH)
        assert not learn_shared(head, shared_of(*drawn(1, 10, "ab")))
        assert not head.counts


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return the path of a state file that was taught 30 samples of three labels."""
    path = tmp_path / "mugs.db"
    with Learner.open(tiny.TINY, path) as learner:
        width = learner.model.manifest.dimensions
        codes, labels = drawn(2, 30, "abc", width)
        learner.store.learn([NewSample(label, code, 0.0) for code, label in zip(codes, labels, strict=True)])
    return path


def save(state: Path, shared: Shared) -> None:
    """Write shared statistics as the process of the fleet does, beside a learner that has the file open."""
    with Store.open(state) as store:
        save_shared(store, shared)


def reweigh(state: Path, weight: float) -> None:
    """Change the weight, as joining again does."""
    with Store.open(state) as store:
        assert reweigh_shared(store, weight)


def shared_for(learner: Learner, weight: float = 1.0, labels: str = "bd", number: int = 1) -> Shared:
    """Return statistics of 40 samples of other devices."""
    return shared_of(*drawn(number, 40, labels, learner.model.manifest.dimensions), weight, number)


def test_a_learner_predicts_labels_of_other_devices_also_after_a_restart(state: Path) -> None:
    """The running learner notices, and so does the next one."""
    with Learner.open(tiny.TINY, state) as learner:
        assert learner.labels == ("a", "b", "c")
        save(state, shared_for(learner))
        assert learner.labels == ("a", "b", "c", "d")
        digest = learner.head.digest()
    with Learner.open(tiny.TINY, state) as learner:
        assert learner.labels == ("a", "b", "c", "d")
        assert learner.head.digest() == digest


def test_the_head_of_a_learner_is_that_of_one_device_with_all_samples(state: Path) -> None:
    """With weight 1."""
    with Learner.open(tiny.TINY, state) as learner:
        shared = shared_for(learner)
        save(state, shared)
        width = learner.model.manifest.dimensions
        one = ExactHead(width)
        one.learn_many(*drawn(1, 40, "bd", width))
        one.learn_many(*drawn(2, 30, "abc", width))
        assert learner.head.digest() == one.digest()


def test_new_statistics_replace_the_old_ones_and_leaving_erases_them(state: Path) -> None:
    """After leaving, the learner is bit for bit as if it had never been in a fleet."""
    with Learner.open(tiny.TINY, state) as learner:
        alone = learner.head.digest()
        with Store.open(state) as store:
            join(store, Membership.of("shed"))
        save(state, shared_for(learner))
        save(state, shared_for(learner, labels="e", number=2))
        assert learner.labels == ("a", "b", "c", "e")
        with Store.open(state) as store:
            assert leave(store)
        assert learner.labels == ("a", "b", "c")
        assert learner.head.digest() == alone
        assert load_shared(learner.store) is None


def test_undo_does_not_see_what_other_devices_learned(state: Path) -> None:
    """The last lesson is undone, not the last round."""
    with Learner.open(tiny.TINY, state) as learner:
        codes, _ = drawn(9, 1, "a", learner.model.manifest.dimensions)
        learner.store.learn([NewSample("late", codes[0], 0.0)])
        save(state, shared_for(learner))
        entry = learner.undo()
        assert entry is not None
        assert "late" not in learner.labels
        assert "d" in learner.labels


def test_the_weight_changes_how_much_other_devices_count(state: Path) -> None:
    """With weight 0 nothing of them is used."""
    with Learner.open(tiny.TINY, state) as learner:
        alone = learner.head.digest()
        save(state, shared_for(learner))
        digests = {alone, learner.head.digest()}
        reweigh(state, 0.5)
        digests.add(learner.head.digest())
        assert len(digests) == 3
        reweigh(state, 0.0)
        assert learner.head.digest() == alone


def test_joining_again_with_the_same_weight_writes_nothing_that_learners_notice(state: Path) -> None:
    """A device that is restarted joins again, and each write wears an SD card."""
    with Learner.open(tiny.TINY, state) as learner:
        save(state, shared_for(learner, 0.5))
    with Store.open(state) as store:
        before = store.position()
        join(store, Membership.of("shed", weight=0.5))
        assert store.position() == before
        join(store, Membership.of("shed", weight=1.0))
        assert store.position() != before


def test_an_export_contains_what_the_device_was_taught_and_nothing_of_the_others(
    state: Path, tmp_path: Path
) -> None:
    """Its memory and its head agree, and what others learned stays in the fleet."""
    with Learner.open(tiny.TINY, state) as learner:
        plain = learner.export(tmp_path / "plain.tflite")
        save(state, shared_for(learner, 0.5))
        shared = learner.export(tmp_path / "shared.tflite")
    assert shared.path.read_bytes() == plain.path.read_bytes()


def test_status_of_a_learner_with_shared_statistics_judges_its_own_samples(state: Path) -> None:
    """Counts are those of this device; the report leaves out its own samples."""
    with Learner.open(tiny.TINY, state) as learner:
        before = learner.status()
        save(state, shared_for(learner, 0.5))
        after = learner.status()
        assert after.samples == before.samples
        assert after.report is not None
        assert before.fleet is None
        assert after.fleet is not None
        assert (after.fleet["devices"], sum(after.fleet["samples"].values()), after.fleet["weight"]) == (
            2,
            40,
            0.5,
        )
        assert after.to_dict()["fleet"] == after.fleet
        assert after.head["digest"] != before.head["digest"]


def test_damaged_shared_statistics_are_ignored(state: Path) -> None:
    """They come again in the next round."""
    with Learner.open(tiny.TINY, state) as learner:
        save(state, shared_for(learner))
        with Store.open(state) as store:
            store.keep_shared("digest", b"damaged")
        assert learner.labels == ("a", "b", "c")
        assert load_shared(learner.store) is None


def test_shared_statistics_of_a_device_are_those_that_it_would_contribute(state: Path) -> None:
    """What one device contributes is what another receives."""
    with Learner.open(tiny.TINY, state) as learner:
        model = FleetModel.of(learner.store.identity)
        codes, labels = drawn(1, 40, "bd", model.dimensions)
        contribution = Contribution.of("barn", model, codes, labels)
        save(state, Shared(contribution.sums, 1.0, 1, 1))
        found = load_shared(learner.store)
        assert found is not None
        assert Contribution("barn", model, found.sums).digest() == contribution.digest()

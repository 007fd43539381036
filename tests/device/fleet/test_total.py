"""The sum over a fleet, compared with one device that saw everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import FleetError
from device.fleet import Contribution, FleetModel, Total, head_of
from device.heads.exact import ExactHead
from device.model.codes import encode

from .conftest import DIMENSIONS


@pytest.mark.parametrize("devices", [2, 5, 10])
def test_the_total_of_devices_is_bit_for_bit_one_device_that_saw_everything(devices, model, draw) -> None:
    """The digests are equal, and so is the solution that follows from the statistics alone."""
    drawn = [draw(seed, 20 + seed) for seed in range(devices)]
    one = ExactHead(DIMENSIONS)
    for codes, labels in drawn:
        one.learn_many(codes, labels)
    total = Total(model, [Contribution.of(f"{at}", model, *samples) for at, samples in enumerate(drawn)])
    assert total.digest() == one.digest()
    assert total.counts == one.counts
    codes = np.concatenate([codes for codes, _ in drawn])
    everything = Contribution.of("one", model, codes, [label for _, labels in drawn for label in labels])
    solved, expected = total.head().linear(), head_of(everything.sums).linear()
    assert solved.W.tobytes() == expected.W.tobytes()
    assert solved.b.tobytes() == expected.b.tobytes()


def test_the_total_solves_what_one_device_solves_with_the_same_ridge(model, draw) -> None:
    """Up to rounding: the device also solves for the samples that it judges with."""
    one = ExactHead(DIMENSIONS, ridge=0.25)
    for seed in range(3):
        one.learn_many(*draw(seed))
    total = Total(model, (Contribution.of(f"{seed}", model, *draw(seed)) for seed in range(3)))
    solved, expected = total.head(ridge=0.25).solution(), one.solution()
    np.testing.assert_allclose(solved.W, expected.W, rtol=1e-10, atol=1e-12)


def test_the_total_predicts_what_one_device_predicts(model, draw, contribute) -> None:
    """Without samples the ridge is the default, and the labels are still the same for nearly all samples."""
    one = ExactHead(DIMENSIONS)
    for seed in range(5):
        one.learn_many(*draw(seed))
    shared = Total(model, (contribute(seed) for seed in range(5))).head()
    codes, _ = draw(99, 200)
    same = [
        mine.label == theirs.label
        for mine, theirs in zip(shared.predict_many(codes), one.predict_many(codes), strict=True)
    ]
    assert np.mean(same) > 0.9


def test_the_total_does_not_depend_on_the_order_of_devices(model, contribute) -> None:
    """Integers are added, so each order has the same digest."""
    contributions = [contribute(1), contribute(2, 7, ("cup", "mug")), contribute(3, 1, ("bowl",))]
    digests = {Total(model, order).digest() for order in itertools.permutations(contributions)}
    assert len(digests) == 1


def test_a_tree_of_totals_is_the_total(model, contribute) -> None:
    """A large fleet can be summed in parts."""
    contributions = [contribute(seed) for seed in range(4)]
    tree = Total(model, contributions[:2])
    tree.add_sums(Total(model, contributions[2:]).sums)
    assert tree.digest() == Total(model, contributions).digest()


def test_subtracting_a_device_is_as_if_it_had_never_contributed(model, contribute) -> None:
    """This includes a label that only this device has."""
    total = Total(model, [contribute(1, labels=("cup",)), contribute(2, labels=("mug",))])
    assert total.without(contribute(2, labels=("mug",))).labels == ("cup",)
    total.subtract(contribute(2, labels=("mug",)))
    assert total.digest() == contribute(1, labels=("cup",)).digest()
    assert total.counts == {"cup": 30}


def test_what_a_device_forgets_is_no_longer_in_the_next_total(model, draw) -> None:
    """The newest contribution of a device replaces the one before."""
    codes, labels = draw(1)
    before, after = (
        Contribution.of("shed", model, codes, labels),
        Contribution.of("shed", model, codes[5:], labels[5:]),
    )
    other = Contribution.of("barn", model, *draw(2))
    total = Total(model, [before, other])
    total.subtract(before)
    total.add(after)
    one = ExactHead(DIMENSIONS)
    one.learn_many(codes, labels)
    one.learn_many(*draw(2))
    one.forget(codes[:5], labels[:5])
    assert total.digest() == one.digest()


def test_a_contribution_that_was_never_added_is_not_subtracted(model, contribute) -> None:
    """The total stays as it was."""
    total = Total(model, [contribute(1, 5)])
    digest = total.digest()
    with pytest.raises(FleetError, match="device 2 is not in the total"):
        total.subtract(contribute(2, 50))
    assert total.digest() == digest


def test_the_total_refuses_statistics_of_another_model(model, contribute) -> None:
    """Embeddings of two backbones cannot be added."""
    other = FleetModel("6" * 64, DIMENSIONS)
    with pytest.raises(FleetError, match="666666666666"):
        Total(model).add(Contribution("shed", other, contribute(1).sums))


def test_the_total_refuses_more_samples_than_float64_adds_exactly() -> None:
    """Beyond 2**53 the second moment would be rounded."""
    model = FleetModel("5" * 64, 2, "identity")
    many = Contribution.of("shed", model, encode([[7.9, 7.9]], "identity"), ["mug"])
    total = Total(model)
    total.add_sums(type(many.sums)(("mug",), np.array([2**21]), many.sums.sums, many.sums.gram))
    with pytest.raises(FleetError, match="can be summed exactly"):
        total.add_sums(type(many.sums)(("mug",), np.array([2**21 + 2**12]), many.sums.sums, many.sums.gram))


def test_an_empty_contribution_adds_nothing(model, contribute) -> None:
    """A device that was taught nothing can join."""
    nothing = Contribution.of("shed", model, np.zeros((0, DIMENSIONS), np.int16), [])
    total = Total(model, [nothing, contribute(1)])
    assert total.digest() == contribute(1).digest()
    assert Total(model).digest() == ExactHead(DIMENSIONS).digest() == nothing.digest()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=30), st.integers(1, 5), st.integers(0, 2**32))
def test_any_split_over_devices_has_the_digest_of_all_samples(
    labels: list[str], devices: int, seed: int
) -> None:
    """Drawn labels, split at random."""
    rng = np.random.default_rng(seed)
    model = FleetModel("5" * 64, 4)
    codes = encode(rng.standard_normal((len(labels), 4)))
    owners = rng.integers(devices, size=len(labels))
    parts = [
        Contribution.of(
            f"{device}",
            model,
            codes[owners == device],
            [labels[at] for at in np.flatnonzero(owners == device)],
        )
        for device in range(devices)
    ]
    one = ExactHead(4)
    one.learn_many(codes, labels)
    assert Total(model, parts).digest() == one.digest()
    assert head_of(Total(model, parts).sums).counts == one.counts

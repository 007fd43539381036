"""Labels that seem to hold two things."""

import numpy as np
from numpy.typing import NDArray

from device.heads.splits import FEWEST, MOST, SHOWN, SplitLabel, find_splits
from device.model.codes import encode

WIDTH = 40


def found(*clouds: tuple[NDArray[np.float64], int], seed: int = 0, ids: int = 1) -> tuple[SplitLabel, ...]:
    """Return the splits among labels; each is (centers [M, D], number of samples), its samples shared among its centers."""
    random = np.random.default_rng(seed)
    values, owners = [], []
    for owner, (centers, count) in enumerate(clouds):
        # light and place: one strong direction that every label has
        strong = 4 * random.normal(size=(count, 1)) * np.eye(WIDTH)[0]
        values.append(centers[np.arange(count) % len(centers)] + random.normal(size=(count, WIDTH)) + strong)
        owners.append(np.full(count, owner))
    codes, places = encode(np.concatenate(values).astype(np.float32), "l2"), np.concatenate(owners)
    names = tuple(f"label {at}" for at in range(len(clouds)))
    return find_splits(codes, names, places, np.arange(len(places)), ids * (1 + np.arange(len(places))))


def centers(*axes: int, size: float = 8.0) -> NDArray[np.float64]:
    """Return a center per axis."""
    return size * np.eye(WIDTH)[list(axes)]


def test_two_things_in_one_label_are_found() -> None:
    """The parts have the right sizes, and their samples show one thing each."""
    (split,) = found((centers(2), 60), (centers(3), 60), (centers(5, 6), 60))
    assert split.label == "label 2"
    assert sorted(split.parts) == [0.5, 0.5]
    first, second = split.samples
    assert len(first) == len(second) == SHOWN
    assert {one % 2 for one in first} != {one % 2 for one in second}
    assert len({one % 2 for one in first}) == 1


def test_ordinary_labels_are_not_reported() -> None:
    """One thing per label, in different light: of 90 labels, at most three are reported."""
    reported = sum(
        len(found((centers(2), 60), (centers(3), 60), (centers(4), 60), seed=seed)) for seed in range(30)
    )
    assert reported <= 3


def test_a_direction_that_every_label_varies_in_is_no_split() -> None:
    """Day and night in every label do not make two things of it; day and night in one label alone do."""
    both = np.concatenate([centers(2, 2), centers(3, 3), centers(4, 4)]).reshape(3, 2, WIDTH)
    night = 8 * np.eye(WIDTH)[9]
    everywhere = [(pair + np.stack([0 * night, night]), 60) for pair in both]
    alone = [(both[0] + np.stack([0 * night, night]), 60), (both[1], 60), (both[2], 60)]
    assert len(found(*everywhere)) < 3
    assert [split.label for split in found(*alone)] == ["label 0"]


def test_few_views_and_single_labels_are_not_judged() -> None:
    """Below the smallest number of views, and without another label, there is nothing to compare with."""
    assert found((centers(2), 60), (centers(5, 6), FEWEST - 1)) == ()
    assert found((centers(5, 6), 60)) == ()


def test_many_views_are_thinned_out_and_those_of_the_host_are_not_named() -> None:
    """A label with more views than are looked at is judged all the same."""
    (split,) = found((centers(2), 60), (centers(5, 6), 3 * MOST + 1), ids=-1)
    assert split.label == "label 1"
    assert split.samples == ((), ())


def test_equal_samples_do_not_fail() -> None:
    """A black camera: every embedding is the same."""
    codes, owners = np.zeros((120, WIDTH), np.int16), np.repeat([0, 1], 60)
    each = np.arange(120)
    assert find_splits(codes, ("a", "b"), owners, np.zeros(120, np.int64), each) == ()
    find_splits(codes, ("a", "b"), owners, each, each)

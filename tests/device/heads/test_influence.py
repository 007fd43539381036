"""The order of uncertain frames: what a label changes, by the formula and by teaching it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from device.heads import Head, Prediction, create_head
from device.heads.exact import ExactHead
from device.heads.influence import UNKNOWN, expected_error, look, order
from device.model.codes import Codes, encode

D = 40


def near(direction: int, count: int, seed: int, noise: float = 0.05) -> NDArray[np.float64]:
    """Return embeddings around an axis."""
    random = np.random.default_rng(seed)
    return np.eye(D)[direction] + random.normal(0, noise, (count, D))


def between(first: int, second: int, count: int, seed: int) -> NDArray[np.float64]:
    """Return embeddings halfway between two axes."""
    random = np.random.default_rng(seed)
    return (np.eye(D)[first] + np.eye(D)[second]) / 2 + random.normal(0, 0.03, (count, D))


@pytest.fixture
def head() -> Head:
    """A head that has learned four labels."""
    learned = create_head("exact", D)
    for axis in range(4):
        learned.learn_many(encode(near(axis, 8, axis)), [f"label {axis}"] * 8)
    return learned


def ordered(head: Head, codes: Codes, weights: list[float] | None = None) -> list[int]:
    """Return the places of frames in the order of the queue."""
    view = look(head, codes, codes[:0])
    errors = [expected_error(prediction) for prediction in view.predictions]
    return order(errors, view.cross, weights or [1] * len(codes))[0].tolist()


def test_the_change_of_a_lesson_is_what_the_formula_says() -> None:
    """Teaching x changes the ridge output for u by k(u, x) (y - f(x)) / (1 + k(x, x)), at a fixed mean and ridge."""
    random = np.random.default_rng(1)
    X, Y = random.normal(size=(12, 5)), np.eye(3)[random.integers(0, 3, 12)]
    A = X.T @ X + np.eye(5)
    x, u, y = random.normal(size=5), random.normal(size=5), np.eye(3)[1]
    W = np.linalg.solve(A, X.T @ Y)
    after = np.linalg.solve(A + np.outer(x, x), X.T @ Y + np.outer(x, y))
    k = np.linalg.solve(A, x)
    assert u @ after - u @ W == pytest.approx((u @ k) * (y - x @ W) / (1 + x @ k))


def test_the_kernel_is_that_of_the_heads_own_matrix(head: Head) -> None:
    """It equals a direct solve with the centered samples."""
    assert isinstance(head, ExactHead)
    codes = encode(between(0, 1, 5, 9))
    view, solution = look(head, codes[2:], codes[:2]), head.solution()
    X, U = solution.centered(head.statistics.codes), solution.centered(codes)
    A = X.T @ X + solution.lam * np.eye(D)
    np.testing.assert_allclose(view.cross, U @ np.linalg.solve(A, U[2:].T), rtol=1e-6, atol=1e-9)


def test_an_uncertain_frame_among_many_comes_before_an_uncertain_single_one(head: Head) -> None:
    """Its label decides about all of them."""
    codes = encode(np.concatenate([between(0, 1, 1, 3), between(2, 3, 6, 4)]))
    assert ordered(head, codes)[0] != 0


def test_a_certain_frame_comes_last_however_many_are_like_it(head: Head) -> None:
    """Nothing changes when its label is what was predicted anyway."""
    codes = encode(np.concatenate([near(0, 8, 5), between(1, 2, 1, 6)]))
    assert ordered(head, codes)[0] == 8


def test_the_second_frame_is_not_the_look_alike_of_the_first() -> None:
    """After a label for one of a pair, the other changes less than a frame of another pair."""
    kernel = np.kron(np.eye(3), [[1.0, 0.95], [0.95, 1.0]])
    places, changes = order([0.7, 0.7, 0.69, 0.69, 0.68, 0.68], kernel, [1] * 6)
    assert [place // 2 for place in places] == [0, 1, 2, 0, 1, 2]
    assert changes[3] < 0.8 * changes[2]


def test_frames_like_those_that_are_seen_often_come_first(head: Head) -> None:
    """Frames that do not wait, because they are certain or like another one, count too."""
    codes = encode(np.concatenate([between(0, 1, 1, 7), between(1, 2, 1, 8)]))
    for first in (0, 1):
        seen = encode(between(first, first + 1, 300, 9))
        assert order([0.7, 0.7], look(head, codes, seen).cross, [1] * 302)[0][0] == first


def test_a_frame_seen_often_comes_before_one_seen_once(head: Head) -> None:
    """All else being equal."""
    codes = encode(np.concatenate([between(0, 1, 1, 7), between(2, 3, 1, 7)]))
    assert ordered(head, codes, [1, 500])[0] == 1
    assert ordered(head, codes, [500, 1])[0] == 0


def test_an_order_has_each_frame_once_and_changes_do_not_increase_for_equal_frames() -> None:
    """Also for an empty queue."""
    places, changes = order([0.5] * 4, np.eye(4), [1] * 4)
    assert sorted(places.tolist()) == [0, 1, 2, 3]
    assert (np.diff(changes) <= 1e-12).all()
    assert order([], np.zeros((0, 0)), [])[0].tolist() == []


@pytest.mark.parametrize("name", ["exact", "lda", "ncm", "knn"])
def test_every_head_sorts_the_queue(name: str) -> None:
    """Heads without the matrix use cosines."""
    head = create_head(name, D)
    for axis in range(3):
        head.learn_many(encode(near(axis, 6, axis)), [f"label {axis}"] * 6)
    codes = encode(np.concatenate([near(0, 3, 20), between(1, 2, 3, 21)]))
    assert sorted(ordered(head, codes)) == list(range(6))
    assert look(head, codes[:0], codes).predictions == []


def test_the_expected_error_is_zero_when_certain_and_at_least_that_of_unknown_frames() -> None:
    """It grows with the number of labels that are possible."""
    assert expected_error(Prediction("a", 1.0, True, {"a": 1.0, "b": 0.0})) == 0.0
    assert expected_error(Prediction("a", 1.0, False, {"a": 1.0, "b": 0.0})) == UNKNOWN
    two = expected_error(Prediction("a", 0.5, True, {"a": 0.5, "b": 0.5}))
    four = expected_error(Prediction("a", 0.25, True, dict.fromkeys("abcd", 0.25)))
    assert 0 < two < four < 1


def test_labels_of_the_first_frames_help_more_than_those_of_the_last() -> None:
    """On clusters of different sizes, a lesson per frame in this order is never behind the reverse one by much."""
    sizes = [40, 30, 20, 2, 1, 1]
    truth = np.repeat(np.arange(6), sizes)
    codes = encode(np.concatenate([near(axis, size, 50 + axis, 0.2) for axis, size in enumerate(sizes)]))
    head = create_head("exact", D)
    for axis in range(6):
        head.learn_many(encode(near(axis, 1, 80 + axis, 0.8)), [str(axis)])
    places = ordered(head, codes)
    right = []
    for chosen in (places[:6], places[-6:]):
        taught = head.clone()
        taught.learn_many(codes[chosen], [str(truth[at]) for at in chosen])
        answers = [int(taught.labels[at]) for at in taught.probabilities(codes).argmax(axis=1)]
        right.append(float((np.array(answers) == truth).mean()))
    assert right[0] > right[1]

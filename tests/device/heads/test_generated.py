"""Replay of generated images: which are kept, under which labels, and what the softmax head remembers with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device.heads.generated import DRAWN, draw_replay
from device.heads.softmax import SoftmaxHead
from device.model.codes import Codes, encode

from .conftest import D, samples


def of_label(label: str, count: int, seed: int) -> Codes:
    """Return samples of one label, int16 [count, D]."""
    codes, labels = samples(count * 8, seed=seed)
    return codes[np.array(labels) == label][:count]


def perfect(seeds: Sequence[int] = (50,)) -> object:
    """Return a source that draws unseen samples of every label."""

    def source(count: int, random: np.random.Generator) -> Codes:
        codes, _ = samples(400, seed=seeds[0])
        return codes[random.integers(0, len(codes), count)]

    return source


def nothing(count: int, random: np.random.Generator) -> Codes:
    """Draw no image."""
    del count, random
    return np.zeros((0, D), np.int16)


def taught_in_order(source: object) -> SoftmaxHead:
    """Return a head that learned one label after another."""
    codes, labels = samples(120, seed=1)
    head = SoftmaxHead(D, source=source)  # type: ignore[arg-type]
    for label in sorted(set(labels)):
        mine = codes[np.array(labels) == label]
        head.learn_many(mine, [label] * len(mine))
    return head


def share_right(head: SoftmaxHead) -> float:
    """Return the share of unseen samples that a head recognizes."""
    codes, labels = samples(200, seed=2)
    best = head.probabilities(codes).argmax(axis=1)
    return float(np.mean([head.labels[column] == label for column, label in zip(best, labels, strict=True)]))


def test_generated_images_preserve_old_labels() -> None:
    """Without images the last label takes all; with those of a generator that draws all labels, most is kept."""
    remembered, forgotten = share_right(taught_in_order(perfect())), share_right(taught_in_order(nothing))
    assert forgotten < 0.3
    assert remembered > forgotten + 0.3


def test_images_have_the_labels_that_the_head_assigned_before_the_update() -> None:
    """Images that it does not recognize are left out."""
    codes = of_label("label 0", 3, seed=4)
    asked = []
    new = (of_label("label 1", 3, seed=4), ["c"] * 3)

    def source(count: int, random: np.random.Generator) -> Codes:
        asked.append(count)
        return codes

    def judge(given: Codes) -> tuple[list[str], list[float]]:
        np.testing.assert_array_equal(given, codes)
        return ["a", "b", "b"], [0.9, 0.49, 0.5]

    replay = draw_replay(source, judge, 4, new, np.random.default_rng(0), room=40)
    kept, labels = replay.all()
    assert asked == [4 * DRAWN]
    assert labels == ["a", "b"]
    np.testing.assert_array_equal(kept, codes[[0, 2]])


def test_images_like_the_new_samples_are_left_out() -> None:
    """The generator draws a label before it is taught; the head takes it for another one."""
    random = np.random.default_rng(0)
    old = encode(0.1 * random.normal(size=(10, D)) + 4 * np.eye(D)[0])
    new = encode(0.1 * random.normal(size=(10, D)) + 4 * np.eye(D)[1])

    def judge(given: Codes) -> tuple[list[str], list[float]]:
        return ["label 0"] * len(given), [0.9] * len(given)

    replay = draw_replay(
        lambda count, _: np.concatenate([old, new[:4]]),
        judge,
        1,
        (new[4:], ["label 1"] * 6),
        random,
        room=40,
    )
    kept, _ = replay.all()
    assert {row.tobytes() for row in kept} == {row.tobytes() for row in old}


def test_the_first_label_needs_no_generated_image() -> None:
    """There is nothing to preserve yet."""

    def refuse(count: int, random: np.random.Generator) -> Codes:
        raise AssertionError("drew images for a head without labels")

    head = SoftmaxHead(D, source=refuse)
    head.learn_many(of_label("label 0", 5, seed=0), ["a"] * 5)
    assert head.labels == ("a",)


def test_the_same_samples_lead_to_the_same_head() -> None:
    """The noise depends on the seed and on the number of draws alone."""
    first, again = taught_in_order(perfect()), taught_in_order(perfect())
    assert first.digest() == again.digest()
    assert first.digest() != taught_in_order(None).digest()


def test_forgetting_trains_again_from_stored_samples() -> None:
    """Generated images are not needed for it, so the result is that of stored replay."""
    generated, stored = taught_in_order(perfect()), taught_in_order(None)
    codes, labels = samples(120, seed=1)
    for head in (generated, stored):
        head.forget(codes[:1], labels[:1])
    assert sorted(generated.labels) == sorted(stored.labels)
    assert abs(share_right(generated) - share_right(stored)) < 0.1

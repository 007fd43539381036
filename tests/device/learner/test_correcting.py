"""Correcting many samples: what is selected, that it is one change, and that a dry run shows the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device.cameras.fake import draw
from device.errors import LabelError, SampleNotFoundError, SelectionError
from device.learner import Learner
from device.learner.selecting import SampleFilter
from tests import tiny

LABELS = ["red"] * 10 + ["blue"] * 10


def seen(learner: Learner) -> NDArray[np.float32]:
    """Return embeddings of two things, each a little different; the tenth shows the second thing."""
    width = learner.model.manifest.dimensions
    things = np.eye(2, width)[[0] * 9 + [1] * 11]
    noise = np.random.default_rng(0).uniform(0, 0.03, (20, width))
    return (things + noise).astype(np.float32)


@pytest.fixture
def learner(tmp_path: Path) -> Any:
    """Ten red and ten blue samples in bursts of two; sample 10 is blue and is labeled red."""
    with Learner.open(tiny.TINY, tmp_path / "s.db", threads=1) as opened:
        teach(opened, list(range(20)))
        yield opened


def teach(learner: Learner, chosen: list[int]) -> None:
    """Teach some of the twenty samples."""
    learner.learn_many(
        [draw("red", number) for number in chosen],
        [LABELS[number] for number in chosen],
        bursts=[1 + number // 2 for number in chosen],
        embeddings=seen(learner)[chosen],
    )


def ids(learner: Learner, **conditions: Any) -> list[int]:
    """Return the ids that a filter selects."""
    return [sample.id for sample in learner.select(SampleFilter(**conditions))]


def test_each_condition_selects_and_all_have_to_be_met(learner: Learner) -> None:
    """Samples are listed oldest first."""
    assert ids(learner, label="red") == list(range(1, 11))
    assert ids(learner, ids=(9, 2)) == [2, 9]
    assert ids(learner, burst_of=(3, 12)) == [3, 4, 11, 12]
    assert ids(learner, ids=(4, 5), burst_of=(5,)) == [5]
    assert ids(learner, label="red", like=(11,), likeness=0.5) == [10]
    assert ids(learner, like=(1,), likeness=0.5) == list(range(1, 10))
    assert ids(learner, like=(1,), likeness=1.0) == [1]
    assert ids(learner, mislabeled=True) == [10]
    assert ids(learner, label="cup") == []


def test_a_time_range_includes_its_start_and_not_its_end() -> None:
    """So that two ranges next to each other share no sample."""
    images = [draw("red", number) for number in range(4)]
    with Learner.open(tiny.TINY, None, threads=1) as other:
        other.learn_many(images, ["red"] * 4, times=[60.0, 120.0, 180.0, 240.0])
        assert ids(other, since=120.0, until=240.0) == [2, 3]


def test_a_selection_without_conditions_or_of_unknown_samples_is_refused(learner: Learner) -> None:
    """Nothing is selected by accident."""
    with pytest.raises(SelectionError, match="at least one condition"):
        learner.select(SampleFilter())
    with pytest.raises(SampleNotFoundError, match="99"):
        learner.select(SampleFilter(like=(1, 99)))
    with pytest.raises(SelectionError, match="likeness"):
        learner.select(SampleFilter(like=(1,), likeness=float("nan")))


@pytest.mark.parametrize(
    ("action", "label", "counts"),
    [
        ("relabel", "cup", {"blue": 10, "cup": 2, "red": 8}),
        ("relabel", "blue", {"blue": 12, "red": 8}),
        ("forget", None, {"blue": 10, "red": 8}),
        ("exclude", None, {"blue": 10, "red": 8}),
    ],
)
def test_a_correction_is_one_change_that_one_undo_reverts(
    learner: Learner, action: str, label: str | None, counts: dict[str, int]
) -> None:
    """The dry run returns the same and changes nothing; the head is bit for bit what it was after the undo."""
    wanted, before, digest = (
        SampleFilter(burst_of=(5,)),
        learner.store.position(),
        learner.head.digest(),
    )
    planned = learner.correct(wanted, action, label, dry_run=True)
    assert (planned.ids, planned.moved, planned.samples) == ((5, 6), {"red": 2}, counts)
    assert (learner.store.position(), learner.head.digest()) == (before, digest)
    done = learner.correct(wanted, action, label)
    assert done.to_dict() == planned.to_dict() | {"dry_run": False}
    assert learner.store.position() == before + 1
    assert dict(learner.head.counts) == counts == learner.store.counts()
    learner.undo()
    assert learner.head.digest() == digest


def test_excluded_samples_teach_nothing_until_they_are_included(learner: Learner, tmp_path: Path) -> None:
    """The head is bit for bit that of the other samples alone, also after reopening and in an export."""
    learner.correct(SampleFilter(mislabeled=True), "exclude")
    with Learner.open(tiny.TINY, None, threads=1) as other:
        teach(other, [number for number in range(20) if number != 9])
        assert other.head.digest() == learner.head.digest()
    with Learner.open(tiny.TINY, tmp_path / "s.db", threads=1, read_only=True) as again:
        assert again.head.digest() == learner.head.digest()
    memory = learner.export(tmp_path / "out.tflite").memory
    assert memory is not None
    assert memory.counts() == {"blue": 10, "red": 9}
    assert learner.correct(SampleFilter(excluded=True), "include").ids == (10,)
    assert learner.store.counts() == {"blue": 10, "red": 10}


def test_probably_mislabeled_samples_get_the_suggested_labels(learner: Learner) -> None:
    """Sample 10 shows blue."""
    done = learner.correct(SampleFilter(mislabeled=True), "relabel")
    assert (done.ids, done.suggested, done.samples) == ((10,), {10: "blue"}, {"blue": 11, "red": 9})
    assert learner.mislabeled() == {}


@pytest.mark.parametrize(
    ("conditions", "action", "label", "message"),
    [
        ({"label": "red"}, "relabel", None, "relabel needs a label"),
        ({"label": "red"}, "forget", "cup", "only relabel has a label"),
        ({"label": "red"}, "burn", None, "must be one of relabel, forget"),
        ({"label": "red"}, "include", None, "only excluded samples"),
    ],
)
def test_a_correction_that_makes_no_sense_is_refused(
    learner: Learner, conditions: dict[str, Any], action: str, label: str | None, message: str
) -> None:
    """Before anything is changed."""
    with pytest.raises(SelectionError, match=message):
        learner.correct(SampleFilter(**conditions), action, label)
    assert learner.store.counts() == {"blue": 10, "red": 10}


def test_a_filter_is_read_from_json_and_nothing_else_is_accepted() -> None:
    """Types are those of the attributes; true is no number, and NaN is no time."""
    fields: dict[str, Any] = {"ids": [3, 4], "label": "mug", "since": 5, "mislabeled": True}
    assert SampleFilter.from_dict(fields) == SampleFilter(ids=(3, 4), label="mug", since=5, mislabeled=True)
    wrong: list[dict[str, Any]] = [
        {"ids": "3"}, {"ids": [True]}, {"ids": [-1]}, {"like": [2**63]}, {"label": 1}, {"since": "1"},
        {"since": float("nan")}, {"likeness": True}, {"mislabeled": 1}, {"color": "red"},
    ]  # fmt: skip
    for one in wrong:
        with pytest.raises(SelectionError, match=next(iter(one))):
            SampleFilter.from_dict(one)


def test_look_alikes_of_an_embedding_of_zeros_are_only_itself(tmp_path: Path) -> None:
    """Seen from the mean of both, the other sample is on the opposite side."""
    with Learner.open(tiny.TINY, None, threads=1) as learner:
        width = learner.model.manifest.dimensions
        images = [draw("red", number) for number in range(2)]
        embeddings = np.stack([np.zeros(width), np.ones(width)]).astype(np.float32)
        learner.learn_many(images, ["red"] * 2, embeddings=embeddings)
        assert [one.id for one in learner.select(SampleFilter(like=(1,)))] == [1]


def test_samples_become_negatives_and_background_in_one_change_that_one_undo_reverts(
    learner: Learner,
) -> None:
    """The dry run returns the same counts, and the samples are selected by what they are now."""
    digest, wanted = learner.head.digest(), SampleFilter(burst_of=(5,))
    planned = learner.correct(wanted, "relabel", not_label="blue", dry_run=True)
    done = learner.correct(wanted, "relabel", not_label="blue")
    assert done.to_dict() == planned.to_dict() | {"dry_run": False}
    assert (done.ids, done.moved, done.suggested) == ((5, 6), {"red": 2}, {})
    assert (done.label, done.not_label, done.meaning) == (None, "blue", "not blue")
    assert (done.samples, done.negatives, done.background) == ({"blue": 10, "red": 8}, {"blue": 2}, 0)
    assert ids(learner, not_label="blue") == [5, 6]
    done = learner.correct(SampleFilter(not_label="blue"), "relabel", background=True)
    assert (done.moved, done.negatives, done.background) == ({"not blue": 2}, {}, 2)
    assert ids(learner, background=True) == [5, 6]
    assert learner.correct(SampleFilter(background=True), "relabel", background=True).ids == ()
    back = learner.correct(SampleFilter(background=True), "relabel", "red", dry_run=True)
    assert (back.moved, back.samples, back.background) == ({"background": 2}, {"blue": 10, "red": 10}, 0)
    learner.undo()
    learner.undo()
    assert learner.head.digest() == digest
    assert learner.head.rejection is None or not learner.head.rejection.hidden


def test_excluded_background_is_included_as_background(learner: Learner) -> None:
    """It is never counted as a label."""
    learner.correct(SampleFilter(ids=(5, 6)), "relabel", background=True)
    assert learner.correct(SampleFilter(background=True), "exclude").background == 0
    done = learner.correct(SampleFilter(background=True, excluded=True), "include")
    assert (done.ids, done.background, done.samples) == ((5, 6), 2, {"blue": 10, "red": 8})


@pytest.mark.parametrize(
    ("action", "target", "message"),
    [
        ("relabel", {"label": "red", "background": True}, "one of"),
        ("relabel", {"not_label": "red", "background": True}, "one of"),
        ("forget", {"background": True}, "only relabel"),
        ("exclude", {"not_label": "red"}, "only relabel"),
    ],
)
def test_a_target_that_does_not_fit_is_refused(
    learner: Learner, action: str, target: dict[str, Any], message: str
) -> None:
    """Nothing is changed."""
    before = learner.store.position()
    with pytest.raises(SelectionError, match=message):
        learner.correct(SampleFilter(ids=(1,)), action, **target)
    with pytest.raises(SelectionError, match="at most one of label, not_label, background"):
        learner.select(SampleFilter(label="red", background=True))
    with pytest.raises(LabelError, match="nothing was taught as 'cup'"):
        learner.correct(SampleFilter(ids=(1,)), "relabel", not_label="cup", dry_run=True)
    assert learner.store.position() == before

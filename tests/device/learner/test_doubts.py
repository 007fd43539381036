"""The queue of uncertain frames: what is queued, in which order, what survives, and what happens on a full disk."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device.errors import LabelError, SampleNotFoundError
from device.heads import Prediction
from device.heads.influence import View
from device.images import encode_jpeg
from device.learner import Learner
from device.learner.doubt import uncertainty
from device.learner.doubts import Doubts
from device.model.codes import Codes, encode
from device.store import doubtfile
from tests import tiny
from tests.scenes import scene

D = 200
JPEG = encode_jpeg(scene(1, 32))


def predicted(best: float, *, known: bool = True) -> Prediction:
    """Return a prediction of a with probability `best`, else b."""
    return Prediction("a", best, known, {"a": best, "b": 1 - best})


def embedding(direction: int) -> NDArray[np.float32]:
    """Return an embedding unlike those of other directions."""
    values = np.zeros(D, np.float32)
    values[direction] = 1.0
    return values


class Clock:
    """Seconds that the test decides."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class Judge:
    """A head with fixed predictions."""

    def __init__(self) -> None:
        self.best: dict[int, float] = {}
        self.position = 0
        self.taught = True

    def look(self, codes: Codes, seen: Codes) -> View | None:
        """Return predictions by direction; every frame influences what was seen alike."""
        if not self.taught:
            return None
        answers = [predicted(self.best.get(int(code.argmax()), 0.55)) for code in codes]
        return View(answers, np.vstack([np.ones((len(seen), len(codes))), np.eye(len(codes))]), np.zeros(D))

    def queue(self, **options: Any) -> Doubts:
        """Return a queue for this head."""
        return Doubts(self.look, lambda: self.position, encode, D, **options)


@pytest.fixture
def judge() -> Judge:
    """A head that is unsure about everything."""
    return Judge()


def offer(doubts: Doubts, direction: int, best: float = 0.55, jpeg: bytes = JPEG) -> bool:
    """Offer a frame."""
    return doubts.offer(embedding(direction), predicted(best), lambda: jpeg)


def test_uncertainty_increases_as_the_lead_decreases() -> None:
    """For a certain, an even and an unknown prediction, and for a single label."""
    assert uncertainty(predicted(1.0)) == 0.0
    assert uncertainty(predicted(0.5)) == 1.0
    assert uncertainty(predicted(1.0, known=False)) == 0.75
    assert uncertainty(Prediction("a", 1.0, True, {"a": 1.0})) == 0.0


def test_only_uncertain_frames_are_queued_and_encoded(judge: Judge) -> None:
    """A certain frame is not even encoded."""
    doubts = judge.queue()
    assert not doubts.offer(embedding(0), predicted(0.95), lambda: pytest.fail("encoded"))
    assert offer(doubts, 0)
    assert [one.id for one in doubts.items()] == [1]


def test_among_similar_frames_the_most_uncertain_stays_and_all_are_counted(judge: Judge) -> None:
    """A still scene uses one place of the queue."""
    doubts = judge.queue()
    assert offer(doubts, 0, 0.6, b"first")
    assert not offer(doubts, 0, 0.7, b"less")
    assert offer(doubts, 0, 0.5, b"more")
    assert not offer(doubts, 0, 0.5, b"again")
    assert [(one.jpeg, one.seen) for one in doubts.items()] == [(b"more", 4)]


def test_a_replaced_frame_can_still_be_labeled(judge: Judge) -> None:
    """A page may still show it; once labeled, it and similar frames are gone."""
    doubts = judge.queue(limit=2)
    offer(doubts, 0, 0.7, b"first")
    offer(doubts, 0, 0.5, b"better")
    left = doubts.get(1)
    assert left is not None
    assert left.jpeg == b"first"
    doubts.settle([1])
    assert doubts.get(1) is None
    for direction in range(1, 9):
        offer(doubts, direction, 0.5 + 0.001 * (9 - direction))
    assert sum(doubts.get(number) is not None for number in range(50)) <= 4


def test_the_queue_is_limited_in_frames_and_bytes_and_keeps_the_most_uncertain(judge: Judge) -> None:
    """For any number of frames."""
    judge.best = {direction: 0.7 - direction / 1000 for direction in range(150)}
    doubts = judge.queue(limit=10)
    for direction in range(150):
        offer(doubts, direction, judge.best[direction])
    assert sorted(one.id for one in doubts.items()) == list(range(141, 151))
    small = judge.queue(max_pictures=5000)
    for direction in range(20):
        offer(small, direction, judge.best[direction], bytes(1000))
    assert sum(len(one.jpeg) for one in small.items()) == 5000


def test_labeled_and_dropped_frames_are_not_queued_again_until_they_are_reconsidered(judge: Judge) -> None:
    """After an undo they may come again."""
    doubts = judge.queue()
    offer(doubts, 3)
    doubts.settle([doubts.items()[0].id, 12345])
    assert not offer(doubts, 3)
    doubts.reconsider()
    assert offer(doubts, 3)


def test_frames_that_became_certain_are_not_listed_until_they_are_uncertain_again(judge: Judge) -> None:
    """Teaching elsewhere can resolve them, and an undo brings them back."""
    doubts = judge.queue()
    offer(doubts, 0)
    offer(doubts, 1)
    before = doubts.version
    judge.best, judge.position = {0: 0.99, 1: 0.6}, 1
    assert [one.id for one in doubts.items()] == [2]
    assert doubts.version > before
    judge.best, judge.position = {}, 2
    assert sorted(one.id for one in doubts.items()) == [1, 2]
    judge.taught, judge.position = False, 3
    assert doubts.items() == []


def test_frames_like_one_just_taught_leave_the_queue(judge: Judge) -> None:
    """They need no label anymore."""
    doubts = judge.queue()
    offer(doubts, 0)
    offer(doubts, 1)
    doubts.drop_like(embedding(0))
    assert [one.id for one in doubts.items()] == [2]


def test_look_alikes_form_a_group_named_by_the_first_of_them(judge: Judge) -> None:
    """Frames of other things are groups of their own."""
    doubts = judge.queue()
    mixed = np.zeros(D, np.float32)
    mixed[[0, 5]] = [2.0, 1.0]
    other = np.zeros(D, np.float32)
    other[[0, 6]] = [2.0, 1.0]
    for values in (mixed, other, embedding(1)):
        assert doubts.offer(values, predicted(0.55), lambda: JPEG)
    groups = {one.id: one.group for one in doubts.items()}
    assert groups[1] == groups[2] != groups[3]
    assert doubts.look_alikes([2]) == [one.id for one in doubts.items() if one.id != 3]
    assert doubts.look_alikes([3]) == [3]


def test_frames_are_added_at_most_once_per_pause(judge: Judge) -> None:
    """Writing every frame would wear an SD card."""
    clock = Clock()
    doubts = judge.queue(pause=1.0, clock=clock)
    assert offer(doubts, 0)
    assert not offer(doubts, 1)
    clock.now = 1.0
    assert offer(doubts, 1)


# with a learner and a file


def vectors(learner: Learner) -> NDArray[np.float32]:
    """Return embeddings of two things, 6 each, and of 4 frames between them, each with a direction of its own."""
    width = learner.model.manifest.dimensions
    values = np.zeros((16, width), np.float32)
    values[:6, 0], values[6:12, 1] = 1.0, 1.0
    values[12:, :2] = 0.5
    values[np.arange(16), 4 + np.arange(16)] = np.where(np.arange(16) < 12, 0.1, 0.6)
    return values


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state is."""
    return tmp_path / "s.db"


def opened(path: Path | None, **options: Any) -> Learner:
    """Open a learner of the tiny model."""
    return Learner.open(tiny.TINY, path, threads=1, **options)


@pytest.fixture
def learner(path: Path) -> Iterator[Learner]:
    """A learner that was taught two things, and whose queue has four frames between them."""
    with opened(path) as found:
        teach(found)
        fill(found)
        yield found


def teach(learner: Learner) -> None:
    """Teach two things."""
    images = [scene(number, 32) for number in range(12)]
    learner.learn_many(images, ["left"] * 6 + ["right"] * 6, embeddings=vectors(learner)[:12])


def fill(learner: Learner) -> None:
    """Offer the frames between them."""
    learner.doubts._pause = 0.0
    for number, values in enumerate(vectors(learner)[12:]):
        assert learner.doubts.offer(
            values, learner.predict_embedding(values, all_scores=True), lambda: JPEG, time=100.0 + number, source="cam"
        )  # fmt: skip


def test_the_queue_survives_a_restart_in_the_same_order(learner: Learner, path: Path) -> None:
    """With pictures, sources and how often frames were seen; the predictions are those of the present head."""
    values = vectors(learner)[12]
    for _ in range(5):
        learner.doubts.offer(values, predicted(0.55), lambda: JPEG)
    learner.doubts.review()
    before = [one.to_dict() for one in learner.doubts.items()]
    assert sorted(one["seen"] for one in before) == [1, 1, 1, 6]
    learner.close()
    with opened(path, read_only=True) as again:
        assert [one.to_dict() for one in again.doubts.items()] == before
        assert all(one.jpeg == JPEG for one in again.doubts.items())
        assert before[0]["source"] == "cam"


def test_answering_teaches_the_frames_in_one_change_that_undo_reverts(learner: Learner, path: Path) -> None:
    """The samples have the embedding, the picture, the source and the time of the frame."""
    first, second = (one.id for one in learner.doubts.items()[:2])
    samples = learner.answer({first: "middle", second: "middle"})
    assert [(one.label, one.source) for one in samples] == [("middle", "cam")] * 2
    assert samples[0].time >= 100.0
    assert samples[0].thumbnail
    assert len({one.burst for one in samples}) == 2
    assert not {first, second} & {one.id for one in learner.doubts.items()}
    learner.undo()
    assert learner.store.counts() == {"left": 6, "right": 6}
    with pytest.raises(SampleNotFoundError, match=f"frame {first} is no longer in the queue"):
        learner.answer({first: "middle"})
    learner.close()
    with opened(path) as again:
        assert not {first, second} & {one.id for one in again.doubts.items()}


def test_a_wrong_answer_teaches_none_of_the_frames(learner: Learner) -> None:
    """An unknown frame, or a text that is no label."""
    (first, *_) = (one.id for one in learner.doubts.items())
    with pytest.raises(SampleNotFoundError):
        learner.answer({first: "middle", 999: "middle"})
    with pytest.raises(LabelError):
        learner.answer({first: "a\nb"})
    assert learner.store.counts() == {"left": 6, "right": 6}
    assert first in [one.id for one in learner.doubts.items()]


def test_a_frame_that_another_process_labels_leaves_this_queue(learner: Learner, path: Path) -> None:
    """The page and the command use one file."""
    first = learner.doubts.items()[0].id
    with opened(path) as other:
        other.answer({first: "middle"})
    assert first not in [one.id for one in learner.doubts.items()]


def test_a_full_disk_costs_only_the_restart_and_is_reported_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Frames are queued in RAM, samples are taught as always, and there is one warning."""
    monkeypatch.setattr(doubtfile, "RESERVE", 1 << 62)
    with opened(path) as learner, caplog.at_level(logging.WARNING):
        teach(learner)
        fill(learner)
        found = learner.doubts.items()
        assert len(found) == 4
        learner.answer({found[0].id: "middle"})
        assert learner.store.counts() == {"left": 6, "middle": 1, "right": 6}
        assert "not kept over a restart: only" in learner.doubts.problem
    assert len(caplog.records) == 1
    assert not path.with_name("s.db.doubts").exists()


def test_a_read_only_learner_lists_the_queue_and_writes_nothing(learner: Learner, path: Path) -> None:
    """Without a state it has an empty queue."""
    expected = [one.id for one in learner.doubts.items()]
    learner.close()
    before = path.with_name("s.db.doubts").read_bytes()
    with opened(path, read_only=True) as reader:
        assert [one.id for one in reader.doubts.items()] == expected
        reader.doubts.settle(expected)
    assert path.with_name("s.db.doubts").read_bytes() == before
    with opened(None) as empty:
        assert empty.doubts.items() == []


def test_a_model_without_samples_keeps_an_empty_queue_and_makes_no_file(path: Path) -> None:
    """There is nothing to be uncertain about."""
    with opened(path) as learner:
        assert learner.doubts.items() == []
        assert learner.answer({}) == []
    assert not path.with_name("s.db.doubts").exists()

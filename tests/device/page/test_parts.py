"""The parts below the server: the slot with the newest value and the queue of uncertain frames."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from device.cameras import Frame
from device.heads import Prediction
from device.page.doubts import Doubts, uncertainty
from device.page.latest import Closed, Latest
from device.page.loop import Loop


def predicted(best: float, *, known: bool = True) -> Prediction:
    """Return a prediction of a with probability `best`, else b."""
    return Prediction("a", best, known, {"a": best, "b": 1 - best})


def embedding(direction: int, *, dimensions: int = 200) -> NDArray[np.float32]:
    """Return an embedding unlike those of other directions."""
    values = np.zeros(dimensions, np.float32)
    values[direction] = 1.0
    return values


def test_a_slow_reader_gets_the_newest_value_and_misses_the_rest() -> None:
    """No queue grows."""
    slot: Latest[int] = Latest()
    for value in range(1000):
        slot.publish(value)
    assert asyncio.run(slot.after(0, 1)) == (1000, 999)
    assert asyncio.run(slot.after(1000, 0.01)) is None


def test_readers_are_woken_from_another_thread() -> None:
    """The loop runs in a thread, its viewers in asyncio."""
    slot: Latest[str] = Latest()

    async def read() -> list[tuple[int, str] | None]:
        readers = [asyncio.create_task(slot.after(0, 20)) for _ in range(5)]
        await asyncio.sleep(0)  # lets them start to wait
        threading.Thread(target=slot.publish, args=["news"]).start()
        return await asyncio.gather(*readers)

    assert asyncio.run(read()) == [(1, "news")] * 5


def test_closing_ends_readers_now_and_later() -> None:
    """Waiting readers and new ones."""
    slot: Latest[str] = Latest()

    async def read() -> None:
        waiting = asyncio.create_task(slot.after(0, 20))
        await asyncio.sleep(0)
        slot.close()
        with pytest.raises(Closed):
            await waiting
        with pytest.raises(Closed):
            await slot.after(0, 20)

    asyncio.run(read())


def test_publishing_after_an_event_loop_has_ended_is_safe() -> None:
    """The event loop of a viewer may end while the camera runs."""
    slot: Latest[str] = Latest()
    loop = asyncio.new_event_loop()
    task = loop.create_task(slot.after(0, 20))
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    slot.publish("news")


def test_uncertainty_increases_as_the_lead_decreases() -> None:
    """For a certain, an even and an unknown prediction."""
    assert uncertainty(predicted(1.0)) == 0.0
    assert uncertainty(predicted(0.5)) == 1.0
    assert uncertainty(predicted(1.0, known=False)) == 0.75
    assert uncertainty(Prediction("a", 1.0, True, {"a": 1.0})) == 0.0


def test_only_uncertain_frames_are_queued_and_encoded() -> None:
    """A certain frame is not even encoded."""
    doubts = Doubts()
    assert not doubts.offer(embedding(0), predicted(0.95), lambda: pytest.fail("encoded"))
    assert doubts.offer(embedding(0), predicted(0.6), lambda: b"jpeg")
    assert len(doubts) == 1


def test_among_similar_frames_the_most_uncertain_stays() -> None:
    """A still scene uses one place of the queue."""
    doubts = Doubts()
    assert doubts.offer(embedding(0), predicted(0.6), lambda: b"first")
    assert not doubts.offer(embedding(0), predicted(0.7), lambda: b"less")
    assert doubts.offer(embedding(0), predicted(0.5), lambda: b"more")
    assert [item.jpeg for item in doubts.items()] == [b"more"]


def test_a_replaced_frame_can_still_be_labeled() -> None:
    """A page may still show it; once labeled, it and similar frames are gone."""
    doubts = Doubts(limit=2)
    doubts.offer(embedding(0), predicted(0.7), lambda: b"first")
    doubts.offer(embedding(0), predicted(0.5), lambda: b"better")
    left = doubts.get(1)
    assert left is not None
    assert left.jpeg == b"first"
    doubts.settle(1)
    assert doubts.get(1) is None
    for place in range(1, 9):
        doubts.offer(embedding(place), predicted(0.5 + 0.001 * (9 - place)), lambda: b"more")
    assert sum(doubts.get(number) is not None for number in range(50)) <= 4


def test_the_queue_is_limited_and_keeps_the_most_uncertain() -> None:
    """For any number of frames."""
    doubts = Doubts(limit=10)
    for place in range(150):
        doubts.offer(embedding(place), predicted(0.7 - place / 1000), lambda: b"jpeg")
    kept = doubts.items()
    assert len(kept) == 10
    assert [item.id for item in kept] == list(range(150, 140, -1))


def test_labeled_frames_are_not_queued_again() -> None:
    """Skipped frames are not either."""
    doubts = Doubts()
    doubts.offer(embedding(3), predicted(0.5), lambda: b"jpeg")
    doubts.settle(doubts.items()[0].id)
    assert not doubts.offer(embedding(3), predicted(0.5), lambda: b"jpeg")
    doubts.settle(12345)


def test_frames_that_became_certain_leave_the_queue() -> None:
    """Teaching elsewhere can resolve them."""
    doubts = Doubts()
    doubts.offer(embedding(0), predicted(0.5), lambda: b"now known")
    doubts.offer(embedding(1), predicted(0.5), lambda: b"still not")
    before = doubts.version
    doubts.review(lambda values: predicted(0.99 if values[0] else 0.6))
    assert [item.jpeg for item in doubts.items()] == [b"still not"]
    assert doubts.items()[0].prediction.probability == 0.6
    assert doubts.version > before


def test_frames_like_one_just_taught_leave_the_queue() -> None:
    """They need no label anymore."""
    doubts = Doubts()
    doubts.offer(embedding(0), predicted(0.5), lambda: b"taught")
    doubts.offer(embedding(1), predicted(0.5), lambda: b"other")
    doubts.drop_like(embedding(0))
    assert [item.jpeg for item in doubts.items()] == [b"other"]


class Slow:
    """A learner whose predictions each take a second of the test's clock."""

    def __init__(self) -> None:
        self.now, self.predicted = 100.0, 0

    def embed_one(self, image: object) -> NDArray[np.float32]:
        """Embed without using time."""
        return embedding(0)

    def predict_embedding(self, _: object, *, all_scores: bool) -> Prediction:
        """Predict slowly."""
        self.now += 1.0
        self.predicted += 1
        return Prediction("a", 1.0, True, {"a": 1.0, "b": 0.0})


def test_slow_predictions_do_not_block_teaching(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a button is held on a small board, frames get three quarters of the time."""
    learner = Slow()
    loop = Loop(lambda: pytest.fail("opened"), learner, Doubts(), lambda: None, clock=lambda: learner.now)  # type: ignore[arg-type]
    for number in range(40):
        learner.now += 0.1
        loop._see(Frame(np.zeros((8, 8, 3), np.uint8), 0.0, number, "test"))
        assert loop.capture is not None
        assert loop.capture.number == number + 1
        assert loop.capture.observation.prediction is not None
    assert learner.predicted == 2

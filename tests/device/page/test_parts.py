"""The parts below the server: the slot with the newest value, and the loop over frames."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from device.cameras import Frame
from device.heads import Prediction
from device.learner.doubts import Doubts
from device.model.codes import encode
from device.page.latest import Closed, Latest
from device.page.loop import Loop


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


class Slow:
    """A learner whose predictions each take a second of the test's clock."""

    position = 0

    def __init__(self) -> None:
        self.now, self.predicted, self.position = 100.0, 0, 0

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
    learner, doubts = Slow(), Doubts(lambda *_: None, lambda: 0, encode, 200)
    loop = Loop(lambda: pytest.fail("opened"), learner, doubts, lambda: None, clock=lambda: learner.now)  # type: ignore[arg-type]
    for number in range(40):
        learner.now += 0.1
        loop._see(Frame(np.zeros((8, 8, 3), np.uint8), 0.0, number, "test"))
        assert loop.capture is not None
        assert loop.capture.number == number + 1
        assert loop.capture.observation.prediction is not None
    assert learner.predicted == 2

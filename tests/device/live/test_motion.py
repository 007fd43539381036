"""The gate is closed while nothing moves, and opens for what a camera should see."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from device.cameras import Frame
from device.images import Image
from device.learner import Learner
from device.learner.doubts import Doubts
from device.live.motion import MotionGate
from device.live.watching import Watcher
from device.model.codes import encode
from tests.tiny import TINY_TAUGHT, photo


def scene(seed: int = 0, shift: float = 0.0, disc: tuple[int, int] | None = None) -> Image:
    """A still scene with the noise of a camera, brighter by `shift`, with or without a disc in it."""
    base = cv2.GaussianBlur(np.random.default_rng(1).integers(40, 200, (240, 320, 3), np.uint8), (9, 9), 0)
    if disc:
        cv2.circle(base, disc, 25, (250, 20, 20), -1)
    noise = np.random.default_rng([2, seed]).normal(shift, 4.0, base.shape)
    return np.clip(base + noise, 0, 255).astype(np.uint8)


def settled(threshold: float = 0.01) -> MotionGate:
    """A gate that has seen the still scene until it closed."""
    gate = MotionGate(threshold)
    for number in range(8):
        gate.check(scene(number))
    assert not gate.last.open
    return gate


def test_noise_and_exposure_do_not_open_the_gate() -> None:
    """Nor a scene that slowly becomes a little brighter."""
    gate = settled()
    for number in range(30):
        found = gate.check(scene(100 + number, shift=number / 3))
        assert not found.open, number


def test_a_thing_that_appears_opens_the_gate_and_it_closes_again() -> None:
    """It stays open for a few frames, so that the mean of the predictions settles."""
    gate = settled()
    assert gate.check(scene(50, disc=(160, 120))).open
    opened = [gate.check(scene(51 + number, disc=(160, 120))).open for number in range(10)]
    assert opened == [True] * 4 + [False] * 6
    assert gate.check(scene(70)).open


def test_slow_movement_adds_up() -> None:
    """Each step is below the threshold, the way is not."""
    gate = MotionGate(0.03)
    for number in range(8):
        gate.check(scene(number, disc=(60, 120)))
    assert not gate.last.open
    assert any(gate.check(scene(number, disc=(60 + number, 120))).open for number in range(60))


def test_a_camera_that_changes_its_size_opens_the_gate() -> None:
    """Frames of another shape cannot be compared."""
    gate = settled()
    wide = cv2.resize(scene(9), (640, 240))
    assert gate.check(wide).open
    assert gate.check(cv2.resize(scene(9), (16, 16))).open


def test_nothing_is_embedded_while_nothing_moves_and_lessons_take_effect() -> None:
    """The last embedding is predicted again, so that a label that is taught meanwhile is seen."""
    with Learner.open(TINY_TAUGHT, None, threads=1) as learner:
        watcher = Watcher(learner, gate=MotionGate(0.01))
        still = photo("red", 3, side=64)
        for number in range(20):
            observation = watcher.observe(Frame(still, 1.0, number, "0"))
        assert observation.label == "red"
        assert watcher.embedded == 5
        learner.rename_label("red", "cherry")
        again = watcher.observe(Frame(still, 1.0, 21, "0"))
        assert (again.label, again.changed, watcher.embedded) == ("cherry", True, 5)
        assert watcher.observe(Frame(photo("blue", 3, side=64), 1.0, 22, "0")).label == "blue"
        assert watcher.embedded == 6


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_limits_of_the_threshold_are_always_and_never(threshold: float) -> None:
    """With 1 only the first frames are embedded, with 0 each that differs at all."""
    gate = MotionGate(threshold)
    found = [gate.check(scene(number, disc=(20 + 10 * number, 120))).open for number in range(20)]
    assert all(found) if threshold == 0.0 else not any(found[5:])


def test_a_frame_that_is_not_embedded_is_not_queued() -> None:
    """Its picture would not be that of the embedding."""
    with Learner.open(TINY_TAUGHT, None, threads=1) as learner:
        offered: list[int] = []

        class Queue(Doubts):
            """Record the number of offers."""

            def offer(self, *arguments: object, **options: object) -> bool:
                offered.append(1)
                return False

        manifest = learner.model.manifest
        queue = Queue(lambda *_: None, lambda: 0, encode, manifest.dimensions)
        watcher = Watcher(learner, gate=MotionGate(0.01), doubts=queue)
        for number in range(9):
            watcher.observe(Frame(scene(number), 0.0, number, "still"))
        assert len(offered) == watcher.embedded == 5

"""The stamp and the paced camera of the benchmark of cameras."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from benchmarks import camera
from benchmarks.camera import age, stamped
from device.cameras.live import LiveCamera
from device.images import read_photo
from device.learner import Learner
from tests.device.cameras.servers import jpeg
from tests.tiny import TINY_TAUGHT


def test_a_stamp_survives_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a frame is read to the microsecond from its compressed pixels."""
    now = 123_456_789_012_345_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: now)
    image = read_photo(jpeg(stamped(), quality=60))
    monkeypatch.setattr(time, "monotonic_ns", lambda: now + 250_000_000)
    assert age(image) == pytest.approx(0.25, abs=2e-6)


def test_a_stamp_survives_noise() -> None:
    """Noise and blur do not change a bit of the stamp."""
    image = stamped()
    noise = np.random.default_rng(0).integers(-40, 40, image.shape)
    noisy = np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)
    assert 0 <= age(cv2.GaussianBlur(noisy, (3, 3), 0)) < 10


def test_every_frame_of_the_paced_camera_is_delivered_or_counted() -> None:
    """At most the newest frame is still waiting at the end."""
    with Learner.open(TINY_TAUGHT, None) as learner:
        run = camera.paced(learner, fps=200, seconds=0.2, work=0.02)
    assert run["frames"] > 0
    assert 0 <= run["produced"] - run["delivered"] - run["dropped"] <= 2


def test_the_paced_camera_draws_frames_that_contain_their_time() -> None:
    """They arrive one after another, each with a later stamp."""
    with LiveCamera(camera.PacedDriver(200)) as paced:
        ages = [age(paced.read().image) for _ in range(3)]
    assert all(0 <= seconds < 10 for seconds in ages)


def test_ages_are_compared_with_the_interval_and_with_plain_opencv() -> None:
    """A frame that is 50 ms old at 20 frames per second is one interval old."""
    run = {
        "frames": 9,
        "age_at_delivery": {"p50_ms": 50.0, "p95_ms": 60.0},
        "age_of_last_frame_ms": 1.0,
        "produced": 30,
        "delivered": 10,
        "dropped": 19,
    }
    slow = {**run, "age_at_delivery": {"p50_ms": 500.0, "p95_ms": 900.0}}
    streams = {
        f"{kind}, {name}": run if name == "edgetl" else slow
        for kind in camera.SERVERS
        for name in camera.READERS
    }
    values = {figure.name: figure.value for figure in camera.figures({"slow": run}, streams, 20)}
    assert values["age at delivery / interval of frames, slow"] == 1
    assert values["frames neither delivered nor counted, slow"] == 1
    assert values["age at delivery / plain OpenCV, rtsp"] == 0.1
    assert len(camera.tables({"slow": run}, streams)[0].rows) == 5

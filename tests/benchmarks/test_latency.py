"""The stamp of the latency benchmark."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from benchmarks.latency import age, stamped
from device.images import read_photo
from tests.device.cameras.servers import jpeg


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

"""Photos for calibration: those that cannot be decoded are left out and counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.photos import from_paths
from device.errors import PhotoError
from tests import tiny


def test_a_damaged_photo_does_not_stop_the_calibration(tmp_path: Path) -> None:
    """The description of the calibration photos counts it."""
    paths = [path for path, _ in tiny.write_photos(tmp_path, 3, ("red",))]
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    calibration = from_paths(paths, tiny.PREPROCESSING)
    assert len(calibration.images) == 2
    assert calibration.source == "2 of 3 photos, 1 could not be read"


def test_damaged_photos_alone_are_an_error(tmp_path: Path) -> None:
    """No photo is left for calibration."""
    (tmp_path / "a.jpg").write_text("not a photo")
    with pytest.raises(PhotoError, match=r"a\.jpg"):
        from_paths([tmp_path / "a.jpg"], tiny.PREPROCESSING)

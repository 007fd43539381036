"""The similarity of pictures: the same scene against another one."""

from __future__ import annotations

import numpy as np
import pytest

from device.errors import PhotoError
from device.images import Image, encode_jpeg, read_photo
from device.looks import look_at, similarities
from tests.scenes import frame, scene


def alike(one: Image, other: Image) -> float:
    """Return the similarity of two pictures."""
    return float(similarities([look_at(one), look_at(other)], np.array([[0, 1]]))[0])


def test_a_picture_is_alike_to_itself_in_any_light_and_file() -> None:
    """Saved again, reduced, or darker, it is still the same picture."""
    image = scene(0)
    assert alike(image, image) == pytest.approx(1.0)
    assert alike(image, read_photo(encode_jpeg(image, 40))) > 0.9
    assert alike(image, np.ascontiguousarray(image[::2, ::2])) > 0.85
    assert alike(image, (image * 0.6 + 10).astype(np.uint8)) > 0.95


@pytest.mark.parametrize("number", range(4))
def test_frames_of_one_scene_are_alike_and_other_scenes_are_not(number: int) -> None:
    """A shift of a few pixels changes little; another scene shares no texture."""
    one, other = frame(number, 0), frame(number, 1)
    assert alike(one, other) > 0.6
    assert alike(one, frame(number + 10, 0)) < 0.35


def test_flat_pictures_are_alike_when_their_shade_is() -> None:
    """Two black pictures are one view; black and white are two, and a scene is neither."""
    black, white = np.zeros((50, 60, 3), np.uint8), np.full((70, 40, 3), 250, np.uint8)
    assert look_at(black).flat
    assert not look_at(scene(1)).flat
    assert alike(black, np.full((20, 20, 3), 4, np.uint8)) == 1.0
    assert alike(black, white) == 0.0
    assert alike(black, scene(1)) == 0.0


def test_only_an_rgb_picture_has_a_look() -> None:
    """Other arrays are refused with their shape."""
    with pytest.raises(PhotoError, match="shape"):
        look_at(np.zeros((5, 5), np.uint8))

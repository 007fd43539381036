"""One preprocessing, the same bytes everywhere."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import ModelFileError, PhotoError
from device.model.preprocess import RESIZE_MODES, Preprocessing

PHOTO = np.random.default_rng(0).integers(0, 256, (1080, 1917, 3), dtype=np.uint8)

# computed on x86-64 with OpenCV 5.0 and 4.11; the virtual Pi runs this test on aarch64
GOLDEN = {
    ("crop", (1080, 1917)): "d75d07454a1a",
    ("crop", (100, 90)): "d2248178b1a5",
    ("crop", (300, 300)): "541e411fd72e",
    ("squash", (1080, 1917)): "2c58d49fac41",
    ("squash", (100, 90)): "ab670e80abc9",
    ("squash", (300, 300)): "3827a0b50f72",
    ("pad", (1080, 1917)): "f1b64ec6b425",
    ("pad", (100, 90)): "a8d00ff10751",
    ("pad", (300, 300)): "3827a0b50f72",
}


@pytest.mark.parametrize(("mode", "shape"), GOLDEN)
def test_the_same_photo_becomes_the_same_bytes_on_every_machine(mode: str, shape: tuple[int, int]) -> None:
    """Host and device agree bit for bit."""
    prepared = Preprocessing(224, 224, mode).prepare(PHOTO[: shape[0], : shape[1]])
    assert hashlib.sha256(prepared.tobytes()).hexdigest()[:12] == GOLDEN[mode, shape]


@given(
    rows=st.integers(1, 90),
    columns=st.integers(1, 90),
    mode=st.sampled_from(RESIZE_MODES),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_a_frame_of_any_size_becomes_the_requested_size(
    rows: int, columns: int, mode: str, height: int, width: int
) -> None:
    """A flat frame stays flat: no border leaks in, except for the gray of pad."""
    frame = np.full((rows, columns, 3), (200, 100, 50), np.uint8)
    prepared = Preprocessing(height, width, mode).prepare(frame)
    assert prepared.shape == (height, width, 3)
    assert prepared.dtype == np.uint8
    gray = (prepared == 127).all(-1) if mode == "pad" else np.zeros((height, width), bool)
    assert ((prepared == (200, 100, 50)).all(-1) | gray).all()


def test_crop_keeps_the_center_and_squash_keeps_the_edges() -> None:
    """A white border of a tenth is cut by crop and kept by squash."""
    frame = np.full((100, 100, 3), 255, np.uint8)
    frame[6:94, 6:94] = 0
    assert Preprocessing(50, 50, "crop").prepare(frame).max() == 0
    assert Preprocessing(50, 50, "squash").prepare(frame)[0].min() == 255


def test_large_photos_are_averaged_not_sampled() -> None:
    """A fine checkerboard becomes gray; plain interpolation would show moire."""
    board = (np.indices((800, 800)).sum(0) % 2 * 255).astype(np.uint8)
    prepared = Preprocessing(100, 100, "squash").prepare(np.repeat(board[:, :, None], 3, 2))
    assert prepared.min() >= 127
    assert prepared.max() <= 128


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((5, 5, 3), np.float32),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_other_arrays_than_rgb_images_are_refused_with_their_shape(frame: np.ndarray) -> None:
    """The message names the shape."""
    with pytest.raises(PhotoError, match="uint8"):
        Preprocessing().prepare(frame)


def test_a_list_is_refused() -> None:
    """Not an array at all."""
    with pytest.raises(PhotoError, match="list"):
        Preprocessing().prepare([[0]])  # type: ignore[arg-type]


def luma(rgb: np.ndarray) -> np.ndarray:
    """Return the gray of uint8 [H, W, 3] with plain integers, pixel by pixel."""
    weighted = rgb.astype(object) * (9798, 19235, 3735)
    return ((weighted.sum(-1) + 2**14) // 2**15).astype(np.uint8)[..., None]


GRAY = {"mean": (127.0,), "std": (128.0,), "channels": 1}


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_a_gray_backbone_receives_the_luma_of_the_resized_frame(mode: str) -> None:
    """Size and cut are those of RGB; each pixel is its BT.601 luma, and contiguous."""
    colored = Preprocessing(28, 20, mode, 1.0).prepare(PHOTO)
    gray = Preprocessing(28, 20, mode, 1.0, **GRAY).prepare(PHOTO)
    assert (gray.shape, gray.dtype) == ((28, 20, 1), np.uint8)
    assert gray.flags["C_CONTIGUOUS"]
    assert (gray == luma(colored)).all()


def test_the_luma_is_the_one_that_opencv_defines() -> None:
    """Every color of a coarse cube, within one level of this processor's OpenCV."""
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(len(levels), -1, 3)
    ours = Preprocessing(*cube.shape[:2], "squash", **GRAY).prepare(cube)
    theirs = cv2.cvtColor(cube, cv2.COLOR_RGB2GRAY)
    assert np.abs(ours[..., 0].astype(int) - theirs).max() <= 1


def test_a_gray_photo_keeps_its_levels_in_a_gray_backbone() -> None:
    """A photo of one channel comes as three equal channels; its gray is that channel."""
    level = np.random.default_rng(1).integers(0, 256, (28, 28, 1), np.uint8)
    prepared = Preprocessing(28, 28, "crop", 1.0, **GRAY).prepare(np.repeat(level, 3, 2))
    assert (prepared == level).all()


def test_gray_is_padded_with_its_mean() -> None:
    """The border has the one mean of the preprocessing."""
    one = Preprocessing(20, 20, "pad", mean=(33.0,), std=(1.0,), channels=1)
    prepared = one.prepare(np.full((40, 10, 3), 200, np.uint8))
    assert prepared[0, 0, 0] == 33
    assert prepared[10, 10, 0] == 200


def test_fields_without_channels_are_rgb() -> None:
    """Manifests of older files have no channels."""
    fields = Preprocessing(96, 128).to_dict()
    assert fields.pop("channels") == 3
    assert Preprocessing.from_dict(fields) == Preprocessing(96, 128)


def test_the_fields_make_the_round_trip() -> None:
    """What the manifest stores comes back equal."""
    one = Preprocessing(96, 128, "pad", 0.5, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert Preprocessing.from_dict(one.to_dict()) == one


@pytest.mark.parametrize(
    "change",
    [
        {"resize": "stretch"},
        {"height": 0},
        {"std": [1, 1]},
        {"mean": None},
        {"std": [0, 1, 1]},
        {"crop_fraction": 7},
        {"channels": 2},
        {"channels": "1"},
        {"channels": 1},
    ],
)
def test_wrong_fields_are_refused(change: dict[str, object]) -> None:
    """A damaged manifest leads to a clear error."""
    with pytest.raises(ModelFileError):
        Preprocessing.from_dict({**Preprocessing().to_dict(), **change})


def test_normalize_is_the_arithmetic_of_the_model_file() -> None:
    """The formula is (x - mean) / std in float32."""
    batch = np.array([[[[0, 127, 255]]]], np.uint8)
    assert Preprocessing().normalize(batch).tolist() == [[[[-127 / 128, 0.0, 1.0]]]]


@pytest.mark.parametrize("channels", [1, 3])
def test_normalize_equals_the_formula_to_the_bit(channels: int) -> None:
    """Rows are normalized whole, also those of a part of a larger array, and an empty batch stays empty."""
    mean, std = (123.675, 116.28, 103.53)[:channels], (58.395, 57.12, 57.375)[:channels]
    one = Preprocessing(10, 12, mean=mean, std=std, channels=channels)
    photos = np.random.default_rng(0).integers(0, 256, (4, 10, 24, channels), np.uint8)
    for batch in (photos, photos[:, :, ::2], photos[0], photos[:0]):
        expected = (batch.astype(np.float32) - np.float32(mean)) / np.float32(std)
        assert np.array_equal(one.normalize(batch), expected)
        assert one.normalize(batch).dtype == np.float32

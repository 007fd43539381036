"""HEIC photos, written here by an encoder that the product does not need."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device import heif, images
from device.errors import PhotoError
from device.formats import Reason
from device.images import read_photo
from device.photos import photos_to_teach

pillow_heif = pytest.importorskip("pillow_heif", reason="the group device-test installs pillow-heif")

UPRIGHT = np.dstack(
    [
        np.tile(np.linspace(0, 250, 64).astype(np.uint8), (48, 1)),
        np.full((48, 64), 180, np.uint8),
        np.tile(np.linspace(20, 200, 48).astype(np.uint8)[:, None], (1, 64)),
    ]
)


def heic(pixels: np.ndarray, **options: Any) -> bytes:
    """Return a HEIC file of uint8 pixels."""
    from PIL import Image

    pillow_heif.register_heif_opener()
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "HEIF", quality=95, chroma=444, **options)
    return target.getvalue()


def test_a_heic_photo_is_read_as_rgb() -> None:
    """Its pixels are those that were written, in RGB."""
    read = read_photo(heic(UPRIGHT))
    assert read.shape == UPRIGHT.shape
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - UPRIGHT).mean() < 3


def test_gray_and_transparent_photos_become_rgb() -> None:
    """The result always has three channels."""
    assert read_photo(heic(UPRIGHT[:, :, 0])).shape == (48, 64, 3)
    clear = np.dstack([UPRIGHT, np.full((48, 64), 128, np.uint8)])
    assert read_photo(heic(clear)).shape == (48, 64, 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photo_is_turned_upright(orientation: int) -> None:
    """The orientation of a phone that was turned is applied once."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x112] = orientation
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]
    read = read_photo(heic(np.ascontiguousarray(np.rot90(UPRIGHT, turns)), exif=exif.tobytes()))
    assert read.shape == UPRIGHT.shape
    assert np.abs(read.astype(int) - UPRIGHT).mean() < 3


def test_the_color_profile_is_converted_to_srgb() -> None:
    """Colors of a profile that is not sRGB differ from the stored numbers; those of sRGB do not."""
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = read_photo(heic(UPRIGHT, icc_profile=lab))
    assert np.abs(same.astype(int) - UPRIGHT).mean() < 3
    swapped = read_photo(heic(UPRIGHT, icc_profile=_with_swapped_primaries(lab)))
    assert np.abs(swapped.astype(int) - UPRIGHT).mean() > 20


def _with_swapped_primaries(profile: bytes) -> bytes:
    """Return an RGB profile whose red and blue primaries are exchanged (ICC.1:2010, section 7.3)."""
    table = profile[132:]
    swapped = table.replace(b"rXYZ", b"tmp_", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmp_", b"bXYZ", 1)
    return profile[:132] + swapped


def test_a_cut_off_photo_is_refused_by_name(tmp_path: Path) -> None:
    """The message names the file, and the reason is that it is damaged."""
    whole = heic(UPRIGHT)
    for name, content in (
        ("half", whole[: len(whole) // 2]),
        ("head", whole[:64]),
        ("noise", whole[:40] + bytes(900)),
    ):
        path = tmp_path / f"{name}.heic"
        path.write_bytes(content)
        with pytest.raises(PhotoError, match=rf"{name}\.heic is a damaged HEIC photo") as caught:
            read_photo(path)
        assert caught.value.reason is Reason.DAMAGED


def test_a_photo_with_too_many_pixels_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The size is read from its header."""
    monkeypatch.setattr(images, "_MOST_PIXELS", 1000)
    with pytest.raises(PhotoError, match="64 x 48 pixels, a photo has at most 1000") as caught:
        read_photo(heic(UPRIGHT))
    assert caught.value.reason is Reason.TOO_LARGE


def test_heic_photos_of_a_folder_are_taught(tmp_path: Path) -> None:
    """No file is left out."""
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "IMG_1.HEIC").write_bytes(heic(UPRIGHT[:, :: -1 if label == "a" else 1]))
    found = photos_to_teach(tmp_path)
    assert [photo.label for photo in found.photos] == ["a", "b"]
    assert found.left_out == ()


def test_a_package_that_an_import_hook_hides_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos in other formats are read as before."""

    class Hook:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "pi_heif":
                raise ModuleNotFoundError(name)

    monkeypatch.delitem(sys.modules, "pi_heif", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Hook(), *sys.meta_path])
    assert not heif.can_read_heif.__wrapped__()

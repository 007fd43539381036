"""HEIC and HEIF photos, as phones take them, through libheif."""

from __future__ import annotations

import functools
import importlib.util
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import PhotoError
from .formats import Reason

INSTALL = "pip install 'edgetl[photos]'"


@functools.cache
def can_read_heif() -> bool:
    """Return whether the package that decodes HEIC is installed."""
    try:
        return importlib.util.find_spec("pi_heif") is not None
    except ModuleNotFoundError:  # an import hook hides the package
        return False


def read_heif(data: bytes, name: str, most_pixels: int) -> NDArray[np.uint8]:
    """Return the main picture of a HEIC or HEIF file as uint8 [H, W, 3] RGB, upright and in sRGB.

    Args:
        data: The content of the file.
        name: Its name, for messages.
        most_pixels: A larger picture is refused before it is decoded.

    Raises:
        PhotoError: The decoder is not installed, or the file is damaged or too large; `reason` names the cause.
    """
    if not can_read_heif():
        raise PhotoError(
            f"{name} is a HEIC photo, whatever its suffix, and the package that reads HEIC is not installed; install it with "
            f"{INSTALL}, or convert the photo to JPEG",
            Reason.HEIC,
        )
    opened = _attempt(lambda: _opened(data), name)
    width, height = opened.size
    if width * height > most_pixels:
        raise PhotoError(
            f"{name} has {width} x {height} pixels, a photo has at most {most_pixels}; make it smaller",
            Reason.TOO_LARGE,
        )
    rgb: NDArray[np.uint8] = _attempt(lambda: np.ascontiguousarray(_in_srgb(opened), np.uint8), name)
    return rgb


def _opened(data: bytes) -> Any:
    """Return the header of the main picture; its pixels are decoded when they are used."""
    import pi_heif

    return pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)


def _attempt(work: Callable[[], Any], name: str) -> Any:
    try:
        return work()
    except (ValueError, RuntimeError, OSError, EOFError, SyntaxError) as error:  # of libheif and Pillow
        raise PhotoError(
            f"{name} is a damaged HEIC photo ({error}); copy it again, or leave it out", Reason.DAMAGED
        ) from error


def _in_srgb(opened: Any) -> Any:
    """Return a Pillow image in RGB with the colors of its profile converted to sRGB."""
    from PIL import ImageCms

    image, profile = opened.to_pillow(), opened.info.get("icc_profile")
    if profile and image.mode in ("RGB", "RGBA"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            image = ImageCms.profileToProfile(image.convert("RGB"), source, ImageCms.createProfile("sRGB"))
        except ImageCms.PyCMSError:  # a profile that cannot be read is ignored, as in other programs
            pass
    return image.convert("RGB")

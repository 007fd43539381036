"""Stage 1: the photos of a conversion: to calibrate int8, to compare with the source model, to remember."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device.errors import PhotoError
from device.images import Image, read_photo
from device.model.preprocess import Preprocessing

from .errors import ConversionError

CALIBRATION_PHOTOS = 160
_CROPS = 48  # per sample photo, when there are no other photos


@dataclass(frozen=True)
class Calibration:
    """Prepared photos like those that the model will see.

    Attributes:
        images: uint8 [height, width, channels] each, the input of the backbone.
        labels: Their labels, or None for photos without labels.
        source: Where they came from, in words.
    """

    images: tuple[Image, ...]
    labels: tuple[str, ...] | None
    source: str


def choose(photos: Sequence[tuple[Path, str]], limit: int = CALIBRATION_PHOTOS) -> list[tuple[Path, str]]:
    """Choose photos evenly: in turn from every label, evenly spaced within a label, and always the same."""
    by_label: dict[str, list[Path]] = {}
    for path, label in sorted(photos):
        by_label.setdefault(label, []).append(path)
    shares = _shares({label: len(paths) for label, paths in by_label.items()}, limit)
    return [
        (paths[index], label)
        for label, paths in by_label.items()
        for index in np.linspace(0, len(paths) - 1, shares[label]).round().astype(int)
    ]


def from_training(photos: Sequence[tuple[Path, str]], preprocessing: Preprocessing) -> Calibration:
    """Calibrate with the training photos of the model."""
    chosen = choose(photos)
    images = tuple(prepare(path, preprocessing) for path, _ in chosen)
    labels = tuple(label for _, label in chosen)
    return Calibration(images, labels, f"{len(images)} of {len(photos)} training photos")


def from_paths(paths: Sequence[Path], preprocessing: Preprocessing) -> Calibration:
    """Calibrate with photos without labels; those that cannot be decoded are left out and counted.

    Raises:
        ConversionError: There are no photos.
        PhotoError: No photo can be decoded; the error is that of the first.
    """
    if not paths:
        raise ConversionError(
            "calibration needs at least one photo, got none; use a folder that contains photos"
        )
    images: list[Image] = []
    errors: list[PhotoError] = []
    for path, _ in choose([(path, "") for path in paths]):
        try:
            images.append(prepare(path, preprocessing))
        except PhotoError as error:
            errors.append(error)
    if not images:
        raise errors[0]
    damaged = f", {len(errors)} could not be read" if errors else ""
    return Calibration(tuple(images), None, f"{len(images)} of {len(paths)} photos{damaged}")


def from_samples(preprocessing: Preprocessing) -> Calibration:
    """Calibrate with crops of the sample photos that come with matplotlib and scikit-learn.

    Raises:
        ConversionError: Neither package is installed.
    """
    photos = sample_photos()
    if not photos:
        raise ConversionError(
            "int8 needs photos to calibrate with and no sample photos are installed; add some with --calibrate "
            "PHOTOS, or: pip install matplotlib"
        )
    chooser = np.random.default_rng(0)
    whole = [read_photo(path) for path in photos]
    images = tuple(preprocessing.prepare(_crop(image, chooser)) for image in whole for _ in range(_CROPS))
    names = ", ".join(path.name for path in photos)
    return Calibration(images, None, f"{len(images)} crops of sample photos ({names})")


def sample_photos() -> list[Path]:
    """List the sample photos that come with installed packages.

    matplotlib: grace_hopper.jpg (US Navy, public domain). scikit-learn: china.jpg and flower.jpg (CC BY).
    """
    import importlib.util

    places = {
        "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
        "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    }
    found = []
    for package, names in places.items():
        spec = importlib.util.find_spec(package)  # finds the package's folder without importing it
        root = Path(spec.origin).parent if spec and spec.origin else None
        found += [root / name for name in names if root and (root / name).is_file()]
    return found


def prepare(path: Path, preprocessing: Preprocessing) -> Image:
    """Read and prepare one photo.

    Raises:
        ConversionError: The photo is no longer there.
        PhotoError: It cannot be read.
    """
    if not path.is_file():
        raise ConversionError(
            f"the photo {path} is no longer there; name the folder that contains the photos now with --photos FOLDER, "
            "or convert without them: --no-memory --calibrate PHOTOS"
        )
    return preprocessing.prepare(read_photo(path))


def _shares(counts: dict[str, int], limit: int) -> dict[str, int]:
    shares = dict.fromkeys(counts, 0)
    left = min(limit, sum(counts.values()))
    while left:
        for label, count in counts.items():
            if left and shares[label] < count:
                shares[label] += 1
                left -= 1
    return shares


def _crop(image: Image, chooser: np.random.Generator) -> Image:
    """Cut a random square with 1/4 to 1 of the shorter side, and mirror and darken it at random."""
    shorter = min(image.shape[:2])
    side = int(shorter * chooser.uniform(0.25, 1.0))
    top = chooser.integers(0, image.shape[0] - side + 1)
    left = chooser.integers(0, image.shape[1] - side + 1)
    part = image[top : top + side, left : left + side]
    if chooser.random() < 0.5:
        part = part[:, ::-1]
    bright = part.astype(np.float32) * chooser.uniform(0.5, 1.4)
    cropped: Image = np.ascontiguousarray(np.clip(bright, 0, 255).astype(np.uint8))
    return cropped

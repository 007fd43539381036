"""Tiny models for tests: a backbone of three convolutions with seeded weights, and synthetic photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from device.model.preprocess import Preprocessing

DATA = Path(__file__).parent / "data"
TINY = DATA / "tiny.tflite"
"""int8, 32x32 pixels, 32 dimensions, capacity 8, no labels; runs without TensorFlow."""
TINY_TAUGHT = DATA / "tiny_taught.tflite"
"""The same, taught `COLORS` with 12 photos each, kept as memory."""
TINY_INFER = DATA / "tiny_infer.tflite"
"""The same, with the signature infer."""
TINY_GRAY = DATA / "tiny_gray.tflite"
"""The same for gray images, taught `COLORS`, whose gray levels differ."""
TINY_VERSION_1 = DATA / "tiny_version1.tflite"
"""`TINY_TAUGHT` as edgetl 0.1.0 wrote it: format version 1, and a ``train`` that opens no columns. It is never written again."""

SIDE, DIMENSIONS, CAPACITY = 32, 32, 8
PREPROCESSING = Preprocessing(SIDE, SIDE, resize="squash")
GRAY = Preprocessing(SIDE, SIDE, resize="squash", mean=(127.0,), std=(128.0,), channels=1)
COLORS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
EXTRA_COLORS = {"white": (230, 230, 225), "yellow": (220, 200, 40)}


def photo(label: str, seed: int, side: int = SIDE) -> NDArray[np.uint8]:
    """Return a noisy photo of a disc in the color `label`, uint8 [side, side, 3]."""
    chooser = np.random.default_rng([seed, *label.encode()])
    image = np.full((side, side, 3), chooser.integers(90, 140), np.uint8)
    center = tuple(int(value) for value in chooser.integers(2 * side // 5, 3 * side // 5 + 1, 2))
    color = (COLORS | EXTRA_COLORS)[label]
    cv2.circle(image, center, int(side * chooser.uniform(0.33, 0.48)), color, -1)
    noisy = image.astype(np.float64) + chooser.normal(0, 8, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_photos(
    folder: Path, count: int = 12, labels: tuple[str, ...] = tuple(COLORS), first: int = 0
) -> list[tuple[Path, str]]:
    """Write `count` photos per label as PNG, one folder per label, from seed `first` on; return (path, label) pairs."""
    pairs = []
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            path = folder / label / f"{number:03d}.png"
            cv2.imwrite(str(path), cv2.cvtColor(photo(label, number), cv2.COLOR_RGB2BGR))
            pairs.append((path, label))
    return pairs


def backbone(side: int = SIDE, dimensions: int = DIMENSIONS, channels: int = 3) -> Any:
    """Return a Keras backbone of three convolutions; needs TensorFlow.

    The weights come from NumPy's generator, not from Keras's, so that they stay the same from release to release.
    """
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((side, side, channels)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu6"),
            layers.Conv2D(dimensions, 3, strides=2, padding="same", activation="relu6"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    chooser = np.random.default_rng(7)
    model.set_weights(
        [
            chooser.normal(0, 1.5 / np.sqrt(np.prod(value.shape[:3])), value.shape)
            for value in model.get_weights()
        ]
    )
    return model


def trained_model(
    photos: list[tuple[Path, str]] | None = None, preprocessing: Preprocessing = PREPROCESSING
) -> Any:
    """Return a `converters.TrainedModel` of the tiny backbone, with the labels of `photos`."""
    from converters import TrainedModel

    labels = tuple(sorted({label for _, label in photos or []}))
    return TrainedModel(
        backbone(channels=preprocessing.channels), "tiny", preprocessing, labels, None, tuple(photos or ())
    )


def tiny_model_file(
    folder: Path,
    name: str = "tiny.tflite",
    taught: bool = False,
    preprocessing: Preprocessing = PREPROCESSING,
    **options: Any,
) -> Path:
    """Convert the tiny backbone; needs TensorFlow. `options` are those of `converters.convert`."""
    from converters import convert

    photos = write_photos(folder / "photos")
    model = trained_model(photos if taught else None, preprocessing)
    options = {"capacity": CAPACITY, "calibrate": None if taught else [path for path, _ in photos], **options}
    return convert(model, folder / name, **options).path

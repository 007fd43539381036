"""The ops of a foreign backbone run on their own, so that the model file made from it can be compared with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import EdgetlError
from device.images import Image
from device.model.preprocess import Preprocessing
from device.model.runtime import open_interpreter, quiet_stderr

from .anatomy import Candidate
from .errors import ConversionError
from .pixels import Pixels

CHECKED = 4  # images that embeddings are compared on
_MOST_DIFFERENT = 0.1  # of the largest number: kernels may round differently for another number of images


def drawn_images(preprocessing: Preprocessing) -> list[Image]:
    """Return images to compare embeddings on: ramps, edges and noise, always the same."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0 : preprocessing.height, 0 : preprocessing.width]
    drawn = []
    for number in range(CHECKED):
        waves = np.stack(
            [
                np.sin((number + 1 + channel) * (rows + channel * columns) / 17.0)
                for channel in range(preprocessing.channels)
            ],
            axis=-1,
        )
        noise = random.uniform(-0.4, 0.4, waves.shape)
        drawn.append(np.clip(128 + 127 * (waves + noise), 0, 255).astype(np.uint8))
    return drawn


def accepts_batches(model: bytes, images: Sequence[Image], expected: NDArray[np.float32]) -> bool:
    """Return whether a fitted backbone returns the expected embeddings [N, D] of several images at once."""
    try:
        with quiet_stderr():
            interpreter = open_interpreter(model, threads=1)
            entry = interpreter.get_input_details()[0]["index"]
            interpreter.resize_tensor_input(entry, [len(images), *images[0].shape])
            interpreter.allocate_tensors()
            interpreter.set_tensor(entry, np.stack(images))
            interpreter.invoke()
            given = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    except (ValueError, RuntimeError, EdgetlError):
        return False
    return given.shape == expected.shape and _difference(given, expected) < _MOST_DIFFERENT


def original_embeddings(
    model: bytes, images: Sequence[Image], pixels: Pixels, candidate: Candidate
) -> NDArray[np.float32]:
    """Run the original ops on their own, with NumPy in place of the ops at both ends: float32 [N, D]."""
    try:
        rows = _run(model, images, pixels, candidate)
    except (ValueError, RuntimeError) as error:
        if isinstance(error, EdgetlError):
            raise
        raise ConversionError(
            f"the runtime cannot run its ops: {' '.join(str(error).split())[:300]}"
        ) from error
    embeddings = np.stack(rows)
    if not np.isfinite(embeddings).all():
        raise ConversionError(
            "its embeddings contain NaN or infinity, so it is damaged or expects other pixels; check the file, or use "
            "another --input-range"
        )
    return embeddings


def _run(
    model: bytes, images: Sequence[Image], pixels: Pixels, candidate: Candidate
) -> list[NDArray[np.float32]]:
    rows = []
    with quiet_stderr():
        interpreter = open_interpreter(model, threads=1, name="the model, cut at its embedding,")
        entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        for image in images:
            interpreter.set_tensor(entry["index"], _as_input(image, pixels, entry))
            interpreter.invoke()
            rows.append(_as_embedding(interpreter.get_tensor(end["index"]), end, candidate))
    return rows


def _as_input(image: Image, pixels: Pixels, entry: dict[str, Any]) -> NDArray[Any]:
    batch = image[np.newaxis]
    dtype = np.dtype(entry["dtype"])
    if pixels.raw:
        values: NDArray[Any] = batch if dtype == np.uint8 else (batch.astype(np.int16) - 128).astype(dtype)
    else:
        values = (batch.astype(np.float32) - np.array(pixels.mean, np.float32)) / np.array(
            pixels.std, np.float32
        )
        if dtype != np.float32:
            limits = np.iinfo(dtype)
            numbers = np.round(values / np.float32(pixels.scale)) + pixels.zero_point
            values = np.clip(numbers, limits.min, limits.max).astype(dtype)
    if tuple(entry["shape"][1:]) != values.shape[1:]:
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values)


def _as_embedding(raw: NDArray[Any], end: dict[str, Any], candidate: Candidate) -> NDArray[np.float32]:
    scale, zero = end["quantization"]
    values = raw.astype(np.float32)
    if candidate.dtype != "float32":
        values = (values - np.float32(zero)) * np.float32(scale)
    sides: NDArray[np.float32] = values.reshape(candidate.sides)
    return sides.mean(axis=(0, 1)) if candidate.averaged else sides.reshape(-1)


def features_of(model: bytes, images: Sequence[Image]) -> NDArray[np.float32]:
    """Return the output of ``features``, one image at a time: float32 [N, D]."""
    with quiet_stderr():
        features = open_interpreter(model, threads=1).get_signature_runner("features")
        return np.concatenate([features(image=image[np.newaxis])["embedding"] for image in images])


def _difference(given: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    scale = max(float(np.abs(expected).max()), 1e-12)
    return float(np.abs(given - expected).max()) / scale

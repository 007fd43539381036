"""From an existing .tflite to a model file that can be taught, without TensorFlow: a device can do it.

The classifier is cut off, the ops before it stay as they are, and the trainable head is attached:

1. `anatomy`: find the image input, the classifier, and the tensor with the embedding.
2. `metadata` and `pixels`: find how pixels become the input.
3. `cutting`: remove everything after the embedding, and fit both ends.
4. `head` and `flatbuffer`: build the head and join it with the backbone.
5. `verify`: reopen the file in the runtime, and compare its embeddings with those of the original ops.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import EdgetlError
from device.files import atomic_output, refuse_existing, require_writable
from device.images import Image
from device.learner.growth import capacity_for
from device.model.manifest import Manifest
from device.model.modelfile import ModelFile, write_model_file
from device.model.preprocess import Preprocessing
from device.model.runtime import load_runtime, open_interpreter, quiet_stderr
from device.printable import printable
from device.progress import Progress, no_progress

from .anatomy import Anatomy, Candidate
from .cutting import cut, fit_input, fit_output, free_batch, quantization_of
from .errors import ConversionError
from .flatbuffer import buffer_places, join, parse, serialize, weight_buffers
from .foreign import Source, refused
from .head import build_head, initial_weights
from .infer import add_infer
from .inspection import sizes
from .parity import compare
from .pixels import Pixels, find_pixels
from .report import ConversionReport, Surgery
from .verify import verify

_CHECKED = 4  # images that the finished file is compared on
_TOLERANCE = 1e-4  # of the largest number; the same ops on the same pixels differ only where a runtime splits them otherwise
_MOST_NAME = 100


def convert_tflite(
    source: str | Path,
    out: str | Path,
    *,
    cut: str | None = None,
    input_range: str | None = None,
    resize: str | None = None,
    capacity: int | None = None,
    infer: bool = False,
    images: Sequence[Image] = (),
    force: bool = False,
    progress: Progress = no_progress,
) -> ConversionReport:
    """Replace the classifier of an existing .tflite by a trainable head.

    The ops of its backbone are not changed, so its embeddings are the same as before. TensorFlow is not needed.

    Args:
        source: The .tflite: quantized or float, with or without a classifier.
        out: The model file to write.
        cut: Name or number of the tensor with the embedding; by default the one before the classifier.
        input_range: What a float input expects: ``0..1``, ``-1..1``, ``0..255`` or ``imagenet``; by default what the file
            contains, see `converters.pixels`.
        resize: How a frame is fitted to the input, see `Preprocessing`; by default ``crop``.
        capacity: Maximum number of labels; by default 32.
        infer: Add the signature ``infer``, image -> probabilities.
        images: Photos to compare the embeddings on, uint8 RGB of any size; by default drawn images.
        force: Overwrite `out`.
        progress: Called at the start and the end of each stage.

    Raises:
        ConversionError: The file cannot be converted, with the reason.
        ModelFileError: The file is missing, truncated or no .tflite.
        StorageError: `out` exists, or cannot be written.

    Example:
        >>> report = convert_tflite("mobilenet_v2.tflite", "mugs.tflite")  # doctest: +SKIP
        >>> report.surgery.cut, report.surgery.identical  # doctest: +SKIP
        ('MobilenetV2/Logits/AvgPool', True)
    """
    started, out = time.monotonic(), Path(out)
    refuse_existing(out, force)
    require_writable(out)
    opened = Source.open(source)
    try:
        return _operate(
            opened, out, cut, input_range, resize, capacity, infer, images, force, progress, started
        )
    except ConversionError as error:
        raise refused(opened.path, error) from error


def _operate(
    source: Source,
    out: Path,
    cut_at: str | None,
    input_range: str | None,
    resize: str | None,
    capacity: int | None,
    infer: bool,
    photos: Sequence[Image],
    force: bool,
    progress: Progress,
    started: float,
) -> ConversionReport:
    anatomy = source.anatomy
    with _stage(progress, "cutting the backbone"):
        candidate = anatomy.candidate(anatomy.find(cut_at) if cut_at else anatomy.default_cut())
        pixels = find_pixels(parse(source.data), anatomy, source.metadata, input_range)
        preprocessing = _preprocessing(anatomy, pixels, resize)
        original = cut(parse(source.data), source.data, anatomy, candidate)
        images = [preprocessing.prepare(image) for image in photos[:_CHECKED]] or drawn_images(preprocessing)
        expected = _original_embeddings(serialize(original), images, pixels, candidate)
        backbone, batch = _backbone(source, candidate, pixels, images, expected)
    capacity = capacity_for(0) if capacity is None else capacity
    weights = initial_weights(candidate.dimensions, capacity)
    with _stage(progress, "adding the head"):
        joined = join(backbone, build_head(weights, "signed_sqrt_l2"))
        if infer:
            add_infer(joined)
        data = serialize(joined)
    manifest = _manifest(
        source,
        candidate,
        preprocessing,
        pixels,
        capacity,
        buffer_places(data, weight_buffers(joined)),
        original,
    )
    with _stage(progress, "verifying the file"), atomic_output(out, force=force) as temporary:
        write_model_file(temporary, data, manifest, (), None, force=True)
        verify(temporary, images, expected, weights, (), infer=infer, batch=batch)
        given = _features(ModelFile.open(temporary).model_part(), images)
    return ConversionReport(
        path=out,
        backbone=manifest.backbone,
        quantization=manifest.quantization,
        dimensions=candidate.dimensions,
        capacity=capacity,
        labels=(),
        parity=compare(expected, given, images, None),
        calibration=f"not needed; compared on {len(images)} {'photos' if photos else 'drawn images'}",
        memory="none",
        memory_samples=0,
        views=0,
        sizes=sizes(ModelFile.open(out)),
        head="untaught",
        runtime=str(load_runtime()),
        seconds=time.monotonic() - started,
        warnings=tuple(_warnings(pixels, expected)),
        surgery=Surgery(
            source=source.path,
            source_bytes=len(source.data),
            cut=candidate.name,
            dtype=candidate.dtype,
            averaged=candidate.sides[:2] if candidate.averaged else (),
            removed=anatomy.removed(candidate.tensor),
            pixels=pixels.how,
            identical=bool(np.array_equal(given, expected)),
            batch=batch,
        ),
    )


def drawn_images(preprocessing: Preprocessing) -> list[Image]:
    """Return images to compare embeddings on: ramps, edges and noise, always the same."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[0 : preprocessing.height, 0 : preprocessing.width]
    drawn = []
    for number in range(_CHECKED):
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


def _backbone(
    source: Source,
    candidate: Candidate,
    pixels: Pixels,
    images: Sequence[Image],
    expected: NDArray[np.float32],
) -> tuple[Any, bool]:
    """Return the cut graph with both ends fitted, and whether it accepts several images at once."""
    for free in (True, False):
        model = cut(parse(source.data), source.data, source.anatomy, candidate)
        if free:
            free_batch(model)
        fit_input(model, source.anatomy, pixels)
        fit_output(model, candidate)
        if not free or _accepts_batches(serialize(model), images, expected):
            return model, free
    raise AssertionError("unreachable")


def _accepts_batches(model: bytes, images: Sequence[Image], expected: NDArray[np.float32]) -> bool:
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
    # kernels may round differently for another number of images
    return given.shape == expected.shape and _difference(given, expected) < 0.1


def _original_embeddings(
    model: bytes, images: Sequence[Image], pixels: Pixels, candidate: Candidate
) -> NDArray[np.float32]:
    """Run the original ops on their own, with NumPy in place of the ops at both ends: float32 [N, D]."""
    with quiet_stderr():
        interpreter = open_interpreter(model, threads=1, name="the model, cut at its embedding,")
        entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        rows = []
        for image in images:
            values = _as_input(image, pixels, entry)
            interpreter.set_tensor(entry["index"], values)
            interpreter.invoke()
            rows.append(_as_embedding(interpreter.get_tensor(end["index"]), end, candidate))
    embeddings = np.stack(rows)
    if not np.isfinite(embeddings).all():
        raise ConversionError(
            "its embeddings contain NaN or infinity, so it is damaged or expects other pixels; check the file, or use "
            "another --input-range"
        )
    return embeddings


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


def _features(model: bytes, images: Sequence[Image]) -> NDArray[np.float32]:
    with quiet_stderr():
        features = open_interpreter(model, threads=1).get_signature_runner("features")
        return np.concatenate([features(image=image[np.newaxis])["embedding"] for image in images])


def _difference(given: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    scale = max(float(np.abs(expected).max()), 1e-12)
    return float(np.abs(given - expected).max()) / scale


def _preprocessing(anatomy: Anatomy, pixels: Pixels, resize: str | None) -> Preprocessing:
    image = anatomy.image
    made = Preprocessing(image.height, image.width, mean=pixels.mean, std=pixels.std, channels=image.channels)
    return made if resize is None else replace(made, resize=resize)


def _manifest(
    source: Source,
    candidate: Candidate,
    preprocessing: Preprocessing,
    pixels: Pixels,
    capacity: int,
    places: dict[str, tuple[int, int]],
    original: Any,
) -> Manifest:
    name = printable(source.path.name)[:_MOST_NAME]
    return Manifest(
        backbone=name.removesuffix(".tflite"),
        preprocessing=preprocessing,
        dimensions=candidate.dimensions,
        capacity=capacity,
        quantization=quantization_of(original),
        versions=_versions(),
        head_weights=places,
        extra={"cut": candidate.name, "pixels": pixels.how},
        origin=f"surgery of {name}",
    )


def _warnings(pixels: Pixels, expected: NDArray[np.float32]) -> Iterator[str]:
    if pixels.warning:
        yield pixels.warning
    if np.ptp(expected, axis=0).max() == 0:
        yield (
            "the embedding is the same for all images that were tried, so nothing can be taught with it; cut at another "
            "tensor, or use another --input-range"
        )


def _versions() -> dict[str, str]:
    found = {}
    for name in ("edgetl", "ai-edge-litert", "tflite-runtime", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@contextlib.contextmanager
def _stage(progress: Progress, task: str) -> Iterator[None]:
    progress(task, 0, 1)
    yield
    progress(task, 1, 1)

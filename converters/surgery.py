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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.files import atomic_output, refuse_existing, require_writable
from device.images import Image
from device.learner.growth import capacity_for
from device.model.manifest import Manifest
from device.model.modelfile import ModelFile, write_model_file
from device.model.preprocess import Preprocessing
from device.model.runtime import load_runtime
from device.printable import printable
from device.progress import Progress, no_progress
from device.views import ONE, check_views

from .anatomy import Anatomy, Candidate
from .cutting import cut, fit_input, fit_output, free_batch, quantization_of
from .errors import ConversionError
from .flatbuffer import buffer_places, join, parse, serialize, weight_buffers
from .foreign import Source, refused
from .head import HeadWeights, build_head, initial_weights
from .infer import add_infer
from .inspection import sizes
from .oldhead import read_old_head
from .original import CHECKED, accepts_batches, drawn_images, features_of, original_embeddings
from .parity import compare
from .pixels import Pixels, find_pixels
from .report import ConversionReport, Surgery
from .verify import verify

_MOST_NAME = 100
_MOST_CODE = 7.0  # below the largest number of a code, 8
_ROOM = 8.0  # embeddings of other images may be larger than those of the compared ones


def convert_tflite(
    source: str | Path,
    out: str | Path,
    *,
    cut: str | None = None,
    keep_head: bool = False,
    labels: str | Path | None = None,
    input_range: str | None = None,
    resize: str | None = None,
    capacity: int | None = None,
    views: str = ONE,
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
        keep_head: Start the head with the weights and the labels of the old classifier.
        labels: A text file with the old labels, one per line; by default those in the metadata of the file.
        input_range: What a float input expects: ``0..1``, ``-1..1``, ``0..255`` or ``imagenet``; by default what the file
            contains, see `converters.pixels`.
        resize: How a frame is fitted to the input, see `Preprocessing`; by default ``crop``.
        capacity: Maximum number of labels; by default 32.
        views: Views of a frame that a device uses, see `device.views`.
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
        with _stage(progress, "cutting the backbone"):
            backbone = _Backbone.of(opened, cut, keep_head, input_range, resize, images)
        with _stage(progress, "adding the head"):
            head = _Head.of(opened, backbone, keep_head, labels, capacity)
            joined = join(backbone.graph, build_head(head.weights, head.embedding_map))
            if infer:
                add_infer(joined)
            data = serialize(joined)
    except ConversionError as error:
        raise refused(opened.path, error) from error
    described = _manifest(opened, backbone, head, buffer_places(data, weight_buffers(joined)))
    manifest = replace(described, views=check_views(views))
    with _stage(progress, "verifying the file"), atomic_output(out, force=force) as temporary:
        write_model_file(temporary, data, manifest, head.labels, None, force=True)
        verify(
            temporary,
            backbone.images,
            backbone.expected,
            head.weights,
            head.labels,
            infer=infer,
            batch=backbone.batch,
        )
        given = features_of(ModelFile.open(temporary, trusted=True).model_part(), backbone.images)
    return _report(out, opened, manifest, backbone, head, given, time.monotonic() - started)


@dataclass(frozen=True)
class _Backbone:
    """A backbone that was cut out of a source.

    Attributes:
        graph: A model of one graph: image uint8 [N, H, W, channels] -> embedding float32 [N, D].
        batch: Whether N may be above 1.
        candidate: The tensor of the source that contains the embedding.
        scale: A power of two by which the embedding is multiplied, 1 unless the old head is kept.
        pixels: How pixels become its input.
        preprocessing: How frames become pixels.
        quantization: Its format.
        images: Prepared images to compare embeddings on.
        expected: float32 [N, D], their embeddings by the ops of the source alone, scaled.
    """

    graph: Any
    batch: bool
    candidate: Candidate
    scale: float
    pixels: Pixels
    preprocessing: Preprocessing
    quantization: str
    images: list[Image]
    expected: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        source: Source,
        cut_at: str | None,
        keep_head: bool,
        input_range: str | None,
        resize: str | None,
        photos: Sequence[Image],
    ) -> _Backbone:
        """Cut the backbone and fit both ends; see `convert_tflite`."""
        anatomy = source.anatomy
        candidate = anatomy.candidate(anatomy.find(cut_at) if cut_at else anatomy.default_cut())
        pixels = find_pixels(parse(source.data), anatomy, source.metadata, input_range)
        preprocessing = _preprocessing(anatomy, pixels, resize)
        images = [preprocessing.prepare(image) for image in photos[:CHECKED]] or drawn_images(preprocessing)
        original = cut(parse(source.data), source.data, anatomy, candidate)
        quantization = quantization_of(original)
        expected = original_embeddings(serialize(original), images, pixels, candidate)
        scale = _scale(expected) if keep_head else 1.0
        expected = expected * np.float32(scale)
        graph, batch = _fit(source, candidate, pixels, images, expected, scale)
        return cls(graph, batch, candidate, scale, pixels, preprocessing, quantization, images, expected)


@dataclass(frozen=True)
class _Head:
    """The head to attach.

    Attributes:
        weights: Its initial variables.
        labels: Labels of its first columns.
        embedding_map: The map of embeddings that it is linear in.
        origin: Where the weights come from, in words.
        independent: Whether the old classifier computed its probabilities independently of each other.
    """

    weights: HeadWeights
    labels: tuple[str, ...] = ()
    embedding_map: str = "signed_sqrt_l2"
    origin: str = "untaught"
    independent: bool = False

    @classmethod
    def of(
        cls, source: Source, backbone: _Backbone, keep: bool, labels: str | Path | None, capacity: int | None
    ) -> _Head:
        """Return an untaught head, or one that continues the old classifier; see `convert_tflite`."""
        if not keep:
            if labels is not None:
                raise ConversionError("--labels names the old labels, which only --keep-head keeps; add it")
            columns = capacity_for(0) if capacity is None else capacity
            return cls(initial_weights(backbone.candidate.dimensions, columns))
        before = source.anatomy.before_classifier()
        if before not in (None, backbone.candidate.tensor):
            raise ConversionError("--keep-head needs the tensor before the classifier; leave --cut out")
        old = read_old_head(
            parse(source.data), source.anatomy, source.metadata, None if labels is None else Path(labels)
        )
        columns = capacity_for(len(old.labels)) if capacity is None else capacity
        if columns < len(old.labels):
            raise ConversionError(
                f"its classifier has {len(old.labels)} labels, which is more than the capacity {columns}; use a larger "
                "--capacity, or leave it out"
            )
        factors, bias = old.head
        # the embedding is scaled, so its factors are scaled back: the same logits as before
        weights = initial_weights(
            backbone.candidate.dimensions, columns, old.labels, (factors / np.float32(backbone.scale), bias)
        )
        origin = "the old classifier, which answers at once"
        return cls(weights, old.labels, "identity", origin, old.independent)


def _scale(embeddings: NDArray[np.float32]) -> float:
    """Return the power of two that keeps embeddings within what codes can store, with room for larger ones."""
    largest = float(np.abs(embeddings).max()) * _ROOM
    return 1.0 if largest <= _MOST_CODE else float(2.0 ** -np.ceil(np.log2(largest / _MOST_CODE)))


def _report(
    out: Path,
    source: Source,
    manifest: Manifest,
    backbone: _Backbone,
    head: _Head,
    given: NDArray[np.float32],
    seconds: float,
) -> ConversionReport:
    candidate, images = backbone.candidate, backbone.images
    return ConversionReport(
        path=out,
        backbone=manifest.backbone,
        quantization=manifest.quantization,
        dimensions=candidate.dimensions,
        capacity=manifest.capacity,
        labels=head.labels,
        parity=compare(backbone.expected, given, images, None),
        calibration=f"not needed; compared on {len(images)} images",
        memory="none",
        memory_samples=0,
        views=0,
        sizes=sizes(ModelFile.open(out, trusted=True)),
        head=head.origin,
        runtime=str(load_runtime()),
        seconds=seconds,
        warnings=tuple(_warnings(backbone, head)),
        surgery=Surgery(
            source=source.path,
            source_bytes=len(source.data),
            cut=candidate.name,
            dtype=candidate.dtype,
            averaged=candidate.sides[:2] if candidate.averaged else (),
            removed=source.anatomy.removed(candidate.tensor, moved=bool(head.labels)),
            pixels=backbone.pixels.how,
            identical=bool(np.array_equal(given, backbone.expected)),
            batch=backbone.batch,
        ),
    )


def _fit(
    source: Source,
    candidate: Candidate,
    pixels: Pixels,
    images: Sequence[Image],
    expected: NDArray[np.float32],
    scale: float,
) -> tuple[Any, bool]:
    """Return the cut graph with both ends fitted, and whether it accepts several images at once."""
    for free in (True, False):
        model = cut(parse(source.data), source.data, source.anatomy, candidate)
        if free:
            free_batch(model)
        fit_input(model, source.anatomy, pixels)
        fit_output(model, candidate, scale)
        if free and accepts_batches(serialize(model), images, expected):
            return model, True
    return model, False


def _preprocessing(anatomy: Anatomy, pixels: Pixels, resize: str | None) -> Preprocessing:
    image = anatomy.image
    made = Preprocessing(image.height, image.width, mean=pixels.mean, std=pixels.std, channels=image.channels)
    return made if resize is None else replace(made, resize=resize)


def _manifest(
    source: Source, backbone: _Backbone, head: _Head, places: dict[str, tuple[int, int]]
) -> Manifest:
    name = printable(source.path.name)[:_MOST_NAME]
    return Manifest(
        backbone=name.removesuffix(".tflite"),
        preprocessing=backbone.preprocessing,
        dimensions=backbone.candidate.dimensions,
        capacity=len(head.weights["b"]),
        embedding_map=head.embedding_map,
        quantization=backbone.quantization,
        versions=_versions(),
        head_weights=places,
        extra={"cut": backbone.candidate.name, "pixels": backbone.pixels.how, "scale": backbone.scale},
        origin=f"surgery of {name}",
        kept_labels=head.labels,
    )


def _warnings(backbone: _Backbone, head: _Head) -> Iterator[str]:
    if backbone.pixels.warning:
        yield backbone.pixels.warning
    if np.ptp(backbone.expected, axis=0).max() == 0:
        yield (
            "the embedding is the same for all images that were tried, so nothing can be taught with it; cut at another "
            "tensor, or use another --input-range"
        )
    if head.independent:
        yield (
            "the old classifier computed each probability independently; the head computes them together (softmax), so the "
            "order of its labels is the same, but its probabilities add up to 1"
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

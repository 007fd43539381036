"""The way from a trained model to one .tflite that a device can teach; one module per stage.

backbone -> head -> memory -> parity -> flatbuffer (one file of both) -> verify
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.files import atomic_output, refuse_existing, require_writable
from device.images import Image
from device.learner.growth import capacity_for
from device.lookalikes import group_lookalikes, read_shots
from device.model.codes import encode
from device.model.manifest import HeldOut, Manifest
from device.model.memory import Memory, Samples, remember
from device.model.modelfile import ModelFile, write_model_file
from device.model.runtime import load_runtime, open_interpreter

from . import photos
from .backbone import QUANTISATIONS, convert_backbone
from .edgetpu import twin_path, write_twin
from .errors import ConversionError
from .flatbuffer import buffer_places, chain, join, keep_apart, parse, serialise
from .head import HeadWeights, convert_head, initial_weights
from .infer import add_infer
from .inspection import sizes
from .memory import judge_held_out, teach_head
from .origin import family_of, origin_of
from .parity import compare, converted_embeddings, refuse_loss, source_embeddings
from .products import Products, products_of
from .projection import Projection, learn_projection
from .report import ConversionReport
from .source import FloatHead, TrainedModel
from .verify import verify
from .weights import require_finite_variables, require_numeric_constants

_VERIFIED = 4  # photos the finished file is tried with, one at a time and together

_Stage = Projection | Products  # what stands between the backbone and the head
Progress = Callable[[str, float], None]
"""Called with what is being done and how far the whole is, 0 to 1."""


def convert(
    model: TrainedModel,
    out: str | Path,
    *,
    quantise: str = "int8",
    calibrate: Sequence[Path] | None = None,
    memory: bool = True,
    capacity: int | None = None,
    project: int | None = None,
    products: bool = False,
    infer: bool = False,
    twin: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """Convert a model to one .tflite that a device can run and teach.

    The file appears under its name only after it was reopened in the runtime and every signature agreed
    with what it was made from.

    Args:
        model: What to convert; without labels it gives a generic file, ready to be taught.
        out: The model file.
        quantise: Form of the backbone: ``int8``, ``float16``, ``dynamic`` or ``none``. The head is float.
        calibrate: Photos to calibrate and compare with; by default the model's training photos, else
            sample photos of installed packages.
        memory: Carry the embeddings of the training photos in the file.
        capacity: Columns of the head; by default 32, or more for a model with more than 24 labels. A head grows
            when a device exports more labels than columns.
        project: Shorten embeddings to this many principal components.
        products: Lengthen embeddings of at most 128 numbers by the products of all pairs.
        infer: Add the signature ``infer``, image -> probabilities.
        twin: Also write the backbone in the form the Edge TPU compiler takes.
        force: Overwrite `out`.
        progress: Called as the work goes on.

    Returns:
        What was made, with figures.

    Raises:
        ConversionError: The model cannot be converted, or its converted file failed verification.
        StorageError: `out` exists, or cannot be written.
        PhotoError: A photo cannot be read.

    Example:
        >>> from converters.source import TrainedModel
        >>> report = convert(TrainedModel.load("flowers"), "flowers.tflite")  # doctest: +SKIP
        >>> report.parity.cosine_mean  # doctest: +SKIP
        0.987
    """
    started = time.monotonic()
    tell = progress or (lambda _doing, _share: None)
    out = Path(out)
    capacity = capacity_for(len(model.labels)) if capacity is None else capacity
    _check(model, out, quantise, capacity, twin, force)
    require_finite_variables(model.backbone)
    stage: _Stage | None = products_of(model.dimensions, project) if products else None
    tell("reading photos", 0.0)
    calibration = _calibration(model, calibrate)
    tell(f"converting the backbone to {quantise}", 0.05)
    backbone = convert_backbone(model.backbone, model.preprocessing, quantise, calibration.images)
    require_numeric_constants(backbone)
    tell("comparing it with its source", 0.4)
    seen = converted_embeddings(open_interpreter(backbone), calibration.images)
    original = source_embeddings(model.backbone, calibration.images, model.preprocessing)
    parity = compare(original, seen, calibration.images, calibration.labels)
    refuse_loss(parity, quantise)
    lesson = _lesson(model, backbone, tell) if memory or project else None
    tell("adding the head", 0.85)
    if project:
        stage = learn_projection(lesson.embeddings if lesson else seen, project)
    features = _features(model, backbone, stage)
    taught = _Taught.of(features, lesson) if memory and lesson else None
    weights, origin = _weights(model, features, taught, capacity)
    joined, places = _join(features, weights, infer)
    manifest = Manifest(
        backbone=model.backbone_name,
        preprocessing=model.preprocessing,
        dimensions=features.dimensions,
        capacity=capacity,
        embedding_map=features.map_name,
        quantization=quantise,
        parity=parity.to_dict(),
        versions=_versions(),
        head_weights=places,
        extra={**model.info, "calibration": calibration.source},
        family=family_of(model),
        origin=origin_of(model),
        held_out=taught.held_out if taught else None,
    )
    tell("verifying the file", 0.92)
    with atomic_output(out, force=force) as temporary:
        write_model_file(
            temporary, joined, manifest, model.labels, taught.memory if taught else None, force=True
        )
        expected = features.after(seen[:_VERIFIED])
        verify(temporary, calibration.images[:_VERIFIED], expected, weights, model.labels, infer=infer)
    coral = write_twin(model, out, calibration.images, force=force) if twin else None
    tell("done", 1.0)
    return ConversionReport(
        path=out,
        backbone=model.backbone_name,
        quantisation=quantise,
        dimensions=features.dimensions,
        capacity=capacity,
        labels=model.labels,
        parity=parity,
        calibration=calibration.source,
        memory=taught.form if taught else "none",
        memory_samples=len(lesson.labels) if taught and lesson else 0,
        views=len(np.unique(lesson.groups)) if taught and lesson else 0,
        held_out=taught.held_out if taught else None,
        sizes=sizes(ModelFile.open(out)),
        head=origin,
        runtime=str(load_runtime()),
        seconds=time.monotonic() - started,
        twin=coral,
    )


@dataclass(frozen=True)
class _Features:
    """The graph from image to what the file calls embedding."""

    graph: bytes
    dimensions: int
    stage: _Stage | None = None

    @property
    def map_name(self) -> str:
        return "identity" if self.stage else "signed_sqrt_l2"

    def after(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give what the file's ``features`` makes of the backbone's embeddings."""
        return self.stage.apply(embeddings).astype(np.float32) if self.stage else embeddings


@dataclass(frozen=True)
class _Lesson:
    """Embeddings of all training photos as the device would have made them: float32 [N, D].

    `held_out` and `judges` are bool [N], see `TrainedModel`; `groups` int32 [N] numbers the look-alikes.
    """

    embeddings: NDArray[np.float32]
    labels: tuple[str, ...]
    held_out: NDArray[np.bool_]
    judges: NDArray[np.bool_]
    groups: NDArray[np.int32]


@dataclass(frozen=True)
class _Taught:
    """The lesson in fixed point, how the file keeps it, and the figure on photos held out."""

    samples: Samples
    memory: Memory
    held_out: HeldOut | None

    @classmethod
    def of(cls, features: _Features, lesson: _Lesson) -> _Taught:
        codes = encode(features.after(lesson.embeddings), features.map_name)
        judge = None if lesson.judges.all() else lesson.judges
        samples = Samples(codes, lesson.labels, judge, lesson.groups)
        memory = remember(codes, lesson.labels, judge, lesson.groups)
        return cls(samples, memory, judge_held_out(samples, lesson.held_out))

    @property
    def form(self) -> str:
        return "samples" if isinstance(self.memory, Samples) else "statistics"


def _check(model: TrainedModel, out: Path, quantise: str, capacity: int, twin: bool, force: bool) -> None:
    if quantise not in QUANTISATIONS:
        raise ConversionError(f"quantise must be one of {', '.join(QUANTISATIONS)}, got {quantise!r}")
    if len(model.labels) > capacity:
        raise ConversionError(
            f"the model has {len(model.labels)} labels and the head {capacity} columns; give a larger --capacity, or none"
        )
    refuse_existing(out, force)
    if twin:
        refuse_existing(twin_path(out), force)
    require_writable(out)


def _calibration(model: TrainedModel, calibrate: Sequence[Path] | None) -> photos.Calibration:
    if calibrate is not None:
        return photos.from_paths(calibrate, model.preprocessing)
    if model.photos:
        return photos.from_training(model.photos, model.preprocessing)
    return photos.from_samples(model.preprocessing)


def _lesson(model: TrainedModel, backbone: bytes, tell: Progress) -> _Lesson | None:
    if not model.photos or not model.labels:
        return None
    total = len(model.photos)

    def images() -> Iterator[Image]:
        for number, (path, _) in enumerate(model.photos):
            tell(f"embedding training photos ({number + 1} of {total})", 0.5 + 0.35 * number / total)
            yield photos.prepare(path, model.preprocessing)

    embeddings = converted_embeddings(open_interpreter(backbone), images())
    held_out = np.array(model.held_out or [False] * total, bool)
    groups = group_lookalikes(read_shots(model.photos)).groups
    return _Lesson(embeddings, tuple(label for _, label in model.photos), held_out, model.judges, groups)


def _features(model: TrainedModel, backbone: bytes, stage: _Stage | None) -> _Features:
    if stage is None:
        return _Features(backbone, model.dimensions)
    graph = serialise(chain(parse(backbone), parse(stage.convert())))
    return _Features(graph, stage.dimensions, stage)


def _weights(
    model: TrainedModel, features: _Features, taught: _Taught | None, capacity: int
) -> tuple[HeadWeights, str]:
    linear: FloatHead | None = None
    origin = "untaught"
    if taught is not None:
        linear, origin = teach_head(taught.samples, model.labels), "taught with the memory"
    if linear is None and model.head is not None:
        linear, origin = model.head, "trained by the source model"
        if features.stage:
            linear = features.stage.of_head(linear)
    origin = origin if linear is not None else "untaught"
    return initial_weights(features.dimensions, capacity, model.labels, linear), origin


def _join(features: _Features, weights: HeadWeights, infer: bool) -> tuple[bytes, dict[str, tuple[int, int]]]:
    head = convert_head(features.dimensions, len(weights["b"]), features.map_name)
    joined = join(parse(features.graph), parse(head))
    buffers = keep_apart(joined, weights)
    if infer:
        add_infer(joined)
    data = serialise(joined)
    return data, buffer_places(data, buffers)


def _versions() -> dict[str, str]:
    found = {}
    for name in ("edgetl", "tensorflow", "keras", "ai-edge-litert", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found

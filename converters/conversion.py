"""From a trained model to one .tflite that a device can teach; one module per stage.

The stages run in this order:

1. `photos`: read the photos to calibrate and compare with.
2. `backbone`: convert the backbone.
3. `parity`: compare it with its source.
4. `lesson`: embed the training photos; `projection` or `products`: change the length of embeddings.
5. `memory`: decide what the file keeps of the training photos, and the weights its head starts with.
6. `head` and `flatbuffer`: build the head and join it with the backbone; `infer`, `generator`: add a signature.
7. `verify`: reopen the file in the runtime and check every signature.
8. `edgetpu`: convert the backbone once more, for the Edge TPU.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from device.files import atomic_output, refuse_existing, require_writable
from device.learner.growth import capacity_for
from device.model.manifest import Manifest
from device.model.modelfile import ModelFile, write_model_file
from device.model.runtime import load_runtime, open_interpreter
from device.progress import Progress, no_progress
from device.views import ONE, check_views

from . import photos
from .backbone import QUANTIZATIONS, convert_backbone
from .deep import DEEP, EMBEDDINGS, LAST, deepen
from .edgetpu import compile_twin, twin_path, write_twin
from .embedding_layer import require_embedding
from .errors import ConversionError
from .flatbuffer import buffer_places, chain, join, parse, serialize, weight_buffers
from .frozen_graph import FrozenModel
from .generator import add_generator, convert_generator, require_generator
from .head import FloatHead, HeadWeights, build_head, initial_weights
from .infer import add_infer
from .input_range import refuse_normalizing_twice
from .inspection import sizes
from .lesson import Lesson, Taught, embed_training_photos
from .memory import teach_head
from .origin import family_of, origin_of
from .parity import Parity, cautions, compare, converted_embeddings, refuse_loss, source_embeddings
from .products import Products, products_of
from .projection import Projection, learn_projection
from .report import TRAINED_BY_SOURCE, ConversionReport
from .source import TrainedModel
from .verify import verify
from .weights import require_finite_variables, require_numeric_constants

_VERIFIED = 4  # photos that the finished file is run on, one at a time and together

Quantization = Literal["int8", "int16x8", "float16", "dynamic", "none"]
_Extension = Projection | Products  # ops between the backbone and the head


def convert(
    model: TrainedModel,
    out: str | Path,
    *,
    quantize: Quantization = "int8",
    keep_float: Sequence[str] = (),
    calibrate: Sequence[Path] | None = None,
    memory: bool = True,
    capacity: int | None = None,
    project: int | None = None,
    products: bool = False,
    embedding: str = LAST,
    views: str = ONE,
    infer: bool = False,
    generator: bool = False,
    edgetpu: bool = False,
    force: bool = False,
    progress: Progress = no_progress,
) -> ConversionReport:
    """Convert a model to one .tflite that a device can run and teach.

    The file appears under its name only after it was reopened in the runtime and every signature agreed
    with its source.

    Args:
        model: The model to convert; without labels the result is a generic file, ready to be taught.
        out: The model file to write.
        quantize: Format of the backbone: ``int8``, ``int16x8``, ``float16``, ``dynamic`` or ``none``. The head is float.
        keep_float: Names of layers of the backbone that stay float in int8; ``*`` and ``?`` are wildcards.
        calibrate: Photos to calibrate and compare with; by default the model's training photos, else
            sample photos of installed packages.
        memory: Whether the file carries the embeddings of the training photos.
        capacity: Maximum number of labels; by default 32, or more for a model with more than 24 labels. A head
            grows when a device exports more labels.
        project: Shorten embeddings to this number of principal components.
        products: Extend embeddings of at most 128 numbers by the products of all pairs.
        embedding: ``last``, or ``deep`` for the averages of two earlier feature maps beside it, see `converters.deep`.
        views: Views of a frame for the memory and on a device: ``one``, or ``flip`` for the average of the frame and its
            mirror image.
        infer: Add the signature ``infer``, image -> probabilities.
        generator: Add the signature ``generate``, noise -> image, from the generator of a GAN.
        edgetpu: Also write the backbone for the Edge TPU, and compile it where the compiler is installed.
        force: Overwrite `out`.
        progress: Called at the start and the end of each stage, and for each training photo.

    Returns:
        The figures of the conversion.

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
    started, out = time.monotonic(), Path(out)
    if embedding not in EMBEDDINGS:
        raise ConversionError(f"embedding must be one of {', '.join(EMBEDDINGS)}, got {embedding!r}")
    capacity = capacity_for(len(model.labels)) if capacity is None else capacity
    _check(model, out, quantize, capacity, edgetpu, force)
    check_views(views)
    if embedding == DEEP:
        _check_deep(model, memory)
        with _stage(progress, "making the embedding deeper"):
            model = deepen(model, _calibration(model, calibrate).images)
    if generator:
        require_generator(model)
    _check_kept(quantize, keep_float, edgetpu)
    extension = products_of(model.dimensions, project) if products else None
    backbone = _backbone(model, quantize, keep_float, calibrate, progress)
    lesson = embed_training_photos(model, backbone.graph, progress, views) if memory or project else None
    features = _features(model, backbone, extension, lesson, project)
    taught = Taught.of(lesson, features.apply, features.map_name) if memory and lesson else None
    weights, head = _weights(model, features, taught, capacity)
    drawing = model.generator if generator else None
    with _stage(progress, "adding the head"):
        joined, places = _join(features, weights, infer, drawing, quantize)
    manifest = replace(_manifest(model, backbone, features, taught, capacity, places), views=views)
    images, expected = (
        backbone.calibration.images[:_VERIFIED],
        features.apply(backbone.embeddings[:_VERIFIED]),
    )
    with _stage(progress, "verifying the file"), atomic_output(out, force=force) as temporary:
        memory_kept = taught.memory if taught else None
        write_model_file(temporary, joined, manifest, model.labels, memory_kept, force=True)
        verify(temporary, images, expected, weights, model.labels, infer=infer, generator=drawing)
    report = _report(model, out, manifest, backbone, taught, head, time.monotonic() - started)
    return _with_twin(report, model, backbone, force, progress) if edgetpu else report


@dataclass(frozen=True)
class _Backbone:
    """The converted backbone and what was compared.

    Attributes:
        graph: A .tflite, image -> embedding.
        quantization: Its format.
        kept: The layers that were kept in float, as they were named.
        calibration: The photos it was calibrated and compared with.
        embeddings: float32 [N, D], its embeddings of these photos.
        parity: It against its source.
    """

    graph: bytes
    quantization: str
    kept: tuple[str, ...]
    calibration: photos.Calibration
    embeddings: NDArray[np.float32]
    parity: Parity


@dataclass(frozen=True)
class _Features:
    """The graph of the signature ``features``: the backbone, and an extension if there is one."""

    graph: bytes
    dimensions: int
    extension: _Extension | None = None

    @property
    def map_name(self) -> str:
        return "identity" if self.extension else "signed_sqrt_l2"

    def apply(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the output of ``features`` for embeddings [N, D] of the backbone."""
        return self.extension.apply(embeddings).astype(np.float32) if self.extension else embeddings


@contextlib.contextmanager
def _stage(progress: Progress, task: str) -> Iterator[None]:
    progress(task, 0, 1)
    yield
    progress(task, 1, 1)


def _check(model: TrainedModel, out: Path, quantize: str, capacity: int, edgetpu: bool, force: bool) -> None:
    if quantize not in QUANTIZATIONS:
        raise ConversionError(f"quantize must be one of {', '.join(QUANTIZATIONS)}, got {quantize!r}")
    if len(model.labels) > capacity:
        raise ConversionError(
            f"the model has {len(model.labels)} labels, which is more than the capacity {capacity}; "
            "use a larger --capacity, or leave it out"
        )
    _check_input(model)
    refuse_existing(out, force)
    if edgetpu:
        refuse_existing(twin_path(out), force)
    require_writable(out)
    require_finite_variables(model.backbone)


def _check_input(model: TrainedModel) -> None:
    made = model.preprocessing
    if not isinstance(model.backbone, FrozenModel):
        require_embedding(model.backbone, model.backbone_name)
        refuse_normalizing_twice(model.backbone, made.mean, made.std, model.backbone_name)
    shape = (made.height, made.width, made.channels)
    expected = tuple(model.backbone.input_shape[1:])
    if len(expected) != 3 or any(
        want not in (None, side) for want, side in zip(expected, shape, strict=True)
    ):
        raise ConversionError(
            f"the backbone {model.backbone_name} expects images of the shape {list(expected)}, but its preprocessing "
            f"makes {list(shape)} (height, width, channels); make the two agree"
        )


def _check_deep(model: TrainedModel, memory: bool) -> None:
    if model.labels and not (memory and model.photos):
        raise ConversionError(
            "the trained head fits the last layer alone, and --embedding deep needs the training photos to teach a new one; "
            "leave out --no-memory and name the folder with --photos, or leave out --embedding deep"
        )


def _check_kept(quantize: str, keep_float: Sequence[str], edgetpu: bool) -> None:
    if isinstance(keep_float, str):
        raise ConversionError(f"keep_float must be a sequence of names, got the string {keep_float!r}")
    if keep_float and quantize != "int8":
        raise ConversionError(
            f"layers can be kept in float only with --quantize int8, got {quantize}; leave out --keep-float"
        )
    if keep_float and edgetpu:
        raise ConversionError(
            "the Edge TPU runs only int8 layers, so --keep-float and --edgetpu exclude each other; leave one out"
        )


def _backbone(
    model: TrainedModel,
    quantize: str,
    keep_float: Sequence[str],
    calibrate: Sequence[Path] | None,
    progress: Progress,
) -> _Backbone:
    with _stage(progress, "reading photos"):
        calibration = _calibration(model, calibrate)
    with _stage(progress, f"converting the backbone to {quantize}"):
        graph = convert_backbone(
            model.backbone, model.preprocessing, quantize, calibration.images, keep_float=keep_float
        )
        require_numeric_constants(graph)
    with _stage(progress, "comparing the backbone with its source"):
        embeddings = converted_embeddings(open_interpreter(graph), calibration.images)
        original = source_embeddings(model.backbone, calibration.images, model.preprocessing)
        parity = compare(original, embeddings, calibration.images, calibration.labels)
        refuse_loss(parity, quantize)
    return _Backbone(graph, quantize, tuple(keep_float), calibration, embeddings, parity)


def _calibration(model: TrainedModel, calibrate: Sequence[Path] | None) -> photos.Calibration:
    if calibrate is not None:
        return photos.from_paths(calibrate, model.preprocessing)
    if model.photos:
        return photos.from_training(model.photos, model.preprocessing)
    return photos.from_samples(model.preprocessing)


def _features(
    model: TrainedModel,
    backbone: _Backbone,
    extension: _Extension | None,
    lesson: Lesson | None,
    project: int | None,
) -> _Features:
    if project:
        extension = learn_projection(lesson.embeddings if lesson else backbone.embeddings, project)
    if extension is None:
        return _Features(backbone.graph, model.dimensions)
    graph = serialize(chain(parse(backbone.graph), extension.build()))
    return _Features(graph, extension.dimensions, extension)


def _weights(
    model: TrainedModel, features: _Features, taught: Taught | None, capacity: int
) -> tuple[HeadWeights, str]:
    linear: FloatHead | None = None
    origin = "untaught"
    if taught is not None:
        linear, origin = teach_head(taught.samples, model.labels), "taught with the memory"
    if linear is None and model.head is not None:
        linear, origin = model.head, TRAINED_BY_SOURCE
        if features.extension:
            linear = features.extension.of_head(linear)
    origin = origin if linear is not None else "untaught"
    return initial_weights(features.dimensions, capacity, model.labels, linear), origin


def _join(
    features: _Features, weights: HeadWeights, infer: bool, generator: Any, quantize: str
) -> tuple[bytes, dict[str, tuple[int, int]]]:
    joined = join(parse(features.graph), build_head(weights, features.map_name))
    if infer:
        add_infer(joined)
    if generator is not None:
        add_generator(joined, convert_generator(generator, quantize))
    data = serialize(joined)
    return data, buffer_places(data, weight_buffers(joined))


def _manifest(
    model: TrainedModel,
    backbone: _Backbone,
    features: _Features,
    taught: Taught | None,
    capacity: int,
    places: dict[str, tuple[int, int]],
) -> Manifest:
    return Manifest(
        backbone=model.backbone_name,
        preprocessing=model.preprocessing,
        dimensions=features.dimensions,
        capacity=capacity,
        embedding_map=features.map_name,
        quantization=backbone.quantization,
        parity=backbone.parity.to_dict(),
        versions=_versions(),
        head_weights=places,
        extra={**model.info, "calibration": backbone.calibration.source, **_kept(backbone)},
        family=family_of(model),
        origin=origin_of(model),
        held_out=taught.held_out if taught else None,
    )


def _kept(backbone: _Backbone) -> dict[str, list[str]]:
    return {"keep_float": list(backbone.kept)} if backbone.kept else {}


def _report(
    model: TrainedModel,
    out: Path,
    manifest: Manifest,
    backbone: _Backbone,
    taught: Taught | None,
    head: str,
    seconds: float,
) -> ConversionReport:
    return ConversionReport(
        path=out,
        backbone=model.backbone_name,
        quantization=backbone.quantization,
        keep_float=backbone.kept,
        dimensions=manifest.dimensions,
        capacity=manifest.capacity,
        labels=model.labels,
        parity=backbone.parity,
        calibration=backbone.calibration.source,
        memory=taught.form if taught else "none",
        memory_samples=len(taught.samples.labels) if taught else 0,
        views=taught.views if taught else 0,
        held_out=taught.held_out if taught else None,
        flip=taught.flip if taught else None,
        sizes=sizes(ModelFile.open(out, trusted=True)),
        head=head,
        runtime=str(load_runtime()),
        seconds=seconds,
        warnings=cautions(backbone.parity, backbone.quantization),
        source=dict(model.info.get("source", {})),
    )


def _with_twin(
    report: ConversionReport, model: TrainedModel, backbone: _Backbone, force: bool, progress: Progress
) -> ConversionReport:
    with _stage(progress, "converting the backbone for the Edge TPU"):
        twin = write_twin(model, report.path, backbone.calibration.images, force=force)
        return replace(report, twin=twin, compiled=compile_twin(twin))


def _versions() -> dict[str, str]:
    found = {}
    for name in ("edgetl", "tensorflow", "keras", "ai-edge-litert", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found

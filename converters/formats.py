"""Compare the formats of a backbone on the same photos, and recommend one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import PhotoError
from device.images import Image
from device.lookalikes import group_lookalikes, read_shots
from device.model.codes import encode
from device.model.memory import Samples
from device.model.runtime import load_runtime, open_interpreter
from device.progress import Progress, no_progress

from . import photos
from .backbone import QUANTIZATIONS, FloatGraph
from .errors import ConversionError
from .memory import judge_held_out
from .parity import compare, leave_one_out, source_embeddings
from .sensitivity import LayerError, find_hurt_layers
from .source import TrainedModel
from .weights import require_finite_variables

COMPARED = 240  # photos
_PATIENCE = 60.0  # seconds for a format; int16x8 has no fast kernels on some machines
_FEWEST = 8  # photos that a format runs in any case
_MOST_LOST = 0.01  # accuracy that a recommended format may cost
_RESCUED = 3  # of the worst layers, with those that read their outputs, in float
_LEAST_COSINE = 0.95  # centered, where there are no labels to measure an accuracy with

Embeddings = NDArray[np.float32]


@dataclass(frozen=True)
class FormatResult:
    """One format of a backbone.

    Attributes:
        quantization: ``int8``, ``int16x8``, ``float16``, ``dynamic`` or ``none``.
        keep_float: Layers that were kept in float.
        size: Bytes of the backbone.
        centered_cosine: Mean cosine to the source's embeddings, without the part that all photos share; None if the
            source has the same embedding for all photos.
        accuracy: Accuracy of the exact head; None without labels, or if the format was too slow for all photos.
        latency_ms: Median time of the backbone per photo on this machine.
        photos: Number of photos that it ran on.
    """

    quantization: str
    keep_float: tuple[str, ...]
    size: int
    centered_cosine: float | None
    accuracy: float | None
    latency_ms: float
    photos: int

    @property
    def options(self) -> str:
        """The options of convert that make this format."""
        kept = "".join(f" --keep-float {name}" for name in self.keep_float)
        return f"--quantize {self.quantization}{kept}"


@dataclass(frozen=True)
class QuantizationComparison:
    """The formats of a backbone on the same photos.

    Attributes:
        backbone: Name of the backbone.
        photos: Number of photos.
        source: Where the photos came from, in words.
        how: How the accuracy was measured; or why it was not.
        formats: The formats; ``none`` is the float one.
        layers: The layers that int8 affects most, worst first.
        recommended: Number of the recommended format in `formats`.
        reason: Why it is recommended.
        runtime: The runtime that ran them.
    """

    backbone: str
    photos: int
    source: str
    how: str
    formats: tuple[FormatResult, ...]
    layers: tuple[LayerError, ...]
    recommended: int
    reason: str
    runtime: str

    def __repr__(self) -> str:
        return (
            f"<QuantizationComparison {self.backbone} on {self.photos} photos: "
            f"{self.formats[self.recommended].options}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serializable values."""
        chosen = self.formats[self.recommended]
        return asdict(self) | {
            "formats": [asdict(one) | {"options": one.options} for one in self.formats],
            "recommended": chosen.options,
        }


@dataclass(frozen=True)
class _Photos:
    """The photos of a comparison, prepared, with what is known about them."""

    images: tuple[Image, ...]
    labels: tuple[str, ...] | None
    held_out: NDArray[np.bool_] | None  # [N], if only these may judge
    groups: NDArray[np.int32] | None
    source: str
    how: str

    def accuracy(self, embeddings: Embeddings) -> float | None:
        if self.labels is None:
            return None
        if self.held_out is None:
            return leave_one_out(embeddings, list(self.labels))
        judged = judge_held_out(Samples(encode(embeddings), self.labels, None, self.groups), self.held_out)
        return judged["accuracy"] if judged else None


def compare_quantizations(
    model: TrainedModel,
    calibrate: Sequence[tuple[Path, str]] | None = None,
    progress: Progress = no_progress,
) -> QuantizationComparison:
    """Convert a backbone to every format, run all of them on the same photos and recommend one.

    Args:
        model: The model.
        calibrate: Photos with their labels, which are empty where there are none; by default the training photos.
        progress: Called at the start and the end of each stage.

    Raises:
        ConversionError: There are no photos, or the backbone cannot be converted.
        PhotoError: A photo cannot be read.
    """
    require_finite_variables(model.backbone)
    progress("reading photos", 0, 1)
    chosen = _photos(model, calibrate)
    progress("reading photos", 1, 1)
    source = FloatGraph(model.backbone, model.preprocessing, chosen.images[:: _step(len(chosen.images))])
    original = source_embeddings(model.backbone, chosen.images, model.preprocessing)
    tasks = list(reversed(QUANTIZATIONS))  # float first
    results = []
    for number, form in enumerate(tasks):
        progress("comparing formats", number, len(tasks) + 1)
        results.append(_measure(source, form, (), chosen, original))
    layers = find_hurt_layers(source, chosen.images, original)
    results += _rescued(source, layers, results, chosen, original)
    progress("comparing formats", len(tasks) + 1, len(tasks) + 1)
    recommended, reason = recommend(results)
    return QuantizationComparison(
        model.backbone_name, len(chosen.images), chosen.source, chosen.how, tuple(results), tuple(layers),
        recommended, reason, str(load_runtime()),
    )  # fmt: skip


def recommend(formats: Sequence[FormatResult]) -> tuple[int, str]:
    """Return the number of the format to use, and the reason.

    Among the formats that cost at most one point of accuracy (or, without labels, keep a centered cosine of 0.95),
    it is the one with the smallest product of size and latency.
    """
    floating = next(one for one in formats if one.quantization == "none")
    good = [number for number, one in enumerate(formats) if _is_good(one, floating)]
    best = min(good, key=lambda number: formats[number].size * formats[number].latency_ms)
    one = formats[best]
    if one is floating:
        return best, "every smaller format costs more than one point of accuracy, or more of the embedding"
    cost = f"{floating.size / one.size:.1f} times smaller and {_speed(floating.latency_ms / one.latency_ms)} than float"
    if one.accuracy is None or floating.accuracy is None:
        return best, f"{cost}, with a centered cosine of {one.centered_cosine or 1.0:.3f} to it"
    change = 100 * (one.accuracy - floating.accuracy)
    return best, f"{cost}, with {change:+.1f} points of accuracy on the same photos"


def _speed(ratio: float) -> str:
    return f"{ratio:.1f} times faster" if ratio >= 1 else f"{1 / ratio:.1f} times slower"


def _is_good(one: FormatResult, floating: FormatResult) -> bool:
    if floating.accuracy is None:
        return one.centered_cosine is None or one.centered_cosine >= _LEAST_COSINE
    return one.accuracy is not None and floating.accuracy - one.accuracy <= _MOST_LOST + 1e-9


def _rescued(
    source: FloatGraph,
    layers: Sequence[LayerError],
    results: Sequence[FormatResult],
    chosen: _Photos,
    original: Embeddings,
) -> Iterator[FormatResult]:
    """Yield int8 with its worst layers in float, if int8 alone loses too much."""
    floating = next(one for one in results if one.quantization == "none")
    int8 = next(one for one in results if one.quantization == "int8")
    worst = [layer for layer in layers if layer.gain > 0][:_RESCUED]
    names = tuple(dict.fromkeys(name for layer in worst for name in layer.keep))
    if names and not _is_good(int8, floating):
        yield _measure(source, "int8", names, chosen, original)


def _measure(
    source: FloatGraph, form: str, keep: tuple[str, ...], chosen: _Photos, original: Embeddings
) -> FormatResult:
    graph = source.convert(form, keep)
    embeddings, latency = _embed(graph, chosen.images)
    count = len(embeddings)
    parity = compare(original[:count], embeddings, chosen.images[:count], None)
    accuracy = chosen.accuracy(embeddings) if count == len(chosen.images) else None
    return FormatResult(form, keep, len(graph), parity.centered_cosine, accuracy, latency, count)


def _embed(graph: bytes, images: Sequence[Image]) -> tuple[Embeddings, float]:
    """Embed photos until all are done or the patience is over; return the median time too, in milliseconds."""
    interpreter = open_interpreter(graph)
    entry, result = (
        details()[0]["index"] for details in (interpreter.get_input_details, interpreter.get_output_details)
    )
    rows: list[NDArray[np.float32]] = []
    times, started = [], time.perf_counter()
    for image in images:
        if len(rows) >= _FEWEST and time.perf_counter() - started > _PATIENCE:
            break
        interpreter.set_tensor(entry, image[np.newaxis])
        before = time.perf_counter()
        interpreter.invoke()
        times.append(time.perf_counter() - before)
        rows.append(interpreter.get_tensor(result)[0].copy())
    return np.stack(rows), float(np.median(times)) * 1e3


def _photos(model: TrainedModel, calibrate: Sequence[tuple[Path, str]] | None) -> _Photos:
    pairs = list(model.photos if calibrate is None else calibrate)
    if not pairs:
        raise ConversionError(
            "comparing formats needs photos like those that the camera will see; add some with --calibrate PHOTOS, "
            "with one folder per label to compare the accuracy too"
        )
    picked = photos.choose(pairs, COMPARED)
    picked, images = _prepared(picked, model, leave_out=calibrate is not None)
    where = f"{len(images)} of {len(pairs)} {'training ' if calibrate is None else ''}photos"
    names = tuple(label for _, label in picked)
    if len(set(names)) < 2 or len(set(names)) == len(names):
        return _Photos(images, None, None, None, where, "not measured: the photos have no labels")
    if calibrate is not None or not model.tuned:
        return _Photos(images, names, None, None, where, "leave-one-out")
    judges = {path for (path, _), judge in zip(model.photos, model.judges, strict=True) if judge}
    held_out = np.array([path in judges for path, _ in picked])
    if not held_out.any():
        return _Photos(images, None, None, None, where, "not measured: no photo was held out from training")
    groups = group_lookalikes(read_shots(picked)).groups
    return _Photos(
        images, names, held_out, groups, where, f"on {held_out.sum()} photos held out from training"
    )


def _prepared(
    picked: Sequence[tuple[Path, str]], model: TrainedModel, leave_out: bool
) -> tuple[list[tuple[Path, str]], tuple[Image, ...]]:
    """Prepare photos; those of a folder that cannot be decoded are left out, unless that is all of them."""
    kept, images, errors = [], [], []
    for path, label in picked:
        try:
            images.append(photos.prepare(path, model.preprocessing))
            kept.append((path, label))
        except PhotoError as error:
            errors.append(error)
    if errors and (not images or not leave_out):
        raise errors[0]
    return kept, tuple(images)


def _step(count: int) -> int:
    return max(1, count // photos.CALIBRATION_PHOTOS)

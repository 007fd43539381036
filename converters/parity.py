"""Stage 3: whether the converted backbone still sees what its source saw.

A plain cosine mostly measures what all embeddings share: with a large common part it stays at 1 even when all
differences between photos are lost. So the mean embedding is removed first, each dimension is compared separately,
and the converted embedding of a photo must be nearer to the source's embedding of that photo than to those of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import create_head
from device.images import Image
from device.model.codes import apply_map, encode
from device.model.preprocess import Preprocessing

from .errors import ConversionError
from .tensorflow import quiet

# minimum mean cosine between source and converted embeddings: float formats only round
LEAST_COSINE = {"none": 0.9999, "float16": 0.999, "dynamic": 0.9, "int16x8": 0.9, "int8": 0.9}
# Minimum values for the differences between photos. Good int8 conversions of EfficientNet-Lite0 reach .80 or more of the
# first two, .63 or more of the third and .97 or more of the fourth (the lowest on enlarged 8x8 digits); where only the
# common part survives, they fall to .22, .14, .03 and .52 and below.
_LEAST_CENTERED = {"none": 0.99, "float16": 0.9, "dynamic": 0.4, "int16x8": 0.4, "int8": 0.4}
_LEAST_CORRELATION = {"none": 0.99, "float16": 0.9, "dynamic": 0.4, "int16x8": 0.4, "int8": 0.4}
_INTEGERS = {"dynamic", "int16x8", "int8"}
_LEAST_FOLLOWED = 0.2
_LEAST_RECOGNIZED = 0.7
_MOST_LOST = 0.1  # accuracy, as a fraction, when there are enough photos to measure it
_ENOUGH = 40  # minimum number of photos for the accuracy
_FEW = 20  # number of photos below which the differences between them cannot be checked
_ALIKE = 4.0  # gray levels; photos that vary less show one scene, whose differences int8 need not keep
_STILL = 1e-6  # of the embedding's length; below it float32 only rounds
_FOLLOWS = 0.5  # correlation from which a dimension follows the source
_NEAREST = 5
_BATCH = 16

Embeddings = NDArray[np.float32]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parity:
    """Comparison of the converted model with its source, on the same photos.

    Attributes:
        photos: Number of photos.
        cosine_mean: Cosine between the two embeddings of a photo, averaged over photos.
        cosine_min: Lowest cosine of a photo.
        largest_difference: Largest difference between two numbers of the embeddings, relative to the largest number.
        centered_cosine: As `cosine_mean`, after the mean embedding of each model was removed; None when the source
            has the same embedding for all photos.
        correlation: Correlation of a dimension over photos, averaged over dimensions with their variance as weight;
            None as above.
        followed: Share of the dimensions that vary whose correlation is at least 0.5; None as above.
        recognized: Share of the photos whose own source embedding is among the five nearest to the converted one, by
            centered cosine; None as above.
        unchecked: Why the differences between photos could not be checked; empty when they were.
        accuracy_float: Leave-one-out accuracy of the exact head on the source's embeddings; None without labels. The
            photos may have tuned the backbone, so it only serves as a comparison.
        accuracy_converted: The same on the converted model's embeddings.
    """

    photos: int
    cosine_mean: float
    cosine_min: float
    largest_difference: float
    centered_cosine: float | None = None
    correlation: float | None = None
    followed: float | None = None
    recognized: float | None = None
    unchecked: str = ""
    accuracy_float: float | None = None
    accuracy_converted: float | None = None

    def __repr__(self) -> str:
        return (
            f"<Parity on {self.photos} photos: cosine {self.cosine_mean:.4f}, minimum {self.cosine_min:.4f}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures rounded, for the manifest."""
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def source_embeddings(model: Any, images: Sequence[Image], preprocessing: Preprocessing) -> Embeddings:
    """Embed prepared photos with the Keras model: float32 [N, D]."""
    # Keras itself and not the frozen function, because freezing and converting are under test
    with quiet():
        parts = [
            model.predict_on_batch(preprocessing.normalize(np.stack(images[start : start + _BATCH])))
            for start in range(0, len(images), _BATCH)
        ]
    return np.concatenate(parts).astype(np.float32)


def converted_embeddings(interpreter: Any, images: Iterable[Image]) -> Embeddings:
    """Embed prepared photos with ``invoke()`` of a converted model: float32 [N, D]."""
    with quiet():
        interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    rows = []
    for image in images:
        interpreter.set_tensor(source, image[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(target)[0].copy())
    return np.stack(rows)


def compare(
    original: Embeddings, converted: Embeddings, images: Sequence[Image], labels: Sequence[str] | None
) -> Parity:
    """Compare two sets of embeddings of the same photos.

    Args:
        original: float32 [N, D], of the source.
        converted: float32 [N, D], of the converted model.
        images: N prepared photos, uint8 [H, W, C]; how much they differ decides what can be checked.
        labels: N labels, or None where the photos have none.

    Raises:
        ConversionError: The shapes differ, or embeddings contain NaN or infinity.
    """
    _check(original, converted)
    cosines = _cosines(original, converted)
    largest = float(np.abs(original - converted).max() / max(np.abs(original).max(), 1e-12))
    centered = _centered(original.astype(np.float64), converted.astype(np.float64))
    same, correlation, followed, recognized = centered or (None, None, None, None)
    before, after = _accuracies(original, converted, labels)
    return Parity(
        len(cosines),
        float(cosines.mean()),
        float(cosines.min()),
        largest,
        centered_cosine=same,
        correlation=correlation,
        followed=followed,
        recognized=recognized,
        unchecked=_unchecked(images) if centered else "the source has the same embedding for all photos",
        accuracy_float=before,
        accuracy_converted=after,
    )


def refuse_loss(parity: Parity, quantization: str) -> None:
    """Raise `ConversionError` when the converted model lost too much to be used."""
    advice = "calibrate with more photos like those it will see, or use --quantize float16"
    if quantization != "int8":
        advice = "use --quantize none" if quantization != "none" else "report this with the name of the model"
    for lost in _losses(parity, quantization):
        raise ConversionError(f"the {quantization} backbone lost too much: {lost}; {advice}")


def cautions(parity: Parity, quantization: str) -> tuple[str, ...]:
    """Return what the user should know about a conversion that is accepted, a sentence each."""
    if quantization not in _INTEGERS or parity.cosine_mean >= LEAST_COSINE[quantization]:
        return ()
    return (
        f"{quantization} changes the embeddings of this backbone more than usual (mean cosine {parity.cosine_mean:.3f}); "
        "compare the accuracy with that of --quantize float16",
    )


def _losses(parity: Parity, form: str) -> Iterable[str]:
    least, on = LEAST_COSINE[form], f"on {parity.photos} photos"
    # a fine-tuned backbone may fall below it in int8 and keep what its head needs: the other figures decide, if there are any
    decides = form not in _INTEGERS or bool(parity.unchecked)
    if parity.cosine_mean < least and decides:
        yield (
            f"its embeddings have a mean cosine of {parity.cosine_mean:.4f} to the source's {on}, "
            f"at least {least} is expected"
        )
    if not parity.unchecked:
        for value, least, what in (
            (
                parity.centered_cosine,
                _LEAST_CENTERED[form],
                "a mean cosine, without the part all photos share,",
            ),
            (parity.correlation, _LEAST_CORRELATION[form], "a mean correlation per dimension"),
            (parity.followed, _LEAST_FOLLOWED, "a share of dimensions that follow the source"),
            (parity.recognized, _LEAST_RECOGNIZED, "a share of photos recognized by the source's embeddings"),
        ):
            if value is not None and value < least:
                yield f"its embeddings have {what} of {value:.3f} {on}, at least {least} is expected"
    before, after = parity.accuracy_float, parity.accuracy_converted
    if before is not None and after is not None and parity.photos >= _ENOUGH and before - after > _MOST_LOST:
        yield f"leave-one-out accuracy {after:.3f} against {before:.3f} in float {on}"


def _check(original: Embeddings, converted: Embeddings) -> None:
    if original.shape != converted.shape:
        raise ConversionError(
            f"the converted backbone returns embeddings of shape {converted.shape}, its source {original.shape}"
        )
    if not np.isfinite(original).all():
        raise ConversionError("the source model itself returns NaN or infinity; train it again")
    if not np.isfinite(converted).all():
        raise ConversionError(
            "the converted backbone returns NaN or infinity: its weights were lost or overflow; "
            "try --quantize none, and report this with the name of the model"
        )


def _cosines(one: NDArray[Any], other: NDArray[Any]) -> Array:
    a, b = apply_map(one, "l2"), apply_map(other, "l2")
    alike: Array = (a * b).sum(1)
    # two zero embeddings are the same, though their cosine is undefined
    return np.where((a == 0).all(1) & (b == 0).all(1), 1.0, alike)


def _centered(original: Array, converted: Array) -> tuple[float, float, float, float] | None:
    """Return centered cosine, correlation, followed and recognized; None when no photo differs in the source."""
    a, b = original - original.mean(axis=0), converted - converted.mean(axis=0)
    spread = np.sqrt((a**2).mean(axis=0))  # [D]
    if np.linalg.norm(spread) <= _STILL * np.linalg.norm(np.abs(original).max(axis=0)):
        return None
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    correlation = (a * b).sum(axis=0) / np.where(scale > 0, scale, 1.0)
    varied = spread > 1e-3 * spread.max()
    near = np.argsort(-(apply_map(b, "l2") @ apply_map(a, "l2").T), axis=1, kind="stable")[:, :_NEAREST]
    return (
        float(_cosines(a, b).mean()),
        float(np.average(correlation, weights=spread**2)),
        float((correlation[varied] >= _FOLLOWS).mean()),
        float((near == np.arange(len(a))[:, np.newaxis]).any(axis=1).mean()),
    )


def _unchecked(images: Sequence[Image]) -> str:
    """Return why the differences between these photos cannot be checked; empty when they can."""
    if len(images) < _FEW:
        return f"{len(images)} photos are too few to check the differences between them, at least {_FEW} are needed"
    coarse = np.stack([image[::4, ::4] for image in images]).astype(np.float32)
    varies = float(coarse.std(axis=0).mean())
    if varies < _ALIKE:
        return f"the photos look alike (they vary by {varies:.1f} of 255 levels), so their differences cannot be checked"
    return ""


def _accuracies(
    original: Embeddings, converted: Embeddings, labels: Sequence[str] | None
) -> tuple[float, float] | tuple[None, None]:
    if labels is None or len(set(labels)) < 2 or len(set(labels)) == len(labels):
        return None, None
    names = list(labels)
    return leave_one_out(original, names), leave_one_out(converted, names)


def leave_one_out(embeddings: Embeddings, labels: list[str]) -> float:
    """Return the leave-one-out accuracy of the exact head on embeddings, float32 [N, D]."""
    codes = encode(embeddings)
    head = create_head("exact", codes.shape[1])
    head.learn_many(codes, labels)
    predicted = np.array(head.labels)[head.leave_out(codes, labels).argmax(axis=1)]
    return float((predicted == np.array(labels)).mean())

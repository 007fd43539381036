"""Stage 4: does the converted model still see what its source saw?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.images import Image
from device.model.codes import apply_map
from device.model.preprocess import Preprocessing

from .errors import ConversionError
from .source import FloatHead, TrainedModel
from .tensorflow import quiet

# the least mean cosine between source and converted embeddings: float formats only round
LEAST_COSINE = {"none": 0.9999, "float16": 0.999, "dynamic": 0.9, "int8": 0.9}
_MOST_LOST = 0.1  # accuracy, as a fraction, when there are enough photos to tell
_ENOUGH = 40
_BATCH = 16

Embeddings = NDArray[np.float32]


@dataclass(frozen=True)
class Parity:
    """The converted model against its source, on the same photos.

    Attributes:
        photos: How many.
        cosine_mean: Between the two embeddings of a photo, averaged over photos.
        cosine_min: The worst photo's.
        largest_difference: Between two numbers of the embeddings, relative to the largest number.
        accuracy_float: With the source's embeddings; None without labels.
        accuracy_converted: With the converted model's.
        classifier: What measured the accuracy.
    """

    photos: int
    cosine_mean: float
    cosine_min: float
    largest_difference: float
    accuracy_float: float | None = None
    accuracy_converted: float | None = None
    classifier: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Give the figures rounded, for the manifest."""
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def source_embeddings(model: Any, images: Sequence[Image], preprocessing: Preprocessing) -> Embeddings:
    """Embed prepared photos with the Keras model: float32 [N, D]."""
    # Keras itself and not the frozen function: freezing and converting are what is under test
    with quiet():
        parts = [
            model.predict_on_batch(preprocessing.normalise(np.stack(images[start : start + _BATCH])))
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
    original: Embeddings, converted: Embeddings, model: TrainedModel, labels: Sequence[str] | None
) -> Parity:
    """Compare two sets of embeddings of the same photos.

    Raises:
        ConversionError: The shapes differ, or the converted ones hold NaN or infinity.
    """
    if original.shape != converted.shape:
        raise ConversionError(
            f"the converted backbone gives embeddings of shape {converted.shape}, its source {original.shape}"
        )
    if not np.isfinite(original).all():
        raise ConversionError("the source model itself gives NaN or infinity; train it again")
    if not np.isfinite(converted).all():
        raise ConversionError(
            "the converted backbone gives NaN or infinity: its weights were lost or overflow; "
            "try --quantize none, and report this with the model's name"
        )
    cosines = _cosines(original, converted)
    largest = float(np.abs(original - converted).max() / max(np.abs(original).max(), 1e-12))
    figures = (len(cosines), float(cosines.mean()), float(cosines.min()), largest)
    if labels is None or len(set(labels)) < 2:
        return Parity(*figures)
    before, name = _accuracy(original, labels, model.labels, model.head)
    after, _ = _accuracy(converted, labels, model.labels, model.head)
    return Parity(*figures, before, after, name)


def refuse_loss(parity: Parity, quantisation: str) -> None:
    """Raise `ConversionError` when the converted model lost too much to be used."""
    least = LEAST_COSINE[quantisation]
    if parity.cosine_mean < least:
        raise ConversionError(
            f"the {quantisation} backbone lost too much: its embeddings have a mean cosine of "
            f"{parity.cosine_mean:.4f} to the source's on {parity.photos} photos, at least {least} is expected; "
            "calibrate with more photos like those it will see, or use --quantize float16"
        )
    if parity.accuracy_float is None or parity.accuracy_converted is None or parity.photos < _ENOUGH:
        return
    if parity.accuracy_float - parity.accuracy_converted > _MOST_LOST:
        raise ConversionError(
            f"the {quantisation} backbone lost too much: accuracy {parity.accuracy_converted:.3f} against "
            f"{parity.accuracy_float:.3f} in float on {parity.photos} photos; "
            "calibrate with more photos like those it will see, or use --quantize float16"
        )


def _cosines(one: Embeddings, other: Embeddings) -> NDArray[np.float64]:
    a, b = apply_map(one, "l2"), apply_map(other, "l2")
    alike: NDArray[np.float64] = (a * b).sum(1)
    # two zero embeddings say the same, though their cosine is undefined
    return np.where((a == 0).all(1) & (b == 0).all(1), 1.0, alike)


def _accuracy(
    embeddings: Embeddings, labels: Sequence[str], names: Sequence[str], head: FloatHead | None
) -> tuple[float, str]:
    mapped = apply_map(embeddings)
    truth = np.array(labels)
    if head is not None:
        answers = np.array(names)[(mapped @ head[0] + head[1]).argmax(1)]
        return float((answers == truth).mean()), "the trained head"
    return _nearest_mean_accuracy(mapped, truth), "nearest class mean, leave-one-out"


def _nearest_mean_accuracy(mapped: NDArray[np.float64], truth: NDArray[Any]) -> float:
    names, index = np.unique(truth, return_inverse=True)
    sums = np.stack([mapped[index == number].sum(0) for number in range(len(names))])
    scores = mapped @ apply_map(sums, "l2").T  # [N, C]
    own = apply_map(sums[index] - mapped, "l2")  # the mean of the own class without the photo itself
    scores[np.arange(len(mapped)), index] = (own * mapped).sum(1)
    return float((scores.argmax(1) == index).mean())

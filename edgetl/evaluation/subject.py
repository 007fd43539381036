"""The subject of an evaluation: a model file as a device runs it, or a trained model, with one interface."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from device.images import Image
from device.model.codes import Codes, Keys, content_keys

from ..errors import PhotoFolderError
from ..photos import Photo

if TYPE_CHECKING:
    from converters import TrainedModel
    from device.learner import Learner
    from device.model.memory import Memory

_SAME = 0.25  # distance of codes of unit length up to which two photos may be the same one
_ROUNDING = 1e-3  # distance that float32 products of equal codes may show
_PROBES = 500


@dataclass(frozen=True)
class Answer:
    """What a model predicts for a photo.

    Attributes:
        photo: The photo.
        label: The predicted label.
        probability: Probability of `label`.
        taught: Whether the model was taught this photo.
        rejected: Whether negatives or background make the photo unknown.
    """

    photo: Photo
    label: str
    probability: float
    taught: bool = False
    rejected: bool = False


@dataclass(frozen=True)
class Subject:
    """A model to evaluate.

    Attributes:
        name: For messages.
        labels: Labels it can predict, sorted.
        answer: Predicts for a photo and its pixels, uint8 [H, W, 3] RGB.
        training_files: Files that trained it, where they are known.
        unrecognizable: Number of taught photos that cannot be recognized, because the model file keeps sums only or the
            files are gone.
    """

    name: str
    labels: tuple[str, ...]
    answer: Callable[[Photo, Image], Answer]
    training_files: tuple[Path, ...] = ()
    unrecognizable: int = 0


@contextlib.contextmanager
def open_device(
    model: Path, state: str | Path | None, head: str, priors: str | None = None
) -> Iterator[Subject]:
    """Open a model file with what it was taught, on the host and in `state`."""
    from device.learner import Learner
    from device.model.codes import encode

    with Learner.open(model, state, head=head, priors=priors, read_only=state is not None) as learner:
        learner.require_taught()
        # conversions run in LiteRT: there, codes are equal to the bit
        same_runtime = learner.runtime.name == "ai-edge-litert"
        known = _KnownCodes(_taught_codes(learner), _taught_keys(learner))
        embedding_map = learner.model.manifest.embedding_map

        def answer(photo: Photo, image: Image) -> Answer:
            embedding = learner.embed_one(image)
            prediction = learner.predict_embedding(embedding)
            taught = known.holds(encode(embedding, embedding_map))
            familiar = prediction.unknown_score <= learner.head.fit.threshold
            return Answer(
                photo, prediction.label, prediction.probability, taught, familiar and not prediction.known
            )

        yield Subject(
            str(model),
            learner.labels,
            answer,
            unrecognizable=_without_key(learner.model.memory, same_runtime),
        )


def open_trained(folder: Path) -> Subject:
    """Open the folder of a trained model.

    Raises:
        PhotoFolderError: It has no head.
    """
    from converters.source import TrainedModel
    from converters.tensorflow import import_tensorflow
    from device.model.codes import apply_map

    import_tensorflow()  # quietly, before Keras imports it with its log
    model = TrainedModel.load(folder)
    if model.head is None:
        raise PhotoFolderError(
            f"{folder} holds a backbone without a head; train it with 'edgetl finetune' first"
        )
    weights, bias = model.head

    def answer(photo: Photo, image: Image) -> Answer:
        batch = model.preprocessing.normalize(model.preprocessing.prepare(image)[np.newaxis])
        logits = (apply_map(np.asarray(model.backbone(batch, training=False))) @ weights + bias)[0]
        best = int(logits.argmax())
        return Answer(photo, model.labels[best], float(1 / np.exp(logits - logits[best]).sum()))

    files = _trained_on(model)
    gone = sum(not path.is_file() for path in files)
    return Subject(str(folder), model.labels, answer, files, gone)


def _trained_on(model: TrainedModel) -> tuple[Path, ...]:
    """Return the photos that trained the weights; those held out may judge them."""
    held_out = model.held_out or (False,) * len(model.photos)
    return tuple(path for (path, _), out in zip(model.photos, held_out, strict=True) if not out)


def _taught_codes(learner: Learner) -> Codes:
    from device.model.memory import Samples

    ids = [sample.id for sample in learner.store.samples(thumbnails=False)]
    codes = [learner.store.codes(ids)] if ids else []
    if isinstance(learner.model.memory, Samples):
        codes.append(learner.model.memory.codes)
    width = learner.model.manifest.dimensions
    return np.concatenate(codes) if codes else np.zeros((0, width), np.int16)


def _taught_keys(learner: Learner) -> Keys:
    from device.model.memory import Sums

    host = learner.model.memory
    return host.keys if isinstance(host, Sums) else np.zeros(0, np.uint64)


def _without_key(host: Memory | None, same_runtime: bool) -> int:
    """Return the number of taught photos that cannot be recognized, because the file keeps neither code nor key."""
    from device.model.memory import Sums

    if not isinstance(host, Sums):
        return 0
    return sum(host.counts().values()) - (len(host.keys) if same_runtime else 0)


class _KnownCodes:
    """The codes of taught samples, to recognize a photo by.

    The same photo differs a little where another runtime rounds it or it was saved again. Measured on int8
    EfficientNet-Lite0, as distance between codes of unit length: 0.11 at most between LiteRT and tflite-runtime,
    0.2 for JPEG of quality 95 saved again; different photos have 0.27 (digits) to 0.7 (flowers) to the nearest other.
    """

    def __init__(self, codes: Codes, keys: Keys) -> None:
        self._keys = set(keys.tolist())
        self._units = _unit(codes)
        self._limit = min(_SAME, _nearest_other(self._units) / 3)

    def holds(self, code: Codes) -> bool:
        """Return whether a code [D] is one of them, up to rounding."""
        if int(content_keys(code[np.newaxis])[0]) in self._keys:
            return True
        cosines = self._units @ _unit(code)
        nearest = float(cosines.max(initial=-1))
        return math.sqrt(2 * max(0.0, 1 - nearest)) <= max(self._limit, _ROUNDING)


def _nearest_other(units: NDArray[np.float32]) -> float:
    """Return the median distance from a code to the nearest other one, from at most `_PROBES` codes."""
    if len(units) < 2:
        return 0.0
    rows = np.unique(np.linspace(0, len(units) - 1, _PROBES).astype(np.int64))
    cosines = units[rows] @ units.T
    cosines[np.arange(len(rows)), rows] = -1
    return float(np.median(np.sqrt(2 * np.maximum(0, 1 - cosines.max(axis=1)))))


def _unit(codes: Codes) -> NDArray[np.float32]:
    values = codes.astype(np.float32)
    unit: NDArray[np.float32] = values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-9)
    return unit

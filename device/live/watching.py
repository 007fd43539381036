"""Observing frames from a camera: one prediction per frame, averaged over a few."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cameras import Frame
from ..errors import HeadError
from ..heads import Prediction
from ..heads.base import BEST_FEW
from ..images import Image, thumbnail
from ..learner.doubts import PICTURE, Doubts
from ..learner.learner import Learner
from .motion import MotionGate

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Observation:
    """What one frame shows.

    Attributes:
        frame: Number of the frame in its source.
        time: When the frame arrived, in seconds since the epoch.
        source: Where the frame comes from: the name of a camera or of a photo.
        changed: Whether `label` differs from the frame before.
        prediction: The prediction; None while nothing is taught.
        familiar: Whether the frame is like what was taught. Unlike ``prediction.known``, this does not depend on a
            minimum probability.
        truth: Name of the photo's folder, where the source has one folder per label; else None.
        embed_ms: Duration of preprocessing and backbone, in milliseconds.
        head_ms: Duration of the head, in milliseconds.
        region: Name of the camera or region, where there are several; else "".
        image: The frame, uint8 [H, W, 3] RGB, for receivers that show it; not part of the JSON.
        closed: Whether there is no frame, because the hours of the camera or region have ended.
    """

    frame: int
    time: float
    source: str
    changed: bool
    prediction: Prediction | None
    familiar: bool = False
    truth: str | None = None
    embed_ms: float = 0.0
    head_ms: float = 0.0
    region: str = ""
    image: Image | None = field(default=None, repr=False, compare=False)
    closed: bool = False

    def __repr__(self) -> str:
        return f"<Observation frame {self.frame}: {self.label!r}{', changed' if self.changed else ''}>"

    @property
    def label(self) -> str:
        """The predicted label, or "unknown"."""
        return shown_label(self.prediction)

    def to_dict(self, *, old_names: bool = True) -> dict[str, Any]:
        """Return the fields as JSON-serializable values; docs/json.md describes them.

        Args:
            old_names: Add the field names of version 0.1 at the top level. Version 0.3 drops them.
        """
        prediction = self.prediction.to_dict() if self.prediction else None
        fields = {
            "frame": self.frame,
            "time": self.time,
            "source": self.source,
            "changed": self.changed,
            "prediction": prediction,
            "truth": self.truth,
            "embed_ms": round(self.embed_ms, 4),
            "head_ms": round(self.head_ms, 4),
        }
        fields |= {"region": self.region} if self.region else {}
        fields |= {"closed": True} if self.closed else {}
        return fields | self._old_fields(prediction) if old_names else fields

    def _old_fields(self, prediction: dict[str, Any] | None) -> dict[str, Any]:
        old = {"index": self.frame, "label": self.label, "familiar": self.familiar}
        if prediction is None:
            return old | {
                "best": None,
                "probability": None,
                "known": False,
                "unknown_score": None,
                "scores": {},
            }
        copied = {name: prediction[name] for name in ("probability", "known", "unknown_score", "scores")}
        return old | {"best": prediction["label"]} | copied


def shown_label(prediction: Prediction | None) -> str:
    """Return the label of a prediction, or "unknown" where it is not known or there is no prediction."""
    return prediction.label if prediction is not None and prediction.known else UNKNOWN


def closed_observation(frame: int, time: float, region: str = "") -> Observation:
    """Return the observation that nothing is in view any more, because the hours of a camera or region have ended."""
    return Observation(frame, time, "", changed=True, prediction=None, region=region, closed=True)


class Smoother:
    """Average predictions over the last few frames, so that one bad frame changes nothing.

    When something is taught or corrected, averaging starts again, so that the next frame shows it.

    Args:
        frames: Number of frames to average over.

    Example:
        >>> smoother = Smoother(2)
        >>> first = smoother.add(Prediction("mug", 1.0, True, {"mug": 1.0, "bowl": 0.0}))
        >>> smoother.add(Prediction("bowl", 1.0, False, {"mug": 0.2, "bowl": 0.8}, 3.0))
        Prediction(label='mug', probability=0.6, known=True)
    """

    def __init__(self, frames: int = 1) -> None:
        self._recent: deque[Prediction] = deque(maxlen=max(1, frames))
        self._position = 0

    def add(self, prediction: Prediction, position: int = 0) -> Prediction:
        """Add the prediction of a frame and return the average.

        Args:
            prediction: Has the scores of all labels.
            position: What the learner had learned, see `Learner.position`; another one starts again.

        Returns:
            The mean scores; `known` where at least half of the frames are known; the unknown score of this frame.
        """
        other = self._recent and self._recent[-1].scores.keys() != prediction.scores.keys()
        if other or position != self._position:
            self._recent.clear()
        self._position = position
        self._recent.append(prediction)
        count = len(self._recent)
        means = {label: sum(one.scores[label] for one in self._recent) / count for label in prediction.scores}
        scores = dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))
        label = next(iter(scores))
        known = 2 * sum(one.known for one in self._recent) >= count
        return Prediction(label, scores[label], known, scores, prediction.unknown_score)

    def clear(self) -> None:
        """Forget all frames."""
        self._recent.clear()


class GatedEmbedder:
    """Embed frames, and reuse the last embedding while nothing moves.

    Args:
        learner: Embeds.
        gate: While it is closed, frames are not embedded; None embeds all.

    Attributes:
        gate: The gate, or None.
        embedded: Number of frames that were embedded.
    """

    def __init__(self, learner: Learner, gate: MotionGate | None = None) -> None:
        self.gate, self.embedded = gate, 0
        self._learner = learner
        self._last: NDArray[np.float32] | None = None

    def embed(self, frame: Frame) -> tuple[NDArray[np.float32], bool]:
        """Return the embedding for a frame, float32 [D], and whether it is of this frame."""
        if self.gate is not None and not self.gate.check(frame.image).open and self._last is not None:
            return self._last, False
        self._last = self._learner.embed_one(frame.image)
        self.embedded += 1
        return self._last, True


class Watcher:
    """Turn frames into observations, one after the other.

    Args:
        learner: The learner. What is taught meanwhile, by this process or another, takes effect at once.
        smooth: Number of frames to average over.
        threshold: Minimum probability; below it the prediction is not known.
        best_few: Maximum number of labels in the scores.
        need_labels: Raise an error if nothing was taught yet, instead of returning observations without a prediction.
        gate: While it is closed, the last embedding is predicted again instead of embedding the frame.
        doubts: A queue to which every frame that is embedded is offered, to be labeled later.

    Attributes:
        observed: Number of frames that were observed.
    """

    def __init__(
        self,
        learner: Learner,
        *,
        smooth: int = 1,
        threshold: float = 0.0,
        best_few: int = BEST_FEW,
        need_labels: bool = True,
        gate: MotionGate | None = None,
        doubts: Doubts | None = None,
    ) -> None:
        self.observed = 0
        self._embedder = GatedEmbedder(learner, gate)
        self._learner, self._smoother = learner, Smoother(smooth)
        self._threshold, self._best_few, self._need_labels = threshold, best_few, need_labels
        self._doubts = doubts
        self._before: str | None = None

    @property
    def gate(self) -> MotionGate | None:
        """The gate, or None."""
        return self._embedder.gate

    @property
    def embedded(self) -> int:
        """Number of frames that were embedded."""
        return self._embedder.embedded

    def observe(self, frame: Frame) -> Observation:
        """Return what a frame shows.

        Raises:
            HeadError: Nothing was taught yet, and labels are needed.
        """
        self.observed += 1
        start = time.perf_counter()
        embedding, own = self._embedder.embed(frame)
        middle = time.perf_counter()
        mean = self._mean(frame, embedding, own)
        prediction = None if mean is None else self._judged(mean)
        end = time.perf_counter()
        label, before = shown_label(prediction), self._before
        self._before = label
        return Observation(
            frame=frame.index,
            time=frame.time,
            source=frame.source,
            changed=label != before,
            prediction=prediction,
            familiar=mean is not None and mean.known,
            truth=frame.label,
            embed_ms=1e3 * (middle - start),
            head_ms=1e3 * (end - middle),
            image=frame.image,
        )

    def _mean(self, frame: Frame, embedding: NDArray[np.float32], own: bool) -> Prediction | None:
        try:
            prediction = self._learner.predict_embedding(embedding, all_scores=True)
        except HeadError:
            if self._need_labels or self._learner.labels:
                raise
            self._smoother.clear()
            return None
        if self._doubts is not None and own:  # else the picture would not be that of the embedding
            picture = partial(thumbnail, frame.image, PICTURE)
            self._doubts.offer(embedding, prediction, picture, time=frame.time, source=frame.source)
        return self._smoother.add(prediction, self._learner.position)

    def _judged(self, mean: Prediction) -> Prediction:
        return replace(
            mean,
            known=mean.known and mean.probability >= self._threshold,
            scores=dict(islice(mean.scores.items(), self._best_few)),
        )


def watch(learner: Learner, frames: Iterable[Frame], **options: Any) -> Iterator[Observation]:
    """Yield an observation per frame.

    Args:
        learner: The learner.
        frames: Frames from a camera.
        options: Those of `Watcher`.

    Raises:
        HeadError: Nothing was taught yet.
    """
    watcher = Watcher(learner, **options)
    for frame in frames:
        yield watcher.observe(frame)

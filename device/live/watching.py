"""Observing frames from a camera: one prediction per frame, averaged over a few."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ..cameras import Frame
from ..heads import Prediction
from ..heads.base import BEST_FEW
from ..learner.learner import Learner

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


class Smoother:
    """Average predictions over the last few frames, so that one bad frame changes nothing.

    When labels are added, renamed or deleted, averaging starts again.

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

    def add(self, prediction: Prediction) -> Prediction:
        """Add the prediction of a frame and return the average.

        Args:
            prediction: Has the scores of all labels.

        Returns:
            The mean scores; `known` where at least half of the frames are known; the unknown score of this frame.
        """
        if self._recent and self._recent[-1].scores.keys() != prediction.scores.keys():
            self._recent.clear()
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


def watch(
    learner: Learner,
    frames: Iterable[Frame],
    *,
    smooth: int = 1,
    threshold: float = 0.0,
    best_few: int = BEST_FEW,
) -> Iterator[Observation]:
    """Yield an observation per frame.

    Args:
        learner: The learner. What is taught meanwhile, by this process or another, takes effect at once.
        frames: Frames from a camera.
        smooth: Number of frames to average over.
        threshold: Minimum probability; below it the prediction is not known.
        best_few: Maximum number of labels in the scores.

    Raises:
        HeadError: Nothing was taught yet.
    """
    smoother, before = Smoother(smooth), None
    for frame in frames:
        start = time.perf_counter()
        embedding = learner.embed_one(frame.image)
        middle = time.perf_counter()
        mean = smoother.add(learner.predict_embedding(embedding, all_scores=True))
        prediction = replace(
            mean,
            known=mean.known and mean.probability >= threshold,
            scores=dict(islice(mean.scores.items(), best_few)),
        )
        end = time.perf_counter()
        label = shown_label(prediction)
        yield Observation(
            frame=frame.index,
            time=frame.time,
            source=frame.source,
            changed=label != before,
            prediction=prediction,
            familiar=mean.known,
            truth=frame.label,
            embed_ms=1e3 * (middle - start),
            head_ms=1e3 * (end - middle),
        )
        before = label

"""Watching a camera: a prediction a frame, smoothed over a few."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..cameras import Frame
from ..learner.learner import Learner

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Sighting:
    """What is seen in one frame, after smoothing.

    Attributes:
        index: Number of the frame in its source.
        time: When it arrived, seconds since the epoch.
        source: Where it came from.
        label: The most probable label, or "unknown" when the frame is unlike all that was taught or no label
            reaches the threshold.
        best: The most probable label in any case.
        probability: Of `best`.
        known: Whether `label` is `best`.
        familiar: Whether the frame is like what was taught, whatever the threshold.
        unknown_score: How unlike what was taught this frame is, before smoothing.
        scores: The best few labels with their probabilities, descending.
        truth: The photo's folder, where the source has labelled folders.
        embed_ms: Time preprocessing and backbone took.
        head_ms: Time the head took.
        changed: Whether `label` differs from the frame before.
    """

    index: int
    time: float
    source: str
    label: str
    best: str
    probability: float
    known: bool
    familiar: bool
    unknown_score: float
    scores: dict[str, float]
    truth: str | None
    embed_ms: float
    head_ms: float
    changed: bool

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON-able values."""
        fields = dict(vars(self))
        for name in ("probability", "unknown_score", "embed_ms", "head_ms"):
            fields[name] = round(fields[name], 4)
        fields["scores"] = {label: round(score, 4) for label, score in self.scores.items()}
        return fields


class Smoother:
    """Average probabilities over the last few frames, so that one bad frame changes nothing.

    Example:
        >>> smoother = Smoother(2)
        >>> smoother.add({"mug": 1.0, "bowl": 0.0}, known=True)
        ({'mug': 1.0, 'bowl': 0.0}, True)
        >>> smoother.add({"mug": 0.0, "bowl": 1.0}, known=False)
        ({'mug': 0.5, 'bowl': 0.5}, True)
    """

    def __init__(self, frames: int = 1) -> None:
        self._scores: deque[dict[str, float]] = deque(maxlen=max(1, frames))
        self._known: deque[bool] = deque(maxlen=max(1, frames))

    def add(self, scores: dict[str, float], known: bool) -> tuple[dict[str, float], bool]:
        """Take in a frame; give the averages, and whether at least half of the frames were known."""
        self._scores.append(scores)
        self._known.append(known)
        labels = dict.fromkeys(label for row in self._scores for label in row)
        count = len(self._scores)
        averages = {label: sum(row.get(label, 0.0) for row in self._scores) / count for label in labels}
        return averages, 2 * sum(self._known) >= count


def watch(
    learner: Learner, frames: Iterable[Frame], *, smooth: int = 1, threshold: float = 0.0, best_few: int = 5
) -> Iterator[Sighting]:
    """Say what each frame shows.

    Args:
        learner: The learner; what is taught meanwhile, by this process or another, counts at once.
        frames: From a camera.
        smooth: Frames averaged over.
        threshold: A label below this probability is "unknown".
        best_few: Labels in `Sighting.scores`.
    """
    smoother, before = Smoother(smooth), None
    for frame in frames:
        start = time.perf_counter()
        embedding = learner.embed_one(frame.image)
        middle = time.perf_counter()
        judged = learner.judge(embedding)
        averages, familiar = smoother.add(judged.scores, judged.known)
        best, probability = max(averages.items(), key=lambda item: item[1])
        known = familiar and probability >= threshold
        label = best if known else UNKNOWN
        listed = sorted(averages.items(), key=lambda item: -item[1])[:best_few]
        done = time.perf_counter()
        yield Sighting(
            frame.index, frame.time, frame.source, label, best, probability, known, familiar, judged.unknown_score,
            dict(listed), frame.label, 1e3 * (middle - start), 1e3 * (done - middle), label != before,
        )  # fmt: skip
        before = label

"""The steps that are timed, and what a prediction takes above the bare interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .timing import Timing, ratio_of_medians

STEPS = {  # step -> its meaning; the order of the table
    "capture": "wait for the next frame of the camera",
    "preprocessing": "crop, resize and convert a frame",
    "backbone": "the bare interpreter: set the input, run it, read the output",
    "embedding, both": "preprocessing and backbone",
    "head, predict": "the answer of the head to an embedding",
    "frame to prediction": "everything between a frame and its prediction",
    "capture to prediction": "the same with the capture",
    "head, update and predict": "a sample is learned, and the new head answers",
    "head, complete fit": "the exact head is computed from all samples, in the background while teaching",
    "commit to disk": "a sample becomes durable",
    "first prediction after a lesson": "the new head's first answer, once the lesson is durable",
    "lesson to new head": "everything between a frame with its label and the first answer of the new head",
    "button to new head": "the same with the capture",
}
OVERHEAD_LIMIT = 1.03  # frame to prediction, against preprocessing and the bare interpreter


@dataclass(frozen=True)
class Overhead:
    """What a prediction takes above the bare interpreter.

    Attributes:
        ratio: Median of "frame to prediction", divided by that of "preprocessing" and "backbone" together.
        interval: Bootstrap interval of the ratio, 95 %.
        cpu_ratio: The same ratio of CPU time, which other programs disturb less; None with several threads.
        limit: The goal.
    """

    ratio: float
    interval: tuple[float, float]
    cpu_ratio: float | None = None
    limit: float = OVERHEAD_LIMIT

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {**asdict(self), "interval": list(self.interval)}

    @classmethod
    def of(
        cls, seconds: Mapping[str, Sequence[float]], cpu: Mapping[str, Sequence[float]] | None = None
    ) -> Overhead | None:
        """Return the overhead of a combination; None where the bare interpreter was not timed.

        Args:
            seconds: Elapsed times per step.
            cpu: CPU times per step, if they were measured.
        """
        pairs, cpu_pairs = _compared(seconds), _compared(cpu or {})
        if pairs is None:
            return None
        ratio, (low, high) = ratio_of_medians(*pairs)
        cpu_ratio = None if cpu_pairs is None else round(ratio_of_medians(*cpu_pairs)[0], 4)
        return cls(round(ratio, 4), (round(low, 4), round(high, 4)), cpu_ratio)


def _compared(seconds: Mapping[str, Sequence[float]]) -> tuple[list[float], list[float]] | None:
    """Return the times of the bare interpreter with preprocessing, and those of a prediction."""
    bare = [
        sum(pair) for pair in zip(seconds.get("preprocessing", ()), seconds.get("backbone", ()), strict=False)
    ]
    ours = list(seconds.get("frame to prediction", ()))
    return (bare, ours) if bare and ours and min(bare) > 0 else None


def timings_of(seconds: Mapping[str, Sequence[float]]) -> tuple[Timing, ...]:
    """Return the times of the steps that ran, in the order of `STEPS`."""
    return tuple(Timing.of(step, seconds[step]) for step in STEPS if seconds.get(step))

"""Choose a model from a measurement: the most accurate within limits, or a faster one that is nearly as accurate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device.errors import MeasurementError
from device.files import shown
from device.system.comparing import read_measurement
from device.system.grid import name_results

from .accuracy import ALL
from .text import FRAME, shown_megabytes

_Z = 1.96  # standard errors of a difference that chance explains
_PERCENTILE = "p95"
TOLERANCE = 0.01


@dataclass(frozen=True)
class Limits:
    """What a device can afford.

    Attributes:
        ms: Milliseconds from a frame to its prediction, 95th percentile.
        mb: Megabytes of the model file.
        ram_mb: Megabytes of RAM of a process with the model.
        accuracy: Least accuracy, 0 to 1.
        shots: Number of photos per label; `ALL` is all of them.
        tolerance: How much less accurate than the most accurate within the limits a faster one may be, 0 to 1.
    """

    ms: float | None = None
    mb: float | None = None
    ram_mb: float | None = None
    accuracy: float | None = None
    shots: int = ALL
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Candidate:
    """A measured combination with its accuracy.

    Attributes:
        name: Its model, and what distinguishes it from the others.
        accuracy: Accuracy with the number of photos per label of the limits.
        interval: Its 95 % interval.
        ms: Milliseconds from a frame to its prediction, 95th percentile.
        mb: Megabytes of the model file.
        ram_mb: Megabytes of RAM of a process with the model; None if not measured.
        misses: The limits that it misses, in words.
    """

    name: str
    accuracy: float
    interval: tuple[float, float]
    ms: float
    mb: float
    ram_mb: float | None
    misses: tuple[str, ...]


@dataclass(frozen=True)
class Recommendation:
    """The answer.

    Attributes:
        name: The recommended combination; None if all miss a limit.
        reason: Why, in sentences.
        candidates: All combinations, the most accurate first.
        notes: Reasons not to trust the measurement.
    """

    name: str | None
    reason: str
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values; docs/json.md describes them."""
        return {
            "recommended": self.name,
            "reason": self.reason,
            "notes": list(self.notes),
            "candidates": [
                {**asdict(found), "interval": list(found.interval), "misses": list(found.misses)}
                for found in self.candidates
            ],
        }


def recommend(path: Path, limits: Limits | None = None) -> Recommendation:
    """Recommend one of the combinations that ``edgetl bench --accuracy --json`` measured.

    Of the combinations within the limits, those count whose accuracy is within the tolerance of the best. The fastest of
    them is recommended. Whether the photos show a difference at all is part of the reason: a paired comparison on the same
    photos, 1.96 standard errors.

    Args:
        path: The measurement.
        limits: What the device can afford.

    Raises:
        MeasurementError: The file is no measurement, or contains no accuracy with this number of photos.
    """
    limits = limits or Limits()
    found = read_measurement(path)
    entries = _entries(found, limits, path)
    entries.sort(key=lambda entry: (-entry[0].accuracy, entry[0].ms, entry[0].name))
    candidates = tuple(candidate for candidate, _ in entries)
    notes = [str(note) for note in found.get("notes", ())] + [
        str(note) for note in found["accuracy"].get("notes", ())
    ]
    if found.get("partial"):
        notes.append("the measurement is partial")
    within = [entry for entry in entries if not entry[0].misses]
    if not within:
        listed = "; ".join(f"{entry.name}: {' and '.join(entry.misses)}" for entry in candidates)
        return Recommendation(
            None, f"no combination is within the limits. {listed}", candidates, tuple(notes)
        )
    least = within[0][0].accuracy - limits.tolerance - 1e-9  # rounding
    chosen = min(
        (entry for entry in within if entry[0].accuracy >= least),
        key=lambda entry: (entry[0].ms, entry[0].mb),
    )
    return Recommendation(
        chosen[0].name, "; ".join(_reasons(chosen, entries, limits)), candidates, tuple(notes)
    )


# per photo, in how many draws it was predicted correctly; the number of draws
Scores = tuple[tuple[int, ...], int]
Entry = tuple[Candidate, Scores]


def _entries(found: Mapping[str, Any], limits: Limits, path: Path) -> list[Entry]:
    accuracy = found.get("accuracy")
    if not isinstance(accuracy, dict):
        raise MeasurementError(
            f"{shown(path)} contains no accuracy; measure with: edgetl bench MODEL... --accuracy PHOTOS --json > FILE"
        )
    entries: list[Entry] = []
    try:
        results = _with_most_samples(found["results"])
        for name, result in zip(name_results(results), results, strict=True):
            shot = _shot_of(accuracy, result, limits.shots)
            times = {timing["step"]: timing for timing in result["timings"]}
            if shot is not None and FRAME in times:
                candidate = _candidate(name, result, shot, float(times[FRAME][_PERCENTILE]), limits)
                entries.append((candidate, (tuple(shot["right"]), int(shot["draws"]))))
        measured = sorted({int(shot["shots"]) for model in accuracy["models"] for shot in model["shots"]})
    except (KeyError, TypeError, ValueError) as error:
        raise MeasurementError(f"{shown(path)} is damaged: {error}; measure again") from error
    if not entries:
        raise _missing_shots(path, limits.shots, measured)
    return entries


def _missing_shots(path: Path, wanted: int, measured: Sequence[int]) -> MeasurementError:
    shots = "all photos" if wanted == ALL else f"{wanted} photos per label"
    others = ", ".join("all" if one == ALL else str(one) for one in measured)
    known = f", only with {others}; choose one of these with --shots, or" if others else ";"
    return MeasurementError(
        f"{shown(path)} contains no accuracy with {shots}{known} measure again with --shots"
    )


def _with_most_samples(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return one result per model, runtime and kind of head: how many samples it has learned is no choice."""
    chosen: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for result in results:
        runtime, head = result["runtime"], result["head"]
        key = (
            result["model"]["name"],
            result["model"]["sha256"],
            *(runtime.get(name) for name in ("name", "version", "threads", "delegate")),
            head["name"],
        )
        if key not in chosen or head.get("samples", 0) >= chosen[key]["head"].get("samples", 0):
            chosen[key] = result
    return list(chosen.values())


def _shot_of(accuracy: Mapping[str, Any], result: Mapping[str, Any], shots: int) -> Mapping[str, Any] | None:
    for model in accuracy["models"]:
        if (model["sha256"], model["head"]) == (result["model"]["sha256"], result["head"]["name"]):
            return next((shot for shot in model["shots"] if shot["shots"] == shots), None)
    return None


def _candidate(
    name: str, result: Mapping[str, Any], shot: Mapping[str, Any], ms: float, limits: Limits
) -> Candidate:
    mb, footprint = result["model"]["bytes"] / 1e6, result.get("footprint")
    ram = None if footprint is None else round(footprint["peak_ram_bytes"] / 1e6, 1)
    low, high = shot["interval"]
    misses = [
        f"{value:.4g} {what}, the limit is {limit:g}"
        for what, value, limit in (
            ("ms", ms, limits.ms),
            ("MB", mb, limits.mb),
            ("MB of RAM", ram, limits.ram_mb),
        )
        if limit is not None and value is not None and value > limit
    ]
    if limits.ram_mb is not None and ram is None:
        misses.append("RAM was not measured")
    if limits.accuracy is not None and shot["accuracy"] < limits.accuracy:
        misses.append(f"accuracy {shot['accuracy']:.1%}, at least {limits.accuracy:.1%} is wanted")
    return Candidate(
        name, float(shot["accuracy"]), (low, high), round(ms, 3), round(mb, 3), ram, tuple(misses)
    )


def _differs(one: Scores, other: Scores) -> bool:
    """Return whether two accuracies on the same photos differ by more than chance explains."""
    (right, draws), (others, more) = one, other
    if len(right) != len(others):
        return True
    difference = np.array(right) / draws - np.array(others) / more
    error = float(difference.std(ddof=1)) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
    return abs(float(difference.mean())) > _Z * error


def _reasons(chosen: Entry, entries: Sequence[Entry], limits: Limits) -> Iterator[str]:
    found, scores = chosen
    photos = "all photos" if limits.shots == ALL else f"{limits.shots} photos per label"
    low, high = found.interval
    yield (
        f"{found.name}: {found.accuracy:.1%} with {photos} ({low:.0%} to {high:.0%}), {found.ms:.1f} ms per prediction "
        f"(95th percentile), {shown_megabytes(found.mb)}"
    )
    others = [entry for entry in entries if entry is not chosen]
    better = [other for other, _ in others if other.accuracy > found.accuracy]
    if not any(not other.misses for other in better):
        yield "no other within the limits is more accurate"
    for other in better:
        why = " and ".join(other.misses) or f"takes {other.ms:.1f} ms"
        yield f"{other.name} has {other.accuracy:.1%}, but {why}"
    within = [entry for entry in others if not entry[0].misses]
    unclear = [other.name for other, theirs in within if not _differs(scores, theirs)]
    if unclear:
        yield f"{len(scores[0])} photos do not show reliably whether it is more accurate than {', '.join(unclear)}"

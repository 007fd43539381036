"""Compare two measurements of `bench`, step by step.

The ratio of the medians has a bootstrap interval. Where the interval contains 1, or a step has too few runs, the times
do not show a difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import MeasurementError
from ..files import shown
from .pairing import HEAD, Named, pair_results
from .results import SCHEMA, VERSION
from .timing import Interval, median, ratio_of_medians

METHOD = "bootstrap of the ratio of medians, 95 %"
FEWEST = 5  # runs; with fewer, an interval means nothing
_MACHINE = ("board", "cpu", "architecture", "cores")
_MOST_BYTES = 512 * 2**20
_AGAIN = "measure again with: edgetl bench MODEL --json > FILE"

Verdict = Literal["faster", "slower", "can't tell"]


@dataclass(frozen=True)
class StepComparison:
    """A step in two measurements.

    Attributes:
        step: The step.
        before: Median of the first measurement, in milliseconds.
        after: Median of the second.
        ratio: after / before: below 1 the second is faster.
        interval: Bootstrap interval of the ratio, 95 %.
        runs: Number of runs in each.
        verdict: Whether the second is faster or slower, or whether the times do not show it.
    """

    step: str
    before: float
    after: float
    ratio: float
    interval: Interval
    runs: tuple[int, int]
    verdict: Verdict

    @classmethod
    def of(cls, step: str, before: Sequence[float], after: Sequence[float]) -> StepComparison:
        """Compare the times of a step, in milliseconds."""
        ratio, (low, high) = ratio_of_medians(before, after)
        verdict: Verdict = "faster" if high < 1 else "slower" if low > 1 else "can't tell"
        if min(len(before), len(after)) < FEWEST:
            verdict = "can't tell"
        return cls(
            step,
            median(before),
            median(after),
            round(ratio, 4),
            (round(low, 4), round(high, 4)),
            (len(before), len(after)),
            verdict,
        )


@dataclass(frozen=True)
class ModelComparison:
    """Two measurements of a combination, or of two.

    Attributes:
        before: Name of the model in the first measurement, with what distinguishes it from others there.
        after: The same in the second.
        differences: What else differs, such as the number of threads.
        steps: The steps that both contain.
    """

    before: str
    after: str
    differences: tuple[str, ...]
    steps: tuple[StepComparison, ...]


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        models: One per pair of models.
        notes: What makes the comparison doubtful.
    """

    models: tuple[ModelComparison, ...]
    notes: tuple[str, ...] = ()

    def slower_than(self, limit: float) -> list[tuple[str, StepComparison]]:
        """Return the steps, with their model, that are slower with a ratio above `limit`."""
        return [
            (model.after, step)
            for model in self.models
            for step in model.steps
            if step.verdict == "slower" and step.ratio > limit
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values; docs/json.md describes them."""
        return {
            "schema": f"{SCHEMA}-compare",
            "version": VERSION,
            "method": METHOD,
            "notes": list(self.notes),
            "models": [_as_lists(asdict(model)) for model in self.models],
        }


def compare(before: Path, after: Path | None = None, *, anyway: bool = False) -> Comparison:
    """Compare two files that ``edgetl bench --json`` wrote, or the models in one file.

    Args:
        before: The first measurement.
        after: The second. None compares the first model in `before` with each of the others.
        anyway: Compare even what was measured on different machines, frames or heads, or has another version.

    Raises:
        MeasurementError: A file is not a measurement, or the two cannot be compared.
    """
    first = read_measurement(before, anyway=anyway)
    second = first if after is None else read_measurement(after, anyway=anyway)
    pairs = list(pair_results(first, second, before, after))
    obstacles = [
        *_differences(first["machine"], second["machine"], _MACHINE, "machine"),
        *_differences({"clock": "elapsed", **first}, {"clock": "elapsed", **second}, ("clock",), "times"),
        *_differences(first["frames"], second["frames"], ("source", "width", "height"), "frames"),
        *(found for (_, a), (_, b) in pairs for found in _head_differences(a, b) if after is not None),
    ]
    if obstacles and not anyway:
        raise MeasurementError(
            f"{shown(before)} and {shown(after or before)} cannot be compared: {'; '.join(dict.fromkeys(obstacles))}. "
            "Measure again under the same conditions, or compare them with --anyway"
        )
    models = tuple(_compared(a, b, within=after is None) for a, b in pairs)
    if not any(model.steps for model in models):
        raise MeasurementError(
            f"{shown(before)} and {shown(after or before)} have no step in common; {_AGAIN}"
        )
    return Comparison(models, tuple(dict.fromkeys([*obstacles, *_notes(first, second, before, after)])))


def read_measurement(path: Path, *, anyway: bool = False) -> dict[str, Any]:
    """Read a file that ``edgetl bench --json`` wrote, and check it.

    Args:
        path: The file.
        anyway: Accept another version if its fields are those of this one.

    Raises:
        MeasurementError: The file is missing, foreign, of another version, or contains no time.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise MeasurementError(f"{shown(path)} is too large for a result of 'edgetl bench --json'")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MeasurementError(f"cannot read {shown(path)}: {error.strerror or error}; {_AGAIN}") from error
    except (ValueError, RecursionError) as error:
        raise MeasurementError(f"{shown(path)} is not JSON; {_AGAIN}") from error
    if isinstance(found, dict) and "schema" not in found and {"timings", "machine"} <= found.keys():
        raise MeasurementError(
            f"{shown(path)} is from an older edgetl and contains no single times; {_AGAIN}"
        )
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise MeasurementError(f"{shown(path)} is not a result of 'edgetl bench --json'; {_AGAIN}")
    if found.get("version") != VERSION and not anyway:
        raise MeasurementError(
            f"{shown(path)} has version {found.get('version')} of the format, this edgetl reads version {VERSION}; "
            "measure again with this edgetl, or try --anyway"
        )
    try:
        _check(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"the field {error} is missing" if isinstance(error, KeyError) else error
        raise MeasurementError(f"{shown(path)} is damaged: {why}; {_AGAIN}") from error
    return found


def _check(found: Mapping[str, Any]) -> None:
    for part in ("machine", "frames"):
        if not isinstance(found[part], dict):
            raise TypeError(f"{part} is not an object")
    if not found["results"]:
        raise ValueError("no model was measured")
    for result in found["results"]:
        names = [result[part].get("name") for part in ("model", "runtime", "head")]
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a model, runtime or head has no name")
        if not result["timings"]:
            raise ValueError("a model has no timed step")
        for timing in result["timings"]:
            _check_samples(str(timing["step"]), timing["samples"])


def _check_samples(step: str, samples: Any) -> None:
    if not isinstance(samples, list) or not samples:
        raise ValueError(f"the step {step!r} has no runs")
    for sample in samples:
        if isinstance(sample, bool) or not isinstance(sample, int | float) or not 0 < sample < float("inf"):
            raise ValueError(f"the step {step!r} has the time {sample!r}, expected milliseconds")


def _head_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    # results of earlier versions do not contain "host"
    both = "host" in before["head"] and "host" in after["head"]
    return _differences(before["head"], after["head"], (*HEAD, "host") if both else HEAD, "head")


def _compared(before: Named, after: Named, *, within: bool) -> ModelComparison:
    (first, a), (second, b) = before, after
    times = [{timing["step"]: timing["samples"] for timing in found["timings"]} for found in (a, b)]
    steps = tuple(
        StepComparison.of(step, samples, times[1][step])
        for step, samples in times[0].items()
        if step in times[1]
    )
    differing = (
        *_differences(a["model"], b["model"], ("sha256", "quantization"), "model"),
        *_differences(a["runtime"], b["runtime"], ("name", "version", "threads", "delegate"), "runtime"),
        *(_head_differences(a, b) if within else ()),
    )
    return ModelComparison(first, second, differing, steps)


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], names: Sequence[str], what: str
) -> list[str]:
    return [
        f"{what}: {name} {_short(before.get(name))} and {_short(after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _short(value: Any) -> str:
    text = shown(str(value))
    return text if len(text) <= 40 else f"{text[:12]}..."


def _notes(
    first: Mapping[str, Any], second: Mapping[str, Any], before: Path, after: Path | None
) -> Iterator[str]:
    for path, found in ((before, first), *(((after, second),) if after is not None else ())):
        if found.get("partial"):
            yield f"{shown(path)} is partial: the measurement was interrupted"
        notes = found.get("notes")
        for note in notes if isinstance(notes, list) else ():
            yield f"{shown(path)}: {shown(str(note))}"
    if after is not None and (first.get("notes") or second.get("notes")):
        yield (
            "the conditions were not steady, so even the same model may be faster or slower in the second file; "
            "to compare models, measure them in one command"
        )
    yield from _differences(first["machine"], second["machine"], ("governor", "kernel", "python"), "machine")


def _as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_lists(item) for name, item in value.items()}
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value

"""Which results of two measurements belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import MeasurementError
from ..files import shown
from .grid import name_results

HEAD = ("name", "samples", "labels")
Named = tuple[str, Mapping[str, Any]]


def pair_results(
    first: Mapping[str, Any], second: Mapping[str, Any], before: Path, after: Path | None
) -> Iterator[tuple[Named, Named]]:
    """Yield the results to compare: the only two, or all of one file with its first, or those that are most alike.

    Args:
        first: The first measurement.
        second: The second, or the first again.
        before: The file of the first.
        after: The file of the second; None compares the first result of one file with the others.

    Raises:
        MeasurementError: There is no pair.
    """
    left, right = _named(first["results"]), _named(second["results"])
    if after is None:
        if len(left) < 2:
            raise MeasurementError(
                f"{shown(before)} contains one model; name a second file, or measure several models in one run"
            )
        yield from ((left[0], other) for other in right[1:])
        return
    if len(left) == len(right) == 1:
        yield left[0], right[0]
        return
    pairs = list(_alike(left, right))
    if not pairs:
        names = (", ".join(name for name, _ in part) for part in (left, right))
        raise MeasurementError("the files have no model in common: {} and {}".format(*names))
    yield from pairs


def _named(results: Sequence[Mapping[str, Any]]) -> list[Named]:
    return list(zip(name_results(results), results, strict=True))


def _alike(left: Sequence[Named], right: Sequence[Named]) -> Iterator[tuple[Named, Named]]:
    """Pair each result with an unused one of the same model: of the same combination, else of any if it is the only one."""
    free = list(right)
    for entry in left:
        same = [other for other in free if other[1]["model"]["name"] == entry[1]["model"]["name"]]
        match = next((other for other in same if _combination(other[1]) == _combination(entry[1])), None)
        if match is None and _lonely(entry, left) and len(same) == 1:
            match = same[0]
        if match is not None:
            free.remove(match)
            yield entry, match


def _lonely(entry: Named, entries: Sequence[Named]) -> bool:
    return [other["model"]["name"] for _, other in entries].count(entry[1]["model"]["name"]) == 1


def _combination(result: Mapping[str, Any]) -> tuple[Any, ...]:
    runtime, head = result["runtime"], result["head"]
    return (
        *(runtime.get(name) for name in ("name", "threads", "delegate")),
        *(head.get(name) for name in (*HEAD, "host")),
    )

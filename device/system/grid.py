"""The combinations that a measurement covers: runtimes, threads, delegates, heads and numbers of samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MeasurementError
from ..model.modelfile import ModelFile
from ..model.runtime import SHORT_NAMES

CPU, EDGETPU = DELEGATES = ("cpu", "edgetpu")


@dataclass(frozen=True)
class Teaching:
    """The head that is measured.

    Attributes:
        name: Its name.
        samples: Number of samples that it has learned; every lesson is forgotten again.
        labels: Number of labels of these samples.
        host: Whether it has also learned what the host taught, if the model file contains that.
    """

    name: str = "exact"
    samples: int = 200
    labels: int = 5
    host: bool = True


@dataclass(frozen=True)
class RuntimeChoice:
    """A runtime to measure with.

    Attributes:
        name: Name of its distribution; None is the runtime that this process uses.
        python: The Python that has it, such as that of another virtual environment; None is this one.
    """

    name: str | None = None
    python: str | None = None

    @classmethod
    def of(cls, text: str) -> RuntimeChoice:
        """Parse ``NAME`` or ``NAME=PYTHON``.

        Raises:
            MeasurementError: The name is unknown.

        Example:
            >>> RuntimeChoice.of("litert")
            RuntimeChoice(name='ai-edge-litert', python=None)
        """
        name, _, python = text.partition("=")
        if name not in SHORT_NAMES:
            raise MeasurementError(f"the runtime must be one of {', '.join(SHORT_NAMES)}, got {name!r}")
        return cls(SHORT_NAMES[name], python or None)

    def __str__(self) -> str:
        return f"{self.name or 'default'}{f'={self.python}' if self.python else ''}"


@dataclass(frozen=True)
class Combination:
    """One combination: a model file with a runtime, a number of threads, a delegate and a head."""

    path: Path
    runtime: RuntimeChoice
    threads: int | None
    delegate: str
    teaching: Teaching

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {
            "model": self.path.name,
            "runtime": str(self.runtime),
            "threads": self.threads,
            "delegate": self.delegate,
            "head": self.teaching.name,
            "samples": self.teaching.samples,
            "host": self.teaching.host,
        }


@dataclass(frozen=True)
class Grid:
    """The axes of a measurement: every combination of these is measured with every model.

    Attributes:
        runtimes: The runtimes.
        threads: Numbers of CPU threads; None is every core, at most four.
        delegates: ``cpu``, ``edgetpu``.
        heads: Names of heads.
        samples: Numbers of samples that the head has learned.
        labels: Number of labels of these samples.
        host: Whether the head has learned what the host taught: True, False or both. It matters only where the model file
            contains that.
    """

    runtimes: Sequence[RuntimeChoice] = (RuntimeChoice(),)
    threads: Sequence[int | None] = (None,)
    delegates: Sequence[str] = (CPU,)
    heads: Sequence[str] = ("exact",)
    samples: Sequence[int] = (200,)
    labels: int = 5
    host: Sequence[bool] = (True,)

    def combinations(self, models: Sequence[ModelFile]) -> Iterator[Combination]:
        """Yield the combinations, the models innermost, so that they are measured right after each other.

        Raises:
            MeasurementError: A delegate is unknown, or there are fewer samples than labels.
        """
        self._check()
        axes = itertools.product(
            self.samples, self.host, self.heads, self.delegates, self.threads, self.runtimes, models
        )
        for samples, host, head, delegate, threads, runtime, model in axes:
            if model.memory is None and host is not self.host[0]:
                continue  # the host taught nothing: both would be the same
            teaching = Teaching(head, samples, self.labels, host and model.memory is not None)
            yield Combination(model.path, runtime, threads, delegate, teaching)

    def _check(self) -> None:
        for delegate in self.delegates:
            if delegate not in DELEGATES:
                raise MeasurementError(
                    f"the delegate must be one of {', '.join(DELEGATES)}, got {delegate!r}"
                )
        if min(self.samples) < self.labels:
            raise MeasurementError(
                f"{self.labels} labels need at least as many samples, got {min(self.samples)}"
            )


def name_results(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name per result of a measurement: the model, and whatever differs among results of one model.

    Args:
        results: ``results`` of the JSON.
    """
    models = [str(result["model"]["name"]) for result in results]
    traits = [_traits(result) for result in results]
    telling = [
        place
        for place in range(len(_TRAITS))
        if len({(model, own[place]) for model, own in zip(models, traits, strict=True)}) > len(set(models))
    ]
    names = [
        ", ".join([model, *(own[place] for place in telling)])
        for model, own in zip(models, traits, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: row + 1].count(name)})"
        for row, name in enumerate(names)
    ]


_TRAITS = ("runtime", "threads", "delegate", "head", "samples", "host")


def _traits(result: Mapping[str, Any]) -> tuple[str, ...]:
    runtime, head = result["runtime"], result["head"]
    threads = runtime.get("threads")
    return (
        f"{runtime['name']} {runtime.get('version', '')}".strip(),
        f"{threads} thread{'' if threads == 1 else 's'}",
        str(runtime.get("delegate")),
        f"{head['name']} head",
        f"{head.get('samples')} samples",
        "with the host's" if head.get("host") else "without the host's",
    )

"""The result of a measurement, and its JSON."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from .energy import Energy
from .footprint import Footprint
from .grid import Combination
from .steps import Overhead
from .timing import Timing
from .warming import WarmUp

SCHEMA = "edgetl-bench"
VERSION = 1


@dataclass(frozen=True)
class Unavailable:
    """A combination that could not be measured.

    Attributes:
        combination: Its model, runtime, threads, delegate and head.
        reason: Why.
    """

    combination: Combination
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {**self.combination.to_dict(), "reason": self.reason}


@dataclass(frozen=True)
class Measured:
    """The times of one combination.

    Attributes:
        model: Name, backbone, dimensions, quantization, checksum, size, and the time to open it.
        runtime: Name, version, threads and delegate.
        head: Name of the head, and its number of samples and labels.
        warm_up: How it was warmed up.
        timings: One per step.
        overhead: What a prediction takes above the bare interpreter; None on an Edge TPU.
        footprint: Cold start and peak RAM in a process of its own; None if not measured.
        energy: Energy per prediction; None without a meter.
    """

    model: dict[str, Any]
    runtime: dict[str, Any]
    head: dict[str, Any]
    warm_up: WarmUp
    timings: tuple[Timing, ...]
    overhead: Overhead | None = None
    footprint: Footprint | None = None
    energy: Energy | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {
            "model": self.model,
            "runtime": self.runtime,
            "head": self.head,
            "warm_up": asdict(self.warm_up),
            "overhead": None if self.overhead is None else self.overhead.to_dict(),
            "footprint": None if self.footprint is None else asdict(self.footprint),
            "energy": None if self.energy is None else asdict(self.energy),
            "timings": [timing.to_dict() for timing in self.timings],
        }


@dataclass(frozen=True)
class Bench:
    """The result of `bench`.

    Attributes:
        machine: Board, CPU, governor and load; times mean nothing without them.
        conditions: Frequency, temperature, throttling and load before and after, the CPU time of other programs, peak
            RAM, and the file system of the lessons.
        frames: What was shown.
        results: One per combination.
        notes: Reasons not to trust the times.
        partial: Whether Ctrl-C or an error ended the measurement.
        error: The error that ended it.
        unavailable: The combinations that could not be measured.
        accuracy: What each model learns from photos, if that was measured.
        profile: The time of each layer of the backbones, if that was measured.
        clock: ``elapsed``, or ``cpu`` for the CPU time of one thread.
        when: Local time with its offset from UTC.
    """

    machine: dict[str, Any]
    conditions: dict[str, Any]
    frames: dict[str, Any]
    results: tuple[Measured, ...]
    notes: tuple[str, ...] = ()
    partial: bool = False
    error: str | None = None
    unavailable: tuple[Unavailable, ...] = ()
    accuracy: dict[str, Any] | None = None
    profile: dict[str, Any] | None = None
    clock: str = "elapsed"
    when: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S%z"))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values; docs/json.md describes them."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "when": self.when,
            "partial": self.partial,
            "error": self.error,
            "host": None,
            "clock": self.clock,
            "notes": list(self.notes),
            "machine": self.machine,
            "conditions": self.conditions,
            "frames": self.frames,
            "unavailable": [combination.to_dict() for combination in self.unavailable],
            "accuracy": self.accuracy,
            "profile": self.profile,
            "results": [found.to_dict() for found in self.results],
        }

"""Where the time of a backbone goes, by layer and by kind of op.

The wheels of LiteRT and tflite-runtime have no profiler that Python can read. So the backbone is cut after each op, the cuts
are timed in turn, and the difference between two neighbors is the cost of the op between them. The interpreter runs them
with the same delegate as the whole backbone. With one thread, CPU time is measured, which other programs disturb less.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.prefixes import Layer, Prefixes
from device.model.modelfile import ModelFile
from device.model.runtime import default_threads, load_runtime, open_interpreter
from device.progress import Progress, no_progress

METHOD = (
    "the backbone is cut after each op, neighboring cuts are timed in turn, and the difference of their 10th percentiles is "
    "the cost of the op; where a difference is negative, neighbors are averaged"
)
ROUNDS = 20
MOST = 10  # layers in the table
_AT_ONCE = 8  # interpreters that are open at once
_WARM = 3
_PERCENTILE = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LayerTime:
    """The time of one layer.

    Attributes:
        index: Its place, from 0.
        op: Kind of the op.
        name: Name of its output.
        shape: Shape of its output, for one frame.
        multiply_adds: Number of multiplications with addition; None for kinds that are not counted.
        ms: Its time.
        share: Its share of the time of all layers, 0 to 1.
    """

    index: int
    op: str
    name: str
    shape: tuple[int, ...]
    multiply_adds: int | None
    ms: float
    share: float


@dataclass(frozen=True)
class Profile:
    """The times of a backbone's layers.

    Attributes:
        name: Name of the model file.
        sha256: Checksum of its model part.
        runtime: Name and version of the runtime.
        threads: Number of CPU threads.
        clock: ``CPU time``, or ``elapsed time`` with several threads.
        rounds: How often each cut was timed.
        total_ms: Time of all layers.
        resolution_ms: Difference that chance explains; layers that take less cannot be distinguished from 0.
        layers: In the order in which they run.
    """

    name: str
    sha256: str
    runtime: str
    threads: int
    clock: str
    rounds: int
    total_ms: float
    resolution_ms: float
    layers: tuple[LayerTime, ...]

    def by_op(self) -> list[dict[str, Any]]:
        """Return the number of layers, the time and its share per kind of op, most expensive first."""
        kinds = sorted({layer.op for layer in self.layers})
        rows = []
        for kind in kinds:
            mine = [layer for layer in self.layers if layer.op == kind]
            ms, share = sum(layer.ms for layer in mine), sum(layer.share for layer in mine)
            rows.append({"op": kind, "layers": len(mine), "ms": round(ms, 4), "share": round(share, 4)})
        return sorted(rows, key=lambda row: -float(str(row["ms"])))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values; docs/json.md describes them."""
        return {
            **{name: value for name, value in asdict(self).items() if name != "layers"},
            "by_op": self.by_op(),
            "layers": [{**asdict(layer), "shape": list(layer.shape)} for layer in self.layers],
        }


def profile_models(
    models: Sequence[ModelFile],
    *,
    threads: int | None = None,
    rounds: int = ROUNDS,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Return the profiles of models, JSON-serializable, with the method.

    Raises:
        ModelFileError: A backbone cannot be cut.
    """
    distinct = {model.sha256: model for model in models}.values()
    found = [profile(model, threads=threads, rounds=rounds, progress=progress) for model in distinct]
    return {"method": METHOD, "models": [one.to_dict() for one in found]}


def profile(
    model: ModelFile,
    *,
    threads: int | None = None,
    rounds: int = ROUNDS,
    progress: Progress = no_progress,
    clock: Callable[[], float] | None = None,
) -> Profile:
    """Time the layers of a backbone on the CPU.

    Args:
        model: The model file.
        threads: CPU threads; by default every core, at most four.
        rounds: How often each cut is timed.
        progress: Receives the number of layers.
        clock: Returns seconds; by default CPU time with one thread, else elapsed time.

    Raises:
        ModelFileError: The backbone cannot be cut.
    """
    prefixes, threads = Prefixes(model.model_part()), threads or default_threads()
    clock = clock or (time.thread_time if threads == 1 else time.perf_counter)
    sides = model.manifest.preprocessing
    frame = np.random.default_rng(0).integers(
        0, 256, (1, sides.height, sides.width, sides.channels), np.uint8
    )
    count = len(prefixes.layers)
    ends, errors = np.zeros(count + 1), []  # milliseconds up to each layer
    for start in range(0, count, _AT_ONCE):
        stop = min(count, start + _AT_ONCE)
        runs = [
            _open(prefixes.cut(number), frame, threads, model) for number in range(max(1, start), stop + 1)
        ]
        times = _time_in_turn(runs, rounds, clock)  # [prefixes, rounds]
        low = np.percentile(times, _PERCENTILE, axis=1)
        errors += _disagreements(times).tolist()
        # the first cut is also the last of the chunk before: what the machine did meanwhile is subtracted
        base = low[0] - ends[start] if start else 0.0
        ends[start + 1 : stop + 1] = (low[1:] if start else low) - base
        progress(f"layers of {model.path.name}", stop, count)
    costs = np.diff(_rising(ends))
    runtime = load_runtime()
    return Profile(
        model.path.name,
        model.sha256,
        str(runtime),
        threads,
        "CPU time" if clock is time.thread_time else "elapsed time",
        rounds,
        round(float(costs.sum()), 4),
        round(2.1 * float(np.median(errors)), 4),
        tuple(
            _layer_time(layer, cost, float(costs.sum()))
            for layer, cost in zip(prefixes.layers, costs.tolist(), strict=True)
        ),
    )


def _open(part: bytes, frame: NDArray[np.uint8], threads: int, model: ModelFile) -> Callable[[], object]:
    interpreter = open_interpreter(part, threads=threads, name=str(model.path))
    source = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(source, frame.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source, frame)
    for _ in range(_WARM):
        interpreter.invoke()
    run: Callable[[], object] = interpreter.invoke
    return run


def _time_in_turn(runs: Sequence[Callable[[], object]], rounds: int, clock: Callable[[], float]) -> Floats:
    """Return milliseconds, float64 [len(runs), rounds]."""
    times = np.zeros((len(runs), rounds))
    for number in range(rounds):
        for place, run in enumerate(runs):
            begin = clock()
            run()
            times[place, number] = 1000 * (clock() - begin)
    return times


def _disagreements(times: Floats) -> Floats:
    """Return how much the estimates of even and odd rounds differ, per cut, float64 [len(times)].

    If each estimate from all rounds has the standard error s, half the rounds have sqrt(2) s, their difference 2 s, and its
    median size is 1.35 s. A difference of two neighbors has sqrt(2) s, so two standard errors of it are 2.1 such medians.
    """
    even, odd = (np.percentile(times[:, part::2], _PERCENTILE, axis=1) for part in (0, 1))
    differences: Floats = np.abs(even - odd)
    return differences


def _rising(ends: Floats) -> Floats:
    """Return the nearest values (least squares) that never fall: pool adjacent violators.

    Example:
        >>> _rising(np.array([0.0, 2.0, 1.0, 4.0])).tolist()
        [0.0, 1.5, 1.5, 4.0]
    """
    blocks: list[tuple[float, int]] = []
    for value in ends.tolist():
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (later, n), (earlier, m) = blocks.pop(), blocks.pop()
            blocks.append(((later * n + earlier * m) / (n + m), n + m))
    return np.concatenate([np.full(count, value) for value, count in blocks])


def _layer_time(layer: Layer, ms: float, total: float) -> LayerTime:
    return LayerTime(**asdict(layer), ms=round(ms, 4), share=round(ms / total, 4) if total > 0 else 0.0)

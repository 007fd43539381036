"""How much slower are our embeddings and predictions than the bare interpreter? The goal is 3 %, without preprocessing.

Usage: ``python -m benchmarks.overhead [MODEL] [--pairs 300] [--threads N ...] [--check]``

The bare interpreter and ours run alternately in one process, each on its own interpreter, so that other load on the
machine affects both alike. A ratio is the median over neighboring pairs of the processor time, which other programs change
less than the time on the clock; the table shows both. With several threads, those that wait use the processor too, so the
goal is set for one thread. *embed* is `Embedder.embed_one`; *predict* is `Learner.predict_one` with a state of 200 samples of
5 labels, which also looks for samples that other processes taught. The result also shows the gain from XNNPACK, which the
runtimes enable by default and edgetl leaves enabled.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.cameras.fake import draw
from device.images import Image
from device.learner import Learner
from device.model.modelfile import ModelFile
from device.model.runtime import load_runtime, open_interpreter

from .figures import Figure
from .machine import model_to_measure, percentiles
from .measurement import Measurement, Table, question_parser

LIMIT = 1.03
SAMPLES, LABELS = 200, 5
Run = Callable[[], Any]
Times = dict[str, list[float]]


def measure(path: Path, threads: int, pairs: int, warm_up: int = 20, seed: int = 0) -> dict[str, Any]:
    """Time `pairs` of bare passes, embeddings and predictions of the model file at `path`."""
    image = _image(path, seed)
    bare = bare_run(path, image, threads)
    with taught(path, threads) as learner:
        runs: dict[str, Run] = {
            "bare": bare,
            "embed": lambda: learner.embed_one(image),
            "predict": lambda: learner.predict_one(image),
        }
        if not np.array_equal(bare(), runs["embed"]()):
            raise SystemExit("bare and ours return different embeddings, so their times cannot be compared")
        clock, processor = interleaved(runs, pairs, warm_up)
    ours = ("embed", "predict")
    return {
        "threads": threads,
        "pairs": pairs,
        **{name: percentiles(row) for name, row in clock.items()},
        "ratios": {name: paired_ratio(processor[name], processor["bare"]) for name in ours},
        "ratios_on_the_clock": {name: paired_ratio(clock[name], clock["bare"]) for name in ours},
        "processor": {name: percentiles(row) for name, row in processor.items()},
    }


def interleaved(runs: dict[str, Run], rounds: int, warm_up: int = 1) -> tuple[Times, Times]:
    """Return the seconds of each run in each round, on the clock and of this process's processor time.

    The order of the runs is reversed from round to round.
    """
    clock: Times = {name: [] for name in runs}
    processor: Times = {name: [] for name in runs}
    for number in range(-warm_up, rounds):
        for name, run in runs.items() if number % 2 else reversed(runs.items()):
            start, work = time.perf_counter(), time.process_time()
            run()
            if number >= 0:
                processor[name].append(time.process_time() - work)
                clock[name].append(time.perf_counter() - start)
    return clock, processor


def paired_ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median ratio of neighboring pairs."""
    return round(statistics.median(mine / plain for mine, plain in zip(ours, theirs, strict=True)), 4)


@contextmanager
def taught(path: Path, threads: int, seed: int = 0) -> Iterator[Learner]:
    """Open a learner with a state of 200 samples, which does not preprocess: `edgetl bench` times that."""
    chooser = np.random.default_rng(seed)
    model = ModelFile.open(path)
    middles = chooser.exponential(1, (LABELS, model.manifest.dimensions))
    owners = np.arange(SAMPLES) % LABELS
    embeddings = np.maximum(middles[owners] + chooser.normal(size=(SAMPLES, model.manifest.dimensions)), 0)
    with (
        tempfile.TemporaryDirectory() as folder,
        Learner.open(path, Path(folder) / "state.db", threads=threads, thumbnails=False) as learner,
    ):
        labels = [f"label {owner}" for owner in owners]
        learner.learn_many([draw("red")] * SAMPLES, labels, embeddings=embeddings.astype(np.float32))
        learner.embedder._prepare = lambda image: image
        yield learner


def xnnpack_gain(path: Path, threads: int, pairs: int, seed: int = 0) -> dict[str, Any]:
    """Time the bare backbone with the runtime's default delegate, XNNPACK, and without a delegate."""
    runtime = load_runtime()
    kinds = sys.modules[runtime.interpreter_class.__module__].OpResolverType
    plain = runtime.interpreter_class(
        model_path=str(path),
        num_threads=threads,
        experimental_op_resolver_type=kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    image = _image(path, seed)
    runs = {"with": bare_run(path, image, threads), "without": _runner(plain, image)}
    times, processor = interleaved(runs, pairs)
    return {
        "threads": threads,
        **{name: percentiles(row) for name, row in times.items()},
        "gain": paired_ratio(processor["without"], processor["with"]),
    }


def bare_run(path: Path, image: Image, threads: int) -> Run:
    """Return a function that embeds `image` as a hand-written program does: the first subgraph is the backbone."""
    return _runner(open_interpreter(path, threads=threads), image)


def _runner(interpreter: Any, image: Image) -> Run:
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], (1, *image.shape))
    interpreter.allocate_tensors()

    def run() -> NDArray[Any]:
        interpreter.set_tensor(source["index"], image[np.newaxis])
        interpreter.invoke()
        embedding: NDArray[Any] = interpreter.get_tensor(target["index"])[0]
        return embedding

    return run


def _image(path: Path, seed: int) -> Image:
    sides = ModelFile.open(path).manifest.preprocessing
    shape = (sides.height, sides.width, sides.channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def figures(results: list[dict[str, Any]], gains: list[dict[str, Any]]) -> list[Figure]:
    """Return what is compared."""
    # with more threads, those that wait spin, which counts as work: these ratios are less certain
    found = [
        Figure(f"{step}, {threads(row)}", row["ratios"][step], tolerance=1.05, goal=LIMIT)
        if row["threads"] == 1
        else Figure(f"{step}, {threads(row)}", row["ratios"][step], tolerance=1.1)
        for step in ("embed", "predict")
        for row in results
    ]
    found += [
        Figure(f"bare pass, {threads(row)}", row["processor"]["bare"]["p50_ms"], "ms", tolerance=1.5)
        for row in results
    ]
    # threads that wait use the processor longer without XNNPACK, so only one thread is compared
    gained = [(f"gain from XNNPACK, {threads(row)}", row["gain"]) for row in gains if row["threads"] == 1]
    return found + [Figure(name, gain, better="higher", tolerance=1.3) for name, gain in gained]


def threads(row: dict[str, Any]) -> str:
    """Return the number of threads in words."""
    return "1 thread" if row["threads"] == 1 else f"{row['threads']} threads"


def table(results: list[dict[str, Any]]) -> Table:
    """Return the times behind the ratios."""
    rows = [
        (
            step,
            row["threads"],
            row["processor"][step]["p50_ms"],
            *(row[step][f"p{p}_ms"] for p in (50, 95, 99)),
        )
        for row in results
        for step in ("bare", "embed", "predict")
    ]
    more = results[0]["processor"]["predict"]["p50_ms"] - results[0]["processor"]["embed"]["p50_ms"]
    return Table(
        "Times",
        ("step", "threads", "processor, p50, ms", "clock, p50, ms", "p95, ms", "p99, ms"),
        tuple(rows),
        f"A prediction takes {more:.2f} ms more than an embedding: the map, the scores, the unknown score, and a query for what "
        "other processes taught. This does not depend on the backbone, so the share is smaller where the backbone is slower.",
    )


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("overhead", __doc__, model=True)
    parser.add_argument("--pairs", type=int, default=300, help="Number of pairs.  [default: 300]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="Threads.  [default: 1 2]")
    options = parser.parse_args()
    model = model_to_measure(options.model)
    measurement = Measurement("overhead", seed=0)
    results = [measure(model, threads, options.pairs) for threads in options.threads]
    gains = [xnnpack_gain(model, threads, max(1, options.pairs // 16)) for threads in options.threads]
    details = {"results": results, "xnnpack": gains}
    measurement.finish(measurement.result(figures(results, gains), [table(results)], details), options)


if __name__ == "__main__":
    main()

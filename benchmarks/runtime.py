"""How much slower is our embedding than the bare interpreter? The limit is 3 %, without preprocessing.

Usage: ``python -m benchmarks.runtime [MODEL] [--pairs 400] [--threads N ...]``

The result also shows the gain from XNNPACK, which the runtimes enable by default and edgetl leaves enabled.

The bare interpreter and ours run alternately in one process, each on its own interpreter, so that other load on the
machine affects both alike. The ratio is the median over neighboring pairs.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from device.model.runtime import load_runtime, open_interpreter

from .machine import end_judged, machine_info, model_to_measure, parser_of, percentiles, warn_of_noise

LIMIT = 1.03


def measure(path: Path, threads: int, pairs: int, warm_up: int = 20, seed: int = 0) -> dict[str, Any]:
    """Time `pairs` of bare passes and our passes of the model file at `path`."""
    model = ModelFile.open(path)
    sides = model.manifest.preprocessing
    image = np.random.default_rng(seed).integers(
        0, 256, (sides.height, sides.width, sides.channels), np.uint8
    )
    bare, ours = _bare(path, image, threads), _ours(model, image, threads)
    if not np.array_equal(bare(), ours()):
        raise SystemExit("bare and ours return different embeddings, so their times cannot be compared")
    for _ in range(warm_up):
        bare(), ours()
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for number in range(pairs):
        order = [("bare", bare), ("ours", ours)]
        for name, action in order if number % 2 else reversed(order):
            start = time.perf_counter()
            action()
            times[name].append(time.perf_counter() - start)
    ratios = [mine / plain for mine, plain in zip(times["ours"], times["bare"], strict=True)]
    return {
        "threads": threads,
        "pairs": pairs,
        "bare": percentiles(times["bare"]),
        "ours": percentiles(times["ours"]),
        "ratio": round(statistics.median(ratios), 4),
        "limit": LIMIT,
    }


def xnnpack_gain(path: Path, threads: int, pairs: int, seed: int = 0) -> dict[str, Any]:
    """Time the bare backbone with the runtime's default delegate, XNNPACK, and without a delegate."""
    runtime = load_runtime()
    kinds = sys.modules[runtime.interpreter_class.__module__].OpResolverType
    plain = runtime.interpreter_class(
        model_path=str(path),
        num_threads=threads,
        experimental_op_resolver_type=kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    sides = ModelFile.open(path).manifest.preprocessing
    image = np.random.default_rng(seed).integers(
        0, 256, (sides.height, sides.width, sides.channels), np.uint8
    )
    runs = {"with": _bare(path, image, threads), "without": _runner(plain, image)}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(pairs + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - start)
    ratios = [slow / fast for slow, fast in zip(times["without"], times["with"], strict=True)]
    return {
        "threads": threads,
        **{name: percentiles(row) for name, row in times.items()},
        "gain": round(statistics.median(ratios), 3),
    }


def _bare(path: Path, image: Any, threads: int) -> Callable[[], Any]:
    # as a hand-written program does: the first subgraph is the backbone
    return _runner(open_interpreter(path, threads=threads), image)


def _runner(interpreter: Any, image: Any) -> Callable[[], Any]:
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(source["index"], (1, *image.shape))
    interpreter.allocate_tensors()

    def run() -> Any:
        interpreter.set_tensor(source["index"], image[np.newaxis])
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])[0]

    return run


def _ours(model: ModelFile, image: Any, threads: int) -> Callable[[], Any]:
    embedder = Embedder(model, threads=threads)
    embedder._prepare = lambda image: image  # `edgetl bench` times preprocessing
    return lambda: embedder.embed_one(image)


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__, model=True)
    parser.add_argument("--pairs", type=int, default=400, help="Number of pairs.  [default: 400]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="Threads.  [default: 1 2]")
    options = parser.parse_args()
    model = model_to_measure(options.model)
    warn_of_noise()
    results = [measure(model, threads, options.pairs) for threads in options.threads]
    gains = [xnnpack_gain(model, threads, max(1, options.pairs // 16)) for threads in options.threads]
    passed = all(result["ratio"] <= LIMIT for result in results)
    end_judged(
        {"machine": machine_info(0), "results": results, "xnnpack": gains, "passed": passed}, options.out
    )


if __name__ == "__main__":
    main()

"""How far is an embedding from what this machine can do at most?

Usage: ``python -m benchmarks.roofline [MODEL] [--repeats 60] [--check]``

The multiply-adds and bytes of each op are computed from the flatbuffer. The peaks of int8, float32 and memory are measured in
the same run, on one thread, as the shortest processor time of matrix products in the runtime and of copies of large arrays.
An op can take no less than its multiply-adds at the peak, and no less than its bytes at the bandwidth; the *limit* is the
sum over all ops of the longer one of both (Williams, Waterman and Patterson 2009). Bytes that stay in a cache arrive faster, so
this limit is somewhat too high. *Compute* counts the multiply-adds alone, and nothing can be faster.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from device.model.modelfile import ModelFile

from . import peaks
from .figures import Figure
from .machine import model_to_measure
from .measurement import Measurement, Table, question_parser
from .operations import Operation, operations
from .overhead import bare_run

_BYTE_WIDE = ("int8", "int16x8")  # formats of the backbone that multiply integers


def measure(path: Path, repeats: int = 60) -> dict[str, Any]:
    """Measure the peaks and an embedding, and compute the limits."""
    model = ModelFile.open(path)
    sides = model.manifest.preprocessing
    image = np.zeros((sides.height, sides.width, sides.channels), np.uint8)
    run = bare_run(path, image, 1)
    first = peaks.shortest(run, repeats // 2)
    peak = {dtype: peaks.multiply_adds_per_second(dtype) for dtype in ("int8", "float32")}
    bandwidth = peaks.bytes_per_second()
    measured = min(first, peaks.shortest(run, repeats - repeats // 2))
    dtype = "int8" if str(model.manifest.quantization) in _BYTE_WIDE else "float32"
    work = operations(model.model_part())
    limit, compute = (1000 * seconds for seconds in limits(work, peak[dtype], bandwidth))
    return {
        "backbone": model.manifest.backbone,
        "format": dtype,
        "multiply_adds": sum(one.multiply_adds for one in work),
        "bytes": sum(one.bytes for one in work),
        "ops": grouped(work),
        "peaks": {name: round(value / 1e9, 2) for name, value in peak.items()},
        "gigabytes_per_second": round(bandwidth / 1e9, 2),
        "limit_ms": round(limit, 4),
        "compute_ms": round(compute, 4),
        "embedding_ms": round(1000 * measured, 4),
    }


def limits(work: list[Operation], peak: float, bandwidth: float) -> tuple[float, float]:
    """Return the seconds that the ops need at least with memory, and with multiply-adds alone.

    Args:
        work: The ops.
        peak: Multiply-adds per second.
        bandwidth: Bytes per second.
    """
    return (
        sum(max(one.multiply_adds / peak, one.bytes / bandwidth) for one in work),
        sum(one.multiply_adds for one in work) / peak,
    )


def grouped(work: list[Operation]) -> list[dict[str, Any]]:
    """Return the sums per kind of op, the one with most multiply-adds first."""
    rows = []
    for name in sorted({one.name for one in work}):
        own = [one for one in work if one.name == name]
        rows.append(
            {
                "name": name,
                "ops": len(own),
                "multiply_adds": sum(one.multiply_adds for one in own),
                "bytes": sum(one.bytes for one in own),
            }
        )
    return sorted(rows, key=lambda row: -int(str(row["multiply_adds"])))


def figures(result: dict[str, Any]) -> list[Figure]:
    """Return what is compared."""
    return [
        Figure("embedding / limit", round(result["embedding_ms"] / result["limit_ms"], 3), tolerance=1.3),
        Figure("embedding / compute", round(result["embedding_ms"] / result["compute_ms"], 3), tolerance=1.3),
        Figure(
            "int8 / float32 peak",
            round(result["peaks"]["int8"] / result["peaks"]["float32"], 3),
            "x",
            "higher",
            1.4,
        ),
        Figure(
            "multiply-adds of the backbone", round(result["multiply_adds"] / 1e6, 1), "million", tolerance=1.0
        ),
    ]


def tables(result: dict[str, Any]) -> list[Table]:
    """Return the limits and the work."""
    limit = Table(
        "The limit of one thread",
        ("", "value"),
        (
            ("int8, giga multiply-adds per second", result["peaks"]["int8"]),
            ("float32, giga multiply-adds per second", result["peaks"]["float32"]),
            ("memory, GB per second", result["gigabytes_per_second"]),
            (f"{result['backbone']}, {result['format']}: multiply-adds alone, ms", result["compute_ms"]),
            ("the same with memory: the limit, ms", result["limit_ms"]),
            ("measured, ms", result["embedding_ms"]),
        ),
        "Processor time, the shortest of many runs.",
    )
    work = Table(
        "The work of an embedding",
        ("op", "ops", "million multiply-adds", "MB", "multiply-adds per byte"),
        tuple(
            (
                row["name"],
                row["ops"],
                row["multiply_adds"] / 1e6,
                row["bytes"] / 1e6,
                row["multiply_adds"] / row["bytes"],
            )
            for row in result["ops"]
        ),
        "Bytes of inputs, weights and outputs, each counted once per op.",
    )
    return [limit, work]


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("roofline", __doc__, model=True)
    parser.add_argument("--repeats", type=int, default=60, help="Embeddings that are timed.  [default: 60]")
    options = parser.parse_args()
    model = model_to_measure(options.model)
    measurement = Measurement("roofline")
    result = measure(model, options.repeats)
    pictures = [
        {"file": "roofline.svg", "text": "Roofline: multiply-adds per second over multiply-adds per byte"}
    ]
    finished = measurement.result(figures(result), tables(result), {"roofline": result, "pictures": pictures})
    measurement.finish(finished, options)


if __name__ == "__main__":
    main()

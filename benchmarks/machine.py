"""What a time was measured on; every benchmark's JSON carries it.

Run ``python -m benchmarks.machine`` to see it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from device.errors import RuntimeMissingError
from device.model.runtime import load_runtime
from device.system import health
from device.system.timing import Timing, doubts

# distribution -> how it is called in the report
_PACKAGES = {
    "edgetl": "edgetl",
    "numpy": "numpy",
    "opencv-python-headless": "opencv",
    "opencv-python": "opencv",
    "tensorflow": "tensorflow",
    "scikit-learn": "scikit-learn",
}


def machine_info(seed: int | None = None) -> dict[str, Any]:
    """Describe this machine and the versions in use.

    Args:
        seed: The benchmark's seed, when it has one.

    Returns:
        A JSON-able dict: board, cpu, cores, load, governor, memory, system, python, runtime, versions, when.
    """
    memory = health.memory()
    return {
        **health.describe_machine(),
        "memory_mb": round(memory[1] / 1e6) if memory else None,
        "runtime": _runtime(),
        "versions": versions(),
        "seed": seed,
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": " ".join([Path(sys.argv[0]).stem, *sys.argv[1:]]),
    }


def versions() -> dict[str, str]:
    """Give the versions of the packages that matter, without importing them."""
    found = {}
    for distribution, name in _PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def warn_of_noise(stream: Any = None) -> None:
    """Say on `stream`, by default stderr, what makes times measured now untrustworthy."""
    for doubt in doubts(health.describe_machine()):
        print(f"note: {doubt}", file=stream or sys.stderr)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Give p50, p95 and p99 of times, in milliseconds."""
    timing = Timing.of("", seconds)
    return {"p50_ms": timing.p50, "p95_ms": timing.p95, "p99_ms": timing.p99}


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """Give a parser with the first line of `doc`, an optional model, and ``--out``."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("model", type=Path, nargs="?", help="By default int8 EfficientNet-Lite0.")
    parser.add_argument("--out", type=Path, help="Where the result is written.  [default: stdout]")
    return parser


def model_to_measure(given: Path | None) -> Path:
    """Give the model file that was named, else int8 EfficientNet-Lite0, converted once into the cache."""
    if given is not None:
        return given
    folder = Path(os.environ.get("EDGETL_CACHE") or Path.home() / ".cache" / "edgetl")
    made = folder / "base.tflite"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        convert = ("convert", "efficientnet-lite0", "--quantize", "int8", "--out", str(made))
        subprocess.run([sys.executable, "-m", "edgetl", *convert], check=True, stdout=sys.stderr)
    return made


def write_result(result: dict[str, Any], out: Path | None) -> None:
    """Write a benchmark's result as JSON: to the file `out`, else on stdout."""
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    if out is None:
        print(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
        print(f"wrote {out}", file=sys.stderr)


def end_judged(result: dict[str, Any], out: Path | None) -> NoReturn:
    """Write a result that says whether it ``passed``, and leave with 0 when it did, else with 1."""
    write_result(result, out)
    raise SystemExit(0 if result["passed"] else 1)


def _runtime() -> str | None:
    try:
        return str(load_runtime())
    except RuntimeMissingError:
        return None


if __name__ == "__main__":
    write_result(machine_info(), None)

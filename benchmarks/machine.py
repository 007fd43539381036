"""What the benchmarks share: a description of the machine, a command line, and JSON output.

Usage: ``python -m benchmarks.machine`` prints the description that every result contains.
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
from device.system.conditions import doubts
from device.system.timing import Timing

# distribution -> its name in the result
_PACKAGES = {
    "edgetl": "edgetl",
    "numpy": "numpy",
    "opencv-python-headless": "opencv",
    "opencv-python": "opencv",
    "tensorflow": "tensorflow",
    "scikit-learn": "scikit-learn",
    "river": "river",
}


def machine_info(seed: int | None = None) -> dict[str, Any]:
    """Describe this machine and the versions in use.

    Args:
        seed: The benchmark's seed, if it has one.

    Returns:
        A JSON-serializable dict: board, cpu, cores, load, governor, memory, system, python, runtime, versions, when.
    """
    ram = health.ram()
    return {
        **health.describe_machine(),
        "memory_mb": round(ram[1] / 1e6) if ram else None,
        "runtime": _runtime(),
        "versions": versions(),
        "seed": seed,
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": " ".join([Path(sys.argv[0]).stem, *_without_paths(sys.argv[1:])]),
    }


def versions() -> dict[str, str]:
    """Return the installed versions of the packages that affect results, without importing them."""
    found = {}
    for distribution, name in _PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def warn_of_noise(stream: Any = None) -> None:
    """Write to `stream`, by default stderr, why times measured now are unreliable."""
    for doubt in doubts(health.describe_machine()):
        print(f"note: {doubt}", file=stream or sys.stderr)


def process_memory(field: str) -> int:
    """Return a field of /proc/self/status in bytes, such as ``VmRSS`` or ``VmHWM``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 of `seconds`, in milliseconds."""
    timing = Timing.of("", seconds)
    return {"p50_ms": timing.p50, "p95_ms": timing.p95, "p99_ms": timing.p99}


def parser_of(doc: str | None, *, model: bool = False, out: Path | None = None) -> argparse.ArgumentParser:
    """Return a command-line parser with ``--out``.

    Args:
        doc: The benchmark's module docstring. It becomes the description, without the paragraph that shows the usage.
        model: Add an optional argument for the model file to measure.
        out: Default of ``--out``; None is stdout.
    """
    paragraphs = (doc or "").strip().split("\n\n")
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{Path(sys.argv[0]).stem}",
        description="\n\n".join(part for part in paragraphs if not part.startswith("Usage:")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if model:
        parser.add_argument(
            "model", type=Path, nargs="?", help="Model file.  [default: int8 EfficientNet-Lite0]"
        )
    default = out.relative_to(Path(__file__).resolve().parents[1]) if out else "stdout"
    parser.add_argument("--out", type=Path, default=out, help=f"Write the result here.  [default: {default}]")
    return parser


def model_to_measure(given: Path | None) -> Path:
    """Return the model file `given`, or int8 EfficientNet-Lite0, which is converted once and kept in the cache."""
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
    """Write a benchmark's result as JSON to the file `out`, or to stdout if `out` is None."""
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    if out is None:
        print(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
        print(f"wrote {out}", file=sys.stderr)


def end_judged(result: dict[str, Any], out: Path | None) -> NoReturn:
    """Write `result` and exit with status 0 if ``result["passed"]`` is true, otherwise 1."""
    write_result(result, out)
    raise SystemExit(0 if result["passed"] else 1)


def _without_paths(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments without folders of this machine and without where the result goes."""
    kept = [
        argument
        for before, argument in zip(["", *arguments], arguments, strict=False)
        if "--out" not in (before, argument) and argument not in ("--check", "--record")
    ]
    return [Path(argument).name if Path(argument).is_absolute() else argument for argument in kept]


def _runtime() -> str | None:
    try:
        return str(load_runtime())
    except RuntimeMissingError:
        return None


if __name__ == "__main__":
    write_result(machine_info(), parser_of(__doc__).parse_args().out)

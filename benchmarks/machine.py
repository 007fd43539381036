"""What a time was measured on; every benchmark's JSON carries it.

Run ``python -m benchmarks.machine`` to see it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from device import health
from device.errors import RuntimeMissingError
from device.runtime import load_runtime

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
        "board": health.board() or "not a single-board computer",
        "cpu": health.cpu(),
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "load": round(os.getloadavg()[0], 2),
        "governor": ", ".join(health.governors()) or "not governed",
        "temperature": health.temperature(),
        "memory_mb": round(memory[1] / 1e6) if memory else None,
        "system": health.operating_system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
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


def usable_cores() -> int:
    """Give the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def warn_of_noise(stream: Any = sys.stderr) -> None:
    """Say on `stream` what makes times measured now untrustworthy."""
    governors = health.governors()
    if governors and governors != ("performance",):
        print(f"note: the CPU governor is {', '.join(governors)}, not performance", file=stream)
    if os.getloadavg()[0] > 0.5 * usable_cores():
        print(f"note: the machine is busy (load {os.getloadavg()[0]:.1f}); trust ratios only", file=stream)


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Give p50, p95 and p99 of times, in milliseconds."""
    ordered = sorted(seconds)
    return {
        f"p{share}_ms": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 4)
        for share in (50, 95, 99)
    }


def write_result(result: dict[str, Any], out: Path | None) -> None:
    """Write a benchmark's result as JSON: to the file `out`, else on stdout."""
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    if out is None:
        print(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
        print(f"wrote {out}", file=sys.stderr)


def _runtime() -> str | None:
    try:
        return str(load_runtime())
    except RuntimeMissingError:
        return None


if __name__ == "__main__":
    write_result(machine_info(), None)

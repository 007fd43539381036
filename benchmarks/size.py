"""How much disk space does an installation on a device take, and is there a wheel for every board?

Usage: ``python -m benchmarks.size [--wheel FILE] [--no-aarch64]``

Installs the wheel with ``[device]`` into a fresh virtual environment and measures its size: the limit is 330 MB,
without TensorFlow. Then checks that every dependency has an aarch64 wheel for each supported Python. Needs access to
the package registry.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from .figures import Figure
from .measurement import Measurement, Table, question_parser

REPOSITORY = Path(__file__).parents[1]
LIMIT_MB = 330.0
PYTHONS = ("311", "312", "313")
PLATFORMS = (
    "manylinux_2_28_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux_2_17_aarch64",
    "manylinux2014_aarch64",
)
FORBIDDEN = {"tensorflow", "keras", "scipy", "pandas", "matplotlib", "torch"}


def pip(python: Path | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pip of the interpreter `python`, quietly."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of edgetl and return its path."""
    done = pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(REPOSITORY))
    if done.returncode:
        raise SystemExit(f"cannot build the wheel:\n{done.stderr}")
    return next(folder.glob("edgetl-*.whl"))


def installed(wheel: Path, folder: Path) -> dict[str, Any]:
    """Install into a fresh environment and measure what pip added, without byte code."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    packages = next((folder / "venv" / "lib").glob("python3*/site-packages"))
    own = {path.name for path in packages.iterdir()}
    done = pip(python, "install", "--no-compile", f"{wheel}[device]")
    if done.returncode:
        raise SystemExit(f"cannot install the wheel:\n{done.stderr}")
    sizes = {path.name: weigh(path) for path in packages.iterdir() if path.name not in own}
    present = {name for name in FORBIDDEN if name in sizes}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    return {
        "total_mb": round(sum(sizes.values()), 1),
        "limit_mb": LIMIT_MB,
        "largest_mb": {name: round(size, 1) for name, size in largest},
        "host_packages": sorted(present),
        "help_works": subprocess.run(
            [python, "-m", "edgetl", "--help"], capture_output=True, cwd=folder, check=False
        ).returncode
        == 0,
    }


def weigh(path: Path) -> float:
    """Return the size of a file or folder in MB (10^6 bytes)."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file()) / 1e6


def aarch64(wheel: Path, folder: Path) -> dict[str, str]:
    """Return per Python whether all dependencies have aarch64 wheels: "complete", or pip's error."""
    answers = {}
    for version in PYTHONS:
        options = [part for platform in PLATFORMS for part in ("--platform", platform)]
        done = pip(
            sys.executable,
            # a dry run reads only the metadata and downloads no wheel
            *("install", "--dry-run", "--only-binary=:all:", "--python-version", version, *options),
            *("--target", str(folder / version), f"{wheel}[device]"),
        )
        answers[version] = "complete" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
    return answers


def figures(result: dict[str, Any]) -> list[Figure]:
    """Return what is compared."""
    return [Figure("installed", result["total_mb"], "MB", tolerance=1.1, goal=LIMIT_MB)]


def table(result: dict[str, Any]) -> Table:
    """Return the largest distributions, and whether there is a wheel for aarch64."""
    rows = [(name, size, None) for name, size in result["largest_mb"].items()]
    rows += [
        (f"aarch64, Python {version[0]}.{version[1:]}", None, answer)
        for version, answer in result["aarch64"].items()
    ]
    return Table("The largest parts, and wheels for aarch64", ("part", "MB", "wheels"), tuple(rows))


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("size", __doc__)
    parser.add_argument("--wheel", type=Path, help="Wheel to install.  [default: a new one]")
    parser.add_argument("--no-aarch64", action="store_true", help="Do not check for aarch64 wheels.")
    options = parser.parse_args()
    measurement = Measurement("size")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wheel = options.wheel or build_wheel(folder)
        result = installed(wheel, folder)
        result["aarch64"] = {} if options.no_aarch64 else aarch64(wheel, folder)
    passed = (
        result["total_mb"] < LIMIT_MB
        and not result["host_packages"]
        and result["help_works"]
        and all(answer == "complete" for answer in result["aarch64"].values())
    )
    finished = measurement.result(figures(result), [table(result)], result)
    measurement.finish(finished, options, passed=passed)


if __name__ == "__main__":
    main()

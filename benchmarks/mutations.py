"""Does any damaged model file end the process, or slip past the product's own errors? ``python -m benchmarks.mutations``.

Good model files are changed at random: bits anywhere, the flatbuffer, the zip's directory, fields of the manifest, labels and
arrays of the memory. After most changes every checksum is mended, so that only what the parts mean can be refused. A
child process opens each file as a device would (a learner, one prediction, an export) and looks into it as ``edgetl
inspect`` does. A signal, an exception outside of the product's root, more than 2 s of processor time or more than 300 MB
is a failure; a file that still opens is none.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutants import KINDS, mutant

from .machine import machine_info, write_result

CHILD = ("-m", "tests.mutants")  # reads paths and answers with JSON, a line each
SECONDS, MEGABYTES = 2.0, 300.0  # of processor time; of resident memory, the interpreter and NumPy included
_PATIENCE = 60.0  # seconds of waiting for one file, until the child is killed
_KEPT = 20  # failing files that are kept


@dataclass
class Tally:
    """What happened over all files.

    Attributes:
        files: Number of files tried.
        outcomes: Kind of mutation -> outcome -> number of files.
        failures: Number, kind and fault of each file that failed.
        slowest: Seconds of processor time at most.
        largest: Megabytes of resident memory at most.
    """

    files: int = 0
    outcomes: dict[str, collections.Counter[str]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0
    largest: float = 0.0

    def add(self, number: int, kind: str, answer: dict[str, Any]) -> None:
        """Count one file."""
        self.files += 1
        self.outcomes.setdefault(kind, collections.Counter())[answer["outcome"]] += 1
        self.slowest = max(self.slowest, answer.get("seconds", 0.0))
        self.largest = max(self.largest, answer.get("megabytes", 0.0))
        if answer["outcome"] not in ("opened", "refused"):
            self.failures.append({"number": number, "kind": kind, **answer})


class Child:
    """The process that opens the files; a new one is started when it ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def try_file(self, path: Path) -> dict[str, Any]:
        """Return the outcome for a file, with what went wrong."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], _PATIENCE)
        line = process.stdout.readline() if ready else ""
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        if not ready:
            process.kill()
        code = process.wait()
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        self._process = None
        return {"outcome": "hung" if not ready else f"signal {-code}" if code < 0 else f"exit {code}"}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, *CHILD],
                cwd=Path(__file__).resolve().parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._process


def mutations(numbers: Iterable[int], folder: Path, keep: Path | None = None) -> Tally:
    """Try mutants by their numbers.

    Args:
        numbers: Each stands for one file, always the same.
        folder: Where the files are written, one at a time.
        keep: Where the first failing files are kept.
    """
    tally, child = Tally(), Child()
    path = folder / "mutant.tflite"
    try:
        for number in numbers:
            kind, data = mutant(number)
            path.write_bytes(data)
            tally.add(number, kind, _judged(child.try_file(path)))
            failed = bool(tally.failures) and tally.failures[-1]["number"] == number
            if keep and failed and len(tally.failures) <= _KEPT:
                (keep / f"{number}.tflite").write_bytes(data)
    finally:
        child.close()
    return tally


def _judged(answer: dict[str, Any]) -> dict[str, Any]:
    if answer.get("seconds", 0.0) > SECONDS:
        return {**answer, "outcome": "too slow"}
    if answer.get("megabytes", 0.0) > MEGABYTES:
        return {**answer, "outcome": "too large"}
    return answer


def main() -> None:
    """Try many mutants; exit 1 when any of them failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--keep", type=Path, help="folder for files that failed")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    numbers = range(given.first, given.first + given.files)
    with tempfile.TemporaryDirectory() as folder:
        tally = mutations(_shown(numbers), Path(folder), given.keep)
    result = {"machine": machine_info(given.first), "kinds": list(KINDS), **vars(tally)}
    write_result(result, given.out)
    sys.exit(bool(tally.failures))


def _shown(numbers: range) -> Iterator[int]:
    for number in numbers:
        if (number - numbers.start) % 500 == 0:
            print(f"{number - numbers.start} of {len(numbers)}", file=sys.stderr, flush=True)
        yield number


if __name__ == "__main__":
    main()

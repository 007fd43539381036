"""Can a damaged model file crash the process, or raise anything but edgetl's own errors?

Usage: ``python -m benchmarks.mutations [--files 20000]``

Valid model files are changed at random: single bits, the flatbuffer, the zip directory, fields of the manifest, labels
and arrays of the memory. After most changes every checksum is corrected, so that a file can be refused only for what
it contains. A child process opens each file as a device would (a learner, one prediction, an export) and inspects it
as ``edgetl inspect`` does. A signal, an exception that is not one of edgetl's own, more than 2 s of processor time or
more than 300 MB of RAM is a failure; a file that still opens is not.
"""

from __future__ import annotations

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

from .machine import machine_info, parser_of, write_result

CHILD = ("-m", "tests.mutants")  # reads one path per line and prints one JSON object per line
SECONDS, MEGABYTES = 2.0, 300.0  # of processor time; of resident RAM, the interpreter and NumPy included
_PATIENCE = 60.0  # seconds to wait for one file before the child is killed
_KEPT = 20  # maximum number of failing files to keep


@dataclass
class Tally:
    """Counts over all files.

    Attributes:
        files: Number of files tried.
        outcomes: Kind of mutation -> outcome -> number of files.
        failures: Number, kind and fault of each file that failed.
        slowest: Maximum processor time in seconds.
        largest: Maximum resident RAM in megabytes.
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
    """The process that opens the files; it is restarted if it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def try_file(self, path: Path) -> dict[str, Any]:
        """Return the outcome for a file, with its fault if there is one."""
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
        numbers: Each number always produces the same file.
        folder: Folder to write the files to, one at a time.
        keep: Folder to keep the first failing files in.
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
    """Try many mutants; exit with status 1 if any of them failed."""
    parser = parser_of(__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="Number of files.  [default: 20000]")
    parser.add_argument("--first", type=int, default=0, help="Number of the first file.  [default: 0]")
    parser.add_argument("--keep", type=Path, help="Folder to keep failing files in.")
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

"""The run of a benchmark: command line, load by other programs, result, and comparison with the reference.

A result contains ``figures``, which are compared, and ``tables``, which `benchmarks/RESULTS.md` shows.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from device.system.conditions import Meter

from .figures import Figure, compare, record
from .machine import machine_info, parser_of, warn_of_noise, write_result
from .questions import find

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """A table of a result.

    Attributes:
        title: Its heading.
        columns: Names of the columns.
        rows: The cells; numbers are shown with three significant digits, None as a dash.
        note: What is to be known beside the numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def question_parser(name: str, doc: str | None, *, model: bool = False) -> argparse.ArgumentParser:
    """Return the command line of a question: `parser_of`, with ``--check`` and ``--record``."""
    parser = parser_of(doc, model=model, out=find(name).result)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--check",
        action="store_true",
        help="Compare with the reference of this kind of machine; exit with 1 if a figure is worse. Writes no result.",
    )
    choice.add_argument(
        "--record", action="store_true", help="Also make the figures the reference of this kind of machine."
    )
    return parser


class Measurement:
    """A run of a question, from its start to its result.

    Args:
        name: Name of the question.
        seed: The seed, if it has one.
    """

    def __init__(self, name: str, seed: int | None = None) -> None:
        self.name, self._seed = name, seed
        warn_of_noise()
        self._meter, self._children, self._began = Meter(), _children(), time.perf_counter()

    def result(
        self,
        figures: Sequence[Figure],
        tables: Sequence[Table] = (),
        details: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the result as a JSON-serializable dict.

        Args:
            figures: What is compared.
            tables: What is shown.
            details: Other values.
        """
        return {
            "question": self.name,
            "figures": [figure.to_dict() for figure in figures],
            "tables": [asdict(table) for table in tables],
            **(details or {}),
            "machine": {
                **machine_info(self._seed),
                "seconds": round(time.perf_counter() - self._began, 1),
                "processor_seconds": round(time.process_time() + _children() - self._children, 1),
                "other_programs": self.others(),
            },
        }

    def others(self) -> float | None:
        """Return the share of all cores that other programs used so far, without the children of this process."""
        share, seconds = self._meter.others(), time.perf_counter() - self._began
        if share is None or seconds <= 0:
            return None
        own = (_children() - self._children) / (seconds * (os.cpu_count() or 1))
        # the kernel counts in ticks of 10 ms, so that a short measurement may get more than all cores
        return round(min(1.0, max(0.0, share - own)), 3)

    def finish(self, result: dict[str, Any], options: argparse.Namespace, *, passed: bool = True) -> NoReturn:
        """Write the result, or compare it, and end the process.

        Args:
            result: The result.
            options: What `question_parser` parsed.
            passed: Whether what must always be true was true.
        """
        figures = [Figure(**fields) for fields in result["figures"]]
        if options.check:
            raise SystemExit(0 if check(self.name, figures, result["machine"]) and passed else 1)
        write_result(result, options.out)
        if options.record:
            print(f"wrote {record(self.name, figures, result['machine'])}", file=sys.stderr)
        raise SystemExit(0 if passed else 1)


def check(
    name: str, figures: Sequence[Figure], machine: Mapping[str, Any], folder: Path | None = None
) -> bool:
    """Print how the figures of a question compare with the reference; return whether none is worse."""
    found = compare(name, figures, machine) if folder is None else compare(name, figures, machine, folder)
    for line in found.lines:
        print(line)
    if found.worse:
        others = machine.get("other_programs")
        print(
            f"{name}: {len(found.worse)} of {found.compared} figures are worse than the reference: {', '.join(found.worse)}"
            + (f"; other programs used {others:.0%} of the CPU meanwhile" if others else ""),
            file=sys.stderr,
        )
    return not found.worse


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system

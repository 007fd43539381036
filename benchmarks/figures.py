"""Figures that benchmarks compare with a checked-in reference per kind of machine.

A kind of machine is its CPU or board, the number of cores, and the runtime. `benchmarks/references/` contains one file per
kind, written by ``python -m benchmarks.NAME --record`` and read by ``--check``. Times depend on the machine, so on a kind
without a reference only ratios are compared, with those of the kind that is most alike, and with twice the tolerance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

REFERENCES = Path(__file__).parent / "references"
RATIO, EXPONENT = "x", "exponent"
_EVERYWHERE = (RATIO, EXPONENT)  # units that are compared on every machine
_FOREIGN = 2  # factor of the tolerance on a machine without a reference of its own


@dataclass(frozen=True)
class Figure:
    """A number that a benchmark measured, and how it is compared.

    Attributes:
        name: What was measured.
        value: The number.
        unit: ``x`` is a ratio of two measurements of the same run. It is compared on every machine, like an ``exponent``.
        better: Whether ``lower`` or ``higher`` is better.
        tolerance: Factor by which the figure may be worse than the reference.
        slack: The same as a difference, for figures near 0; it is added to the tolerance.
        goal: What the project aims for, if it has set a goal.
    """

    name: str
    value: float
    unit: str = RATIO
    better: Literal["lower", "higher"] = "lower"
    tolerance: float = 1.25
    slack: float = 0.0
    goal: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached, or None if there is no goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    def worst(self, reference: float, looser: float = 1.0) -> float:
        """Return the worst value that is still accepted beside `reference`.

        Args:
            reference: The value of the reference.
            looser: Factor of the tolerance above 1 and of the slack.

        Example:
            >>> Figure("a", 1.0, tolerance=1.5).worst(2.0)
            3.0
        """
        factor, slack = 1 + (self.tolerance - 1) * looser, self.slack * looser
        return reference * factor + slack if self.better == "lower" else reference / factor - slack

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return asdict(self)


@dataclass(frozen=True)
class Kind:
    """A kind of machine, within which times can be compared.

    Attributes:
        cpu: Name of the board, or else of the CPU.
        cores: Number of cores that the process may use.
        runtime: Name of the TFLite runtime, without its version; the reference contains the version.
    """

    cpu: str
    cores: int
    runtime: str

    @classmethod
    def of(cls, machine: Mapping[str, Any]) -> Kind:
        """Return the kind of a machine that `machine_info` described."""
        return cls(
            machine["board"] or machine["cpu"],
            machine["cores"],
            (machine["runtime"] or "no runtime").split()[0],
        )

    @property
    def slug(self) -> str:
        """The name of the reference file, such as ``amd-epyc-2-cores-ai-edge-litert``."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.cpu} {self.cores} cores {self.runtime}".lower()).strip("-")

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} core{'s' if self.cores > 1 else ''}, {self.runtime}"


@dataclass(frozen=True)
class Comparison:
    """What a check found.

    Attributes:
        lines: One sentence per figure, and what restricts the comparison.
        worse: Names of the figures that are worse than the reference allows.
        compared: Number of figures that were compared.
    """

    lines: tuple[str, ...]
    worse: tuple[str, ...]
    compared: int


def record(
    question: str, figures: Sequence[Figure], machine: Mapping[str, Any], folder: Path = REFERENCES
) -> Path:
    """Write the figures of a question into the reference of this kind of machine, and return its path."""
    kind = Kind.of(machine)
    path = folder / f"{kind.slug}.json"
    reference = _read(path) if path.exists() else {"machine": asdict(kind), "questions": {}}
    reference["questions"][question] = {
        **{name: machine[name] for name in ("when", "command", "runtime", "load", "versions")},
        "figures": {figure.name: figure.to_dict() for figure in figures},
    }
    reference["questions"] = dict(sorted(reference["questions"].items()))
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(reference, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def compare(
    question: str, figures: Sequence[Figure], machine: Mapping[str, Any], folder: Path = REFERENCES
) -> Comparison:
    """Compare the figures of a question with the reference of this kind of machine.

    The tolerance, the slack and the direction are those of the reference, so that they can be reviewed there.
    """
    kind = Kind.of(machine)
    own = folder / f"{kind.slug}.json"
    known = own.exists() and question in _read(own)["questions"]
    found = _read(own) if known else _most_alike(kind, question, folder)
    if found is None:
        line = (
            f"no reference has figures of {question}; make one with: python -m benchmarks.{question} --record"
        )
        return Comparison((line,), (), 0)
    reference, notes = found["questions"][question], []
    if not known:
        other = Kind(**found["machine"])
        notes.append(
            f"no reference of {question} for this kind of machine ({kind}); only ratios are compared, with those of "
            f"{other} and twice the tolerance. To make one: python -m benchmarks.{question} --record"
        )
    elif reference["runtime"] != machine["runtime"]:
        notes.append(
            f"the reference was measured with {reference['runtime']}, this run with {machine['runtime']}"
        )
    return _compared(figures, reference["figures"], notes, known)


def _compared(
    figures: Iterable[Figure], reference: Mapping[str, Any], notes: list[str], known: bool
) -> Comparison:
    lines, worse, compared = notes, [], 0
    measured = {figure.name: figure for figure in figures}
    for name, fields in reference.items():
        expected = Figure(**fields)
        if not known and expected.unit not in _EVERYWHERE:
            continue
        if name not in measured:
            lines.append(f"{name}: not measured now, {shown(expected)} in the reference")
            continue
        now, worst = measured[name], expected.worst(expected.value, 1 if known else _FOREIGN)
        accepted = now.value <= worst if expected.better == "lower" else now.value >= worst
        compared += 1
        bound = "at most" if expected.better == "lower" else "at least"
        limit = number(worst) + _suffix(expected.unit)
        lines.append(
            f"{name}: {shown(now)}, reference {shown(expected)}, accepted {bound} {limit}: "
            + ("ok" if accepted else "WORSE")
        )
        worse += [] if accepted else [name]
    lines += [
        f"{name}: {shown(measured[name])}, not in the reference" for name in measured if name not in reference
    ]
    return Comparison(tuple(lines), tuple(worse), compared)


def shown(figure: Figure) -> str:
    """Return the value with its unit.

    Example:
        >>> shown(Figure("a", 1.0063))
        '1.006x'
    """
    return number(figure.value) + _suffix(figure.unit)


def number(value: float) -> str:
    """Return a number with three significant digits, four between 1/2 and 2, or all digits of its integer part.

    Example:
        >>> [number(value) for value in (0.01234, 1.0063, 2.5678, 1234.5, 0.0)]
        ['0.0123', '1.006', '2.57', '1,234', '0']
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.4g}" if 0.5 < abs(value) < 2 else f"{value:.3g}"


def _suffix(unit: str) -> str:
    if unit == EXPONENT:
        return ""
    return unit if unit in (RATIO, "%") else f" {unit}".rstrip()


def _most_alike(kind: Kind, question: str, folder: Path) -> dict[str, Any] | None:
    """Return the reference of another kind that has the question: the same runtime first, then the same CPU."""
    found = [
        reference
        for path in sorted(folder.glob("*.json"))
        if question in (reference := _read(path))["questions"]
    ]

    def unlike(reference: dict[str, Any]) -> tuple[bool, bool]:
        other = Kind(**reference["machine"])
        return other.runtime != kind.runtime, other.cpu != kind.cpu

    return min(found, key=unlike, default=None)


def _read(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SystemExit(
            f"{path.name} is not JSON ({error}); restore it with: git checkout {path.name}"
        ) from error
    return read

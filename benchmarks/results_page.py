"""Write `benchmarks/RESULTS.md` from the JSON in `benchmarks/results`.

Usage: ``python -m benchmarks.results_page [--check]``

The page contains only what the JSON contains. Each section names the command, the machine, the runtime and the versions.
``--check`` writes nothing and exits with 1 if the page is not what the JSON says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import roofline_picture
from .figures import Figure, number, shown
from .published import PUBLISHED
from .questions import FOLDER, QUESTIONS, RESULTS, Question

PAGE = FOLDER / "RESULTS.md"
PICTURE = RESULTS / "roofline.svg"
_INTRODUCTION = """\
<!-- made by python -m benchmarks.results_page from benchmarks/results/*.json; do not edit -->
# Results of the benchmarks

`make bench` measures the quick questions again and writes this page; `make bench-all` measures the long ones too. One
question is measured with `python -m benchmarks.NAME`, and compared with the reference of this kind of machine with
`python -m benchmarks.NAME --check`.

Ratios (`x`) compare two things that were measured alternately in one run. Times depend on the machine and on what else
runs on it. "Other programs" is the share of all cores that other programs used during the measurement.
"""


def page(results: Path = RESULTS, questions: Sequence[Question] = QUESTIONS) -> str:
    """Return the page.

    Args:
        results: Folder of the results.
        questions: What to show, in this order.

    Raises:
        SystemExit: A result does not name its machine, runtime, versions and command.
    """
    found = {one.name: _read(results / f"{one.name}.json") for one in questions}
    # only `Measurement` names the question; other results may use the same keys for something else
    here = [(one, result) for one in questions if (result := found[one.name]) and "question" in result]
    parts = [
        _INTRODUCTION,
        _goals(here),
        _durations(here),
        *(_section(one, result) for one, result in here),
        _published(),
    ]
    shown_here = {one.name for one, _ in here}
    parts.append(_elsewhere([one for one in questions if one.name not in shown_here]))
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def picture(results: Path = RESULTS) -> str | None:
    """Return the SVG of the roofline, or None before the first result."""
    found = _read(results / "roofline.json")
    return roofline_picture.draw(found) if found else None


def write() -> None:
    """Write the page and its picture."""
    PAGE.write_text(page(), encoding="utf-8")
    if (svg := picture()) is not None:
        PICTURE.write_text(svg, encoding="utf-8")


def is_current() -> bool:
    """Return whether the page and its picture are what the JSON says."""
    made = {PAGE: page(), PICTURE: picture()}
    return all(
        (path.read_text(encoding="utf-8") if path.exists() else None) == text for path, text in made.items()
    )


def _section(question: Question, result: Mapping[str, Any]) -> str:
    lines = [f"## {question.name}", "", question.text, "", _conditions(question.name, result), ""]
    figures = [Figure(**fields) for fields in result["figures"]]
    if figures:
        lines += _table(("figure", "value"), [(figure.name, shown(figure)) for figure in figures])
    for table in result.get("tables", ()):
        lines += ["", f"### {table['title']}", "", *_table(table["columns"], table["rows"])]
        lines += ["", table["note"]] if table["note"] else []
    for picture in result.get("pictures", ()):
        lines += ["", f"![{picture['text']}](results/{picture['file']})"]
    return "\n".join(lines) + "\n"


def _goals(here: Sequence[tuple[Question, Mapping[str, Any]]]) -> str:
    rows = []
    for question, result in here:
        for figure in (Figure(**fields) for fields in result["figures"]):
            if figure.goal is not None:
                goal = shown(Figure("", figure.goal, figure.unit))
                bound = "at most" if figure.better == "lower" else "at least"
                answer = "reached" if figure.reached else "**missed**"
                rows.append(
                    (
                        f"[{question.name}](#{question.name})",
                        figure.name,
                        shown(figure),
                        f"{bound} {goal}",
                        answer,
                    )
                )
    if not rows:
        return ""
    return "\n".join(["## Goals", "", *_table(("question", "figure", "value", "goal", ""), rows)])


def _durations(here: Sequence[tuple[Question, Mapping[str, Any]]]) -> str:
    """Return how long the quick questions took."""
    timed = [
        (one.name, machine["processor_seconds"], machine["seconds"], machine.get("other_programs"))
        for one, result in here
        if one.quick and "processor_seconds" in (machine := result.get("machine") or {})
    ]
    if not timed:
        return ""
    rows = [(name, work, clock, _share(others)) for name, work, clock, others in timed]
    rows.append(("all", sum(work for _, work, _, _ in timed), sum(clock for _, _, clock, _ in timed), None))
    columns = ("question", "processor, s", "on the clock, s", "other programs")
    note = (
        "`make bench` measures these questions in turn, mostly with one thread. So it takes about their processor time, and "
        "the time for which `camera` waits for frames, if nothing else runs; and longer beside other programs."
    )
    return "\n".join(["## Duration of `make bench`", "", *_table(columns, rows), "", note])


def _share(others: float | None) -> str | None:
    return None if others is None else f"{others:.0%}"


def _published() -> str:
    rows = [(row.what, row.where, row.figure, f"[{row.source}]({row.address})") for row in PUBLISHED]
    return "\n".join(
        [
            "## Published figures of others",
            "",
            "They were measured by their authors on other machines and other data, so dividing them by ours means nothing.",
            "",
            *_table(("what", "machine", "figure", "source"), rows),
        ]
    )


def _elsewhere(rest: Sequence[Question]) -> str:
    rows = [
        (
            f"`{question.name}`",
            question.text,
            f"[docs/{question.page}](../docs/{question.page})" if question.page else None,
            question.needs,
        )
        for question in rest
    ]
    if not rows:
        return ""
    lines = ["## Questions that other pages answer, or that were not measured here", ""]
    return "\n".join([*lines, *_table(("benchmark", "question", "page", "needs"), rows)])


def _conditions(name: str, result: Mapping[str, Any]) -> str:
    machine = result.get("machine") or {}
    lacking = [
        field for field in ("command", "cpu", "cores", "versions", "when", "load") if field not in machine
    ]
    if lacking:
        raise SystemExit(f"{name}.json lacks {', '.join(lacking)} of its machine; measure it again")
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    others = machine.get("other_programs")
    busy = "" if others is None else f", other programs {_share(others)}"
    return (
        f"`python -m benchmarks.{machine['command']}` on {machine['when'][:10]}: {machine['board'] or machine['cpu']}, "
        f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}, {machine['runtime'] or 'no runtime'}, "
        f"{versions}; load {machine['load']}{busy}."
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, int | float) else str(value).replace("|", r"\|")


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.results_page", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--check", action="store_true", help="Exit with 1 if the page is not what the JSON says."
    )
    if not parser.parse_args().check:
        write()
        print(f"wrote {PAGE}", file=sys.stderr)
    elif not is_current():
        raise SystemExit(
            "benchmarks/RESULTS.md is not what the JSON says; write it with: python -m benchmarks.results_page"
        )


if __name__ == "__main__":
    main()

"""The registry of questions, the page of results, and the comparison with a reference."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import questions, results_page
from benchmarks.figures import REFERENCES, Figure, Kind, compare, number, record
from benchmarks.machine import machine_info
from benchmarks.measurement import Measurement, check, question_parser
from benchmarks.questions import FOLDER, QUESTIONS, RESULTS, Question, find
from benchmarks.run import run

REPOSITORY = Path(__file__).parents[2]
MACHINE: dict[str, Any] = {
    "board": None,
    "cpu": "A CPU",
    "cores": 2,
    "runtime": "ai-edge-litert 2.3.0",
    "when": "2026-01-02T03:04:05+0000",
    "command": "overhead --pairs 3",
    "load": 0.5,
    "versions": {"edgetl": "9.9", "numpy": "2.0"},
    "system": "Debian",
    "python": "3.11.7",
    "other_programs": 0.25,
}
FIGURES = (
    Figure("ratio", 1.2, tolerance=1.1),
    Figure("time", 10.0, "ms", tolerance=2),
    Figure("rate", 50.0, "/s", "higher"),
)


def test_the_page_of_results_is_exactly_what_the_json_says() -> None:
    """After a change of a result: python -m benchmarks.results_page."""
    assert results_page.PAGE.read_text(encoding="utf-8") == results_page.page()
    assert results_page.is_current()  # the picture too


def test_every_result_and_every_page_belongs_to_a_question() -> None:
    """A new benchmark joins with one line in `benchmarks/questions.py`."""
    names = [question.name for question in QUESTIONS]
    assert len(set(names)) == len(names)
    assert {path.stem for path in RESULTS.glob("*.json")} <= set(names)
    for question in QUESTIONS:
        assert importlib.util.find_spec(f"benchmarks.{question.name}")
        assert question.text.endswith((".", "?")), question.name
        assert question.page is None or (REPOSITORY / "docs" / question.page).exists()
        source = (FOLDER / f"{question.name}.py").read_text(encoding="utf-8")
        assert "parser_of(" in source or "question_parser(" in source, f"{question.name} has no --out"


def test_every_module_with_a_command_line_is_a_question() -> None:
    """A benchmark that is not in the registry is never run."""
    commands = {path.stem for path in FOLDER.glob("*.py") if "def main()" in path.read_text(encoding="utf-8")}
    missing = commands - {question.name for question in QUESTIONS} - {"run", "results_page", "heads_page"}
    assert not missing, f"add a line for each of {missing} to benchmarks/questions.py"


def test_every_reference_belongs_to_a_question_and_has_the_name_of_its_machine() -> None:
    """A reference under another name would never be found."""
    for path in REFERENCES.glob("*.json"):
        reference = json.loads(path.read_text(encoding="utf-8"))
        assert Kind(**reference["machine"]).slug == path.stem
        for name, question in reference["questions"].items():
            assert find(name).quick
            assert [Figure(**fields) for fields in question["figures"].values()]


def test_every_quick_result_names_its_command_machine_and_versions() -> None:
    """A time without them means nothing."""
    for question in (one for one in QUESTIONS if one.quick and one.result.exists()):
        machine = json.loads(question.result.read_text(encoding="utf-8"))["machine"]
        assert machine["command"].split()[0] == question.name
        assert {"cpu", "cores", "runtime", "versions", "load", "other_programs"} <= set(machine)


def test_a_result_without_its_machine_is_not_shown(tmp_path: Path) -> None:
    """Its figures could not be judged."""
    figures = [figure.to_dict() for figure in FIGURES]
    (tmp_path / "overhead.json").write_text(
        json.dumps({"question": "overhead", "figures": figures}), encoding="utf-8"
    )
    with pytest.raises(SystemExit, match=r"overhead.json lacks command, cpu"):
        results_page.page(tmp_path, [Question("overhead", quick=True)])


def test_the_page_shows_figures_goals_tables_and_the_command(tmp_path: Path) -> None:
    """Everything comes from the JSON."""
    goal = replace(FIGURES[0], goal=1.03)
    table = {
        "title": "Times",
        "columns": ["step", "ms"],
        "rows": [["bare", 1.23456], ["ours|", None]],
        "note": "Busy.",
    }
    result = {"question": "overhead", "figures": [goal.to_dict()], "tables": [table], "machine": MACHINE}
    (tmp_path / "overhead.json").write_text(json.dumps(result), encoding="utf-8")
    text = results_page.page(tmp_path, [Question("overhead", quick=True), Question("soak")])
    assert "| [overhead](#overhead) | ratio | 1.2x | at most 1.03x | **missed** |" in text
    assert "`python -m benchmarks.overhead --pairs 3` on 2026-01-02: A CPU, 2 cores" in text
    assert "edgetl 9.9, numpy 2.0; load 0.5, other programs 25%." in text
    assert "| bare | 1.235 |\n| ours\\| | – |\n\nBusy." in text
    assert "| `soak` | Does anything leak" in text


def test_the_page_shows_how_long_the_quick_questions_took(tmp_path: Path) -> None:
    """In processor time too, because the time on the clock depends on other programs."""
    for name, work in (("overhead", 12.5), ("update", 30.0), ("size", 100.0)):
        machine = {**MACHINE, "processor_seconds": work, "seconds": 2 * work}
        result = {"question": name, "figures": [], "machine": machine}
        (tmp_path / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    questions = [Question("overhead", quick=True), Question("update", quick=True), Question("size")]
    text = results_page.page(tmp_path, questions)
    assert "| overhead | 12.5 | 25 | 25% |" in text
    assert "| all | 42.5 | 85 | – |" in text


def test_results_that_other_pages_show_do_not_change_the_page(tmp_path: Path) -> None:
    """Only results with figures are shown here, so the others can be measured again without writing this page."""
    one = Question("heads", page="heads.md", needs="PHOTOS")
    before = results_page.page(tmp_path, [one])
    (tmp_path / "heads.json").write_text(json.dumps({"machine": MACHINE}), encoding="utf-8")
    assert results_page.page(tmp_path, [one]) == before
    assert "[docs/heads.md](../docs/heads.md) | PHOTOS |" in before


@pytest.mark.parametrize(
    ("change", "worse"),
    [
        ({}, ()),
        ({"ratio": 1.31}, ()),
        ({"ratio": 1.33}, ("ratio",)),
        ({"time": 21}, ("time",)),
        ({"rate": 39}, ("rate",)),
        ({"rate": 500, "time": 1, "ratio": 0.1}, ()),
        ({"ratio": 9, "time": 99}, ("ratio", "time")),
    ],
)
def test_a_figure_is_worse_beyond_the_tolerance_of_its_reference(
    tmp_path: Path, change: dict[str, float], worse: tuple[str, ...]
) -> None:
    """Better figures are never refused."""
    record("overhead", FIGURES, MACHINE, tmp_path)
    now = [replace(figure, value=change.get(figure.name, figure.value), tolerance=9) for figure in FIGURES]
    found = compare("overhead", now, MACHINE, tmp_path)
    assert found.worse == worse
    assert found.compared == 3


def test_on_an_unknown_machine_only_ratios_are_compared_with_twice_the_tolerance(tmp_path: Path) -> None:
    """Its times say nothing about the code."""
    record("overhead", FIGURES, MACHINE, tmp_path)
    other = {**MACHINE, "board": "Raspberry Pi 5", "cores": 4}
    slower = [replace(FIGURES[0], value=1.43), replace(FIGURES[1], value=500), FIGURES[2]]
    found = compare("overhead", slower, other, tmp_path)
    assert (
        "no reference of overhead for this kind of machine (Raspberry Pi 5, 4 cores, ai-edge-litert)"
        in found.lines[0]
    )
    assert (found.worse, found.compared) == ((), 1)
    assert compare("overhead", [replace(FIGURES[0], value=1.45)], other, tmp_path).worse == ("ratio",)


def test_the_reference_of_the_same_runtime_is_preferred(tmp_path: Path) -> None:
    """A runtime changes a ratio more than a CPU does."""
    record(
        "overhead", [replace(FIGURES[0], value=3)], {**MACHINE, "runtime": "tflite-runtime 2.14.0"}, tmp_path
    )
    record("overhead", FIGURES, {**MACHINE, "cpu": "Zz"}, tmp_path)
    found = compare("overhead", [replace(FIGURES[0], value=2)], {**MACHINE, "cores": 64}, tmp_path)
    assert found.worse == ("ratio",)


def test_another_version_of_the_runtime_is_reported(tmp_path: Path) -> None:
    """It is the same kind of machine, but it may be the reason of a difference."""
    record("overhead", FIGURES, MACHINE, tmp_path)
    found = compare("overhead", FIGURES, {**MACHINE, "runtime": "ai-edge-litert 9.0.0"}, tmp_path)
    assert "measured with ai-edge-litert 2.3.0, this run with ai-edge-litert 9.0.0" in found.lines[0]
    assert (found.worse, found.compared) == ((), 3)


def test_without_any_reference_nothing_is_compared(tmp_path: Path) -> None:
    """The message names the command that makes one."""
    found = compare("overhead", FIGURES, MACHINE, tmp_path)
    assert (found.worse, found.compared) == ((), 0)
    assert "python -m benchmarks.overhead --record" in found.lines[0]


def test_a_figure_near_zero_has_slack(tmp_path: Path) -> None:
    """A factor of zero is zero."""
    lost = Figure("lost", 0, "frames", slack=2)
    record("overhead", [lost], MACHINE, tmp_path)
    assert compare("overhead", [replace(lost, value=2)], MACHINE, tmp_path).worse == ()
    assert compare("overhead", [replace(lost, value=3)], MACHINE, tmp_path).worse == ("lost",)


def test_recording_one_question_keeps_the_others(tmp_path: Path) -> None:
    """All questions of a machine share a file."""
    path = record("overhead", FIGURES, MACHINE, tmp_path)
    assert record("soak", FIGURES[:1], MACHINE, tmp_path) == path
    assert path.name == "a-cpu-2-cores-ai-edge-litert.json"
    assert set(json.loads(path.read_text(encoding="utf-8"))["questions"]) == {"overhead", "soak"}


def test_a_damaged_reference_is_refused_by_name(tmp_path: Path) -> None:
    """The message contains the next step."""
    record("overhead", FIGURES, MACHINE, tmp_path).write_text("{", encoding="utf-8")
    with pytest.raises(SystemExit, match="is not JSON"):
        compare("overhead", FIGURES, MACHINE, tmp_path)


def test_a_check_names_what_is_worse_and_what_other_programs_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reader learns whether the machine was busy."""
    record("overhead", FIGURES, MACHINE, tmp_path)
    assert check("overhead", FIGURES, MACHINE, tmp_path)
    assert not check("overhead", [replace(FIGURES[0], value=2)], MACHINE, tmp_path)
    streams = capsys.readouterr()
    assert "ratio: 2x, reference 1.2x, accepted at most 1.32x: WORSE" in streams.out
    assert "overhead: 1 of 1 figures are worse than the reference: ratio" in streams.err
    assert "other programs used 25% of the CPU meanwhile" in streams.err


def finished(options: argparse.Namespace, value: float) -> int:
    """Finish a measurement of one ratio, and return the exit status."""
    measurement = Measurement("overhead")
    with pytest.raises(SystemExit) as ended:
        measurement.finish(measurement.result([replace(FIGURES[0], value=value)]), options)
    return int(str(ended.value.code))


def test_a_result_is_written_recorded_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check writes nothing and fails on a worse figure."""
    monkeypatch.setattr("benchmarks.figures.compare.__defaults__", (tmp_path,))
    monkeypatch.setattr("benchmarks.figures.record.__defaults__", (tmp_path,))
    parse: Callable[[list[str]], argparse.Namespace] = question_parser("overhead", "Why?").parse_args
    out = tmp_path / "results" / "overhead.json"
    assert finished(parse(["--record", "--out", str(out)]), 1.2) == 0
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["figures"][0]["value"] == 1.2
    others = result["machine"]["other_programs"]
    assert others is None or 0 <= others <= 1  # None: the kernel's clock did not advance meanwhile
    assert len(list(tmp_path.glob("*.json"))) == 1
    out.unlink()
    assert finished(parse(["--check", "--out", str(out)]), 1.2) == 0
    assert finished(parse(["--check", "--out", str(out)]), 1.4) == 1
    assert not out.exists()


def test_the_command_of_a_result_contains_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are checked in."""
    monkeypatch.setattr(
        sys, "argv", ["/a/soak.py", "/secret/m.tflite", "--frames", "3", "--out", "/secret/r.json"]
    )
    assert machine_info()["command"] == "soak m.tflite --frames 3"


def test_a_benchmark_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The failed ones are named, and the others write their results; without values, scale measures nothing."""
    monkeypatch.setattr(questions, "RESULTS", tmp_path)
    nothing = ("--samples", "--labels", "--dimensions")
    assert run([Question("scale", ("--nonsense",)), Question("scale", nothing)], check=False) == ["scale"]
    assert json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))["figures"] == []
    assert "[2/2] scale: How do the cost" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["benchmarks.run", "no-such"], "there is no benchmark 'no-such'; expected one of overhead"),
        (["benchmarks.results_page", "--nonsense"], "unrecognized arguments"),
    ],
)
def test_a_wrong_argument_is_refused_without_a_traceback(arguments: list[str], message: str) -> None:
    """The message names what is expected."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_numbers_have_three_significant_digits() -> None:
    """Four between a half and two, where overheads are."""
    shown = [number(value) for value in (0.0, 0.0123456, 1.0063, 1.5, 99.94, 123.4, 12345.6)]
    assert shown == ["0", "0.0123", "1.006", "1.5", "99.9", "123", "12,346"]

"""A combination in another process, and the cold start of a model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from device.errors import EdgetlError, MeasurementError, RuntimeMissingError
from device.model.runtime import load_runtime
from device.system.bench import Plan, bench
from device.system.footprint import measure_footprints
from device.system.frames import Frames
from device.system.grid import CPU, Combination, Grid, RuntimeChoice, Teaching
from device.system.outside import OutsideSubject
from tests.tiny import TINY

HERE = RuntimeChoice(load_runtime().name, sys.executable)
FEW = Teaching(samples=12, labels=3)
IMAGE = Frames.noise()[0]


def combination(runtime: RuntimeChoice = HERE, teaching: Teaching = FEW, path: Path = TINY) -> Combination:
    """Return a combination with one thread."""
    return Combination(path, runtime, 1, CPU, teaching)


def test_a_runtime_of_another_python_is_measured_in_turn_with_that_of_this_one() -> None:
    """Here the other Python is this one again, in a process of its own."""
    grid = Grid(runtimes=(RuntimeChoice(), HERE), samples=(12,), labels=3, threads=(1,))
    found = bench([TINY], plan=Plan(3, lessons=2, warm_up=1, starts=0, energy=False), grid=grid)
    own, other = found.results
    assert not found.unavailable
    assert own.runtime == other.runtime
    steps = [[(timing.step, timing.runs) for timing in result.timings] for result in (own, other)]
    assert steps[0] == steps[1]


def test_the_other_process_ends_with_its_subject(tmp_path: Path) -> None:
    """Nothing is left running."""
    subject = OutsideSubject.open(combination(), tmp_path, IMAGE)
    subject.warm(IMAGE)
    subject.close()
    assert subject._process.returncode == 0


def test_an_error_there_is_an_error_here(tmp_path: Path) -> None:
    """The message is that of the other process."""
    with pytest.raises(MeasurementError, match="room for 8 labels"):
        OutsideSubject.open(combination(teaching=Teaching("softmax", 12, 9)), tmp_path, IMAGE)


def test_a_process_that_is_killed_is_an_error(tmp_path: Path) -> None:
    """It is named, and later questions fail as well."""
    subject = OutsideSubject.open(combination(), tmp_path, IMAGE)
    subject._process.kill()
    for _ in range(2):
        with pytest.raises(RuntimeMissingError, match="ended"):
            subject.time_frame(IMAGE)
    subject.close()


@pytest.mark.parametrize(("python", "word"), [("/no/such/python", "cannot be started"), ("true", "ended")])
def test_a_python_that_cannot_measure_is_named(tmp_path: Path, python: str, word: str) -> None:
    """The message contains the reason."""
    with pytest.raises(RuntimeMissingError, match=word):
        OutsideSubject.open(combination(RuntimeChoice(None, python)), tmp_path, IMAGE)


def test_a_python_without_edgetl_is_named_with_the_next_step(tmp_path: Path) -> None:
    """The reason names what is missing."""
    empty = tmp_path / "python"
    empty.write_text(f'#!/bin/sh\ncd / && exec {sys.executable} -I -S "$@"\n', encoding="utf-8")
    empty.chmod(0o755)
    with pytest.raises(RuntimeMissingError, match=r"no edgetl.*pip install edgetl"):
        OutsideSubject.open(combination(RuntimeChoice(None, str(empty))), tmp_path, IMAGE)


def test_a_runtime_that_is_not_installed_is_named_in_the_result() -> None:
    """The other combinations are measured."""
    other = {"ai-edge-litert": "tflite-runtime", "tflite-runtime": "ai-edge-litert"}[load_runtime().name]
    grid = Grid(runtimes=(RuntimeChoice(), RuntimeChoice(other)), samples=(12,), labels=3, threads=(1,))
    found = bench([TINY], plan=Plan(2, lessons=0, warm_up=0, starts=0, energy=False), grid=grid)
    if found.unavailable:  # both may be installed
        assert other in found.unavailable[0].reason
    assert found.results[0].runtime["name"] == load_runtime().name


def test_a_cold_start_contains_python_its_imports_and_the_first_prediction() -> None:
    """Combinations that differ only in samples share it; one that cannot start has none."""
    missing = combination(path=Path("nope.tflite"))
    found = measure_footprints([combination(), combination(teaching=Teaching(samples=50)), missing], 1)
    assert found[0] is not None
    assert found[0] is not found[2]
    assert found[0] == found[1]
    assert found[2] is None
    assert found[0].start_ms > found[0].open_ms > 0
    assert 10e6 < found[0].peak_ram_bytes < 2e9


def test_no_start_is_no_figure() -> None:
    """Zero starts switch it off."""
    assert measure_footprints([combination()], 0) == [None]


def test_errors_of_the_other_process_share_the_root() -> None:
    """A caller that catches `EdgetlError` needs no other."""
    assert issubclass(RuntimeMissingError, EdgetlError)

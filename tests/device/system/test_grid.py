"""The combinations of a measurement, and their names."""

from __future__ import annotations

from typing import Any

import pytest

from device.errors import MeasurementError
from device.model.modelfile import ModelFile
from device.system.grid import Grid, RuntimeChoice, name_results
from tests.tiny import TINY, TINY_TAUGHT

MODELS = [ModelFile.open(TINY), ModelFile.open(TINY_TAUGHT)]


def test_a_grid_contains_every_combination_with_the_models_next_to_each_other() -> None:
    """What is compared most often is measured right after each other."""
    grid = Grid(threads=(1, 2), heads=("exact", "ncm"), samples=(50, 200))
    found = list(grid.combinations(MODELS))
    assert len(found) == 2 * 2 * 2 * 2
    assert [entry.path for entry in found[:4]] == [TINY, TINY_TAUGHT, TINY, TINY_TAUGHT]
    assert len({(entry.path, entry.threads, entry.teaching) for entry in found}) == 16


@pytest.mark.parametrize("grid", [Grid(delegates=("gpu",)), Grid(samples=(2, 200), labels=3)])
def test_a_grid_that_makes_no_sense_is_refused(grid: Grid) -> None:
    """The message names the value."""
    with pytest.raises(MeasurementError, match=r"gpu|got 2"):
        list(grid.combinations(MODELS))


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("litert", RuntimeChoice("ai-edge-litert")),
        ("tflite-runtime=/opt/py/bin/python", RuntimeChoice("tflite-runtime", "/opt/py/bin/python")),
    ],
)
def test_a_runtime_may_be_that_of_another_python(text: str, choice: RuntimeChoice) -> None:
    """Two runtimes seldom fit into one environment."""
    assert RuntimeChoice.of(text) == choice


def test_an_unknown_runtime_is_refused() -> None:
    """The message lists those that are known."""
    with pytest.raises(MeasurementError, match=r"litert.*tflite-runtime.*'onnx'"):
        RuntimeChoice.of("onnx")


def result(name: str = "mugs.tflite", threads: int = 1, **head: Any) -> dict[str, Any]:
    """Return the part of a result that decides its name."""
    runtime = {"name": "ai-edge-litert", "version": "2.3.0", "threads": threads, "delegate": "cpu"}
    return {"model": {"name": name}, "runtime": runtime, "head": {"name": "exact", "samples": 200, **head}}


def test_a_name_contains_only_what_differs() -> None:
    """The model is always part of it."""
    assert name_results([result(), result("cups.tflite")]) == ["mugs.tflite", "cups.tflite"]
    assert name_results([result(), result(threads=2)]) == ["mugs.tflite, 1 thread", "mugs.tflite, 2 threads"]
    assert name_results([result(samples=50), result(samples=99)])[1] == "mugs.tflite, 99 samples"


def test_a_model_that_is_measured_twice_gets_a_number() -> None:
    """Names are different, so that tables and pictures can be read."""
    assert name_results([result(), result()]) == ["mugs.tflite (1)", "mugs.tflite (2)"]

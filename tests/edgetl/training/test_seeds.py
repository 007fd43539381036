"""`finetune --seeds`: the same training several times, with mean and spread."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

from edgetl import finetune
from edgetl.cli import main
from edgetl.errors import TrainingError
from edgetl.training.seeds import describe_seeds
from tests import tiny

pytestmark = pytest.mark.usefixtures("tiny_backbone")
SETTINGS: dict[str, Any] = {"resize": "squash", "head_only": True, "head_epochs": 4}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos of each of three colors."""
    tiny.write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def test_each_seed_is_trained_and_the_first_is_kept(photos: Path, tmp_path: Path) -> None:
    """The accuracies are those of separate runs; nothing else is left."""
    alone = [finetune(photos, tmp_path / f"alone{seed}", seed=seed, **SETTINGS) for seed in (5, 6)]
    together = finetune(photos, tmp_path / "out", seed=5, seeds=2, **SETTINGS)
    expected = [one.metrics["validation"]["accuracy"] for one in alone]
    found = together.metrics["seeds"]
    assert found["count"] == 2
    assert found["validation"]["accuracies"] == pytest.approx(expected)
    assert found["validation"]["mean"] == pytest.approx(statistics.mean(expected))
    assert found["test"] is None
    assert alone[0].metrics["seeds"] is None
    head, first = together.model.head, alone[0].model.head
    assert head is not None
    assert first is not None
    assert np.allclose(head[0], first[0], atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "alone5", "alone6", "out"}


def test_an_interrupted_call_continues_with_the_next_seed(photos: Path, tmp_path: Path) -> None:
    """The second seed is done when Ctrl-C comes in the third; the second call does not train it again."""

    def interrupt(task: str, done: int, total: int | None) -> None:
        if task == "seed 3 of 3: head":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(photos, tmp_path / "out", seeds=3, **SETTINGS, progress=interrupt)
    assert not (tmp_path / "out").exists()
    tasks: list[str] = []
    finetune(
        photos, tmp_path / "out", seeds=3, **SETTINGS, progress=lambda task, done, total: tasks.append(task)
    )
    assert not any(task.startswith("seed 2") for task in tasks)
    assert any(task.startswith("seed 3") for task in tasks)


def test_the_command_reports_mean_and_deviation(photos: Path, tmp_path: Path) -> None:
    """And JSON has them."""
    arguments = ["finetune", str(photos), "--out", str(tmp_path / "out"), "--seeds", "2"]
    result = CliRunner().invoke(main, [*arguments, "--head-only", "--head-epochs", "4"])
    assert result.exit_code == 0, result.output
    assert "validation of 2 seeds: accuracy" in result.output
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["seeds"]["count"] == 2


def test_the_spread_needs_two_figures() -> None:
    """A seed without validation photos has none; no seed is a mistake."""
    described = describe_seeds({"validation": 0.8, "test": None}, [{"validation": 0.9, "test": 1.0}])
    assert described is not None
    assert described["validation"]["mean"] == pytest.approx(0.85)
    assert described["validation"]["deviation"] == pytest.approx(0.0707, abs=1e-4)
    assert described["test"] is None
    assert describe_seeds({"validation": 0.8, "test": None}, []) is None
    with pytest.raises(TrainingError, match="seeds must be 1 or more"):
        finetune("photos", "out", seeds=0)

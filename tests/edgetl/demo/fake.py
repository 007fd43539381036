"""A made-up ELPV folder, a made-up result, and a host stage that needs no TensorFlow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgetl.demo.host import MODEL, RESULT, Recipe
from edgetl.demo.results import DemoResult, FieldResult, HostResult, Score, Step
from tests.tiny import TINY_TAUGHT

PROBABILITIES = ("0.0", "1.0", "0.3333333333333333", "0.0", "0.6666666666666666", "1.0")


def elpv(folder: Path, cells: int = 48) -> Path:
    """Write `cells` gray photos and their list in the form of the data set; every other cell is mono."""
    (folder / "images").mkdir(parents=True)
    chooser = np.random.default_rng(5)
    lines = []
    for number in range(cells):
        name = f"images/cell{number + 1:04d}.png"
        probability = PROBABILITIES[number // 2 % len(PROBABILITIES)]
        brightness = 60 if probability == "1.0" else 180
        image = chooser.integers(brightness, brightness + 30, (40, 40), np.uint8)
        cv2.imwrite(str(folder / name), image)
        lines.append(f"{name}  {probability:>20}  {('mono', 'poly')[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def train_and_convert(photos: Path, folder: Path, recipe: Recipe, progress: Any) -> HostResult:
    """Copy a tiny model file that knows three colors, in place of the host stage."""
    progress("training the head", 1, 1)
    shutil.copyfile(TINY_TAUGHT, folder / MODEL)
    result = host_result(recipe)
    (folder / RESULT).write_text(json.dumps(result))
    return result


def host_result(recipe: Recipe | None = None) -> HostResult:
    """Return a made-up result of the host."""
    recipe = recipe or Recipe()
    return HostResult(
        backbone=recipe.backbone,
        last_blocks=recipe.blocks,
        fine_tuned=bool(recipe.blocks),
        training={},
        conversion={"quantization": "int8", "parity": {"cosine_mean": 0.98, "photos": 64, "classifier": ""}},
        model_bytes=4_800_000,
        memory_bytes=500_000,
        seconds={"finetune": 40.0, "convert": 30.0},
        versions={"edgetl": "0.1.0", "tensorflow": None},
        when="2026-01-01 12:00",
    )


def field_result(labels: tuple[str, str] = ("defective", "intact"), photo: str = "a/b.png") -> FieldResult:
    """Return a made-up result of the device."""
    guess = {"label": labels[0], "probability": 0.75, "known": False}
    return FieldResult(
        labels=list(labels),
        runtime="ai-edge-litert 2.3.0",
        threads=2,
        machine={
            "cpu": "A <fast> & cheap one",
            "board": None,
            "architecture": "x86_64",
            "cores": 2,
            "system": "Debian",
            "python": "3.11",
            "load": 0.1,
        },
        tensorflow_imported=False,
        steps=[step(0, 0.32), step(20, 0.79), step(40, 0.9)],
        spread=[{"taught": 20, "orders": 10, "mean": 0.7, "low": 0.5, "high": 0.8}],
        confusion_before=[[9, 1], [29, 1]],
        confusion_after=[[8, 2], [2, 28]],
        times={name: {"p50": 4.0, "p95": 5.0, "count": 9} for name in ("embedding", "head", "durable")},
        taught={labels[0]: 10, labels[1]: 30},
        host_memory={labels[0]: 5, labels[1]: 15},
        estimate=0.87,
        examples=[{"photo": photo, "truth": labels[1], "before": guess, "after": guess}],  # type: ignore[typeddict-item]
        state_bytes=1_000_000,
        head={"name": "exact", "digest": "0123456789abcdef0123"},
        seconds=12.0,
        when="2026-01-01 12:01",
    )


def demo_result(field: FieldResult | None = None) -> DemoResult:
    """Return a made-up result of the demo."""
    counts = {"defective": 10, "intact": 30}
    return DemoResult(
        seed=0,
        cells=dict.fromkeys(("lab", "lab_held_out", "field", "field_held_out"), counts),
        host=host_result(),
        field=field or field_result(),
        model="cells.tflite",
        state="cells.db",
        report="report.html",
        reused=[],
    )


def step(taught: int, accuracy: float) -> Step:
    """Return a step with `accuracy` in the field."""
    score = Score(cells=40, accuracy=accuracy, balanced=accuracy - 0.05, unknown=0.05)
    return Step(taught=taught, field=score, lab=Score(cells=40, accuracy=0.9, balanced=0.85, unknown=0.05))

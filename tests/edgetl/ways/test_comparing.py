"""`compare`: four ways to train on the same photos, with a tiny backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

import edgetl
from converters.source import TrainedModel
from device.model.modelfile import ModelFile
from edgetl.cli import main
from edgetl.errors import OutputExistsError, TrainingError
from tests import tiny

pytestmark = pytest.mark.usefixtures("tiny_backbone")
SETTINGS: dict[str, Any] = {"resize": "squash", "epochs": 2, "batch": 8, "copies": 1}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Fifteen photos of each of three colors."""
    tiny.write_photos(tmp_path / "photos", 15)
    return tmp_path / "photos"


def test_four_ways_are_trained_judged_and_written(photos: Path, tmp_path: Path) -> None:
    """Each has a folder and a model file; the backbone from scratch is another one, the frozen one the same."""
    result = edgetl.compare(photos, tmp_path / "out", **SETTINGS)
    assert [way.way for way in result.ways] == ["scratch", "frozen", "blocks", "all"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert written == result.to_dict()
    assert (written["judged_on"], written["partial"], written["recommended"]) == (
        "validation",
        False,
        result.recommended,
    )
    start = tiny.backbone().get_weights()
    changed = {}
    for way in result.ways:
        assert way.trained
        assert len(way.predicted) == written["photos"]["validation"]
        assert set(way.evaluation.recall) == set(tiny.COLORS)
        assert way.bytes == (tmp_path / "out" / f"{way.way}.tflite").stat().st_size
        assert ModelFile.open(tmp_path / "out" / f"{way.way}.tflite").labels == tuple(sorted(tiny.COLORS))
        weights = TrainedModel.load(tmp_path / "out" / way.way).backbone.get_weights()
        changed[way.way] = not all(np.allclose(*pair) for pair in zip(start, weights, strict=True))
    assert changed["scratch"]
    assert changed["all"]
    assert not changed["frozen"]
    assert (result.ways[1].epochs, result.ways[3].epochs, result.ways[0].epochs) == (0, 2, 2)
    frozen = result.ways[1].evaluation
    assert frozen.accuracy >= 0.9
    with pytest.raises(OutputExistsError):
        edgetl.compare(photos, tmp_path / "out", **SETTINGS)


def test_ctrl_c_returns_the_ways_so_far_and_the_next_call_continues(photos: Path, tmp_path: Path) -> None:
    """It comes while the last blocks are trained; the frozen backbone is not trained again, nothing is written before."""

    def interrupt(task: str, done: int, total: int | None) -> None:
        if task == "last blocks: blocks":
            raise KeyboardInterrupt

    settings = SETTINGS | {"epochs": None, "minutes": 0.01}
    partial = edgetl.compare(photos, tmp_path / "out", **settings, progress=interrupt)
    assert partial.partial
    assert [way.way for way in partial.trained] == ["frozen"]
    assert partial.recommended == "frozen"
    assert not (tmp_path / "out").exists()
    tasks: list[str] = []
    result = edgetl.compare(
        photos, tmp_path / "out", **settings, progress=lambda task, done, total: tasks.append(task)
    )
    assert not any(task.startswith("frozen") for task in tasks)
    assert [way.way for way in result.trained] == ["frozen", "blocks"]
    assert result.ways[1] == partial.ways[1]
    # a hundredth of a minute is over when all layers would begin
    assert "no time was left" in result.ways[3].note
    assert not result.partial


def test_ctrl_c_before_any_way_is_done_is_raised(photos: Path, tmp_path: Path) -> None:
    """There is nothing to show."""

    def interrupt(task: str, done: int, total: int | None) -> None:
        if task.startswith("frozen"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edgetl.compare(photos, tmp_path / "out", **SETTINGS, progress=interrupt)


def test_all_layers_are_not_trained_where_too_few_epochs_fit(photos: Path, tmp_path: Path) -> None:
    """Not the last blocks in their place, which are another row of the table."""
    from edgetl.training.finetuning import read_photos, train
    from edgetl.training.planning import TooLittleTimeError
    from edgetl.training.settings import Settings

    settings = Settings(backbone="tiny", resize="squash", layers="all", fallback=False, minutes=0.01, batch=8)
    found = read_photos(photos, settings, split=None, skip_empty=False, progress=lambda *_: None)
    with pytest.raises(TooLittleTimeError, match=r"--minutes \d+ is enough"):
        train(found, tmp_path / "out", settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "cnn-28"}, "nothing to compare"),
        ({"validation": 0}, "no photo is left to judge"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    photos: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """Before any training."""
    with pytest.raises(TrainingError, match=message):
        edgetl.compare(photos, tmp_path / "out", **SETTINGS | options)


def test_the_command_refuses_options_that_each_way_decides(photos: Path, tmp_path: Path) -> None:
    """`--layers` names one way, a comparison has four."""
    arguments = ["finetune", str(photos), "--out", str(tmp_path / "out"), "--compare", "--layers", "all"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "leave out --layers" in result.output


def test_options_have_the_defaults_of_finetune() -> None:
    """`finetune --compare` passes them on."""
    import inspect

    mine, theirs = (inspect.signature(one).parameters for one in (edgetl.compare, edgetl.finetune))
    assert set(mine) <= set(theirs)
    assert all(mine[name].default == theirs[name].default for name in mine if name != "progress")

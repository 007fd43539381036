"""`finetune` from an earlier trained model: its backbone, its labels, and what is left of its accuracy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

from converters.origin import FINE_TUNED, origin_of
from converters.source import TrainedModel
from edgetl import finetune
from edgetl.cli import main
from edgetl.errors import TrainingError
from edgetl.evaluation import evaluate
from edgetl.photos import Photo
from edgetl.training.comparison import Comparison
from edgetl.training.preserving import choose_replay, hold_embeddings, hold_weights, make_penalty
from edgetl.training.whole import Recipe, WholeTraining
from tests import tiny
from tests.edgetl.training.test_whole import make_backbone, make_pipeline

OLD, NEW = ("blue", "green", "red"), ("white", "yellow")
SETTINGS: dict[str, Any] = {"head_epochs": 40, "batch": 8, "copies": 1}


@pytest.fixture
def earlier(tmp_path: Path, tiny_backbone: None) -> Path:
    """Return the folder of a model of three colors whose last block was trained; new photos are in ``new``."""
    tiny.write_photos(tmp_path / "old", 15, OLD)
    tiny.write_photos(tmp_path / "new", 15, NEW)
    finetune(tmp_path / "old", tmp_path / "first", resize="squash", blocks=1, epochs=3, **SETTINGS)
    return tmp_path / "first"


@pytest.mark.parametrize("preserve", ["none", "weights", "distill", "replay"])
def test_the_new_model_knows_old_and_new_labels(earlier: Path, tmp_path: Path, preserve: str) -> None:
    """Its backbone starts from the earlier one; the accuracy on old photos is reported before and after."""
    outcome = finetune(
        tmp_path / "new",
        tmp_path / "second",
        start=earlier,
        preserve=preserve,
        blocks=1,
        epochs=2,
        **SETTINGS,
    )
    old = outcome.metrics["old_task"]
    assert old["labels"] == list(OLD)
    assert (old["photos"], old["missing"], old["preserve"]) == (45, 0, preserve)
    assert old["accuracy"]["judged"] == 9
    assert old["accuracy"]["before"] >= 8
    assert old["accuracy"]["after"] >= 7
    model = TrainedModel.load(tmp_path / "second")
    assert model.labels == (*OLD, *NEW)
    assert model.tuned
    assert origin_of(model) == FINE_TUNED
    assert len(model.photos) == 75
    others = tmp_path / "others"
    tiny.write_photos(others, 8, (*OLD, *NEW), first=100)
    assert evaluate(tmp_path / "second", others).accuracy >= 0.8
    trained_again = outcome.metrics["photos"]["training"]
    assert (trained_again["red"] > 0) == (preserve == "replay")


def test_all_layers_start_from_the_earlier_backbone(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rate of almost nothing, the result is the earlier backbone; with the default rate it is not."""
    monkeypatch.setattr(Comparison, "keeps_tuned", property(lambda _: True))
    before = TrainedModel.load(earlier).backbone.get_weights()
    moved = []
    for rate in (1e-8, 1e-2):
        outcome = finetune(
            tmp_path / "new",
            tmp_path / f"rate{rate}",
            start=earlier,
            layers="all",
            epochs=1,
            rate=rate,
            **SETTINGS,
        )
        after = outcome.model.backbone.get_weights()
        moved.append(max(float(np.abs(one - other).max()) for one, other in zip(before, after, strict=True)))
        assert outcome.metrics["old_task"]["accuracy"]["judged"] == 9
    assert moved[0] < 1e-5
    assert moved[1] > 1e-4


def test_without_its_photos_the_agreement_of_the_old_head_is_reported(earlier: Path, tmp_path: Path) -> None:
    """The new model does not know the old labels then, and a replay is refused."""
    shutil.rmtree(tmp_path / "old")
    with pytest.raises(TrainingError, match="no longer exist, so they cannot be replayed"):
        finetune(tmp_path / "new", tmp_path / "second", start=earlier, preserve="replay")
    result = CliRunner().invoke(
        main,
        [
            *("finetune", str(tmp_path / "new"), "--from", str(earlier), "--out", str(tmp_path / "second")),
            *("--blocks", "1", "--epochs", "1", "--head-epochs", "5", "--copies", "0"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "does not know its labels: blue, green, red" in result.output
    assert "of 30 new photos (preserve: distill)" in result.output
    metrics = json.loads((tmp_path / "second" / "metrics.json").read_text())
    assert metrics["old_task"]["accuracy"] is None
    assert 0 <= metrics["old_task"]["agreement"]["same"] <= 30
    assert metrics["labels"] == list(NEW)


def test_the_same_photos_again_do_not_judge_what_they_tuned(earlier: Path, tmp_path: Path) -> None:
    """A folder that grew: another seed would hold out photos that tuned the earlier backbone."""
    tiny.write_photos(tmp_path / "old", 5, OLD, first=50)
    outcome = finetune(
        tmp_path / "old", tmp_path / "second", start=earlier, head_only=True, head_epochs=5, seed=3
    )
    tuned_before = {path for path, judge in zip(*_photos(earlier), strict=True) if not judge}
    judges = {path for path, judge in zip(*_photos(tmp_path / "second"), strict=True) if judge}
    assert judges
    assert not judges & tuned_before
    assert any("do not judge" in warning for warning in outcome.warnings)
    assert outcome.model.labels == OLD


def _photos(folder: Path) -> tuple[list[Path], list[bool]]:
    model = TrainedModel.load(folder)
    return [path for path, _ in model.photos], model.judges.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preserve": "replay"}, "needs an earlier trained model"),
        ({"start": "x", "backbone": "cnn-28"}, "leave out the backbone"),
        ({"start": "x", "weights": "y.h5"}, "leave out the backbone"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """Before anything is read."""
    with pytest.raises(TrainingError, match=message):
        finetune(tmp_path, tmp_path / "out", **options)


def drift(tmp_path: Path, way: str) -> tuple[float, float]:
    """Return the distance of the weights, and of embeddings of other photos, after training with a penalty."""
    backbone = make_backbone()
    start = backbone.get_weights()
    other = np.random.default_rng(0).normal(0, 1, (16, 16, 16, 3)).astype(np.float32)
    before = np.asarray(backbone(other, training=False))
    penalty = {
        "none": lambda: None,
        "weights": lambda: hold_weights(backbone, 10.0),
        "distill": lambda: hold_embeddings(backbone, 100.0),
    }[way]()
    phase = WholeTraining(backbone, np.ones(3), Recipe(epochs=4, rate=0.01), penalty=penalty)
    phase.run(make_pipeline(tmp_path / way), None)
    weights = sum(
        float(((one - two) ** 2).sum()) for one, two in zip(start, backbone.get_weights(), strict=True)
    )
    after = np.asarray(backbone(other, training=False))
    return weights, float(np.square(after - before).mean())


def test_penalties_keep_weights_and_embeddings_close(tmp_path: Path) -> None:
    """Each holds what it is for, on photos that it never saw."""
    free, held, distilled = (drift(tmp_path, way) for way in ("none", "weights", "distill"))
    assert held[0] < 0.2 * free[0]
    assert distilled[1] < 0.5 * free[1]


def test_penalties_are_zero_at_the_start() -> None:
    """And positive after a step away."""
    backbone = make_backbone()
    images = np.random.default_rng(0).normal(0, 1, (5, 16, 16, 3)).astype(np.float32)
    for way in ("weights", "distill"):
        penalty = make_penalty(backbone, way)
        assert penalty is not None
        assert float(penalty(images, backbone(images))) == pytest.approx(0, abs=1e-6)
        kernel = backbone.get_layer("conv").kernel
        start = np.array(kernel)
        kernel.assign(start + 0.3 * np.sign(start))
        assert float(penalty(images, backbone(images))) > 1e-4
        kernel.assign(start)
    assert make_penalty(backbone, "replay") is None


def test_replayed_photos_are_dealt_evenly_over_the_labels() -> None:
    """Two of each of three labels, and all of them where there are fewer; the same for the same seed."""
    photos = [Photo(Path(f"{label}{number}"), label) for label in "abc" for number in range(5)]
    chosen = choose_replay(photos, 6, 0)
    assert sorted(photo.label for photo in chosen) == list("aabbcc")
    assert chosen == choose_replay(photos, 6, 0)
    assert chosen != choose_replay(photos, 6, 1)
    assert len(choose_replay(photos, 100, 0)) == 15

"""`finetune` with all layers, from the photos to the trained model, on a tiny backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

from converters.source import TrainedModel
from edgetl import finetune
from edgetl.cli import main
from edgetl.training import comparison, planning
from edgetl.training.comparison import Comparison, Judgment, choose_share, judge_backbone
from edgetl.training.whole import WholeTraining
from tests import tiny

pytestmark = pytest.mark.usefixtures("tiny_backbone")
SETTINGS: dict[str, Any] = {"resize": "squash", "head_epochs": 5, "batch": 8}


@pytest.fixture
def _better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tuned backbone win: on these photos the frozen one is perfect already."""
    monkeypatch.setattr(Comparison, "keeps_tuned", property(lambda self: True))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos of each of three colors."""
    tiny.write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def weights(model: TrainedModel) -> list[np.ndarray]:
    """Return all weights of the backbone and the head."""
    assert model.head is not None
    return [*model.backbone.get_weights(), *model.head]


@pytest.mark.usefixtures("_better")
def test_photos_that_tuned_all_layers_may_not_judge(photos: Path, tmp_path: Path) -> None:
    """The held-out ones may; the metrics have the comparison and the epoch that is kept."""
    outcome = finetune(photos, tmp_path / "out", layers="all", epochs=3, **SETTINGS)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    model = TrainedModel.load(tmp_path / "out")
    assert (metrics["layers"], metrics["epochs"]["all"], metrics["epochs"]["blocks"]) == ("all", 3, 0)
    assert 1 <= metrics["epochs"]["all_kept"] <= 3
    assert metrics["comparison"]["photos"] == sum(metrics["photos"]["validation"].values())
    assert model.tuned
    assert list(model.judges) == list(model.held_out)
    assert 0 < model.judges.sum() < len(model.photos)
    assert not np.array_equal(weights(outcome.model)[0], tiny.backbone().get_weights()[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]


def test_a_tuned_backbone_that_is_no_better_is_discarded(photos: Path, tmp_path: Path) -> None:
    """A rate far too high ruins all layers: the frozen weights are written, and all photos may judge."""
    options = [
        "--layers",
        "all",
        "--epochs",
        "2",
        "--rate",
        "0.9",
        "--resize",
        "squash",
        "--head-epochs",
        "5",
    ]
    done = CliRunner().invoke(main, ["finetune", str(photos), "--out", str(tmp_path / "out"), *options])
    assert done.exit_code == 0, done.output
    assert "kept: unchanged" in done.stdout
    assert "2 epochs of all layers (backbone unchanged)" in done.stdout
    model = TrainedModel.load(tmp_path / "out")
    assert (model.tuned, model.judges.all()) == (False, True)
    for now, then in zip(model.backbone.get_weights(), tiny.backbone().get_weights(), strict=True):
        assert np.array_equal(now, then)


@pytest.mark.usefixtures("_better")
@pytest.mark.parametrize("task", ["all layers, epoch 2", "features of the tuned backbone"])
def test_a_killed_run_continues_exactly(photos: Path, tmp_path: Path, task: str) -> None:
    """Killed in the second epoch, or after the training."""
    whole = finetune(photos, tmp_path / "whole", layers="all", epochs=3, **SETTINGS)

    def kill(at: str, done: int, total: int | None) -> None:
        if at.startswith(task):
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        finetune(photos, tmp_path / "out", layers="all", epochs=3, **SETTINGS, progress=kill)
    assert not (tmp_path / "out").exists()
    outcome = finetune(photos, tmp_path / "out", layers="all", epochs=3, **SETTINGS)
    assert outcome.metrics["resumed"]
    for one, other in zip(weights(whole.model), weights(outcome.model), strict=True):
        assert np.allclose(one, other, atol=1e-5)


@pytest.mark.usefixtures("_better")
def test_ctrl_c_writes_the_best_so_far(photos: Path, tmp_path: Path) -> None:
    """In the third of five epochs; a warning says so."""

    def interrupt(at: str, done: int, total: int | None) -> None:
        if at.startswith("all layers, epoch 3"):
            raise KeyboardInterrupt

    outcome = finetune(photos, tmp_path / "out", layers="all", epochs=5, **SETTINGS, progress=interrupt)
    assert outcome.metrics["epochs"]["all"] == 2
    assert "after epoch 2 of 5" in " ".join(outcome.warnings)
    assert TrainedModel.load(tmp_path / "out").tuned


def test_ctrl_c_before_the_first_epoch_ends_leaves_no_model(photos: Path, tmp_path: Path) -> None:
    """There is nothing to keep yet; the same call continues."""

    def interrupt(at: str, done: int, total: int | None) -> None:
        if at.startswith("all layers"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(photos, tmp_path / "out", layers="all", epochs=2, **SETTINGS, progress=interrupt)
    assert not (tmp_path / "out").exists()
    assert finetune(photos, tmp_path / "out", layers="all", epochs=2, **SETTINGS).metrics["resumed"]


def test_auto_trains_the_last_blocks_of_few_photos(photos: Path, tmp_path: Path) -> None:
    """The reason is a warning."""
    outcome = finetune(photos, tmp_path / "out", epochs=1, minutes=10, **SETTINGS)
    assert (outcome.metrics["layers"], outcome.metrics["comparison"]) == ("blocks", None)
    assert "30 training photos" in " ".join(outcome.warnings)


def test_a_default_run_trains_all_layers_of_enough_photos(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer the last blocks, without a warning: the user did not grant time for all layers."""
    few = finetune(photos, tmp_path / "few", epochs=1, **SETTINGS)
    assert (few.metrics["layers"], few.warnings) == ("blocks", ())
    monkeypatch.setattr(planning, "ENOUGH_PHOTOS", 10)
    enough = finetune(photos, tmp_path / "out", epochs=1, **SETTINGS)
    assert (enough.metrics["layers"], enough.metrics["epochs"]["all"]) == ("all", 1)


@pytest.mark.parametrize(("step", "layers"), [(0.01, "all"), (40.0, "blocks"), (90.0, "head")])
def test_auto_chooses_by_the_measured_speed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float, layers: str
) -> None:
    """Ten minutes and four steps per epoch: many epochs of quick steps fit, three or one of slow ones."""
    monkeypatch.setattr(planning, "ENOUGH_PHOTOS", 10)
    monkeypatch.setattr(WholeTraining, "measure_step", lambda self, pipeline: step)
    if layers == "all":
        monkeypatch.setattr(planning, "MOST_EPOCHS", 4)
    outcome = finetune(photos, tmp_path / "out", minutes=10, copies=1, **SETTINGS)
    assert outcome.metrics["layers"] == layers
    assert outcome.metrics["epochs"]["all"] == (4 if layers == "all" else 0)
    assert ("--minutes" in " ".join(outcome.warnings)) == (layers != "all")


def test_without_held_out_photos_the_last_epoch_is_kept(photos: Path, tmp_path: Path) -> None:
    """Nothing can be compared, and no photo may judge."""
    outcome = finetune(photos, tmp_path / "out", layers="all", epochs=2, validation=0, **SETTINGS)
    assert (outcome.metrics["comparison"], outcome.metrics["epochs"]["all_kept"]) == (None, 2)
    assert not outcome.model.judges.any()


def test_backbones_are_judged_by_the_exact_head_on_held_out_photos() -> None:
    """Embeddings that separate two labels win over noise; without held-out photos there is no judgment."""
    generator = np.random.default_rng(0)
    labels = ("a", "b") * 30
    noise = generator.normal(size=(60, 4)).astype(np.float32)
    apart = noise + np.array([[9, 0, 0, 0], [-9, 0, 0, 0]], np.float32)[np.arange(60) % 2]
    held_out, groups = np.arange(60) >= 40, np.arange(60, dtype=np.int32)
    worse = judge_backbone(noise, labels, held_out, groups, tuned=False)
    better = judge_backbone(apart, labels, held_out, groups, tuned=True)
    assert worse is not None
    assert better is not None
    assert (better.correct, better.loss < worse.loss) == (20, True)
    assert worse.correct < 20
    assert judge_backbone(apart, labels, np.zeros(60, bool), groups, tuned=True) is None


@pytest.mark.parametrize(
    ("frozen", "tuned", "share", "better"),
    [
        ((17, 0.5), {1.0: (19, 0.4), 0.3: (18, 0.6)}, 0.3, True),  # one photo more is chance
        ((7, 0.5), {1.0: (19, 0.4), 0.3: (8, 0.3)}, 1.0, True),  # eleven more are not
        ((18, 0.5), {1.0: (19, 0.4), 0.3: (17, 0.3)}, 1.0, True),  # the preferred one recognizes too few
        ((18, 0.5), {1.0: (18, 0.3), 0.5: (17, 0.3)}, 1.0, True),  # as many, far more certain
        ((18, 0.5), {1.0: (18, 0.495), 0.5: (17, 0.3)}, 1.0, False),  # as many, hardly more certain
        ((18, 0.5), {1.0: (16, 0.1), 0.5: (17, 0.3)}, 0.5, False),  # both recognize fewer
    ],
)
def test_the_tuned_backbone_never_recognizes_fewer_held_out_photos(
    frozen: tuple[int, float], tuned: dict[float, tuple[int, float]], share: float, better: bool
) -> None:
    """Among those that are better than the frozen one, the preferred one is kept unless another is surely better."""
    before, *_ = judgments = [
        Judgment(np.arange(20) < correct, loss) for correct, loss in (frozen, *tuned.values())
    ]
    chosen = choose_share(before, dict(zip(tuned, judgments[1:], strict=True)))
    assert (chosen.photos, chosen.frozen, chosen.tuned) == (20, frozen[0], tuned[share][0])
    assert (chosen.share, chosen.keeps_tuned) == (share, better)
    assert chosen.to_dict()["kept"] == ("tuned" if better else "frozen")


def test_differences_in_both_directions_count_as_chance() -> None:
    """Six photos gained and two lost are not two standard errors; six gained alone are."""
    few, mixed, more = np.zeros(20, bool), np.zeros(20, bool), np.zeros(20, bool)
    few[:8] = mixed[2:14] = more[:14] = True
    judged = [Judgment(hits, 0.5) for hits in (few, mixed, more)]
    assert [found.is_surely_better(judged[0]) for found in judged] == [False, False, True]


def test_a_training_photo_that_cannot_be_read_is_left_out(photos: Path, tmp_path: Path) -> None:
    """Cut off in the middle; the rows of the embeddings still belong to their photos."""
    cut = sorted((photos / "green").iterdir())[0]
    cut.write_bytes(cut.read_bytes()[:200])
    outcome = finetune(photos, tmp_path / "out", layers="all", epochs=1, **SETTINGS)
    assert cut.name in " ".join(outcome.warnings)
    assert len(outcome.model.photos) == 35


def test_a_tuned_backbone_is_not_judged_by_a_head_without_a_ridge_of_its_own() -> None:
    """Two equal backbones score nearly alike, though only the held-out photos may choose the ridge of one of them."""
    generator = np.random.default_rng(1)
    labels = tuple("abcd"[place % 4] for place in range(400))
    centers = generator.normal(size=(4, 64))
    embeddings = (centers[np.arange(400) % 4] + generator.normal(0, 2.2, (400, 64))).astype(np.float32)
    held_out, groups = np.arange(400) >= 300, np.arange(400, dtype=np.int32)
    frozen, tuned = (
        judge_backbone(embeddings, labels, held_out, groups, tuned=tuned) for tuned in (False, True)
    )
    assert frozen is not None
    assert tuned is not None
    assert 60 < frozen.correct < 100
    assert abs(frozen.correct - tuned.correct) <= 3


def test_look_alikes_are_predicted_in_one_fold() -> None:
    """Each held-out photo is in one fold, with its group; labels are spread over the folds."""
    labels, groups = ("a", "b") * 20, np.repeat(np.arange(20, dtype=np.int32), 2)
    held_out = np.arange(40) >= 10
    folds = comparison.divide(labels, held_out, groups)
    assert len(folds) == 5
    assert np.array_equal(np.sum(folds, axis=0), held_out)
    for fold in folds:
        assert not set(groups[fold]) & set(groups[held_out & ~fold])
        assert {labels[place] for place in np.flatnonzero(fold)} == {"a", "b"}

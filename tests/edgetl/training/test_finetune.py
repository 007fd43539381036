"""Fine-tuning from end to end, on a tiny backbone and synthetic photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

from converters.source import TrainedModel
from device.errors import StorageError
from edgetl import finetune
from edgetl.cli import main
from edgetl.errors import OutputExistsError, PhotoFolderError, TrainingError
from edgetl.evaluation import evaluate
from edgetl.evaluation.figures import tabulate
from edgetl.training import Settings
from edgetl.training import features as features_module
from edgetl.training.head import balance
from tests import tiny

pytestmark = pytest.mark.usefixtures("tiny_backbone")
SETTINGS: dict[str, Any] = {
    "backbone": "tiny",
    "resize": "squash",
    "head_epochs": 100,
    "epochs": 3,
    "blocks": 1,
    "batch": 8,
    "copies": 1,
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with twelve photos of each of three colors; one label has a space and an umlaut."""
    tiny.write_photos(tmp_path / "photos")
    (tmp_path / "photos" / "red").rename(tmp_path / "photos" / "rötlich rund")
    return tmp_path / "photos"


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Return photos of the same three labels that no test trains on."""
    tiny.write_photos(tmp_path / "others", first=100)
    (tmp_path / "others" / "red").rename(tmp_path / "others" / "rötlich rund")
    return tmp_path / "others"


def test_a_folder_of_photos_becomes_a_trained_model(photos: Path, others: Path, tmp_path: Path) -> None:
    """Labels are sorted, metrics and curve are written, and other photos are predicted correctly."""
    outcome = finetune(photos, tmp_path / "out", **SETTINGS)
    model = TrainedModel.load(tmp_path / "out")
    assert model.labels == ("blue", "green", "rötlich rund")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["labels"] == list(model.labels)
    assert (tmp_path / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert outcome.metrics["epochs"]["blocks"] >= 1
    assert evaluate(tmp_path / "out", others).accuracy >= 0.9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["others", "out", "photos"]


def test_photos_that_trained_the_model_do_not_judge_it(photos: Path, others: Path, tmp_path: Path) -> None:
    """Copies with other names are recognized; if the training photos are gone, a warning says so."""
    finetune(photos, tmp_path / "out", **SETTINGS | {"blocks": 0, "validation": 0})
    with pytest.raises(PhotoFolderError, match="was taught all 36 photos"):
        evaluate(tmp_path / "out", photos)
    for path in (photos / "blue").iterdir():
        (others / "blue" / f"copy-{path.name}").write_bytes(path.read_bytes())
    result = evaluate(tmp_path / "out", others)
    assert (len(result.taught), result.photos, result.unrecognizable) == (12, 36, 0)
    photos.rename(tmp_path / "moved")
    assert evaluate(tmp_path / "out", others).unrecognizable == 36


def test_the_same_seed_leads_to_the_same_model(photos: Path, tmp_path: Path) -> None:
    """Head and last blocks are equal to within the last bits of float32."""
    one, two = (finetune(photos, tmp_path / name, **SETTINGS).model for name in ("one", "two"))
    for first, second in zip(_weights(one), _weights(two), strict=True):
        assert np.allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("stage", ["features", "blocks"])
def test_a_continued_run_ends_like_an_uninterrupted_one(photos: Path, tmp_path: Path, stage: str) -> None:
    """It is interrupted in the features or in the second epoch of the blocks."""
    whole = finetune(photos, tmp_path / "whole", **SETTINGS).model

    def interrupt(at: str, done: int, total: int | None) -> None:
        if at == stage and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(photos, tmp_path / "out", **SETTINGS, progress=interrupt)
    assert not (tmp_path / "out").exists()
    outcome = finetune(photos, tmp_path / "out", **SETTINGS)
    assert outcome.metrics["resumed"]
    for first, second in zip(_weights(whole), _weights(outcome.model), strict=True):
        assert np.allclose(first, second, atol=1e-5)


def test_an_interrupted_run_is_not_continued_with_other_settings(photos: Path, tmp_path: Path) -> None:
    """The error lists the differences; --restart starts again."""

    def interrupt(at: str, done: int, total: int | None) -> None:
        if at == "blocks":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(photos, tmp_path / "out", **SETTINGS, progress=interrupt)
    with pytest.raises(TrainingError, match=r"rate was .* --restart"):
        finetune(photos, tmp_path / "out", **SETTINGS | {"rate": 1e-3})
    assert not finetune(photos, tmp_path / "out", **SETTINGS | {"rate": 1e-3}, restart=True).metrics[
        "resumed"
    ]


def test_unreadable_photos_are_skipped_and_listed(photos: Path, tmp_path: Path) -> None:
    """A text file named .jpg and a truncated photo are skipped."""
    (photos / "blue" / "text.jpg").write_text("not a photo")
    cut = next((photos / "green").iterdir())
    cut.write_bytes(cut.read_bytes()[:100])
    outcome = finetune(photos, tmp_path / "out", **SETTINGS | {"blocks": 0})
    assert len(outcome.metrics["skipped"]) + outcome.metrics["ignored_files"] == 2
    assert "text.jpg" in " ".join(outcome.warnings)


def test_a_folder_of_damaged_photos_is_refused(photos: Path, tmp_path: Path) -> None:
    """The folder has no photo that can be used."""
    for path in photos.rglob("*.png"):
        path.write_text(f"damaged {path}")
    with pytest.raises(PhotoFolderError, match="no photo that can be used"):
        finetune(photos, tmp_path / "out", **SETTINGS)


def test_force_overwrites_a_trained_model_but_no_other_folder(photos: Path, tmp_path: Path) -> None:
    """--force replaces a trained model, and nothing else."""
    finetune(photos, tmp_path / "out", **SETTINGS | {"blocks": 0})
    with pytest.raises(OutputExistsError, match="--force"):
        finetune(photos, tmp_path / "out", **SETTINGS | {"blocks": 0})
    finetune(photos, tmp_path / "out", **SETTINGS | {"blocks": 0}, force=True)
    with pytest.raises(OutputExistsError, match="no trained model"):
        finetune(photos, photos, **SETTINGS | {"blocks": 0}, force=True)


def test_class_weights_help_the_rare_label() -> None:
    """Labels with few photos weigh the same in the loss."""
    assert balance(np.array([0] * 9 + [1]), 2, True).tolist() == [10 / 18, 5.0]
    assert balance(np.array([0] * 9 + [1]), 2, False).tolist() == [1.0, 1.0]


def test_a_full_disk_is_reported_while_features_are_written(tmp_path: Path) -> None:
    """/dev/full refuses every byte, as a full disk does."""
    (tmp_path / "features.bin").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="free some space"):
        features_module._append(tmp_path, features_module._State(), np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    "change",
    [{"rate": float("nan")}, {"batch": 0}, {"blocks": -1}, {"resize": "stretch"}, {"validation": 1.5}],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    """Each error names the range."""
    with pytest.raises(TrainingError, match="must be"):
        Settings(**change)


def test_the_command_shows_its_result_and_the_next_step(photos: Path, others: Path, tmp_path: Path) -> None:
    """Stdout shows text, or JSON with --json."""
    out = str(tmp_path / "out")
    arguments = [
        "finetune",
        str(photos),
        "--out",
        out,
        "--head-only",
        "--head-epochs",
        "100",
        "--resize",
        "squash",
    ]
    reported = CliRunner().invoke(main, arguments)
    assert reported.exit_code == 0, reported.output
    assert "edgetl convert" in reported.stdout
    read = CliRunner().invoke(main, [*arguments, "--force", "--json"])
    assert json.loads(read.stdout)["out"] == out
    judged = CliRunner().invoke(main, ["evaluate", out, str(others), "--json"])
    assert json.loads(judged.stdout)["accuracy"] > 0.5  # a third is chance


@pytest.mark.parametrize(
    ("rate", "reported"), [("1e-4", "kept as it was after epoch"), ("1", "backbone unchanged")]
)
def test_epochs_of_the_last_blocks_are_kept_only_if_validation_improves(
    photos: Path, tmp_path: Path, rate: str, reported: str
) -> None:
    """A rate far too high ruins the blocks; the backbone then stays unchanged, and the command says so."""
    options = ["--resize", "squash", "--blocks", "1", "--epochs", "2", "--head-epochs", "10", "--rate", rate]
    out = tmp_path / "out"
    said = CliRunner().invoke(main, ["finetune", str(photos), "--out", str(out), *options])
    assert said.exit_code == 0, said.output
    assert reported in said.stdout
    kept = json.loads((out / "metrics.json").read_text())["epochs"]["blocks_kept"]
    pairs = zip(TrainedModel.load(out).backbone.get_weights(), tiny.backbone().get_weights(), strict=True)
    assert (kept == 0) == all(np.array_equal(now, then) for now, then in pairs)


def test_the_command_refuses_a_single_label_without_a_traceback(photos: Path, tmp_path: Path) -> None:
    """The exit code is 1, and the next step is shown."""
    for label in ("blue", "green"):
        for path in (photos / label).iterdir():
            path.unlink()
    reported = CliRunner().invoke(
        main, ["finetune", str(photos), "--skip-empty", "--out", str(tmp_path / "out")]
    )
    assert reported.exit_code == 1
    assert "background" in reported.stderr
    assert "Traceback" not in reported.stderr


def test_a_read_only_output_folder_is_reported(photos: Path, forbidden: Path) -> None:
    """The error comes before the training, and no file remains."""
    reported = CliRunner().invoke(main, ["finetune", str(photos), "--out", str(forbidden / "out")])
    assert reported.exit_code == 1
    assert "choose a folder you may write to" in reported.stderr
    assert list(forbidden.iterdir()) == []


def test_tabulate_equals_scikit_learn() -> None:
    """Accuracy, balanced accuracy and confusion matrix are equal."""
    metrics = pytest.importorskip("sklearn.metrics")
    chooser = np.random.default_rng(0)
    given, said = chooser.choice(list("abc"), (2, 200)).tolist()
    ours = tabulate(given, said)
    assert ours.accuracy == pytest.approx(metrics.accuracy_score(given, said))
    assert ours.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(given, said))
    assert (ours.confusion == metrics.confusion_matrix(given, said)).all()


def _weights(model: TrainedModel) -> list[np.ndarray]:
    assert model.head is not None
    return [*model.backbone.get_weights(), *model.head]


def test_labels_without_a_validation_photo_are_named_and_there_is_no_balanced_accuracy(
    photos: Path, tmp_path: Path
) -> None:
    """A mean over only the judged labels would be misleading."""
    for path in sorted((photos / "green").iterdir())[1:]:
        path.unlink()
    said = _command(photos, tmp_path / "out", "--blocks", "0")
    assert "not judged: green" in said
    assert "balanced" not in said
    assert "95 % interval" in said
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())["validation"]
    assert (figures["unjudged"], figures["balanced_accuracy"]) == (["green"], None)


def test_the_balanced_accuracy_is_reported_if_every_label_is_judged(photos: Path, tmp_path: Path) -> None:
    """The number of photos is reported too."""
    said = _command(photos, tmp_path / "out", "--blocks", "0")
    assert "balanced" in said
    assert "not judged" not in said


@pytest.mark.parametrize(("blocks", "reported"), [("0", False), ("1", True)])
def test_no_accuracy_is_reported_without_validation_photos(
    photos: Path, tmp_path: Path, blocks: str, reported: bool
) -> None:
    """After fine-tuning, no photo may judge on the device either."""
    options = ["--blocks", blocks, "--epochs", "1", "--validation", "0"]
    said = _command(photos, tmp_path / "out", *options)
    assert "no photo was held out" in said
    assert ("none of them can be used" in said) is reported
    model = TrainedModel.load(tmp_path / "out")
    assert model.judges.any() != reported


def test_photos_that_tuned_the_backbone_are_marked(photos: Path, tmp_path: Path) -> None:
    """Only validation photos may judge, or all photos if the backbone did not change."""
    outcome = finetune(photos, tmp_path / "tuned", **SETTINGS)
    assert outcome.metrics["epochs"]["blocks_kept"] > 0
    held_out = sum(outcome.metrics["photos"]["validation"].values())
    model = TrainedModel.load(tmp_path / "tuned")
    assert model.tuned
    assert model.judges.sum() == sum(model.held_out) == held_out
    frozen = finetune(photos, tmp_path / "frozen", **SETTINGS | {"blocks": 0}).model
    assert (frozen.tuned, sum(frozen.held_out)) == (False, held_out)
    assert frozen.judges.all()


def _command(photos: Path, out: Path, *options: str) -> str:
    arguments = [
        "finetune",
        str(photos),
        "--out",
        str(out),
        "--resize",
        "squash",
        "--head-epochs",
        "10",
        *options,
    ]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout

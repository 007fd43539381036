"""`edgetl evaluate` judges by photos that the model was not taught, and reports the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from device.learner import Learner
from device.model.memory import Sums
from edgetl.cli import main
from edgetl.errors import PhotoFolderError
from edgetl.evaluation import evaluate
from tests import tiny

STRANGERS = 100  # seeds from here on are photos that tiny_taught.tflite was not taught


def run(*arguments: object) -> Result:
    """Run `edgetl evaluate`."""
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def judged(*arguments: object) -> dict[str, Any]:
    """Return the output of `edgetl evaluate --json`."""
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return six photos per label that the model was not taught."""
    tiny.write_photos(tmp_path / "photos", 6, first=STRANGERS)
    return tmp_path / "photos"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model file that the host taught twelve photos per color."""
    return Path(shutil.copy(tiny.TINY_TAUGHT, tmp_path / "tiny.tflite"))


def test_photos_that_the_host_taught_are_not_judged(model: Path, photos: Path) -> None:
    """The accuracy is that of the others, and their number is shown."""
    tiny.write_photos(photos, 4)
    done = run(model, photos, "--json")
    result = json.loads(done.stdout)
    assert (result["taught"], result["photos"]) == (12, 18)
    assert "12 photos were not judged, because the model was taught them" in done.stderr
    assert result["accuracy"] > 0.8


def test_no_accuracy_is_reported_if_all_photos_were_taught(model: Path, tmp_path: Path) -> None:
    """An example is the val part of a split that convert wrote to the memory."""
    tiny.write_photos(tmp_path / "split" / "train", 2, first=STRANGERS)
    tiny.write_photos(tmp_path / "split" / "val", 4)
    done = run(model, tmp_path / "split")
    assert done.exit_code == 1
    assert "was taught all 12 photos" in done.stderr
    assert "cannot be measured" in done.stderr


def test_photos_that_the_device_was_taught_are_not_judged(model: Path, photos: Path, tmp_path: Path) -> None:
    """They are recognized from the state file."""
    state = tmp_path / "tiny.db"
    with Learner.open(model, state) as learner:
        learner.learn_one(tiny.photo("red", STRANGERS), "red")
    assert judged(model, photos, "--state", state)["taught"] == 1
    assert judged(model, photos)["taught"] == 0


def test_photos_are_recognized_if_the_memory_is_sums(photos: Path, tmp_path: Path) -> None:
    """Many photos are kept as sums, with a key of each photo."""
    taught = [(label, seed) for label in tiny.COLORS for seed in range(60)]
    with Learner.open(tiny.TINY, None) as learner:
        if learner.runtime.name != "ai-edge-litert":
            pytest.skip("keys are equal in the runtime that conversions use")
        learner.learn_many([tiny.photo(*one) for one in taught], [label for label, _ in taught])
        exported = learner.export(tmp_path / "sums.tflite")
    assert isinstance(exported.memory, Sums)
    tiny.write_photos(photos, 4)
    result = judged(tmp_path / "sums.tflite", photos)
    assert (result["taught"], result["photos"], result["unrecognizable"]) == (12, 18, 0)


def test_labels_that_were_not_judged_are_named(model: Path, photos: Path) -> None:
    """A label without photos to judge has no accuracy, and is listed."""
    shutil.rmtree(photos / "red")
    done = run(model, photos)
    assert done.exit_code == 0
    assert "not judged, because there are no photos of them: red (1 of 3 labels)" in done.stderr


def test_labels_that_the_model_does_not_know_are_named(model: Path, photos: Path) -> None:
    """The label that was probably meant is suggested."""
    (photos / "red").rename(photos / "Red")
    done = run(model, photos, "--json")
    assert json.loads(done.stdout)["not_known"] == {"Red": "red"}
    assert "Red (did you mean red?)" in done.stderr


def test_no_accuracy_is_reported_if_the_model_knows_none_of_the_labels(model: Path, photos: Path) -> None:
    """Both lists of labels are shown."""
    for label in tiny.COLORS:
        (photos / label).rename(photos / f"{label} one")
    with pytest.raises(PhotoFolderError, match=r"knows none of the labels.* it knows blue, green, red"):
        evaluate(model, photos)


def test_no_accuracy_is_reported_on_taught_photos_and_unknown_labels(model: Path, tmp_path: Path) -> None:
    """Predictions for photos of unknown labels are always wrong."""
    tiny.write_photos(tmp_path / "mixed", 2)
    tiny.write_photos(tmp_path / "mixed", 2, ("white",), first=STRANGERS)
    with pytest.raises(PhotoFolderError, match="was taught all 6 photos"):
        evaluate(model, tmp_path / "mixed")


def test_the_same_photos_under_two_labels_are_an_error(model: Path, tmp_path: Path) -> None:
    """The error is a message, not an IndexError."""
    tiny.write_photos(tmp_path / "twice", 2, ("red",), first=STRANGERS)
    shutil.copytree(tmp_path / "twice" / "red", tmp_path / "twice" / "blue")
    done = run(model, tmp_path / "twice")
    assert done.exit_code == 1
    assert "the same under another label" in done.stderr


def test_an_empty_label_is_an_error_unless_it_is_skipped(model: Path, photos: Path) -> None:
    """The option is the same for every command that reads photos."""
    for path in (photos / "red").iterdir():
        path.write_bytes(b"")
    assert run(model, photos).exit_code == 1
    assert judged(model, photos, "--skip-empty")["not_judged"] == ["red"]


def test_photos_that_cannot_be_decoded_are_counted_by_reason(model: Path, photos: Path) -> None:
    """A truncated photo looks like a photo by its first bytes."""
    last = sorted((photos / "red").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:200])
    result = judged(model, photos)
    assert result["left_out"] == [{"path": f"red/{last.name}", "label": "red", "reason": "not-an-image"}]
    assert result["photos"] == 17


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, Path]:
    """Return a state file with 43 long labels, and a folder with the same labels."""
    names = [f"species {number:02d} with a name that is rather long" for number in range(43)]
    colors = sorted(tiny.COLORS)
    state = tmp_path / "many.db"
    with Learner.open(tiny.TINY, state, head="ncm") as learner:
        for number, name in enumerate(names):
            learner.learn_one(tiny.photo(colors[number % 3], number), name)
    for number, name in enumerate(names):
        ((pair, _),) = tiny.write_photos(
            tmp_path / "drawn", 1, (colors[number % 3],), first=STRANGERS + number
        )
        (tmp_path / "photos" / name).mkdir(parents=True)
        pair.rename(tmp_path / "photos" / name / pair.name)
    return state, tmp_path / "photos"


def test_no_line_is_wider_than_100_columns_with_43_labels(many: tuple[Path, Path]) -> None:
    """The worst confusions are listed; the complete matrix is in the JSON."""
    state, photos = many
    done = run(tiny.TINY, photos, "--state", state, "--head", "ncm")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 100
    assert "predicted as" in done.stdout
    result = judged(tiny.TINY, photos, "--state", state, "--head", "ncm")
    assert len(result["confusion"]) == len(result["labels"]) == 43


def test_the_report_is_a_page_with_the_matrix_and_is_not_overwritten(model: Path, photos: Path) -> None:
    """--force overwrites it."""
    page = photos.parent / "report.html"
    assert run(model, photos, "--report", page).exit_code == 0
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "Confusion matrix" in text
    assert run(model, photos, "--report", page).exit_code == 1
    assert run(model, photos, "--report", page, "--force").exit_code == 0

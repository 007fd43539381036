"""From training to the device: the photos that may judge, and the accuracy on held-out photos."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from converters import ConversionError, TrainedModel, convert
from converters.memory import judge_held_out
from device.heads.intervals import held_out_interval
from device.learner import Learner
from device.model.codes import encode
from device.model.memory import Samples, Sums
from device.model.modelfile import ModelFile, write_model_file
from edgetl.cli import main
from tests import tiny
from tests.scenes import frame, write

HELD_OUT = tuple(number % 4 == 0 for number in range(36))  # 3 of the 12 photos of each label


@pytest.fixture(scope="module")
def tuned(source: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a backbone that was tuned on 27 of its 36 photos."""
    path = tmp_path_factory.mktemp("tuned") / "tuned.tflite"
    convert(replace(source, held_out=HELD_OUT, tuned=True), path, capacity=tiny.CAPACITY)
    return path


def test_the_memory_marks_photos_that_tuned_the_backbone(tuned: Path) -> None:
    """Only held-out photos may judge."""
    taught = ModelFile.open(tuned).memory
    assert isinstance(taught, Samples)
    assert taught.judge is not None
    assert tuple(taught.judge.tolist()) == HELD_OUT


def test_the_manifest_has_the_accuracy_on_held_out_photos(tuned: Path) -> None:
    """The accuracy of a head taught without them, with the number of photos, in total and per label."""
    figure = ModelFile.open(tuned).manifest.held_out
    assert figure is not None
    assert figure["photos"] == 9
    assert sum(correct for correct, _ in figure["labels"].values()) == figure["correct"]
    assert {label: count for label, (_, count) in figure["labels"].items()} == dict.fromkeys(tiny.COLORS, 3)


def test_the_device_judges_by_held_out_photos_and_its_own_samples(tuned: Path, tmp_path: Path) -> None:
    """Nine of the host's photos, and each photo taught on the device; an export keeps that."""
    with Learner.open(tuned, tmp_path / "s.db") as learner:
        before = learner.status().report
        learner.learn_many([tiny.photo("red", seed) for seed in (50, 51)], ["red", "red"])
        after = learner.status().report
        exported = learner.export(tmp_path / "personal.tflite")
    assert before is not None
    assert after is not None
    assert (before.samples, before.tuned) == (9, 27)
    assert (after.samples, after.tuned) == (11, 27)
    assert isinstance(exported.memory, Samples)
    assert exported.memory.judge is not None
    assert exported.memory.judge.tolist() == [*HELD_OUT, True, True]


def test_a_frozen_backbone_is_judged_by_all_photos(source: TrainedModel, tmp_path: Path) -> None:
    """Leave-one-out is valid then; the accuracy on held-out photos is shown too."""
    report = convert(replace(source, held_out=HELD_OUT), tmp_path / "m.tflite")
    taught = ModelFile.open(report.path).memory
    assert isinstance(taught, Samples)
    assert taught.judge is None
    assert report.held_out is not None
    assert report.held_out["photos"] == 9


def test_without_held_out_photos_no_photo_may_judge(source: TrainedModel, tmp_path: Path) -> None:
    """`convert` reports that there is no accuracy, and `status` reports why."""
    source.save(tmp_path / "model")
    training = json.loads((tmp_path / "model" / "training.json").read_text())
    (tmp_path / "model" / "training.json").write_text(json.dumps(training | {"tuned": True}))
    done = CliRunner().invoke(
        main,
        ["convert", str(tmp_path / "model"), "--out", str(tmp_path / "m.tflite")],
        catch_exceptions=False,
    )
    assert "no figure: no photo was held out from training" in done.stdout
    status = CliRunner().invoke(main, ["status", str(tmp_path / "m.tflite")], catch_exceptions=False)
    assert "Accuracy: unknown" in status.stdout
    assert "all samples tuned the backbone" in " ".join(status.stdout.split())


def test_status_shows_which_photos_judged(tuned: Path) -> None:
    """The number of photos, an interval, and that they did not tune the backbone."""
    done = CliRunner().invoke(main, ["status", str(tuned)], catch_exceptions=False)
    text = " ".join(done.stdout.split())
    assert "95 % interval" in text
    assert "judged on 9 samples that did not tune the backbone" in text


def test_a_trained_model_records_held_out_photos(source: TrainedModel, tmp_path: Path) -> None:
    """In its folder; a wrong number of entries is refused."""
    loaded = TrainedModel.load(replace(source, held_out=HELD_OUT, tuned=True).save(tmp_path / "model"))
    assert (loaded.held_out, loaded.tuned) == (HELD_OUT, True)
    assert loaded.judges.tolist() == list(HELD_OUT)
    with pytest.raises(ConversionError, match="each of 36 photos, got 1"):
        replace(source, held_out=(True,))


@pytest.mark.parametrize(("kept", "tuned"), [(0, False), (5, True)])
def test_the_epochs_of_an_older_folder_show_whether_the_backbone_was_tuned(
    source: TrainedModel, tmp_path: Path, kept: int, tuned: bool
) -> None:
    """Its split is unknown, so that after fine-tuning no photo may judge."""
    folder = replace(source, info={"epochs": {"head": 40, "blocks": 8, "blocks_kept": kept}}).save(
        tmp_path / "m"
    )
    fields = json.loads((folder / "training.json").read_text())
    older = {name: value for name, value in fields.items() if name not in ("held_out", "tuned")}
    (folder / "training.json").write_text(json.dumps(older))
    loaded = TrainedModel.load(folder)
    assert loaded.tuned is tuned
    assert loaded.judges.all() != tuned


def test_held_out_photos_do_not_train_the_head_that_they_judge() -> None:
    """Random labels on random codes: a head that had learned them would predict them all."""
    random = np.random.default_rng(0)
    codes, held_out = encode(random.normal(size=(300, 64))), np.arange(300) >= 150
    samples = Samples(codes, tuple(f"label {owner}" for owner in random.integers(0, 2, 300)))
    figure = judge_held_out(samples, held_out)
    assert figure is not None
    assert figure["photos"] == 150
    assert 0.35 < figure["accuracy"] < 0.65
    assert judge_held_out(samples, np.zeros(300, bool)) is None


def test_a_label_with_only_held_out_photos_counts_as_wrong() -> None:
    """The head never learned it."""
    codes = encode(np.eye(3).repeat(4, axis=0) + 0.01)
    samples = Samples(codes, tuple("aaaabbbbcccc"))
    figure: Any = judge_held_out(samples, np.arange(12) >= 7)
    assert figure["labels"] == {"b": (1, 1), "c": (0, 4)}


def test_look_alikes_among_held_out_photos_count_as_one_view() -> None:
    """Six photos of two scenes are two judgments; without groups each photo is one."""
    random = np.random.default_rng(0)
    scenes = random.normal(size=(8, 16))
    codes = encode(np.repeat(scenes, 3, axis=0) + random.normal(0, 0.01, (24, 16)))
    labels = tuple("ab"[number // 3 % 2] for number in range(24))
    held_out = np.arange(24) < 6
    groups = (np.arange(24) // 3).astype(np.int32)
    grouped = judge_held_out(Samples(codes, labels, None, groups), held_out)
    single = judge_held_out(Samples(codes, labels), held_out)
    assert grouped is not None
    assert single is not None
    assert (grouped["photos"], grouped["views"], single["views"]) == (6, 2, 6)
    narrow = held_out_interval(3, 6, single["views"])
    wide = held_out_interval(3, 6, grouped["views"])
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]
    assert held_out_interval(3, 6) == narrow  # files made before views were counted


def test_photos_of_one_scene_share_a_group_in_the_memory(source: TrainedModel, tmp_path: Path) -> None:
    """The device leaves them out together, and the report of the conversion counts their views."""
    labels = sorted(tiny.COLORS)
    photos = [
        (write(frame(number, shot), tmp_path / "photos", f"s{number}_{shot}.jpg"), labels[number % 3])
        for number in range(9)
        for shot in range(2)
    ]
    report = convert(replace(source, photos=tuple(photos)), tmp_path / "m.tflite", capacity=tiny.CAPACITY)
    taught = ModelFile.open(tmp_path / "m.tflite").memory
    assert isinstance(taught, Samples)
    assert taught.groups is not None
    assert taught.groups.tolist() == np.repeat(np.arange(9), 2).tolist()
    assert (report.memory_samples, report.views) == (18, 9)
    with Learner.open(tmp_path / "m.tflite", None) as learner:
        status = learner.status()
    assert status.report is not None
    assert status.report.groups <= 9


@pytest.mark.parametrize("kept", [True, False])
def test_with_sums_as_memory_status_shows_the_accuracy_of_the_conversion(
    tuned: Path, tmp_path: Path, kept: bool
) -> None:
    """Sums do not allow an estimate; for a file without the accuracy, status reports that it is unknown."""
    opened = ModelFile.open(tuned)
    assert isinstance(opened.memory, Samples)
    sums = Sums.of(opened.memory.codes, opened.memory.labels)
    manifest = opened.manifest if kept else replace(opened.manifest, held_out=None)
    write_model_file(tmp_path / "sums.tflite", opened.model_part(), manifest, opened.labels, sums)
    done = CliRunner().invoke(main, ["status", str(tmp_path / "sums.tflite")], catch_exceptions=False)
    text = " ".join(done.stdout.split())
    assert ("on 9 photos that neither tuned the backbone nor taught the head" in text) is kept
    assert ("kept as sums, which do not allow an estimate" in text) is not kept
    assert "Nothing is taught yet" not in text

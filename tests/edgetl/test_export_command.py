"""``edgetl export --classifier``, as a user types it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from device.learner import Learner
from device.model.modelfile import ModelFile, write_model_file
from device.model.runtime import open_interpreter
from edgetl.cli import main
from tests import tiny


def run(*arguments: object) -> Result:
    """Run edgetl in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model file that was taught on the host and, white, on the device."""
    path = tmp_path / "mugs.tflite"
    shutil.copy(tiny.TINY_TAUGHT, path)
    with Learner.open(path) as learner:
        learner.learn_many([tiny.photo("white", seed) for seed in range(6)], ["white"] * 6)
    return path


def test_a_classifier_with_everything_that_was_taught_is_written(model: Path, tmp_path: Path) -> None:
    """The text names the file and the labels, and there is no warning: the images were squashed."""
    done = run("export", model, "--classifier", "--out", tmp_path / "c.tflite")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("an image classifier with the labels blue, green, red, white.\n")
    assert done.stderr == ""
    assert open_interpreter(tmp_path / "c.tflite").get_output_details()[0]["shape"].tolist() == [1, 4]


def test_the_json_describes_input_and_labels(model: Path, tmp_path: Path) -> None:
    """Programs need no other source for them."""
    out = tmp_path / "c.tflite"
    found = json.loads(run("export", model, "--classifier", "--out", out, "--json").stdout)
    assert found == {
        "classifier": str(out),
        "bytes": out.stat().st_size,
        "labels": ["blue", "green", "red", "white"],
        "input": {"height": 32, "width": 32, "channels": 3, "dtype": "uint8"},
        "resize": "squash",
    }


def test_a_model_that_crops_is_cautioned(tmp_path: Path) -> None:
    """Other programs squash the frame; the next step is shown."""
    model = ModelFile.open(tiny.TINY_TAUGHT)
    crops = replace(model.manifest, preprocessing=replace(model.manifest.preprocessing, resize="crop"))
    made = write_model_file(tmp_path / "m.tflite", model.model_part(), crops, model.labels, model.memory)
    done = run("export", made.path, "--classifier", "--out", tmp_path / "c.tflite")
    assert done.exit_code == 0, done.output
    assert "--resize squash" in " ".join(done.stderr.split())


def test_a_model_that_looks_twice_is_cautioned(tmp_path: Path) -> None:
    """The classifier sees one view, so a few predictions may differ."""
    path = Path(shutil.copy(tiny.TINY, tmp_path / "m.tflite"))
    with Learner.open(path, views="flip") as learner:
        images = [tiny.photo(label, seed) for label in ("white", "red") for seed in range(3)]
        learner.learn_many(images, ["white"] * 3 + ["red"] * 3)
    done = run("export", path, "--classifier", "--out", tmp_path / "c.tflite")
    assert done.exit_code == 0, done.output
    assert "looks at each image once" in " ".join(done.stderr.split())


def test_a_head_that_is_no_linear_map_is_refused(model: Path, tmp_path: Path) -> None:
    """The exit code is 1, and no file remains."""
    done = run("export", model, "--classifier", "--head", "knn", "--out", tmp_path / "c.tflite")
    assert (done.exit_code, "--head exact" in done.stderr) == (1, True)
    assert not (tmp_path / "c.tflite").exists()


def test_a_read_only_folder_is_reported(model: Path, forbidden: Path) -> None:
    """Nothing is left there."""
    done = run("export", model, "--classifier", "--out", forbidden / "c.tflite")
    assert (done.exit_code, list(forbidden.iterdir())) == (1, [])
    assert "Traceback" not in done.output


def test_other_commands_name_what_a_classifier_lacks(model: Path, tmp_path: Path) -> None:
    """It cannot be taught; inspect describes it all the same."""
    out = tmp_path / "c.tflite"
    assert run("export", model, "--classifier", "--out", out).exit_code == 0
    refused = run("status", out)
    assert (refused.exit_code, "edgetl.json missing" in refused.output) == (1, True)
    found = json.loads(run("inspect", out, "--json").stdout)
    assert (found["teachable"], found["signatures"]["infer"]["outputs"]) == (
        False,
        {"output": "float32 [1, 4]"},
    )


def test_the_file_is_the_same_each_time(model: Path, tmp_path: Path) -> None:
    """Equal content makes equal files."""
    for name in ("a.tflite", "b.tflite"):
        assert run("export", model, "--classifier", "--out", tmp_path / name).exit_code == 0
    assert np.array_equal(*(np.fromfile(tmp_path / name, np.uint8) for name in ("a.tflite", "b.tflite")))

"""A gray model file from the frame to the answer: taught, asked, exported, checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from device.learner import Learner
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from edgetl.cli import main
from tests.tiny import COLORS, TINY_GRAY, photo, write_photos


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A gray model file in a folder of its own, taught the colors of discs by their gray levels."""
    path = tmp_path / "gray.tflite"
    path.write_bytes(TINY_GRAY.read_bytes())
    return path


def test_a_gray_model_sees_the_gray_of_a_color_frame(model: Path) -> None:
    """The embedding of a color frame is that of its gray version in three equal channels."""
    embedder = Embedder(ModelFile.open(model))
    frame = photo("red", 5)
    gray = embedder.model.manifest.preprocessing.prepare(frame)
    assert (embedder.embed_one(frame) == embedder.embed_one(np.repeat(gray, 3, 2))).all()


def test_a_gray_model_is_taught_and_answers(model: Path, tmp_path: Path) -> None:
    """A new label joins those of the host, and an export knows all of them."""
    with Learner.open(model, tmp_path / "gray.db") as learner:
        learner.learn_many([photo("white", number) for number in range(12)], ["white"] * 12)
        exported = learner.export(tmp_path / "out.tflite")
    with Learner.open(exported.path, tmp_path / "out.db") as learner:
        assert set(learner.status().host) == {*COLORS, "white"}
        right = [
            learner.predict_one(photo(label, 50 + number)).label == label
            for label in ("white", "blue")
            for number in range(10)
        ]
    assert np.mean(right) > 0.7  # chance is 0.25


def test_infer_of_a_gray_model_takes_the_prepared_frame(model: Path) -> None:
    """The signature for other programs has one channel too."""
    embedder = Embedder(ModelFile.open(model))
    gray = embedder.model.manifest.preprocessing.prepare(photo("blue", 3))
    given = embedder.signature("infer")(image=gray[np.newaxis])["probabilities"]
    assert given[0, :3].sum() == pytest.approx(1, abs=1e-5)


def test_commands_accept_a_gray_model(model: Path, tmp_path: Path) -> None:
    """Inspect names the channels; evaluate, teach, run and check work with color photos."""
    write_photos(tmp_path / "photos", count=4, first=70)
    inspected = CliRunner().invoke(main, ["inspect", str(model)])
    assert "32 x 32 pixels, gray" in inspected.output
    evaluated = CliRunner().invoke(main, ["evaluate", str(model), str(tmp_path / "photos"), "--json"])
    assert evaluated.exit_code == 0
    assert json.loads(evaluated.stdout)["accuracy"] > 0.5  # chance is 0.33
    white = write_photos(tmp_path / "more", count=4, labels=("white",))[0][0].parent
    taught = CliRunner().invoke(main, ["teach", str(model), "white", "--photos", str(white)])
    assert taught.exit_code == 0, taught.output
    ran = CliRunner().invoke(main, ["run", str(model), "--camera", "fake", "--frames", "2", "--json"])
    assert ran.exit_code == 0, ran.output
    checked = json.loads(CliRunner().invoke(main, ["check", str(model), "--no-camera", "--json"]).stdout)
    assert [found["result"] for found in checked["checks"] if found["name"] == "model"] == ["good"]

"""Models with the same backbone use one state: a model and its exports."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("click", reason="the command line needs click")
from click.testing import CliRunner

from device.cameras.fake import draw
from device.errors import StateError
from device.learner import Learner
from device.learner.learner import identity_of
from device.learner.remembered import remembered_ids
from device.model.memory import Samples, Sums
from device.model.modelfile import ModelFile, write_model_file
from device.store import Store
from edgetl.cli import main
from tests.tiny import TINY, TINY_TAUGHT


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state that TINY_TAUGHT was taught: two samples of red."""
    with Learner.open(TINY_TAUGHT, tmp_path / "mugs.db") as learner:
        learner.learn_many([draw("red", 1), draw("red", 2)], ["red", "red"])
    return tmp_path / "mugs.db"


@pytest.fixture
def personal(state: Path, tmp_path: Path) -> Path:
    """Return an export of TINY_TAUGHT and another sample, which has other weights of the head."""
    with Learner.open(TINY_TAUGHT, None) as learner:
        learner.learn_one(draw("white", 1), "white")
        return learner.export(tmp_path / "personal.tflite").path


@pytest.fixture
def own(state: Path, tmp_path: Path) -> Path:
    """Return an export of that state itself."""
    with Learner.open(TINY_TAUGHT, state) as learner:
        return learner.export(tmp_path / "own.tflite").path


def forget_backbone(state: Path) -> None:
    """Make the state look as earlier versions wrote it."""
    with contextlib.closing(sqlite3.connect(state)) as connection, connection:
        assert connection.execute("DELETE FROM settings WHERE key = 'backbone'").rowcount == 1


def test_an_export_can_use_the_state_of_its_model(state: Path, personal: Path) -> None:
    """Both teach it, and each sees the samples of the other."""
    assert ModelFile.open(personal).sha256 != ModelFile.open(TINY_TAUGHT).sha256
    for model in (personal, TINY_TAUGHT):
        with Learner.open(model, state) as learner:
            learner.learn_one(draw("blue", 1), "blue")
    with Learner.open(personal, state, read_only=True) as learner:
        assert learner.store.counts() == {"blue": 2, "red": 2}
        assert learner.store.verify() == 4


def test_another_backbone_is_refused(state: Path, tmp_path: Path) -> None:
    """So is the same one with other preprocessing, whose embeddings differ."""
    with pytest.raises(StateError, match="belongs to"):
        Learner.open(TINY, state)
    model = ModelFile.open(TINY_TAUGHT)
    cropped = replace(model.manifest.preprocessing, resize="crop")
    manifest = replace(model.manifest, preprocessing=cropped)
    other = write_model_file(tmp_path / "crop.tflite", model.part, manifest, model.labels, model.memory)
    assert other.backbone_digest() != model.backbone_digest()
    with Learner.open(TINY_TAUGHT, state) as learner:
        crop = learner.export(tmp_path / "p.tflite")
    weights = write_model_file(
        tmp_path / "p-crop.tflite",
        crop.part,
        replace(crop.manifest, preprocessing=cropped),
        crop.labels,
        crop.memory,
    )
    with pytest.raises(StateError, match="belongs to"):
        Learner.open(weights, state)


def test_a_state_of_an_earlier_version_names_its_backbone_once_its_model_opens_it(
    state: Path, personal: Path
) -> None:
    """Until then, only its own model can use it; reading writes nothing."""
    forget_backbone(state)
    with pytest.raises(StateError, match="belongs to"):
        Learner.open(personal, state)
    Learner.open(TINY_TAUGHT, state, read_only=True).close()
    with pytest.raises(StateError, match="belongs to"):
        Learner.open(personal, state)
    Learner.open(TINY_TAUGHT, state).close()
    with Learner.open(personal, state) as learner:
        assert learner.store.counts() == {"red": 2}


def test_a_damaged_name_of_the_backbone_is_no_name(state: Path, personal: Path) -> None:
    """The state stays usable for its own model, which corrects it."""
    with contextlib.closing(sqlite3.connect(state)) as connection, connection:
        connection.execute("UPDATE settings SET value = replace(value, 'a', 'b') WHERE key = 'backbone'")
    with pytest.raises(StateError, match="belongs to"):
        Learner.open(personal, state)
    Learner.open(TINY_TAUGHT, state).close()
    Learner.open(personal, state).close()


def test_states_of_one_backbone_can_be_merged(state: Path, personal: Path, tmp_path: Path) -> None:
    """Devices may have different exports."""
    with Learner.open(personal, tmp_path / "other.db") as other:
        other.learn_one(draw("green", 1), "green")
    with Learner.open(TINY_TAUGHT, state) as learner:
        learner.merge(tmp_path / "other.db")
        assert learner.store.counts() == {"green": 1, "red": 2}


@pytest.mark.parametrize("kind", [Samples, Sums])
def test_samples_that_a_model_contains_are_recognized(kind: type, state: Path, own: Path) -> None:
    """By their codes, also where the model contains only sums; samples that were taught later are not."""
    with Learner.open(TINY_TAUGHT, state) as learner:
        learner.learn_one(draw("blue", 1), "blue")
    model = ModelFile.open(own)
    assert isinstance(model.memory, Samples)
    if kind is Sums:
        model = replace(model, memory=Sums.of(model.memory.codes, model.memory.labels))
    with Store.open(state, identity_of(model), read_only=True) as store:
        assert remembered_ids(store, model) == [1, 2]
        assert remembered_ids(store, ModelFile.open(TINY)) == []
        assert remembered_ids(store, ModelFile.open(TINY_TAUGHT)) == []


def test_an_export_of_a_state_refuses_it_until_its_samples_are_forgotten(state: Path, own: Path) -> None:
    """Afterwards it is bit for bit the device that taught everything."""
    with Learner.open(TINY_TAUGHT, state) as learner:
        learner.learn_one(draw("blue", 1), "blue")
        expected = learner.head.digest()
    with pytest.raises(StateError, match=r"own\.tflite itself contains 2 samples of .* --known"):
        Learner.open(own, state)
    with (
        Learner.open(own, own.with_suffix(".db")) as learner,
        pytest.raises(StateError, match="itself contains 2 samples"),
    ):
        learner.beside(state)
    words = ["forget", str(own), "--state", str(state), "--known"]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.output) == (0, "Forgot 2 samples (1-2). Left: blue 1.\n")
    assert "nothing to forget" in CliRunner().invoke(main, words).output
    with Learner.open(own, state) as learner:
        assert learner.store.counts() == {"blue": 1}
        assert learner.head.digest() == expected


def test_merging_leaves_out_what_the_model_contains(state: Path, own: Path, tmp_path: Path) -> None:
    """The device whose samples are in the model sends its state again."""
    with Learner.open(TINY_TAUGHT, state) as learner:
        learner.learn_one(draw("blue", 1), "blue")
        expected = learner.head.digest()
    with Learner.open(own, tmp_path / "host.db") as host:
        host.merge(state)
        assert host.store.counts() == {"blue": 1}
        assert host.head.digest() == expected
        assert host.merge(state) is None


def test_negatives_and_background_that_a_model_contains_are_recognized(state: Path, tmp_path: Path) -> None:
    """An export carries them along, so they would count twice too."""
    with Learner.open(TINY_TAUGHT, state) as learner:
        learner.learn_one(draw("blue", 1), not_label="red")
        learner.learn_one(draw("yellow", 1), None)
        model = learner.export(tmp_path / "own.tflite")
    with Learner.open(TINY_TAUGHT, state) as learner:
        learner.learn_one(draw("yellow", 2), None)
        assert remembered_ids(learner.store, model) == [1, 2, 3, 4]

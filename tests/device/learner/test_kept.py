"""A learner on a model file that keeps its old classifier: it answers at once, learns beside it, and exports both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device.errors import LabelError, ModelFileError
from device.heads import Linear
from device.learner import Learner
from device.learner.export import write_personal
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile, write_model_file
from tests import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model file without memory whose head in the file knows three labels."""
    taught = ModelFile.open(tiny.TINY_TAUGHT)
    weights, bias = (taught._weight(name) for name in ("W", "b"))
    count = len(taught.labels)
    linear = Linear(weights.reshape(taught.manifest.dimensions, -1)[:, :count], bias[:count])
    path = tmp_path / "kept.tflite"
    write_personal(taught, path, linear, taught.labels, None, kept=taught.labels)
    return path


def test_old_labels_are_answered_at_once(model: Path) -> None:
    """Without a sample, as the signature of the file answers."""
    images = [tiny.photo(label, 3) for label in tiny.COLORS]
    with Learner.open(model, None) as learner:
        assert learner.labels == tuple(sorted(tiny.COLORS))
        found = [learner.predict_one(image) for image in images]
        embeddings = Embedder(learner.model).embed_many(images)
        classify = Embedder(learner.model).signature("classify")
        expected = classify(embedding=embeddings)["probabilities"]
        assert [one.label for one in found] == [learner.labels[column] for column in expected.argmax(1)]
        # codes are rounded to 1/4096
        np.testing.assert_allclose([one.probability for one in found], expected.max(1), atol=0.02)
        assert "kept" in repr(learner.head.name)


def test_a_new_label_is_learned_beside_them_and_survives(model: Path, tmp_path: Path) -> None:
    """In the state file; undo and a rename of an old label too."""
    white = [np.full((40, 40, 3), 255 - number, np.uint8) for number in range(6)]
    state, (first, second, _) = tmp_path / "kept.db", sorted(tiny.COLORS)
    with Learner.open(model, state) as learner:
        learner.learn_many(white, ["white"] * 6)
        learner.rename_label(first, "renamed")
        learner.rename_label(second, "second")
    with Learner.open(model, state) as learner:
        assert set(learner.labels) == {"white", "renamed", "second", sorted(tiny.COLORS)[2]}
        assert learner.predict_one(white[0]).label == "white"
        assert learner.status().report is not None
        learner.delete_label("second")
        assert "second" not in learner.labels
        learner.undo()
        assert "second" in learner.labels


def test_what_a_frame_is_not_needs_samples_to_compare_with(model: Path) -> None:
    """An old label is denied once it was taught, and background is taught once all of them were."""
    first, *others = sorted(tiny.COLORS)
    photos = {label: [tiny.photo(label, seed) for seed in range(4)] for label in tiny.COLORS}
    white = np.full((40, 40, 3), 255, np.uint8)
    with Learner.open(model, None) as learner:
        with pytest.raises(LabelError, match=f"{first}: labels of the classifier.*teach them first"):
            learner.learn_one(white, not_label=first)
        learner.learn_many(photos[first], [first] * 4)
        learner.learn_one(white, not_label=first)
        with pytest.raises(LabelError, match=", ".join(others)):
            learner.learn_one(white, None)
        for label in others:
            learner.learn_many(photos[label], [label] * 4)
        learner.learn_one(white, None)
        assert not learner.predict_one(white).known
        assert [learner.predict_one(photos[label][0]).label for label in tiny.COLORS] == list(tiny.COLORS)


def test_an_export_keeps_the_old_labels(model: Path, tmp_path: Path) -> None:
    """The signatures of the new file know all labels, and a learner continues from there."""
    white = [np.full((40, 40, 3), 255 - number, np.uint8) for number in range(6)]
    with Learner.open(model, None) as learner:
        learner.learn_many(white, ["white"] * 6)
        images = [white[0], *(tiny.photo(label, 3) for label in tiny.COLORS)]
        before = [learner.predict_one(image).label for image in images]
        personal = learner.export(tmp_path / "personal.tflite")
    assert personal.labels == (*sorted(tiny.COLORS), "white")
    assert personal.manifest.kept_labels == tuple(sorted(tiny.COLORS))
    classify = Embedder(personal).signature("classify")
    embeddings = Embedder(personal).embed_many(images)
    answers = classify(embedding=embeddings)["probabilities"].argmax(1)
    assert [personal.labels[column] for column in answers] == before
    with Learner.open(personal, None) as learner:
        assert [learner.predict_one(image).label for image in images] == before


def test_kept_labels_without_a_column_are_refused(model: Path, tmp_path: Path) -> None:
    """The manifest and labels.txt must agree."""
    opened = ModelFile.open(model)
    manifest = replace(opened.manifest, kept_labels=("stranger",))
    with pytest.raises(ModelFileError, match="keeps the labels stranger"):
        write_model_file(tmp_path / "broken.tflite", opened.part, manifest, opened.labels)

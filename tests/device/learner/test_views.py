"""Views of a frame: the average with its mirror image, the same in teaching and predicting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from device.errors import ModelFileError, StateError
from device.heads import create_head
from device.heads.folds import balanced
from device.learner import Learner
from device.learner.reembedding import reembed
from device.learner.views import compare_views, judge_views
from device.model.codes import encode
from device.model.embedder import Embedder
from device.model.manifest import Manifest
from device.model.modelfile import ModelFile
from device.store import ModelIdentity, Store
from device.store.recovery import recover
from device.store.store import identity_from_json, identity_to_json

from .test_learner import SCENES, TAUGHT, TINY, frames, teach


def lopsided(seed: int = 0) -> np.ndarray:
    """Return a frame that differs from its mirror image: uint8 [40, 60, 3]."""
    random = np.random.default_rng(seed)
    return (random.random((40, 60, 3)) * np.linspace(50, 255, 60)[None, :, None]).astype(np.uint8)


@pytest.fixture
def mirrored(tmp_path: Path) -> Learner:
    """A learner with two views and three scenes."""
    learner = Learner.open(TINY, tmp_path / "mugs.db", threads=1, views="flip")
    teach(learner)
    yield learner
    learner.close()


def test_the_embedding_is_the_mean_of_a_frame_and_its_mirror_image() -> None:
    """A frame and its mirror image have the same embedding then."""
    model, image = ModelFile.open(TINY), lopsided()
    one, flip = Embedder(model, threads=1), Embedder(model, threads=1, views="flip")
    back = np.ascontiguousarray(image[:, ::-1])
    assert not np.array_equal(one.embed_one(image), one.embed_one(back))
    mean = (one.embed_one(image) + one.embed_one(back)) / 2
    np.testing.assert_allclose(flip.embed_one(image), mean, atol=1e-6)
    np.testing.assert_allclose(flip.embed_one(back), mean, atol=1e-6)


def test_a_state_keeps_its_views(tmp_path: Path, mirrored: Learner) -> None:
    """Every later run uses them without naming them, and status shows them."""
    assert mirrored.status().model["views"] == "flip"
    image = lopsided()
    expected = mirrored.embed_one(image)
    mirrored.close()
    for options in ({}, {"views": "flip"}, {"read_only": True}):
        with Learner.open(TINY, tmp_path / "mugs.db", threads=1, **options) as again:
            assert again.embedder.views == "flip"
            np.testing.assert_array_equal(again.embed_one(image), expected)


def test_views_cannot_change_after_the_first_sample(tmp_path: Path, mirrored: Learner) -> None:
    """The message names the command that embeds the pictures again; an empty state may change."""
    mirrored.close()
    with pytest.raises(
        StateError, match=r"taught with the views 'flip'.*edgetl reembed tiny.tflite .* --views one"
    ):
        Learner.open(TINY, tmp_path / "mugs.db", threads=1, views="one")
    for views in ("flip", "one", "flip"):
        with Learner.open(TINY, tmp_path / "empty.db", threads=1, views=views) as learner:
            assert learner.store.identity.views == views
    with Learner.open(TINY, tmp_path / "empty.db", threads=1) as learner:
        assert learner.embedder.views == "flip"


def test_another_process_cannot_mix_views(tmp_path: Path) -> None:
    """A learner that was opened before another one chose views is refused when it teaches."""
    with Learner.open(TINY, tmp_path / "mugs.db", threads=1) as first:
        with Learner.open(TINY, tmp_path / "mugs.db", threads=1, views="flip") as second:
            second.learn_one(frames("red", 1)[0], "red")
        with pytest.raises(StateError, match="another process chose flip since; open it again"):
            first.learn_one(frames("blue", 1)[0], "blue")
        assert first.store.counts() == {"red": 1}


def test_the_views_of_what_the_host_taught_are_kept(tmp_path: Path) -> None:
    """A memory of one view cannot be used with two."""
    with pytest.raises(StateError, match="convert the model with --views flip"):
        Learner.open(TAUGHT, tmp_path / "mugs.db", threads=1, views="flip")


def test_an_exported_model_file_names_the_views_of_its_memory(tmp_path: Path, mirrored: Learner) -> None:
    """A new device uses the same views, and predicts the same."""
    mirrored.export(tmp_path / "personal.tflite")
    assert ModelFile.open(tmp_path / "personal.tflite").manifest.views == "flip"
    image = lopsided()
    with Learner.open(tmp_path / "personal.tflite", tmp_path / "new.db", threads=1) as learner:
        assert learner.embedder.views == "flip"
        assert learner.predict_one(image).label == mirrored.predict_one(image).label
        learner.learn_one(image, "more")
        assert learner.store.identity.views == "flip"


def test_states_of_other_views_are_not_merged(tmp_path: Path, mirrored: Learner) -> None:
    """Their embeddings differ; the message names the command that makes them alike."""
    with Learner.open(TINY, tmp_path / "other.db", threads=1) as other:
        other.learn_one(frames("red", 1)[0], "red")
    with pytest.raises(StateError, match=r"with the views 'one'.*'flip'.*--views flip"):
        mirrored.merge(tmp_path / "other.db")


def test_a_recovered_state_keeps_its_views(tmp_path: Path, mirrored: Learner) -> None:
    """Also where the model file is named, which does not know them."""
    mirrored.close()
    identity = ModelIdentity(ModelFile.open(TINY).sha256, ModelFile.open(TINY).manifest.dimensions)
    for number, named in enumerate((None, identity)):
        recover(tmp_path / "mugs.db", tmp_path / f"{number}.db", named)
        with Store.open(tmp_path / f"{number}.db") as store:
            assert store.identity.views == "flip"


def test_pictures_are_embedded_again_for_other_views_of_the_same_model(
    tmp_path: Path, mirrored: Learner
) -> None:
    """The samples are then those that a learner with these views has."""
    mirrored.close()
    found = reembed(TINY, tmp_path / "mugs.db", tmp_path / "one.db", views="one")
    assert found.samples == dict.fromkeys(sorted(SCENES), 4)
    with Learner.open(TINY, tmp_path / "one.db", threads=1) as learner:
        assert learner.embedder.views == "one"
    again = reembed(TINY, tmp_path / "one.db", tmp_path / "flip.db", views="flip")
    assert again.samples == found.samples
    with pytest.raises(StateError, match="there is nothing to embed again"):
        reembed(TINY, tmp_path / "mugs.db", tmp_path / "same.db")


def test_one_view_is_stored_as_before() -> None:
    """Older versions can read such states; with two views, their checksum does not match and they refuse the file."""
    plain = ModelIdentity("a" * 64, 8, "signed_sqrt_l2", "tiny", "tiny.tflite")
    assert "views" not in identity_to_json(plain)
    flip = ModelIdentity("a" * 64, 8, "signed_sqrt_l2", "tiny", "tiny.tflite", "flip")
    assert identity_from_json(json.dumps(identity_to_json(flip))) == flip
    assert identity_from_json(json.dumps(identity_to_json(plain))) == plain
    without = {name: value for name, value in identity_to_json(flip).items() if name != "views"}
    with pytest.raises(StateError, match="does not match its checksum"):
        identity_from_json(json.dumps(without))
    strange = ModelIdentity("a" * 64, 8, views="three")
    with pytest.raises(StateError, match="names the views 'three'"):
        identity_from_json(json.dumps(identity_to_json(strange)))


def test_unknown_views_are_refused(tmp_path: Path) -> None:
    """In the API and in a manifest."""
    with pytest.raises(ModelFileError, match="views must be one of one, flip, got 'both'"):
        Learner.open(TINY, tmp_path / "mugs.db", threads=1, views="both")
    described = ModelFile.open(TINY).manifest.described() | {"views": "both"}
    with pytest.raises(ModelFileError, match="views must be one of"):
        Manifest.from_json(json.dumps(described))


def test_the_gain_of_the_mirror_image_is_the_mean_difference_of_left_out_samples() -> None:
    """One sample of each label is left out at a time, as in `status`; the error is that of the mean difference."""
    random = np.random.default_rng(0)
    owners = np.arange(60) % 3
    centers = random.normal(size=(3, 16))
    noisy = centers[owners] + 1.6 * random.normal(size=(60, 16))
    better = centers[owners] + 0.8 * random.normal(size=(60, 16))
    labels = [f"label {owner}" for owner in owners]
    one, flip = encode(noisy), encode(better)
    found = judge_views(one, flip, labels, np.arange(60))
    right = []
    for codes in (one, flip):
        head = create_head("exact", 16)
        head.learn_many(codes, labels)
        best = head.leave_out(codes, labels, balanced(owners, np.arange(60))).argmax(axis=1)
        right.append(np.array(head.labels)[best] == np.array(labels))
    difference = right[1].astype(float) - right[0]
    assert (found.samples, found.groups) == (60, 60)
    assert found.one == pytest.approx(right[0].mean())
    assert found.gain == pytest.approx(difference.mean())
    assert found.error == pytest.approx(difference.std(ddof=1) / 60**0.5)
    assert found.pays
    assert judge_views(flip, one, labels, np.arange(60)).pays is False


def test_few_separate_views_are_not_judged() -> None:
    """Samples of two bursts are too few, whatever their number."""
    codes = encode(np.random.default_rng(0).normal(size=(40, 8)))
    labels = ["a", "b"] * 20
    found = judge_views(codes, codes, labels, np.arange(40) // 20)
    assert (found.gain, found.pays) == (None, None)
    assert "too few to judge" in repr(found)


def test_a_state_is_compared_without_changing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of a label are embedded both ways; those without a picture are counted, negatives are not."""
    monkeypatch.setattr("device.heads.report.ALIKE", 2.0)  # to the tiny backbone, all images look the same
    random = np.random.default_rng(0)
    with Learner.open(TINY, tmp_path / "mugs.db", threads=1) as learner:
        for place in range(16):
            halves = random.integers(0, 256, (1, 2, 3), np.uint8)
            learner.learn_many([halves.repeat(40, 0).repeat(30, 1)], [("odd", "even")[place % 2]])
        learner.learn_one(lopsided(98), not_label="odd")
        learner.learn_one(lopsided(97), None)
        learner.exclude([learner.learn_one(lopsided(96), "odd").id])
    with Learner.open(TINY, tmp_path / "mugs.db", threads=1, thumbnails=False) as learner:
        learner.learn_one(lopsided(99), "noise")
    before = (tmp_path / "mugs.db").read_bytes()
    found = compare_views(TINY, tmp_path / "mugs.db")
    assert (tmp_path / "mugs.db").read_bytes() == before
    assert (found.samples, found.without_picture, found.current) == (16, 1, "one")
    assert found.milliseconds is not None
    assert found.one is not None

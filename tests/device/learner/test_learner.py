"""The learner with a real model file, a real runtime and a real state file, on every TFLite runtime."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from device.cameras.fake import draw
from device.errors import (
    EmbeddingError,
    HeadError,
    LabelError,
    PhotoError,
    SampleNotFoundError,
    StateError,
    StateNotFoundError,
    StorageError,
)
from device.learner import Learner, derived
from device.learner.bursts import Bursts
from device.model.memory import Sums
from device.model.modelfile import ModelFile, write_model_file
from device.store import NewSample

DATA = Path(__file__).resolve().parents[2] / "data"
TINY = DATA / "tiny.tflite"
TAUGHT = DATA / "tiny_taught.tflite"  # the host taught some labels already
SCENES = ("red", "blue", "green")


def frames(scene: str, count: int, start: int = 0) -> list[np.ndarray]:
    """Frames of the fake camera: uint8 [240, 320, 3] RGB."""
    return [draw(scene, index) for index in range(start, start + count)]


def opened(tmp_path: Path, name: str = "mugs.db", model: Path = TINY) -> Learner:
    """A learner on a state file in `tmp_path`."""
    return Learner.open(model, tmp_path / name, threads=1)


def teach(learner: Learner, count: int = 4) -> None:
    """Teach a few frames of each scene."""
    for scene in SCENES:
        learner.learn_many(frames(scene, count), [scene] * count)


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    """A learner with three scenes."""
    learner = opened(tmp_path)
    teach(learner)
    yield learner
    learner.close()


def test_what_was_taught_is_predicted_and_survives_reopening(tmp_path: Path) -> None:
    """Predictions after reopening are identical."""
    with opened(tmp_path) as learner:
        teach(learner)
        before = learner.predict_many(frames("red", 2, 50) + frames("blue", 2, 50))
        assert [prediction.label for prediction in before] == ["red", "red", "blue", "blue"]
        digest = learner.head.digest()
    with opened(tmp_path) as learner:
        assert learner.predict_many(frames("red", 2, 50) + frames("blue", 2, 50)) == before
        assert learner.head.digest() == digest
        assert learner.labels == ("blue", "green", "red")


def test_a_sample_is_returned_with_everything_it_was_taught_with(learner: Learner) -> None:
    """The id is the one that forget accepts; the thumbnail is a JPEG."""
    sample = learner.learn_one(frames("red", 1, 9)[0], " Tür ", source="cam 0")
    assert (sample.label, sample.source) == ("Tür", "cam 0")
    assert sample.thumbnail is not None
    assert sample.thumbnail.startswith(b"\xff\xd8")
    assert learner.samples("Tür") == [sample]
    assert learner.samples(limit=1) == [sample]


def test_the_order_of_teaching_changes_nothing(tmp_path: Path) -> None:
    """Class after class, or shuffled one by one: the same head, bit for bit."""
    images = [(image, scene) for scene in SCENES for image in frames(scene, 5)]
    with opened(tmp_path, "a.db") as a, opened(tmp_path, "b.db") as b:
        a.learn_many([image for image, _ in images], [scene for _, scene in images])
        for place in np.random.default_rng(3).permutation(len(images)):
            b.learn_one(*images[place])
        assert a.head.digest() == b.head.digest()


def test_forgetting_is_as_if_the_sample_had_never_been_taught(learner: Learner) -> None:
    """The head's digest is that of a learner without the sample."""
    before = learner.head.digest()
    sample = learner.learn_one(frames("red", 1, 70)[0], "blue")
    assert learner.head.digest() != before
    learner.forget(sample.id)
    assert learner.head.digest() == before
    with pytest.raises(SampleNotFoundError, match="is forgotten"):
        learner.forget(sample.id)


def test_undo_goes_back_change_by_change_to_nothing(tmp_path: Path) -> None:
    """After each undo the head is what it was; the last one leaves nothing taught."""
    with opened(tmp_path) as learner:
        digests = [learner.head.digest()]
        for change in (
            lambda: teach(learner, 2),
            lambda: learner.relabel(1, "blue"),
            lambda: learner.rename_label("red", "rot"),
            lambda: learner.rename_label("rot", "blue"),
            lambda: learner.forget([2, 3]),
            lambda: learner.delete_label("blue"),
        ):
            change()
            digests.append(learner.head.digest())
        digests.pop()
        while learner.undo() is not None:
            if digests and learner.head.digest() == digests[-1]:
                digests.pop()
        assert digests == []
        with pytest.raises(HeadError):
            learner.predict_one(frames("red", 1)[0])


def test_rollback_returns_to_a_version_exactly(learner: Learner) -> None:
    """Undo reverts the rollback."""
    version, before = learner.save_version("three scenes"), learner.head.digest()
    learner.learn_many(frames("yellow", 3), ["yellow"] * 3)
    learner.delete_label("red")
    after = learner.head.digest()
    learner.rollback(version.version)
    assert learner.head.digest() == before
    learner.undo()
    assert learner.head.digest() == after
    with pytest.raises(StateError, match="no version 9"):
        learner.rollback(9)


def test_merging_is_as_if_one_device_had_been_taught_both(tmp_path: Path) -> None:
    """In either direction, twice, bit for bit."""
    red, blue = frames("red", 4), frames("blue", 4)
    with opened(tmp_path, "a.db") as a, opened(tmp_path, "b.db") as b, opened(tmp_path, "both.db") as both:
        a.learn_many(red, ["red"] * 4)
        b.learn_many(blue, ["blue"] * 4)
        both.learn_many(red + blue, ["red"] * 4 + ["blue"] * 4)
        assert a.merge(tmp_path / "b.db").samples() == 4
        assert a.merge(tmp_path / "b.db") is None
        assert b.merge(tmp_path / "a.db").samples() == 4
        assert a.head.digest() == b.head.digest() == both.head.digest()


def test_one_wrong_image_among_many_teaches_none(learner: Learner) -> None:
    """Float pixels, no image, an invalid label, too few labels: refused before anything is written."""
    before = (learner.head.digest(), learner.store.position())
    good = frames("red", 1)[0]
    for images, labels, error in (
        ([good, good.astype(np.float32)], ["red", "red"], PhotoError),
        ([good, good[:, :, 0]], ["red", "red"], PhotoError),
        ([good, good], ["red", " "], LabelError),
        ([good, good], ["red", "a\nb"], LabelError),
        ([good, good], ["red"], LabelError),
        ([good], ["red", "red"], LabelError),
    ):
        with pytest.raises(error):
            learner.learn_many(images, labels)
    assert (learner.head.digest(), learner.store.position()) == before


def test_an_embedding_with_nan_is_refused(learner: Learner) -> None:
    """NaN would spoil every later answer."""
    embedding = learner.embed_one(frames("red", 1)[0])
    position = learner.store.position()
    with pytest.raises(EmbeddingError, match="NaN"):
        learner.learn_one(frames("red", 1)[0], "red", embedding=embedding * np.float32("nan"))
    with pytest.raises(EmbeddingError, match="numbers"):
        learner.predict_embedding(embedding[:-1])
    assert learner.store.position() == position


def test_the_default_state_file_is_beside_the_model_file(tmp_path: Path) -> None:
    """What was taught is there again when only the model file is named."""
    model = Path(shutil.copy(TINY, tmp_path / "mugs.tflite"))
    with Learner.open(model, threads=1) as learner:
        teach(learner, 1)
        assert learner.store.path == tmp_path / "mugs.db"
    with Learner.open(ModelFile.open(model), threads=1) as learner:
        assert learner.labels == ("blue", "green", "red")


def test_reading_only_creates_no_state_file(tmp_path: Path) -> None:
    """Without a state file beside it, the model file alone is used; a state file that was named must exist."""
    model = Path(shutil.copy(TAUGHT, tmp_path / "mugs.tflite"))
    with Learner.open(model, threads=1, read_only=True) as learner:
        assert learner.store.path is None
        assert learner.labels
    with pytest.raises(StateNotFoundError):
        Learner.open(model, tmp_path / "mugs.db", threads=1, read_only=True)
    assert list(tmp_path.iterdir()) == [model]


def test_a_state_of_none_keeps_everything_in_ram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is written."""
    monkeypatch.chdir(tmp_path)
    with Learner.open(TINY, None, threads=1) as learner:
        teach(learner, 2)
        assert learner.predict_one(frames("green", 1, 40)[0]).label == "green"
        assert learner.status().state["path"] is None
    assert list(tmp_path.iterdir()) == []


def test_two_learners_on_one_file_learn_the_samples_of_both(tmp_path: Path) -> None:
    """Before the next prediction, without reopening."""
    with opened(tmp_path) as one, opened(tmp_path) as other:
        teach(one)
        assert other.labels == ("blue", "green", "red")
        other.delete_label("green")
        sample = other.learn_one(frames("yellow", 1)[0], "yellow")
        assert one.predict_one(frames("yellow", 1)[0]).label == "yellow"
        one.forget(sample.id)
        one.purge()
        assert one.head.digest() == other.head.digest()


def test_labels_of_the_host_are_predicted_renamed_deleted_and_restored(tmp_path: Path) -> None:
    """The journal applies to the model's memory as to samples."""
    with opened(tmp_path, model=TAUGHT) as learner:
        labels, before = learner.labels, learner.head.digest()
        assert labels
        learner.rename_label(labels[0], "new name")
        assert "new name" in learner.labels
        learner.learn_one(frames("red", 1)[0], "new name")
        learner.delete_label("new name")
        assert set(learner.labels) == set(labels[1:])
    with opened(tmp_path, model=TAUGHT) as learner:
        assert set(learner.labels) == set(labels[1:])
        for _ in range(3):
            learner.undo()
        assert learner.head.digest() == before
        assert sum(learner.status().host.values()) == sum(learner.head.counts.values())


def test_a_long_history_is_opened_from_a_stored_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored head and the later samples are equal to learning everything again, even if the head is damaged."""
    monkeypatch.setattr(derived, "KEEP_AFTER_SAMPLES", 10)
    with opened(tmp_path) as learner:
        teach(learner, 40)
    with opened(tmp_path) as learner:
        assert learner.store.has_kept_heads()
        learner.learn_one(frames("yellow", 1)[0], "yellow")
        learner.forget(1)
        digest = learner.head.digest()
    reads: list[int] = []
    monkeypatch.setattr(derived.Store, "taught_chunks", lambda self: reads.append(1) or iter(()))
    with opened(tmp_path) as learner:
        assert (learner.head.digest(), reads) == (digest, [])
    monkeypatch.undo()
    with opened(tmp_path) as learner:
        learner.store.database.rows("UPDATE heads SET state = zeroblob(length(state))")
    with opened(tmp_path) as learner:
        assert learner.head.digest() == digest


@pytest.mark.parametrize("head", ["exact", "lda", "ncm", "softmax", "knn"])
def test_every_head_answers_the_same_after_reopening(tmp_path: Path, head: str) -> None:
    """Learned one by one, forgotten, corrected, reopened: the same answers and the same digest."""
    images = [frames(scene, 1, 33)[0] for scene in SCENES]
    with Learner.open(TINY, tmp_path / "mugs.db", head=head, threads=1) as learner:
        teach(learner, 6)
        wrong = learner.learn_one(images[0], "blue")
        learner.forget(wrong.id)
        learner.relabel(learner.learn_one(images[1], "green").id, "blue")
        assert [learner.predict_one(image).label for image in images] == list(SCENES)
        before = learner.predict_many(images)
    with Learner.open(TINY, tmp_path / "mugs.db", head=head, threads=1) as learner:
        assert learner.predict_many(images) == before
        assert learner.status().report is not None


def test_a_label_too_many_for_the_softmax_head_is_refused_before_it_is_written(tmp_path: Path) -> None:
    """Its columns are those of the model file."""
    with Learner.open(TINY, tmp_path / "mugs.db", head="softmax", threads=1) as learner:
        capacity = learner.model.manifest.capacity
        for number in range(capacity):
            learner.learn_one(frames(f"scene {number}", 1)[0], f"scene {number}")
        with pytest.raises(LabelError, match=f"room for {capacity} labels"):
            learner.learn_one(frames("red", 1)[0], "red")
        assert learner.store.position() == capacity


def test_a_state_of_another_model_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Both models are named."""
    opened(tmp_path).close()
    with pytest.raises(StateError, match=r"belongs to tiny\.tflite .* given model is tiny_taught\.tflite"):
        opened(tmp_path, model=TAUGHT)


def test_a_read_only_learner_predicts_and_teaches_nothing(tmp_path: Path, learner: Learner) -> None:
    """Samples of another process are learned meanwhile."""
    with Learner.open(TINY, tmp_path / "mugs.db", threads=1, read_only=True) as reader:
        assert reader.predict_one(frames("red", 1, 30)[0]).label == "red"
        with pytest.raises(StorageError, match="read-only"):
            reader.learn_one(frames("red", 1)[0], "red")
        learner.learn_one(frames("yellow", 1)[0], "yellow")
        assert "yellow" in reader.labels


def test_threads_teach_and_predict_at_once(learner: Learner) -> None:
    """Nothing is lost and nothing raises."""
    failures: list[BaseException] = []

    def work(scene: str) -> None:
        try:
            for image in frames(scene, 10, 100):
                learner.learn_one(image, scene)
                learner.predict_one(image)
                learner.predict_embedding(learner.embed_one(image), all_scores=True)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(scene,)) for scene in SCENES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert learner.head.counts == dict.fromkeys(sorted(SCENES), 14)


def test_status_has_plain_values(learner: Learner) -> None:
    """Everything can be written as JSON; the accuracy is the estimate of the head."""
    status = learner.status()
    assert status.samples == {"blue": 4, "green": 4, "red": 4}
    assert status.runtime["name"] in ("ai-edge-litert", "tflite-runtime")
    assert status.confusion is not None
    assert status.confusion.shape == (3, 3)
    fields = json.loads(json.dumps(status.to_dict()))
    assert fields["report"]["labels"] == list(learner.labels)
    assert fields["state"]["bytes"] > 0


def test_an_empty_learner_names_the_next_step(tmp_path: Path) -> None:
    """Predicting, deleting and status before anything is taught."""
    with opened(tmp_path) as learner:
        assert (learner.status().accuracy, learner.undo(), learner.predict_many([])) == (None, None, [])
        with pytest.raises(HeadError, match="edgetl teach"):
            learner.require_taught()
        with pytest.raises(LabelError, match="none yet"):
            learner.delete_label("mug")


def test_a_single_label_is_predicted(tmp_path: Path) -> None:
    """Teaching starts with one label."""
    with opened(tmp_path) as learner:
        learner.learn_one(frames("red", 1)[0], "red")
        assert learner.predict_one(frames("red", 1)[0]).label == "red"


def test_scores_cover_any_number_of_labels(tmp_path: Path) -> None:
    """A prediction lists the best few; smoothing needs all."""
    with opened(tmp_path) as learner:
        for number in range(8):
            learner.learn_many(frames(f"scene {number}", 2), [f"scene {number}"] * 2)
        scores = learner.predict_embedding(
            learner.embed_one(frames("scene 3", 1, 5)[0]), all_scores=True
        ).scores
        assert set(scores) == set(learner.labels)
        assert sum(scores.values()) == pytest.approx(1)


def test_samples_taken_within_seconds_are_one_burst_for_any_wall_clock() -> None:
    """Another label, another source, a pause, or a clock that runs backwards starts a new one."""
    bursts = Bursts()
    first = bursts.number("mug", "0", 10.0)
    assert bursts.number("mug", "0", 11.9) == first
    numbers = [
        first,
        bursts.number("bowl", "0", 12.0),
        bursts.number("bowl", "1", 12.1),
        bursts.number("bowl", "1", 14.2),
        bursts.number("bowl", "1", 3.0),
    ]
    assert len(set(numbers)) == len(numbers)


def test_photos_are_single_and_frames_with_times_form_bursts(learner: Learner) -> None:
    """Without times, images of one call are photos; with times, close ones are near-duplicates."""
    photos = learner.learn_many(frames("red", 3), ["red"] * 3)
    assert len({sample.burst for sample in photos}) == 3
    film = learner.learn_many(frames("red", 3), ["red"] * 3, "film", times=[0.0, 1.0, 5.0])
    assert [sample.burst == film[0].burst for sample in film] == [True, True, False]


def test_a_closed_learner_raises_an_error_that_names_the_cause(learner: Learner) -> None:
    """The error does not call the file damaged."""
    learner.close()
    learner.close()
    assert "closed" in repr(learner)
    with pytest.raises((StateError, EmbeddingError), match="closed"):
        learner.learn_one(frames("red", 1)[0], "red")
    with pytest.raises(StateError, match="closed; open it again"):
        learner.samples()


def test_an_exported_model_starts_with_what_was_learned(learner: Learner, tmp_path: Path) -> None:
    """The same labels and the same answers, without a state file; and it can be taught further."""
    learner.export(tmp_path / "personal.tflite")
    images = [frames(scene, 1, 60)[0] for scene in SCENES]
    with Learner.open(tmp_path / "personal.tflite", tmp_path / "new.db", threads=1) as personal:
        assert personal.head.digest() == learner.head.digest()
        assert personal.predict_many(images) == learner.predict_many(images)
        personal.learn_one(frames("yellow", 1)[0], "yellow")
        assert "yellow" in personal.labels
    with pytest.raises(StorageError, match="--force"):
        learner.export(tmp_path / "personal.tflite")
    # its samples are in the model now and must not count twice
    with pytest.raises(StateError, match="which would count twice"):
        Learner.open(tmp_path / "personal.tflite", tmp_path / "mugs.db")


def test_what_was_forgotten_is_not_exported(tmp_path: Path) -> None:
    """This holds for a sample of the device and for a label of the host."""
    with opened(tmp_path, model=TAUGHT) as learner:
        gone = learner.labels[0]
        learner.delete_label(gone)
        sample = learner.learn_one(frames("red", 1)[0], "secret")
        learner.forget(sample.id)
        learner.export(tmp_path / "personal.tflite")
    with Learner.open(tmp_path / "personal.tflite", None, threads=1) as personal:
        assert set(personal.labels).isdisjoint({gone, "secret"})


def test_a_memory_of_sums_is_renamed_joined_and_added_to_but_not_taken_apart(tmp_path: Path) -> None:
    """A model file of many photos contains sums; the head is the same as from the samples."""
    source, rng = ModelFile.open(TINY), np.random.default_rng(0)
    dimensions = source.manifest.dimensions
    codes, labels = rng.integers(-900, 900, (90, dimensions)).astype(np.int16), ["mug", "bowl", "cup"] * 30
    model = write_model_file(
        tmp_path / "sums.tflite",
        source.model_part(),
        source.manifest,
        ("bowl", "cup", "mug"),
        sums(codes, labels),
    )
    with opened(tmp_path, model=model.path) as learner:
        assert learner.head.counts == {"bowl": 30, "cup": 30, "mug": 30}
        position = learner.store.position()
        with pytest.raises(HeadError, match="cannot be taken apart"):
            learner.delete_label("mug")
        assert learner.store.position() == position
        before = learner.head.digest()
        learner.rename_label("mug", "cup")
        assert learner.head.counts == {"bowl": 30, "cup": 60}
        learner.undo()
        assert learner.head.digest() == before
        assert learner.status().host == {"bowl": 30, "cup": 30, "mug": 30}
    with pytest.raises(HeadError, match="--head exact"):
        Learner.open(model, tmp_path / "mugs.db", head="knn", threads=1)


def sums(codes: np.ndarray, labels: list[str]) -> Sums:
    """Sum samples as the converter does for many photos."""
    names = sorted(set(labels))
    own = np.array([names.index(label) for label in labels])
    wide = codes.astype(np.int64)
    return Sums(
        tuple(names),
        np.bincount(own).astype(np.int64),
        np.stack([wide[own == place].sum(axis=0) for place in range(len(names))]),
        (wide.T @ wide).astype(np.float64),
    )


def test_a_stored_label_with_a_direction_mark_still_opens_and_can_be_renamed(tmp_path: Path) -> None:
    """Versions before 0.2 accepted such labels; new ones are refused. The displayed name is enough to rename it."""
    old, shown = "\u200fשלום", "\\u200fשלום"
    with opened(tmp_path) as learner:
        teach(learner)
        code = learner.store.codes([1])[0]
        learner.store.learn([NewSample(old, code, 1.0, "old", 1, None)])
    with opened(tmp_path) as learner:
        assert old in learner.labels
        assert old in learner.predict_embedding(learner.embed_one(draw("red", 0))).scores
        assert learner.store.verify() == 13
        assert learner.export(tmp_path / "own.tflite").labels == learner.labels
        with pytest.raises(LabelError, match=r"direction.*u200f"):
            learner.learn_one(draw("red", 9), old)
        learner.rename_label(shown, "שלום")
        assert learner.store.counts()["שלום"] == 1


def test_ten_thousand_and_one_labels_are_refused_before_they_are_written(tmp_path: Path) -> None:
    """The exact head names the one that can have them; the ncm head learns and predicts them."""
    count = 10_001
    random = np.random.default_rng(0)
    labels = [f"label {number:05d}" for number in range(count)]
    image = np.zeros((4, 4, 3), np.uint8)
    with Learner.open(TINY, tmp_path / "many.db", threads=1, thumbnails=False) as learner:
        embeddings = random.random((count, learner.model.manifest.dimensions), np.float32)
        with pytest.raises(
            LabelError, match=r"can have 2000 of them, but there would be 10001; use --head ncm"
        ):
            learner.learn_many([image] * count, labels, embeddings=embeddings)
        assert learner.store.counts() == {}
        assert learner.store.position() == 0
    with Learner.open(TINY, tmp_path / "many.db", threads=1, head="ncm", thumbnails=False) as learner:
        learner.learn_many([image] * count, labels, embeddings=embeddings)
        assert learner.predict_embedding(embeddings[7]).label == labels[7]

"""Exporting on the device: the file starts with what was learned, and nothing else changes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.errors import HeadError, ModelFileError, StateError, StorageError
from device.heads import Linear
from device.learner import Learner
from device.learner.export import Snapshot, patch, write_personal
from device.model.codes import apply_map, encode
from device.model.embedder import Embedder
from device.model.memory import Samples, Sums
from device.model.modelfile import ModelFile
from device.model.runtime import open_interpreter
from device.store import NewSample
from tests import tiny

MODEL = ModelFile.open(tiny.TINY)
LABELS = ("cup", "rosa canina", "Übung")


@pytest.fixture
def linear() -> Linear:
    """A linear map for `LABELS`."""
    chooser = np.random.default_rng(0)
    return Linear(chooser.normal(size=(32, 3)), chooser.normal(size=3))


def codes_of(count: int, seed: int = 0) -> Any:
    """Random codes, int16 [count, 32]."""
    return np.random.default_rng(seed).integers(-4096, 4097, (count, 32)).astype(np.int16)


def test_an_exported_file_keeps_the_bursts_of_samples(tmp_path: Path) -> None:
    """Otherwise the frames of a burst would judge each other on the next device."""
    images = [tiny.photo(label, seed) for label in ("red", "blue") for seed in range(4)]
    with Learner.open(tiny.TINY, tmp_path / "s.db") as learner:
        learner.learn_many(images, ["red"] * 4 + ["blue"] * 4, bursts=[7, 7, 9, 9, 3, 3, 3, 5])
        learner.export(tmp_path / "personal.tflite")
    taught = ModelFile.open(tmp_path / "personal.tflite").memory
    assert isinstance(taught, Samples)
    assert taught.groups is not None
    groups = taught.groups.tolist()
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert groups[4] == groups[5] == groups[6] != groups[7]


# the file


def test_the_new_file_answers_with_the_new_weights(tmp_path: Path, linear: Linear) -> None:
    """Classify returns phi(e) W + b for the labels, and probability 0 for unused columns."""
    made = write_personal(MODEL, tmp_path / "p.tflite", linear, LABELS)
    assert made.labels == LABELS
    embedder = Embedder(made, threads=1)
    embeddings = embedder.embed_many(tiny.photo(label, 0) for label in tiny.COLORS)
    given = embedder.signature("classify")(embedding=embeddings)
    assert np.allclose(given["logits"][:, :3], apply_map(embeddings) @ linear.W + linear.b, atol=1e-5)
    assert not given["probabilities"][:, 3:].any()
    assert np.array_equal(
        embeddings, Embedder(MODEL, threads=1).embed_many(tiny.photo(label, 0) for label in tiny.COLORS)
    )


def test_only_the_heads_bytes_change(tmp_path: Path, linear: Linear) -> None:
    """The backbone is the same to the byte; checksum and origin are new."""
    made = write_personal(MODEL, tmp_path / "p.tflite", linear, LABELS)
    before, after = (np.frombuffer(model.model_part(), np.uint8) for model in (MODEL, made))
    changed = np.flatnonzero(before != after)
    places = MODEL.manifest.head_weights.values()
    assert changed.size
    assert all(any(start <= byte < start + length for start, length in places) for byte in changed)
    assert made.sha256 != MODEL.sha256
    assert made.manifest.extra["made_from"] == MODEL.sha256
    assert made.manifest.preprocessing == MODEL.manifest.preprocessing


def test_momentum_starts_at_rest(tmp_path: Path, linear: Linear) -> None:
    """An export starts a new training."""
    made = write_personal(MODEL, tmp_path / "p.tflite", linear, LABELS)
    read = open_interpreter(made.path, threads=1).get_signature_runner("get_weights")(
        unused=np.zeros(1, np.float32)
    )
    assert not read["W_momentum"].any()
    assert not read["b_momentum"].any()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, linear: Linear) -> None:
    """Another shape, NaN, values too large for float32."""
    with pytest.raises(HeadError, match=r"must have shapes \(32, 2\)"):
        write_personal(MODEL, tmp_path / "p.tflite", linear, ("a", "b"))
    for value in (np.nan, 1e300):
        with pytest.raises(HeadError, match="NaN or are too large"), np.errstate(over="ignore"):
            write_personal(MODEL, tmp_path / "p.tflite", Linear(linear.W * value, linear.b), LABELS)


def test_existing_files_are_not_overwritten(tmp_path: Path, linear: Linear) -> None:
    """Unless forced."""
    write_personal(MODEL, tmp_path / "p.tflite", linear, LABELS)
    with pytest.raises(StorageError, match="--force"):
        write_personal(MODEL, tmp_path / "p.tflite", linear, LABELS)
    write_personal(MODEL, tmp_path / "p.tflite", linear, LABELS, force=True)


@pytest.mark.parametrize(
    "places",
    [
        {},
        {"W": (100, 8)},
        {"W": (100, 8), "b": (104, 4)},
        {"W": (100, 8), "b": (108, 8)},
        {"W": (0, 8), "b": (108, 4)},
        {"W": (-8, 8), "b": (108, 4)},
        {"W": (100, 8), "b": (197, 4)},
    ],
)
def test_places_that_do_not_fit_are_refused(places: dict[str, tuple[int, int]]) -> None:
    """Missing, overlapping, of another size, over the header, outside the file."""
    values = {"W": np.ones(2, np.float32), "b": np.ones(1, np.float32)}
    with pytest.raises(ModelFileError, match="convert the model again"):
        patch(bytes(200), places, values)


# the learner's export


@pytest.mark.parametrize("head", ["exact", "lda", "ncm", "softmax", "knn"])
def test_an_exported_model_has_the_samples_of_host_and_device(tmp_path: Path, head: str) -> None:
    """Old labels by memory, new ones by samples; without any state file, from every kind of head."""
    asked = [tiny.photo(label, 50) for label in ("blue", "green", "white", "red")]
    with Learner.open(tiny.TINY_TAUGHT, None, head=head, threads=1) as learner:
        learner.learn_many([tiny.photo("white", seed) for seed in range(6)], ["paper"] * 6)
        exported = learner.export(tmp_path / "p.tflite")
        answers = learner.predict_many(asked)
    assert exported.labels == ("blue", "green", "paper", "red")
    with Learner.open(exported, None, threads=1) as learner:
        assert [answer.label for answer in learner.predict_many(asked)] == list(exported.labels)
        classify = learner.embedder.signature("classify")
        given = classify(embedding=learner.embed_many(asked))["probabilities"]
    assert [exported.labels[column] for column in given.argmax(1)] == [answer.label for answer in answers]


def test_the_float_head_is_the_learners(tmp_path: Path) -> None:
    """Its probabilities are those of the learner, within the rounding of the codes."""
    with Learner.open(tiny.TINY_TAUGHT, None, threads=1) as learner:
        embeddings = learner.embed_many(tiny.photo(label, 60) for label in tiny.COLORS)
        expected = learner.head.probabilities(encode(embeddings))
        exported = learner.export(tmp_path / "p.tflite")
    given = Embedder(exported, threads=1).signature("classify")(embedding=embeddings)["probabilities"]
    assert np.allclose(given[:, :3], expected, atol=0.02)


def test_labels_that_were_renamed_or_deleted_stay_so(tmp_path: Path) -> None:
    """The memory of an export has the present names."""
    with Learner.open(tiny.TINY_TAUGHT, None, threads=1) as learner:
        learner.rename_label("red", "rosso")
        learner.delete_label("green")
        exported = learner.export(tmp_path / "p.tflite")
    assert exported.labels == ("blue", "rosso")
    assert isinstance(exported.memory, Samples)
    assert set(exported.memory.labels) == {"blue", "rosso"}


@pytest.mark.parametrize("head", ["exact", "lda", "ncm", "softmax", "knn"])
def test_many_samples_are_summed_in_pieces(
    tmp_path: Path, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory is their exact sums, and not all codes are in RAM at once, for any head."""
    codes = encode(np.abs(np.random.default_rng(2).normal(size=(1200, 32))))
    labels = [f"label {number % 3}" for number in range(1200)]
    with Learner.open(tiny.TINY, tmp_path / "s.db", head=head, threads=1) as learner:
        learner.store.learn([NewSample(label, code, 0.0) for label, code in zip(labels, codes, strict=True)])
        learner.forget(range(1, 101))
        learner.rename_label("label 2", "other")
        read, original = [], learner.store.codes
        monkeypatch.setattr(
            learner.store, "codes", lambda numbers: read.append(len(numbers)) or original(numbers)
        )
        exported = learner.export(tmp_path / "p.tflite")
    names = [label.replace("label 2", "other") for label in labels[100:]]
    expected = Sums.of(codes[100:], names)
    assert isinstance(exported.memory, Sums)
    assert exported.memory.labels == exported.labels == ("label 0", "label 1", "other")
    for name in ("numbers", "sums", "gram", "keys"):
        assert np.array_equal(getattr(exported.memory, name), getattr(expected, name)), name
    assert (sum(read), max(read)) == (1100, 500)


def test_teaching_continues_while_a_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file contains what was known when the export began."""
    writing, taught = threading.Event(), threading.Event()

    def write(*given: Any, **options: Any) -> ModelFile:
        writing.set()
        assert taught.wait(30)
        return write_personal(*given, **options)

    monkeypatch.setattr("device.learner.export.write_personal", write)
    with Learner.open(tiny.TINY_TAUGHT, None, threads=1) as learner, ThreadPoolExecutor() as pool:
        exporting = pool.submit(learner.export, tmp_path / "p.tflite")
        assert writing.wait(30)
        learner.learn_one(tiny.photo("yellow", 0), "yellow")
        assert "yellow" in learner.labels
        taught.set()
        assert exporting.result().labels == ("blue", "green", "red")


@pytest.mark.parametrize("head", ["exact", "knn"])
def test_many_samples_are_exported_as_they_were_when_the_export_began(
    tmp_path: Path, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teaching and forgetting while the samples are read change neither sums nor counts."""
    codes = encode(np.abs(np.random.default_rng(5).normal(size=(700, 32))))
    with Learner.open(tiny.TINY, tmp_path / "s.db", head=head, threads=1) as learner:
        learner.store.learn([NewSample("ab"[place % 2], code, 0.0) for place, code in enumerate(codes)])
        original = learner._snapshot

        def look() -> Snapshot:
            snapshot = original()
            learner.learn_one(tiny.photo("red", 0), "later")
            learner.forget(700)
            return snapshot

        monkeypatch.setattr(learner, "_snapshot", look)
        taught = learner.export(tmp_path / "p.tflite").memory
    expected = Sums.of(codes, ["a", "b"] * 350)
    assert isinstance(taught, Sums)
    for name in ("labels", "numbers", "sums", "gram"):
        assert np.array_equal(getattr(taught, name), getattr(expected, name)), name
    assert set(taught.keys) <= set(expected.keys)
    assert len(taught.keys) >= 699


def test_samples_purged_during_an_export_are_named_as_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second export contains the remaining samples."""
    with Learner.open(tiny.TINY, tmp_path / "s.db", threads=1) as learner:
        learner.learn_many([tiny.photo("red", seed) for seed in range(4)], ["a", "b"] * 2)
        original = learner._snapshot

        def look() -> Snapshot:
            snapshot = original()
            learner.forget(1)
            learner.purge()
            return snapshot

        monkeypatch.setattr(learner, "_snapshot", look)
        with pytest.raises(StateError, match=r"purged while they were exported.*export again"):
            learner.export(tmp_path / "p.tflite")
        monkeypatch.undo()
        exported = learner.export(tmp_path / "p.tflite")
    assert isinstance(exported.memory, Samples)
    assert exported.memory.labels == ("b", "a", "b")


def test_an_existing_file_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is computed for a file that must not be written."""
    (tmp_path / "p.tflite").touch()
    with Learner.open(tiny.TINY_TAUGHT, None, threads=1) as learner:
        monkeypatch.setattr("device.learner.learner.Snapshot", None)
        with pytest.raises(StorageError, match="--force"):
            learner.export(tmp_path / "p.tflite")


def test_an_untaught_learner_cannot_export(tmp_path: Path) -> None:
    """An empty head would be useless."""
    with (
        Learner.open(tiny.TINY, None, threads=1) as learner,
        pytest.raises(HeadError, match="teach something first"),
    ):
        learner.export(tmp_path / "p.tflite")

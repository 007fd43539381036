"""A state for a new model, from the pictures in the state of an old one."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device.errors import SampleNotFoundError, StateError, StorageError
from device.images import encode_jpeg, read_photo
from device.learner import Learner
from device.learner.reembedding import reembed

from .test_learner import DATA, SCENES, TAUGHT, TINY, frames, opened, teach

NEW = DATA / "tiny_infer.tflite"  # the model of another conversion: not that of the state


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The state file of the old model: three scenes, one sample renamed, one forgotten, one version."""
    with opened(tmp_path) as learner:
        teach(learner)
        learner.relabel(2, "rouge")
        learner.save_version("before", metrics={"accuracy": 1.0})
        learner.forget(5)
    return tmp_path / "mugs.db"


def described(learner: Learner) -> list[tuple[object, ...]]:
    """Return everything about the samples except their embeddings."""
    names = learner.store.database.rows("SELECT uuid FROM samples WHERE label IS NOT NULL ORDER BY id DESC")
    return [
        (s.id, s.label, s.time, s.source, s.burst, s.thumbnail, name)
        for s, name in zip(learner.samples(), names, strict=True)
    ]


def test_everything_but_the_embeddings_is_kept(tmp_path: Path, old: Path) -> None:
    """Ids, names, labels, times, sources, pictures; and the old file stays unchanged."""
    before = old.read_bytes()
    reported: list[tuple[int, int]] = []
    found = reembed(
        NEW, old, tmp_path / "new.db", progress=lambda task, done, total: reported.append((done, total))
    )
    assert found.samples == {"blue": 3, "green": 4, "red": 3, "rouge": 1}
    assert (found.from_thumbnails, found.from_photos, found.forgotten, found.left_behind) == (12, 0, 1, {})
    assert reported[-1] == (12, 12)
    assert old.read_bytes() == before
    with opened(tmp_path) as learner, opened(tmp_path, "new.db", NEW) as newer:
        assert described(newer) == described(learner)
        assert newer.store.entries() == learner.store.entries()
        assert newer.store.verify() == 12


def test_the_embeddings_are_those_of_the_new_model_for_the_pictures(tmp_path: Path, old: Path) -> None:
    """They are those of the thumbnails, to the last bit."""
    reembed(NEW, old, tmp_path / "new.db")
    with opened(tmp_path, "new.db", NEW) as newer, Learner.open(NEW, None, threads=1) as shown:
        for sample in newer.samples():
            picture = read_photo(sample.thumbnail or b"")
            assert newer.knows(shown.embed_one(picture), [sample.id])
        samples = newer.samples()
        shown.learn_many([read_photo(s.thumbnail or b"") for s in samples], [s.label for s in samples])
        assert newer.head.digest() == shown.head.digest()


def test_undo_and_rollback_reach_back_while_every_sample_has_a_picture(tmp_path: Path, old: Path) -> None:
    """Also to a forgotten sample, and to before the new model."""
    reembed(NEW, old, tmp_path / "new.db")
    with opened(tmp_path, "new.db", NEW) as newer:
        entry = newer.undo()
        assert entry is not None
        assert entry.action == "forget"
        assert 5 in {sample.id for sample in newer.samples()}
        newer.learn_one(frames("red", 1, 30)[0], "red")
        newer.rollback(1)
        assert sum(newer.store.counts().values()) == 12
        newer.store.verify()


def test_samples_without_a_picture_are_counted_and_end_undo(tmp_path: Path, old: Path) -> None:
    """They do not come back without an embedding; the rest is kept."""
    with Learner.open(TINY, old, threads=1, thumbnails=False) as learner:
        learner.learn_many(frames("blue", 2, 20), ["blind", "blind"])
    found = reembed(NEW, old, tmp_path / "new.db")
    assert found.left_behind == {"blind": 2}
    assert "blind" not in found.samples
    assert any("do not reach back before" in note for note in found.notes)
    with opened(tmp_path, "new.db", NEW) as newer:
        assert newer.undo() is None
        with pytest.raises(SampleNotFoundError, match="without a picture"):
            newer.rollback(1)
        assert newer.predict_one(frames("red", 1, 60)[0]).label in found.samples
        newer.store.verify()


def test_a_damaged_picture_counts_as_none(tmp_path: Path, old: Path) -> None:
    """Its checksum is wrong, so it does not show what was taught."""
    with contextlib.closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE thumbnails SET jpeg = zeroblob(500) WHERE sample = 1")
    assert reembed(NEW, old, tmp_path / "new.db").left_behind == {"red": 1}


def test_photos_that_are_still_there_are_better_than_thumbnails(tmp_path: Path) -> None:
    """Unless another photo has the name now, or the sample was cropped from it."""
    folder = tmp_path / "photos"
    for place, scene in enumerate(SCENES):
        (folder / scene).mkdir(parents=True)
        (folder / scene / "a.jpg").write_bytes(encode_jpeg(frames(scene, 1, place)[0]))
    names = [f"{scene}/a.jpg" for scene in SCENES]
    photos = [read_photo(folder / name) for name in names]
    with opened(tmp_path) as learner:
        learner.learn_many(photos, list(SCENES), names)
    shutil.copy(folder / "green" / "a.jpg", folder / "blue" / "a.jpg")
    found = reembed(NEW, tmp_path / "mugs.db", tmp_path / "new.db", photos=folder)
    assert (found.from_photos, found.from_thumbnails) == (2, 1)
    with opened(tmp_path, "new.db", NEW) as newer:
        same = [newer.knows(newer.embed_one(photo), [at]) for at, photo in enumerate(photos, 1)]
        assert same == [scene != "blue" for scene in SCENES]


def test_a_source_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    """A foreign state file may contain any path."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "secret.jpg").write_bytes(encode_jpeg(frames("red", 1)[0]))
    with Learner.open(TINY, tmp_path / "mugs.db", threads=1) as learner:
        learner.learn_one(read_photo(tmp_path / "secret.jpg"), "red", "../secret.jpg")
    found = reembed(NEW, tmp_path / "mugs.db", tmp_path / "new.db", photos=tmp_path / "photos")
    assert (found.from_photos, found.from_thumbnails) == (0, 1)


def test_states_that_cannot_be_embedded_again_are_refused_and_no_file_is_left(
    tmp_path: Path, old: Path
) -> None:
    """The same model, an empty state, one without any picture, itself, a name in use."""
    with pytest.raises(StateError, match=r"belongs to tiny\.tflite already"):
        reembed(TINY, old, tmp_path / "new.db")
    opened(tmp_path, "empty.db").close()
    with pytest.raises(StateError, match="has no sample"):
        reembed(NEW, tmp_path / "empty.db", tmp_path / "new.db")
    with Learner.open(TINY, tmp_path / "blind.db", threads=1, thumbnails=False) as learner:
        teach(learner)
    with pytest.raises(StateError, match="has no picture of its 12 samples"):
        reembed(NEW, tmp_path / "blind.db", tmp_path / "new.db")
    assert [path.name for path in tmp_path.iterdir() if "new" in path.name] == []
    with pytest.raises(StorageError, match="the old state file itself"):
        reembed(NEW, old, old, force=True)
    with pytest.raises(StorageError, match="already exists"):
        reembed(NEW, old, tmp_path / "empty.db")


def test_an_export_of_the_same_state_is_refused(tmp_path: Path, old: Path) -> None:
    """It contains every sample already, so each would count twice."""
    with opened(tmp_path) as learner:
        exported = learner.export(tmp_path / "personal.tflite")
    with pytest.raises(StateError, match="contains 11 of the samples"):
        reembed(exported, old, tmp_path / "new.db")


def test_a_damaged_state_is_refused_with_the_way_to_recover_it(tmp_path: Path, old: Path) -> None:
    """A label that was altered would be taught to the new model."""
    with contextlib.closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE samples SET label = 'evil' WHERE id = 1")
    with pytest.raises(StateError, match="edgetl recover"):
        reembed(NEW, old, tmp_path / "new.db")


def test_a_process_killed_midway_leaves_no_file_of_that_name(tmp_path: Path, old: Path) -> None:
    """The next run succeeds."""
    program = (
        "import os, signal, sys; from device.learner.reembedding import reembed\n"
        "def stop(task, done, total):\n"
        "    if done == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        "reembed(sys.argv[1], sys.argv[2], sys.argv[3], progress=stop)\n"
    )
    out = tmp_path / "new.db"
    done = subprocess.run([sys.executable, "-c", program, NEW, old, out], check=False)
    assert done.returncode == -9
    assert not out.exists()
    assert reembed(NEW, old, out).forgotten == 1


def test_the_memory_of_the_new_model_counts_too(tmp_path: Path, old: Path) -> None:
    """The samples of the host and the re-embedded ones are learned together."""
    reembed(TAUGHT, old, tmp_path / "new.db")
    with opened(tmp_path, "new.db", TAUGHT) as newer:
        host = newer.status().host
        assert sum(newer.head.counts.values()) == 11 + sum(host.values())
        assert np.isfinite(newer.head.predict_one(newer.store.codes([1])[0]).probability)

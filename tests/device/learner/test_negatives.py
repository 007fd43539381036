"""Negatives and background: exact, undoable, mergeable, durable, and without effect on the other labels."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from device.arrays import pack_arrays, pack_texts
from device.cameras import Frame
from device.cameras.fake import draw
from device.errors import EmbeddingError, HeadError, LabelError, ModelFileError, SelectionError, StateError
from device.heads import HEADS, Prediction
from device.heads.rejection import joined_digest
from device.learner import Learner
from device.live.watching import watch
from device.model.hidden import unpack_hidden
from device.model.modelfile import ModelFile
from device.store import schema
from device.store.recovery import recover

from .test_learner import SCENES, TAUGHT, TINY, frames, opened, teach

STRANGE = ("yellow", "pink")  # scenes that are not taught


def digest_of(learner: Learner) -> str:
    """Return the digest of what a learner was taught, with its negatives."""
    return joined_digest(learner.head.digest(), learner.head.rejection)


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    """A learner with three scenes."""
    learner = opened(tmp_path)
    teach(learner, 6)
    yield learner
    learner.close()


def test_a_negative_takes_frames_from_its_label_and_leaves_the_other_frames_as_they_were(
    learner: Learner,
) -> None:
    """The predictions of taught labels keep their label and stay known."""
    strange = frames("yellow", 3, 50)
    taught = [frame for scene in SCENES for frame in frames(scene, 2, 50)]
    before, wrong = learner.predict_many(taught), learner.predict_one(strange[0]).label
    for frame in frames("yellow", 3):
        learner.learn_one(frame, not_label=wrong)
    assert all(not (seen.known and seen.label == wrong) for seen in learner.predict_many(strange))
    assert all(seen.scores[wrong] < 0.5 for seen in learner.predict_many(strange))
    after = learner.predict_many(taught)
    assert [(seen.label, seen.known) for seen in after] == [(seen.label, seen.known) for seen in before]


@pytest.mark.parametrize("head", HEADS)
def test_background_is_unknown_with_every_head(tmp_path: Path, head: str) -> None:
    """Frames like the background are unknown at the next prediction, and taught labels stay known."""
    with Learner.open(TINY, tmp_path / "mugs.db", head=head, threads=1) as learner:
        teach(learner, 6)
        known = [seen.known for seen in learner.predict_many(frames("red", 3, 50))]
        for scene in STRANGE:
            learner.learn_many(frames(scene, 4), [None] * 4)
            assert not any(seen.known for seen in learner.predict_many(frames(scene, 3, 50)))
        assert [seen.known for seen in learner.predict_many(frames("red", 3, 50))] == known


@pytest.mark.parametrize("head", HEADS)
def test_a_label_that_is_denied_is_no_longer_predicted_with_every_head(tmp_path: Path, head: str) -> None:
    """Even frames of the label itself, if all of them are denied; the answers of the head itself do not change."""
    with Learner.open(TINY, tmp_path / "mugs.db", head=head, threads=1) as learner:
        teach(learner, 6)
        plain = learner.head.probabilities(learner.store.codes([1, 7, 13]))
        wrong = learner.predict_one(frames("yellow", 1, 50)[0]).label
        learner.learn_many(frames("yellow", 4), [None] * 4, not_label=wrong)
        seen = learner.predict_one(frames("yellow", 1, 50)[0])
        assert not (seen.known and seen.label == wrong)
        np.testing.assert_array_equal(learner.head.probabilities(learner.store.codes([1, 7, 13])), plain)


def test_the_order_of_teaching_does_not_matter(tmp_path: Path) -> None:
    """Predictions are bit for bit the same, and so is the digest."""
    lessons = [(scene, scene, None) for scene in SCENES for _ in range(4)]
    lessons += [("yellow", None, "red")] * 3 + [("pink", None, None)] * 3
    digests, answers = [], []
    for seed in range(3):
        with opened(tmp_path, f"{seed}.db") as learner:
            order = np.random.default_rng(seed).permutation(len(lessons))
            # a negative needs its label
            order = sorted(order, key=lambda place: lessons[place][2] is not None)
            for place in order:
                scene, label, denied = lessons[place]
                learner.learn_one(draw(scene, int(place)), label, not_label=denied)
            digests.append(digest_of(learner))
            answers.append(learner.predict_many([draw(scene, 50) for scene in (*SCENES, *STRANGE)]))
    assert len(set(digests)) == 1
    assert answers[0] == answers[1] == answers[2]


def test_undo_forget_and_rollback_bring_back_the_predictions_before(learner: Learner) -> None:
    """Exactly, as if no negative had ever been taught."""
    asked = [draw(scene, 50) for scene in (*SCENES, *STRANGE)]
    before, digest = learner.predict_many(asked), digest_of(learner)
    learner.save_version("before")
    first = learner.learn_one(draw("yellow"), not_label="red")
    second = learner.learn_one(draw("pink"), None)
    assert (first.label, first.not_label, first.background) == (None, "red", False)
    assert (second.label, second.not_label, second.background) == (None, None, True)
    after = learner.predict_many(asked)
    assert after != before
    learner.forget([first.id, second.id])
    assert learner.predict_many(asked) == before
    learner.undo()
    assert learner.predict_many(asked) == after
    learner.rollback(1)
    assert (learner.predict_many(asked), digest_of(learner)) == (before, digest)
    assert learner.head.rejection is None


def test_negatives_survive_reopening_backup_and_recovery(learner: Learner, tmp_path: Path) -> None:
    """They are counted, listed, verified and predicted as before."""
    learner.learn_one(draw("yellow"), not_label="red")
    learner.learn_one(draw("pink"), None)
    asked = [draw(scene, 50) for scene in (*SCENES, *STRANGE)]
    before = learner.predict_many(asked)
    learner.store.backup(tmp_path / "copy.db")
    recovered = recover(tmp_path / "copy.db", tmp_path / "recovered.db")
    assert (recovered.negatives, recovered.background, recovered.forgotten) == ({"red": 1}, 1, 0)
    for name in ("copy.db", "recovered.db"):
        with opened(tmp_path, name) as again:
            assert again.predict_many(asked) == before
            assert [sample.meaning for sample in again.samples(limit=2)] == ["background", "not red"]
            assert [sample.id for sample in again.samples(not_label="red")] == [19]
            assert [sample.id for sample in again.samples(background=True)] == [20]
            status = again.status().to_dict()
            assert (status["negatives"], status["background"]) == ({"red": 1}, 1)
            assert status["samples"] == dict.fromkeys(sorted(SCENES), 6)
            again.store.verify()


@pytest.mark.parametrize("head", ["exact", "ncm"])
def test_states_with_and_without_negatives_merge_in_both_directions(tmp_path: Path, head: str) -> None:
    """The result is the same as if one device had been taught everything."""
    asked = [draw(scene, 50) for scene in (*SCENES, *STRANGE)]
    names = ("plain.db", "denying.db")
    with opened(tmp_path, names[0]) as learner:
        teach(learner, 4)
    with opened(tmp_path, names[1]) as learner:
        learner.learn_many(frames("red", 4, 20), ["red"] * 4)
        learner.learn_many(frames("yellow", 3), [None] * 3, not_label="red")
        learner.learn_many(frames("pink", 3), [None] * 3)
    found = []
    for mine, other in (names, names[::-1]):
        path = tmp_path / f"merged-{mine}"
        with opened(tmp_path, mine) as learner:
            learner.store.backup(path)
        with Learner.open(TINY, path, head=head, threads=1) as learner:
            learner.merge(tmp_path / other)
            assert learner.merge(tmp_path / other) is None
            found.append((digest_of(learner), learner.predict_many(asked), learner.store.hidden_counts()))
    assert found[0] == found[1]


def test_negatives_follow_their_label(learner: Learner) -> None:
    """Through renaming, joining, deleting, and undoing each of them."""
    learner.learn_many(frames("yellow", 2), [None] * 2, not_label="red")
    learner.learn_one(draw("pink"), not_label="blue")
    learner.rename_label("red", "cup")
    assert learner.status().negatives == {"blue": 1, "cup": 2}
    learner.rename_label("cup", "blue")
    assert learner.status().negatives == {"blue": 3}
    learner.delete_label("blue")
    assert learner.status().negatives == {}
    assert learner.head.rejection is None
    for expected in ({"blue": 3}, {"blue": 1, "cup": 2}, {"blue": 1, "red": 2}):
        learner.undo()
        assert learner.status().negatives == expected


@pytest.mark.parametrize("head", ["exact", "knn"])
def test_an_exported_model_file_carries_negatives_along(tmp_path: Path, head: str) -> None:
    """It predicts what the device predicts, is refused by earlier versions, and exports them again."""
    asked = [draw(scene, 50) for scene in (*SCENES, *STRANGE)]
    with Learner.open(TINY, tmp_path / "mugs.db", head=head, threads=1) as learner:
        teach(learner, 6)
        learner.learn_many(frames("yellow", 3), [None] * 3, not_label="red")
        learner.learn_many(frames("pink", 2), [None] * 2)
        before = learner.predict_many(asked)
        exported = learner.export(tmp_path / "personal.tflite")
    assert (exported.manifest.format_version, exported.labels) == (3, tuple(sorted(SCENES)))
    with Learner.open(exported, tmp_path / "fresh.db", head=head, threads=1) as fresh:
        assert fresh.predict_many(asked) == before
        status = fresh.status()
        assert (status.host_negatives, status.host_background) == ({"red": 3}, 2)
        assert (status.negatives, status.background) == ({}, 0)
        fresh.learn_one(draw("yellow", 9), not_label="red")
        fresh.rename_label("red", "cup")
        assert fresh.export(tmp_path / "again.tflite").negatives is not None
        assert ModelFile.open(tmp_path / "again.tflite").negatives.counts() == {"\x15": 2, "\x15cup": 4}
        fresh.delete_label("cup")
        assert fresh.status().host_negatives == {}
    with opened(tmp_path, "plain.db") as learner:
        teach(learner)
        assert learner.export(tmp_path / "plain.tflite").manifest.format_version == 2


def test_a_learner_beside_another_knows_the_negatives_of_the_model_file(tmp_path: Path) -> None:
    """The learners of two regions predict the same from the same model file."""
    asked = [draw(scene, 50) for scene in (*SCENES, *STRANGE)]
    with opened(tmp_path) as learner:
        teach(learner, 6)
        learner.learn_many(frames("yellow", 3), [None] * 3, not_label="red")
        learner.learn_many(frames("pink", 2), [None] * 2)
        exported = learner.export(tmp_path / "personal.tflite")
    with (
        Learner.open(exported, tmp_path / "door.db", threads=1) as door,
        door.beside(tmp_path / "gate.db") as gate,
    ):
        assert gate.predict_many(asked) == door.predict_many(asked)
        assert gate.status().host_negatives == {"red": 3}


def test_damaged_negatives_of_a_model_file_are_refused() -> None:
    """A number beyond the labels, another width, no sample, a value that no code has."""
    codes = np.ones((4, 3), np.int16)
    good = {"names": pack_texts(["mug"]), "codes": codes, "index": np.array([0, -1, 0], np.int32)}
    assert unpack_hidden(pack_arrays(good), 4).counts() == {"\x15": 1, "\x15mug": 2}
    for wrong in (
        {"index": np.array([0, 1, 0], np.int32)},
        {"index": np.array([0, -2, 0], np.int32)},
        {"index": np.array([0, 0], np.int32)},
        {"codes": codes[:2]},
        {"codes": codes[:, :0], "index": np.zeros(0, np.int32)},
        {"codes": codes.astype(np.int32)},
        {"codes": np.full((4, 3), -32768, np.int16)},
        {"names": pack_texts(["mug", "cup"])},
        {"names": pack_texts(["\x15mug"])},
    ):
        with pytest.raises(ModelFileError, match=r"negatives\.npz in the model file is damaged"):
            unpack_hidden(pack_arrays(good | wrong), 4)
    with pytest.raises(ModelFileError, match="damaged"):
        unpack_hidden(pack_arrays({"codes": codes}), 4)


def test_negatives_of_a_host_label_follow_it(tmp_path: Path) -> None:
    """Renaming a label that the host taught rebuilds the head."""
    with opened(tmp_path, model=TAUGHT) as learner:
        label = learner.labels[0]
        learner.learn_one(draw("yellow"), not_label=label)
        learner.rename_label(label, "new name")
        assert learner.head.rejection is not None
        assert learner.head.rejection.hidden == ("\x15new name",)


def test_excluded_negatives_teach_nothing_until_they_are_included(learner: Learner) -> None:
    """And they follow their label meanwhile."""
    asked = [draw(scene, 50) for scene in (*SCENES, *STRANGE)]
    before = learner.predict_many(asked)
    sample = learner.learn_one(draw("yellow"), not_label="red")
    denied = learner.predict_many(asked)
    learner.exclude(sample.id)
    assert learner.predict_many(asked) == before
    assert learner.store.excluded_counts() == {"not red": 1}
    learner.rename_label("red", "cup")
    learner.rename_label("cup", "red")
    learner.include(sample.id)
    assert learner.predict_many(asked) == denied
    assert learner.store.sample(sample.id).meaning == "not red"


def test_samples_become_negatives_and_back_by_relabeling(learner: Learner) -> None:
    """Each is one change."""
    learner.relabel([1, 2], not_label="red")
    assert (learner.store.counts()["red"], learner.status().negatives) == (4, {"red": 2})
    learner.relabel(1, None)
    learner.relabel(2, "red")
    status = learner.status()
    assert (learner.store.counts()["red"], status.negatives, status.background) == (5, {}, 1)


@pytest.mark.parametrize("smooth", [1, 5])
def test_another_learner_sees_a_negative_at_its_next_frame(
    learner: Learner, tmp_path: Path, smooth: int
) -> None:
    """As `run` with its hooks, the page and MQTT do: they watch the same state file, and average over a few frames."""
    wrong = learner.predict_one(draw("yellow", 50)).label
    shown = [Frame(draw("yellow", 50 + at), 0.0, at, "fake") for at in range(6)]
    with opened(tmp_path) as other:
        seen = watch(other, iter(shown), smooth=smooth)
        before = [next(seen).prediction for _ in range(5)][-1]
        assert before is not None
        assert before.label == wrong
        learner.learn_one(draw("yellow", 55), not_label=wrong)
        after = next(seen).prediction
        assert after is not None
        assert after.scores[wrong] < before.scores[wrong] / 2


def test_a_negative_of_a_label_that_was_never_taught_is_refused(learner: Learner) -> None:
    """The message names the labels that there are; nothing is written."""
    with pytest.raises(LabelError, match="nothing was taught as 'mug'; labels are: blue, green, red"):
        learner.learn_one(draw("yellow"), not_label="mug")
    with pytest.raises(LabelError, match="name one of them, not both"):
        learner.learn_one(draw("yellow"), "red", not_label="blue")
    with pytest.raises(LabelError, match="name what the image shows"):
        learner.learn_one(draw("yellow"))
    with pytest.raises(SelectionError, match="at most one of label, not_label, background"):
        learner.samples("red", background=True)
    assert learner.store.position() == 3


def test_an_embedding_that_is_not_finite_is_refused_and_nothing_is_lost(learner: Learner) -> None:
    """NaN and infinity, for a negative and for background."""
    width = learner.model.manifest.dimensions
    for wrong in (np.nan, np.inf):
        with pytest.raises(EmbeddingError, match="NaN or infinity"):
            learner.learn_one(draw("red"), None, embedding=np.full(width, wrong, np.float32))
    assert learner.store.hidden_counts() == {}


def test_background_before_any_label_is_kept_until_there_is_one(tmp_path: Path) -> None:
    """A prediction still needs a label."""
    with opened(tmp_path) as learner:
        learner.learn_many(frames("yellow", 3), [None] * 3)
        with pytest.raises(HeadError, match="learned nothing yet"):
            learner.predict_one(draw("red"))
        teach(learner)
        assert not learner.predict_one(draw("yellow", 50)).known


def test_a_state_with_negatives_is_refused_by_version_0_1(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would show the negatives as labels of their own; its message says what to do."""
    learner.learn_one(draw("yellow"), not_label="red")
    learner.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "mugs.db")) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 1)
    with pytest.raises(StateError, match=r"newer edgetl.*update edgetl"):
        opened(tmp_path)


def test_no_label_of_a_user_equals_a_hidden_one(learner: Learner) -> None:
    """Control characters are refused, and 'not red' is an ordinary label."""
    for text in ("\x15red", "\x15"):
        with pytest.raises(LabelError, match="control characters"):
            learner.learn_one(draw("red"), text)
    learner.learn_one(draw("pink"), "not red")
    learner.learn_one(draw("pink"), "background")
    assert learner.store.hidden_counts() == {}
    assert {"not red", "background"} <= set(learner.labels)


def test_uncertain_frames_are_taught_as_labels_negatives_and_background_in_one_change(
    learner: Learner,
) -> None:
    """They leave the queue, and one undo reverts all of them."""
    queue, before, digest = learner.doubts, learner.store.position(), digest_of(learner)
    queue._pause, width = 0.0, learner.model.manifest.dimensions
    for place in range(3):
        embedding = np.zeros(width, np.float32)
        embedding[place] = 1.0
        unsure = Prediction(SCENES[0], 0.5, False, dict.fromkeys(SCENES, 1 / len(SCENES)))
        assert queue.offer(embedding, unsure, lambda: b"\xff\xd8")
    numbers = sorted(queue._items)
    with pytest.raises(LabelError, match="has a label and is a negative too"):
        learner.answer({numbers[0]: "cup"}, not_labels={numbers[0]: SCENES[0]})
    with pytest.raises(LabelError, match="nothing was taught as 'spoon'"):
        learner.answer({numbers[0]: "cup"}, not_labels={numbers[1]: "spoon"})
    assert (learner.store.position(), len(queue)) == (before, 3)
    samples = learner.answer({numbers[2]: "cup", numbers[0]: None}, not_labels={numbers[1]: SCENES[0]})
    assert [sample.meaning for sample in samples] == ["cup", "background", f"not {SCENES[0]}"]
    assert (learner.store.position(), len(queue)) == (before + 1, 0)
    learner.undo()
    assert digest_of(learner) == digest

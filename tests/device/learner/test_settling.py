"""Completing the head in the background."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.errors import StorageError
from device.heads.exact import ExactHead
from device.heads.lessons import FEWEST
from device.heads.rejection import Rejection
from device.learner import Learner, settling

TINY = Path(__file__).resolve().parents[2] / "data" / "tiny.tflite"


@pytest.fixture
def learner() -> Learner:
    """Return a learner that was taught enough for predictions before the head is complete."""
    random = np.random.default_rng(0)
    learner = Learner.open(TINY, None, threads=1)
    width = learner.model.manifest.dimensions
    count = 2 * FEWEST
    embeddings = random.normal(size=(count, width)).astype(np.float32)
    embeddings[np.arange(count), np.arange(count) % 2] += 3
    images = [np.zeros((4, 4, 3), np.uint8)] * count
    learner.learn_many(images, ["even", "odd"] * FEWEST, embeddings=embeddings)
    learner.head.settle()
    return learner


def noticed(monkeypatch: pytest.MonkeyPatch, kind: type[ExactHead] | type[Rejection]) -> threading.Event:
    """Return an event that is set once a head, or its rejection, has taken over what the thread computed."""
    adopted, adopt = threading.Event(), kind.adopt

    def seen(mine: Any, other: Any) -> None:
        adopt(mine, other)
        adopted.set()

    monkeypatch.setattr(kind, "adopt", seen)
    return adopted


def teach_one(learner: Learner) -> None:
    """Teach one more sample."""
    embedding = np.ones(learner.model.manifest.dimensions, np.float32)
    learner.learn_one(np.zeros((4, 4, 3), np.uint8), "odd", embedding=embedding)


def test_the_head_is_completed_after_a_lesson(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within `settling`, no call of the program computes the complete fit."""
    monkeypatch.setattr(settling, "REST", 0.0)
    adopted = noticed(monkeypatch, ExactHead)
    with learner, learner.settling():
        teach_one(learner)
        assert adopted.wait(30)
        assert learner.head.settled


def test_without_settling_the_head_waits_for_a_report(learner: Learner) -> None:
    """A lesson leaves the head unsettled, and a status that waits completes it."""
    with learner:
        learner.status()
        teach_one(learner)
        assert learner.status().behind == 1
        assert not learner.head.settled
        learner.status(wait=True)
        assert learner.head.settled


def test_settling_can_be_nested_and_ends_with_its_thread(learner: Learner) -> None:
    """A page within a program that settles already starts no second thread."""
    with learner:
        with learner.settling(), learner.settling():
            names = [thread.name for thread in threading.enumerate()]
            assert names.count("edgetl-settling") == 1
        assert "edgetl-settling" not in [thread.name for thread in threading.enumerate()]


def test_a_failure_in_the_background_is_left_to_the_next_prediction(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread neither ends nor prints a traceback, and completes the head after the next lesson."""
    monkeypatch.setattr(settling, "REST", 0.0)
    failed, adopted, adopt = threading.Event(), threading.Event(), ExactHead.adopt

    def adopt_at_second_try(head: ExactHead, other: ExactHead) -> None:
        if not failed.is_set():
            failed.set()
            raise StorageError("the disk is gone")
        adopt(head, other)
        adopted.set()

    monkeypatch.setattr(ExactHead, "adopt", adopt_at_second_try)
    with learner, learner.settling():
        teach_one(learner)
        assert failed.wait(30)
        teach_one(learner)
        assert adopted.wait(30)


def test_the_classes_of_negatives_are_completed_too(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With their margins, so that no prediction waits for them."""
    monkeypatch.setattr(settling, "REST", 0.0)
    adopted = noticed(monkeypatch, Rejection)
    with learner, learner.settling():
        embedding = -np.ones(learner.model.manifest.dimensions, np.float32)
        learner.learn_one(np.zeros((4, 4, 3), np.uint8), not_label="odd", embedding=embedding)
        assert adopted.wait(30)
        rejection = learner.head.rejection
        assert rejection is not None
        assert rejection.classes.settled
        monkeypatch.setattr(Rejection, "_chosen_margins", None)
        learner.predict_embedding(embedding)


def test_teaching_without_a_rest_completes_the_head_too(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once one sample in twenty is new, although lessons continue."""
    adopted = noticed(monkeypatch, ExactHead)
    with learner, learner.settling():
        settler = learner._settling
        assert settler is not None

        def lesson_comes(rest: float) -> bool:
            settler._lesson.set()
            return False

        monkeypatch.setattr(settler._stop, "wait", lesson_comes)
        for _ in range(2 * FEWEST // 20 + 1):
            teach_one(learner)
        assert adopted.wait(30)

"""Observations: smoothing over frames, the minimum probability, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from device.cameras import open_camera
from device.cameras.fake import draw
from device.heads import Prediction
from device.learner import Learner
from device.live.watching import Observation, Smoother, watch
from tests.tiny import TINY


@pytest.fixture(scope="module")
def learner() -> Iterator[Learner]:
    """A learner that knows the fake camera's red and blue scenes."""
    # every taught frame is known
    with Learner.open(TINY, None, options={"false_rejection": 0.0}) as learner:
        for scene in ("red", "blue"):
            learner.learn_many([draw(scene, index) for index in range(8)], [scene] * 8)
        yield learner


def predicted(scores: dict[str, float], known: bool) -> Prediction:
    """Return a prediction with these scores."""
    label = max(scores, key=scores.__getitem__)
    return Prediction(label, scores[label], known, scores, 1.5)


def test_smoothing_weighs_all_frames_equally_and_known_needs_half_of_them() -> None:
    """The unknown score is that of the newest frame."""
    smoother = Smoother(4)
    for scores, known in (
        ({"a": 1.0, "b": 0.0}, True),
        ({"a": 0.0, "b": 1.0}, False),
        ({"a": 0.4, "b": 0.6}, False),
    ):
        mean = smoother.add(predicted(scores, known))
    assert mean.scores == {"a": pytest.approx(1.4 / 3), "b": pytest.approx(1.6 / 3)}
    assert list(mean.scores) == ["b", "a"]
    assert (mean.label, mean.known, mean.unknown_score) == ("b", False, 1.5)


def test_smoothing_starts_again_when_the_labels_change() -> None:
    """A renamed label has no past under its new name."""
    smoother = Smoother(4)
    smoother.add(predicted({"a": 1.0, "b": 0.0}, True))
    assert smoother.add(predicted({"a": 0.0, "c": 1.0}, True)).scores == {"c": 1.0, "a": 0.0}


def test_watch_yields_an_observation_per_frame(learner: Learner) -> None:
    """With number, source, change of label, and times."""
    with open_camera("fake:red*2,blue") as camera:
        seen = list(watch(learner, (camera.read() for _ in range(3)), best_few=2))
    assert [one.frame for one in seen] == [0, 1, 2]
    assert [one.label for one in seen] == ["red", "red", "blue"]
    assert [one.changed for one in seen] == [True, False, True]
    for one in seen:
        assert one.prediction is not None
        assert len(one.prediction.scores) == 2
        assert next(iter(one.prediction.scores)) == one.prediction.label
        assert one.embed_ms > 0


def test_below_the_minimum_probability_the_prediction_is_not_known_but_familiar(learner: Learner) -> None:
    """The most probable label stays readable in the prediction."""
    with open_camera("fake:red") as camera:
        (seen,) = watch(learner, [camera.read()], threshold=2.0)
    assert seen.prediction is not None
    assert (seen.label, seen.prediction.label, seen.prediction.known) == ("unknown", "red", False)
    assert seen.familiar


def test_the_json_has_the_documented_fields_and_the_old_names() -> None:
    """Version 0.1 wrote label, best, scores and index at the top level; 0.2 keeps them."""
    prediction = Prediction("mug", 0.61239, False, {"mug": 0.61239, "cup": 0.38761}, 2.34567)
    fields = json.loads(json.dumps(Observation(7, 5.0, "0", True, prediction, familiar=True).to_dict()))
    new = {
        name: fields.pop(name)
        for name in ("frame", "time", "source", "changed", "prediction", "truth", "embed_ms", "head_ms")
    }
    assert new["prediction"] == {
        "label": "mug", "probability": 0.6124, "known": False, "unknown_score": 2.3457,
        "scores": {"mug": 0.6124, "cup": 0.3876},
    }  # fmt: skip
    assert fields == {
        "index": 7, "label": "unknown", "best": "mug", "probability": 0.6124, "known": False, "familiar": True,
        "unknown_score": 2.3457, "scores": {"mug": 0.6124, "cup": 0.3876},
    }  # fmt: skip


def test_without_old_names_only_the_documented_fields_are_left() -> None:
    """The page uses these; nothing taught means no prediction."""
    fields = Observation(1, 5.0, "0", True, None).to_dict(old_names=False)
    assert list(fields) == [
        "frame",
        "time",
        "source",
        "changed",
        "prediction",
        "truth",
        "embed_ms",
        "head_ms",
    ]
    assert fields["prediction"] is None

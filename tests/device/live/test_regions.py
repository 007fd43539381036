"""Several cameras and regions in one process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from device.cameras import Camera, Frame, open_camera
from device.cameras.fake import draw
from device.cameras.regions import Region
from device.errors import CameraError, HeadError
from device.learner import Learner
from device.live.regions import WatchedRegion, plan_cameras, watch_regions
from device.live.watching import Watcher
from tests.tiny import TINY


@pytest.fixture
def learner(tmp_path: Path) -> Iterator[Learner]:
    """A learner that knows two scenes."""
    with Learner.open(TINY, tmp_path / "a.db", threads=1) as learner:
        for label in ("red", "blue"):
            learner.learn_many([draw(label, number) for number in range(6)], [label] * 6)
        yield learner


def test_cameras_and_regions_have_names() -> None:
    """Given names, or camera1, camera2 ...; an address with a = in it is no name."""
    plans = plan_cameras(["rtsp://h/?a=b", "back=fake:red"], ["door=0,0,0.5,1", "back/gate=0,0,1,0.5"])
    assert [(plan.name, plan.source) for plan in plans] == [
        ("camera1", "rtsp://h/?a=b"),
        ("back", "fake:red"),
    ]
    assert [[name for name, _ in plan.watched] for plan in plans] == [["door"], ["gate"]]
    (single,) = plan_cameras([])
    assert (single.name, single.source, single.watched) == ("camera", None, (("camera", None),))


@pytest.mark.parametrize(
    ("cameras", "regions", "message"),
    [
        (["a=0", "a=1"], [], "two cameras are named a"),
        (["a=0", "b=1"], ["a=0,0,1,1", "b/a=0,0,1,1"], "used twice: a"),
        (["a=0"], ["c/door=0,0,1,1"], "cameras are: a"),
        (["a=0"], ["door=0,0,2,1"], "fractions of the frame"),
    ],
)
def test_names_that_are_not_unique_or_unknown_are_refused(
    cameras: list[str], regions: list[str], message: str
) -> None:
    """Before a camera is opened."""
    with pytest.raises(CameraError, match=message):
        plan_cameras(cameras, regions)


def watched(name: str, learner: Learner, region: str = "") -> WatchedRegion:
    """What is watched:  whole frames, or of a region."""
    return WatchedRegion(name, Region.parse(f"{name}={region}") if region else None, Watcher(learner))


def test_all_frames_of_all_cameras_are_observed(learner: Learner) -> None:
    """Each observation has the name of its camera or region."""
    halves = [watched("left", learner, "0,0,0.5,1"), watched("right", learner, "0.5,0,1,1")]
    cameras = [
        ("one", lambda: open_camera("fake:red*4,end"), halves),
        ("two", lambda: open_camera("fake:blue*3,end"), [watched("two", learner)]),
    ]
    seen = Counter(
        (observation.region, observation.label) for _, observation in watch_regions(cameras, print)
    )
    assert seen == {("left", "red"): 4, ("right", "red"): 4, ("two", "blue"): 3}


def test_a_camera_that_cannot_be_opened_does_not_stop_the_others(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported once and tried again; when the others have ended, it is an error."""
    monkeypatch.setattr("device.live.regions._RETRY", (0.01, 0.01))
    notes: list[str] = []

    def broken() -> Camera:
        raise CameraError("it is unplugged")

    cameras = [
        ("bad", broken, [watched("bad", learner)]),
        ("good", lambda: open_camera("fake:red*5,end"), [watched("good", learner)]),
    ]
    seen: list[str] = []
    with pytest.raises(CameraError, match="1 of 2 cameras failed: it is unplugged"):
        seen.extend(found.name for found, _ in watch_regions(cameras, notes.append))
    assert seen == ["good"] * 5
    assert len([note for note in notes if "the camera bad failed, trying again" in note]) <= 1


def test_a_camera_that_comes_later_is_watched(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one whose network is not there yet when the device starts."""
    monkeypatch.setattr("device.live.regions._RETRY", (0.0, 0.0))
    tries, late = [], threading.Event()

    def slow() -> Camera:
        tries.append(1)
        if len(tries) < 3:
            raise CameraError("no route to host")
        late.set()
        return open_camera("fake:red*2,end")

    def other() -> Camera:
        late.wait(30.0)
        return open_camera("fake:blue*2,end")

    cameras = [("slow", slow, [watched("slow", learner)]), ("other", other, [watched("other", learner)])]
    seen = Counter(observation.region for _, observation in watch_regions(cameras, print))
    assert seen == {"slow": 2, "other": 2}


def test_a_single_camera_that_cannot_be_opened_is_an_error_at_once(learner: Learner) -> None:
    """With its own message."""

    def broken() -> Camera:
        raise CameraError("it is unplugged")

    with pytest.raises(CameraError, match=r"^it is unplugged$"):
        list(watch_regions([("bad", broken, [watched("bad", learner)])], print))


class Changing(Camera):
    """A live camera that changes its size, fails once, and ends."""

    kind = "changing"
    live = True
    frames = 0

    def __init__(self) -> None:
        super().__init__("changing")

    def _next(self, timeout: float | None) -> Frame:
        type(self).frames += 1
        number = type(self).frames
        if number == 4:
            raise CameraError("it is lost")
        if number > 6:
            from device.errors import EndOfSource

            raise EndOfSource("the test ends")
        side = 8 if number in (2, 3) else 240
        return Frame(np.ascontiguousarray(draw("red", number)[:side, :side]), 1.0, number, "changing")


def test_a_camera_that_changes_its_size_or_fails_is_reported_once_and_watched_on(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A region that has become too small has no observation; the loop continues."""
    monkeypatch.setattr("device.live.regions._RETRY", (0.0, 0.0))
    Changing.frames = 0
    notes: list[str] = []
    cameras = [
        ("door", Changing, [watched("half", learner, "0,0,0.5,1"), watched("whole", learner, "0,0,1,1")])
    ]
    seen = Counter(observation.region for _, observation in watch_regions(cameras, notes.append))
    assert seen == {"half": 3, "whole": 5}
    assert len([note for note in notes if "4x8 pixels of a frame of 8x8" in note]) == 1
    assert len([note for note in notes if "it is lost" in note]) == 1


def test_an_error_of_the_learner_ends_the_loop(tmp_path: Path) -> None:
    """Nothing was taught: the error reaches the caller, and the threads end."""
    with Learner.open(TINY, tmp_path / "empty.db", threads=1) as learner, pytest.raises(HeadError):
        list(watch_regions([("one", lambda: open_camera("fake:red"), [watched("one", learner)])], print))


def test_states_of_one_backbone_are_independent(learner: Learner, tmp_path: Path) -> None:
    """The backbone is there once; closing the second learner keeps it open."""
    with learner.beside(tmp_path / "b.db") as other:
        assert other.embedder is learner.embedder
        assert other.labels == ()
        other.learn_many([draw("green", number) for number in range(4)], ["tree"] * 4)
        assert other.predict_one(draw("green", 9)).label == "tree"
        assert learner.labels == ("blue", "red")
    assert learner.predict_one(draw("red", 9)).label == "red"
    with learner.beside(tmp_path / "b.db") as again:
        assert again.labels == ("tree",)


def test_states_of_a_softmax_head_cannot_share_a_backbone(tmp_path: Path) -> None:
    """It is trained in the interpreter."""
    with (
        Learner.open(TINY, tmp_path / "a.db", head="softmax", threads=1) as learner,
        pytest.raises(HeadError, match="several states cannot share it"),
    ):
        learner.beside(tmp_path / "b.db")

"""Regions of a frame, and one camera that several loops read."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.cameras import Camera, Frame, open_camera
from device.cameras.regions import Region
from device.cameras.shared import SharedCamera, overview
from device.errors import CameraError, EndOfSource, FrameTimeout


def frame(width: int = 64, height: int = 48, index: int = 0) -> Frame:
    """A frame whose pixels are all different."""
    image = np.arange(height * width * 3, dtype=np.uint32).reshape(height, width, 3) % 251
    return Frame(image.astype(np.uint8), 1.0, index, "0")


def test_a_region_is_cut_in_fractions_of_any_frame() -> None:
    """It stays in place when the camera changes its size."""
    door = Region.parse("door=0.25,0.5,0.75,1")
    for width, height in ((64, 48), (640, 480), (100, 300)):
        whole = frame(width, height)
        part = door.cut(whole)
        assert part.image.shape[:2] == (height - round(height / 2), round(0.75 * width) - round(0.25 * width))
        np.testing.assert_array_equal(
            part.image, whole.image[round(height / 2) :, round(width / 4) : round(3 * width / 4)]
        )
        assert part.image.flags["C_CONTIGUOUS"]
        assert (part.index, part.source) == (whole.index, whole.source)


@pytest.mark.parametrize(
    "text",
    ["door", "door=", "=0,0,1,1", "door=0,0,1", "door=a,b,c,d", "door=0,0,1,1.1", "door=-0.1,0,1,1", "door=0.5,0,0.5,1",
     "door=10,20,300,400", "door=nan,0,1,1", "door=0,0,inf,1", "a/b/c=0,0,1,1", "my door=0,0,1,1", "x" * 41 + "=0,0,1,1"],
)  # fmt: skip
def test_a_region_outside_the_frame_or_without_a_name_is_refused(text: str) -> None:
    """The message shows what is expected."""
    with pytest.raises(CameraError, match=r"LEFT,TOP,RIGHT,BOTTOM|the name of a region"):
        Region.parse(text)


@given(
    st.lists(st.floats(0, 1, allow_subnormal=False), min_size=4, max_size=4),
    st.integers(8, 300),
    st.integers(8, 300),
)
def test_every_region_is_inside_every_frame(edges: list[float], width: int, height: int) -> None:
    """Or it is refused with the size of the frame."""
    left, right = sorted(edges[:2])
    top, bottom = sorted(edges[2:])
    try:
        region = Region("door", left, top, right, bottom)
        part = region.cut(frame(width, height)).image
    except CameraError:
        return
    assert 8 <= part.shape[0] <= height
    assert 8 <= part.shape[1] <= width


def test_the_outline_darkens_everything_else() -> None:
    """The region itself keeps its pixels, inside a line."""
    whole = frame(320, 240).image
    door = Region.parse("door=0.25,0.25,0.75,0.75")
    drawn = door.outline(whole)
    np.testing.assert_array_equal(drawn[100:140, 120:200], whole[100:140, 120:200])
    np.testing.assert_array_equal(drawn[:50, :50], whole[:50, :50] // 2)
    assert (drawn[60, 100] == (255, 200, 0)).all()


class Numbered(Camera):
    """A camera of which the test decides what comes."""

    kind = "numbered"
    live = True
    opened = closed_times = 0

    def __init__(self) -> None:
        super().__init__("numbered")
        type(self).opened += 1
        self.coming = threading.Event()

    def _next(self, timeout: float | None) -> Frame:
        return frame(index=0)

    def _release(self) -> None:
        type(self).closed_times += 1


def test_readers_of_a_live_camera_share_it_and_the_last_one_closes_it() -> None:
    """It is opened once, again after it was closed."""
    Numbered.opened = Numbered.closed_times = 0
    shared = SharedCamera(Numbered)
    left, right = Region.parse("left=0,0,0.5,1"), Region.parse("right=0.5,0,1,1")
    with shared.region(left)() as one, shared.region(right)() as other:
        first, second = one.read(10.0), other.read(10.0)
        np.testing.assert_array_equal(np.hstack([first.image, second.image]), frame().image)
        assert one.read(10.0).image.shape == (48, 32, 3)
    assert (Numbered.opened, Numbered.closed_times) == (1, 1)
    with shared.region(left)() as again:
        again.read(10.0)
    assert (Numbered.opened, Numbered.closed_times) == (2, 2)


def test_every_reader_gets_every_frame_of_a_recording() -> None:
    """And then its end."""
    shared = SharedCamera(lambda: open_camera("fake:red,green,blue,end"))
    regions = [Region.parse("left=0,0,0.5,1"), None]
    with shared.region(regions[0])() as one, shared.region(regions[1])() as other:
        seen: dict[str, list[int]] = {"one": [], "other": []}

        def read(name: str, camera: Camera) -> None:
            while True:
                try:
                    seen[name].append(camera.read(10.0).index)
                except EndOfSource:
                    return

        threads = [threading.Thread(target=read, args=pair) for pair in (("one", one), ("other", other))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30.0)
    assert seen == {"one": [0, 1, 2], "other": [0, 1, 2]}


def test_a_camera_that_cannot_be_opened_is_reported_to_every_reader() -> None:
    """And opened again by the next one."""
    tries = []

    def opener() -> Camera:
        tries.append(1)
        raise CameraError("it is unplugged")

    shared = SharedCamera(opener)
    door = Region.parse("door=0,0,1,1")
    for _ in range(2):
        with shared.region(door)() as camera, pytest.raises(CameraError, match="unplugged"):
            camera.read(10.0)
    assert len(tries) == 2


def test_a_reader_that_waits_in_vain_times_out() -> None:
    """As with every live camera."""
    hold = threading.Event()

    class Silent(Numbered):
        def _next(self, timeout: float | None) -> Frame:
            hold.wait(30.0)
            raise FrameTimeout("nothing came")

    shared = SharedCamera(Silent)
    with shared.region(None)() as camera:
        with pytest.raises(FrameTimeout):
            camera.read(0.01)
        hold.set()


def test_viewers_see_the_whole_frame_with_the_region_outlined() -> None:
    """Before the first frame, the frame itself is shown."""
    shared = SharedCamera(lambda: open_camera("fake:red,end"))
    door = Region.parse("door=0.25,0.25,0.5,0.5")
    draw = overview(shared, door)
    part = replace(frame(), image=np.zeros((9, 9, 3), np.uint8))
    assert draw(part).shape == (9, 9, 3)
    with shared.region(door)() as camera:
        cut = camera.read(10.0)
        assert cut.image.shape == (60, 80, 3)
        assert draw(cut).shape == (240, 320, 3)

"""Streams from real servers on loopback that disconnect, restart, stop sending, or send nonsense."""

from __future__ import annotations

import base64
import contextlib
import gc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.cameras import FrameTimeout, open_camera
from device.cameras.base import Image
from device.cameras.live import Backoff, LiveCamera
from device.cameras.stream import HttpDriver, Multipart, stream_driver
from device.errors import CameraError

from .conftest import pure_red
from .servers import MjpegServer, RtspServer, SnapshotServer, StreamServer, jpeg


def gray(number: int) -> Image:
    """A frame whose gray encodes its number."""
    return np.full((64, 96, 3), 40 + number % 50 * 4, np.uint8)


def _read_until_silent(camera: LiveCamera, timeout: float) -> None:
    with contextlib.suppress(FrameTimeout):
        while True:
            camera.read(timeout=timeout)


@pytest.fixture(params=[MjpegServer, RtspServer, SnapshotServer])
def server(request: pytest.FixtureRequest) -> StreamServer:
    """A server of each kind, not started yet."""
    made: StreamServer = request.param(gray)
    return made


def test_a_server_killed_mid_stream_is_connected_again(server: StreamServer, notices: list[str]) -> None:
    """Power off, power on: the same camera object delivers frames again, and both steps are reported."""
    with server:
        driver = stream_driver(server.url, 10.0)
        with LiveCamera(driver, notice=notices.append, timeout=10.0, backoff=Backoff(0.01, 0.05)) as camera:
            camera.read()
            server.stop()
            _read_until_silent(camera, 0.3)
            server.start()
            before = camera.read()
            assert camera.read().index > before.index
            assert camera.reconnects == 1
    assert "is lost" in notices[0]
    assert "is back" in notices[-1]


def test_a_missing_stream_is_an_error_at_once(server: StreamServer) -> None:
    """Opening fails with a next step when no server is at the address."""
    with server:
        url = server.url
    with pytest.raises(CameraError, match=r"check the address|wrong address"):
        open_camera(url, timeout=2.0)


def test_a_slow_reader_of_a_stream_gets_the_newest_frame() -> None:
    """Without a reader, no queue of old frames grows."""
    with MjpegServer(gray) as server, open_camera(server.url) as camera:
        camera.read()
        start = server.sent
        while server.sent < start + 30:
            server._stopped.wait(0.01)
        frame = camera.read()
        assert frame.index >= start + 25
        assert camera.describe()["dropped"] >= 20


@pytest.mark.parametrize("kind", [MjpegServer, RtspServer])
def test_a_server_that_stops_sending_is_connected_again(
    kind: Callable[..., StreamServer], notices: list[str]
) -> None:
    """Connected but silent counts as lost after the timeout."""
    with kind(gray) as server:
        driver = stream_driver(server.url, 1.0)  # so a silence of 0.5 s is too long
        with LiveCamera(driver, notice=notices.append, timeout=10.0, backoff=Backoff(0.01, 0.05)) as camera:
            camera.read()
            server.silent.set()
            _read_until_silent(camera, 0.8)
            server.silent.clear()
            camera.read()
    assert any("is lost" in notice for notice in notices)


def test_mjpeg_without_content_length_is_not_a_frame_late() -> None:
    """The end of a JPEG is detected when it arrives, not when the next part begins."""
    reader = Multipart(Pieces(b"--f\r\nContent-Type: image/jpeg\r\n\r\n" + PHOTO, [64]), b"f")
    assert reader.next_part() == PHOTO


def test_damaged_frames_of_a_stream_are_skipped(notices: list[str]) -> None:
    """Every third JPEG is truncated; the others arrive."""
    with MjpegServer(gray) as server:
        server.spoil = lambda number, data: data[: len(data) // 2] if number % 3 == 0 else data
        with open_camera(server.url, notice=notices.append) as camera:
            for _ in range(8):
                assert camera.read().image.shape == (64, 96, 3)
    assert any("a frame was dropped" in notice for notice in notices)


@pytest.mark.parametrize(
    ("content_type", "message"),
    [("text/html", "responds with text/html"), ("multipart/x-mixed-replace; boundary=--frame", "")],
)
def test_a_web_page_is_refused_and_a_boundary_with_dashes_is_accepted(
    content_type: str, message: str
) -> None:
    """Some cameras include the leading dashes in the header."""
    with MjpegServer(gray) as server:
        server.content_type = content_type
        if message:
            with pytest.raises(CameraError, match=message):
                open_camera(server.url)
        else:
            with open_camera(server.url) as camera:
                camera.read()


# urllib leaves the refusal before the login to the collector
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_password_opens_the_stream_and_is_never_shown() -> None:
    """User and password are sent, and no frame, repr or error contains them."""
    secret = "Basic " + base64.b64encode(b"me:s3cret/").decode()
    with MjpegServer(gray, password=secret) as server:
        url = server.url.replace("://", "://me:s3cret%2F@")
        with open_camera(url) as camera:
            shown = f"{camera!r} {camera.read()!r} {camera.describe()}"
        with pytest.raises(CameraError, match=r"401.*USER:PASSWORD") as refusal:
            open_camera(url.replace("s3cret", "wrong1"))
    gc.collect()
    assert "s3cret" not in shown
    assert "wrong1" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:s3cret/x@host/live",
        "rtsp://admin:s3cret#1@host/live",
        "rtsp://[admin:s3cret@host/live",
        "http://admin:s3cret two@host/live",
        "rtmp://admin:s3cret@host/live",
        "rtsp:/admin:s3cret@host/live",
        "admin:s3cret@host/live",
    ],
)
def test_a_malformed_address_is_refused_without_its_password(url: str) -> None:
    """An unescaped character, a space, another scheme, or a missing slash."""
    with pytest.raises(CameraError) as refusal:
        open_camera(url)
    assert "s3cret" not in str(refusal.value)


class Pieces:
    """A response that arrives in pieces of given sizes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        """Cut `data` by `sizes`, over and over."""
        self.data, self.sizes, self.turn = data, sizes, 0

    def read1(self, n: int, /) -> bytes:
        """Give the next piece."""
        size = min(n, self.sizes[self.turn % len(self.sizes)])
        self.turn += 1
        piece, self.data = self.data[:size], self.data[size:]
        return piece


PHOTO = jpeg(pure_red((16, 16)))


@given(
    st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), min_size=1, max_size=5),
    st.lists(st.integers(1, 700), min_size=1, max_size=5),
)
@settings(deadline=None)
def test_parts_are_complete_for_any_division_by_the_network(
    parts: list[tuple[bool, bytes]], sizes: list[int]
) -> None:
    """With or without Content-Length, each JPEG is read exactly."""
    bodies = [PHOTO[:-2] + rest.replace(b"\xff", b"\xfe") + b"\xff\xd9" for _, rest in parts]
    stream = b"preamble\r\n"
    for (with_length, _), body in zip(parts, bodies, strict=True):
        length = f"content-length:  {len(body)}\r\n" if with_length else ""
        stream += f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + body + b"\r\n"
    reader = Multipart(Pieces(stream, sizes), b"frame")
    assert [reader.next_part() for _ in bodies] == bodies
    with pytest.raises(CameraError, match="ended"):
        reader.next_part()


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_no_bytes_break_the_parser(data: bytes) -> None:
    """Any bytes from a server are parts or a CameraError."""
    reader = Multipart(Pieces(data, [64]), b"f")
    with pytest.raises(CameraError):
        list(iter(reader.next_part, None))


def test_a_huge_frame_is_refused_before_it_fills_the_ram() -> None:
    """A part that announces or sends hundreds of megabytes is not a frame."""
    huge = b"--f\r\nContent-Length: 999999999\r\n\r\n"
    with pytest.raises(CameraError, match="announced"):
        Multipart(Pieces(huge, [64]), b"f").next_part()
    with pytest.raises(CameraError, match="not MJPEG"):
        Multipart(Pieces(b"--f\r\n" + bytes(200_000), [65536]), b"f").next_part()


def test_the_scheme_and_the_suffix_choose_the_reader() -> None:
    """RTSP and containers go to FFmpeg, other HTTP is MJPEG or snapshots."""
    assert isinstance(stream_driver("http://h/stream", 5), HttpDriver)
    for url in ("rtsp://h/x", "https://h/live.m3u8", "http://h/film.MP4?x=1"):
        assert not isinstance(stream_driver(url, 5), HttpDriver)

"""Viewers that are many, slow, or leave do not affect the loop."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

from device.cameras.fake import draw
from device.errors import StorageError
from device.images import encode_jpeg
from device.learner.status import Status

from ..cameras.servers import MjpegServer
from .conftest import PATIENCE, Client, Scene, Serve


def jpegs(response: HTTPResponse) -> Iterator[bytes]:
    """Yield pictures as a browser reads them."""
    kind = response.headers["content-type"]
    boundary = b"--" + kind.partition("boundary=")[2].encode()
    assert kind.startswith("multipart/x-mixed-replace")
    while True:
        assert response.readline().rstrip() == boundary
        headers = {}
        while line := response.readline().rstrip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        if not headers:  # the stream has ended
            return
        yield response.read(int(headers[b"content-length"]))
        assert response.readline() == b"\r\n"


def test_pictures_arrive_as_mjpeg(client: Client) -> None:
    """Every browser and most video tools support this format."""
    with client.open("/api/stream.mjpg") as response:
        pictures = jpegs(response)
        for _ in range(5):
            picture = next(pictures)
            assert picture.startswith(b"\xff\xd8\xff")
            assert picture.endswith(b"\xff\xd9")


def test_a_picture_is_encoded_once_for_all_viewers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight viewers get the same bytes; a new viewer causes no further encoding."""
    encoded: list[bytes] = []

    def counted(*arguments: object) -> bytes:
        encoded.append(encode_jpeg(*arguments))  # type: ignore[arg-type]
        return encoded[-1]

    monkeypatch.setattr("device.page.loop.encode_jpeg", counted)
    server, client = serve()
    client.until(lambda event: event["frame"] > 2)
    assert encoded == []  # nobody watches
    begun = server.page.loop.newer(0).number
    with contextlib.ExitStack() as stack:
        viewers = [jpegs(stack.enter_context(client.open("/api/stream.mjpg"))) for _ in range(8)]
        seen = [next(viewer) for _ in range(6) for viewer in viewers]
        frames = server.page.loop.newer(0).number - begun
    assert set(seen) <= set(encoded)
    assert len(encoded) <= frames + 1  # no frame twice: the one that stood when they came, and those since
    assert len(seen) == 48
    assert len(set(encoded)) == len(encoded)


@pytest.fixture
def gapless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send pictures without pauses, so that buffers fill quickly."""
    monkeypatch.setattr("device.page.streams._PICTURE_GAP", 0.0)
    monkeypatch.setattr("device.page.loop.QUALITY", 100)


@pytest.mark.usefixtures("gapless")
def test_a_viewer_that_reads_nothing_does_not_block_others(serve: Serve) -> None:
    """As on a sleeping phone: frames continue, other viewers continue, and RAM use does not grow."""
    server, client = serve()
    stuck = [socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) for _ in range(4)]
    try:
        for connection in stuck:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(
                f"GET /api/stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n".encode()
            )
        with client.open("/api/stream.mjpg") as response:
            pictures = jpegs(response)
            begun = server.page.loop.newer(0).number
            for _ in range(30):
                next(pictures)
        assert server.page.loop.newer(0).number >= begun + 25
        client.teach("mug", 2)
    finally:
        for connection in stuck:
            connection.close()


@pytest.mark.usefixtures("gapless")
def test_a_viewer_that_reads_nothing_for_long_loses_its_place(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its system may keep the connection alive forever; twelve of these would use all places."""
    monkeypatch.setattr("device.page.connections._READ", 0.2)
    server, client = serve()
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", client.port))
        stuck.sendall(f"GET /api/stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n".encode())
        client.until(lambda event: server.page.loop.pictures.readers == 1)
        client.until(lambda event: server.page.loop.pictures.readers == 0)


def test_viewers_that_leave_free_their_place(serve: Serve) -> None:
    """Closing the page frees its place."""
    server, client = serve()
    for _ in range(3):
        with client.open("/api/stream.mjpg") as response:
            next(jpegs(response))
        client.until(lambda event: True)
    client.until(lambda event: server.page.loop.pictures.readers == 0)


def test_too_many_viewers_are_refused(serve: Serve) -> None:
    """Otherwise all viewers would get fewer frames."""
    _, client = serve()
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            next(jpegs(stack.enter_context(client.open("/api/stream.mjpg"))))
        answer = client.get("/api/stream.mjpg")
        assert answer.status == 503
        assert "viewers" in answer.json["error"]


def test_each_event_contains_the_whole_observation(client: Client) -> None:
    """A viewer can miss events."""
    client.teach("mug", 2)
    event = client.until(lambda event: event["prediction"] is not None)
    observation = {"frame", "time", "source", "changed", "prediction", "truth", "embed_ms", "head_ms"}
    assert event.keys() == {"version", "queue", "camera"} | observation
    assert event["camera"]["condition"] == "live"
    assert event["prediction"].keys() == {"label", "probability", "known", "unknown_score", "scores"}
    assert 0 <= event["prediction"]["probability"] <= 1


def test_a_lost_camera_is_reported_and_comes_back(
    serve: Serve, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unplugging is reported; after plugging in, frames arrive again."""
    monkeypatch.setattr("device.page.loop._FRAME_WAIT", 0.1)
    _, client = serve()
    client.teach("mug", 1)
    hidden = scene.path.with_suffix(".gone")
    scene.path.rename(hidden)
    lost = client.until(lambda event: event["camera"]["condition"] == "lost")
    assert "scene file" in lost["camera"]["message"]
    answer = client.post("/api/teach", {"label": "mug", "hold": ""})
    assert answer.status == 503
    assert client.counts() == {"mug": 1}
    hidden.rename(scene.path)
    client.until(lambda event: event["camera"]["condition"] == "live" and event["frame"] > lost["frame"])


def test_a_network_camera_that_is_switched_off_comes_back_when_it_is_on(serve: Serve) -> None:
    """A real MJPEG stream that is cut and started again on its port, with a viewer."""
    with MjpegServer(lambda number: draw("red", number)) as camera:
        _, client = serve(camera.url)
        client.teach("mug", 1)
        with client.open("/api/stream.mjpg") as response:
            pictures = jpegs(response)
            next(pictures)
            camera.stop()
            lost = client.until(lambda event: event["camera"]["condition"] == "lost")
            assert client.counts() == {"mug": 1}
            camera.start()
            client.until(
                lambda event: event["camera"]["condition"] == "live" and event["frame"] > lost["frame"]
            )
            assert next(pictures)
        client.teach("mug", 1)
        assert client.counts() == {"mug": 2}


def test_a_state_file_that_cannot_be_read_does_not_stop_events(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk was removed: viewers see the error, and the loop continues when the disk is back."""
    server, client = serve()
    client.teach("mug", 1)
    with monkeypatch.context() as pulled:

        def fail(*_: object) -> None:
            raise StorageError(errno.EIO, "cannot use the state file: check the disk")

        pulled.setattr(server.page.learner.store.database, "change_mark", fail)
        lost = client.until(lambda event: event["camera"]["condition"] == "lost")
        assert "check the disk" in lost["camera"]["message"]
    client.until(lambda event: event["camera"]["condition"] == "live")


def test_the_picture_does_not_stop_for_a_report(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluating thousands of samples takes seconds with the learner locked; frames still arrive."""
    server, client = serve()
    client.teach("mug", 1)
    learner, loop = server.page.learner, server.page.loop
    judge = learner.status

    def slow(*, wait: bool = False) -> Status:
        with learner._lock:
            begun = loop.newer(0).number
            loop.newer(begun + 5)  # raises when none come
            return judge(wait=wait)

    monkeypatch.setattr(learner, "status", slow)
    assert client.ask("/api/report")["samples"] == {"mug": 1}
    client.until(lambda event: event["prediction"] is not None)


def test_the_page_works_without_a_camera(serve: Serve) -> None:
    """Samples can be corrected."""
    _, client = serve("/dev/no-such-camera")
    event = client.until(lambda event: event["camera"]["condition"] == "lost")
    assert event["frame"] == 0
    assert client.counts() == {}


def test_a_stopped_server_ends_its_streams(serve: Serve) -> None:
    """Ctrl-C does not wait for viewers."""
    server, client = serve()
    with client.open("/api/stream.mjpg") as response, client.open("/api/events") as events:
        pictures = jpegs(response)
        next(pictures)
        server.close()
        assert events.read().startswith(b"retry")
        assert len(list(itertools.islice(pictures, 100))) < 100

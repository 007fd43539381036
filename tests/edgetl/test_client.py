"""The client with a real server of the page."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the page needs its extra: pip install 'edgetl[serve]'")
pytest.importorskip("uvicorn", reason="the page needs its extra: pip install 'edgetl[serve]'")

from device.cameras import open_camera
from device.cameras.fake import draw
from device.errors import AddressError, LabelError, OutputExistsError, PhotoError, ServerError
from device.images import encode_jpeg, read_photo
from device.learner import Learner
from device.model.modelfile import ModelFile
from device.page.server import PageServer
from edgetl import Client, Prediction, SampleFilter
from tests.tiny import TINY

RED, BLUE = (encode_jpeg(draw(name, 1)) for name in ("red", "blue"))


@pytest.fixture
def server() -> Iterator[PageServer]:
    """Return a learning service without a camera."""
    with Learner.open(TINY, None, threads=1) as learner, PageServer(learner, None, port=0) as server:
        yield server


def test_the_client_teaches_predicts_and_corrects(server: PageServer, tmp_path: Path) -> None:
    """The results are those of the learner."""
    client, learner = Client(server.url), server.page.learner
    (tmp_path / "mug.jpg").write_bytes(RED)
    sample = client.teach(tmp_path / "mug.jpg", "mug / “🏺”")
    client.teach(BLUE, "plant", source="door")
    assert client.predict(RED).to_dict() == learner.predict_one(read_photo(RED)).to_dict()
    embedding = learner.embed_one(read_photo(BLUE))
    assert client.predict_embedding(embedding).to_dict() == client.predict(BLUE).to_dict()
    assert [one.source for one in client.samples()] == ["door", ""]
    assert client.samples(sample.label) == client.samples(before=2) == [sample]
    assert client.relabel(sample.id, "cup").label == "cup"
    client.forget(sample.id)
    assert learner.store.counts() == {"plant": 1}
    assert client.undo() == "Restored 1 sample of cup."
    assert client.status()["samples"] == client.model()["counts"] == {"cup": 1, "plant": 1}


def test_the_client_teaches_what_a_photo_is_not(server: PageServer) -> None:
    """As the learner does."""
    client = Client(server.url)
    client.teach(RED, "mug")
    denied = client.teach(RED, not_label="mug")
    nothing = client.teach(BLUE, None)
    assert (denied.meaning, nothing.meaning) == ("not mug", "background")
    assert client.samples(not_label="mug") == [denied]
    assert client.samples(background=True) == [nothing]
    assert client.relabel(denied.id, None).meaning == "background"
    assert client.relabel(denied.id, not_label="mug") == denied
    assert client.relabel(denied.id, "mug").label == "mug"
    for wrong in ({}, {"label": "mug", "not_label": "mug"}):
        with pytest.raises(LabelError, match="name one of"):
            client.teach(RED, **wrong)


def test_the_client_downloads_the_model(server: PageServer, tmp_path: Path) -> None:
    """The file starts with what was taught; an existing file is not replaced unasked."""
    client = Client(server.url)
    client.teach(RED, "mug")
    path = client.export(tmp_path / "taught.tflite")
    assert ModelFile.open(path).labels == ("mug",)
    with pytest.raises(OutputExistsError):
        client.export(path)
    client.export(path, force=True)


def test_the_client_reads_the_camera() -> None:
    """The snapshot and the events of a server with a camera."""
    with (
        Learner.open(TINY, None, threads=1) as learner,
        PageServer(learner, lambda: open_camera("fake:red"), port=0) as server,
    ):
        client = Client(server.url)
        event = next(event for event in client.events() if event["frame"] > 0)
        assert event["camera"]["condition"] == "live"
        assert client.teach(client.snapshot(), "mug").label == "mug"


def test_a_refusal_is_an_error_with_its_status(server: PageServer, tmp_path: Path) -> None:
    """The message is that of the server."""
    client = Client(server.url)
    for call, status in (
        (lambda: client.predict(RED), 409),
        (lambda: client.predict(b"hello"), 415),
        (lambda: client.teach(RED, "x" * 10_000), 422),
        (lambda: client.forget(7), 404),
        (client.snapshot, 503),
    ):
        with pytest.raises(ServerError) as caught:
            call()
        assert caught.value.status == status
    with pytest.raises(PhotoError, match="cannot be read"):
        client.predict(tmp_path / "missing.jpg")


def test_a_link_signs_a_client_in_once() -> None:
    """The token can be used again; without one the server refuses."""
    with (
        Learner.open(TINY, None, threads=1) as learner,
        PageServer(learner, None, port=0, sign_in=True) as server,
    ):
        link = server.link
        client = Client.sign_in(link)
        assert Client(server.url, client.token).samples() == []
        for refused, status in (
            (lambda: Client(server.url).samples(), 401),
            (lambda: Client.sign_in(link), 403),
        ):
            with pytest.raises(ServerError) as caught:
                refused()
            assert caught.value.status == status


def test_a_server_that_does_not_answer_is_an_error_with_the_next_step() -> None:
    """Nothing listens; something that is not HTTP listens; it hangs up; it does not answer in time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServerError, match="edgetl serve"):
            Client(f"http://127.0.0.1:{port}", timeout=0.05).samples()
        listener.accept()[0].close()

        def serve() -> None:
            for answer in (b"SSH-2.0-other\r\n", b""):
                connection = listener.accept()[0]
                connection.recv(4096)
                connection.sendall(answer)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        for _ in range(2):
            with pytest.raises(ServerError, match="edgetl serve"):
                Client(f"http://127.0.0.1:{port}").samples()
        thread.join()
    with pytest.raises(ServerError, match="edgetl serve"):
        Client(f"http://127.0.0.1:{port}").samples()


def test_the_client_corrects_many_samples_and_labels_uncertain_frames(server: PageServer) -> None:
    """The results are those of the learner; excluded samples are listed apart."""
    client = Client(server.url)
    for number in range(4):
        client.teach(encode_jpeg(draw(("red", "blue")[number % 2], number)), ("mug", "plant")[number % 2])
    planned = client.correct(SampleFilter(label="mug"), "relabel", "cup", dry_run=True)
    assert (planned.ids, planned.moved, planned.dry_run) == ((1, 3), {"mug": 2}, True)
    assert client.correct(SampleFilter(ids=(1,)), "exclude").samples == {"mug": 1, "plant": 2}
    assert [(one.id, one.label) for one in client.samples(excluded=True)] == [(1, "mug")]
    client.correct(SampleFilter(excluded=True), "include")
    with pytest.raises(ServerError, match="at least one condition"):
        client.correct(SampleFilter(), "forget")
    with pytest.raises(ServerError, match="label"):
        client.correct(SampleFilter(ids=(1,)), "relabel", "")
    denied = client.correct(SampleFilter(ids=(1,)), "relabel", not_label="plant")
    assert (denied.meaning, denied.negatives, denied.samples) == (
        "not plant",
        {"plant": 1},
        {"mug": 1, "plant": 2},
    )
    gone = client.correct(SampleFilter(not_label="plant"), "relabel", background=True)
    assert (gone.ids, gone.meaning, gone.background) == ((1,), "background", 1)
    client.correct(SampleFilter(background=True), "relabel", "mug")

    doubts = server.page.doubts
    guess = Prediction("mug", 0.5, True, {"mug": 0.5, "plant": 0.5})
    for embedding in np.eye(4, server.page.learner.model.manifest.dimensions, dtype=np.float32):
        doubts.offer(embedding, guess, lambda: b"\xff\xd8")
    numbers = sorted(doubts._items)
    assert client.picture(numbers[0]) == b"\xff\xd8"
    assert {one["id"] for one in client.doubts()} <= set(numbers)
    assert [one.label for one in client.teach_doubts(numbers[:1], "lemon")] == ["lemon"]
    assert [one.meaning for one in client.teach_doubts(numbers[1:2], None)] == ["background"]
    assert [one.meaning for one in client.teach_doubts(numbers[2:3], not_label="mug")] == ["not mug"]
    with pytest.raises(LabelError, match="name one of"):
        client.teach_doubts(numbers[3:])
    client.drop_doubts(numbers[3:])
    assert client.doubts() == []
    with pytest.raises(ServerError, match="no longer in the queue"):
        client.picture(numbers[3])


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://pi", "http://", "http://pi:x", "http://[::1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """The message has the expected form."""
    with pytest.raises(AddressError, match="http://HOST:PORT"):
        Client(url)


def test_a_token_with_a_line_break_is_refused_and_not_shown() -> None:
    """A header could not contain it, and a message must not."""
    with pytest.raises(AddressError) as caught:
        Client("http://user:secret@pi", "private\n")
    assert "private" not in str(caught.value)
    with pytest.raises(AddressError) as caught:
        Client("ftp://user:secret@pi")
    assert "secret" not in str(caught.value)
    assert repr(Client("http://user:secret@[::1]:8080/path/", "private")) == "<Client http://[::1]:8080/path>"

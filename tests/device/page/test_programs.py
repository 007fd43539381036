"""The HTTP API for programs, with the real server: what it does, and that openapi.json describes it."""

from __future__ import annotations

import io
import json
import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from device.cameras.fake import draw
from device.heads import Prediction
from device.images import encode_jpeg
from device.learner import Learner

from .conftest import MODEL, STATIC, Answer, Client, Serve

RED, BLUE = (encode_jpeg(draw(name, 1)) for name in ("red", "blue"))
SELECT = b'{"select": {"ids": [1]}'
V1 = "/api/v1/"


def send(client: Client, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """Send a request as a program does, without Origin; JSON unless the headers name another type."""
    sent = {"Content_Type": "application/json"} if body is not None else {}
    return Answer(client.open(V1 + path, method, body, **{**sent, **headers}))


def teach(client: Client, label: str, photo: bytes = RED, more: str = "") -> Answer:
    """Teach a photo in the body."""
    return send(
        client, "POST", f"samples?label={quote(label, safe='')}{more}", photo, Content_Type="image/jpeg"
    )


def predict(client: Client, photo: bytes, kind: str = "image/jpeg") -> Answer:
    """Ask for the prediction of a photo in the body."""
    return send(client, "POST", "predict", photo, Content_Type=kind)


def form(**fields: str | bytes) -> tuple[bytes, str]:
    """Return a form and its content type; bytes are files."""
    parts = b""
    for name, value in fields.items():
        file, data = ('; filename="a.jpg"', value) if isinstance(value, bytes) else ("", value.encode())
        parts += f'--edge\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        parts += data + b"\r\n"
    return parts + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def huge_png(width: int, height: int) -> bytes:
    """Return a small PNG of black pixels whose decoded image is large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (1 + width // 8)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
def service(serve: Serve) -> Client:
    """A learning service without a camera."""
    return serve(camera=False)[1]


# what it does


def test_photos_teach_and_are_predicted_without_a_camera(service: Client) -> None:
    """The answer to a sample comes when it is durable, and the prediction is that of the learner."""
    for label, photo in (("mug", RED), ("plant", BLUE)):
        answer = teach(service, label, photo)
        assert answer.status == 201, answer.body
    assert answer.json["counts"] == {"mug": 1, "plant": 1}
    assert answer.headers["location"] == f"/api/v1/samples/{answer.json['id']}"
    assert predict(service, RED).json["label"] == "mug"
    assert predict(service, BLUE).json["label"] == "plant"


def test_a_prediction_is_what_the_learner_returns(serve: Serve) -> None:
    """For a photo as the body, in a form, and for its embedding: the same result as in Python."""
    server, client = serve(camera=False)
    teach(client, "mug", RED)
    teach(client, "plant", BLUE)
    learner, image = server.page.learner, draw("red", 5)
    encoded, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert encoded
    expected = learner.predict_one(image).to_dict()
    assert predict(client, png.tobytes(), "image/png").json == expected
    assert predict(client, png.tobytes(), "application/x-www-form-urlencoded").json == expected
    body, kind = form(image=png.tobytes())
    assert predict(client, body, kind).json == expected
    embedding = json.dumps({"embedding": learner.embed_one(image).tolist()}).encode()
    assert send(client, "POST", "predict", embedding).json == expected


def test_a_form_teaches_with_any_label(service: Client) -> None:
    """Slashes, quotes, emoji and other scripts are text; the label comes back unchanged, in its canonical form."""
    for number, label in enumerate(("a/b\"c'<d>", "🦜 papagei", "кружка", "..", "%2f")):
        body, kind = form(image=RED, label=label)
        answer = send(service, "POST", "samples", body, Content_Type=kind)
        assert (answer.status, answer.json["label"]) == (201, label), answer.body
        assert teach(service, label).json["counts"][label] == 2
        listed = send(service, "GET", f"samples?label={quote(label, safe='')}").json["samples"]
        assert [sample["id"] for sample in listed] == [2 * number + 2, 2 * number + 1]


def test_samples_are_relabeled_forgotten_and_restored(service: Client) -> None:
    """Each change is one step of undo, and each answer has the number of samples per label."""
    number = teach(service, "mug").json["id"]
    changed = send(service, "PATCH", f"samples/{number}", b'{"label": "cup"}')
    assert (changed.json["label"], changed.json["counts"]) == ("cup", {"cup": 1})
    none = {"negatives": {}, "background": 0}
    assert send(service, "DELETE", f"samples/{number}").json == {"id": number, "counts": {}} | none
    assert send(service, "GET", f"samples/{number}").status == 404
    assert send(service, "POST", "undo").json["counts"] == {"cup": 1}
    assert send(service, "POST", "undo", b"{}").json["counts"] == {"mug": 1}
    assert send(service, "GET", f"samples/{number}.jpg").body.startswith(b"\xff\xd8\xff")


def test_negatives_and_background_are_taught_listed_and_changed(service: Client) -> None:
    """A negative takes frames from its label; background makes them unknown."""
    for _ in range(3):
        teach(service, "mug"), teach(service, "plant", BLUE)
    denied = send(service, "POST", "samples?not=mug", RED, Content_Type="image/jpeg")
    assert denied.status == 201, denied.body
    assert (denied.json["label"], denied.json["not_label"]) == (None, "mug")
    assert (denied.json["counts"], denied.json["negatives"]) == ({"mug": 3, "plant": 3}, {"mug": 1})
    assert predict(service, RED).json["scores"]["mug"] < 0.6
    body, kind = form(image=BLUE, background="true")
    nothing = send(service, "POST", "samples", body, Content_Type=kind).json
    assert (nothing["label"], nothing["not_label"], nothing["background"]) == (None, None, 1)
    for query, ids in (("not=mug", [7]), ("background=true", [8]), ("label=mug", [5, 3, 1]), ("", [8, 7])):
        listed = send(service, "GET", f"samples?{query}").json["samples"]
        assert [one["id"] for one in listed][: len(ids)] == ids
    changed = send(service, "PATCH", "samples/8", b'{"not": "plant"}').json
    assert (changed["not_label"], changed["negatives"], changed["background"]) == (
        "plant", {"mug": 1, "plant": 1}, 0,
    )  # fmt: skip
    assert send(service, "PATCH", "samples/7", b'{"background": true}').json["background"] == 1
    undone = send(service, "POST", "undo").json
    assert undone["message"] == "Changed 1 sample back to not mug."


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "named"),
    [
        ("POST", "samples?not=cup", RED, 422, "labels are: mug"),
        ("POST", "samples?not=mug&label=mug", RED, 400, "one of label, not, background"),
        ("POST", "samples?background=1", RED, 400, "true or false"),
        ("POST", "samples?background=false", RED, 400, "the label is missing"),
        ("PATCH", "samples/1", b'{"background": false}', 400, "must be true"),
        ("PATCH", "samples/1", b'{"label": "a", "not": "mug"}', 400, "one of label, not, background"),
        ("PATCH", "samples/1", b'{"not": 3}', 400, "not must be text"),
        (
            "GET",
            "samples?not=mug&background=true",
            None,
            400,
            "at most one of label, not, background, got not and background",
        ),
        (
            "POST",
            "samples/correct",
            SELECT + b', "action": "relabel", "background": false}',
            400,
            "must be true",
        ),
        (
            "POST",
            "samples/correct",
            SELECT + b', "action": "relabel", "not": "mug", "label": "a"}',
            422,
            "at most one of label, not_label, background, got label and not_label",
        ),
        ("POST", "samples/correct", SELECT + b', "action": "relabel", "not": "cup"}', 422, "labels are: mug"),
        (
            "POST",
            "samples/correct",
            SELECT + b', "action": "forget", "background": true}',
            422,
            "only relabel",
        ),
        ("POST", "doubts/teach", b'{"ids": [1]}', 400, "one of label, not, background"),
        (
            "POST",
            "doubts/teach",
            b'{"ids": [1], "not": "mug", "label": "a"}',
            400,
            "one of label, not, background",
        ),
        ("POST", "doubts/teach", b'{"ids": [1], "background": 1}', 400, "background must be true or false"),
        ("POST", "doubts/teach", b'{"ids": [1], "background": false}', 400, "must be true"),
    ],
)
def test_a_bad_negative_is_refused_with_the_reason(
    service: Client, method: str, path: str, body: bytes | None, status: int, named: str
) -> None:
    """Nothing is taught."""
    teach(service, "mug")
    kind = {"Content_Type": "image/jpeg"} if body == RED else {}
    answer = send(service, method, path, body, **kind)
    assert (answer.status, named in answer.json["error"]) == (status, True), answer.json
    assert send(service, "GET", "model").json["negatives"] == {}


def correct(service: Client, select: dict[str, Any], action: str, **more: Any) -> Any:
    """Correct many samples, and return the answer; it must succeed."""
    body = json.dumps({"select": select, "action": action, **more}).encode()
    answer = send(service, "POST", "samples/correct", body)
    assert answer.status == 200, answer.body
    return answer.json


def test_many_samples_are_corrected_in_one_change(service: Client) -> None:
    """A dry run shows what would change, and one undo reverts all of it."""
    for number in range(4):
        teach(service, ("mug", "plant")[number % 2])

    planned = correct(service, {"label": "mug"}, "relabel", label="cup", dry_run=True)
    assert (planned["ids"], planned["moved"], planned["samples"]) == (
        [1, 3],
        {"mug": 2},
        {"cup": 2, "plant": 2},
    )
    assert planned["counts"] == {"mug": 2, "plant": 2}
    assert correct(service, {"ids": [1, 2, 4]}, "relabel", label="cup")["counts"] == {"cup": 3, "mug": 1}
    undone = send(service, "POST", "undo").json
    assert (undone["counts"], undone["message"]) == (
        {"mug": 2, "plant": 2},
        "Changed 3 samples back to their labels.",
    )
    assert correct(service, {"label": "mug"}, "exclude")["counts"] == {"plant": 2}
    listed = send(service, "GET", "samples?excluded=true").json["samples"]
    assert [(one["id"], one["label"], one["excluded"]) for one in listed] == [
        (3, "mug", True),
        (1, "mug", True),
    ]
    assert send(service, "GET", "samples?excluded=yes").status == 400
    assert correct(service, {"excluded": True}, "include")["counts"] == {"mug": 2, "plant": 2}
    too_long = send(service, "POST", "samples/correct", b" " * 300_000)
    assert too_long.status == 413
    check_shape("POST", "samples/correct", too_long)


def test_many_samples_become_negatives_and_background(service: Client) -> None:
    """They are selected as such, and counted apart from the labels."""
    for number in range(4):
        teach(service, ("mug", "plant")[number % 2])
    denied = correct(service, {"ids": [1]}, "relabel", **{"not": "plant"})
    assert (denied["label"], denied["not_label"], denied["meaning"]) == (None, "plant", "not plant")
    assert (denied["counts"], denied["negatives"]) == ({"mug": 1, "plant": 2}, {"plant": 1})
    done = correct(service, {"not_label": "plant"}, "relabel", background=True)
    assert (done["ids"], done["moved"], done["meaning"]) == ([1], {"not plant": 1}, "background")
    assert (done["negatives"], done["background"]) == ({}, 1)
    back = correct(service, {"background": True}, "relabel", label="mug", dry_run=True)
    assert (back["samples"], back["background"]) == ({"mug": 2, "plant": 2}, 0)


@pytest.mark.parametrize(
    ("meaning", "negatives", "background", "message"),
    [
        ({"background": True}, {}, 2, "Removed 2 samples of background."),
        ({"not": "mug"}, {"mug": 2}, 0, "Removed 2 samples of not mug."),
    ],
)
def test_uncertain_frames_are_taught_as_what_they_are_not(
    serve: Serve, meaning: dict[str, Any], negatives: dict[str, int], background: int, message: str
) -> None:
    """They leave the list, and one undo forgets them."""
    server, client = serve(camera=False)
    teach(client, "mug")
    teach(client, "plant", BLUE)
    queue_two(server)
    body = json.dumps({"ids": sorted(server.page.doubts._items), **meaning}).encode()
    taught = send(client, "POST", "doubts/teach", body).json
    assert (taught["counts"], taught["negatives"], taught["background"]) == (
        {"mug": 1, "plant": 1}, negatives, background,
    )  # fmt: skip
    assert {one["label"] for one in taught["samples"]} == {None}
    assert send(client, "GET", "doubts").json["doubts"] == []
    undone = send(client, "POST", "undo").json
    assert (undone["message"], undone["negatives"], undone["background"]) == (message, {}, 0)


def test_uncertain_frames_are_listed_and_taught_together(serve: Serve) -> None:
    """They are gone afterwards, and one undo forgets the samples."""
    server, client = serve(camera=False)
    teach(client, "mug")
    teach(client, "plant", BLUE)
    queue_two(server)
    numbers = sorted(server.page.doubts._items)
    body = json.dumps({"ids": numbers, "label": "lemon"}).encode()
    taught = send(client, "POST", "doubts/teach", body).json
    assert taught["counts"] == {"lemon": 2, "mug": 1, "plant": 1}
    assert [sample["thumbnail"] for sample in taught["samples"]] == [True, True]
    assert send(client, "GET", "doubts").json == {"doubts": [], "problem": ""}
    assert send(client, "POST", "doubts/teach", body).status == 404
    assert send(client, "POST", "undo").json["counts"] == {"mug": 1, "plant": 1}


def test_samples_are_listed_in_pages(service: Client) -> None:
    """`before` continues after the last sample of the page before."""
    for number in range(5):
        teach(service, ("mug", "plant")[number % 2])
    pages, before = [], ""
    while found := send(service, "GET", f"samples?limit=2{before}").json["samples"]:
        pages.append([sample["id"] for sample in found])
        before = f"&before={pages[-1][-1]}"
    assert pages == [[5, 4], [3, 2], [1]]
    mugs = send(service, "GET", "samples?label=mug&before=5").json["samples"]
    assert [sample["id"] for sample in mugs] == [3, 1]
    for wrong in ("x", "-1", "9" * 30):
        assert send(service, "GET", f"samples?before={wrong}").status == 400


def test_photos_of_one_press_are_undone_together(service: Client) -> None:
    """As those of a button on the page; a label that is renamed meanwhile does not come back by the rest of the press."""
    teach(service, "mug", more="&hold=1")
    for _ in range(3):
        teach(service, "mug", more="&hold=2")
    assert send(service, "POST", "undo", b"{}").json["undone"] == 3
    assert send(service, "POST", "undo", b"{}").json["counts"] == {}
    for hold, label, status in ((3, "mug", 201), (3, "mug", 201), (3, "cup", 422), (4, "cup", 201)):
        assert teach(service, label, more=f"&hold={hold}").status == status


def test_a_prediction_has_the_probability_of_every_label_on_request(service: Client) -> None:
    """Without the request, of the best few."""
    labels = [f"label {number}" for number in range(9)]
    for label in labels:
        teach(service, label)
    dimensions = send(service, "GET", "model").json["dimensions"]
    body = json.dumps({"embedding": [0.5] * dimensions}).encode()
    few = predict(service, RED).json["scores"]
    assert 1 < len(few) < len(labels)
    for answer in (
        send(service, "POST", "predict?all_scores=true", RED, Content_Type="image/jpeg"),
        send(service, "POST", "predict?all_scores=true", body),
    ):
        assert set(answer.json["scores"]) == set(labels)
    assert send(service, "POST", "predict?all_scores=1", RED, Content_Type="image/jpeg").status == 400


def test_a_source_joins_photos_to_a_burst(service: Client) -> None:
    """Without a source each photo is a burst of its own; with one, photos in quick succession are one burst."""
    alone = {teach(service, "mug").json["burst"] for _ in range(3)}
    assert len(alone) == 3
    burst = {teach(service, "mug", more="&source=door").json["burst"] for _ in range(2)}
    assert len(burst) == 1
    assert send(service, "GET", "samples").json["samples"][0]["source"] == "door"


def test_the_camera_and_programs_teach_the_same_learner(client: Client) -> None:
    """The snapshot is the newest frame, and the page shows what programs teach."""
    client.until(lambda event: event["frame"] > 0)
    snapshot = send(client, "GET", "snapshot.jpg")
    assert snapshot.headers["content-type"] == "image/jpeg"
    assert teach(client, "mug", snapshot.body).status == 201
    assert client.counts() == {"mug": 1}
    assert client.sees("mug")["probability"] > 0.5


def test_two_programs_that_teach_at_once_lose_nothing(serve: Serve, tmp_path: Any) -> None:
    """Every acknowledged sample is in the state file."""
    server, client = serve(camera=False, state="both.db")

    def one(number: int) -> int:
        label = "mug" if number % 2 else "plant"
        answer = teach(client, label, encode_jpeg(draw("red", number)))
        assert answer.status == 201, answer.body
        return int(answer.json["id"])

    with ThreadPoolExecutor(6) as pool:
        ids = sorted(pool.map(one, range(24)))
    assert ids == list(range(1, 25))
    server.close()
    with Learner.open(MODEL, tmp_path / "both.db", threads=1) as learner:
        assert learner.store.counts() == {"mug": 12, "plant": 12}


def test_without_a_camera_events_report_changes(serve: Serve) -> None:
    """The condition is "off", and a sample is an event; the page's button gets a clear error."""
    client = serve(camera=False)[1]
    first = next(client.events())
    assert (first["camera"]["condition"], first["prediction"]) == ("off", None)
    teach(client, "mug")
    assert next(client.events())["version"] > first["version"]
    refused = client.post("/api/teach", {"label": "mug", "hold": ""})
    assert (refused.status, "--no-camera" in refused.json["error"]) == (503, True)


# who may use it


def test_a_token_is_needed_where_the_page_needs_a_session(serve: Serve) -> None:
    """The token of the server, and one that the key of the link was exchanged for, once."""
    server, client = serve(camera=False, sign_in=True)
    assert server.sessions is not None
    assert send(client, "GET", "status").status == 401
    assert send(client, "GET", "status").headers["www-authenticate"] == "Bearer"
    assert send(client, "GET", "status", Authorization="Bearer guess").status == 401
    assert send(client, "GET", "status", Authorization=f"Basic {server.token}").status == 401
    assert send(client, "GET", "status", Authorization=f"Bearer {server.token}").status == 200
    key = json.dumps({"key": server.sessions.key}).encode()
    token = send(client, "POST", "token", key).json["token"]
    assert send(client, "POST", "token", key).status == 403
    photo = {"Content_Type": "image/jpeg", "Authorization": f"bearer {token}"}
    assert send(client, "POST", "samples?label=mug", RED, **photo).status == 201
    assert send(client, "POST", "samples?label=mug", RED, Content_Type="image/jpeg").status == 401


def test_a_web_page_of_another_site_cannot_use_it(service: Client) -> None:
    """Browsers send Origin or Sec-Fetch-Site; CORS is off, so preflight requests are refused too."""
    kind = {"Content_Type": "image/jpeg"}
    for headers in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}):
        assert send(service, "POST", "samples?label=mug", RED, **kind, **headers).status == 403
    preflight = send(
        service, "OPTIONS", "samples", Origin="http://evil.example", Access_Control_Request_Method="POST"
    )
    assert preflight.status == 403
    assert "access-control-allow-origin" not in preflight.headers
    assert send(service, "GET", "samples", Host="evil.example").status == 421
    assert send(service, "GET", "samples").json == {"samples": []}


def test_answers_are_sent_without_waiting_for_acknowledgments(serve: Serve) -> None:
    """Otherwise each answer on a connection that stays open takes 40 ms longer."""
    server, client = serve(camera=False)
    with client.open(V1 + "events"):
        (connection,) = server._server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# bad input


def test_a_body_of_a_gigabyte_is_refused_before_it_is_sent(service: Client) -> None:
    """The length in the header is enough."""
    for path in ("predict", "samples?label=mug"):
        answer = send(service, "POST", path, b"", Content_Type="image/jpeg", Content_Length=str(2**30))
        assert (answer.status, answer.headers["connection"]) == (413, "close")


@pytest.mark.parametrize(
    ("photo", "status", "named"),
    [
        (b"", 400, "empty"),
        (b"hello", 415, "unknown format"),
        (b"%PDF-1.7 and more", 415, "unknown format"),
        (b"GIF89a" + bytes(50), 415, "GIF"),
        (b"\0\0\0\x18ftypjxl " + bytes(50), 415, "video"),
        (RED[: len(RED) // 2], 422, "cut off"),
        (RED[:20], 422, "damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), 422, "damaged"),
        (huge_png(16_000, 16_000), 413, "16000x16000"),
        (huge_png(2**31 - 1, 1), 413, "at most"),
    ],
)  # fmt: skip
def test_a_bad_photo_is_refused_with_the_reason(
    service: Client, photo: bytes, status: int, named: str
) -> None:
    """Nothing is taught, and the service continues."""
    for answer in (predict(service, photo), teach(service, "mug", photo)):
        assert (answer.status, named in answer.json["error"]) == (status, True), answer.body
    assert send(service, "GET", "samples").json == {"samples": []}
    assert teach(service, "mug").status == 201


def test_heic_photos_are_taught_where_they_can_be_read(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their size is limited too; without the package, the message has the command that installs it."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="the group device-test installs pillow-heif")
    target = io.BytesIO()
    pillow_heif.from_bytes(mode="RGB", size=(320, 240), data=draw("red", 1).tobytes()).save(target)
    assert teach(service, "mug", target.getvalue()).status == 201
    monkeypatch.setattr("device.page.photos.MAX_PIXELS", 320 * 240 - 1)
    large = predict(service, target.getvalue(), "image/heic")
    assert (large.status, "320 x 240" in large.json["error"]) == (413, True)
    monkeypatch.setattr("device.heif.can_read_heif", lambda: False)
    refused = predict(service, target.getvalue(), "image/heic")
    assert (refused.status, "pip install 'edgetl[photos]'" in refused.json["error"]) == (415, True)


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [
        ("samples", 400, "?label=LABEL"),
        ("samples?label=", 422, "empty"),
        ("samples?label=" + "x" * 10_000, 422, "10000"),
        ("samples?label=a%0Ab", 422, "line breaks"),
        ("samples?label=a%E2%80%AEb", 422, "direction"),
        ("samples?label=%ff", 400, "UTF-8"),
        ("samples?label=mug&source=" + "x" * 101, 422, "101"),
        ("samples?label=mug&hold=" + "x" * 65, 422, "65"),
    ],
)
def test_a_bad_label_is_refused_with_the_reason(service: Client, path: str, status: int, named: str) -> None:
    """Nothing is taught."""
    answer = send(service, "POST", path, RED, Content_Type="image/jpeg")
    assert (answer.status, named in answer.json["error"]) == (status, True), answer.body
    assert send(service, "GET", "samples").json == {"samples": []}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"[" * 10_000, 400), (b"[]", 400), (b"{}", 400), (b'{"embedding": "x"}', 400),
        (b'{"embedding": [true]}', 400), (b'{"embedding": [[1]]}', 400), (b'{"embedding": []}', 422),
        (b'{"embedding": [NaN]}', 422), (b'{"embedding": [1e300]}', 422), (b'{"embedding": [1, 2]}', 422),
        (b'{"embedding": [1' + b"0" * 400 + b"]}", 422),
    ],
)  # fmt: skip
def test_a_bad_embedding_is_refused(service: Client, body: bytes, status: int) -> None:
    """Wrong JSON is 400, wrong numbers are 422."""
    teach(service, "mug")
    answer = send(service, "POST", "predict", body)
    assert (answer.status, set(answer.json)) == (status, {"error"}), answer.body


def test_a_bad_form_is_refused(service: Client) -> None:
    """No boundary, a cut-off form, a photo under another name, a photo that is text, two photos."""
    body, kind = form(image=RED, label="mug")
    two = body.replace(b"--edge--\r\n", body)
    for sent, form_kind in (
        (body, "multipart/form-data"), (body[:40], kind), (form(photo=RED)[0], kind), (form(image="x")[0], kind),
        (two, kind),
    ):  # fmt: skip
        answer = send(service, "POST", "samples", sent, Content_Type=form_kind)
        assert (answer.status, set(answer.json)) == (400, {"error"}), answer.body
    assert send(service, "GET", "samples").json == {"samples": []}


def test_damaged_bodies_never_fail_the_server(service: Client) -> None:
    """Bytes of photos and of a form are changed at random: each answer is a success or a refusal as JSON."""
    random = np.random.default_rng(0)
    bgr = cv2.cvtColor(draw("red", 1), cv2.COLOR_RGB2BGR)
    whole = [
        (cv2.imencode(suffix, bgr)[1].tobytes(), "image/jpeg") for suffix in (".jpg", ".png", ".webp", ".bmp")
    ]
    teach(service, "mug")
    for number in range(120):
        body, kind = [*whole, form(image=RED, label="mug")][number % 5]
        damaged = np.frombuffer(body, np.uint8).copy()
        places = random.integers(0, (60, len(damaged))[number % 2], 1 + number % 7)
        damaged[places] = random.integers(0, 256, len(places))
        path = ("predict", "samples?label=mug")[number // 5 % 2]
        answer = send(service, "POST", path, damaged.tobytes(), Content_Type=kind)
        assert answer.status in (200, 201, 400, 413, 415, 422), answer.body
        assert ("error" in answer.json) == (answer.status >= 400)


def test_unknown_ids_are_not_found(service: Client) -> None:
    """Numbers without a sample, numbers too large for SQLite, and text."""
    for number in ("7", "0", "-1", "9" * 30, "abc", "%2e%2e", "1.5"):
        for method, body in (("GET", None), ("DELETE", None), ("PATCH", b'{"label": "mug"}')):
            answer = send(service, method, f"samples/{number}", body)
            assert (answer.status, set(answer.json)) == (404, {"error"}), answer.body


def test_a_wrong_method_is_answered_with_those_allowed(service: Client) -> None:
    """405 with the header Allow."""
    answer = send(service, "PUT", "samples", 10 * RED, Content_Type="image/jpeg")
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}


# the specification


def full_disk(server: Any) -> None:
    """Let the state file not grow any more."""
    with server.page.learner.store.database.transaction() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")


def test_on_a_full_disk_nothing_is_acknowledged(serve: Serve) -> None:
    """The status is 503, and the message has the next step."""
    server, client = serve(camera=False)
    before = teach(client, "mug")
    full_disk(server)
    answers = [before, *(teach(client, "mug") for _ in range(40))]
    assert {answer.status for answer in answers} == {201, 503}
    check_shape("POST", "samples", answers[-1])
    taught = sum(answer.status == 201 for answer in answers)
    assert server.page.learner.store.counts() == {"mug": taught}


SPECIFICATION = json.loads((STATIC.parent / "openapi.json").read_text(encoding="utf-8"))


def test_the_specification_has_every_route_and_no_other(serve: Serve) -> None:
    """Paths and methods of the running server, which also serves the document."""
    from device.page.programs import program_routes

    server, client = serve(camera=False)
    assert send(client, "GET", "openapi.json").json == SPECIFICATION
    routes: list[Any] = program_routes(server.page)
    served = {(route.path, method) for route in routes for method in route.methods} | {(f"{V1}token", "POST")}
    methods = {"get", "post", "put", "patch", "delete"}
    described = {
        (path, method.upper())
        for path, item in SPECIFICATION["paths"].items()
        for method in item.keys() & methods
    }
    assert described == served


CASES: list[tuple[str, str, int, dict[str, Any]]] = [
    ("POST", "predict", 200, {"body": RED, "type": "image/jpeg"}),
    ("POST", "predict", 400, {"body": b"{", "type": "application/json"}),
    ("POST", "predict", 413, {"body": huge_png(16_000, 16_000), "type": "image/png"}),
    ("POST", "predict", 415, {"body": RED, "type": "text/plain"}),
    ("POST", "predict", 422, {"body": RED[:99], "type": "image/jpeg"}),
    ("GET", "samples", 200, {}),
    ("GET", "samples", 400, {"query": "limit=0"}),
    ("POST", "samples", 201, {"query": "label=mug", "body": RED, "type": "image/jpeg"}),
    ("POST", "samples", 400, {"body": RED, "type": "image/jpeg"}),
    ("POST", "samples", 413, {"query": "label=a", "body": huge_png(16_000, 16_000), "type": "image/png"}),
    ("POST", "samples", 415, {"query": "label=mug", "body": b"{}", "type": "application/json"}),
    ("POST", "samples", 422, {"query": "label=", "body": RED, "type": "image/jpeg"}),
    ("GET", "samples/{id}", 200, {"id": 1}),
    ("GET", "samples/{id}", 404, {"id": 99}),
    ("PATCH", "samples/{id}", 200, {"id": 1, "body": b'{"label": "cup"}', "type": "application/json"}),
    ("PATCH", "samples/{id}", 400, {"id": 1, "body": b"{}", "type": "application/json"}),
    ("PATCH", "samples/{id}", 404, {"id": 99, "body": b'{"label": "cup"}', "type": "application/json"}),
    ("PATCH", "samples/{id}", 415, {"id": 1, "body": b"cup", "type": "text/plain"}),
    ("PATCH", "samples/{id}", 422, {"id": 1, "body": b'{"label": ""}', "type": "application/json"}),
    ("GET", "samples/{id}.jpg", 200, {"id": 1}),
    ("GET", "samples/{id}.jpg", 404, {"id": 99}),
    ("POST", "samples/correct", 200, {"body": SELECT + b', "action": "exclude"}', "type": "application/json"}),
    ("POST", "samples/correct", 400, {"body": b'{"select": 1}', "type": "application/json"}),
    ("POST", "samples/correct", 404, {"body": b'{"select": {"ids": [99]}, "action": "forget"}', "type": "application/json"}),
    ("POST", "samples/correct", 415, {"body": b"{}", "type": "text/plain"}),
    ("POST", "samples/correct", 422, {"body": b'{"select": {}, "action": "forget"}', "type": "application/json"}),
    ("GET", "doubts", 200, {}),
    ("GET", "doubts/{id}.jpg", 200, {"id": 1}),
    ("GET", "doubts/{id}.jpg", 404, {"id": 99}),
    ("POST", "doubts/teach", 200, {"body": b'{"ids": [1], "label": "cup"}', "type": "application/json"}),
    ("POST", "doubts/teach", 400, {"body": b'{"ids": [], "label": "cup"}', "type": "application/json"}),
    ("POST", "doubts/teach", 404, {"body": b'{"ids": [1, 99], "label": "cup"}', "type": "application/json"}),
    ("POST", "doubts/teach", 415, {"body": b"1", "type": "text/plain"}),
    ("POST", "doubts/teach", 422, {"body": b'{"ids": [2], "label": ""}', "type": "application/json"}),
    ("POST", "doubts/drop", 200, {"body": b'{"ids": [2]}', "type": "application/json"}),
    ("POST", "doubts/drop", 400, {"body": b'{"ids": ["2"]}', "type": "application/json"}),
    ("POST", "doubts/drop", 404, {"body": b'{"ids": [-1]}', "type": "application/json"}),
    ("POST", "doubts/drop", 415, {"body": b"1", "type": "text/plain"}),
    ("DELETE", "samples/{id}", 200, {"id": 1}),
    ("DELETE", "samples/{id}", 404, {"id": 99}),
    ("POST", "undo", 200, {}),
    ("POST", "undo", 400, {"body": b"[]", "type": "application/json"}),
    ("GET", "status", 200, {}),
    ("GET", "status", 400, {"query": "forecast=yes"}),
    ("GET", "model", 200, {}),
    ("GET", "model.tflite", 200, {}),
    ("GET", "events", 200, {}),
    ("GET", "snapshot.jpg", 503, {}),
    ("POST", "token", 200, {"body": b'{"key": "KEY"}', "type": "application/json"}),
    ("POST", "token", 400, {"body": b"{}", "type": "application/json"}),
    ("POST", "token", 403, {"body": b'{"key": "wrong"}', "type": "application/json"}),
    ("POST", "token", 415, {"body": b"key", "type": "text/plain"}),
    ("GET", "openapi.json", 200, {}),
]  # fmt: skip
# statuses that need another situation; each is tested above or below
ELSEWHERE = {
    ("POST", "predict", 409), ("GET", "model.tflite", 409), ("POST", "predict", 429), ("POST", "samples", 429),
    ("POST", "samples", 503), ("GET", "snapshot.jpg", 200), ("POST", "token", 429), ("POST", "samples/correct", 413),
}  # fmt: skip


def check_shape(method: str, path: str, answer: Answer) -> None:
    """Compare the body with the schema of this path, method and status."""
    validate = pytest.importorskip(
        "jsonschema", reason="jsonschema is missing: pip install jsonschema"
    ).validate
    described = SPECIFICATION["paths"][V1 + path][method.lower()]["responses"][str(answer.status)]
    if "$ref" in described:
        described = SPECIFICATION["components"]["responses"][described["$ref"].rpartition("/")[2]]
    kind = answer.headers["content-type"].partition(";")[0]
    schema = described["content"][kind]["schema"]
    if kind == "application/json":
        validate(answer.json, {**schema, "components": SPECIFICATION["components"]})


def queue_two(server: Any) -> None:
    """Put two uncertain frames into the queue."""
    doubts = server.page.doubts
    doubts._pause = 0.0
    prediction = Prediction("mug", 0.5, True, {"mug": 0.5, "cup": 0.5})
    for place in range(2):
        embedding = np.zeros(server.page.learner.model.manifest.dimensions, np.float32)
        embedding[place] = 1.0
        assert doubts.offer(embedding, prediction, lambda: RED)


def test_every_status_and_shape_is_as_specified(serve: Serve) -> None:
    """Each documented status of each operation is provoked; with a token where one is needed, and 401 without."""
    server, client = serve(camera=False, sign_in=True)
    assert server.sessions is not None
    token = {"Authorization": f"Bearer {server.token}"}
    send(client, "POST", "samples?label=mug", RED, Content_Type="image/jpeg", **token)
    queue_two(server)
    for method, path, status, given in CASES:
        address = path.replace("{id}", str(given.get("id"))) + f"?{given.get('query', '')}"
        body = given.get("body", b"").replace(b"KEY", server.sessions.key.encode()) or None
        kind = {"Content_Type": given["type"]} if body else {}
        if path == "events":
            with client.open(V1 + path, **token) as stream:  # type: ignore[arg-type]  # headers only
                assert (stream.status, stream.getheader("content-type")) == (
                    200,
                    "text/event-stream; charset=utf-8",
                )
            continue
        answer = send(client, method, address, body, **kind, **token)
        assert answer.status == status, (method, path, status, answer.body[:300])
        check_shape(method, path, answer)
        if SPECIFICATION["paths"][V1 + path][method.lower()].get("security") != []:
            refused = send(client, method, address, body, **kind)
            assert refused.status == 401
            check_shape(method, path, refused)


def test_every_documented_status_is_tested() -> None:
    """A status that is added to the document needs a case."""
    described = {
        (method.upper(), path.removeprefix(V1), int(status))
        for path, item in SPECIFICATION["paths"].items()
        for method in item.keys() - {"parameters"}
        for status in item[method]["responses"]
        if status != "401"
    }
    assert described == {(method, path, status) for method, path, status, _ in CASES} | ELSEWHERE


def test_before_the_first_sample_a_prediction_is_a_conflict(service: Client) -> None:
    """The message has the next step."""
    for method, path, body in (("POST", "predict", RED), ("GET", "model.tflite", None)):
        kind = {"Content_Type": "image/jpeg"} if body else {}
        answer = send(service, method, path, body, **kind)
        assert answer.status == 409, answer.body
        check_shape(method, path, answer)


def test_events_and_snapshots_are_as_specified(client: Client) -> None:
    """An event before and after something is taught."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is missing: pip install jsonschema")
    schema = {"$ref": "#/components/schemas/Event", "components": SPECIFICATION["components"]}
    client.until(lambda event: event["frame"] > 0)
    check_shape("GET", "snapshot.jpg", send(client, "GET", "snapshot.jpg"))
    teach(client, "mug")
    jsonschema.validate(client.until(lambda event: event["prediction"] is not None), schema)


def test_more_photos_than_fit_into_memory_are_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is 429; a place is free again after each photo."""
    monkeypatch.setattr("device.page.programs._UPLOADS", 1)
    client = serve(camera=False)[1]
    assert [teach(client, "mug").status for _ in range(3)] == [201] * 3
    monkeypatch.setattr("device.page.programs._UPLOADS", 0)
    for path in ("predict", "samples"):
        answer = send(client, "POST", f"{path}?label=mug", RED, Content_Type="image/jpeg")
        assert answer.status == 429
        check_shape("POST", path, answer)


def test_guessing_keys_is_slowed_down(serve: Serve) -> None:
    """As on the page: ten wrong keys in a minute."""
    _, client = serve(camera=False, sign_in=True)
    answers = [send(client, "POST", "token", b'{"key": "guess"}') for _ in range(11)]
    assert [answer.status for answer in answers] == [403] * 10 + [429]
    check_shape("POST", "token", answers[-1])

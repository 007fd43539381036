"""A page per camera or region on one server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from device.cameras import open_camera
from device.cameras.fake import draw
from device.cameras.regions import Region
from device.cameras.shared import SharedCamera, overview
from device.images import encode_jpeg, read_photo
from device.learner import Learner
from device.live.motion import MotionGate

from .browser import Browser
from .conftest import MODEL, WITHOUT_EXTRA, Answer, Client, Scene
from .test_metrics import scrape, value

pytest.importorskip("starlette", reason=WITHOUT_EXTRA)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A server with two regions of one camera, each with a state of its own; one has a motion gate."""
    from device.page.page import Page
    from device.page.server import PageServer

    shared = SharedCamera(lambda: open_camera("fake:red", fps=30))
    with ExitStack() as stack:
        door = stack.enter_context(Learner.open(MODEL, tmp_path / "door.db", threads=1))
        gate = stack.enter_context(door.beside(tmp_path / "gate.db"))
        pages = []
        for name, learner, edges in (("door", door, "0,0,0.5,1"), ("gate", gate, "0.5,0,1,1")):
            region = Region.parse(f"{name}={edges}")
            pages.append(
                Page(
                    learner,
                    shared.region(region),
                    fps=30.0,
                    region=name,
                    gate=MotionGate(1.0) if name == "gate" else None,
                    draw=overview(shared, region),
                )
            )
        server = stack.enter_context(PageServer(door, None, port=0, pages=pages))
        yield Client(server.port)


def test_each_region_has_its_own_page_and_samples(client: Client) -> None:
    """The first page is also at the root; the pages link each other."""
    photo = encode_jpeg(draw("red", 1))
    for place, label in (("", "mug"), ("/region/gate", "bike")):
        sent = Answer(
            client.open(f"{place}/api/v1/samples?label={label}", "POST", photo, Content_Type="image/jpeg")
        )
        assert sent.status == 201, sent.body
        assert sent.headers["location"] == f"{place}/api/v1/samples/1"
        assert client.get(sent.headers["location"]).json["label"] == label
    for place, name, label in (
        ("", "door", "mug"),
        ("/region/door", "door", "mug"),
        ("/region/gate", "gate", "bike"),
    ):
        state = client.ask(f"{place}/api/state")
        assert state["region"] == name
        assert [one["label"] for one in state["labels"]] == [label]
        assert state["regions"] == [
            {"name": "door", "url": "/region/door/"},
            {"name": "gate", "url": "/region/gate/"},
        ]
    assert client.get("/region/gate/").body == client.get("/").body


def test_the_picture_shows_the_camera_and_the_snapshot_the_region(client: Client) -> None:
    """Everything but the region is darker in the stream."""
    client.until(lambda event: event["frame"] > 1)
    snapshot = read_photo(client.get("/region/gate/api/v1/snapshot.jpg").body)
    assert snapshot.shape == (240, 160, 3)
    with client.open("/region/gate/api/stream.mjpg") as response:
        start = response.read(200_000 // 100)
        head, _, body = start.partition(b"\r\n\r\n")
        size = int(head.rpartition(b"Content-Length: ")[2])
        body += response.read(size - len(body))
    picture = read_photo(body[:size]).astype(float)
    assert picture.shape == (240, 320, 3)
    assert picture[:, 10:140].mean() < 0.7 * picture[:, 180:310].mean()


def test_the_motion_gate_is_visible_on_its_page(client: Client) -> None:
    """The share that moves, the threshold, and whether frames are embedded."""
    gate = client.until(lambda event: event["frame"] > 8)
    assert "motion" not in gate["camera"]
    with client.open("/region/gate/api/events") as response:
        for line in response:
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                if event["frame"] > 8:
                    break
    assert event["region"] == "gate"
    assert event["camera"]["motion"]["threshold"] == 1.0
    assert event["camera"]["motion"]["open"] is False


def test_a_frame_is_taught_with_its_own_embedding_while_the_gate_is_closed(
    scene: Scene, tmp_path: Path
) -> None:
    """The prediction may use an older one; a sample never does."""
    from device.page.page import Page
    from device.page.server import PageServer

    with Learner.open(MODEL, tmp_path / "still.db", threads=1) as learner:
        page = Page(learner, lambda: open_camera(scene.source), fps=60.0, region="door", gate=MotionGate(1.0))
        with PageServer(learner, None, port=0, pages=[page]) as server:
            client = Client(server.port)
            client.teach("mug")
            client.until(lambda event: event["camera"].get("motion", {}).get("open") is False)
            scene.show("blue")
            client.look()
            client.teach("plant")
        assert learner.predict_one(draw("red", 99)).label == "mug"
        assert learner.predict_one(draw("blue", 99)).label == "plant"


def test_metrics_of_all_regions_are_on_one_page(client: Client) -> None:
    """Each with its name as source."""
    client.until(lambda event: event["frame"] > 1)
    found = scrape(client)
    assert value(found, "edgetl_camera_up", source="door") == 1
    assert value(found, "edgetl_camera_up", source="gate") == 1
    assert value(found, "edgetl_info", model="tiny.tflite") == 1


@pytest.mark.parametrize("path", ["/region/none/api/state", "/region/%2e%2e/api/state", "/region//api/state"])
def test_a_region_that_does_not_exist_is_refused(client: Client, path: str) -> None:
    """The message lists those that do."""
    answer = client.get(path)
    assert answer.status == 404
    assert "regions are: door, gate" in answer.json["error"]


def test_the_checks_of_requests_hold_for_every_region(client: Client) -> None:
    """The name in the path does not lead around the guard."""
    assert client.post("/region/gate/api/undo", {}, Origin="http://evil.example").status == 403
    assert Answer(client.open("/region/gate/api/teach", "POST", b"{}", Content_Type="text/plain")).status in (
        403,
        415,
    )
    assert client.get("/region/gate/region/door/api/state").status == 404


@pytest.mark.browser
def test_a_browser_teaches_each_region_on_its_own_page(client: Client, browser: Browser) -> None:
    """The links lead from one to the other; each has its labels, its picture and its gate."""
    browser.visit(f"http://127.0.0.1:{client.port}/")
    links = browser.driver.find_elements("css selector", "#regions a")
    assert [(link.text, link.get_attribute("aria-current")) for link in links] == [
        ("door", "page"),
        ("gate", None),
    ]
    browser.add("mug")
    browser.hold("mug", 3)
    links[1].click()
    browser.wait(lambda: browser.driver.current_url.endswith("/region/gate/"))
    browser.wait(lambda: "still" in browser.text("#camera-text"))
    assert "of 100.0 %" in browser.text("#camera-text")
    assert not browser.driver.find_elements("css selector", '.row[data-label="mug"]')
    browser.add("bike")
    browser.hold("bike", 2)
    browser.wait(lambda: browser.run("return document.querySelector('#picture').naturalWidth") == 320)
    browser.wait(lambda: browser.run("return document.querySelector('#grid img')?.naturalWidth > 0"))
    assert counts_of(client, "").keys() == {"mug"}
    assert counts_of(client, "/region/gate").keys() == {"bike"}
    assert browser.complaints() == []


def counts_of(client: Client, region: str) -> dict[str, int]:
    """Return the number of samples per label of a region."""
    return {one["label"]: one["samples"] for one in client.ask(f"{region}/api/state")["labels"]}

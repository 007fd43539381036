"""The page outside the hours of its camera, with a clock of the test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import MODEL, WITHOUT_EXTRA, Client, Scene, teach_many

pytest.importorskip("starlette", reason=WITHOUT_EXTRA)
pytest.importorskip("uvicorn", reason=WITHOUT_EXTRA)

from device.cameras import Camera, open_camera
from device.learner import Learner
from device.live.hours import Hours
from device.live.watching import Observation
from device.page.page import Page
from device.page.server import PageServer

NOON, NIGHT = ((2026, 11, 30, hour, 0, 0, 0, 0, -1) for hour in (12, 23))


@dataclass
class Yard:
    """A page whose camera is open by day, its clock and its camera."""

    client: Client
    server: PageServer
    cameras: list[Camera]
    seen: list[Observation]
    now: float

    def set(self, moment: tuple[int, ...]) -> None:
        """Set the clock."""
        self.now = time.mktime(moment)  # type: ignore[arg-type]  # nine numbers


@pytest.fixture
def yard(tmp_path: Path, scene: Scene) -> Iterator[Yard]:
    """A page that was taught, at noon."""
    cameras: list[Camera] = []

    def opener() -> Camera:
        cameras.append(open_camera(scene.source))
        return cameras[-1]

    with ExitStack() as stack:
        learner = stack.enter_context(Learner.open(MODEL, tmp_path / "yard.db", threads=1))
        teach_many(learner, ("red", "blue"))
        page = Page(learner, opener, fps=60.0, hours=Hours.parse("07:00-19:00"))
        server = PageServer(learner, None, port=0, pages=[page])
        found = Yard(Client(server.port), server, cameras, [], time.mktime(NOON))
        page.loop._now = lambda: found.now
        page.loop.listen(found.seen.append)
        stack.enter_context(server)
        yield found


def test_the_camera_is_closed_at_night_and_opened_again_in_the_morning(yard: Yard) -> None:
    """The page shows until when, nothing is predicted or taught, and receivers get that nothing is in view."""
    client = yard.client
    client.sees("red")
    yard.set(NIGHT)
    closed = client.until(lambda event: event["camera"]["condition"] == "closed")
    assert (closed["camera"]["message"], closed["prediction"]) == ("closed until 07:00", None)
    assert repr(yard.cameras[0]).endswith(" closed>")
    answer = client.post("/api/teach", {"label": "red", "hold": ""})
    assert (answer.status, "closed until 07:00" in answer.json["error"]) == (503, True)
    assert client.get("/api/v1/snapshot.jpg").status == 503
    assert [one.closed for one in yard.seen].count(True) == 1
    assert yard.seen[-1].prediction is None
    yard.set(NOON)
    client.sees("red")
    assert len(yard.cameras) == 2


@pytest.mark.browser
def test_the_page_shows_that_the_camera_is_closed(yard: Yard, browser: object) -> None:
    """Beside the title and in place of the picture."""
    from .browser import Browser

    assert isinstance(browser, Browser)
    browser.visit(yard.server.url)
    browser.sees("red")
    yard.set(NIGHT)
    browser.wait(lambda: browser.text("#camera-text") == "closed until 07:00")
    browser.wait(lambda: browser.one("#no-picture").is_displayed())
    assert browser.text("#prediction-label") == "…"
    yard.set(NOON)
    browser.sees("red")
    assert browser.complaints() == []

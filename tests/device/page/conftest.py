"""A real server on a free port of loopback, with a real learner and the fake camera."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

import device.page
from device.cameras import open_camera
from device.cameras.fake import draw
from device.learner import Learner

from .browser import PATIENCE, Browser, start_chromium, why_not

if TYPE_CHECKING:
    from device.page.server import PageServer

WITHOUT_EXTRA = "the page needs its extra: pip install 'edgetl[serve]'"
MODEL = Path(__file__).parents[2] / "data" / "tiny.tflite"
# from the package under test, which may be an installed wheel
STATIC = Path(device.page.__file__).parent / "static"


class Scene:
    """The scene that the fake camera shows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.show("red")

    @property
    def source(self) -> str:
        """Return the source for opening the camera."""
        return f"fake:@{self.path}"

    def show(self, name: str) -> None:
        """Change the scene in one step."""
        temporary = self.path.with_suffix(".new")
        temporary.write_text(name)
        temporary.replace(self.path)


class Answer:
    """A response of the server."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Client:
    """An HTTP client in which every header can be set."""

    def __init__(self, port: int, cookie: str | None = None) -> None:
        self.port = port
        self.cookie = cookie

    def open(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        """Send a request; underscores in the names of headers stand for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Connection", "close")  # one request a connection: nothing is left open
        if self.cookie:
            sent.setdefault("Cookie", self.cookie)
        connection.request(method, path, body, sent)
        return connection.getresponse()

    def get(self, path: str, **headers: str) -> Answer:
        """Send a GET request."""
        return Answer(self.open(path, **headers))  # type: ignore[arg-type]  # headers only

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """Send JSON as the page does, or bytes as they are."""
        raw = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        given = {"Origin": f"http://127.0.0.1:{self.port}", "Content_Type": "application/json", **headers}
        return Answer(self.open(path, "POST", raw, **given))

    def ask(self, path: str) -> Any:
        """Send a GET request that must succeed."""
        answer = self.get(path)
        assert answer.status == 200, answer.body
        return answer.json

    def do(self, path: str, **fields: Any) -> Any:
        """Send a POST request that must succeed."""
        answer = self.post(path, fields)
        assert answer.status == 200, answer.body
        return answer.json

    def teach(self, label: str, count: int = 3, hold: str = "hold") -> None:
        """Hold a button for `count` samples."""
        for _ in range(count):
            self.do("/api/teach", label=label, hold=f"{hold}-{label}")

    def counts(self) -> dict[str, int]:
        """Return the labels with their number of samples, as the page lists them."""
        return {item["label"]: item["samples"] for item in self.ask("/api/state")["labels"]}

    def events(self) -> Iterator[dict[str, Any]]:
        """Read the stream of events."""
        with self.open("/api/events") as response:
            assert response.status == 200
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read events until one meets the condition."""
        for event, _ in zip(self.events(), range(300), strict=False):
            if wanted(event):
                return event
        raise AssertionError("300 events came and none was as wanted")

    def look(self) -> None:
        """Wait until the current scene has been predicted."""
        frame = self.until(lambda event: True)["frame"]
        self.until(lambda event: event["frame"] >= frame + 3)

    def sees(self, label: str) -> dict[str, Any]:
        """Wait until `label` is predicted."""
        found = self.until(lambda event: bool(event["prediction"]) and event["prediction"]["label"] == label)
        prediction: dict[str, Any] = found["prediction"]
        return prediction


Serve: TypeAlias = "Callable[..., tuple[PageServer, Client]]"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """The scene of the camera; red at first."""
    return Scene(tmp_path / "scene")


@pytest.fixture
def serve(tmp_path: Path, scene: Scene) -> Iterator[Serve]:
    """Start a server; all stop at the end of the test, and `close` may be called before."""
    for extra in ("starlette", "uvicorn"):
        pytest.importorskip(extra, reason=WITHOUT_EXTRA)
    from device.page.server import PageServer

    with contextlib.ExitStack() as stack:

        def start(
            source: str | None = None,
            state: str = "taught.db",
            model: Path = MODEL,
            camera: bool = True,
            **options: Any,
        ) -> tuple[PageServer, Client]:
            learner = stack.enter_context(Learner.open(model, tmp_path / state, threads=1))
            opened = source or scene.source
            opener = (lambda: open_camera(opened)) if camera else None
            server = PageServer(learner, opener, port=0, **{"fps": 60.0, **options})
            stack.enter_context(server)
            return server, Client(server.port)

        yield start


@pytest.fixture
def client(serve: Serve) -> Client:
    """A client of a server that every user of this machine can use."""
    return serve()[1]


def teach_many(learner: Learner, labels: tuple[str, ...], count: int = 4) -> None:
    """Teach labels that look different, without the camera."""
    images = [draw(label, number) for label in labels for number in range(count)]
    learner.learn_many(images, [label for label in labels for _ in range(count)])


@contextlib.contextmanager
def running_chromium(profile: Path, *flags: str) -> Iterator[Any]:
    """Run a headless Chromium for the block.

    Without one the test skips, unless EDGETL_BROWSER=required, as CI sets it.
    """
    if why_not() and os.environ.get("EDGETL_BROWSER") == "required":
        pytest.fail(f"the tests in a browser are required here (EDGETL_BROWSER), but there is {why_not()}")
    if why_not():
        pytest.skip(why_not())
    driver = start_chromium(profile, *flags)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One headless Chromium for all tests; every test has another origin in it."""
    profile = tmp_path_factory.mktemp("profile")
    with running_chromium(profile, "--use-fake-device-for-media-stream") as driver:
        yield driver


@pytest.fixture
def browser(chromium: Any) -> Iterator[Browser]:
    """A browser without a page, its console empty."""
    chromium.get_log("browser")
    yield Browser(chromium)
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

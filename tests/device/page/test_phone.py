"""The camera of the browser, in a headless Chromium with two drawn cameras: one is green, the other black."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device.cameras import open_camera
from device.errors import StorageError
from device.images import read_photo
from device.learner import Learner

from .browser import Browser
from .conftest import MODEL, Scene, Serve, running_chromium, teach_many

pytest.importorskip("cryptography", reason="HTTPS needs its extra: pip install 'edgetl[https]'")

pytestmark = pytest.mark.browser
HOST = "pi.example"  # a name that no browser trusts without HTTPS


@pytest.fixture(scope="module")
def phone_driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium that allows pages its two cameras, and accepts every certificate."""
    with running_chromium(
        tmp_path_factory.mktemp("phone"), "--use-fake-device-for-media-stream=device-count=2",
        "--use-fake-ui-for-media-stream", "--ignore-certificate-errors", f"--host-resolver-rules=MAP {HOST} 127.0.0.1",
    ) as driver:  # fmt: skip
        yield driver


@pytest.fixture
def phone(phone_driver: Any) -> Iterator[Browser]:
    """The browser of a phone, without a page and its console empty."""
    phone_driver.get_log("browser")
    browser = Browser(phone_driver)
    browser.narrow()
    yield browser
    phone_driver.get("about:blank")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start a page with HTTPS, by default without a camera; return its server."""
    from device.page.certificates import own_certificate
    from device.page.encryption import Encryption
    from device.page.server import PageServer

    with ExitStack() as stack:

        def start(camera: str | None = None) -> PageServer:
            learner = stack.enter_context(Learner.open(MODEL, tmp_path / "taught.db", threads=1))
            opener = None if camera is None else lambda: open_camera(camera)
            encryption = Encryption(lambda: own_certificate(tmp_path, ["127.0.0.1", HOST]))
            server = PageServer(learner, opener, port=0, encryption=encryption, allow_hosts=[HOST])
            return stack.enter_context(server)

        yield start


def visit(phone: Browser, server: Any) -> None:
    """Open the page under a name, and start the camera of the browser."""
    phone.visit(server.url.replace("127.0.0.1", HOST))
    start(phone)


def start(phone: Browser) -> None:
    """Press the button of the browser's camera, and wait until it delivers frames."""
    phone.one("#from-phone").click()
    phone.wait(lambda: phone.one("#video").is_displayed() and "fps" in phone.text("#camera-text"))


def test_a_phone_teaches_with_its_own_camera(phone: Browser, page: Callable[..., Any]) -> None:
    """Over HTTPS, on a device without a camera: label, prediction, undo of a press, and what it is not."""
    server = page()
    learner = server.page.learner
    phone.visit(server.url.replace("127.0.0.1", HOST))
    phone.wait(lambda: "You can use your own" in phone.text("#no-picture"))
    assert not phone.one("#from-device").is_enabled()
    start(phone)
    assert phone.text("#prediction-label") == "Nothing taught yet"
    phone.add("mug")
    phone.hold("mug", 3)
    phone.wait(lambda: phone.text("#prediction-label") == "mug")
    taught = learner.samples("mug")
    assert len({sample.source for sample in taught}) == 1
    assert taught[0].source.startswith("phone-")
    red, green, blue = np.median(read_photo(taught[0].thumbnail).reshape(-1, 3), axis=0)
    assert green > 100 > max(red, blue)
    phone.hold("mug", 2)
    assert len(learner.samples("mug")) > len(taught)
    phone.one("#undo").click()
    phone.wait(lambda: phone.count("mug") == len(taught))
    teach_many(learner, ("blue",))
    phone.wait(lambda: phone.count("blue") == 4)
    phone.wait(lambda: phone.text('.row[data-label="blue"] .share') != "")  # every label has its share
    for button, wanted in (("#not", "not mug"), ("#nothing", "background")):
        phone.wait(lambda button=button: phone.one(button).is_enabled())
        phone.actions().click_and_hold(phone.one(button)).perform()
        phone.wait(lambda wanted=wanted: wanted in phone.text("#recording-text"))
        phone.wait(lambda: not phone.text("#recording-text").endswith("· 0"))
        phone.actions().release().perform()
        phone.wait(lambda wanted=wanted: f"of {wanted}" in phone.text("#toasts"))
    assert learner.store.hidden_counts()
    assert phone.complaints() == []


def test_the_two_cameras_take_turns(phone: Browser, page: Callable[..., Any], scene: Scene) -> None:
    """The picture and the prediction are those of the chosen one; the device's picture is not sent meanwhile."""
    server = page(scene.source)
    scene.show("blue")
    teach_many(server.page.learner, ("blue",))
    pictures = server.page.loop.pictures
    phone.visit(server.url.replace("127.0.0.1", HOST))
    phone.sees("blue")
    phone.wait(lambda: pictures.readers == 1)
    start(phone)
    phone.add("mug")
    phone.hold("mug", 3)
    phone.sees("mug")
    phone.wait(lambda: pictures.readers == 0)
    assert phone.one("#from-phone").get_attribute("aria-pressed") == "true"
    phone.one("#from-device").click()
    phone.sees("blue")
    phone.wait(lambda: pictures.readers == 1)
    assert not phone.one("#video").is_displayed()
    assert phone.one("#from-device").get_attribute("aria-pressed") == "true"
    assert phone.complaints() == []


def test_a_refused_frame_is_explained_and_the_next_one_is_sent(
    phone: Browser, page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the device has no room for photos; and when a sample cannot be stored."""
    server = page()
    teach_many(server.page.learner, ("red",))
    visit(phone, server)
    phone.sees("red")  # the only label
    with monkeypatch.context() as patch:
        patch.setattr("device.page.programs._UPLOADS", 0)
        phone.wait(lambda: "try again in a second" in phone.text("#phone-problem"))
        assert phone.text("#prediction-label") == "No picture"
    phone.wait(lambda: phone.text("#phone-problem") == "")
    phone.sees("red")
    with monkeypatch.context() as patch:

        def full(*_: Any, **__: Any) -> None:
            raise StorageError(28, "the disk is full")

        patch.setattr(server.page.lessons, "learn", full)
        phone.run("document.querySelector('.hold').click()")
        phone.wait(lambda: "The disk is full" in phone.text("#toasts"))
    assert phone.count("red") == 4


def test_the_next_camera_is_chosen_and_one_that_ends_is_reported(
    phone: Browser, page: Callable[..., Any]
) -> None:
    """The last one is followed by the first; one that was unplugged, or lost its permission, can be started again."""
    visit(phone, page())
    track = "document.querySelector('#video').srcObject?.getVideoTracks()[0]"
    current = f"return {track}?.getSettings().deviceId"
    first = phone.run(current)
    for wanted in (False, True):
        phone.wait(lambda: phone.one("#turn").is_displayed())
        phone.one("#turn").click()
        phone.wait(lambda wanted=wanted: phone.run(current) and (phone.run(current) == first) is wanted)
    phone.run(f"{track}.dispatchEvent(new Event('ended'))")
    phone.wait(lambda: "The browser ended the camera" in phone.text("#phone-problem"))
    assert not phone.one("#video").is_displayed()
    start(phone)
    phone.wait(lambda: phone.text("#phone-problem") == "")


def test_without_https_the_page_explains_how_to_get_a_camera(phone: Browser, serve: Serve) -> None:
    """Browsers offer none to a page of another machine without HTTPS."""
    server, _ = serve(camera=False, allow_hosts=[HOST])
    phone.visit(server.url.replace("127.0.0.1", HOST))
    phone.one("#from-phone").click()
    phone.wait(lambda: "edgetl serve --https" in phone.text("#phone-problem"))
    assert phone.one("#from-phone").get_attribute("aria-pressed") == "false"


def test_a_camera_that_the_user_denies_is_explained(browser: Browser, serve: Serve) -> None:
    """With what to do; the page of the device works as before."""
    server, _ = serve()
    denied = {"permission": {"name": "camera"}, "setting": "denied", "origin": server.url.rstrip("/")}
    browser.driver.execute_cdp_cmd("Browser.setPermission", denied)
    browser.visit(server.url)
    browser.wait(lambda: "fps" in browser.text("#camera-text"))
    browser.one("#from-phone").click()
    browser.wait(lambda: "does not allow the camera" in browser.text("#phone-problem"))
    assert browser.one("#from-device").get_attribute("aria-pressed") == "true"
    browser.wait(lambda: "fps" in browser.text("#camera-text"))

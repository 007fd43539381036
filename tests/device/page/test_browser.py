"""The page in a real browser: what a person does, by clicking."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import PATIENCE, Scene, Serve

WHY = "driving a browser needs: pip install selenium"
webdriver: Any = pytest.importorskip("selenium.webdriver", reason=WHY)
waiting: Any = pytest.importorskip("selenium.webdriver.support.ui", reason=WHY)
errors: Any = pytest.importorskip("selenium.common.exceptions", reason=WHY)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM or not DRIVER, reason="no chromium: apt install chromium chromium-driver"),
]  # fmt: skip

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,1000",
)  # fmt: skip


class Browser:
    """A person in front of the page."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def visit(self, url: str) -> None:
        """Open the page and wait until it shows something."""
        self.driver.get(url)
        self.wait(lambda: self.one("#main").is_displayed())

    def narrow(self) -> None:
        """Take the size of a phone."""
        size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def one(self, selector: str) -> Any:
        """Find an element."""
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """Read an element's text, as it stands even where it is scrolled out of sight."""
        return str(
            self.driver.execute_script(
                "return document.querySelector(arguments[0])?.textContent ?? ''", selector
            )
        )

    def wait(self, wanted: Callable[[], Any]) -> None:
        """Wait until something is so; what the page replaces meanwhile is looked up again."""
        ignored = [errors.WebDriverException]
        waiting.WebDriverWait(self.driver, PATIENCE, 0.05, ignored).until(lambda _: wanted())

    def add(self, label: str) -> None:
        """Type a label and add it."""
        self.one("#add-name").send_keys(label, webdriver.Keys.ENTER)
        self.wait(lambda: self.row(label))

    def row(self, label: str) -> Any:
        """Find a label's row."""
        return self.one(f'.row[data-label="{label}"]')

    def count(self, label: str) -> int:
        """Read how many samples a label has."""
        text = self.row(label).find_element("css selector", ".count").get_attribute("textContent")
        return 0 if text == "not taught yet" else int(text.split()[0])

    def hold(self, label: str, samples: int) -> None:
        """Hold a label's button until so many samples more are taught."""
        before = self.count(label)
        button = self.row(label).find_element("css selector", ".hold")
        webdriver.ActionChains(self.driver).click_and_hold(button).perform()
        self.wait(lambda: self.count(label) >= before + samples)
        webdriver.ActionChains(self.driver).release(button).perform()
        self.wait(lambda: not self.one("#recording").is_displayed())

    def sees(self, label: str) -> None:
        """Wait until its verdict, or when it is unknown the nearest label, is this."""
        self.wait(lambda: self.text("#verdict-label") == label or f"“{label}”" in self.text("#verdict-note"))

    def complaints(self) -> list[str]:
        """Give the errors of the browser's console; a policy that was violated would stand there."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium with a profile of its own; every test has another origin in it."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Browser]:
    """A browser without a page, its console empty."""
    chromium.get_log("browser")
    yield Browser(chromium)
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def teach_two(browser: Browser, scene: Scene) -> None:
    """Teach a red mug and a blue plant."""
    browser.add("mug")
    browser.add("plant")
    browser.hold("mug", 4)
    scene.show("blue")
    browser.wait(lambda: browser.text("#camera-text"))
    browser.hold("plant", 5)


def test_teach_two_labels_see_undo_reload_and_restart(browser: Browser, serve: Serve, scene: Scene) -> None:
    """The whole story: everything taught by holding buttons is there after a restart."""
    server, client = serve()
    browser.visit(server.url)
    assert browser.one("#first").is_displayed()
    assert browser.text("#verdict-label") in ("", "Nothing taught yet")
    teach_two(browser, scene)
    assert not browser.one("#first").is_displayed()
    client.look()
    browser.sees("plant")
    scene.show("red")
    browser.sees("mug")

    before = browser.count("mug")
    browser.hold("mug", 3)
    taught = browser.count("mug")
    assert taught >= before + 3
    browser.one("#undo").click()
    browser.wait(lambda: browser.count("mug") == before)
    assert client.counts()["mug"] == before

    counts = client.counts()
    browser.driver.refresh()
    browser.wait(lambda: browser.count("mug") == counts["mug"] and browser.count("plant") == counts["plant"])
    assert browser.complaints() == []

    server.close()
    browser.wait(lambda: "does not answer" in browser.text("#banner"))
    again, _ = serve()
    browser.visit(again.url)
    browser.wait(lambda: browser.count("mug") == counts["mug"] and browser.count("plant") == counts["plant"])
    browser.sees("mug")
    scene.show("blue")
    browser.sees("plant")


def test_labels_are_renamed_and_deleted_in_a_dialog(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Delete asks first, and can be undone."""
    server, client = serve()
    client.teach("mug", 2)
    browser.visit(server.url)
    browser.wait(lambda: browser.count("mug") == 2)
    browser.row("mug").find_element("css selector", ".dots").click()
    field = browser.one("#dialog-input")
    field.clear()
    field.send_keys("red & <b>mug</b>", webdriver.Keys.ENTER)
    browser.wait(lambda: client.counts() == {"red & <b>mug</b>": 2})
    browser.wait(lambda: browser.text(".row .name") == "red & <b>mug</b>")
    browser.one(".row .dots").click()
    browser.one("#dialog-second").click()
    browser.wait(lambda: browser.text("#dialog-title").startswith("Delete"))
    browser.one("#dialog-ok").click()
    browser.wait(lambda: client.counts() == {})
    browser.one("#toasts button").click()
    browser.wait(lambda: browser.count("red & <b>mug</b>") == 2)
    assert browser.complaints() == []


def test_a_sample_is_corrected_by_tapping_it(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Relabel one, forget one."""
    server, client = serve()
    client.teach("mug", 2)
    client.teach("plant", 1)
    browser.visit(server.url)
    browser.wait(lambda: len(browser.driver.find_elements("css selector", "#grid li")) == 3)
    browser.one("#grid li:nth-child(2) button").click()
    browser.one("#dialog-choices button").click()
    browser.wait(lambda: client.counts() == {"mug": 1, "plant": 2})
    browser.wait(lambda: browser.text("#grid li:nth-child(2)") == "plant")
    browser.one("#grid li:nth-child(3) button").click()
    browser.one("#dialog-second").click()
    browser.wait(lambda: client.counts() == {"mug": 0, "plant": 2})


def test_a_frame_it_is_unsure_of_is_labelled_with_one_tap(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """The card goes, the label has a sample more."""
    server, client = serve()
    client.teach("mug", 5)
    scene.show("blue")
    client.look()
    client.teach("plant", 5)
    scene.show("yellow")
    browser.visit(server.url)
    browser.wait(lambda: browser.one("#cards .chip").is_displayed())
    label = browser.text("#cards .chip")
    browser.one("#cards .chip").click()
    browser.wait(lambda: client.counts()[label] == 6)
    browser.wait(lambda: browser.count(label) == 6)


def test_it_works_by_keyboard_alone(browser: Browser, serve: Serve, scene: Scene) -> None:
    """A digit key or the space bar teaches while it is down; z takes back."""
    server, client = serve()
    client.do("/api/labels/add", label="mug")
    client.look()
    browser.visit(server.url)
    browser.wait(lambda: browser.row("mug"))
    browser.one("body").send_keys("1")
    browser.wait(lambda: client.counts()["mug"] >= 1)
    browser.wait(lambda: not browser.one("#recording").is_displayed())
    taught = client.counts()["mug"]
    browser.row("mug").find_element("css selector", ".hold").send_keys(webdriver.Keys.SPACE)
    browser.wait(lambda: client.counts()["mug"] > taught)
    browser.wait(lambda: not browser.one("#recording").is_displayed())
    browser.one("body").send_keys("z")
    browser.wait(lambda: client.counts()["mug"] == taught)


def test_a_finger_that_holds_teaches_until_it_lifts(browser: Browser, serve: Serve, scene: Scene) -> None:
    """On a phone: no menu, no scrolling, and it stops when the finger leaves."""
    server, client = serve()
    client.do("/api/labels/add", label="mug")
    client.look()
    browser.narrow()
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    browser.visit(server.url)
    browser.wait(lambda: browser.row("mug"))
    place = browser.driver.execute_script(
        "const b = document.querySelector('.hold').getBoundingClientRect();"
        "return {x: b.x + b.width / 2, y: b.y + b.height / 2}"
    )
    browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [place]})
    browser.wait(lambda: client.counts()["mug"] >= 3)
    browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    browser.wait(lambda: not browser.one("#recording").is_displayed())
    taught = client.counts()["mug"]
    client.look()
    assert client.counts()["mug"] == taught


def test_the_link_signs_a_browser_in(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Without it there is a gate and nothing else; with it the key leaves the address bar at once."""
    server, _ = serve(sign_in=True)
    browser.driver.get(server.url)
    browser.wait(lambda: browser.one("#gate").is_displayed())
    assert not browser.one("#main").is_displayed()
    browser.driver.get("about:blank")
    browser.visit(server.link)
    assert browser.driver.current_url == server.url
    browser.driver.refresh()
    browser.wait(lambda: browser.one("#main").is_displayed())
    assert browser.driver.execute_script("return document.cookie") == ""


def test_a_lost_camera_is_told_in_a_banner(browser: Browser, serve: Serve, scene: Scene) -> None:
    """And the banner goes when the camera is back."""
    server, _ = serve()
    browser.visit(server.url)
    browser.wait(lambda: "fps" in browser.text("#camera-text"))
    hidden = scene.path.with_suffix(".gone")
    scene.path.rename(hidden)
    browser.wait(lambda: browser.one("#banner").is_displayed() and "No picture" in browser.text("#banner"))
    hidden.rename(scene.path)
    browser.wait(lambda: not browser.one("#banner").is_displayed())


def test_every_control_is_large_enough_for_a_thumb(browser: Browser, serve: Serve, scene: Scene) -> None:
    """At the width of a phone nothing to tap is under 44 px high, and nothing runs off the side."""
    server, client = serve()
    client.teach("mug", 2)
    client.do("/api/labels/add", label="a label with a name that is much too long for a phone")
    browser.narrow()
    browser.visit(server.url)
    browser.wait(lambda: browser.one("#grid li").is_displayed())
    small = browser.driver.execute_script(
        "return [...document.querySelectorAll('button, input, select, a.button')]"
        ".filter((e) => e.offsetParent && e.getBoundingClientRect().height < 44).map((e) => e.outerHTML)"
    )
    assert small == []
    assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= 390

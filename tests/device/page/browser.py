"""A headless Chromium that acts as a user, for tests and screenshots of the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds to wait for what must come

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,1000",
)  # fmt: skip


def why_not() -> str:
    """Return what is missing to drive a browser, and how to install it; "" when nothing is."""
    try:
        import selenium.webdriver  # noqa: F401  (only looked for)
    except ModuleNotFoundError:
        return "no Selenium: pip install selenium"
    return "" if CHROMIUM and DRIVER else "no Chromium: sudo apt-get install chromium chromium-driver"


def start_chromium(profile: Path, *flags: str) -> Any:
    """Start a headless Chromium with a profile of its own; `quit` ends it."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER, log_output=os.devnull)
    return webdriver.Chrome(options=options, service=service)


class Browser:
    """The page in a browser, with the actions of a user."""

    def __init__(self, driver: Any) -> None:
        from selenium.webdriver.common.keys import Keys

        self.driver, self.keys = driver, Keys

    def actions(self) -> Any:
        """Return a chain of actions to perform."""
        from selenium.webdriver import ActionChains

        return ActionChains(self.driver)

    def visit(self, url: str) -> None:
        """Open the page and wait until it shows something."""
        self.driver.get(url)
        self.wait(lambda: self.one("#main").is_displayed())

    def narrow(self, width: int = 390, height: int = 844) -> None:
        """Set the size of a phone, in CSS pixels."""
        self.resize(width, height, phone=True)

    def resize(self, width: int, height: int, scale: float = 1, *, phone: bool = False) -> None:
        """Set the size of the page in CSS pixels, each of `scale` device pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, **choices: str) -> None:
        """Set media features that the page can query, such as ``color_scheme="dark"``."""
        features = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in choices.items()
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def run(self, script: str, *values: Any) -> Any:
        """Run JavaScript and return its result."""
        return self.driver.execute_script(script, *values)

    def one(self, selector: str) -> Any:
        """Find an element."""
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """Return the text of an element, also where it is scrolled out of view."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def wait(self, wanted: Callable[[], Any]) -> None:
        """Wait until a condition is true; elements that the page replaces meanwhile are looked up again."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, PATIENCE, 0.05, [WebDriverException]).until(lambda _: wanted())

    def add(self, label: str) -> None:
        """Type a label and add it."""
        self.one("#add-name").send_keys(label, self.keys.ENTER)
        self.wait(lambda: self.row(label))

    def row(self, label: str) -> Any:
        """Return the row of a label."""
        return self.one(f'.row[data-label="{label}"]')

    def count(self, label: str) -> int:
        """Return the number of samples of a label."""
        text = self.row(label).find_element("css selector", ".count").get_attribute("textContent")
        return 0 if text == "not taught yet" else int(text.split()[0])

    def hold(self, label: str, samples: int) -> None:
        """Hold the button of a label until the given number of further samples is taught."""
        before = self.count(label)
        button = self.row(label).find_element("css selector", ".hold")
        self.actions().click_and_hold(button).perform()
        self.wait(lambda: self.count(label) >= before + samples)
        self.actions().release(button).perform()
        self.wait(lambda: not self.one("#recording").is_displayed())

    def sees(self, label: str) -> None:
        """Wait until this is the prediction, or the nearest label when it is unknown."""
        self.wait(
            lambda: self.text("#prediction-label") == label or f"“{label}”" in self.text("#prediction-note")
        )

    def complaints(self) -> list[str]:
        """Return the errors in the console of the browser, which include violations of the policy."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

"""axe-core finds nothing wrong with the page, in each of its states: https://github.com/dequelabs/axe-core."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from .browser import Browser
from .conftest import Scene, Serve, teach_many

pytestmark = pytest.mark.browser
_WITHOUT = "no axe-core: pip install --no-deps --group axe"


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None and os.environ.get("EDGETL_BROWSER") == "required":
        pytest.fail(_WITHOUT)
    if found is None:
        pytest.skip(_WITHOUT)
    assert found.origin is not None
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def findings(browser: Browser, axe: str) -> list[str]:
    """Return what axe-core finds in the page as it is now, of any impact, with the elements."""
    browser.run(axe)
    found = browser.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, { resultTypes: ['violations'] }).then((result) => done(result.violations.map((one) =>"
        " `${one.impact} ${one.id}: ${one.help}: ${one.nodes.map((node) => node.target).join(' ')}`)),"
        " (error) => done([String(error)]))"
    )
    return list(found)


def press(browser: Browser, selector: str) -> None:
    """Click an element wherever it is."""
    browser.run("document.querySelector(arguments[0]).click()", selector)


def test_axe_finds_nothing_on_a_new_page(browser: Browser, serve: Serve, scene: Scene, axe: str) -> None:
    """Nothing taught; then a label; and the camera of the browser, which is denied."""
    server, _ = serve()
    browser.visit(server.url)
    browser.wait(lambda: "fps" in browser.text("#camera-text"))
    assert findings(browser, axe) == []
    press(browser, "#from-phone")
    browser.wait(lambda: browser.text("#phone-problem"))
    browser.add("mug")
    assert findings(browser, axe) == []


def test_axe_finds_nothing_on_a_page_that_was_taught(
    browser: Browser, serve: Serve, scene: Scene, axe: str
) -> None:
    """With accuracy, uncertain frames and samples; while samples are selected; in a dialog; light and dark."""
    server, _ = serve()
    teach_many(server.page.learner, ("mug", "plant"))
    scene.show("yellow")
    browser.visit(server.url)
    browser.wait(lambda: browser.text("#accuracy") and browser.text("#grid li") and browser.text(".card"))
    for scheme in ("dark", "light"):
        browser.prefer(color_scheme=scheme)
        assert findings(browser, axe) == []
    press(browser, "#select")
    press(browser, "#grid li button")
    assert findings(browser, axe) == []
    press(browser, "#select")
    press(browser, "#grid li button")
    browser.wait(lambda: browser.one("#dialog-title").is_displayed())
    assert findings(browser, axe) == []


def test_axe_finds_nothing_on_a_phone_with_many_labels(
    browser: Browser, serve: Serve, scene: Scene, axe: str
) -> None:
    """At a width of 360 pixels, in the dark."""
    server, _ = serve()
    teach_many(server.page.learner, tuple(f"thing {number}" for number in range(12)), 2)
    browser.narrow(360, 740)
    browser.prefer(color_scheme="dark")
    browser.visit(server.url)
    browser.wait(lambda: browser.text("#accuracy") and browser.one("#search").is_displayed())
    assert findings(browser, axe) == []
    assert browser.run("return document.documentElement.scrollWidth") <= 360


def test_axe_finds_nothing_before_signing_in(browser: Browser, serve: Serve, axe: str) -> None:
    """The page explains how."""
    server, _ = serve(camera=False, sign_in=True)
    browser.driver.get(server.url)
    browser.wait(lambda: browser.one("#gate").is_displayed())
    assert findings(browser, axe) == []

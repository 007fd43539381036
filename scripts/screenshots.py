"""Take the screenshots of the page in docs/images: ``python -m scripts.screenshots MODEL``.

The server and the model are real, the browser is a headless Chromium; only the camera's frames are drawn
(`scripts.still_life`).
"""

from __future__ import annotations

import argparse
import base64
import re
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from device.learner import Learner
from device.page.server import PageServer
from scripts.png import shrink
from scripts.still_life import THINGS, Table, draw, teach
from tests.device.page.browser import Browser, start_chromium, why_not

_IMAGES = Path(__file__).parents[1] / "docs" / "images"
_TAUGHT = {"mug": 26, "lemon": 24, "leaf": 23, "nothing": 12}
_MUDDLED = {  # two labels for one thing, and one label for two
    "mug": {"mug": 24},
    "cup": {"mug": 24},
    "fruit": {"lemon": 30, "brick": 30},
    "leaf": {"leaf": 24},
    "nut": {"nut": 24},
}
_DESK = (1280, 1092, 1.5)  # width, height, device pixels per CSS pixel
_PHONE = (390, 844, 2)


def main() -> None:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(prog="python -m scripts.screenshots", description=__doc__)
    parser.add_argument("model", type=Path, help="Model file from `edgetl convert efficientnet-lite0`.")
    arguments = parser.parse_args()
    if why_not():
        parser.error(why_not())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = Path(shutil.copy(arguments.model, folder / "kitchen.tflite"))
        learner = stack.enter_context(Learner.open(model, None))
        teach(learner, {label: {label: count} for label, count in _TAUGHT.items()})
        table = Table()
        server = stack.enter_context(PageServer(learner, lambda: table, port=0))
        driver = start_chromium(folder / "profile", "--hide-scrollbars")
        stack.callback(driver.quit)
        _take(Browser(driver), server, table)
        muddled = stack.enter_context(Learner.open(model, None))
        teach(muddled, _MUDDLED)
        _take_report(Browser(driver), stack.enter_context(PageServer(muddled, lambda: table, port=0)), table)


def _take(browser: Browser, server: PageServer, table: Table) -> None:
    browser.resize(*_DESK)
    browser.visit(server.url)
    _ask_about(browser, table)
    for scheme, name in (("light", "serve"), ("dark", "serve-dark")):
        browser.prefer(color_scheme=scheme, reduced_motion="reduce")  # bars do not move
        _show(browser, table, "mug")
        _save(browser, name)
    browser.prefer(color_scheme="light", reduced_motion="reduce")
    _save(browser, "serve-not", ".watch")
    browser.resize(*_PHONE, phone=True)
    _show(browser, table, "lemon")
    _save(browser, "serve-phone")
    browser.resize(*_DESK[:2])
    _select(browser, server)
    _save(browser, "corrections")


def _take_report(browser: Browser, server: PageServer, table: Table) -> None:
    """Save the section about the accuracy, with its forecast and comparisons, and a frame that has two labels."""
    browser.prefer(color_scheme="light", reduced_motion="reduce")
    browser.resize(1280, 2400)  # pictures load where they are visible
    browser.visit(server.url)
    browser.wait(lambda: browser.text("#forecast") and browser.run(_LOADED))
    _save(browser, "serve-report", "#report")
    table.thing = "mug"  # or cup
    browser.wait(lambda: browser.run(_HAS_DENIAL) and browser.run(_LOADED))
    _save(browser, "serve-doubts", "#doubts")


def _show(browser: Browser, table: Table, thing: str) -> None:
    """Put a thing on the table and wait until the page is sure of it and all pictures have loaded."""
    table.thing = thing
    sure = re.compile(r"(9\d|100) %")
    browser.wait(
        lambda: (
            browser.text("#prediction-label") == thing
            and sure.fullmatch(browser.text("#prediction-note"))
            and browser.text("#accuracy")
            and browser.run(_LOADED)
        )
    )


def _ask_about(browser: Browser, table: Table) -> None:
    """Show each thing that was not taught until it is in the queue."""
    cards = "return document.querySelectorAll('.card').length"
    for number, thing in enumerate((thing for thing in THINGS if thing not in _TAUGHT), 1):
        table.thing = thing
        browser.wait(lambda number=number: browser.run(cards) >= number)


def _select(browser: Browser, server: PageServer) -> None:
    """Teach a mug as a lemon, wait until it is suspected, and select it with three others."""
    server.page.learner.learn_many([draw("mug", 77)], ["lemon"])
    browser.wait(lambda: browser.run("return document.querySelectorAll('#grid .suspect').length"))
    browser.one("#select").click()
    for place in (1, 14, 15, 17):
        browser.run(f"document.querySelector('#grid li:nth-child({place}) button').click()")
    browser.run("document.querySelector('#doubts').scrollIntoView({ block: 'start' })")
    browser.wait(lambda: browser.run(_LOADED))


_BOX = (
    "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
    "return { x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height }"
)
_HAS_DENIAL = (
    "return [...document.querySelectorAll('.card .chip')].some((chip) => chip.textContent.startsWith('Not '))"
)
_LOADED = (
    "return [...document.images].every((image) => image.id === 'picture' || !image.src || image.complete"
    " || image.getBoundingClientRect().top > innerHeight)"
)


def _save(browser: Browser, name: str, selector: str = "") -> None:
    """Write what the window shows, or one element of the page, as PNG."""
    options: dict[str, Any] = {"format": "png", "optimizeForSpeed": False}
    if selector:
        box = browser.run(_BOX, selector)
        options["clip"] = {**box, "scale": 1}
    taken = browser.driver.execute_cdp_cmd("Page.captureScreenshot", options)
    path = _IMAGES / f"{name}.png"
    path.write_bytes(shrink(base64.b64decode(taken["data"]), dither=True))
    print(f"{path}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()

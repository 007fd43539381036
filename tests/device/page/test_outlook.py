"""The forecast and the comparisons on the page: labels that are mixed up, and labels that hold two things."""

from __future__ import annotations

import re

import numpy as np
import pytest

from device.cameras.fake import draw
from device.learner import Learner

from .browser import Browser
from .conftest import Scene, Serve

COUNT = 48


def teach_muddle(learner: Learner) -> None:
    """Teach two labels that show the same, one that shows two things, and one that is easy."""
    random = np.random.default_rng(0)
    width = learner.model.manifest.dimensions
    plan = {"cup": ("red", 1, 1), "mug": ("red", 1, 1), "toy": ("green", 2, 3), "book": ("blue", 4, 4)}
    for label, (scene, *axes) in plan.items():
        values = random.normal(size=(COUNT, width))
        values[np.arange(COUNT), np.array(axes)[np.arange(COUNT) % 2]] += 9
        images = [
            draw(f"{scene}{number % 2}" if label == "toy" else scene, number) for number in range(COUNT)
        ]
        learner.learn_many(images, [label] * COUNT, embeddings=values.astype(np.float32))


def test_the_report_has_a_forecast_if_asked_for(serve: Serve, scene: Scene) -> None:
    """It is null before, and stays until something changes; another value is refused."""
    server, asking = serve()
    teach_muddle(server.page.learner)
    assert asking.ask("/api/report")["forecast"] is None
    forecast = asking.ask("/api/report?forecast=true")["forecast"]
    assert set(forecast["labels"]) == {"book", "cup", "mug", "toy"}
    assert forecast["next"] in ("cup", "mug")
    assert asking.ask("/api/report")["forecast"] == forecast
    assert asking.ask("/api/v1/status?forecast=true")["forecast"] == forecast
    refused = asking.get("/api/v1/status?forecast=yes")
    assert (refused.status, "true or false" in refused.json["error"]) == (400, True)
    asking.do("/api/samples/forget", id=1)
    assert asking.ask("/api/report")["forecast"] is None


@pytest.mark.browser
def test_forecast_and_comparisons_are_shown_beside_the_accuracy(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """The forecast appears after a pause; pictures of both labels and of both things are side by side."""
    server, _ = serve()
    teach_muddle(server.page.learner)
    browser.visit(server.url)
    browser.wait(lambda: browser.text("#accuracy") and len(_comparisons(browser)) == 2)
    mixed, split = _comparisons(browser)
    assert "Mixed up most: cup and mug" in mixed["text"]
    assert mixed["titles"] == ["cup", "mug"]
    assert "toy seems to hold two things" in split["text"]
    browser.wait(lambda: all(one["loaded"] == [4, 4] for one in _comparisons(browser)))
    browser.wait(lambda: browser.text("#forecast"))
    text = browser.text("#forecast")
    assert "With twice as many photos of each label" in text
    assert "book, toy are done" in text
    assert f"About {COUNT} more photos of" in text
    forecast = server.page.learner.status(forecast=True).forecast
    shown = browser.run("return [...document.querySelectorAll('#forecast li')].map((e) => e.textContent)")
    words = [re.sub(r"[0-9]+ ?%", "%", f"{sentence}.") for sentence in forecast.describe()]
    assert [
        re.sub(r"[0-9]+ ?%", "%", sentence) for sentence in shown
    ] == words  # halves are rounded differently
    assert browser.complaints() == []
    browser.narrow()
    browser.wait(lambda: browser.run("return innerWidth") == 390)
    assert browser.run("return document.documentElement.scrollWidth") <= 390


def _comparisons(browser: Browser) -> list[dict[str, object]]:
    found: list[dict[str, object]] = browser.run(
        "return [...document.querySelectorAll('.comparison')].map((one) => {"
        " one.scrollIntoView();"
        " return {text: one.querySelector('figcaption').textContent,"
        " titles: [...one.querySelectorAll('b')].map((e) => e.textContent),"
        " loaded: [...one.querySelectorAll('.pictures')].map((side) =>"
        " [...side.querySelectorAll('img')].filter((e) => e.complete && e.naturalWidth).length)}; })"
    )
    return found

"""The page with many labels in a real browser: search, digit keys, order, and what stays in view."""

from __future__ import annotations

import pytest

from .browser import Browser
from .conftest import Client, Scene, Serve, teach_many

pytestmark = pytest.mark.browser

UNTAUGHT = tuple(f"thing {number:02d}" for number in range(40))
TAUGHT = ("blue", "red", "zebra crossing Zoë")
SHOWN = "return [...document.querySelectorAll('.row:not([hidden])')].map((e) => e.dataset.label)"
WITH_KEY = (
    "return Object.fromEntries([...document.querySelectorAll('.row')].map((e) => [e.querySelector('kbd').textContent,"
    " e.dataset.label]).filter(([key]) => key))"
)
IN_LIST = (
    "const row = document.querySelector('.row.best')?.getBoundingClientRect();"
    "const list = document.querySelector('#rows').getBoundingClientRect();"
    "return Boolean(row) && row.top >= list.top - 1 && row.bottom <= list.bottom + 1 && row.height > 0"
)


def open_many(browser: Browser, serve: Serve) -> Client:
    """Open the page with 43 labels, of which three are taught, the last one most."""
    server, client = serve()
    teach_many(server.page.learner, TAUGHT)
    teach_many(server.page.learner, TAUGHT[-1:], 6)
    for label in UNTAUGHT:
        client.do("/api/labels/add", label=label)
    browser.visit(server.url)
    browser.run("localStorage.clear()")
    browser.visit(server.url)
    browser.wait(lambda: len(shown(browser)) == 43)
    return client


def shown(browser: Browser) -> list[str]:
    """Return the labels that the page shows, in its order."""
    return list(browser.run(SHOWN))


def count_moves(browser: Browser) -> None:
    """Count the rows that are moved from now on, in ``window.moves``."""
    browser.run(
        "window.moves = 0; new MutationObserver((list) => { window.moves += list.length; })"
        ".observe(document.querySelector('#rows'), { childList: true })"
    )


def search(browser: Browser, words: str) -> None:
    """Replace the text in the search field."""
    browser.run(
        "const f = document.querySelector('#search'); f.value = arguments[0]; f.dispatchEvent(new Event('input'))",
        words,
    )


def test_few_labels_have_no_search_and_stay_in_their_order(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """The eighth label brings the search and the order."""
    server, client = serve()
    for label in "gfabcde":
        client.do("/api/labels/add", label=label)
    browser.visit(server.url)
    browser.wait(lambda: shown(browser) == list(client.counts()) and len(shown(browser)) == 7)
    assert not browser.one("#find").is_displayed()
    browser.add("h")
    browser.wait(lambda: browser.one("#find").is_displayed())


def test_a_search_shows_matching_labels_and_their_digit_keys(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """Case, accents and the order of the words do not matter; keys teach what is shown."""
    client = open_many(browser, serve)
    browser.one("body").send_keys("/")
    browser.one("#search").send_keys("1 THING")
    browser.wait(lambda: len(shown(browser)) == 13)
    assert browser.text("#matches") == "13 of 43 labels"
    assert browser.run(WITH_KEY)["2"] == "thing 10"
    browser.one("#search").send_keys(browser.keys.ENTER)
    assert browser.run("return document.activeElement.closest('.row').dataset.label") == "thing 01"
    browser.one("body").send_keys("2")
    browser.wait(lambda: client.counts()["thing 10"] >= 1)
    browser.wait(lambda: not browser.one("#recording").is_displayed())
    assert client.counts()["thing 01"] == 0

    search(browser, "zoe cross")
    assert shown(browser) == ["zebra crossing Zoë"]
    assert browser.run(WITH_KEY) == {"1": "zebra crossing Zoë"}
    search(browser, "<b>")
    assert shown(browser) == []
    assert "No label matches" in browser.text("#matches")
    browser.one("#search").send_keys(browser.keys.ESCAPE)
    assert len(shown(browser)) == 43
    assert not browser.one("#matches").is_displayed()
    assert browser.complaints() == []


def test_the_most_likely_label_comes_first_and_then_the_most_used(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """Another scene brings its label up; the alphabet is a choice that the browser keeps."""
    open_many(browser, serve)
    browser.wait(lambda: shown(browser)[:3] == ["red", "zebra crossing Zoë", "blue"])
    assert shown(browser)[3:] == list(UNTAUGHT)
    assert browser.run(WITH_KEY)["1"] == "red"
    scene.show("blue")
    browser.wait(lambda: shown(browser)[:3] == ["blue", "zebra crossing Zoë", "red"])
    browser.run(
        "const o = document.querySelector('#order'); o.value = 'name'; o.dispatchEvent(new Event('change'))"
    )
    alphabetical = sorted((*TAUGHT, *UNTAUGHT))
    assert shown(browser) == alphabetical
    browser.driver.refresh()
    browser.wait(lambda: shown(browser) == alphabetical)
    assert browser.run("return document.querySelector('#order').value") == "name"


def test_no_row_moves_while_a_button_is_held(browser: Browser, serve: Serve, scene: Scene) -> None:
    """The lesson brings its label up, but only after it."""
    client = open_many(browser, serve)
    browser.wait(lambda: shown(browser)[0] == "red")
    count_moves(browser)
    button = browser.row("thing 01").find_element("css selector", ".hold")
    browser.actions().click_and_hold(button).perform()
    # at most five samples per second: 20 take longer than an order needs to settle
    browser.wait(lambda: client.counts()["thing 01"] >= 20)
    assert browser.run("return window.moves") == 0
    assert shown(browser)[:2] == ["red", "zebra crossing Zoë"]
    browser.actions().release(button).move_to_element(browser.one("h1")).perform()
    browser.wait(lambda: "thing 01" in shown(browser)[:2])


def test_no_row_moves_while_a_finger_is_down(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Another scene is in view meanwhile; the order follows when the finger lifts."""
    open_many(browser, serve)
    browser.wait(lambda: shown(browser)[0] == "red")
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    count_moves(browser)
    finger = {"type": "touchStart", "touchPoints": [{"x": 10, "y": 10}]}
    browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", finger)
    scene.show("blue")
    browser.sees("blue")
    browser.run("window.since = performance.now()")
    browser.wait(lambda: browser.run("return performance.now() - window.since > 3500"))
    assert browser.run("return window.moves") == 0
    browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    browser.wait(lambda: shown(browser)[0] == "blue")


@pytest.mark.parametrize("width", [360, 390])
def test_the_label_in_view_and_the_new_label_stay_visible_on_a_phone(
    browser: Browser, serve: Serve, scene: Scene, width: int
) -> None:
    """Wherever the list is scrolled, in both orders; nothing exceeds the width, and the page stays short."""
    browser.narrow(width, 780)
    open_many(browser, serve)
    browser.sees("red")
    for order in ("likely", "name"):
        browser.run(
            "const o = document.querySelector('#order'); o.value = arguments[0]; o.dispatchEvent(new Event('change'))",
            order,
        )
        for share in (0, 0.5, 1):
            browser.run(
                "const r = document.querySelector('#rows'); r.scrollTop = arguments[0] * r.scrollHeight",
                share,
            )
            browser.wait(lambda: browser.run(IN_LIST))
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return document.querySelector('#labels').offsetHeight") < 600
    for end in ("start", "end"):
        browser.run("document.querySelector('#labels').scrollIntoView({ block: arguments[0] })", end)
        place = browser.run("return document.querySelector('#add').getBoundingClientRect()")
        assert place["top"] >= 0
        assert place["bottom"] <= 780


def test_a_new_label_is_scrolled_into_view(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Also when a search hides it."""
    open_many(browser, serve)
    search(browser, "red")
    browser.add("thing 99")
    in_view = (
        "const row = document.querySelector('[data-label=\"thing 99\"]').getBoundingClientRect();"
        "const list = document.querySelector('#rows').getBoundingClientRect();"
        "return row.height > 0 && row.top >= list.top && row.bottom <= list.bottom"
    )
    browser.wait(lambda: browser.run(in_view))
    assert len(shown(browser)) == 44


def test_samples_are_shown_in_pages_back_to_the_first_one(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """The number of pictures in the document does not grow, a new sample does not move a page, and an empty page is left."""
    server, client = serve(camera=False)
    teach_many(server.page.learner, ("mug", "plant"), 65)
    browser.visit(server.url)
    ids = "return [...document.querySelectorAll('#grid li')].map((item) => Number(item.dataset.key.split('/')[0]))"
    browser.wait(lambda: browser.run(ids) == list(range(130, 10, -1)))
    assert browser.text("#place") == "1 to 120 of 130"
    assert not browser.one("#newer").is_enabled()
    browser.run("document.querySelector('#older').click()")
    browser.wait(lambda: browser.run(ids) == list(range(10, 0, -1)))
    assert browser.text("#place") == "121 to 130 of 130"
    assert not browser.one("#older").is_enabled()

    teach_many(server.page.learner, ("mug",), 1)
    server.page.lessons.release()
    browser.wait(lambda: browser.text("#place") == "121 to 130 of 131")
    assert browser.run(ids) == list(range(10, 0, -1))
    client.do("/api/v1/samples/correct", select={"ids": list(range(1, 11))}, action="forget")
    browser.wait(lambda: browser.run(ids) == list(range(131, 11, -1)))
    assert not browser.one("#newer").is_enabled()
    assert browser.complaints() == []


def test_the_confusion_matrix_is_drawn_when_it_is_opened(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """With many labels it has thousands of cells, which cost nothing while it is folded."""
    server, _ = serve(camera=False)
    teach_many(server.page.learner, tuple("abcdefgh"))
    browser.visit(server.url)
    browser.wait(lambda: browser.one("#confusions-title").is_displayed())
    assert browser.run("return document.querySelectorAll('#confusion td').length") == 0
    browser.one("#confusions-title").click()
    browser.wait(lambda: browser.run("return document.querySelectorAll('#confusion td').length") == 64)

"""The appearance and accessibility of the page in a real browser: sizes, contrast, movement, names."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.cameras.fake import draw

from .browser import Browser
from .conftest import MODEL, Scene, Serve, teach_many

pytestmark = pytest.mark.browser

ODD = (
    "a mug", "🌵 cactus", "植物 Zoë", "<b>bold</b> & 'quotes'", "constructor", "__proto__",
    "a label with a name that is much too long for anything, really, and goes on to a hundred characters!",
)  # fmt: skip


def test_every_control_is_large_enough_for_a_thumb(browser: Browser, serve: Serve, scene: Scene) -> None:
    """On a phone every control is at least 44 px high and wide, and nothing exceeds the width."""
    server, client = serve()
    client.teach("mug", 2)
    client.do("/api/labels/add", label="a label with a name that is much too long for a phone")
    browser.narrow()
    browser.visit(server.url)
    browser.wait(lambda: browser.one("#grid li").is_displayed())
    browser.one("#select").click()
    small = browser.run(
        "return [...document.querySelectorAll('button, input, select, summary, a.button')]"
        ".filter((e) => e.checkVisibility()).map((e) => [e.outerHTML, e.getBoundingClientRect()])"
        ".filter(([, box]) => box.height < 44 || box.width < 44).map(([html]) => html)"
    )
    assert small == []
    assert browser.run("return document.documentElement.scrollWidth") <= 390


def test_labels_of_any_kind_fit_and_teach(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Spaces, emoji, markup, names of JavaScript properties and a hundred characters are only text."""
    server, client = serve()
    client.teach("mug", 1)
    browser.narrow()
    browser.visit(server.url)
    for label in ODD:
        client.do("/api/labels/add", label=label)  # chromedriver cannot type emoji
    browser.wait(lambda: len(browser.run("return [...document.querySelectorAll('.row')]")) == 1 + len(ODD))
    names = browser.run("return [...document.querySelectorAll('.row .name')].map((e) => e.textContent)")
    assert sorted(names) == sorted(("mug", *ODD))
    assert browser.run("return document.querySelectorAll('.row b').length") == 0
    client.look()
    filled = (
        "return [...document.querySelectorAll('.row')]"
        ".filter((e) => e.querySelector('.share').textContent).map((e) => e.dataset.label)"
    )
    assert browser.run(filled) == ["mug"]
    for label in ODD:
        client.teach(label, 1)
    browser.wait(lambda: sorted(browser.run(filled)) == sorted(("mug", *ODD)))
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    assert browser.complaints() == []


def test_nothing_moves_while_predictions_change(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Known, another, unknown: controls keep their places, on a desktop and on a phone."""
    server, client = serve()
    client.teach("a mug with a long name", 4)
    scene.show("blue")
    client.look()
    client.teach("plant", 4)
    for narrow in (False, True):
        if narrow:
            browser.narrow()
        browser.visit(server.url)
        browser.wait(lambda: browser.text("#accuracy") and "fps" in browser.text("#camera-text"))
        scene.show("yellow")
        browser.wait(lambda: browser.one(".card .chip").is_displayed())
        scene.show("blue")
        browser.sees("plant")
        browser.run(
            "window.shifts = []; new PerformanceObserver((list) => { for (const entry of list.getEntries())"
            " window.shifts.push(...entry.sources.map((source) => source.node?.id || source.node?.className || '?')); })"
            ".observe({ type: 'layout-shift' })"
        )
        for name, label in (("red", "a mug with a long name"), ("blue", "plant")):
            scene.show(name)
            browser.sees(label)
        for unknown in ("yellow", "white"):
            scene.show(unknown)
            browser.wait(lambda: browser.text("#prediction-label") == "Unknown")
        moved = set(browser.run("return window.shifts"))
        assert moved <= {"prediction-label", "prediction-note"}  # the answer's own words, within their line


def test_the_focus_stays_while_others_teach(browser: Browser, serve: Serve, scene: Scene) -> None:
    """New samples and frames do not reset the keyboard focus."""
    server, _ = serve()
    teach_many(server.page.learner, ("mug", "plant"))
    scene.show("yellow")
    browser.visit(server.url)
    browser.wait(lambda: browser.one(".card .chip").is_displayed())
    scene.show("red")  # taught: no further frame joins or replaces the card
    browser.sees("mug")
    for selector in (".card .chip", "#grid button"):
        browser.wait(lambda selector=selector: browser.one(selector).is_displayed())
        browser.run("window.kept = document.querySelector(arguments[0]); window.kept.focus()", selector)
        shown = len(browser.driver.find_elements("css selector", "#grid li"))
        teach_many(server.page.learner, ("mug",), 1)
        browser.wait(
            lambda shown=shown: len(browser.driver.find_elements("css selector", "#grid li")) > shown
        )
        assert browser.run("return document.activeElement === window.kept"), selector


def test_text_has_enough_contrast_in_light_and_dark(browser: Browser, serve: Serve, scene: Scene) -> None:
    """WCAG AA: 4.5 to 1, or 3 to 1 for large text, for all visible text."""
    server, client = serve()
    teach_many(server.page.learner, tuple("abcdefgh"), 3)
    client.do("/api/labels/add", label="not taught")
    for scheme in ("light", "dark"):
        browser.prefer(color_scheme=scheme)
        browser.visit(server.url)
        browser.wait(lambda: browser.text("#accuracy") and browser.text("#grid li"))
        browser.one("#confusions-title").click()
        pale, checked = browser.run(Path(__file__).with_name("contrast.js").read_text())
        assert pale == []
        assert checked > 50


def test_every_control_has_an_accessible_name(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Buttons, fields, list boxes, links and pictures, in the dialog too."""
    server, _ = serve()
    teach_many(server.page.learner, ("mug", "plant"))
    browser.visit(server.url)
    browser.wait(lambda: browser.text("#accuracy") and browser.text("#grid li"))
    roles = {"button", "textbox", "combobox", "link", "image", "table"}
    for opened in (False, True):
        if opened:
            browser.one("#grid button").click()
            browser.wait(lambda: browser.one("#dialog-title").is_displayed())
        nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        used = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
        assert len(used) >= (3 if opened else 12)
        assert [node["role"]["value"] for node in used if not node["name"]["value"].strip()] == []


def test_a_click_without_a_pointer_teaches_one_sample(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Screen readers and voice control press buttons this way and cannot hold them."""
    server, client = serve()
    client.do("/api/labels/add", label="mug")
    client.look()
    browser.visit(server.url)
    browser.wait(lambda: browser.row("mug"))
    browser.run("document.querySelector('.hold').click()")
    browser.wait(lambda: "Taught 1 sample of mug" in browser.text("#toasts"))
    assert client.counts() == {"mug": 1}


def test_a_stable_prediction_is_announced(browser: Browser, serve: Serve, scene: Scene) -> None:
    """A status for screen readers, not one per frame."""
    server, _ = serve()
    teach_many(server.page.learner, ("red", "blue"))
    browser.visit(server.url)
    browser.wait(lambda: browser.text("#spoken") == "In view: red.")
    scene.show("blue")
    browser.wait(lambda: browser.text("#spoken") == "In view: blue.")


def test_reduced_motion_stops_all_animations(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Neither the recording light nor the bars move."""
    server, client = serve()
    client.teach("mug", 1)
    moving = (
        "return [...document.querySelectorAll('*')].map((e) => getComputedStyle(e))"
        ".filter((s) => s.animationName !== 'none' || s.transitionDuration !== '0s').length"
    )
    browser.visit(server.url)
    assert browser.run(moving) > 0
    browser.prefer(reduced_motion="reduce")
    assert browser.run(moving) == 0


def test_with_many_labels_the_worst_confusions_come_first(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """A table of thirty columns is folded, and a list shows the worst confusions."""
    server, _ = serve()
    learner = server.page.learner
    teach_many(learner, tuple("abcdefg"))
    learner.learn_many([draw("a", number) for number in range(20, 24)], ["twin of a"] * 4)
    browser.visit(server.url)
    browser.wait(lambda: browser.one("#confused").is_displayed())
    worst = learner.status().report.confused[0]
    assert browser.text("#confused li") == f"{worst[0]} predicted as {worst[1]}{worst[2]} of 4"
    assert not browser.one("#confusion").is_displayed()
    browser.one("#confusions-title").click()
    browser.wait(lambda: browser.one("#confusion").is_displayed())
    assert browser.run("return document.querySelectorAll('#confusion tbody tr').length") == 8


def test_control_characters_are_shown_as_escapes(
    browser: Browser, serve: Serve, scene: Scene, tmp_path: Path
) -> None:
    """In rows, predictions, samples, dialogs, messages and spoken names; the label itself is unchanged."""
    model = tmp_path / "mugs\u202egnp.tflite"
    model.write_bytes(MODEL.read_bytes())
    server, client = serve(model=model)
    label, shown = "mug\u200b x\u2060", "mug\\u200b x\\u2060"
    client.teach(label, 2)
    client.teach("plant", 1)
    browser.visit(server.url)
    browser.wait(lambda: browser.text("#model") == "mugs\\u202egnp.tflite")
    browser.wait(lambda: browser.run("return document.querySelectorAll('#grid li').length") == 3)
    names = browser.run(
        "return [...document.querySelectorAll('.row .name')].map((e) => [e.textContent, e.title])"
    )
    assert names[0] == [shown, shown]
    browser.sees(shown)
    browser.run("document.querySelector('.row .dots').click()")
    browser.wait(lambda: browser.text("#dialog-title") == shown)
    browser.run("document.querySelector('#dialog-cancel').click()")
    browser.run("document.querySelector('#undo').click()")
    browser.wait(lambda: "plant" in browser.text("#toasts"))
    browser.run("document.querySelector('#undo').click()")
    browser.wait(lambda: shown in browser.text("#toasts"))
    assert browser.run(HIDDEN_TEXT) == []
    client.teach(label, 1)
    assert client.counts()[label] == 1
    assert browser.complaints() == []


def test_a_camera_message_cannot_reorder_the_page(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    """The banner shows it with control characters as escapes."""
    server, _ = serve(source=str(tmp_path / "no\u202e\u2067<b>camera"))
    browser.visit(server.url)
    browser.wait(lambda: "\\u202e\\u2067<b>camera" in browser.text("#banner").replace("\\\\", "\\"))
    assert browser.run(HIDDEN_TEXT) == []
    assert browser.run("return document.querySelectorAll('#banner b').length") == 0


HIDDEN_TEXT = (
    "const seen = [document.body.textContent];"
    "for (const e of document.querySelectorAll('*'))"
    " seen.push(e.title ?? '', e.alt ?? '', e.getAttribute('aria-label') ?? '');"
    "return seen.filter((text) => /[\\u200b\\u202a-\\u202e\\u2060\\u2066-\\u2069]/.test(text))"
)

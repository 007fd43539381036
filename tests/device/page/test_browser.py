"""The page in a real browser, used by clicking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from device.cameras.fake import draw
from device.images import encode_jpeg
from device.learner import Learner
from device.page.page import Page

from .browser import Browser
from .conftest import Client, Scene, Serve, teach_many

if TYPE_CHECKING:
    from device.page.server import PageServer

pytestmark = pytest.mark.browser


def teach_two(browser: Browser, scene: Scene) -> None:
    """Teach a red mug and a blue plant."""
    browser.add("mug")
    browser.add("plant")
    browser.hold("mug", 4)
    scene.show("blue")
    browser.wait(lambda: browser.text("#camera-text"))
    browser.hold("plant", 5)


def test_teach_two_labels_undo_reload_and_restart(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Everything taught by holding buttons is there after a restart."""
    server, client = serve()
    browser.visit(server.url)
    assert browser.one("#first").is_displayed()
    assert browser.text("#prediction-label") in ("", "Nothing taught yet")
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
    browser.wait(lambda: "does not respond" in browser.text("#banner"))
    again, _ = serve()
    browser.visit(again.url)
    browser.wait(lambda: browser.count("mug") == counts["mug"] and browser.count("plant") == counts["plant"])
    browser.sees("mug")
    scene.show("blue")
    browser.sees("plant")


def test_not_that_and_background_are_taught_with_buttons(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """The button names the label that is shown; the next frames are corrected, and undo brings them back."""
    server, client = serve()
    client.teach("mug", 5)
    scene.show("blue")
    client.look()
    client.teach("plant", 5)
    browser.visit(server.url)
    browser.sees("plant")
    browser.wait(lambda: browser.text("#not") == "Not plant")
    browser.actions().click_and_hold(browser.one("#not")).perform()
    browser.wait(lambda: client.ask("/api/state")["negatives"].get("plant", 0) >= 2)
    browser.actions().release().perform()
    browser.wait(lambda: "not plant" in browser.text("#toasts"))  # only for a few seconds
    browser.wait(lambda: browser.text("#prediction-label") != "plant")
    browser.wait(lambda: "not plant" in browser.text("#filter"))
    assert client.counts() == {"mug": 5, "plant": 5}
    browser.one("#undo").click()
    browser.wait(lambda: client.ask("/api/state")["negatives"] == {})
    browser.wait(lambda: browser.text("#prediction-label") == "plant")

    browser.actions().click_and_hold(browser.one("#nothing")).perform()
    browser.wait(lambda: browser.text("#prediction-label") == "Unknown")
    browser.actions().release().perform()
    browser.wait(lambda: client.ask("/api/state")["background"] > 0)
    browser.wait(lambda: browser.text("#not") == "Not that" and not browser.one("#not").is_enabled())
    browser.wait(lambda: "background" in browser.text("#grid li:first-child"))
    assert browser.complaints() == []


def test_labels_are_renamed_and_deleted_in_a_dialog(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Deleting needs a confirmation and can be undone."""
    server, client = serve()
    client.teach("mug", 2)
    browser.visit(server.url)
    browser.wait(lambda: browser.count("mug") == 2)
    browser.row("mug").find_element("css selector", ".dots").click()
    field = browser.one("#dialog-input")
    field.clear()
    field.send_keys("red & <b>mug</b>", browser.keys.ENTER)
    browser.wait(lambda: client.counts() == {"red & <b>mug</b>": 2})
    browser.wait(lambda: browser.text(".row .name") == "red & <b>mug</b>")
    browser.one(".row .dots").click()
    browser.one("#dialog-second").click()
    browser.wait(lambda: browser.text("#dialog-title").startswith("Delete"))
    browser.one("#dialog-ok").click()
    browser.wait(lambda: client.counts() == {})
    browser.wait(lambda: "Deleted" in browser.text("#toasts"))  # shown after the server has answered
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


def test_an_uncertain_frame_is_labeled_with_one_tap(browser: Browser, serve: Serve, scene: Scene) -> None:
    """The card disappears, and the label has one more sample."""
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


@pytest.mark.parametrize(("together", "taught"), [(True, 4), (False, 1)])
def test_look_alikes_are_labeled_together_unless_their_button_is_released(
    browser: Browser, serve: Serve, scene: Scene, together: bool, taught: int
) -> None:
    """A card of a group has the pictures of its frames; one undo reverts all."""
    server, client = serve(camera=False)
    teach_many(server.page.learner, ("mug", "plant"))
    queue_group(server.page, 4)
    browser.visit(server.url)
    browser.wait(lambda: len(browser.driver.find_elements("css selector", "#cards .card img")) == 4)
    assert browser.text(".together") == "and 3 look-alikes"
    if not together:
        browser.one(".together").click()
    browser.one("#cards .chip").click()
    browser.wait(lambda: sum(client.counts().values()) == 8 + taught)
    browser.wait(lambda: len(browser.driver.find_elements("css selector", "#cards .card img")) <= 4 - taught)
    browser.one("#undo").click()
    browser.wait(lambda: sum(client.counts().values()) == 8)
    assert browser.complaints() == []


def test_uncertain_frames_are_taught_as_background_with_one_tap(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """With the look-alikes; the card disappears."""
    server, client = serve(camera=False)
    teach_many(server.page.learner, ("mug", "plant"))
    queue_group(server.page, 3)
    browser.visit(server.url)
    browser.wait(lambda: len(browser.driver.find_elements("css selector", "#cards .card img")) == 3)
    browser.one("#cards .chip[title='It belongs to no label']").click()
    browser.wait(lambda: "3 frames taught as background." in browser.text("#toasts"))
    browser.wait(lambda: not browser.driver.find_elements("css selector", "#cards .card"))
    assert (server.page.lessons.hidden()["background"], sum(client.counts().values())) == (3, 8)
    assert browser.complaints() == []


def test_an_uncertain_frame_is_taught_as_not_its_label_with_one_click(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """The button names the predicted label; undo reverts it."""
    server, _ = serve(camera=False)
    queue_between(server.page)
    browser.visit(server.url)
    browser.wait(lambda: len(browser.driver.find_elements("css selector", "#cards .card img")) == 1)
    label = browser.text("#cards .guess").partition(",")[0]
    button = browser.one(f"#cards .chip[title='Teach that it is not {label}']")
    assert button.text == f"Not {label}"
    button.click()
    browser.wait(lambda: f"Taught as not {label}." in browser.text("#toasts"))
    assert server.page.lessons.hidden()["negatives"] == {label: 1}
    browser.wait(lambda: f"not {label} (1)" in browser.text("#filter"))
    browser.one("#undo").click()
    browser.wait(lambda: server.page.lessons.hidden()["negatives"] == {})
    assert browser.complaints() == []


def queue_between(page: Page) -> None:
    """Teach mug and plant, and put a frame between the two into the queue."""
    embeddings = np.random.default_rng(0).random((24, 32)).astype(np.float32)
    embeddings[:12, 0] += 1
    embeddings[12:, 1] += 1
    images = [draw("mug", number) for number in range(24)]
    page.learner.learn_many(images, ["mug"] * 12 + ["plant"] * 12, embeddings=embeddings)
    between = embeddings.mean(axis=0)
    guess = page.learner.predict_embedding(between, all_scores=True)
    assert guess.known
    assert page.doubts.offer(between, guess, lambda: encode_jpeg(draw("green", 0)))


def queue_group(page: Page, count: int) -> None:
    """Put frames into the queue that look alike, but are not the same."""
    doubts, width = page.doubts, page.learner.model.manifest.dimensions
    doubts._pause = 0.0
    for number in range(count):
        embedding = np.zeros(width, np.float32)
        embedding[[0, 1, 5 + number]] = 1.0, 1.0, 0.7
        guess = page.learner.predict_embedding(embedding, all_scores=True)
        unsure = replace(guess, known=False)
        assert doubts.offer(embedding, unsure, lambda number=number: encode_jpeg(draw("green", number)))


def show_samples(browser: Browser, serve: Serve, labels: tuple[str, str]) -> tuple[PageServer, Client]:
    """Open a page without a camera on which two labels have four samples each."""
    server, client = serve(camera=False)
    teach_many(server.page.learner, labels)
    browser.visit(server.url)
    browser.wait(lambda: len(browser.driver.find_elements("css selector", "#grid li")) == 8)
    return server, client


def show_end(browser: Browser) -> None:
    """Scroll to the end of the samples."""
    browser.run("document.querySelector('#samples').scrollIntoView({ block: 'end' })")


def select_samples(browser: Browser) -> None:
    """Start to select samples."""
    browser.one("#select").click()
    show_end(browser)


def test_many_samples_are_selected_and_corrected_in_one_step(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """With Shift a range; the toast has the counts, and one undo reverts everything."""
    _, client = show_samples(browser, serve, ("mug", "plant"))
    select_samples(browser)
    browser.one("#grid li:nth-child(2) button").click()
    keys, third = browser.keys, browser.one("#grid li:nth-child(6) button")
    browser.actions().key_down(keys.SHIFT).click(third).key_up(keys.SHIFT).perform()
    browser.one("#grid li:nth-child(5) button").click()
    assert browser.text("#selected") == "4 samples selected"
    browser.one("#select-relabel").click()
    browser.one("#dialog-input").send_keys("cup", keys.ENTER)
    browser.wait(lambda: client.counts() == {"cup": 4, "mug": 3, "plant": 1})
    browser.wait(lambda: "4 samples relabeled as cup. Now cup 4, mug 3, plant 1." in browser.text("#toasts"))
    assert not browser.one("#selection").is_displayed()
    browser.one("#toasts button").click()
    # the new label stays on the page
    browser.wait(lambda: client.counts() == {"cup": 0, "mug": 4, "plant": 4})
    assert browser.complaints() == []


def test_selected_samples_become_background_in_one_step(browser: Browser, serve: Serve, scene: Scene) -> None:
    """The filter shows them, and one undo reverts everything."""
    server, client = show_samples(browser, serve, ("mug", "plant"))
    select_samples(browser)
    browser.one("#grid li:nth-child(1) button").click()
    browser.one("#select-nothing").click()
    browser.wait(lambda: "1 sample relabeled as background. Now background 1, " in browser.text("#toasts"))
    browser.wait(lambda: "background (1)" in browser.text("#filter"))
    assert server.page.lessons.hidden()["background"] == 1
    browser.one("#toasts button").click()
    browser.wait(lambda: server.page.lessons.hidden()["background"] == 0)
    browser.wait(lambda: sum(client.counts().values()) == 8)
    assert browser.complaints() == []


def test_samples_become_negatives_of_their_label_with_one_click(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """One in its dialog, several in the bar; where their labels differ, the bar asks which one they are not."""
    server, client = show_samples(browser, serve, ("mug", "plant"))
    show_end(browser)
    browser.one("#grid li:nth-child(1) button").click()
    choices = browser.driver.find_elements("css selector", "#dialog-choices button")
    assert [choice.text for choice in choices] == ["mug", "Not plant", "Nothing / background"]
    choices[1].click()
    browser.wait(lambda: "Relabeled as not plant." in browser.text("#toasts"))
    assert server.page.lessons.hidden()["negatives"] == {"plant": 1}
    browser.wait(lambda: browser.text("#grid li:nth-child(1)") == "not plant")

    select_samples(browser)
    browser.one("#grid li:nth-child(5) button").click()
    browser.one("#grid li:nth-child(6) button").click()
    assert browser.one("#select-not").text == "Not mug"
    browser.one("#select-not").click()
    browser.wait(lambda: "2 samples relabeled as not mug. Now mug 2, not mug 2." in browser.text("#toasts"))
    browser.one("#toasts button").click()
    browser.wait(lambda: server.page.lessons.hidden()["negatives"] == {"plant": 1})
    browser.wait(lambda: browser.text("#grid li:nth-child(5)") == "mug")

    select_samples(browser)
    browser.one("#grid li:nth-child(2) button").click()
    browser.one("#grid li:nth-child(5) button").click()
    assert browser.one("#select-not").text == "Not…"
    browser.one("#select-not").click()
    browser.wait(lambda: browser.text("#dialog-title") == "What are these 2 samples not?")
    browser.one("#dialog-choices button:nth-child(2)").click()
    browser.wait(lambda: server.page.lessons.hidden()["negatives"] == {"plant": 3})
    assert client.counts() == {"mug": 3, "plant": 2}
    assert browser.complaints() == []


def test_excluded_samples_are_listed_apart_and_included_again(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """Look-alikes are selected by a button; the filter shows what is excluded."""
    _, client = show_samples(browser, serve, ("red", "blue"))
    select_samples(browser)
    browser.one("#grid li:nth-child(1) button").click()
    browser.one("#select-alike").click()
    browser.wait(lambda: browser.text("#selected") == "4 samples selected")
    browser.one("#select-exclude").click()
    browser.wait(lambda: client.counts() == {"blue": 0, "red": 4})
    browser.wait(lambda: "Excluded (4)" in browser.text("#filter"))
    browser.run(
        "const f = document.querySelector('#filter'); f.value = '?excluded'; f.dispatchEvent(new Event('change'))"
    )
    browser.wait(lambda: len(browser.driver.find_elements("css selector", "#grid li")) == 4)
    browser.one("#select").click()
    browser.one("#select-all").click()
    browser.one("#select-exclude").click()
    browser.wait(lambda: client.counts() == {"blue": 4, "red": 4})
    assert browser.complaints() == []


def test_the_keyboard_alone_is_enough(browser: Browser, serve: Serve, scene: Scene) -> None:
    """A digit key or the space bar teaches while it is down; z undoes."""
    server, client = serve()
    client.do("/api/labels/add", label="mug")
    client.look()
    browser.visit(server.url)
    browser.wait(lambda: browser.row("mug"))
    browser.one("body").send_keys("1")
    browser.wait(lambda: client.counts()["mug"] >= 1)
    browser.wait(lambda: not browser.one("#recording").is_displayed())
    taught = client.counts()["mug"]
    browser.row("mug").find_element("css selector", ".hold").send_keys(browser.keys.SPACE)
    browser.wait(lambda: client.counts()["mug"] > taught)
    browser.wait(lambda: not browser.one("#recording").is_displayed())
    browser.one("body").send_keys("z")
    browser.wait(lambda: client.counts()["mug"] == taught)


def test_touching_a_button_teaches_until_the_finger_lifts(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """On a phone: no menu, no scrolling, and it stops when the finger leaves."""
    server, client = serve()
    client.do("/api/labels/add", label="mug")
    client.look()
    browser.narrow()
    browser.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    browser.visit(server.url)
    browser.wait(lambda: browser.row("mug") and browser.text("#prediction-label") == "Nothing taught yet")
    place = browser.run(
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
    """Without it only the sign-in text is shown; with it the key leaves the address bar at once."""
    server, _ = serve(sign_in=True)
    browser.driver.get(server.url)
    browser.wait(lambda: browser.one("#gate").is_displayed())
    assert not browser.one("#main").is_displayed()
    browser.driver.get("about:blank")
    browser.visit(server.link)
    assert browser.driver.current_url == server.url
    browser.driver.refresh()
    browser.wait(lambda: browser.one("#main").is_displayed())
    assert browser.run("return document.cookie") == ""


def test_a_lost_camera_is_shown_in_a_banner(browser: Browser, serve: Serve, scene: Scene) -> None:
    """The banner disappears when the camera is back."""
    server, _ = serve()
    browser.visit(server.url)
    browser.wait(lambda: "fps" in browser.text("#camera-text"))
    hidden = scene.path.with_suffix(".gone")
    scene.path.rename(hidden)
    browser.wait(lambda: browser.one("#banner").is_displayed() and "No picture" in browser.text("#banner"))
    hidden.rename(scene.path)
    browser.wait(lambda: not browser.one("#banner").is_displayed())


def test_two_browsers_show_the_same(browser: Browser, serve: Serve, scene: Scene) -> None:
    """A change in one browser appears in the other."""
    server, client = serve()
    browser.visit(server.url)
    browser.driver.switch_to.new_window("window")
    other = Browser(browser.driver)
    first, second = browser.driver.window_handles
    try:
        other.visit(server.url)
        other.add("mug")
        other.hold("mug", 2)
        taught = client.counts()["mug"]
        browser.driver.switch_to.window(first)
        browser.wait(lambda: browser.count("mug") == taught)
        browser.one("#undo").click()
        browser.wait(lambda: browser.count("mug") == 0)
        browser.driver.switch_to.window(second)
        other.wait(lambda: other.count("mug") == 0)
    finally:
        browser.driver.switch_to.window(second)
        browser.driver.close()
        browser.driver.switch_to.window(first)


def test_the_model_is_downloaded_by_a_click(
    browser: Browser, serve: Serve, scene: Scene, tmp_path: Path
) -> None:
    """The file is a model with everything taught."""
    server, _ = serve()
    teach_many(server.page.learner, ("mug", "plant"))
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    browser.visit(server.url)
    browser.wait(lambda: browser.one("#export").is_displayed())
    browser.one("#export").click()
    file = tmp_path / "tiny-taught.tflite"
    browser.wait(file.exists)
    with Learner.open(file, None, threads=1) as learner:
        assert learner.labels == ("mug", "plant")

"""The page as an app that is installed on a phone: manifest, icons and colors."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from .browser import Browser
from .conftest import Client, Scene, Serve


def test_the_manifest_and_its_icons_are_served_with_their_types(client: Client) -> None:
    """Each icon has the size that the manifest states; nothing comes from another server."""
    answer = client.get("/app.webmanifest")
    assert answer.headers["content-type"] == "application/manifest+json"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.json["display"] == "standalone"
    icons = answer.json["icons"]
    assert {icon.get("purpose", "any") for icon in icons} == {"any", "maskable"}
    for icon in icons:
        assert icon["src"].startswith("/")
        served = client.get(icon["src"])
        assert (served.status, served.headers["content-type"]) == (200, icon["type"])
        if icon["type"] == "image/png":
            assert size_of(served.body) == icon["sizes"]
            assert client.get(icon["src"], If_None_Match=served.headers["etag"]).status == 304
    assert size_of(client.get("/icon-apple-180.png").body) == "180x180"


def size_of(png: bytes) -> str:
    """Return the size of a picture as a manifest states it."""
    height, width = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED).shape[:2]
    return f"{width}x{height}"


def test_an_app_needs_no_sign_in_for_its_manifest_and_icons(serve: Serve) -> None:
    """Browsers request them without the cookie."""
    _, client = serve(sign_in=True)
    assert client.get("/api/state").status == 401
    assert client.get("/app.webmanifest").status == 200
    assert client.get("/icon-192.png").status == 200


@pytest.mark.browser
def test_a_browser_can_install_the_page(browser: Browser, serve: Serve, scene: Scene) -> None:
    """Chromium parses the manifest without errors, and finds nothing that prevents the installation."""
    server, _ = serve()
    browser.visit(server.url)
    found = browser.driver.execute_cdp_cmd("Page.getAppManifest", {})
    assert found["url"] == server.url + "app.webmanifest"
    assert found["errors"] == []
    assert json.loads(found["data"])["start_url"] == "/"
    assert browser.driver.execute_cdp_cmd("Page.getInstallabilityErrors", {})["installabilityErrors"] == []
    for scheme, color in (("light", "rgb(245, 246, 244)"), ("dark", "rgb(14, 20, 19)")):
        browser.prefer(color_scheme=scheme)
        stated = browser.run(
            "const probe = document.createElement('i');"
            "probe.style.color = [...document.querySelectorAll('meta[name=theme-color]')]"
            ".find((meta) => matchMedia(meta.media).matches).content;"
            "document.body.append(probe); const color = getComputedStyle(probe).color; probe.remove();"
            "return [color, getComputedStyle(document.body).backgroundColor]"
        )
        assert stated == [color, color]
    assert browser.complaints() == []

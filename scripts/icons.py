"""Draw the icons of the page as an app, from ``icon.svg``: ``python -m scripts.icons``.

Chromium renders the drawing. Android cuts maskable icons to any shape, and iOS rounds the corners itself, so those two have
no corners of their own and keep the drawing within the middle.
"""

from __future__ import annotations

import base64
import re
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from device.files import atomic_output
from tests.device.page.browser import start_chromium

_STATIC = Path(__file__).parents[1] / "device" / "page" / "static"
ICONS = {  # name: size in pixels, whether it fills the square
    "icon-192.png": (192, False),
    "icon-512.png": (512, False),
    "icon-maskable-512.png": (512, True),
    "icon-apple-180.png": (180, True),
}


def main() -> None:
    """Write all icons."""
    svg = (_STATIC / "icon.svg").read_text()
    with tempfile.TemporaryDirectory() as profile:
        driver = start_chromium(Path(profile))
        try:
            for name, (size, full) in ICONS.items():
                with atomic_output(_STATIC / name, force=True) as path:
                    path.write_bytes(_render(driver, _filled(svg) if full else svg, size))
        finally:
            driver.quit()


def _filled(svg: str) -> str:
    """Return the drawing without rounded corners, its foreground at 75 % in the middle."""
    square = re.sub(r'rx="8"', "", svg)
    background = square.index("/>") + 2
    inner = square[background:].removesuffix("\n").removesuffix("</svg>")
    return f'{square[:background]}<g transform="translate(4 4) scale(.75)">{inner}</g></svg>'


def _render(driver: Any, svg: str, size: int) -> bytes:
    """Return the drawing as PNG with a transparent background."""
    metrics = {"width": size, "height": size, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    clear = {"color": {"r": 0, "g": 0, "b": 0, "a": 0}}
    driver.execute_cdp_cmd("Emulation.setDefaultBackgroundColorOverride", clear)
    page = f"<style>*{{margin:0}}svg{{display:block;width:{size}px;height:{size}px}}</style>{svg}"
    driver.get("data:text/html;base64," + base64.b64encode(page.encode()).decode())
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(shot), np.uint8), cv2.IMREAD_UNCHANGED)
    smallest = [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
    return bytes(cv2.imencode(".png", pixels, smallest)[1])


if __name__ == "__main__":
    main()

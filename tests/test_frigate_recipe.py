"""The recipe for Frigate sets sub labels, with a server that answers like Frigate's HTTP API."""

from __future__ import annotations

import http.server
import importlib.util
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

pytest.importorskip("starlette", reason="the page needs its extra: pip install 'edgetl[serve]'")

from device.cameras.fake import draw
from device.images import encode_jpeg
from device.learner import Learner
from device.page.server import PageServer
from tests.tiny import TINY

RECIPE = Path(__file__).resolve().parents[1] / "docs" / "integrations" / "frigate_sub_labels.py"
EVENTS = {"1.2-red": "red", "3.4-blue": "blue", "5.6-away": None, "7.8-named": "red"}


class Frigate(http.server.BaseHTTPRequestHandler):
    """The addresses of Frigate that the recipe uses."""

    named: dict[str, dict[str, Any]]
    asked: list[str]

    def do_GET(self) -> None:
        """Answer with events, or with the snapshot of one."""
        parts = urlparse(self.path)
        self.asked.append(self.path)
        if parts.path == "/api/events":
            assert parse_qs(parts.query)["labels"] == ["person"]
            events = [{"id": id, "sub_label": "Bob" if "named" in id else None} for id in EVENTS]
            self.answer(200, json.dumps(events).encode())
            return
        scene = EVENTS[parts.path.split("/")[3]]
        if scene is None:
            self.answer(404, b"")
        else:
            self.answer(200, encode_jpeg(draw(scene, 7)))

    def do_POST(self) -> None:
        """Record a sub label."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.named[self.path.split("/")[3]] = body
        self.answer(200, b'{"success": true}')

    def answer(self, status: int, body: bytes) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def frigate() -> Iterator[tuple[str, type[Frigate]]]:
    """The address of a running server, and the class that records."""

    class Recording(Frigate):
        named: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - of this test only
        asked: list[str] = []  # noqa: RUF012

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recording)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", Recording
    server.shutdown()
    thread.join()
    server.server_close()


def test_new_events_get_the_predicted_label(
    frigate: tuple[str, type[Frigate]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events with a sub label stay as they are; a snapshot that is gone does not stop the recipe."""
    spec = importlib.util.spec_from_file_location("recipe", RECIPE)
    assert spec
    assert spec.loader
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    address, recorded = frigate
    with Learner.open(TINY, tmp_path / "taught.db", threads=1) as learner:
        for label, scene in (("mug", "red"), ("plant", "blue")):
            learner.learn_many([draw(scene, number) for number in range(6)], [label] * 6)
        with PageServer(learner, None, port=0) as server:
            recipe.main(["--frigate", address + "/", "--edgetl", server.url, "--threshold", "0.5", "--once"])
    assert {id: body["subLabel"] for id, body in recorded.named.items()} == {
        "1.2-red": "mug", "3.4-blue": "plant",
    }  # fmt: skip
    assert all(0.5 <= body["subLabelScore"] <= 1 for body in recorded.named.values())
    assert "trying again: HTTP Error 404" in capsys.readouterr().err
    assert not any("named" in path for path in recorded.asked)

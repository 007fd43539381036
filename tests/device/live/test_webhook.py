"""Webhooks to servers that are unreachable or slow, or that refuse."""

from __future__ import annotations

import base64
import http.server
import queue
import threading
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from device.errors import PeripheralError
from device.live.delivery import Undelivered
from device.live.webhook import Webhook, parse_header

from .seen import observation

PATIENCE = 30.0


class Server:
    """A web server on loopback whose responses the test sets.

    Attributes:
        port: Where it listens.
        answers: (status, headers) of the next answers; (204, {}) when there are none.
        posted: (method, path, headers, body) as they came.
    """

    def __init__(self) -> None:
        self.answers: queue.Queue[tuple[int, dict[str, str]]] = queue.Queue()
        self.posted: queue.Queue[tuple[str, str, dict[str, str], bytes]] = queue.Queue()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                status, headers = (204, {}) if owner.answers.empty() else owner.answers.get()
                owner.posted.put((self.command, self.path, dict(self.headers), body))
                self.send_response(status, "whatever the server says")
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST  # noqa: N815 - the name the base class asks for

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def came(self) -> tuple[str, str, dict[str, str], bytes]:
        """Wait for the next request."""
        return self.posted.get(timeout=PATIENCE)

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join(PATIENCE)
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for one test."""
    server = Server()
    yield server
    server.close()


def failure(server: Server, status: int, **headers: str) -> Undelivered:
    """Return how a delivery ends with this response of the server."""
    server.answers.put((status, {name.replace("_", "-"): value for name, value in headers.items()}))
    hook = Webhook(f"http://127.0.0.1:{server.port}/x")
    try:
        with pytest.raises(Undelivered) as caught:
            hook.deliver(observation("mug"))
    finally:
        hook.close(PATIENCE)
    return caught.value


def test_user_password_and_headers_are_sent_and_never_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the address or from the environment; a header may take its value from there too."""
    monkeypatch.setenv("TOKEN", "t0ken")
    remarks: list[str] = []
    headers = ["x-key: Bearer ${TOKEN} $x", "content-type: application/vnd.edgetl+json"]
    hook = Webhook(f"http://me:s3cret%2F@127.0.0.1:{server.port}/ü?a=1#f", headers, remarks.append)
    hook.update(observation("mug"))
    method, path, sent, body = server.came()
    hook.close(PATIENCE)
    assert (method, path) == ("POST", "/%C3%BC?a=1")
    assert base64.b64decode(sent["Authorization"].removeprefix("Basic ")) == b"me:s3cret/"
    assert sent["X-Key"] == "Bearer t0ken $x"
    assert sent["Content-Type"] == "application/vnd.edgetl+json"
    assert b'"label": "mug"' in body
    assert remarks == []
    monkeypatch.setenv("EDGETL_WEBHOOK_USER", "you")
    monkeypatch.setenv("EDGETL_WEBHOOK_PASSWORD", "s3cret")
    hook = Webhook(f"http://127.0.0.1:{server.port}/")
    hook.deliver(observation("mug"))
    hook.close(PATIENCE)
    assert base64.b64decode(server.came()[2]["Authorization"].removeprefix("Basic ")) == b"you:s3cret"


@pytest.mark.parametrize(
    "header",
    [
        "s3cret",
        "Bad Name: s3cret",
        "Host: s3cret",
        "X: s3cret\n",
        "X: s3cret\r\nY: 1",
        "X: s3cretŁ",
        ": s3cret",
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(header: str) -> None:
    """At the start, not with the first change."""
    if header.endswith("\n"):  # what stands around a value is no part of it
        assert parse_header(header) == ("X", "s3cret")
        return
    with pytest.raises(PeripheralError) as refusal:
        parse_header(header)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(("status", "lasting"), [(400, True), (401, True), (404, True), (408, False), (425, False),
                                                 (429, False), (500, False), (503, False), (599, False)])  # fmt: skip
def test_a_refusal_is_reported_with_its_status(server: Server, status: int, lasting: bool) -> None:
    """4xx fails again, with three exceptions; 5xx may not. The text of the server is not repeated."""
    caught = failure(server, status)
    assert str(status) in str(caught)
    assert "whatever" not in str(caught)
    assert caught.lasting == lasting


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_reported_and_not_followed(server: Server, status: int) -> None:
    """A GET without the message would look like a success."""
    caught = failure(server, status, Location="http://u:s3cret@127.0.0.1/y")
    assert "http://u:***@127.0.0.1/y" in str(caught)
    assert caught.lasting
    server.came()
    assert server.posted.empty()


def test_the_delay_that_a_server_requests_is_parsed() -> None:
    """A number or a date; anything else is no delay."""
    server = Server()
    try:
        assert failure(server, 503, Retry_After="120").delay == 120.0
        date = formatdate(4_000_000_000, usegmt=True)
        assert failure(server, 429, Retry_After=date).delay > 1e8
        for odd in ("", "-5", "soon", "1e9", formatdate(0, usegmt=True), "٣"):
            text = odd.encode().decode("latin-1")
            assert failure(server, 503, Retry_After=text).delay == 0.0
    finally:
        server.close()


def test_a_server_that_was_down_gets_the_current_state(server: Server) -> None:
    """After a 500 for the first change it gets the current state once, and no old change."""
    now, remarks = [0.0], queue.Queue[str]()
    hook = Webhook(f"http://127.0.0.1:{server.port}/", (), remarks.put, clock=lambda: now[0])
    server.answers.put((500, {}))
    hook.update(observation("red"))
    server.came()
    assert "responds with 500 Internal Server Error; trying again" in remarks.get(timeout=PATIENCE)
    for label in ("green", "red", "blue"):
        hook.update(observation(label))
    now[0] = 1.0
    hook.wake()
    assert b'"label": "blue"' in server.came()[3]
    assert "works again" in remarks.get(timeout=PATIENCE)
    hook.close(PATIENCE)
    assert server.posted.empty()
    assert remarks.empty()


def test_a_missing_server_is_reported_with_the_reason() -> None:
    """Without path or password."""
    server = Server()
    server.close()
    remarks: list[str] = []
    hook = Webhook(f"http://u:s3cret@127.0.0.1:{server.port}/s3cret", (), remarks.append)
    hook.update(observation("red"))
    hook.close(PATIENCE)
    assert f"http://127.0.0.1:{server.port} cannot be reached: Connection refused" in remarks[0]
    assert "s3cret" not in "".join(remarks)


@pytest.mark.parametrize(
    "url", ["ftp://h/x", "http:///x", "h:80", "http://u:s3cret@h x/", "http://u:s3cret/@h/", "", 5]
)
def test_an_address_that_cannot_work_is_refused(url: Any) -> None:
    """Without showing the password."""
    with pytest.raises(PeripheralError) as refusal:
        Webhook(str(url))
    assert "s3cret" not in str(refusal.value)

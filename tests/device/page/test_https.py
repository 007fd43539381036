"""The page over HTTPS, with real TLS connections; and what happens to those without TLS on its port."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="HTTPS needs its extras: pip install 'edgetl[serve,https]'")
pytest.importorskip("starlette", reason="HTTPS needs its extras: pip install 'edgetl[serve,https]'")
pytest.importorskip("uvicorn", reason="HTTPS needs its extras: pip install 'edgetl[serve,https]'")

from device.errors import AddressError, CertificateError, ServerError
from device.learner import Learner
from device.page.certificates import Certificate, own_certificate
from device.page.encryption import Encryption
from device.page.places import PER_ADDRESS
from device.page.server import PageServer
from edgetl import Client as Program

from .conftest import MODEL, PATIENCE, STATIC, Answer, Client

NAMES = ("localhost", "127.0.0.1")


class SafeClient(Client):
    """A client that speaks HTTPS and accepts only the certificate of the server."""

    def __init__(self, server: PageServer) -> None:
        super().__init__(server.port)
        self.context = ssl.create_default_context(cafile=certificate_of(server).path)

    def open(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        """Send a request."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE, context=self.context
        )
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Origin", f"https://127.0.0.1:{self.port}")
        sent.setdefault("Connection", "close")
        connection.request(method, path, body, sent)
        return connection.getresponse()


def certificate_of(server: PageServer) -> Certificate:
    """Return the certificate of a server."""
    assert server.encryption is not None
    return server.encryption.certificate


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """A server with a certificate made for it; it has no camera, and needs a session."""
    folder = tmp_path_factory.mktemp("https")
    encryption = Encryption(lambda: own_certificate(folder, NAMES))
    with (
        Learner.open(MODEL, None, threads=1) as learner,
        PageServer(learner, None, port=0, encryption=encryption, sign_in=True) as served,
    ):
        yield served


def plain(server: PageServer, request: bytes) -> bytes:
    """Send bytes without TLS, and return everything that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def ending(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection, in order or at once."""
    received = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(4096):
            received += part
    return received


def test_the_page_is_served_over_https_with_a_certificate_that_programs_can_verify(
    server: PageServer,
) -> None:
    """Its file is enough to trust the server, by address and by name."""
    client = SafeClient(server)
    answer = client.get("/")
    assert (answer.status, server.url) == (200, f"https://127.0.0.1:{server.port}/")
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "strict-transport-security" not in answer.headers  # it would make the warning of a browser final
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection("127.0.0.1", server.port, timeout=PATIENCE).request("GET", "/")


def test_the_cookie_is_sent_only_over_https_to_this_host(server: PageServer) -> None:
    """It has another name than without HTTPS, because a browser lets no page without HTTPS replace it."""
    assert server.sessions is not None
    client = SafeClient(server)
    answer = client.post(
        "/api/enter", {"key": server.sessions.key}, Origin=f"https://127.0.0.1:{server.port}"
    )
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"__Host-edgetl-{server.port}=")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"secure", "httponly", "samesite=strict", "path=/"} <= parts
    assert not [part for part in parts if part.startswith("domain")]
    client.cookie = cookie.partition(";")[0]
    assert client.get("/api/state", Cookie=client.cookie).status == 200
    for origin, status in (
        (f"http://127.0.0.1:{server.port}", 403),
        (f"https://127.0.0.1:{server.port}", 200),
    ):
        assert client.post("/api/undo", {}, Origin=origin, Cookie=client.cookie).status == status


def test_a_visit_without_https_is_redirected(server: PageServer) -> None:
    """A browser goes on with the same path; the answer is not remembered."""
    answer = Client(server.port).get("/region/door/?a=1")
    assert answer.status == 307
    assert answer.headers["location"] == f"https://127.0.0.1:{server.port}/region/door/?a=1"
    assert answer.headers["cache-control"] == "no-store"
    assert "https://" in answer.json["error"]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_program_without_https_gets_a_message(server: PageServer, method: str) -> None:
    """It is not redirected, so it does not send its token again; a large body does not reset the answer."""
    answer = Answer(Client(server.port).open("/api/v1/undo", method, b" " * 10**6))
    assert answer.status == 400
    assert f"use https://127.0.0.1:{server.port}/api/v1/undo" in answer.json["error"]


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n",
                 b"GET http://other/ HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n\r\n", b"hello\r\n\r\n", b"\xff" * 20000],
)  # fmt: skip
def test_a_request_that_names_no_address_is_not_redirected(server: PageServer, request_: bytes) -> None:
    """Neither to another site nor to markup."""
    answer = plain(server, request_)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"location" not in answer
    assert b"open its address with https://" in answer


def test_a_first_request_that_arrives_with_the_end_of_the_handshake_is_answered(server: PageServer) -> None:
    """And a handshake that arrives in small parts."""
    context = ssl.create_default_context(cafile=certificate_of(server).path)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        for start in (0, 1, 2, 9, 200):
            connection.send(hello[start : {0: 1, 1: 2, 2: 9, 9: 200}.get(start)])
        while True:
            incoming.write(connection.recv(65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        tls.write(b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        connection.sendall(outgoing.read())  # both
        received = b""
        while b"</svg>" not in received:
            incoming.write(connection.recv(65536))
            try:
                received += tls.read(65536)
            except ssl.SSLWantReadError:
                continue
    assert received.startswith(b"HTTP/1.1 200 ")


def test_connections_that_never_finish_their_handshake_are_limited(server: PageServer) -> None:
    """The oldest of one address makes room; others are served meanwhile."""
    with ExitStack() as stack:
        waiting = []
        for number in range(PER_ADDRESS + 1):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
            waiting.append(stack.enter_context(connection))
            waiting[-1].send(b"\x16\x03\x01\x02\x00" if number % 2 else b"G")
        assert ending(waiting[0]) == b""
        assert SafeClient(server).get("/").status == 200


def test_a_connection_that_sends_nothing_is_closed(
    server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without HTTPS; also one that stops within its handshake."""
    monkeypatch.setattr("device.page.encryption.ASK", 0.1)
    for start in (b"", b"GET / HT", b"\x16\x03\x01"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
            connection.sendall(start)
            assert ending(connection) == b""


def test_a_failed_handshake_is_no_error_of_the_server(
    server: PageServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A browser that refuses the certificate, bytes that are no TLS, and a client that hangs up."""
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection("127.0.0.1", server.port, timeout=PATIENCE).request("GET", "/")
    for start in (b"\x16" + b"\0" * 100, b"\x16\x03\x01\x02\x00\x01"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
            connection.sendall(start)
            connection.shutdown(socket.SHUT_WR)
            ending(connection)  # perhaps after an alert
    assert SafeClient(server).get("/").status == 200
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_large_file_arrives_complete(server: PageServer) -> None:
    """The same bytes as on the disk, in many TLS records."""
    answer = SafeClient(server).get("/icon-512.png")
    assert answer.body == (STATIC / "icon-512.png").read_bytes()


def test_the_server_stops_with_connections_in_their_handshake(tmp_path: Path) -> None:
    """It does not wait for them."""
    encryption = Encryption(lambda: own_certificate(tmp_path, NAMES))
    with Learner.open(MODEL, None, threads=1) as learner:
        server = PageServer(learner, None, port=0, encryption=encryption)
        with ExitStack() as stack:
            server.start()
            stack.callback(server.close)
            for start in (b"\x16\x03\x01", b"GET"):
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
                stack.enter_context(connection).send(start)
            assert SafeClient(server).get("/").status == 200  # so both were accepted before
            server.close()
            assert server._thread is not None
            assert not server._thread.is_alive()


def test_a_renewed_certificate_is_used_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An hour later at most; where it cannot be loaded, the old one stays."""
    now, folders = [0.0], [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    certificates = [own_certificate(folder, NAMES) for folder in folders]

    def load() -> Certificate:
        if not found:
            raise CertificateError("it is gone")
        return found[0]

    found = certificates[:1]
    encryption = Encryption(load, clock=lambda: now[0])
    context = encryption.context()
    found[:] = certificates[1:]
    assert encryption.context() is context
    assert encryption.certificate == certificates[0]
    now[0] = 3600.0
    assert encryption.context() is context
    assert encryption.certificate == certificates[1]
    assert certificates[1].fingerprint in caplog.text
    found.clear()
    now[0] = 7200.0
    encryption.context()
    assert encryption.certificate == certificates[1]
    assert "the old one stays in use: it is gone" in caplog.text
    assert presented(context) == certificates[1].der


def presented(context: ssl.SSLContext) -> bytes | None:
    """Return the certificate that a server with these settings presents."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return client.getpeercert(binary_form=True)


def test_the_client_of_programs_accepts_the_certificate_with_the_right_fingerprint(
    server: PageServer,
) -> None:
    """And no other: neither without one nor with a wrong one is the token sent."""
    right = certificate_of(server).fingerprint
    assert Program(server.url, server.token, fingerprint=right).model()["name"] == MODEL.name
    assert (
        Program(server.url, server.token, fingerprint=right.replace(":", "").lower()).status()["samples"]
        == {}
    )
    with pytest.raises(ServerError, match="pass the fingerprint"):
        Program(server.url, server.token).status()
    with pytest.raises(ServerError, match="has another certificate"):
        Program(server.url, server.token, fingerprint="00" * 32).status()
    link = server.link
    assert Program.sign_in(link, fingerprint=right).status()["samples"] == {}
    with pytest.raises(ServerError, match="use https://"):
        Program(server.url.replace("https", "http"), server.token).undo()


@pytest.mark.parametrize("text", ["", "AB:CD", "g" * 64])
def test_a_fingerprint_that_is_none_is_refused(text: str) -> None:
    """With the form that is expected."""
    with pytest.raises(AddressError, match="64 digits"):
        Program("https://localhost", fingerprint=text)
    with pytest.raises(AddressError, match="needs an https address"):
        Program("http://localhost", fingerprint="ab" * 32)


def test_the_answer_to_a_plain_request_is_json(server: PageServer) -> None:
    """As all errors of the API."""
    body = plain(server, b"PUT /x HTTP/1.1\r\nHost: localhost\r\n\r\n").partition(b"\r\n\r\n")[2]
    assert json.loads(body) == {"error": "this server uses HTTPS; use https://localhost/x"}


def test_the_first_line_for_programs_has_the_fingerprint(
    server: PageServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json, it is one line."""
    from edgetl.commands.serve import _announce

    _announce(server, as_json=True, made=True)
    (line,) = capsys.readouterr().out.splitlines()
    ready = json.loads(line)
    assert ready.keys() == {"url", "link", "token", "fingerprint"}
    assert Program(ready["url"], ready["token"], fingerprint=ready["fingerprint"]).status()["samples"] == {}

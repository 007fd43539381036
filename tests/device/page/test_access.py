"""Access to the page: sign-in, and the requests that are refused."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import stat
from pathlib import Path

import pytest

from .conftest import MODEL, PATIENCE, STATIC, WITHOUT_EXTRA, Client, Serve

pytest.importorskip("starlette", reason=WITHOUT_EXTRA)
pytest.importorskip("uvicorn", reason=WITHOUT_EXTRA)

from device.errors import AddressError, EdgetlError, StateError
from device.page.bodies import Body
from device.page.guard import Guard
from device.page.server import PageServer, is_loopback
from device.page.sessions import Guesses, Sessions
from device.printable import printable

CHANGES = [
    "/api/enter", "/api/teach", "/api/release", "/api/undo", "/api/labels/add", "/api/labels/rename", "/api/labels/delete",
    "/api/samples/forget", "/api/v1/samples/correct", "/api/v1/doubts/teach", "/api/v1/doubts/drop",
]  # fmt: skip
READS = [
    "/api/state", "/api/report", "/api/samples", "/api/doubts",
    "/api/samples/1.jpg", "/api/events", "/api/stream.mjpg", "/api/export",
]  # fmt: skip


def signed_in(server: PageServer) -> Client:
    """Use the one-time link as the page does."""
    client = Client(server.port)
    answer = client.post("/api/enter", {"key": server.link.partition("#")[2]})
    assert answer.status == 200
    return Client(server.port, answer.headers["set-cookie"].partition(";")[0])


def test_get_changes_nothing(client: Client) -> None:
    """A link, an image or a crawler can never teach or delete."""
    for path in CHANGES:
        answer = client.get(path)
        # for a GET, samples/correct is a sample named "correct"
        assert (path, answer.status) == (path, 404 if path.endswith("samples/correct") else 405)
        assert answer.json["error"]


def test_a_change_must_come_from_the_page_itself(client: Client) -> None:
    """Cross-site requests are refused by their Origin, and so are requests without one."""
    foreign = [
        "http://evil.example",
        "null",
        f"https://127.0.0.1:{client.port + 1}",
        f"http://localhost:{client.port}",
        "http://[",
        f"http://127.0.0.1:{client.port}/",
        "",
    ]
    for path in CHANGES:
        for origin in foreign:
            assert client.post(path, {}, Origin=origin).status == 403
    bare = client.open("/api/undo", "POST", b"{}", Content_Type="application/json")
    assert bare.status == 403
    assert client.post("/api/undo").status == 200


def test_a_form_of_another_site_cannot_post(client: Client) -> None:
    """Only JSON is accepted, which a form cannot send."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert client.post("/api/undo", {}, Content_Type=kind).status == 415


def test_a_rebound_name_is_refused(client: Client) -> None:
    """DNS rebinding reaches the port, but with a foreign name in Host."""
    for host in (
        "evil.example",
        f"evil.example:{client.port}",
        "127.0.0.1.evil.example",
        "",
        "[",
        "localhost.evil.example",
        "a@localhost",
        "evil.example@127.0.0.1",
        ":@localhost",
        "localhost:80@evil.example",
        "localhost/",
        "localhost?",
        "localhost#",
        "localhost:",
        "localhost:port",
        "localhost:123456",
        "local host",
        "[::1",
        "::1",
        "[::1]x",
        "[localhost]",
        "%6cocalhost",
        "localhost, evil.example",
    ):
        assert client.get("/api/state", Host=host).status == 421
    for host in (
        "localhost",
        f"localhost:{client.port}",
        "LOCALHOST",
        "127.0.0.1:9999",
        "[::1]:80",
        "localhost.",
        "192.168.7.5",
    ):
        assert client.get("/api/state", Host=host).status == 200


def test_allow_host_adds_a_name(serve: Serve) -> None:
    """Behind a reverse proxy the page has another name."""
    _, client = serve(allow_hosts=["pi.example"])
    assert client.get("/api/state", Host="pi.example").status == 200
    origin = {"Host": "pi.example", "Origin": "https://pi.example"}
    assert client.post("/api/undo", {}, **origin).status == 200


@pytest.mark.parametrize("name", ["http://pi.example", "a@pi.example", "", "pi example"])
def test_an_allowed_host_that_is_not_a_host_name_is_refused(name: str) -> None:
    """It would have no effect."""
    with pytest.raises(AddressError, match=r"pi\.example"):
        Guard(lambda *_: None, hosts=[name])  # type: ignore[arg-type, return-value]  # never called


def test_other_sites_cannot_read(client: Client) -> None:
    """Browsers send where a request comes from; pages of other sites cannot show the pictures."""
    for path in READS[:4]:
        assert client.get(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
        assert client.get(path, Sec_Fetch_Site="same-site").status == 403
    assert client.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    assert client.get("/api/state", Sec_Fetch_Site="same-origin").status == 200


def test_large_bodies_are_refused_unread(client: Client) -> None:
    """By the announced length, or by the bytes received in chunks."""
    assert client.post("/api/undo", b"{}" + b" " * Body().size).status == 413
    assert client.post("/api/undo", b"{}", Content_Length=str(10**12)).status == 413
    # nothing behind this head: the server hangs up at once, and bytes it did not read would reset its answer away
    assert client.post("/api/undo", b"", Content_Length="-1").status in (400, 413)
    chunk = f"{Body().size:x}\r\n".encode() + b" " * Body().size + b"\r\n2\r\n{}\r\n0\r\n\r\n"
    answer = client.open(
        "/api/undo", "POST", chunk, Transfer_Encoding="chunked",
        Content_Type="application/json", Origin=f"http://127.0.0.1:{client.port}",
    )  # fmt: skip
    assert answer.status == 413
    assert "16384 bytes" in json.loads(answer.read())["error"]


def test_a_body_that_does_not_arrive_ends_the_request(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place becomes free for others."""
    monkeypatch.setattr("device.page.bodies._OF_PAGE", Body(seconds=0.05))
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as connection:
        head = [
            "POST /api/undo HTTP/1.1", f"Host: 127.0.0.1:{client.port}", f"Origin: http://127.0.0.1:{client.port}",
            "Content-Type: application/json", "Content-Length: 9", "", "{",
        ]  # fmt: skip
        connection.sendall("\r\n".join(head).encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within" in answer


def test_idle_connections_are_closed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """After no request, half a request or a finished one."""
    begun = b"GET /icon.svg HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    with contextlib.ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE))

        finished = [connect() for _ in range(4)]
        for connection in finished:  # with the patience there is, so that a busy machine gets its answers
            connection.sendall(begun + b"\r\n")
            answer = b""
            while b"</svg>" not in answer:
                more = connection.recv(65536)
                assert more, answer
                answer += more
        monkeypatch.setattr("device.page.connections.ASK", 0.2)
        half, silent = [connect() for _ in range(4)], [connect() for _ in range(4)]
        for connection in (*half, *finished):
            with contextlib.suppress(ConnectionError):  # let go already
                connection.sendall(begun)
        for connection in (*half, *finished, *silent):
            with contextlib.suppress(ConnectionError):
                while connection.recv(4096):
                    pass
        assert client.get("/api/state").status == 200


def test_impossible_sample_numbers_are_not_found(client: Client) -> None:
    """A wrong number in an address is an error of the client, not of the device."""
    client.teach("mug", 1)
    for number in ("0", "-1", "x", str(2**63), "9" * 5000, "%D9%A1", "1e3", "%00"):
        for kind in ("samples", "doubts"):
            assert client.get(f"/api/{kind}/{number}.jpg").status == 404, number
        assert client.get(f"/api/samples?limit={number}").status == 400, number
    for number in (-1, 0, 2**63, 10**300):
        assert client.post("/api/samples/forget", {"id": number}).status == 404
        assert client.post("/api/v1/doubts/teach", {"ids": [number], "label": "cup"}).status == 404
    assert client.counts() == {"mug": 1}


def test_head_requests_do_nothing(serve: Serve) -> None:
    """HEAD would export a model or start a stream without a reader."""
    server, client = serve()
    for path in READS:
        with client.open(path, "HEAD") as response:
            assert response.status == 405
    assert server.page.events.readers == server.page.loop.pictures.readers == 0


def test_an_internal_error_is_logged_on_one_line_without_its_traceback(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The path of a request cannot control the terminal."""
    server, client = serve()
    monkeypatch.setattr(server.page, "samples", lambda *_: 1 / 0)
    monkeypatch.setattr(server.page, "thumbnail", lambda *_: 1 / 0)
    answer = client.get("/api/samples")
    assert answer.status == 500
    assert "its terminal shows the reason" in answer.json["error"]
    assert client.get("/api/samples/%1b%5b2J%0aforged.jpg").status == 500
    client.ask("/api/state")  # by now the log contains the errors of the earlier requests
    reported = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(reported) == 2
    assert "ZeroDivisionError" in reported[0]
    assert all(line.isprintable() for line in reported)


def test_every_response_has_the_strict_headers(client: Client) -> None:
    """Pages, data, pictures and refusals; no inline script, no framing, no sniffing."""
    client.teach("mug", 1)
    for path in ("/", "/app.js", "/api/state", "/api/samples/1.jpg", "/api/nothing", "/api/undo"):
        headers = client.get(path).headers
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "server" not in headers


def test_without_https_no_header_is_sent_that_browsers_reject(client: Client) -> None:
    """Their errors in the console would hide others."""
    headers = client.get("/", Host="192.168.7.5").headers
    assert "cross-origin-opener-policy" not in headers
    assert headers["content-security-policy"]


def test_the_page_has_no_inline_script_or_style_and_no_other_host() -> None:
    """The files contain nothing that the policy forbids."""
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|javascript:", page)
    for path in (path for path in STATIC.rglob("*.*") if path.suffix != ".png"):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|insertAdjacentHTML|document\.write|\beval\(", text), path


def test_text_is_inserted_by_one_function_only() -> None:
    """It shows control characters as escapes."""
    for path in STATIC.glob("*.js"):
        text = path.read_text()
        found = re.findall(
            r"\.(?:textContent|innerText|outerText|nodeValue)\s*=[^=]|createTextNode|\.title\s*=[^=]", text
        )
        assert len(found) == (path.name == "dom.js"), path


def test_the_page_and_the_device_escape_the_same_characters() -> None:
    """The set is written in two languages."""
    pattern = re.search(r"const HIDDEN = /(.*?)/gu", (STATIC / "dom.js").read_text())
    assert pattern is not None
    hidden = re.compile(pattern[1])
    for number in range(0x11000):
        assert bool(hidden.match(chr(number))) == (printable(chr(number)) != chr(number)), hex(number)


def test_control_characters_are_escaped_in_responses(serve: Serve, tmp_path: Path) -> None:
    """In lists, events and errors; programs read the original names and labels."""
    model = tmp_path / "mugs\u202egnp.tflite"
    model.write_bytes(MODEL.read_bytes())
    label = "mug\u200bx\u2060"
    _, client = serve(model=model)
    client.teach(label, 1)
    client.sees(label)
    state = client.get("/api/state")
    assert b"mugs\\u202egnp.tflite" in state.body
    assert state.json["model"] == model.name
    for path in ("/api/state", "/api/samples", "/api/report"):
        answer = client.get(path)
        assert not re.search("[\u200b\u2060\u202a-\u202e\u2066-\u2069]", answer.body.decode()), path
        assert label in json.dumps(answer.json, ensure_ascii=False)
    error = client.post("/api/labels/add", {"label": "a\u202eb"})
    assert error.status == 400
    assert b"\\\\u202e" in error.body
    _, blind = serve(source=str(tmp_path / "no\u202ecamera"), state="other.db")
    with blind.open("/api/events") as response:
        line = next(line for line in response if b"no camera" in line)
    assert b"\\u202e" in line
    assert "\u202e".encode() not in line


def test_no_path_reaches_another_file(client: Client) -> None:
    """Files are served from a fixed table, never by a requested path."""
    hidden = ["/../pyproject.toml", "/static/../server.py", "/%2e%2e/server.py", "/server.py", "//etc/passwd"]
    for path in [*hidden, "/api/samples/..%2f1.jpg"]:
        assert client.get(path).status == 404


def test_unknown_methods_and_pages_are_refused_as_json(client: Client) -> None:
    """As JSON, like everything else."""
    origin = f"http://127.0.0.1:{client.port}"
    for method in ("PUT", "DELETE", "PATCH"):
        with client.open(
            "/api/state", method, b"{}", Origin=origin, Content_Type="application/json"
        ) as response:
            assert response.status == 405
            assert "error" in json.loads(response.read())


def test_without_a_session_nothing_can_be_read(serve: Serve) -> None:
    """Every read needs a session; only the empty page is public."""
    _, client = serve(sign_in=True)
    guess = Client(client.port, f"edgetl-{client.port}=guess")
    for path in READS:
        assert (path, client.get(path).status) == (path, 401)
        assert (path, guess.get(path).status) == (path, 401)
    assert client.get("/").status == 200


def test_without_a_session_nothing_can_be_changed(serve: Serve) -> None:
    """Every change needs a session."""
    _, client = serve(sign_in=True)
    for path in CHANGES[1:]:
        assert client.post(path, {}).status == 401


def test_the_link_signs_in_once_and_the_next_one_is_new(serve: Serve) -> None:
    """A link that is found later does not work."""
    reported: list[str] = []
    server, client = serve(sign_in=True, signed_in=lambda page: reported.append(page.link))
    link = server.link
    assert len(link.partition("#")[2]) >= 43  # 256 bits
    member = signed_in(server)
    assert member.get("/api/state").status == 200
    assert reported == [server.link] != [link]
    again = client.post("/api/enter", {"key": link.partition("#")[2]})
    assert again.status == 403
    assert "set-cookie" not in again.headers
    assert signed_in(server).get("/api/state").status == 200
    assert member.get("/api/state").status == 200


def test_wrong_keys_are_refused(serve: Serve) -> None:
    """Of any kind."""
    server, client = serve(sign_in=True)
    key = server.link.partition("#")[2]
    for wrong in ("", key[:-1], key + "x", "ü", "x" * 9000):
        assert client.post("/api/enter", {"key": wrong}).status == 403
    assert client.post("/api/enter", b'{"key": "\\ud800"}').status == 403


def test_cookies_of_other_programs_do_not_end_a_session(serve: Serve) -> None:
    """Browsers send the cookies of all programs on this host, whatever their port."""
    server, _ = serve(sign_in=True)
    member = signed_in(server)
    for other in ('settings={"a": [1, 2]}', 'jupyter="2|1:0|10:1700"', "=", "bare", 'open="', "Zoë=ü"):
        both = Client(server.port, f"{other}; {member.cookie}; z=1")
        assert both.get("/api/state").status == 200, other


def test_scripts_and_other_sites_cannot_use_the_cookie(serve: Serve) -> None:
    """HttpOnly, SameSite=Strict, for the whole page, with a separate name per port."""
    server, client = serve(sign_in=True)
    cookie = client.post("/api/enter", {"key": server.link.partition("#")[2]}).headers["set-cookie"]
    assert cookie.startswith(f"edgetl-{server.port}=")
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Path=/" in cookie


def test_sessions_survive_a_restart_and_only_hashes_are_stored(serve: Serve, tmp_path: Path) -> None:
    """Phones stay signed in after a reboot; the file is not enough to sign in."""
    file = tmp_path / "taught.db.sessions"
    server, _ = serve(sign_in=True, sessions_file=file)
    member = signed_in(server)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert member.cookie is not None
    assert member.cookie.partition("=")[2] not in file.read_text()
    server.close()
    again, _ = serve(sign_in=True, sessions_file=file)
    name = f"edgetl-{again.port}"
    assert Client(again.port, f"{name}={member.cookie.partition('=')[2]}").get("/api/state").status == 200


def test_a_session_ends_ninety_days_after_its_last_visit(tmp_path: Path) -> None:
    """A clock that is behind ends no session."""
    now = [1_000_000_000.0]
    file = tmp_path / "sessions"
    sessions = Sessions(file, clock=lambda: now[0])
    used, sold = (sessions.redeem(sessions.key) or "" for _ in range(2))
    for _ in range(4):
        now[0] += 30 * 86400
        assert sessions.valid(used)
    assert not sessions.valid(sold)
    now[0] -= 400 * 86400
    again = Sessions(file, clock=lambda: now[0])
    assert again.valid(used)
    now[0] += 400 * 86400
    assert again.valid(used)  # the visit with the wrong clock did not count as the last


def test_a_visit_is_written_once_per_day(tmp_path: Path) -> None:
    """Memory cards wear out: a page that is open all day writes nothing."""
    now = [1_000_000_000.0]
    file = tmp_path / "sessions"
    sessions = Sessions(file, clock=lambda: now[0])
    token = sessions.redeem(sessions.key) or ""
    written = file.stat().st_ino  # a new file each time
    assert all(sessions.valid(token) for _ in range(100))
    assert file.stat().st_ino == written
    now[0] += 86400
    assert sessions.valid(token)
    assert "11575" in file.read_text()  # the day of the second visit


def test_sessions_of_the_first_version_are_read(tmp_path: Path) -> None:
    """An update ends no session."""
    sessions = Sessions(tmp_path / "old")
    token = sessions.redeem(sessions.key) or ""
    hashes = list(json.loads((tmp_path / "old").read_text())["sessions"])
    (tmp_path / "old").write_text(json.dumps({"version": 1, "sessions": hashes}))
    assert Sessions(tmp_path / "old").valid(token)


def test_a_full_disk_does_not_prevent_signing_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log shows that the session will not be stored."""
    sessions = Sessions(tmp_path / "no such folder" / "sessions")
    assert sessions.valid(sessions.redeem(sessions.key) or "")
    assert "sessions will end when the page stops" in caplog.text


def test_guessing_is_slowed_down_per_address() -> None:
    """Ten wrong keys per minute and address; other devices are not affected."""
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(10):
        assert guesses.allowed("10.0.0.9")
        guesses.count("10.0.0.9")
        now[0] += 1
    assert not guesses.allowed("10.0.0.9")
    assert guesses.allowed("10.0.0.8")
    now[0] += 60
    assert guesses.allowed("10.0.0.9")


def test_after_ten_wrong_links_even_the_right_one_waits(serve: Serve) -> None:
    """Otherwise a guess could still succeed."""
    server, client = serve(sign_in=True)
    assert [client.post("/api/enter", {"key": "guess"}).status for _ in range(10)] == [403] * 10
    answer = client.post("/api/enter", {"key": server.link.partition("#")[2]})
    assert answer.status == 429
    assert "wait a minute" in answer.json["error"]


def test_a_foreign_sessions_file_is_refused_and_not_changed(tmp_path: Path) -> None:
    """The message contains the next step."""
    for text in ("", "{}", '{"sessions": [1]}', '{"sessions": {"a": "b"}}', '{"sessions": {"ü": 1}}', "\x00"):
        file = tmp_path / "sessions"
        file.write_text(text)
        with pytest.raises(StateError, match="delete it and sign in again"):
            Sessions(file)
        assert file.read_text() == text


def test_the_oldest_session_is_removed_when_there_are_too_many() -> None:
    """The list does not grow without limit."""
    sessions = Sessions()
    tokens = [sessions.redeem(sessions.key) for _ in range(40)]
    assert [sessions.valid(token or "") for token in tokens] == [False] * 8 + [True] * 32


def test_a_port_in_use_is_reported(serve: Serve) -> None:
    """With the next step."""
    server, _ = serve()
    with pytest.raises(EdgetlError, match="another program uses this port"):
        PageServer(server.page.learner, lambda: None, port=server.port)  # type: ignore[arg-type,return-value]


def test_an_address_of_another_machine_is_reported(serve: Serve) -> None:
    """With the next step."""
    server, _ = serve()
    with pytest.raises(EdgetlError, match=r"--host 0\.0\.0\.0 uses all of its addresses"):
        PageServer(server.page.learner, lambda: None, host="192.0.2.77")  # type: ignore[arg-type,return-value]


def test_every_address_except_loopback_needs_a_session(serve: Serve) -> None:
    """Forgetting an option does not open a camera to a network."""
    server, _ = serve()
    assert server.sessions is None
    assert server.link == server.url
    open_to_all = PageServer(server.page.learner, lambda: None, host="0.0.0.0", port=0)  # type: ignore[arg-type,return-value]
    try:
        assert open_to_all.sessions is not None
        assert "0.0.0.0" not in open_to_all.link
    finally:
        open_to_all.close()
    for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "192.168.1.5", "raspberrypi.local", "localhost.evil.example", ""):
        assert not is_loopback(host)

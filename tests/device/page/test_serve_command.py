"""`edgetl serve` as a user runs it: the process, its output and its end."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgetl import Client as Program
from edgetl.cli import main

from .conftest import MODEL, PATIENCE, WITHOUT_EXTRA, Client

pytest.importorskip("starlette", reason=WITHOUT_EXTRA)
pytest.importorskip("uvicorn", reason=WITHOUT_EXTRA)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Any]:
    """Start `edgetl serve`; return the process and its first line of output."""
    with ExitStack() as stack:

        def start(*options: str, camera: str | None = "fake:red") -> tuple[subprocess.Popen[str], str]:
            source = ["--camera", camera] if camera else []
            state = ["--state", str(tmp_path / "taught.db"), *source, "--port", "0"]
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "edgetl", "serve", str(MODEL), *state, *options],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
                )
            )  # fmt: skip
            stack.callback(process.kill)
            assert process.stdout is not None
            return process, process.stdout.readline()

        yield start


def scanned(lines: list[str]) -> str:
    """Decode the QR code in the lines of a terminal."""
    halves = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}  # upper and lower half of a character
    drawn = [line.rstrip("\n") for line in lines if set(line.rstrip("\n")) <= set(halves) and line.strip()]
    rows = [[halves[mark][part] for mark in line] for line in drawn for part in (0, 1)]
    picture = 255 * np.kron(np.array(rows, np.uint8), np.ones((8, 8), np.uint8))  # light on a dark terminal
    return str(cv2.QRCodeDetector().detectAndDecode(picture)[0])


def test_it_serves_until_interrupted_and_keeps_what_was_taught(running: Any) -> None:
    """Ctrl-C ends it with a message; the next run has the samples."""
    process, line = running("--json")
    client = Client(int(json.loads(line)["url"].rstrip("/").rpartition(":")[2]))
    client.teach("mug", 2)
    process.send_signal(signal.SIGINT)
    _, reported = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, reported
    assert "everything taught is saved" in reported
    assert "Traceback" not in reported
    _, line = running()
    assert line.startswith("The page is at http://127.0.0.1:")
    assert Client(int(line.partition("1:")[2].partition("/")[0])).counts() == {"mug": 2}


def test_a_terminated_service_ends_quietly(running: Any) -> None:
    """This is how systemd stops a service."""
    process, line = running("--json")
    assert json.loads(line)["link"] == json.loads(line)["url"]
    process.send_signal(signal.SIGTERM)
    _, reported = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "Traceback" not in reported


def test_a_program_reads_the_token_from_the_first_line(running: Any) -> None:
    """With --json, stdout has one line; links after the first go to stderr."""
    process, line = running("--json", "--no-camera", "--sign-in", camera=None)
    ready = json.loads(line)
    assert ready.keys() == {"url", "link", "token"}
    client = Client(int(ready["url"].rstrip("/").rpartition(":")[2]))
    assert client.get("/api/v1/status").status == 401
    status = client.get("/api/v1/status", Authorization=f"Bearer {ready['token']}")
    assert status.json["camera"]["condition"] == "off"
    assert client.post("/api/v1/token", {"key": ready["link"].partition("#")[2]}).status == 200
    process.send_signal(signal.SIGINT)
    out, reported = process.communicate(timeout=PATIENCE)
    assert out == ""
    assert "The link for the next one" in reported


def test_https_shows_the_fingerprint_of_its_certificate(running: Any, tmp_path: Path) -> None:
    """Programs can connect with it; the key is readable only by its owner."""
    pytest.importorskip("cryptography", reason="HTTPS needs its extra: pip install 'edgetl[https]'")
    process, line = running("--no-camera", "--https", camera=None)
    assert line.startswith("The page is at https://127.0.0.1:")
    assert "a browser warns once" in process.stdout.readline()
    fingerprint = process.stdout.readline().removeprefix("SHA-256 ").partition(" ")[0]
    assert Program(line.split()[4], fingerprint=fingerprint).status()["samples"] == {}
    assert stat.S_IMODE((tmp_path / "edgetl-https.pem").stat().st_mode) == 0o600
    process.send_signal(signal.SIGINT)
    _, reported = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "Traceback" in reported) == (0, False)


def test_a_certificate_of_another_host_is_used_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its names are names of the page; addresses need no permission, and a wildcard is no name."""
    pytest.importorskip("cryptography", reason="HTTPS needs its extra: pip install 'edgetl[https]'")
    from device.page.certificates import own_certificate
    from edgetl.commands.serve import _encryption, _names_of

    own = own_certificate(tmp_path, ["pi.example", "*.home.example", "fd00::2"]).path
    used = _encryption(tmp_path, "127.0.0.1", (), own, None)
    reported = capsys.readouterr().err
    assert "valid for pi.example, *.home.example, fd00::2, not for 127.0.0.1; browsers warn" in reported
    assert _names_of(used) == ["pi.example"]


def test_a_key_or_a_certificate_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """Before the model is opened."""
    pytest.importorskip("cryptography", reason="HTTPS needs its extra: pip install 'edgetl[https]'")
    result = CliRunner().invoke(main, ["serve", str(MODEL), "--key", "a.key"])
    assert (result.exit_code, "--key belongs to --certificate" in result.output) == (2, True)
    (tmp_path / "a.pem").write_text("hello")
    result = CliRunner().invoke(main, ["serve", "none.tflite", "--certificate", str(tmp_path / "a.pem")])
    assert (result.exit_code, "a.pem contains no certificate" in result.output) == (1, True)


def test_no_camera_excludes_a_camera() -> None:
    """The message names both options."""
    result = CliRunner().invoke(main, ["serve", str(MODEL), "--no-camera", "--camera", "fake"])
    assert result.exit_code == 2
    assert "--no-camera excludes --camera" in result.output


def test_it_prints_a_link_and_a_code_to_scan(running: Any, tmp_path: Path) -> None:
    """The link signs in; sessions are stored beside the state file, readable only by its owner."""
    pytest.importorskip("segno", reason=WITHOUT_EXTRA)
    process, line = running("--sign-in")
    assert line.startswith("Scan this, or open the link")
    lines = [line]
    while not lines[-1].startswith("http://"):
        lines.append(process.stdout.readline())
    link = lines[-1].strip()
    assert scanned(lines) == link
    client = Client(int(link.partition("1:")[2].partition("/")[0]))
    assert client.get("/api/state").status == 401
    assert client.post("/api/enter", {"key": link.partition("#")[2]}).status == 200
    assert stat.S_IMODE((tmp_path / "taught.db.sessions").stat().st_mode) == 0o600
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert "The link for the next one" in out
    assert link not in out


def test_without_its_extra_it_shows_what_to_install() -> None:
    """A missing package is not a traceback."""
    program = "import sys; sys.modules['starlette'] = None; from edgetl.cli import main; main(['serve', 'a.tflite'])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install 'edgetl[serve]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_ends_in_an_example() -> None:
    """As for every command."""
    result = CliRunner().invoke(main, ["serve", "--help"])
    assert result.exit_code == 0
    assert "edgetl serve mugs.tflite --camera picamera2 --host 0.0.0.0" in result.output

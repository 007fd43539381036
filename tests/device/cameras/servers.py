"""Real servers on loopback: MJPEG, JPEG snapshots and RTSP, which can be killed and started again mid-stream."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Draw = Callable[[int], Image]  # frame number -> RGB


def jpeg(rgb: Image, quality: int = 95) -> bytes:
    """Encode RGB as the baseline JPEG with 4:2:0 chroma that cameras send."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x221111]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), settings)
    assert done
    return bytes(data)


class StreamServer:
    """A server of frames on a port of its own; `stop` cuts every connection, `start` takes the same port again."""

    scheme = "http"
    path = "/stream"

    def __init__(self, draw: Draw, fps: float = 100.0) -> None:
        """Serve `draw(0)`, `draw(1)`... to each client at `fps`."""
        self.draw = draw
        self.fps = fps
        self.port = 0
        self.silent = threading.Event()  # set: stay connected but send nothing
        self.sent = 0
        self._stopped = threading.Event()
        self._server: Any = None
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The stream's address."""
        return f"{self.scheme}://127.0.0.1:{self.port}{self.path}"

    def start(self) -> None:
        """Listen, on the port used before if there was one."""
        self._stopped.clear()
        self._server = _Server(("127.0.0.1", self.port), self._handler())
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and cut every connection, as a power cut would."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def ticks(self) -> Iterator[int]:
        """Yield frame numbers at the camera's rate until the server is stopped."""
        number = 0
        while not self._stopped.wait(1 / self.fps):
            if not self.silent.is_set():
                yield number
                number += 1
                self.sent += 1

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        raise NotImplementedError


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Keep the broken pipes of clients that went away off the terminal."""


class MjpegServer(StreamServer):
    """``multipart/x-mixed-replace`` as IP cameras, ustreamer and mjpg-streamer send it."""

    def __init__(self, draw: Draw, fps: float = 100.0, with_length: bool = True, password: str = "") -> None:
        """Send Content-Length with each part or not; ask for Basic authentication or not."""
        super().__init__(draw, fps)
        self.with_length = with_length
        self.password = password
        self.spoil: Callable[[int, bytes], bytes] = lambda _, data: data
        self.content_type = "multipart/x-mixed-replace; boundary=frame"

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._connections.add(self.connection)
                if outer.password and self.headers.get("Authorization") != outer.password:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", outer.content_type)
                self.end_headers()
                outer.respond(self)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def respond(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Send frames until stopped."""
        for number in self.ticks():
            data = self.spoil(number, jpeg(self.draw(number)))
            length = f"Content-Length: {len(data)}\r\n" if self.with_length else ""
            head = f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n"
            handler.wfile.write(head.encode() + data + b"\r\n")


class SnapshotServer(MjpegServer):
    """One JPEG per request."""

    def __init__(self, draw: Draw) -> None:
        """Serve `draw(n)` to the n-th request."""
        super().__init__(draw)
        self.content_type = "image/jpeg"

    def respond(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Send one frame."""
        handler.wfile.write(jpeg(self.draw(self.sent)))
        self.sent += 1


class RtspServer(StreamServer):
    """RTSP 1.0 with JPEG over RTP (RFC 2435), interleaved in the RTSP connection (RFC 2326, 10.12)."""

    scheme = "rtsp"

    def _handler(self) -> type[socketserver.BaseRequestHandler]:
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer._connections.add(self.request)
                while (line := self.rfile.readline()).strip():
                    headers = dict(_headers(self.rfile))
                    method = line.split()[0].decode()
                    self.wfile.write(outer._answer(method, headers))
                    if method == "PLAY":
                        outer._play(self.wfile)
                        return

        return Handler

    def _answer(self, method: str, headers: dict[str, str]) -> bytes:
        lines, body, status = [f"CSeq: {headers.get('cseq', '0')}", "Session: 1"], "", "200 OK"
        if method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track1\r\n"
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP" and "TCP" not in headers.get("transport", ""):
            status = "461 Unsupported Transport"
        elif method == "SETUP":
            lines.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        return (f"RTSP/1.0 {status}\r\n" + "\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def _play(self, out: Any) -> None:
        sequence = 0
        for number in self.ticks():
            for packet in rtp_packets(jpeg(self.draw(number)), sequence, int(number * 90000 / self.fps)):
                out.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                sequence += 1


def _headers(file: Any) -> Iterator[tuple[str, str]]:
    while line := file.readline().strip():
        name, _, value = line.decode().partition(":")
        yield name.strip().lower(), value.strip()


def rtp_packets(data: bytes, sequence: int, timestamp: int, chunk: int = 1400) -> Iterator[bytes]:
    """Cut a JPEG into RTP packets as RFC 2435 says: tables in the first, then the bare scan."""
    tables, scan, (height, width) = _dissect(data)
    for offset in range(0, len(scan), chunk):
        piece = scan[offset : offset + chunk]
        last = offset + chunk >= len(scan)
        rtp = struct.pack(
            ">BBHII", 0x80, 26 | (0x80 if last else 0), sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 1
        )
        # type 1 is 4:2:0; quality 255: the tables are sent along
        jpeg_header = struct.pack(">IBBBB", offset, 1, 255, width // 8, height // 8)
        quantization = struct.pack(">BBH", 0, 0, len(tables)) + tables if offset == 0 else b""
        yield rtp + jpeg_header + quantization + piece
        sequence += 1


def _dissect(data: bytes) -> tuple[bytes, bytes, tuple[int, int]]:
    """Return quantization tables, entropy-coded scan, and (height, width) of a baseline JPEG."""
    tables, shape, at = b"", (0, 0), 2
    while True:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        body = data[at + 4 : at + 2 + length]
        if marker == 0xDB:
            tables += b"".join(body[i + 1 : i + 65] for i in range(0, len(body), 65))
        elif marker == 0xC0:
            shape = struct.unpack(">HH", body[1:5])
        elif marker == 0xDA:
            return tables, data[at + 2 + length : -2], shape
        at += 2 + length

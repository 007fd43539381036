"""Network cameras: MJPEG and JPEG snapshots over HTTP, everything else through FFmpeg.

MJPEG is read here and not by FFmpeg: frames that are not delivered are never decoded, their time of arrival is
known, and a server that stops sending is noticed after `timeout`, whatever it sent before.
"""

from __future__ import annotations

import email.message
import http.client
import re
import time
import urllib.error
import urllib.request
from typing import Any, Protocol

from ..addresses import Address, redact
from ..errors import AddressError, CameraError, PhotoError
from ..images import Image, read_photo
from .ffmpeg import load_cv2, to_rgb
from .live import Driver

_MAX_JPEG = 32 * 2**20
_ENDS_OF_JPEG = (b"\xff\xd9", b"\xff\xd9\r\n")
_MAX_HEADERS = 64 * 2**10
_SNAPSHOT_SECONDS = 0.2
_FOR_FFMPEG = (".m3u8", ".mp4", ".ts", ".flv", ".mkv", ".webm")
_SCHEMES = ("rtsp", "rtsps", "http", "https")


def stream_driver(url: str, timeout: float) -> Driver:
    """Return the driver for the address of a stream: FFmpeg for RTSP and containers, else HTTP."""
    try:
        address = Address.parse(url, _SCHEMES)
    except AddressError as error:
        raise CameraError(f"the stream's address is wrong: {error}") from None
    # a silent server is noticed, and contacted again, within the time that `read` waits
    timeout = max(0.25, timeout / 2)
    if address.scheme in ("rtsp", "rtsps") or address.path.lower().endswith(_FOR_FFMPEG):
        return FfmpegDriver(url, timeout)
    return HttpDriver(url, timeout)


class FfmpegDriver(Driver):
    """Any stream that FFmpeg reads, above all RTSP (over TCP)."""

    kind = "stream"

    def __init__(self, url: str, timeout: float) -> None:
        """Prepare to open `url`; `timeout` seconds apply to connecting and to each frame."""
        super().__init__(redact(url))
        self._url = url
        self._milliseconds = max(1, round(timeout * 1000))
        self._cv2 = load_cv2()
        self._capture: Any = None

    def open(self) -> None:
        """Connect to the server."""
        cv2 = self._cv2
        parameters = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, self._milliseconds),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, self._milliseconds),
            *(cv2.CAP_PROP_N_THREADS, 1),  # each further decoder thread delays by one frame
        ]
        self._capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, parameters)
        if not self._capture.isOpened():
            self.close()
            raise CameraError(
                f"{self.source} cannot be opened within {self._milliseconds / 1000:g} s: wrong address or password, "
                "server off, or network down; try the same address in VLC (Media > Open network stream)"
            )

    def grab(self) -> Any:
        """Wait for the next frame, decoded to BGR."""
        done, image = self._capture.read() if self._capture is not None else (False, None)
        if not done:
            raise CameraError("the stream ended or stopped sending")
        return image

    def decode(self, packet: Any) -> Image:
        """Convert BGR to RGB."""
        return to_rgb(self._cv2, packet)

    def close(self) -> None:
        """Disconnect."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class HttpDriver(Driver):
    """An MJPEG stream (``multipart/x-mixed-replace``), or a JPEG snapshot that is fetched repeatedly."""

    kind = "stream"

    def __init__(self, url: str, timeout: float) -> None:
        """Prepare to open `url`; `timeout` seconds apply to connecting and to each wait for data."""
        super().__init__(redact(url))
        self._timeout = timeout
        self._opener, self._request = _prepare(url)
        self._response: http.client.HTTPResponse | None = None
        self._parts: Multipart | None = None
        self._last_snapshot = 0.0

    def open(self) -> None:
        """Request the stream from the server."""
        self._response = self._ask()
        headers = self._response.headers
        if headers.get_content_maintype() == "multipart":
            self._parts = Multipart(self._response, _boundary(headers))
        elif headers.get_content_type() == "image/jpeg":
            self._parts = None
        else:
            self.close()
            raise CameraError(
                f"{self.source} responds with {headers.get_content_type()}, expected multipart/x-mixed-replace (MJPEG) "
                "or image/jpeg; a camera's stream often has a path such as /video, /stream or /?action=stream"
            )

    def grab(self) -> bytes:
        """Wait for the next JPEG."""
        try:
            return self._snapshot() if self._parts is None else self._parts.next_part()
        except TimeoutError as error:
            raise CameraError(f"the server sent nothing for {self._timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise error if isinstance(error, CameraError) else CameraError(_reason(error)) from error

    def decode(self, packet: bytes) -> Image:
        """Decode a JPEG."""
        try:
            return read_photo(packet)
        except PhotoError as error:
            raise CameraError(str(error)) from error

    def close(self) -> None:
        """Disconnect."""
        if self._response is not None:
            self._response.close()
            self._response = self._parts = None

    def _ask(self) -> http.client.HTTPResponse:
        try:
            response: http.client.HTTPResponse = self._opener.open(self._request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            error.close()
            step = {401: "write the password as http://USER:PASSWORD@HOST/", 404: "correct the path"}
            raise CameraError(
                f"{self.source} refuses with status {error.code} {error.reason}; "
                f"{step.get(error.code, 'see the web page of the camera')}"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CameraError(
                f"{self.source} cannot be reached: {_reason(error)}; check the address and whether the camera is on"
            ) from error
        return response

    def _snapshot(self) -> bytes:
        time.sleep(max(0.0, self._last_snapshot + _SNAPSHOT_SECONDS - time.monotonic()))
        self._last_snapshot = time.monotonic()
        with self._response or self._ask() as response:
            self._response = None
            data = response.read(_MAX_JPEG + 1)
        if len(data) > _MAX_JPEG:
            raise CameraError(f"the snapshot is larger than {_MAX_JPEG} bytes")
        return data


class Reader(Protocol):
    """The part of a response that `Multipart` needs."""

    def read1(self, n: int, /) -> bytes:
        """Return the bytes that have arrived, at most `n`; b"" at the end."""


class Multipart:
    """The parts of a ``multipart/x-mixed-replace`` body, with or without Content-Length, in pieces of any size."""

    def __init__(self, reader: Reader, boundary: bytes) -> None:
        """Prepare to read from `reader`, whose parts `boundary` separates."""
        self._reader = reader
        self._delimiter = b"--" + boundary
        self._buffer = bytearray()

    def next_part(self) -> bytes:
        """Return the body of the next part.

        Raises:
            CameraError: The stream ends, is not multipart, or has a part that is too large.
        """
        self._until(self._delimiter, _MAX_JPEG)
        headers = self._until(b"\r\n\r\n", _MAX_HEADERS)
        length = re.search(rb"^content-length:\s*(\d{1,9})\s*$", headers, re.IGNORECASE | re.MULTILINE)
        if length is None:
            return self._until_end_of_jpeg()
        return self._exactly(int(length[1]))

    def _until(self, mark: bytes, limit: int) -> bytes:
        """Remove the bytes up to `mark` and the mark; return those before it."""
        searched = 0
        while (at := self._buffer.find(mark, searched)) < 0:
            searched = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > limit:
                raise CameraError(f"the stream is not MJPEG: no {mark!r} in {len(self._buffer)} bytes")
            self._fill()
        return self._take(at, len(mark))

    def _until_end_of_jpeg(self) -> bytes:
        """Return a part of unknown length; waiting for the next delimiter would delay every frame by one."""
        mark = b"\r\n" + self._delimiter
        while (at := self._buffer.find(mark)) < 0 and not self._buffer.endswith(_ENDS_OF_JPEG):
            if len(self._buffer) > _MAX_JPEG:
                raise CameraError(f"a frame does not end within {_MAX_JPEG} bytes")
            self._fill()
        return self._take(at if at >= 0 else len(self._buffer)).removesuffix(b"\r\n")

    def _exactly(self, length: int) -> bytes:
        if length > _MAX_JPEG:
            raise CameraError(f"a frame of {length} bytes was announced, more than {_MAX_JPEG}")
        while len(self._buffer) < length:
            self._fill()
        return self._take(length)

    def _take(self, length: int, and_drop: int = 0) -> bytes:
        taken = bytes(self._buffer[:length])
        del self._buffer[: length + and_drop]
        return taken

    def _fill(self) -> None:
        data = self._reader.read1(65536)
        if not data:
            raise CameraError("the server ended the stream")
        self._buffer += data


def _boundary(headers: email.message.Message) -> bytes:
    boundary = headers.get_param("boundary") or "boundary"
    # some cameras include the leading dashes in the header
    return str(boundary).strip().removeprefix("--").encode("latin-1", "replace")


def _prepare(url: str) -> tuple[urllib.request.OpenerDirector, urllib.request.Request]:
    """Return an opener with the user and password of the address, and a request without them."""
    address = Address.parse(url, _SCHEMES)
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()  # sends nothing before the server asks
    if address.user is not None:
        passwords.add_password(None, address.bare, address.user, address.password or "")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),  # a camera is in the same network; a proxy would buffer
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
    )
    return opener, urllib.request.Request(address.bare, headers={"User-Agent": "edgetl"})  # noqa: S310  (http or https only)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__)

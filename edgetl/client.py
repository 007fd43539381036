"""A client for the HTTP API of `edgetl serve`, on the standard library; docs/http-api.md describes the API."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import shutil
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import EllipsisType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
from numpy.typing import NDArray

from device.addresses import redact
from device.errors import AddressError, EdgetlError, LabelError, PhotoError, ServerError
from device.files import atomic_output, shown
from device.heads import Prediction
from device.learner.correcting import Correction
from device.learner.selecting import SampleFilter
from device.store import Sample

_V1 = "/api/v1/"
_JSON = {"Content-Type": "application/json"}
_PHOTO = {"Content-Type": "application/octet-stream"}  # the server looks at the first bytes


class Client:
    """Predict, teach and correct on a server that `edgetl serve` runs, on this machine or another.

    Each call is one connection, so one client can be used by several threads.

    Args:
        url: Address of the server.
        token: Its token; None where none is needed. `Client.sign_in` gets one from a link.
        timeout: Seconds to wait for the server to connect, and for each part of its answer.
        fingerprint: SHA-256 of the certificate of `edgetl serve --https`, as it prints it. No other certificate is accepted
            then, and no authority has to sign it.

    Raises:
        AddressError: `url` is not an http or https address, or the token or the fingerprint cannot be one.

    Example:
        >>> client = Client("http://localhost:8080")
        >>> client.teach("mug.jpg", "mug").id            # doctest: +SKIP
        1
        >>> client.predict("another.jpg").label          # doctest: +SKIP
        'mug'
    """

    def __init__(
        self,
        url: str = "http://localhost:8080",
        token: str | None = None,
        *,
        timeout: float = 30.0,
        fingerprint: str | None = None,
    ) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:  # a port that is not a number, half an IPv6 address
            raise AddressError(
                f"the address of a server is http://HOST:PORT, got {redact(url)!r}: {error}"
            ) from error
        if parts.scheme not in ("http", "https") or not self._host:
            raise AddressError(f"the address of a server is http://HOST:PORT, got {redact(url)!r}")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise AddressError(
                "a token consists of letters, digits, - and _; copy it again, without line breaks"
            )
        self._scheme, self._path = parts.scheme, parts.path.rstrip("/")
        self.token, self.timeout = token, timeout
        self._fingerprint = None if fingerprint is None else _checked_fingerprint(fingerprint, self._scheme)

    @classmethod
    def sign_in(cls, link: str, *, timeout: float = 30.0, fingerprint: str | None = None) -> Client:
        """Return a client with a token of its own, for the one-time link that the server printed.

        The token is in `token`; keep it to use it again, because the link works once.

        Raises:
            ServerError: The link was used before.
        """
        url, _, key = link.partition("#")
        client = cls(url, timeout=timeout, fingerprint=fingerprint)
        client.token = client._json("POST", "token", json.dumps({"key": key}).encode(), _JSON)["token"]
        return client

    @property
    def url(self) -> str:
        """Address of the server, without a slash at its end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{self._scheme}://{host}{f':{self._port}' if self._port else ''}{self._path}"

    # predicting and teaching

    def predict(self, photo: bytes | str | Path) -> Prediction:
        """Return the prediction for a photo.

        Args:
            photo: An encoded photo, such as the bytes of a JPEG, or the path of its file.

        Raises:
            PhotoError: The file cannot be read.
            ServerError: Nothing was taught yet, the photo is refused, or the server cannot be reached.
        """
        return Prediction(**self._json("POST", "predict", _encoded(photo), _PHOTO))

    def predict_embedding(self, embedding: NDArray[np.float32] | Sequence[float]) -> Prediction:
        """Return the prediction for an embedding from `Learner.embed_one` with the same model and views: float32 [D].

        Raises:
            ServerError: Nothing was taught yet, or the model has another number of dimensions.
        """
        body = json.dumps({"embedding": [float(value) for value in embedding]}).encode()
        return Prediction(**self._json("POST", "predict", body, _JSON))

    def teach(
        self,
        photo: bytes | str | Path,
        label: str | EllipsisType | None = ...,
        source: str = "",
        *,
        not_label: str | None = None,
    ) -> Sample:
        """Teach a photo; returns once the sample survives a power cut of the server.

        Args:
            photo: An encoded photo, or the path of its file.
            label: Its label. None means background: it belongs to no label, and such photos become unknown.
            source: Origin of the photo. Photos of one label and one source less than two seconds apart count as
                near-duplicates; without a source no photos do.
            not_label: The photo is a negative of this label, in place of `label`.

        Raises:
            LabelError: Neither or both of `label` and `not_label` are given.
            PhotoError: The file cannot be read.
            ServerError: The photo or the label is refused, the disk is full, or the server cannot be reached.
        """
        meaning = {
            name: "true" if value is True else value for name, value in _meaning(label, not_label).items()
        }
        query = urlencode({**meaning, **({"source": source} if source else {})}, quote_via=quote)
        return _sample(self._json("POST", f"samples?{query}", _encoded(photo), _PHOTO))

    # correcting

    def relabel(
        self, id: int, label: str | EllipsisType | None = ..., *, not_label: str | None = None
    ) -> Sample:
        """Change the label of a sample; `label` and `not_label` are those of `teach`.

        Raises:
            LabelError: Neither or both of `label` and `not_label` are given.
            ServerError: There is no such sample, or the label is refused.
        """
        body = json.dumps(_meaning(label, not_label)).encode()
        return _sample(self._json("PATCH", f"samples/{id}", body, _JSON))

    def forget(self, id: int) -> None:
        """Forget a sample, exactly as if it had never been taught.

        Raises:
            ServerError: There is no such sample.
        """
        self._json("DELETE", f"samples/{id}")

    def undo(self) -> str:
        """Undo the newest change of any client, and return a description; "" when there was nothing to undo."""
        return str(self._json("POST", "undo")["message"])

    def correct(
        self,
        wanted: SampleFilter,
        action: str,
        label: str | None = None,
        *,
        not_label: str | None = None,
        background: bool = False,
        dry_run: bool = False,
    ) -> Correction:
        """Relabel, forget, exclude or include many samples in one change, as `Learner.correct` does.

        Raises:
            ServerError: There is no condition, the label does not fit the action, or a sample does not exist.
        """
        targets = {"label": label, "not": not_label, "background": background or None}
        default = SampleFilter()
        select = {name: one for name, one in vars(wanted).items() if one != getattr(default, name)}
        body = {"select": select, "action": action, "dry_run": dry_run}
        body |= {name: one for name, one in targets.items() if one is not None}
        found = self._json("POST", "samples/correct", json.dumps(body).encode(), _JSON)
        suggested = {int(number): name for number, name in found["suggested"].items()}
        names = (
            "action",
            "label",
            "moved",
            "samples",
            "dry_run",
            "not_label",
            "meaning",
            "negatives",
            "background",
        )
        return Correction(
            ids=tuple(found["ids"]),
            suggested=suggested,
            **{name: found[name] for name in names if name in found},  # an older server lacks the last four
        )

    # uncertain frames

    def doubts(self) -> list[dict[str, Any]]:
        """Return the uncertain frames that wait for a label, the most useful first, as JSON."""
        listed: list[dict[str, Any]] = self._json("GET", "doubts")["doubts"]
        return listed

    def picture(self, doubt: int) -> bytes:
        """Return the picture of an uncertain frame as JPEG.

        Raises:
            ServerError: The frame is no longer in the list.
        """
        with self._answered("GET", f"doubts/{doubt}.jpg") as response:
            return response.read()

    def teach_doubts(
        self, ids: Sequence[int], label: str | EllipsisType | None = ..., *, not_label: str | None = None
    ) -> list[Sample]:
        """Teach uncertain frames in one change, and remove them from the list.

        `label` and `not_label` are those of `teach`.

        Raises:
            LabelError: Neither or both of `label` and `not_label` are given.
            ServerError: A frame is no longer in the list, or the label is refused; then none is taught.
        """
        body = json.dumps({"ids": list(ids), **_meaning(label, not_label)}).encode()
        return [_sample(one) for one in self._json("POST", "doubts/teach", body, _JSON)["samples"]]

    def drop_doubts(self, ids: Sequence[int]) -> None:
        """Remove uncertain frames from the list without teaching them."""
        self._json("POST", "doubts/drop", json.dumps({"ids": list(ids)}).encode(), _JSON)

    # reading

    def samples(
        self,
        label: str | None = None,
        limit: int = 60,
        before: int | None = None,
        excluded: bool = False,
        *,
        not_label: str | None = None,
        background: bool = False,
    ) -> list[Sample]:
        """Return samples without their thumbnails, newest first, at most 600.

        Args:
            label: Only those of this label.
            limit: Maximum number.
            before: Only those of smaller ids.
            excluded: Return the excluded samples instead.
            not_label: Only negatives of this label.
            background: Only background.
        """
        kind = {"label": label, "not": not_label, "background": "true" if background else None}
        wanted = {"limit": limit, "before": before, "excluded": "true" if excluded else None, **kind}
        query = urlencode({name: one for name, one in wanted.items() if one is not None}, quote_via=quote)
        return [_sample(one) for one in self._json("GET", f"samples?{query}")["samples"]]

    def status(self, *, forecast: bool = False) -> dict[str, Any]:
        """Return the status of the learner and of the camera, as JSON; with `forecast`, the accuracy with more photos."""
        return self._json("GET", "status?forecast=true" if forecast else "status")

    def model(self) -> dict[str, Any]:
        """Return the model and its labels, as JSON."""
        return self._json("GET", "model")

    def snapshot(self) -> bytes:
        """Return the newest frame of the camera as JPEG.

        Raises:
            ServerError: There is no camera, or it is lost.
        """
        with self._answered("GET", "snapshot.jpg") as response:
            return response.read()

    def export(self, path: str | Path, *, force: bool = False) -> Path:
        """Download a model file that starts with everything taught.

        Raises:
            ServerError: Nothing was taught yet.
            StorageError: `path` exists and `force` is false, or it cannot be written.
        """
        with (
            self._answered("GET", "model.tflite") as response,
            atomic_output(Path(path), force=force) as temporary,
            temporary.open("wb") as file,
        ):
            shutil.copyfileobj(response, file)
            if response.length:
                raise ServerError(
                    f"the connection to {self.url} ended before the file was complete; try again"
                )
        return Path(path)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield an event for each frame and each change, until the server ends.

        Raises:
            ServerError: The server cannot be reached.
        """
        with self._answered("GET", "events") as response:
            for line in response:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def __repr__(self) -> str:
        return f"<Client {self.url}>"

    def _json(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        with self._answered(method, path, body, headers) as response:
            found: dict[str, Any] = json.loads(response.read())
            return found

    def _connection(self) -> http.client.HTTPConnection:
        if self._fingerprint is not None:
            return _PinnedConnection(self._host, self._port, self.timeout, self._fingerprint)
        kind = http.client.HTTPSConnection if self._scheme == "https" else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self.timeout)

    @contextlib.contextmanager
    def _answered(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request, and close the connection after the block."""
        connection = self._connection()
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # a body that is too large is refused before it is read to its end: the answer has the reason
                connection.request(method, self._path + _V1 + path, body, {**own, **(headers or {})})
            response = connection.getresponse()
            if response.status >= 300:
                raise _refused(response)
            yield response
        except EdgetlError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise ServerError(
                f"the certificate of {self.url} is not accepted: {error.verify_message}; pass the fingerprint that "
                "`edgetl serve --https` printed, as fingerprint"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise ServerError(
                f"{self.url} does not answer: {reason}; check that `edgetl serve` runs there"
            ) from error
        finally:
            connection.close()


class _PinnedConnection(http.client.HTTPSConnection):
    """A connection that accepts the one certificate with this fingerprint, before anything is sent."""

    def __init__(self, host: str, port: int | None, timeout: float, fingerprint: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # the fingerprint is compared instead
        context.verify_mode = ssl.CERT_NONE
        super().__init__(host, port, timeout=timeout, context=context)
        self._fingerprint = fingerprint

    def connect(self) -> None:
        """Connect, and compare the fingerprint.

        Raises:
            ServerError: It is another certificate.
        """
        super().connect()
        found = hashlib.sha256(self.sock.getpeercert(binary_form=True) or b"").hexdigest()
        if found != self._fingerprint:
            self.close()
            raise ServerError(
                f"the server at {self.host} has another certificate: its SHA-256 fingerprint is {found}, expected "
                f"{self._fingerprint}; compare it with the one that `edgetl serve --https` prints"
            )


def _checked_fingerprint(text: str, scheme: str) -> str:
    """Return a fingerprint as 64 digits, from any of the usual forms."""
    digits = text.replace(":", "").replace(" ", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise AddressError(
            f"a fingerprint is SHA-256 in hexadecimal, such as AB:CD:..., with 64 digits, got {redact(text)[:80]!r}"
        )
    if scheme != "https":
        raise AddressError("a fingerprint needs an https address; http has no certificate")
    return digits


def _refused(response: http.client.HTTPResponse) -> ServerError:
    try:
        message = str(json.loads(response.read(2**16))["error"])
    except (ValueError, KeyError, TypeError):  # not from edgetl, such as a proxy
        message = f"the server answered {response.status} {response.reason}"
    return ServerError(message, response.status)


def _encoded(photo: bytes | str | Path) -> bytes:
    if isinstance(photo, bytes):
        return photo
    try:
        return Path(photo).read_bytes()
    except OSError as error:
        raise PhotoError(
            f"{shown(photo)} cannot be read: {error.strerror}; check the path and its permissions"
        ) from error


def _sample(fields: Mapping[str, Any]) -> Sample:
    names = ("id", "label", "time", "source", "burst")
    # a server of an older version knows neither negatives nor excluded samples
    more = {"not_label": fields.get("not_label"), "excluded": fields.get("excluded", False)}
    return Sample(**{name: fields[name] for name in names}, thumbnail=None, **more)


def _meaning(label: str | EllipsisType | None, not_label: str | None) -> dict[str, str | bool]:
    """Return the field of a request that says what a photo shows."""
    if isinstance(label, EllipsisType) == (not_label is None):
        raise LabelError("name one of: a label, label=None for background, not_label='mug' for a negative")
    if not_label is not None:
        return {"not": not_label}
    return {"background": True} if label is None else {"label": str(label)}

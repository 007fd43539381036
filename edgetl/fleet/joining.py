"""A device in a fleet: a SuperNode that answers the server from the device's state file."""

from __future__ import annotations

import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from device.errors import FleetError
from device.fleet.membership import Membership, join, membership_in
from device.learner.learner import identity_of, state_beside
from device.learner.shared import load_shared
from device.model.modelfile import ModelFile
from device.store import Store

from .certificates import require_flower
from .invitation import Invitation
from .processes import DEVICE_SETTINGS, environment, free_port, require_running, running

_POLL = 0.5
_AGAIN, _LONGEST = 2.0, 60.0  # seconds until a SuperNode that ended is started again; twice as many each time
_LAST_WORDS = 10.0  # seconds for Flower to deliver that the device left


def take_part(
    model: str | Path,
    invitation: str | Path,
    *,
    state: str | Path | None = None,
    personal: Sequence[str] = (),
    min_count: int = 1,
    weight: float = 1.0,
    noise: float = 0.0,
) -> Generator[dict[str, Any], None, None]:
    """Take part in a fleet until the iterator is closed or the device leaves, and yield what happens.

    The first dict has the key ``event`` with the value ``joined``, the last ``left``. Between them, ``received`` follows
    whenever what the other devices have learned changed, and ``disconnected`` whenever Flower's SuperNode ended, for the
    given ``reason``, and was started again.

    Args:
        model: The model file; it needs the backbone of the fleet.
        invitation: The invitation file.
        state: The state file; by default it has the name of the model file with the suffix ``.db``.
        personal: Labels that stay on this device.
        min_count: Labels with fewer samples stay on this device.
        weight: How much a sample of another device counts, a multiple of 1/16 from 0 to 1.
        noise: Standard deviation of noise on each number of an embedding of length one, before it is summed.

    Raises:
        FleetError: The invitation cannot be read, an option is out of range, or the model keeps an old classifier.
        MissingExtraError: Flower is not installed.
        StateError: The state file is damaged or of another model.
    """
    require_flower()
    invited = Invitation.read(invitation)
    membership = Membership.of(
        invited.name, personal=personal, min_count=min_count, weight=weight, noise=noise
    )
    opened = ModelFile.open(model)
    if opened.old_head() is not None:
        raise FleetError(
            f"{opened.path.name} keeps an old classifier, which statistics cannot be added to; use a model file without one"
        )
    path = Path(state) if state is not None else state_beside(opened.path)
    assert path is not None  # noqa: S101 - it may be written
    with Store.open(path, identity_of(opened)) as store, _Node(invited, opened.path, path) as node:
        join(store, membership)
        personal_labels = list(membership.personal)
        yield {
            "event": "joined",
            "device": invited.name,
            "server": invited.address,
            "personal": personal_labels,
        }
        yield from _watch(store, node)
    yield {"event": "left", "device": invited.name}


def _watch(store: Store, node: _Node) -> Generator[dict[str, Any], None, None]:
    """Yield what happens until the server has learned that the device left."""
    seen, mark, kept = -1, (-1, -1), ""
    while True:
        reason = node.restart_if_ended()
        if reason:
            yield {"event": "disconnected", "reason": reason}
        now = store.database.change_mark()
        if now != mark:
            mark = now
            if membership_in(store) is None:
                time.sleep(_LAST_WORDS)
                return
            digest = store.shared_digest()
            # lessons change the mark too, and reading the statistics takes a while on a Pi
            shared = load_shared(store) if digest != kept else None
            kept = digest
            if shared is not None and shared.round != seen:
                seen = shared.round
                yield {
                    "event": "received",
                    "round": shared.round,
                    "devices": shared.devices,
                    "samples": shared.samples,
                    "labels": shared.sums.counts(),
                }
        time.sleep(_POLL)


class _Node:
    """Flower's SuperNode and its executor, which are started again when they end.

    A SuperNode ends, among other reasons, when the server does not know its key yet, as while the server starts.

    Args:
        invited: The invitation.
        model: The model file.
        state: The state file.
    """

    def __init__(self, invited: Invitation, model: Path, state: Path) -> None:
        self._invited, self._model, self._state = invited, model.resolve(), state.resolve()
        self._all, self._running = ExitStack(), ExitStack()
        self._processes: list[tuple[subprocess.Popen[bytes], str]] = []
        self._pause = _AGAIN

    def __enter__(self) -> Self:
        self._folder = Path(self._all.enter_context(tempfile.TemporaryDirectory(prefix="edgetl-fleet-")))
        self._log = self._folder / "flower.log"
        self._write("ca.pem", self._invited.authority.encode())
        self._write("device.key", self._invited.key.encode())
        self._write("secret", secrets.token_bytes(32))
        settings = {"model": str(self._model), "state": str(self._state)}
        self._write("device.json", json.dumps(settings).encode())
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()
        self._all.close()

    def restart_if_ended(self) -> str:
        """Start the processes again if one has ended; return why it did, or "" if none did."""
        try:
            for process, what in self._processes:
                require_running(process, what, self._log)
        except FleetError as error:
            self._running.close()
            time.sleep(self._pause)
            self._pause = min(2 * self._pause, _LONGEST)
            self._log.unlink(missing_ok=True)
            self._start()
            return str(error)
        return ""

    def _start(self) -> None:
        port, files = free_port(), self._folder
        env = environment(files / "flower", **{DEVICE_SETTINGS: str(files / "device.json")})
        options = [
            *("--superlink", self._invited.address),
            *("--root-certificates", str(files / "ca.pem")),
            *("--auth-supernode-private-key", str(files / "device.key")),
            *("--isolation", "process"),
            *("--superexec-auth-secret-file", str(files / "secret")),
            *("--host", "127.0.0.1"),
            *("--port", str(port)),
        ]
        address = [f"127.0.0.1:{port}", str(files / "secret")]
        self._running = ExitStack()
        self._processes = [
            (self._running.enter_context(running(f"edgetl.fleet.{module}", arguments, env, self._log)), what)
            for module, arguments, what in (
                ("supernode", options, "Flower's SuperNode"),
                ("executor", address, "Flower's executor"),
            )
        ]

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        path.touch(mode=0o600)  # the folder itself is readable only by its owner
        path.write_bytes(data)

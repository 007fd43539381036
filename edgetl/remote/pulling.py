"""Fetching what devices were taught: a snapshot of each state file, also while it is in use."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.errors import EdgetlError, StorageError
from device.files import refuse_existing, require_writable
from device.progress import Progress, no_progress
from device.store import Store

from .deployment import FOLDER
from .device import Device
from .program import find_place
from .several import for_each, machines_of
from .ssh import Ssh


@dataclass(frozen=True)
class Pulled:
    """The result of one device.

    Attributes:
        target: The device.
        path: The state file here; None if it failed.
        error: Why there is none; empty otherwise.
        samples: Number of samples per label.
        bytes: Size of the file.
        model_sha256: Checksum of the model file that the device uses.
        warnings: Remarks for the user, such as of pictures that cannot be read.
    """

    target: str
    path: Path | None = None
    error: str = ""
    samples: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    model_sha256: str = ""
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-serializable dict."""
        path = None if self.path is None else str(self.path)
        return {**vars(self), "path": path, "warnings": list(self.warnings)}


def pull(
    targets: Sequence[str],
    out: str | Path = ".",
    folder: str = FOLDER,
    *,
    thumbnails: bool = False,
    force: bool = False,
    python: str = "",
    config: Path | None = None,
    parallel: int = 4,
    progress: Progress = no_progress,
) -> list[Pulled]:
    """Fetch the state files of devices, as ``HOST.db``; a failure on one does not stop the others.

    Args:
        targets: The devices, as ssh names them.
        out: Folder for the files; it is made if it does not exist.
        folder: Folder of the deployment there; a relative path starts at the home folder.
        thumbnails: Fetch the small pictures of the samples too.
        force: Replace files of the same names.
        python: A Python there; "" finds one.
        config: Configuration file of ssh instead of the user's.
        parallel: Number of devices at a time.
        progress: Called as task "TARGET: STEP".

    Raises:
        RemoteError: A target cannot be the name of a device.
        StorageError: `out` cannot be written.
    """
    out = Path(out)
    machines = machines_of(targets, config)
    paths = dict(zip((ssh.target for ssh in machines), _paths(out, machines), strict=True))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            error.errno or 0, f"the folder {out} cannot be made: {error.strerror}; choose another with --out"
        ) from error
    require_writable(out / "state.db")

    def one(ssh: Ssh, progress: Progress) -> Pulled:
        refuse_existing(paths[ssh.target], force)
        progress("copying the state", 0, None)
        device = Device(find_place(ssh, folder, python))
        made = device.do("snapshot", edgetl=device.place.edgetl_words(), thumbnails=thumbnails)
        try:
            path = ssh.fetch(made["path"], paths[ssh.target], force=force)
        finally:
            with contextlib.suppress(EdgetlError):  # it is removed after a day otherwise
                device.do("discard", path=made["path"])
        with Store.open(path, None, read_only=True) as store:
            samples = store.counts()
        warnings = tuple(made["warning"].splitlines())
        return Pulled(ssh.target, path, "", samples, path.stat().st_size, made["model"], warnings)

    return for_each(machines, one, _failed, parallel=parallel, progress=progress)


def _failed(target: str, reason: str) -> Pulled:
    return Pulled(target, None, reason)


def _paths(folder: Path, machines: Sequence[Ssh]) -> list[Path]:
    """Return a path per machine: the name of its host, or all of its target where two have the same host."""
    hosts = [
        _safe(re.sub(r"^ssh://|^[^@]*@|:\d+$", "", re.sub(r"^ssh://", "", ssh.target))) for ssh in machines
    ]
    names = [
        host if hosts.count(host) == 1 else _safe(ssh.target)
        for ssh, host in zip(machines, hosts, strict=True)
    ]
    if len(set(names)) < len(names):
        raise StorageError(
            0, "the names of two devices differ only in special characters; fetch them one by one"
        )
    return [folder / f"{name}.db" for name in names]


def _safe(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip(".-") or "device"

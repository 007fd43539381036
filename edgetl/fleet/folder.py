"""The folder of a fleet's server: certificates, the public keys of its devices, and the newest contribution of each."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.errors import FleetError
from device.files import atomic_output, storage_error
from device.fleet.contribution import check_client
from device.fleet.ledger import contribution_file

_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."


@dataclass(frozen=True)
class FleetFolder:
    """Where the server of a fleet keeps its files.

    Attributes:
        path: The folder.
    """

    path: Path

    @classmethod
    def open(cls, path: str | Path, *, create: bool = False) -> FleetFolder:
        """Return the folder, which only its owner may read.

        Raises:
            FleetError: It does not exist and `create` is false.
            StorageError: It cannot be made.
        """
        folder = cls(Path(path))
        if not create and not folder.path.is_dir():
            raise FleetError(
                f"there is no fleet in {path}; make one with: edgetl fleet invite NAME --dir {path}"
            )
        try:
            for each in (folder.path, folder.devices, folder.contributions, folder.flower):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, folder.path) from error
        return folder

    @property
    def devices(self) -> Path:
        """Public keys of the devices, NAME.pub."""
        return self.path / "devices"

    @property
    def contributions(self) -> Path:
        """The newest contribution of each device, NAME.npz."""
        return self.path / "contributions"

    @property
    def flower(self) -> Path:
        """Files of Flower itself."""
        return self.path / "flower"

    @property
    def rounds(self) -> Path:
        """One line of JSON for each round and each event in it."""
        return self.path / "rounds.jsonl"

    @property
    def settings(self) -> Path:
        """Settings of the running server, for the process that computes the rounds."""
        return self.path / "settings.json"

    def names(self) -> list[str]:
        """Return the names of the invited devices, sorted."""
        return sorted(path.stem for path in self.devices.glob("*.pub"))

    def public_key(self, name: str) -> Path:
        """Return the file of a device's public key.

        Raises:
            FleetError: The name cannot be the name of a device.
        """
        return self.devices / f"{check_name(name)}.pub"

    def remove(self, name: str) -> None:
        """Remove a device and its contribution.

        Raises:
            FleetError: There is no such device.
        """
        if not self.public_key(name).exists():
            raise FleetError(
                f"no device {name!r} was invited; devices are: {', '.join(self.names()) or 'none'}"
            )
        self.public_key(name).unlink()
        contribution_file(self.contributions, name).unlink(missing_ok=True)

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings of the running server."""
        with atomic_output(self.settings, force=True, private=True) as temporary:
            temporary.write_text(json.dumps(settings, indent=1), encoding="utf-8")

    def read_settings(self) -> dict[str, Any]:
        """Return the settings of the running server."""
        settings: dict[str, Any] = json.loads(self.settings.read_text(encoding="utf-8"))
        return settings

    def log(self, event: dict[str, Any]) -> None:
        """Append an event to the rounds."""
        with self.rounds.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
            file.flush()
            os.fsync(file.fileno())


def check_name(name: str) -> str:
    """Return the name of a device, which is also the name of its files.

    Raises:
        FleetError: It contains other characters than letters, digits, ``-``, ``_`` and ``.``.
    """
    name = check_client(name)
    if name.startswith((".", "-")) or any(character not in _NAME for character in name):
        raise FleetError(
            "the name of a device may contain letters, digits, '-', '_' and '.', and must not start with '-' or '.', got"
            f" {name!r}"
        )
    return name

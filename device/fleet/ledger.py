"""The newest contribution of each device, checked, on the disk or in RAM."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from ..errors import FleetError, StorageError
from ..files import atomic_output
from .contribution import Contribution, FleetModel
from .packing import pack_contribution, unpack_contribution
from .total import Total

_SUFFIX = ".npz"


class Ledger:
    """The newest contribution of each device.

    Only packed bytes are kept, so that the RAM for a total does not depend on the number of devices.

    Args:
        model: The model of the fleet.
        folder: Folder with one file per device; None keeps them in RAM.
    """

    def __init__(self, model: FleetModel, folder: Path | None = None) -> None:
        self.model = model
        self._folder = folder
        self._kept: dict[str, bytes] = {}

    @property
    def devices(self) -> list[str]:
        """Names of the devices that have a contribution, sorted."""
        if self._folder is None:
            return sorted(self._kept)
        return sorted(path.name.removesuffix(_SUFFIX) for path in self._folder.glob(f"*{_SUFFIX}"))

    def put(self, device: str, data: bytes) -> Contribution:
        """Replace the contribution of a device, after every check.

        Args:
            device: Name of the device, as the transport knows it; a name in the message does not count.
            data: Packed contribution.

        Raises:
            FleetError: The contribution is refused; the one before stays.
            StorageError: It cannot be written.
        """
        contribution = unpack_contribution(data, self.model, device)
        if self._folder is None:
            self._kept[device] = data
        else:
            path = contribution_file(self._folder, device)
            with atomic_output(path, force=True, private=True) as temporary:
                temporary.write_bytes(data)
        return contribution

    def get(self, device: str) -> Contribution:
        """Return the contribution of a device.

        Raises:
            FleetError: There is none, or its file is damaged.
        """
        data = self._data(device)
        if data is None:
            raise FleetError(f"{device} has contributed nothing yet")
        return unpack_contribution(data, self.model, device)

    def mark(self, device: str) -> str:
        """Return the sha256 of a device's packed contribution; "" if there is none."""
        data = self._data(device)
        return "" if data is None else mark_of(data)

    def drop(self, device: str) -> None:
        """Remove the contribution of a device, if there is one."""
        if self._folder is None:
            self._kept.pop(device, None)
        else:
            contribution_file(self._folder, device).unlink(missing_ok=True)

    def total(self, without: Collection[str] = ()) -> Total:
        """Return the sum of all contributions, except those of some devices.

        Raises:
            FleetError: A file is damaged, or of another model.
        """
        total = Total(self.model)
        for device in self.devices:
            if device not in without:
                total.add(self.get(device))
        return total

    def _data(self, device: str) -> bytes | None:
        if self._folder is None:
            return self._kept.get(device)
        path = contribution_file(self._folder, device)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error


def contribution_file(folder: Path, device: str) -> Path:
    """Return the file of a device's contribution in the folder of a `Ledger`."""
    return folder / f"{device}{_SUFFIX}"


def mark_of(data: bytes) -> str:
    """Return the sha256 of a packed contribution, by which an unchanged one is recognized."""
    return hashlib.sha256(data).hexdigest()


def pack_others(total: Total, device: str, own: Contribution | None) -> bytes:
    """Return the packed statistics of all devices but one, for that device."""
    sums = total.sums if own is None else total.without(own)
    return pack_contribution(Contribution(device, total.model, sums))

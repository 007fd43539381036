"""An invitation: one file with all that a device needs to join a fleet. It contains the private key of the device."""

from __future__ import annotations

from pathlib import Path

import msgspec

from device.errors import FleetError
from device.files import atomic_output, refuse_existing

from .certificates import make_authority, new_device_key
from .folder import FleetFolder, check_name

_FORMAT = 1
_MOST_BYTES = 100_000


class Invitation(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a device needs to join.

    Attributes:
        format: 1.
        name: Name of the device.
        address: Host and port of the server.
        authority: Certificate of the fleet's authority, PEM.
        key: Private key of the device, in the format of OpenSSH.
    """

    format: int
    name: str
    address: str
    authority: str
    key: str

    @classmethod
    def read(cls, path: str | Path) -> Invitation:
        """Read an invitation.

        Raises:
            FleetError: The file cannot be read or is no invitation.
        """
        try:
            with Path(path).open("rb") as file:
                invitation = msgspec.json.decode(file.read(_MOST_BYTES), type=cls)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FleetError(
                f"{path} is no invitation to a fleet: {error}; on the server, make one with: edgetl fleet invite NAME"
            ) from error
        if invitation.format != _FORMAT:
            raise FleetError(
                f"{path} has format {invitation.format}, expected {_FORMAT}; install the same version of edgetl on the server and"
                " the device"
            )
        check_name(invitation.name)
        return invitation


def invite(
    folder: str | Path, name: str, address: str, out: str | Path | None = None, *, force: bool = False
) -> Path:
    """Add a device to a fleet, write its invitation, and return the path.

    The server keeps only the public key.

    Args:
        folder: The folder of the fleet; it is made if it does not exist.
        name: Name of the device.
        address: Host and port at which the device reaches the server.
        out: The invitation file; by default NAME.invitation.
        force: Replace the key of a device that was invited before, whose old invitation is then void.

    Raises:
        FleetError: The name cannot be the name of a device, or is in use.
        StorageError: A file cannot be written.
        MissingExtraError: Flower is not installed.
    """
    fleet = FleetFolder.open(folder, create=True)
    public_path = fleet.public_key(name)
    path = Path(f"{name}.invitation") if out is None else Path(out)
    refuse_existing(path, force)
    if public_path.exists() and not force:
        raise FleetError(
            f"{name} was invited to this fleet before; choose another name, or make its old invitation void with --force"
        )
    make_authority(fleet)
    private, public = new_device_key()
    authority = (fleet.path / "ca.pem").read_text(encoding="ascii")
    with atomic_output(path, force=force, private=True) as temporary:
        temporary.write_bytes(
            msgspec.json.format(msgspec.json.encode(Invitation(_FORMAT, name, address, authority, private)))
        )
    with atomic_output(public_path, force=True) as temporary:
        temporary.write_text(f"{public}\n", encoding="ascii")
    return path

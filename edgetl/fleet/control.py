"""The server's control of its SuperLink: registering devices and starting the run."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from device.errors import FleetError

_APP = "edgetl_fleet"
_CODE = """from edgetl.fleet.client_app import app as client
from edgetl.fleet.server_app import app as server
"""
_POLL = 0.2


class Control:
    """A connection to a SuperLink of this machine.

    Args:
        address: Host and port.
        authority: File with the certificate of the fleet's authority.
    """

    def __init__(self, address: str, authority: Path) -> None:
        from flwr.supercore.control import ControlHttpClient
        from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

        self._client = ControlHttpClient.from_server_address(
            address,
            insecure=False,
            root_certificates=str(authority),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="edgetl")],
        )

    def is_ready(self) -> bool:
        """Return whether the SuperLink answers."""
        import httpx
        from flwr.proto.control_pb2 import ListNodesRequest

        try:
            self._client.ListNodes(ListNodesRequest())
        except httpx.HTTPError:
            time.sleep(_POLL)
            return False
        return True

    def register(self, name: str, public_key: bytes) -> int:
        """Let a device connect, and return the number of its node.

        Raises:
            FleetError: The SuperLink refuses the key, such as one that another device has.
        """
        import httpx
        from flwr.proto.control_pb2 import RegisterNodeRequest

        try:
            answer = self._client.RegisterNode(RegisterNodeRequest(public_key=public_key, name=name))
        except httpx.HTTPError as error:
            raise FleetError(f"the device {name} cannot be registered: {error}") from error
        return int(answer.node_id)

    def unregister(self, node: int) -> None:
        """Let a device connect no longer."""
        import httpx
        from flwr.proto.control_pb2 import UnregisterNodeRequest

        try:
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node))
        except httpx.HTTPError as error:
            raise FleetError(f"a device cannot be removed from the SuperLink: {error}") from error

    def start_run(self) -> None:
        """Start the ServerApp.

        Raises:
            FleetError: The SuperLink refuses it.
        """
        import httpx
        from flwr.common.serde import fab_to_proto
        from flwr.proto.control_pb2 import StartRunRequest
        from flwr.supercore.fab import Fab

        content = _program()
        program = Fab(hashlib.sha256(content).hexdigest(), content, {})
        try:
            answer = self._client.StartRun(StartRunRequest(fab=fab_to_proto(program)))
        except httpx.HTTPError as error:
            raise FleetError(f"the SuperLink does not start the rounds: {error}") from error
        if not answer.HasField("run_id"):
            raise FleetError("the SuperLink does not start the rounds; its log contains the reason")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _program() -> bytes:
    """Return the program that Flower distributes: only names, because edgetl is installed on each machine."""
    from flwr.cli.build import build_fab_from_files

    content: tuple[bytes, Any] = build_fab_from_files(
        {"pyproject.toml": _project().encode(), f"{_APP}.py": _CODE.encode(), "LICENSE": b"Apache-2.0\n"}
    )
    return content[0]


def _project() -> str:
    from edgetl import __version__

    return f"""[project]
name = "edgetl-fleet"
version = "{__version__}"
description = "Exact statistics of a fleet"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "edgetl"

[tool.flwr.app.components]
serverapp = "{_APP}:server"
clientapp = "{_APP}:client"
"""

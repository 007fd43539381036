"""Steps of a deployment on one device: the text of `edgetl.remote.agent` runs there, and its result comes back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from device.printable import printable

from ..errors import RemoteCommandError
from . import agent
from .program import Place

# Makes the package `agent` of the modules that arrive on stdin. What arrived in part is no JSON, and is not run.
_BOOT = """\
import json, sys, types
call = json.load(sys.stdin)
package = sys.modules["agent"] = types.ModuleType("agent")
package.__path__ = []
for name, text in call["modules"]:
    module = sys.modules["agent." + name] = types.ModuleType("agent." + name)
    module.__package__ = "agent"
    exec(compile(text, name, "exec"), vars(module))
sys.modules["agent.steps"].main(call["step"], call["arguments"])
"""


@dataclass(frozen=True)
class Device:
    """A device, and the folder of the deployment on it.

    Attributes:
        place: Where Python and edgetl are on it.
    """

    place: Place

    @property
    def target(self) -> str:
        """The name by which ssh reaches it."""
        return self.place.ssh.target

    def do(self, step: str, **arguments: Any) -> dict[str, Any]:
        """Run a step there, and return its result.

        The arguments go through stdin, so that other users of the device do not see them in the list of processes.

        Raises:
            RemoteError: The device cannot be reached, or the connection ended. The step may have been done.
            RemoteCommandError: The step failed; the message has the reason.
        """
        call = {"step": step, "arguments": {"folder": self.place.folder, **arguments}, "modules": _modules()}
        finished = self.place.ssh.run([self.place.python, "-I", "-c", _BOOT], input=json.dumps(call).encode())
        try:
            answer: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            reason = finished.stderr.strip().rpartition("\n")[2] or f"exit code {finished.status}"
            raise RemoteCommandError(
                f"{self.target}: the step {step!r} failed: {reason}", finished.status
            ) from None
        if "error" in answer:
            raise RemoteCommandError(f"{self.target}: {printable(str(answer['error']))}")
        result: dict[str, Any] = answer["result"]
        return result


@cache
def _modules() -> list[tuple[str, str]]:
    folder = Path(agent.__file__).parent
    return [(name, (folder / f"{name}.py").read_text("utf-8")) for name in agent.MODULES]

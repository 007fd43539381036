"""A real sshd on the loopback interface, with its own keys and port, whose sessions run in a folder that stands for a device.

Every command of a session passes a small script, which counts it and can kill the connection at one of them.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
INSTALL = "sudo apt-get install openssh-server"

# runs in place of each command; $PPID is the process of sshd that serves this connection
_SESSION = """\
#!/bin/sh
cd '{home}' || exit 1
number=$(($(cat '{control}/count') + 1))
echo "$number" > '{control}/count'
printf '%s\\n' "$SSH_ORIGINAL_COMMAND" >> '{control}/log'
[ -x '{control}/hook' ] && '{control}/hook' "$number"
if [ "$number" = "$(cat '{control}/kill-at')" ]; then
    case $(cat '{control}/kill-when') in
    before) kill -9 "$PPID"; exit 1 ;;
    during) head -c 700 | sh -c "$SSH_ORIGINAL_COMMAND" > /dev/null 2>&1; kill -9 "$PPID"; exit 1 ;;
    after) sh -c "$SSH_ORIGINAL_COMMAND" > /dev/null 2>&1; kill -9 "$PPID"; exit 1 ;;
    esac
fi
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""

_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
SetEnv HOME={home} PATH={path} {environment}
ForceCommand {folder}/session
"""

_CLIENT = """\
Host {alias}
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {folder}/user
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile /dev/null
"""


@dataclass(frozen=True)
class Sshd:
    """A running sshd.

    Attributes:
        alias: Name of the device in the client's configuration.
        config: The client's configuration, for ``ssh -F``.
        home: The folder that stands for the device; sessions start there.
        control: Folder of the script's counter and log.
    """

    alias: str
    config: Path
    home: Path
    control: Path

    def kill_at(self, number: int, when: str) -> None:
        """Kill the connection of command `number` from now on: ``before`` it runs, ``during`` its input, or ``after`` it."""
        (self.control / "kill-when").write_text(when)
        (self.control / "kill-at").write_text(str(number))
        (self.control / "count").write_text("0")

    def before_each(self, script: str) -> None:
        """Run a shell script before each command from now on; its ``$1`` is the number of the command."""
        hook = self.control / "hook"
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)
        (self.control / "count").write_text("0")

    @property
    def commands(self) -> list[str]:
        """The commands that ran so far; one that contains line breaks counts as several lines."""
        return (self.control / "log").read_text().splitlines()

    @property
    def count(self) -> int:
        """Number of commands since the last `kill_at`."""
        return int((self.control / "count").read_text())


def require_sshd() -> str:
    """Return the path of sshd; skip the test if it is not installed."""
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None or shutil.which("ssh") is None:
        if os.environ.get("EDGETL_SSHD") == "required":
            pytest.fail(f"no sshd: {INSTALL}")
        pytest.skip(f"no sshd: {INSTALL}")
    if os.geteuid() == 0:  # Debian makes this folder when the service starts
        Path("/run/sshd").mkdir(exist_ok=True)
    return found


@contextlib.contextmanager
def running_sshd(
    folder: Path, alias: str = "device", path: str | None = None, *, checkout: bool = True
) -> Iterator[Sshd]:
    """Start sshd with new keys, and end it after the block.

    Args:
        folder: An empty folder for keys, configuration and the home of the device.
        alias: Name of the device in the client's configuration.
        path: PATH of the sessions. By default that of the system.
        checkout: Let every Python of the sessions import edgetl from this repository.
    """
    program = require_sshd()
    home, control = folder / "home", folder / "control"
    home.mkdir(parents=True)
    control.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = _free_port()
    values = {"port": port, "folder": folder, "home": home, "control": control, "alias": alias}
    values |= {"user": getpass.getuser(), "path": path or "/usr/local/bin:/usr/bin:/bin"}
    values["environment"] = f"PYTHONPATH={REPOSITORY}" if checkout else "EDGETL_TEST=1"
    (folder / "sshd_config").write_text(_CONFIG.format(**values))
    (folder / "config").write_text(_CLIENT.format(**values))
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "session").write_text(_SESSION.format(**values))
    (folder / "session").chmod(0o755)
    device = Sshd(alias, folder / "config", home, control)
    device.kill_at(0, "before")
    (control / "log").touch()
    command = [program, "-D", "-e", "-f", str(folder / "sshd_config")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait_until_listening(process)
            yield device
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_listening(process: subprocess.Popen[str]) -> None:
    lines = []
    for line in process.stderr or ():
        lines.append(line)
        if line.startswith("Server listening"):
            return
    pytest.fail(f"sshd did not start: {''.join(lines)}")

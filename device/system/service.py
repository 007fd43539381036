"""A systemd service that starts an edgetl command at boot, and again whenever it ends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ServiceError, StorageError
from ..files import atomic_output, refuse_existing, storage_error
from .secrets import environment_path, environment_text, remove_environment, write_environment

SYSTEM_FOLDER = Path("/etc/systemd/system")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_UNIT = """\
# written by: edgetl service install
[Unit]
Description={description}
After={after}
# a camera may be disconnected for hours: never give up
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
WorkingDirectory={folder}
{user}Environment=PYTHONUNBUFFERED=1
{secrets}Restart=always
RestartSec=5
# as Ctrl-C, so that the camera is released; what was taught is on the disk at any time
KillSignal=SIGINT
TimeoutStopSec=15

NoNewPrivileges=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native
# netlink: needed to find a Coral on USB
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
{protection}
[Install]
WantedBy={target}
"""
# these need a mount namespace, which the manager of a user cannot always create
_SYSTEM_PROTECTION = """\
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
ProtectHostname=yes
"""


@dataclass(frozen=True)
class Service:
    """A service: one command, its folder and its user.

    Attributes:
        name: Name of the unit, without ``.service``.
        command: Absolute path of the program, then its arguments. Every user of the machine can read them.
        folder: Working directory, so that relative paths keep their meaning.
        user: User that the command runs as. None: a unit of the calling user, which needs no root.
        title: Description that systemctl shows; by default the command.
        secrets: Environment variables and their values, kept in a file that only its owner can read.

    Example:
        >>> unit = Service("door", ("/usr/bin/edgetl", "run", "door.tflite"), Path("/home/pi"), "pi")
        >>> print(unit.path)
        /etc/systemd/system/door.service
        >>> "Restart=always" in unit.text()
        True
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    user: str | None = None
    title: str = ""
    secrets: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.command or not Path(self.command[0]).is_absolute():
            raise ServiceError(f"a service needs a program with its absolute path, got {self.command!r}")
        environment_text(dict(self.secrets))

    @property
    def path(self) -> Path:
        """The unit file."""
        return unit_path(self.name, of_user=self.user is None)

    @property
    def environment_path(self) -> Path:
        """The environment file, which exists only if the service has secrets."""
        return environment_path(self.name, of_user=self.user is None)

    def text(self) -> str:
        """Return the text of the unit, without any secret."""
        of_user = self.user is None
        secrets = (
            f"EnvironmentFile={_specifiers(_one_line(str(self.environment_path)))}\n" if self.secrets else ""
        )
        return _UNIT.format(
            description=_specifiers(_one_line(self.title or " ".join(self.command))),
            after="basic.target" if of_user else "network.target time-set.target",
            command=" ".join(quote(word) for word in self.command),
            folder=_specifiers(_one_line(str(self.folder))),
            user="" if of_user else f"User={self.user}\n",
            secrets=secrets,
            protection="" if of_user else _SYSTEM_PROTECTION,
            target="default.target" if of_user else "multi-user.target",
        )


def quote(word: str) -> str:
    r"""Return a word of a command, quoted so that systemd passes it to the program unchanged.

    Example:
        >>> print(quote("100 % $HOME"))
        "100 %% $$HOME"
    """
    escaped = _specifiers(_one_line(word)).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return escaped if re.fullmatch(r"[\w@%+=:,./-]+", word) else f'"{escaped}"'


def check_name(name: str) -> str:
    """Return `name` if it can be the name of a unit.

    Raises:
        ServiceError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise ServiceError(
            f"the name of a service consists of at most 64 letters, digits, - and _, got {name!r}; without --name it is 'edgetl'"
        )
    return name


def unit_path(name: str, *, of_user: bool) -> Path:
    """Return the file of the unit `name`, of the system or of the calling user."""
    if not of_user:
        return SYSTEM_FOLDER / f"{check_name(name)}.service"
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return home / "systemd" / "user" / f"{check_name(name)}.service"


def install(service: Service, *, force: bool = False, start: bool = True) -> Path:
    """Write the unit and its environment file, and start the service now and at every boot.

    systemd checks the unit first.

    Args:
        service: What to run.
        force: Replace a unit of that name.
        start: Start and enable the service; if false, only write the files.

    Returns:
        The unit file.

    Raises:
        ServiceError: systemd rejects the unit or is not running.
        StorageError: The unit exists, or permission to write it is missing (then sudo is needed).
    """
    refuse_existing(service.path, force)
    problem = verify(service)
    if problem:
        raise ServiceError(f"systemd rejects the unit: {problem}")
    if start:
        _require_systemd()
    _write(service, force)
    if start:
        _systemctl(service.user is None, "daemon-reload")
        _systemctl(service.user is None, "enable", f"{service.name}.service")
        _systemctl(service.user is None, "restart", f"{service.name}.service")
    return service.path


def uninstall(name: str, *, of_user: bool = False) -> Path:
    """Stop a service and remove its unit and its environment file.

    Raises:
        ServiceError: There is no such service, or edgetl did not write it.
        StorageError: Permission to remove it is missing (then sudo is needed).
    """
    path = unit_path(name, of_user=of_user)
    if "edgetl service install" not in read(name, of_user=of_user):
        raise ServiceError(f"{path} was not written by edgetl and is not removed; remove it with systemctl")
    running = systemd_runs()
    if running:
        _systemctl(of_user, "disable", "--now", path.name)
    try:
        path.unlink()
    except OSError as error:
        raise storage_error(error, path) from error
    remove_environment(environment_path(name, of_user=of_user))
    if running:
        _systemctl(of_user, "daemon-reload")
    return path


def read(name: str, *, of_user: bool = False) -> str:
    """Return the text of an installed unit.

    Raises:
        ServiceError: There is no such service.
    """
    path = unit_path(name, of_user=of_user)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ServiceError(
            f"no service is installed as {path}; install one with: edgetl service install -- run MODEL"
        ) from None
    except OSError as error:
        raise ServiceError(f"{path} cannot be read: {error.strerror}; try with sudo") from error


def verify(service: Service) -> str | None:
    """Check the unit with systemd-analyze; return its message, or None without a problem or without that program."""
    if not shutil.which("systemd-analyze"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / service.path.name
        file.write_text(service.text(), encoding="utf-8")
        manager = "--user" if service.user is None else "--system"
        done = _run(["systemd-analyze", "verify", manager, "--man=no", str(file)])
    # it also reports other units of the machine: only lines about this one count
    lines = [line for line in (done.stderr + done.stdout).splitlines() if file.name in line]
    return "; ".join(lines) if lines and done.returncode else None


def systemd_runs() -> bool:
    """Return whether systemd is the init of this machine; in containers it usually is not."""
    return Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None


def _write(service: Service, force: bool) -> None:
    try:
        write_environment(service.environment_path, dict(service.secrets))
        try:
            service.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_output(service.path, force=force) as temporary:
                temporary.write_text(service.text(), encoding="utf-8")
                temporary.chmod(0o644)  # systemd warns about units that others can write
        finally:
            if not service.path.exists():  # no secrets are left behind without a service
                remove_environment(service.environment_path)
    except StorageError as error:
        if service.user is not None and os.geteuid() != 0:
            raise StorageError(
                error.errno or 0,
                f"{error.args[1]}; a system service needs sudo; a service of your own needs --user",
            ) from error
        raise
    except OSError as error:
        raise storage_error(error, service.path) from error


def _require_systemd() -> None:
    if not systemd_runs():
        raise ServiceError(
            "systemd is not running (in a container?), so no service can be started; "
            "write only the unit with --no-start, or print it with: edgetl service show"
        )


def _systemctl(of_user: bool, *arguments: str) -> None:
    done = _run(["systemctl", *(["--user"] if of_user else []), *arguments])
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip()
        raise ServiceError(
            f"systemctl {' '.join(arguments)} failed: {complaint}; see journalctl -xe, or try with sudo"
        )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(f"{command[0]} did not respond: {error}") from error


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _one_line(text: str) -> str:
    if any(character in text for character in "\n\r\0"):
        raise ServiceError(f"a unit cannot contain a line break: {text!r}; remove it from the command")
    return text

"""The environment file of a service: passwords and addresses that must not be in its unit.

Every user of the machine can read a unit, and `ps` shows every word of a command. systemd reads an environment
file before it drops root privileges, so the file of a system service can belong to root.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import ServiceError, StorageError
from ..files import atomic_output, storage_error

SYSTEM_FOLDER = Path("/etc/edgetl")
_HEADER = "# written by: edgetl service install\n"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def environment_path(name: str, *, of_user: bool) -> Path:
    """Return the environment file of the service `name`, of the system or of the calling user."""
    if not of_user:
        return SYSTEM_FOLDER / f"{name}.env"
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return home / "edgetl" / f"{name}.env"


def environment_text(variables: Mapping[str, str]) -> str:
    r"""Return the text of an environment file; systemd and a POSIX shell read the same values.

    Raises:
        ServiceError: A name or a value is not allowed in such a file. The message never shows the value.

    Example:
        >>> print(environment_text({"EDGETL_MQTT_PASSWORD": 'a "b" $c'}), end="")
        # written by: edgetl service install
        EDGETL_MQTT_PASSWORD="a \"b\" \$c"
    """
    return _HEADER + "".join(
        f'{_checked(name, value)}="{_escaped(value)}"\n' for name, value in variables.items()
    )


def write_environment(path: Path, variables: Mapping[str, str]) -> None:
    """Write an environment file that only its owner can read, from the first byte on; remove it without variables.

    Raises:
        ServiceError: A value is not allowed in such a file.
        StorageError: The file cannot be written.
    """
    text = environment_text(variables)
    if not variables:
        remove_environment(path)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(path, force=True, private=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(error, path) from error


def remove_environment(path: Path) -> bool:
    """Remove an environment file, and its folder when that is empty.

    Returns:
        Whether there was one.

    Raises:
        StorageError: The file cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(error, path) from error
    with contextlib.suppress(OSError):
        path.parent.rmdir()
    return True


def _checked(name: str, value: str) -> str:
    if not _NAME.fullmatch(name):
        raise ServiceError(
            f"the name of an environment variable consists of letters, digits and _, got {name!r}"
        )
    if any(character < " " and character not in "\n\t" for character in value) or not _is_utf8(value):
        raise ServiceError(
            f"the value of {name} contains a control character, which an environment file cannot hold; remove it"
        )
    return name


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(value: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", value)

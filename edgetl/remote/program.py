"""Finding Python and edgetl on another machine, with nothing but a POSIX shell there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from device.printable import printable

from ..errors import RemoteCommandError
from .ssh import Finished, Ssh

MINIMUM = (3, 11)
INSTALL_PYTHON = "install it there with: sudo apt-get install python3 python3-venv"

# One line per Python that runs, in the order of preference: path, version, version of edgetl or "-". The search ends at
# the first that has edgetl. $1 is the folder of the deployment, $2 a Python that the user named, or "".
_SEARCH = """\
case $1 in /*) folder=$1 ;; *) folder=$HOME/$1 ;; esac
named=$2
if [ -n "$2" ]; then
    set -- "$2"
else
    set -- "$folder/venv/bin/python" "$HOME/edgetl/bin/python" \\
        "$(command -v edgetl > /dev/null && sed -n '1s/^#!\\(.*python[^ ]*\\).*/\\1/p' "$(command -v edgetl)" 2> /dev/null)" \\
        python3 python3.13 python3.12 python3.11
fi
printf 'folder %s\\n' "$folder"
for python in "$@"; do
    [ -n "$python" ] || continue
    path=$(command -v "$python" 2> /dev/null) || continue
    version=$("$path" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2> /dev/null) || continue
    edgetl=$("$path" -m edgetl --version 2> /dev/null < /dev/null) || edgetl=-
    printf 'python %s %s %s\\n' "$version" "${edgetl##* }" "$path"
    [ "$edgetl" = - ] || exit 0
done
# a program that is not a script of Python, such as one of pipx or a wrapper
if [ -z "$named" ] && path=$(command -v edgetl 2> /dev/null) && version=$("$path" --version 2> /dev/null < /dev/null); then
    printf 'edgetl %s %s\\n' "${version##* }" "$path"
fi
"""


@dataclass(frozen=True)
class Place:
    """Where Python and edgetl are on another machine.

    Attributes:
        ssh: The machine.
        folder: Absolute path of the folder of the deployment; it may not exist yet.
        python: Path of a Python of version 3.11 or later.
        python_version: Its version.
        edgetl: Version of edgetl there; "" if it is not installed.
        program: Path of the command ``edgetl``, if this Python does not import edgetl.
    """

    ssh: Ssh
    folder: str
    python: str
    python_version: str
    edgetl: str = ""
    program: str = ""

    def edgetl_words(self, *arguments: str) -> list[str]:
        """Return the command that runs edgetl there.

        Raises:
            RemoteCommandError: edgetl is not installed there.
        """
        if not self.edgetl:
            raise RemoteCommandError(
                f"{self.ssh.target}: {self.python} (Python {self.python_version}) has no edgetl; install it with"
                f" edgetl deploy MODEL {self.ssh.target} --install, or name another Python with --python"
            )
        start = [self.program] if self.program else [self.python, "-m", "edgetl"]
        return [*start, *arguments]

    def run_edgetl(self, *arguments: str, timeout: float | None = None) -> Finished:
        """Run an edgetl command there, and return what it wrote.

        Raises:
            RemoteError: The machine cannot be reached, or the connection ended.
            RemoteCommandError: edgetl is not installed there.
        """
        return self.ssh.run(self.edgetl_words(*arguments), timeout=timeout)


def find_place(ssh: Ssh, folder: str, python: str = "") -> Place:
    """Find Python and edgetl on another machine.

    The first Python with edgetl counts: that of the deployment in `folder`, of ``~/edgetl``, of the command ``edgetl``, or
    ``python3``. If none has edgetl, it is the first of version 3.11 or later, and edgetl is the command of that name.

    Args:
        ssh: The machine.
        folder: Folder of the deployment; a relative path starts at the home folder there.
        python: Use only this Python.

    Raises:
        RemoteError: The machine cannot be reached.
        RemoteCommandError: There is no Python there, or only older ones.
    """
    listed = ssh.script(_SEARCH, _relative(folder), python).splitlines()
    absolute = next((line[7:] for line in listed if line.startswith("folder ")), "")
    found = [match.groups() for line in listed if (match := re.fullmatch(r"python (\S+) (\S+) (.+)", line))]
    if not absolute.startswith("/"):
        raise RemoteCommandError(f"{ssh.target}: the shell there does not work as expected: {_shown(listed)}")
    recent = [entry for entry in found if _numbers(entry[0]) >= MINIMUM]
    if not recent:
        raise RemoteCommandError(f"{ssh.target}: {_without_python(found, python)}")
    version, edgetl, path = next((entry for entry in recent if entry[1] != "-"), recent[0])
    place = Place(ssh, absolute, path, version, "" if edgetl == "-" else edgetl)
    command = next((match for line in listed if (match := re.fullmatch(r"edgetl (\S+) (.+)", line))), None)
    return place if place.edgetl or command is None else replace(place, edgetl=command[1], program=command[2])


def _relative(folder: str) -> str:
    """Return `folder` without ``~/``, which only the shell here would replace."""
    return folder[2:] if folder.startswith("~/") else folder


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _without_python(found: Sequence[Sequence[str]], python: str) -> str:
    if found:
        version, _, path = found[0]
        needed = ".".join(map(str, MINIMUM))
        return (
            f"{printable(path)} is Python {version}, and edgetl needs {needed} or later; upgrade the system there, or name"
            " another Python with --python"
        )
    if python:
        return f"{python} is not a Python that runs there; check --python"
    return f"there is no Python; {INSTALL_PYTHON}"


def _shown(lines: Sequence[str]) -> str:
    return printable(" ".join(lines))[:200] or "it wrote nothing"

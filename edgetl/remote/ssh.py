"""Commands and files on another machine, over the system's OpenSSH and the user's configuration.

Only OpenSSH decides who connects to what: its configuration, agent, keys and known hosts apply unchanged. ``BatchMode``
makes it fail instead of asking, so an unknown or changed host key is refused, and no password is ever needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from device.files import atomic_output, storage_error
from device.printable import printable
from device.progress import Progress, no_progress

from ..errors import RemoteCommandError, RemoteError

CONNECT_SECONDS = 15
# without an answer for 15 s three times in a row the connection is lost
_OPTIONS = ("BatchMode=yes", f"ConnectTimeout={CONNECT_SECONDS}", "ServerAliveInterval=15")
_FAILED = 255  # exit code with which ssh reports a failure of its own
_CHUNK = 2**18
_TARGET = re.compile(r"[^-\s\0][^\s\0]*")
_ADVICE = (
    ("host key verification failed", "compare the key with the device's, then connect once by hand: ssh {target}"),
    ("host identification has changed", "if the device was set up anew, remove the old key with ssh-keygen -R"),
    ("permission denied", "add your key to the device (ssh-copy-id {target}) and to the agent (ssh-add); passwords are not used"),
    ("too many authentication failures", "name the right key in ~/.ssh/config with IdentityFile and IdentitiesOnly"),
    ("could not resolve hostname", "check the name, or use the address"),
    ("connection refused", "start ssh there: sudo systemctl enable --now ssh"),
    ("bad configuration", "correct the ssh configuration file"),
)  # fmt: skip

# The file gets its name only if it arrived complete: after a cut connection `cat` ends as it does after the last byte.
_RECEIVE = """\
set -eu
part=$1.$3.part
trap 'rm -f -- "$part"' EXIT
trap 'exit 1' HUP INT TERM
cat > "$part"
found=$(sha256sum < "$part")
if [ "${found%% *}" != "$2" ]; then
    echo "the file arrived incomplete" >&2
    exit 65
fi
sync -- "$part" 2> /dev/null || sync
mv -f -- "$part" "$1"
"""
_SEND = 'sha256sum < "$1" && exec cat < "$1"'


@dataclass(frozen=True)
class Finished:
    """A command that ran on the other machine.

    Attributes:
        status: Its exit code.
        stdout: What it wrote on stdout.
        stderr: What it wrote on stderr, with control characters escaped.
    """

    status: int
    stdout: str
    stderr: str


class Ssh:
    """A machine that the system's ssh reaches.

    Every call is a connection of its own, so one object can be used by several threads. If the user's configuration
    shares connections (``ControlMaster``), it applies here too.

    Args:
        target: ``user@host``, a name from the ssh configuration, or ``ssh://user@host:port``.
        config: A configuration file to use instead of the user's, as with ``ssh -F``.

    Raises:
        RemoteError: `target` cannot be the name of a machine.

    Example:
        >>> device = Ssh("pi@mugs.local")
        >>> device.run(["uname", "-m"]).stdout  # doctest: +SKIP
        'aarch64\n'
    """

    def __init__(self, target: str, config: Path | None = None) -> None:
        if not _TARGET.fullmatch(target):
            raise RemoteError(
                f"a device is named user@host, a name from the ssh configuration, or ssh://user@host:port, got {target!r}"
            )
        self.target, self.config = target, config

    def __repr__(self) -> str:
        return f"<Ssh {printable(self.target)}>"

    def run(self, command: Sequence[str], *, input: bytes = b"", timeout: float | None = None) -> Finished:
        """Run a command there and return once it has ended, whatever its exit code.

        Args:
            command: The program and its arguments. The shell there does not interpret them.
            input: Bytes for its stdin.
            timeout: Seconds until the connection is closed; None waits without a limit.

        Raises:
            RemoteError: The machine cannot be reached, refuses the user, has another host key, or the connection
                ended before the command did.
        """
        with self._started(command) as (process, stdout, stderr):
            try:
                process.communicate(input, timeout)
            except subprocess.TimeoutExpired as error:
                raise RemoteError(f"{self.target}: no answer within {timeout:g} s") from error
            return self._finished(process, stdout, stderr)

    def check(self, command: Sequence[str], *, input: bytes = b"", timeout: float | None = None) -> str:
        """Run a command there and return its stdout.

        Raises:
            RemoteError: As for `run`.
            RemoteCommandError: The command failed; the message is what it wrote on stderr.
        """
        return self._successful(self.run(command, input=input, timeout=timeout), command[0])

    def script(self, text: str, *arguments: str, input: bytes = b"", timeout: float | None = None) -> str:
        """Run a POSIX shell script there, whose ``$1``, ``$2``... are `arguments`, and return its stdout.

        Raises:
            RemoteError: As for `run`.
            RemoteCommandError: The script failed.
        """
        return self.check(["sh", "-c", text, "sh", *arguments], input=input, timeout=timeout)

    def send(self, source: Path, path: str, progress: Progress = no_progress) -> str:
        """Copy a file there. It gets its name only once it is complete, and replaces a file of that name.

        Args:
            source: The file here.
            path: Its absolute path there.
            progress: Called as task "Copying NAME to TARGET" with the number of bytes.

        Returns:
            The sha256 of the file, which was compared there.

        Raises:
            RemoteError: As for `run`; no file has the name `path` then, or still the old one.
            RemoteCommandError: The file cannot be written there, or arrived incomplete.
            StorageError: `source` cannot be read.
        """
        task = f"Copying {source.name} to {self.target}"
        digest, size = _digest(source)
        # a random name, so that two copies at once do not share one
        command = ["sh", "-c", _RECEIVE, "sh", path, digest, secrets.token_hex(6)]
        with self._started(command) as (process, stdout, stderr), source.open("rb") as stream:
            with contextlib.suppress(BrokenPipeError):  # the reason is on stderr
                _pump(stream, process, lambda done: progress(task, done, size))
            process.wait()
            self._successful(self._finished(process, stdout, stderr), "cat")
        return digest

    def fetch(self, path: str, target: Path, *, force: bool = False) -> Path:
        """Copy a file from there; it gets its name only once it is complete.

        Args:
            path: Absolute path of the file there; it must not change meanwhile.
            target: The new file here.
            force: Replace a file of that name.

        Raises:
            RemoteError: As for `run`.
            RemoteCommandError: The file cannot be read there, or arrived incomplete.
            StorageError: `target` exists and `force` is false, or it cannot be written.
        """
        with (
            atomic_output(target, force=force) as temporary,
            self._started(["sh", "-c", _SEND, "sh", path]) as (process, stdout, stderr),
        ):
            process.communicate()
            finished = self._finished(process, stdout, stderr, text=False)
            self._successful(finished, "cat")
            stdout.seek(0)
            expected = stdout.readline().split(b" ")[0].decode("ascii", "replace")
            _copy_checked(stdout, temporary, expected, f"{self.target}: {path}")
        return target

    def unverified(self) -> str:
        """Return a warning if the user's configuration does not verify the host key of this machine, else ""."""
        words = ["ssh", *self._file(), "-G", "--", self.target]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=CONNECT_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""  # `run` reports it
        if re.search(r"^stricthostkeychecking (no|off|false)$", done.stdout, re.MULTILINE):
            return f"{self.target}: the ssh configuration sets StrictHostKeyChecking no, so its host key is not verified"
        return ""

    @contextlib.contextmanager
    def _started(
        self, command: Sequence[str]
    ) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]]:
        """Start ssh; its output goes to files, so that it never waits for a reader. It has ended after the block."""
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            try:
                process = subprocess.Popen(
                    self._words(command), stdin=subprocess.PIPE, stdout=stdout, stderr=stderr
                )
            except FileNotFoundError as error:
                raise RemoteError(
                    "there is no ssh here; install it with: sudo apt-get install openssh-client"
                ) from error
            try:
                yield process, stdout, stderr
            finally:
                if process.poll() is None:
                    process.kill()
                with contextlib.suppress(OSError):
                    process.stdin.close()  # type: ignore[union-attr]  # a pipe
                process.wait()

    def _words(self, command: Sequence[str]) -> list[str]:
        options = [word for option in _OPTIONS for word in ("-o", option)]
        # the login shell there may be any shell, which only has to pass on the quoted words
        return ["ssh", *self._file(), "-T", *options, "--", self.target, shlex.join(command)]

    def _file(self) -> list[str]:
        return [] if self.config is None else ["-F", str(self.config)]

    def _finished(
        self, process: subprocess.Popen[bytes], stdout: IO[bytes], stderr: IO[bytes], *, text: bool = True
    ) -> Finished:
        stderr.seek(0)
        complaint = "\n".join(map(printable, stderr.read(2**20).decode("utf-8", "replace").splitlines()))
        if process.returncode == _FAILED or process.returncode < 0:
            raise RemoteError(f"{self.target}: {_explained(complaint, self.target)}")
        stdout.seek(0)
        return Finished(
            process.returncode, stdout.read().decode("utf-8", "replace") if text else "", complaint
        )

    def _successful(self, finished: Finished, program: str) -> str:
        if finished.status:
            reason = finished.stderr.strip() or f"{program} ended with exit code {finished.status}"
            raise RemoteCommandError(f"{self.target}: {reason}", finished.status)
        return finished.stdout


def _explained(complaint: str, target: str) -> str:
    """Return ssh's own message, in one line, and the next step."""
    shown = [line.strip() for line in complaint.splitlines() if line.strip(" @")]
    advice = next(
        (text for sign, text in _ADVICE if sign in complaint.lower()),
        "check that the device is on, then try again",
    )
    reason = "; ".join(shown[-2:]).rstrip(".") or "the connection ended"
    return f"{reason}; {advice.format(target=target)}"


def _digest(path: Path) -> tuple[str, int]:
    """Return the sha256 of a file in hexadecimal, and its size."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), path.stat().st_size
    except OSError as error:
        raise storage_error(error, path) from error


def _pump(stream: IO[bytes], process: subprocess.Popen[bytes], note: Callable[[int], None]) -> None:
    """Write `stream` to the stdin of `process`, and close it; `note` is called with the number of bytes so far."""
    pipe, done = process.stdin, 0
    if pipe is None:
        raise RemoteError("ssh was started without a pipe")
    note(0)
    while piece := stream.read(_CHUNK):
        pipe.write(piece)
        done += len(piece)
        note(done)
    pipe.close()


def _copy_checked(stream: IO[bytes], path: Path, expected: str, name: str) -> None:
    """Write the rest of `stream` to `path`, and compare its sha256."""
    found = hashlib.sha256()
    with path.open("wb") as out:
        while piece := stream.read(_CHUNK):
            found.update(piece)
            out.write(piece)
    if found.hexdigest() != expected:
        raise RemoteCommandError(f"{name} arrived incomplete; try again")

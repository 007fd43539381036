"""Measure on another machine over ssh: copy the models, run ``edgetl bench`` there, and bring the result back."""

from __future__ import annotations

import contextlib
import shlex
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from device.errors import MeasurementError
from device.model.embedder import edgetpu_twin
from device.printable import printable
from device.progress import Progress, no_progress
from device.system.comparing import read_measurement

from .. import __version__
from ..errors import RemoteCommandError, RemoteError
from ..remote.program import Place, find_place
from ..remote.ssh import Ssh

FOLDER = "edgetl-device"  # of a deployment there, whose Python is preferred
_RESULT, _LOG = "result.json", "log"
_INTERRUPTED = 130
_CLEAN_UP = 60.0  # seconds

# In the home folder, because a folder in RAM would make commits look free.
_MAKE_FOLDER = 'umask 077; mktemp -d "$HOME/.edgetl-bench-XXXXXX"'
# All output goes to files, so that a connection that ends does not end the program. $1 is the folder; the rest is the command.
_RUN = 'cd "$1" || exit 1; shift; echo $$ > pid; exec "$@" > result.json 2> log'
# After Ctrl-C here: interrupt the measurement, and wait until it has written what it measured.
_INTERRUPT = """\
cd "$1" || exit 1
kill -INT "$(cat pid)" 2> /dev/null
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    kill -0 "$(cat pid)" 2> /dev/null || exit 0
    sleep 1
done
kill -9 "$(cat pid)"
"""


def bench_on(
    ssh: Ssh,
    models: Sequence[Path],
    words: Sequence[str],
    *,
    folders: dict[str, Path] | None = None,
    python: str = "",
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Measure on another machine, and return the JSON of the result, with the field ``host``.

    The models and photos are copied to a temporary folder there, which is removed. Ctrl-C interrupts the measurement there,
    and the result is what was measured so far.

    Args:
        ssh: The machine.
        models: Model files here; of those with a backbone compiled for the Edge TPU, that is copied too.
        words: Options of ``edgetl bench``.
        folders: Option -> folder here that is copied, such as ``--photos``.
        python: The Python there that has edgetl.
        progress: Receives the number of bytes per file, and that the measurement runs.

    Raises:
        RemoteError: The machine cannot be reached, refuses the user, or has another host key.
        RemoteCommandError: There is no edgetl there, or another version, or the measurement failed.
        MeasurementError: What came back is not a measurement.
    """
    place = find_place(ssh, FOLDER, python)
    program = place.edgetl_words("bench")
    _require_same_version(place)
    with _remote_folder(ssh) as folder:
        names = _send_models(ssh, folder, models, progress)
        more: list[str] = []
        for number, (option, path) in enumerate((folders or {}).items()):
            more += [option, _send_folder(ssh, folder, path, f"photos{number}", progress)]
        command = [*program, *names, *words, *more, "--json"]
        progress(f"measuring on {ssh.target}", 0, None)
        result = _measured(ssh, folder, command)
    return {**result, "host": ssh.target}


def _measured(ssh: Ssh, folder: str, command: Sequence[str]) -> dict[str, Any]:
    try:
        status = ssh.run(["sh", "-c", _RUN, "sh", folder, *command]).status
    except KeyboardInterrupt:
        ssh.run(["sh", "-c", _INTERRUPT, "sh", folder], timeout=_CLEAN_UP)
        status = _INTERRUPTED
    with tempfile.TemporaryDirectory() as here:
        ssh.fetch(f"{folder}/{_RESULT}", Path(here) / _RESULT)
        if not (Path(here) / _RESULT).stat().st_size:
            raise RemoteCommandError(f"{ssh.target}: {_reason(ssh, folder, status)}", status or 1)
        try:
            return read_measurement(Path(here) / _RESULT)
        except MeasurementError as error:
            raise MeasurementError(
                f"{ssh.target}: the result that came back cannot be read; {error}"
            ) from error


def _reason(ssh: Ssh, folder: str, status: int) -> str:
    """Return why there is no result: the last line that the program wrote on stderr."""
    if status == _INTERRUPTED:
        return "the measurement was interrupted before the first frame"
    lines = [line for line in ssh.check(["cat", f"{folder}/{_LOG}"]).splitlines() if line.strip()]
    return printable(lines[-1].removeprefix("Error: ")) if lines else f"edgetl ended with exit code {status}"


def _require_same_version(place: Place) -> None:
    if place.edgetl != __version__:
        wanted = shlex.quote(f"edgetl[device]=={__version__}")
        raise RemoteCommandError(
            f"{place.ssh.target}: {place.python} has edgetl {place.edgetl}, this machine has {__version__}, and their figures "
            f"may mean different things; install the same version there: {place.python} -m pip install {wanted}"
        )


@contextlib.contextmanager
def _remote_folder(ssh: Ssh) -> Iterator[str]:
    folder = ssh.script(_MAKE_FOLDER).strip()
    if not folder.startswith("/"):
        raise RemoteCommandError(f"{ssh.target}: mktemp returned {folder!r}, expected an absolute path")
    try:
        yield folder
    finally:
        # the connection may be gone; the error that is raised then is the reason
        with contextlib.suppress(RemoteError, RemoteCommandError):
            ssh.run(["rm", "-rf", "--", folder], timeout=_CLEAN_UP)


def _send_models(ssh: Ssh, folder: str, models: Sequence[Path], progress: Progress) -> list[str]:
    """Copy the models, each into a folder of its own so that it keeps its name, and return their relative paths."""
    places: dict[Path, str] = {}
    for model in models:
        if model in places:
            continue
        below = f"model{len(places)}"
        ssh.check(["mkdir", f"{folder}/{below}"])
        for path in (model, edgetpu_twin(model)):
            if path is model or path.exists():
                ssh.send(path, f"{folder}/{below}/{path.name}", progress)
        places[model] = f"./{below}/{model.name}"
    return [places[model] for model in models]


def _send_folder(ssh: Ssh, folder: str, path: Path, name: str, progress: Progress) -> str:
    """Copy a folder with everything in it, links followed, and return its relative path."""
    with tempfile.TemporaryDirectory() as here:
        packed = Path(here) / f"{name}.tar"
        with tarfile.open(packed, "w", dereference=True) as archive:
            archive.add(path, arcname=f"{name}/{path.resolve().name}")
        ssh.send(packed, f"{folder}/{name}.tar", progress)
    ssh.check(["tar", "-x", "-f", f"{folder}/{name}.tar", "-C", folder])
    return f"./{name}/{path.resolve().name}"

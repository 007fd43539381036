"""What the commands around a learner share: opening it, its camera, and words about samples."""

from __future__ import annotations

import contextlib
import os
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from device.addresses import redact
from device.printable import printable, visible

from .options import (
    camera_arguments,
    head_option,
    model_argument,
    state_option,
    state_path,
    threads_option,
)

if TYPE_CHECKING:
    from device.cameras import Camera
    from device.learner import Learner
    from device.store.verify import PictureCheck

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
WIDTH = 100  # columns of what is written for people
INTERRUPTED = 130  # what a shell gives for a command ended by Ctrl-C


def learner_options(function: Decorated) -> Decorated:
    """Add MODEL, ``--state``, ``--head``, ``--threads`` and ``--edgetpu``; give them to `open_learner`."""
    return model_argument(state_option(head_option(threads_option(function))))


def open_learner(options: Mapping[str, Any], *, must_exist: bool = False, read_only: bool = False) -> Learner:
    """Open the learner that a command's options name.

    Args:
        options: What `learner_options` gave the command.
        must_exist: Refuse to begin a new state file.
        read_only: Write nothing, not even a new state file.
    """
    calm_blas()
    from device.learner import Learner
    from device.model.modelfile import ModelFile

    model, state = ModelFile.open(options["model"]), state_path(options["model"], options["state"])
    if must_exist and not state.exists():
        raise click.ClickException(
            f"{state} is not there: nothing was taught yet; teach something with: edgetl teach {options['model']} LABEL"
        )
    in_memory = read_only and not state.exists()
    if in_memory and options["state"]:
        say(f"{state} is not there: nothing counts but what {options['model']} itself holds")
    with _warnings_said():
        return Learner.open(
            model,
            None if in_memory else state,
            head=options.get("head", "exact"),
            threads=options.get("threads"),
            delegate="edgetpu" if options.get("edgetpu") else None,
            thumbnails=options.get("thumbnails", True),
            read_only=read_only,
        )


def calm_blas() -> None:
    """Let NumPy's BLAS take one thread, unless the user says otherwise.

    A head is solved soonest by one: more of them wait for each other by spinning, and beside a busy backbone a solve of
    30 ms then takes up to a second. It counts only while NumPy is not imported yet.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextlib.contextmanager
def _warnings_said() -> Iterator[None]:
    """Write warnings, such as that the CPU stands in for a Coral, as words to a user and not to a programmer."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RuntimeWarning)
        try:
            yield
        finally:
            for warning in told:
                say(f"Warning: {warning.message}")


def open_source(options: Mapping[str, Any], **more: Any) -> Camera:
    """Open the camera that a command's options name; its remarks go to stderr, if not to another `notice`."""
    from device.cameras import open_camera

    return open_camera(options["camera"], **camera_arguments(dict(options)), **{"notice": say, **more})


def say(message: str) -> None:
    """Write a remark to stderr; secrets of addresses in it are hidden."""
    click.echo(visible(redact(message)), err=True)


def warn(message: str) -> None:
    """Write a warning on stderr, in lines of at most 100 columns."""
    click.echo(wrapped(printable(f"Warning: {message}")), err=True)


def wrapped(text: str) -> str:
    """Break a paragraph into lines of at most 100 columns, with the following lines indented."""
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def counted(counts: Mapping[str, int]) -> str:
    """Write samples a label as ``bowl 12, mug 40``."""
    return ", ".join(f"{label} {count}" for label, count in sorted(counts.items())) or "nothing"


def when_text(seconds: float, pattern: str = "%Y-%m-%d %H:%M") -> str:
    """Write a time of the wall clock, or ``unknown`` for one that no calendar shows."""
    import time

    try:
        return time.strftime(pattern, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "unknown"


def broken_pictures_text(state: str, pictures: PictureCheck) -> str:
    """Say which pictures of a state file cannot be shown, and what that means."""
    ids = ids_text(list(pictures.broken[:50])) + (" ..." if len(pictures.broken) > 50 else "")
    return (
        f"{state} is damaged: the pictures of {plural(len(pictures.broken), 'sample')} cannot be read (ids {ids}). What was"
        " taught is intact; only `edgetl reembed` and the page need them. A file without them:"
        f" edgetl recover {state} --out NEW.db"
    )


def plural(count: int, noun: str) -> str:
    """Write ``1 sample`` or ``2 samples``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def leave_interrupted(message: str) -> NoReturn:
    """Say what was saved before Ctrl-C and leave."""
    say(f"\nInterrupted. {message}")
    click.get_current_context().exit(INTERRUPTED)


def ids_text(ids: list[int]) -> str:
    """Write ids as ``3-7, 9``."""
    parts: list[tuple[int, int]] = []
    for number in sorted(ids):
        if parts and parts[-1][1] == number - 1:
            parts[-1] = (parts[-1][0], number)
        else:
            parts.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def state_of(options: Mapping[str, Any]) -> Path:
    """Give the state file a command's options name."""
    return state_path(options["model"], options["state"])

"""Functions of the commands with a learner: opening it and its camera, and texts about samples."""

from __future__ import annotations

import contextlib
import signal
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
    priors_option,
    replay_option,
    state_option,
    state_path,
    threads_option,
)

if TYPE_CHECKING:
    from device.cameras import Camera
    from device.learner import Learner
    from device.store import Store
    from device.store.verify import PictureCheck

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
WIDTH = 100  # columns of text output
LISTED_UP_TO = 8  # labels; of more only the sum and the range are shown, to keep lines short
INTERRUPTED = 130  # exit code of a command that was ended by Ctrl-C


def learner_options(function: Decorated) -> Decorated:
    """Add MODEL, ``--state``, ``--threads``, ``--edgetpu`` and the options of the head; pass them to `open_learner`."""
    return model_argument(state_option(head_option(replay_option(priors_option(threads_option(function))))))


def open_learner(options: Mapping[str, Any], *, must_exist: bool = False, read_only: bool = False) -> Learner:
    """Open the learner that the options of a command name.

    Args:
        options: The values of `learner_options`.
        must_exist: Refuse to create a state file.
        read_only: Write nothing, not even a new state file.
    """
    from device.learner import Learner
    from device.model.modelfile import ModelFile

    model, state = ModelFile.open(options["model"]), state_path(options["model"], options["state"])
    if must_exist and not state.exists():
        raise click.ClickException(
            f"{state} does not exist: nothing was taught yet; teach a label with: edgetl teach {options['model']} LABEL"
        )
    in_memory = read_only and not state.exists()
    if in_memory and options["state"]:
        say(f"{state} does not exist: only what {options['model']} itself contains is used")
    with _warnings_shown():
        return Learner.open(
            model,
            None if in_memory else state,
            head=options.get("head", "exact"),
            threads=options.get("threads"),
            delegate="edgetpu" if options.get("edgetpu") else None,
            thumbnails=options.get("thumbnails", True),
            read_only=read_only,
            priors=options.get("priors"),
            views=options.get("views"),
            options=replay_chosen(options),
        )


def replay_chosen(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the option of the head that ``--replay`` chooses; none for the default."""
    chosen = options.get("replay", "stored")
    return {} if chosen == "stored" else {"replay": chosen}


@contextlib.contextmanager
def _warnings_shown() -> Iterator[None]:
    """Show warnings, such as that the CPU replaces a Coral, as messages without source lines."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        try:
            yield
        finally:
            for warning in caught:
                say(f"Warning: {warning.message}")


def open_source(options: Mapping[str, Any], **more: Any) -> Camera:
    """Open the camera that the options of a command name; messages go to stderr or to another `notice`."""
    from device.cameras import open_camera

    return open_camera(options["camera"], **camera_arguments(dict(options)), **{"notice": say, **more})


def say(message: str) -> None:
    """Write a message to stderr; secrets in addresses are hidden."""
    click.echo(visible(redact(message)), err=True)


def warn(message: str) -> None:
    """Write a warning to stderr, in lines of at most 100 columns."""
    click.echo(wrapped(printable(f"Warning: {message}")), err=True)


def wrapped(text: str) -> str:
    """Return a paragraph in lines of at most 100 columns, indented from the second line on."""
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def counted(counts: Mapping[str, int], unit: str = "sample") -> str:
    """Return numbers of samples per label as text: ``bowl 12, mug 40``; with many labels only their sum and range."""
    if len(counts) <= LISTED_UP_TO:
        return ", ".join(f"{label} {count}" for label, count in sorted(counts.items())) or "nothing"
    least, most = min(counts.values()), max(counts.values())
    each = f"{least}" if least == most else f"{least} to {most}"
    return f"{plural(sum(counts.values()), unit)} of {len(counts)} labels, {each} each"


def counted_all(store: Store) -> str:
    """Return numbers of samples per label, of negatives and of background as text: ``mug 40, not mug 3``."""
    from device.negatives import split_counts

    return counted_with_hidden(store.counts(), *split_counts(store.hidden_counts()))


def counted_with_hidden(counts: Mapping[str, int], negatives: Mapping[str, int], background: int) -> str:
    """Return the same from numbers per label, per denied label, and of background."""
    denied = {f"not {label}": count for label, count in negatives.items()}
    hidden = [counted(denied, "negative")] if denied else []
    hidden += [f"background {background}"] if background else []
    return ", ".join([*([counted(counts)] if counts or not hidden else []), *hidden])


def hidden_counts(store: Store) -> dict[str, Any]:
    """Return the numbers of negatives per denied label and of background samples, for JSON."""
    from device.negatives import count_fields

    return count_fields(store.hidden_counts())


def when_text(seconds: float, pattern: str = "%Y-%m-%d %H:%M") -> str:
    """Return a time as local date and time, or ``unknown`` where it is out of range."""
    import time

    try:
        return time.strftime(pattern, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "unknown"


def broken_pictures_text(state: str, pictures: PictureCheck) -> str:
    """Return a message about the pictures of a state file that cannot be read."""
    ids = ids_text(list(pictures.broken[:50])) + (" ..." if len(pictures.broken) > 50 else "")
    return (
        f"{state} is damaged: the pictures of {plural(len(pictures.broken), 'sample')} cannot be read (ids {ids}). What was"
        " taught is intact; only `edgetl reembed` and the page need the pictures. To write a file without them:"
        f" edgetl recover {state} --out NEW.db"
    )


def plural(count: int, noun: str) -> str:
    """Return ``1 sample`` or ``2 samples``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """End quietly on Ctrl-C, and in the same way when systemd stops the service."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_interrupted(message: str) -> NoReturn:
    """Show what was saved before Ctrl-C, and exit."""
    say(f"\nInterrupted. {message}")
    click.get_current_context().exit(INTERRUPTED)


def ids_text(ids: list[int]) -> str:
    """Return ids as text: ``3-7, 9``."""
    parts: list[tuple[int, int]] = []
    for number in sorted(ids):
        if parts and parts[-1][1] == number - 1:
            parts[-1] = (parts[-1][0], number)
        else:
            parts.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def state_of(options: Mapping[str, Any]) -> Path:
    """Return the state file that the options of a command name."""
    return state_path(options["model"], options["state"])

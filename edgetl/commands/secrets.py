"""Move addresses and headers from the command line of a service to environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from device.addresses import SECRET_VARIABLES, redact

_MOVED = {
    # option -> its environment variable and the separator of several values
    "--camera": ("EDGETL_CAMERA", "\n"),
    "--webhook": ("EDGETL_WEBHOOK", " "),
    "--webhook-header": ("EDGETL_WEBHOOK_HEADER", "\n"),
    "--mqtt": ("EDGETL_MQTT", " "),
}
_OF_OPTION = {
    "--camera": ("EDGETL_CAMERA",),
    "--webhook": (
        "EDGETL_WEBHOOK",
        "EDGETL_WEBHOOK_HEADER",
        "EDGETL_WEBHOOK_USER",
        "EDGETL_WEBHOOK_PASSWORD",
    ),
    "--mqtt": ("EDGETL_MQTT", "EDGETL_MQTT_USER", "EDGETL_MQTT_PASSWORD"),
}


@dataclass(frozen=True)
class Split:
    """A command line in two parts.

    Attributes:
        words: The words that every user may read.
        variables: Environment variables with the other values.
    """

    words: tuple[str, ...]
    variables: dict[str, str] = field(repr=False)


def split_secrets(command: click.Command, words: Sequence[str]) -> Split:
    """Move addresses and headers from the words of `command` to environment variables.

    Every address moves, also one without a password, because for many web services the path is the secret. Variables of
    this kind that are set now are stored too, and so are those that a header names.

    Args:
        command: The command that the words belong to.
        words: Its arguments and options.

    Raises:
        click.UsageError: Another word contains a password, or a header names a variable that is not set. The message
            does not show the password.
    """
    public: list[str] = []
    moved: dict[str, list[str]] = {}
    typed: set[str] = set()
    given = _options(command, words)
    addresses = any(name == "--camera" and _is_address(values[-1]) for name, values, _ in given)
    for name, values, written in given:
        typed.add(name)
        if name in _MOVED and (name != "--camera" or addresses):  # the variable replaces all cameras
            moved.setdefault(name, []).extend(values)
        else:
            public += written
    for word in public:
        _refuse_secret(word)
    variables = _inherited(command, typed)
    for name, values in moved.items():
        variable, separator = _MOVED[name]
        several = name != "--camera" or _accepts_several(command)
        variables[variable] = separator.join(values) if several else values[-1]
    return Split(tuple(public), variables | _named(variables.get("EDGETL_WEBHOOK_HEADER", "")))


def _options(command: click.Command, words: Sequence[str]) -> list[tuple[str, list[str], list[str]]]:
    """Return (option, its values, words as written) in order; the option is "" for arguments."""
    takes = {
        name: 0 if option.is_flag or option.count else option.nargs
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    found: list[tuple[str, list[str], list[str]]] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            return [*found, *(("", [], [each]) for each in (word, *left))]
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name not in takes:
            found.append(("", [], [word]))
            continue
        count = max(0, takes[name] - bool(equals))
        values = [value] * bool(equals) + left[:count]
        found.append((name, values, [word, *left[:count]]))
        del left[:count]
    return found


def _accepts_several(command: click.Command) -> bool:
    return any(
        option.multiple
        for option in command.params
        if isinstance(option, click.Option) and "--camera" in option.opts
    )


def _is_address(source: str) -> bool:
    return "://" in source or redact(source) != source


def _refuse_secret(word: str) -> None:
    if redact(word) != word:
        raise click.UsageError(
            f"{redact(word)!r} contains a password, which every user of this machine could read in the unit and in ps;"
            " put it into a script that only you can read (chmod 700), or into an environment variable"
        )


def _inherited(command: click.Command, typed: set[str]) -> dict[str, str]:
    """Return the variables that are set now and that the command would read."""
    options = {name for option in command.params for name in option.opts}
    wanted = {
        variable
        for name, variables in _OF_OPTION.items()
        if name in options
        for variable in variables
        if not any(option in typed for option, (own, _) in _MOVED.items() if own == variable)
    }
    return {name: os.environ[name] for name in SECRET_VARIABLES if name in wanted and os.environ.get(name)}


def _named(headers: str) -> dict[str, str]:
    """Return the variables that headers name as ``${NAME}``."""
    names = dict.fromkeys(re.findall(r"\$\{(\w+)\}", headers))
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise click.UsageError(
            f"the header of a webhook needs the environment variable {missing[0]}, which is not set; set it, and"
            f" with sudo pass it on: sudo --preserve-env={','.join(missing)} edgetl service install ..."
        )
    return {name: os.environ[name] for name in names}

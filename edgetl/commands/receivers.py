"""Receivers of what the camera sees: commands, webhooks and brokers, for the commands that run a loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from device.labels import listed

if TYPE_CHECKING:
    from device.learner import Learner
    from device.live.delivery import Hooks
    from device.live.mqtt_commands import Pupil

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
NAMES = ("hooks", "shell", "on_every", "webhook", "headers", "mqtt", "mqtt_discovery", "mqtt_commands")
"""The options of `receiver_options`, by the names under which a command gets them."""


class HeaderLines(click.types.StringParamType):
    """A header; the environment variable has one per line, because a value may contain spaces."""

    name = "header"
    envvar_list_splitter = "\n"


def receiver_options(function: Decorated) -> Decorated:
    """Add ``--on``, ``--webhook``, ``--mqtt`` and their options; pass all of them to `open_receivers`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS = [
    click.option(
        "--on",
        "hooks",
        type=(str, str),
        multiple=True,
        metavar="LABEL COMMAND",
        help="Run COMMAND when LABEL comes into view; '*' is every label, 'unknown' is anything that was not taught.",
    ),
    click.option("--shell", is_flag=True, help="Run the commands of --on with /bin/sh."),
    click.option(
        "--on-every",
        type=click.FloatRange(0),
        default=1.0,
        show_default=True,
        help="Minimum seconds between two starts of a command; then it runs for the label in view.",
    ),
    click.option(
        "--webhook",
        metavar="URL",
        multiple=True,
        envvar="EDGETL_WEBHOOK",
        show_envvar=True,
        help="POST each change as JSON to http(s)://[USER:PASSWORD@]HOST/PATH.",
    ),
    click.option(
        "--webhook-header",
        "headers",
        type=HeaderLines(),
        metavar="'NAME: VALUE'",
        multiple=True,
        envvar="EDGETL_WEBHOOK_HEADER",
        show_envvar=True,
        help="Send this header with every webhook; ${VARIABLE} in the value comes from the environment.",
    ),
    click.option(
        "--mqtt",
        metavar="URL",
        multiple=True,
        envvar="EDGETL_MQTT",
        show_envvar=True,
        help="Publish each change, retained, to mqtt(s)://[USER:PASSWORD@]HOST/TOPIC; Home Assistant finds it.",
    ),
    click.option(
        "--mqtt-discovery",
        metavar="PREFIX",
        default="homeassistant",
        show_default=True,
        help="Prefix of the topics where Home Assistant finds the camera; '' publishes nothing for Home Assistant.",
    ),
    click.option(
        "--mqtt-commands",
        is_flag=True,
        help="Teach and forget by messages on TOPIC/command/..., also from Home Assistant; see docs/home-assistant.md.",
    ),
]


def check_receivers(options: dict[str, Any]) -> None:
    """Raise `click.UsageError` for options that do not belong together."""
    if options["mqtt_commands"] and not options["mqtt"]:
        raise click.UsageError("--mqtt-commands needs a broker: add --mqtt mqtt://HOST/TOPIC")


def open_receivers(
    stack: ExitStack,
    options: dict[str, Any],
    notice: Callable[[str], None],
    *,
    pupil: Pupil | None = None,
    region: str = "",
) -> Hooks:
    """Open the receivers that the options name; `stack` closes them.

    Args:
        stack: Closes the receivers, after delivering the last state.
        options: The values of `receiver_options`, and ``model``.
        notice: Called with messages for the user.
        pupil: What commands from a broker teach.
        region: Name of the camera or region; "" for the only one.
    """
    from device.live.delivery import Hook, Hooks

    if not any(options[name] for name in ("hooks", "webhook", "mqtt")):
        return Hooks([])
    from device.live.commands import CommandHook
    from device.live.mqtt import Mqtt
    from device.live.webhook import Webhook

    hooks: list[Hook] = [
        CommandHook(label, line, shell=options["shell"], every=options["on_every"], notice=notice)
        for label, line in options["hooks"]
    ]
    hooks += [Webhook(url, options["headers"], notice) for url in options["webhook"]]
    hooks += [
        Mqtt(
            url,
            notice,
            discovery=options["mqtt_discovery"] or None,
            region=region,
            model=Path(options["model"]).name,
            pupil=pupil if options["mqtt_commands"] else None,
        )
        for url in options["mqtt"]
    ]
    together = Hooks(hooks)
    stack.callback(_close, together)
    return together


def check_labels(learner: Learner, options: dict[str, Any], notice: Callable[[str], None]) -> None:
    """Report the labels of ``--on`` that were not taught."""
    from device.live.watching import UNKNOWN

    for label, _ in options["hooks"]:
        if label not in (*learner.labels, UNKNOWN, "*"):
            notice(
                f"--on {label}: nothing was taught as {label!r} yet, so its command will not run;"
                f" labels are: {listed(learner.labels)}"
            )


def _close(hooks: Hooks) -> None:
    with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C ends the wait for a receiver
        hooks.close()

"""The ``edgetl`` command: a group that imports a command's module only when it is asked for."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from device.addresses import redact
from device.errors import EdgetlError

from . import __version__
from .commands.group import Group

# TensorFlow reads it on import; its notes on CUDA and CPU features do not help here
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# where a command is used -> its name; the module is edgetl.commands.NAME
SECTIONS = {
    "On the laptop": (
        "backbones",
        "finetune",
        "convert",
        "evaluate",
        "embed",
        "inspect",
        "sign",
        "deploy",
        "devices",
        "pull",
        "demo",
    ),
    "On the device": (
        "check",
        "cameras",
        "teach",
        "run",
        "serve",
        "status",
        "forget",
        "label",
        "doubts",
        "buttons",
        "import",
        "export",
        "merge",
        "backup",
        "rollback",
        "recover",
        "reembed",
        "views",
        "service",
    ),
    "On both": ("bench", "recommend", "fleet", "key"),
}


class LazyGroup(Group):
    """A click group whose commands are modules, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of `SECTIONS`."""
        return [name for names in SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of `cmd_name` and return its ``command``."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"edgetl.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by where they are used."""
        for section, names in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(self.summaries(ctx, names))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and turn every error into a message."""
        try:
            return super().invoke(ctx)
        except EdgetlError as error:
            raise click.ClickException(redact(str(error))) from error
        except click.ClickException as error:
            shown = error.format_message()
            if redact(shown) == shown:
                raise
            if isinstance(error, click.UsageError):  # click repeats what was typed
                raise click.UsageError(redact(shown), error.ctx) from None
            raise click.ClickException(redact(shown)) from None
        except (click.exceptions.Exit, click.Abort, BrokenPipeError, EOFError):
            raise
        except Exception as error:
            if os.environ.get("EDGETL_DEBUG"):
                raise
            raise click.ClickException(
                f"unexpected {type(error).__name__}: {redact(str(error))}\n"
                "This is a bug in edgetl. Please report it with what EDGETL_DEBUG=1 in front of the command shows."
            ) from error


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="edgetl")
def main() -> None:
    """Teach a Raspberry Pi or Coral to see: convert on a laptop, learn on the device.

    \b
    Example:
      edgetl convert efficientnet-lite0 --quantize int8 --out base.tflite
      edgetl teach base.tflite mug --camera 0
      edgetl run base.tflite --camera 0
    """

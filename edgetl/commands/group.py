"""Groups of commands: their help pages show complete summaries, and a mistyped command is answered with a near one."""

from __future__ import annotations

import click

_SIMILAR = 0.6  # of 1: "tech" is near "teach", "walk" is near nothing


class Group(click.Group):
    """A click group that does not shorten the summaries of its commands."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with its summary."""
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(ctx, self.list_commands(ctx)))

    def summaries(self, ctx: click.Context, names: list[str] | tuple[str, ...]) -> list[tuple[str, str]]:
        """Return each command that exists with the first paragraph of its help page."""
        commands = [(name, self.get_command(ctx, name)) for name in names]
        return [
            (name, " ".join((command.help or "").split("\n\n")[0].split()))
            for name, command in commands
            if command
        ]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` begins with.

        Raises:
            UsageError: There is no such command; the message names a near one.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1, _SIMILAR)
            if not near:
                raise
            raise click.UsageError(
                f"No such command {args[0]!r}. Did you mean {near[0]!r}?", error.ctx
            ) from None

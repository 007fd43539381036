"""``edgetl serve``: watch and teach from a browser."""

from __future__ import annotations

import contextlib
import json
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import MissingExtraError
from .options import (
    camera_arguments,
    camera_options,
    head_option,
    json_option,
    model_argument,
    priors_option,
    replay_option,
    state_option,
    state_path,
    threads_option,
    views_option,
)
from .receivers import NAMES, check_receivers, open_receivers, receiver_options
from .session import replay_chosen, say

if TYPE_CHECKING:
    from device.page.server import PageServer

_EXTRA = ("starlette", "uvicorn", "anyio", "h11", "python_multipart")


@click.command()
@model_argument
@state_option
@head_option
@replay_option
@priors_option
@views_option
@threads_option
@camera_options
@receiver_options
@click.option(
    "--no-camera", is_flag=True, help="Open no camera: other programs send photos, see docs/http-api.md."
)
@click.option("--loop", is_flag=True, help="Start a video or a folder of photos again at its end.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; with 0.0.0.0 other machines can open the page after signing in with a link.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option(
    "--sign-in",
    is_flag=True,
    help="Require signing in on this machine too, for a machine with several users.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name of the page, for example behind a reverse proxy.",
)
@json_option
def command(
    model: Path,
    state: Path | None,
    head: str,
    replay: str,
    priors: str | None,
    views: str | None,
    threads: int | None,
    edgetpu: bool,
    camera: str | None,
    no_camera: bool,
    loop: bool,
    host: str,
    port: int,
    sign_in: bool,
    allow_hosts: tuple[str, ...],
    as_json: bool,
    **more: Any,
) -> None:
    """Watch the camera, teach labels and correct samples from a browser.

    By default only this machine can open the page. With --host, the command prints a link and a QR code that sign in
    one phone or laptop, and a new link after each use. --on, --webhook and --mqtt act when the label in view changes, as
    with edgetl run.

    \b
    Example:
      edgetl serve mugs.tflite --camera 0
      edgetl serve mugs.tflite --no-camera --json
      edgetl serve mugs.tflite --camera picamera2 --host 0.0.0.0
    """
    if no_camera and (camera is not None or loop):
        raise click.UsageError("--no-camera excludes --camera and --loop; leave one of them out")
    received = {name: more[name] for name in NAMES} | {"model": model}
    check_receivers(received)
    server_class = _server_class()
    from device.cameras import open_camera
    from device.learner import Learner

    state = state_path(model, state)
    settings = camera_arguments(more)
    delegate = "edgetpu" if edgetpu else None
    options = replay_chosen({"replay": replay})
    with (
        Learner.open(
            model,
            state,
            head=head,
            threads=threads,
            delegate=delegate,
            priors=priors,
            views=views,
            options=options,
        ) as learner,
        ExitStack() as stack,
    ):
        server = server_class(
            learner,
            None if no_camera else lambda: open_camera(camera, loop=loop, **settings),
            host=host,
            port=port,
            sign_in=sign_in,
            allow_hosts=allow_hosts,
            sessions_file=state.with_name(f"{state.name}.sessions"),
            fps=settings["fps"] or 15.0,
            signed_in=partial(_print_next_link, as_json=as_json),
        )
        hooks = open_receivers(stack, received, say, pupil=server.page.lessons)
        server.page.loop.listen(hooks.update)
        signal.signal(signal.SIGTERM, _interrupt)  # systemd stops a service with it: end as on Ctrl-C
        with contextlib.suppress(KeyboardInterrupt), learner.settling():
            server.listen()
            _announce(server, as_json)
            server.run()
        click.echo("stopped; everything taught is saved", err=True)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _server_class() -> type[PageServer]:
    try:
        from device.page.server import PageServer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise MissingExtraError(
            f"the page needs a package that is not installed: {error.name}; install it with: pip install 'edgetl[serve]'"
        ) from error
    return PageServer


def _announce(server: PageServer, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"url": server.url, "link": server.link, "token": server.token}))
        return
    if server.sessions is None:
        click.echo(f"The page is at {server.url} (Ctrl-C stops it).")
        return
    click.echo("Scan this, or open the link, to sign a phone or laptop in. It works once.\n")
    _draw(server.link)
    click.echo(f"\n{server.link}\n")
    click.echo(
        "What is on the page crosses the network unencrypted: use it in a network you trust.", err=True
    )


def _print_next_link(server: PageServer, as_json: bool) -> None:
    # with --json, stdout has one line only
    click.echo(f"A device has signed in. The link for the next one:\n\n{server.link}\n", err=as_json)


def _draw(link: str) -> None:
    try:
        import segno
    except ModuleNotFoundError:
        click.echo("(for a QR code here: pip install segno)", err=True)
        return
    segno.make_qr(link, error="l").terminal(compact=True)

"""``edgetl serve``: watch and teach from a browser."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import MissingExtraError
from .lanes import Lane, by_camera, gate_of, open_lanes, open_plan
from .options import fps_of, hours_of, json_option, several_cameras_options, state_path
from .receivers import check_receivers, open_receivers, receiver_options
from .session import interruptible, learner_options, say

if TYPE_CHECKING:
    from device.page.certificates import Certificate
    from device.page.encryption import Encryption
    from device.page.page import Page
    from device.page.server import PageServer

_EXTRA = ("starlette", "uvicorn", "anyio", "h11", "python_multipart")


@click.command()
@learner_options
@several_cameras_options
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
@click.option(
    "--cors",
    multiple=True,
    metavar="ORIGIN",
    help="Let scripts of this site use the HTTP API, such as https://example.org.  [default: of no other site]",
)
@click.option(
    "--https",
    is_flag=True,
    help="Encrypt the page, so that a phone's own camera can teach too; a certificate is made for it.",
)
@click.option(
    "--certificate",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Use this certificate for --https, in a PEM file.  [default: one that is made and renewed here]",
)
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Private key of --certificate, in a PEM file.  [default: in the file of the certificate]",
)
@json_option
def command(
    no_camera: bool,
    loop: bool,
    host: str,
    port: int,
    sign_in: bool,
    allow_hosts: tuple[str, ...],
    cors: tuple[str, ...],
    https: bool,
    certificate: Path | None,
    key: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Watch the camera, teach labels and correct samples from a browser.

    By default only this machine can open the page. With --host, the command prints a link and a QR code that sign in
    one phone or laptop, and a new link after each use. --on, --webhook and --mqtt act when the label in view changes, as
    with edgetl run. Several --camera and --region have a page each, with one backbone in RAM.

    \b
    Example:
      edgetl serve mugs.tflite --camera 0
      edgetl serve mugs.tflite --no-camera --json
      edgetl serve mugs.tflite --camera picamera2 --host 0.0.0.0
      edgetl serve mugs.tflite --camera 0 --host 0.0.0.0 --https
      edgetl serve mugs.tflite --camera 0 --region door=0.1,0.2,0.4,0.9 --region gate=0.5,0,1,1 --motion
    """
    if no_camera and (options["camera"] or options["region"] or loop):
        raise click.UsageError("--no-camera excludes --camera, --region and --loop; leave them out")
    if key is not None and certificate is None:
        raise click.UsageError("--key belongs to --certificate; name the certificate too, or leave out --key")
    check_receivers(options)
    server_class = _server_class()
    state = state_path(options["model"], options["state"])
    encryption = (
        _encryption(state.parent, host, allow_hosts, certificate, key) if https or certificate else None
    )
    with ExitStack() as stack:
        lanes = open_lanes(stack, options, read_only=False)
        pages = _pages(lanes, options, no_camera, loop)
        server = server_class(
            lanes[0].learner,
            None,
            host=host,
            port=port,
            sign_in=sign_in,
            allow_hosts=(*allow_hosts, *_names_of(encryption)),
            cors=cors,
            sessions_file=state.with_name(f"{state.name}.sessions"),
            pages=pages,
            signed_in=partial(_print_next_link, as_json=as_json),
            encryption=encryption,
        )
        for page in pages:
            hooks = open_receivers(stack, options, say, pupil=page.lessons, region=page.region)
            page.loop.listen(hooks.update)
        with interruptible():
            server.listen()
            _announce(server, as_json, made=certificate is None)
            server.run()
        click.echo("stopped; everything taught is saved", err=True)


def _pages(lanes: Sequence[Lane], options: dict[str, Any], no_camera: bool, loop: bool) -> list[Page]:
    """Return a page per camera or region; regions of one camera share it."""
    from device.cameras.shared import SharedCamera, overview
    from device.page.page import Page

    pages = []
    for own in by_camera(lanes).values():
        opener = partial(open_plan, own[0].camera, options, loop=loop, notice=None)
        shared = SharedCamera(opener)
        for lane in own:
            opened = opener if lane.region is None else shared.region(lane.region)
            pages.append(
                Page(
                    lane.learner,
                    None if no_camera else opened,
                    fps=fps_of(options, *lane.names) or 15.0,
                    region=lane.name,
                    gate=gate_of(options),
                    draw=None if lane.region is None else overview(shared, lane.region),
                    hours=hours_of(options, *lane.names),
                )
            )
    return pages


def _encryption(
    folder: Path, host: str, allow_hosts: Sequence[str], certificate: Path | None, key: Path | None
) -> Encryption:
    """Return the certificate for the page: the user's own, or one for all names of this machine."""
    from device.page.certificates import given_certificate, own_certificate
    from device.page.encryption import Encryption
    from device.page.machine import EVERYWHERE, addresses_of_machine, own_names, reachable

    if certificate is None:
        addresses = addresses_of_machine() if host in EVERYWHERE else [reachable(host)]
        names = ["localhost", "127.0.0.1", "::1", *sorted(own_names()), *addresses, *allow_hosts]
        return Encryption(partial(own_certificate, folder, names))
    encryption = Encryption(partial(given_certificate, certificate, key))
    found, wanted = encryption.certificate, reachable(host)
    if not found.covers(wanted):
        valid = ", ".join(found.names) or "no name"
        say(f"the certificate is valid for {valid}, not for {wanted}; browsers warn about every other name")
    return encryption


def _names_of(encryption: Encryption | None) -> list[str]:
    """Return the host names of a certificate: no other site has a name in it."""
    names = () if encryption is None else encryption.certificate.names
    return [name for name in names if not name.startswith("*.") and ":" not in name]


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


def _announce(server: PageServer, as_json: bool, made: bool) -> None:
    used = server.encryption.certificate if server.encryption else None
    if as_json:
        ready = {"url": server.url, "link": server.link, "token": server.token}
        click.echo(json.dumps(ready if used is None else ready | {"fingerprint": used.fingerprint}))
        return
    if server.sessions is None:
        click.echo(f"The page is at {server.url} (Ctrl-C stops it).")
        _print_fingerprint(used, made)
        return
    click.echo("Scan this, or open the link, to sign a phone or laptop in. It works once.\n")
    _draw(server.link)
    click.echo(f"\n{server.link}\n")
    _print_fingerprint(used, made)
    if used is not None:
        return
    click.echo(
        "What is on the page crosses the network unencrypted: use it in a network you trust.", err=True
    )


def _print_fingerprint(used: Certificate | None, made: bool) -> None:
    if used is None:
        return
    if made:
        click.echo(
            "The certificate was made on this machine, so a browser warns once. Continue there if it shows this fingerprint:"
        )
    click.echo(f"SHA-256 {used.fingerprint} (valid until {used.expiry})\n")


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

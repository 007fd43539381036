"""``edgetl key``: make a key for signatures, and pin the keys that a device trusts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .group import Group
from .options import emit, force_option, json_option

if TYPE_CHECKING:
    from device.model.signature import PublicKey


@click.group(cls=Group)
def command() -> None:
    """Make a key that signs model files, and pin the keys that this device trusts.

    A device with a pinned key refuses model files that none of its keys signed, in every command and in the Python API.

    \b
    Examples:
      edgetl key new
      edgetl key pin "ssh-ed25519 AAAA... me@laptop"
    """


def _system_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--system", is_flag=True, help="For all users of this device, in /etc/edgetl; needs sudo."
    )(function)


@command.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File of the private key; the public key is FILE.pub.  [default: ~/.config/edgetl/signing-key]",
)
@click.option("--name", default="", help="Name in the public key.  [default: USER@HOST]")
@force_option
@json_option
def new(out: Path | None, name: str, force: bool, as_json: bool) -> None:
    """Make a key pair for "edgetl sign": an Ed25519 key in the format of OpenSSH.

    Keep the private key secret and copy it to a safe place: anyone who has it can sign models for your devices, and without it
    new models need a new key on each of them.

    \b
    Example:
      edgetl key new
    """
    from edgetl.signing import default_key, new_key

    path = out or default_key()
    public = new_key(path, name=name, force=force)
    text = (
        f"Wrote {path}, which only you can read, and {path}.pub.\nFingerprint: {public.fingerprint}\n"
        f'To trust it, run on each device: edgetl key pin "{public.line()}"'
    )
    emit({"private": str(path), "public": f"{path}.pub", **_fields(public)}, as_json, text)


@command.command()
@click.argument("key")
@_system_option
@json_option
def pin(key: str, system: bool, as_json: bool) -> None:
    """Trust KEY, a public key or its file, and refuse model files that no pinned key signed.

    \b
    Examples:
      edgetl key pin signing-key.pub
      sudo edgetl key pin --system "ssh-ed25519 AAAA... me@laptop"
    """
    from device.model.trust import read_keys, write_keys

    public, path = _read(key), _file(system)
    keys = dict.fromkeys([*read_keys(path), public])
    write_keys(path, keys)
    text = (
        f"Pinned {public} in {path}. Model files that are signed by none of {len(keys)} keys are refused now."
    )
    emit({"file": str(path), **_fields(public), "keys": len(keys)}, as_json, text)


@command.command()
@click.argument("fingerprint")
@_system_option
@json_option
def unpin(fingerprint: str, system: bool, as_json: bool) -> None:
    """Stop trusting the key with FINGERPRINT; without a pinned key, every model file is accepted.

    \b
    Example:
      edgetl key unpin SHA256:ux7dlF4ZJDNzuyshnwyk+NCvcU+JpxvTNn4vSzRVbAE
    """
    from device.model.trust import read_keys, write_keys

    path = _file(system)
    keys = read_keys(path)
    left = [key for key in keys if key.fingerprint != fingerprint]
    if len(left) == len(keys):
        listed = ", ".join(key.fingerprint for key in keys) or "no key"
        raise click.ClickException(
            f"{fingerprint} is not pinned in {path}, which has {listed}; see: edgetl key list"
        )
    write_keys(path, left)
    rest = f"{len(left)} keys are pinned there" if left else "no key is pinned there any more"
    emit(
        {"file": str(path), "fingerprint": fingerprint, "keys": len(left)},
        as_json,
        f"Removed it from {path}; {rest}.",
    )


@command.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List the keys that this device trusts.

    \b
    Example:
      edgetl key list
    """
    from device.model.trust import SYSTEM_FILE, read_keys, user_file

    files = [path for path in (SYSTEM_FILE, user_file()) if path is not None]
    found = [(path, key) for path in files for key in read_keys(path)]
    text = (
        "\n".join(f"{key}  {path}" for path, key in found)
        or "No key is pinned: every model file is accepted."
    )
    emit([{"file": str(path), **_fields(key)} for path, key in found], as_json, text)


def _fields(key: PublicKey) -> dict[str, str]:
    return {"fingerprint": key.fingerprint, "name": key.name, "key": key.line()}


def _read(key: str) -> PublicKey:
    from device.model.signature import PublicKey

    path = Path(key)
    try:
        text = path.read_text("utf-8") if len(key) < 4096 and path.is_file() else key
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"the public key {path} cannot be read: {error}") from error
    return PublicKey.parse(text.strip())


def _file(system: bool) -> Path:
    from device.model.trust import SYSTEM_FILE, user_file

    path = SYSTEM_FILE if system else user_file()
    if path is None:
        raise click.ClickException("this user has no home folder for pinned keys; use --system")
    return path

"""The server of a fleet, without Flower: who may do what, certificates, invitations, and devices that come and go."""

from __future__ import annotations

import asyncio
import inspect
import json
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from device.errors import EdgetlError, FleetError, OutputExistsError
from device.fleet import Contribution, FleetModel, pack_contribution
from device.model.codes import encode
from edgetl.cli import main
from edgetl.commands.fleet import command
from edgetl.errors import MissingExtraError
from edgetl.fleet import certificates, serving
from edgetl.fleet.certificates import (
    make_authority,
    make_server_certificate,
    new_device_key,
    public_key_bytes,
)
from edgetl.fleet.folder import FleetFolder, check_name
from edgetl.fleet.invitation import Invitation, invite
from edgetl.fleet.superlink import Guard, is_allowed
from tests import tiny


@pytest.fixture
def without_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `invite` work where only cryptography is installed."""
    pytest.importorskip("cryptography")
    monkeypatch.setattr(certificates, "require_flower", lambda: None)
    monkeypatch.setattr(serving, "require_flower", lambda: None)


def scope(path: str, client: str, server: str = "192.168.1.5", kind: str = "http") -> dict[str, Any]:
    """Return an ASGI scope of a request."""
    return {"type": kind, "path": path, "client": (client, 1234), "server": (server, 8765)}


@pytest.mark.parametrize(
    ("path", "client", "allowed"),
    [
        ("/v1/fleet/pull-messages", "192.168.1.9", True),
        ("/v1/control/start-run", "192.168.1.9", False),
        ("/v1/runtime/acquire-task", "192.168.1.9", False),
        ("/v1/fleet/../control/start-run", "192.168.1.9", False),
        ("/docs", "192.168.1.9", False),
        ("/", "", False),
        ("/v1/control/start-run", "127.0.0.1", True),
        ("/v1/control/start-run", "::1", True),
        ("/v1/control/start-run", "192.168.1.5", True),
    ],
)
def test_other_machines_may_only_do_what_devices_do(path: str, client: str, allowed: bool) -> None:
    """Starting programs in the fleet needs a process on the server itself."""
    assert is_allowed(scope(path, client)) == allowed


def test_a_websocket_of_another_machine_is_not_passed_on() -> None:
    """The interface for devices has none."""
    assert not is_allowed(scope("/v1/fleet/x", "192.168.1.9", kind="websocket"))


def test_the_guard_answers_403_and_passes_on_the_rest() -> None:
    """The application behind it sees only what is allowed."""
    passed, sent = [], []

    async def app(request: Any, receive: Any, send: Any) -> None:
        passed.append(request["type"])

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    guard = Guard(app)
    for request in (
        scope("/v1/control/x", "10.0.0.1"),
        scope("/v1/fleet/x", "10.0.0.1"),
        {"type": "lifespan"},
    ):
        asyncio.run(guard(request, receive, send))
    assert passed == ["http", "lifespan"]
    assert sent[0]["status"] == 403


def test_the_certificate_of_the_server_is_valid_for_its_names_alone(
    tmp_path: Path, without_flower: None
) -> None:
    """A client of the standard library that trusts the authority accepts it, and no other name."""
    folder = FleetFolder.open(tmp_path / "fleet", create=True)
    make_authority(folder)
    make_server_certificate(folder, ("fleet.local", "192.168.1.5"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder.path / "server.pem", folder.path / "server.key")
    for name, accepted in {
        "fleet.local": True,
        "192.168.1.5": True,
        "localhost": True,
        "other.local": False,
    }.items():
        client = ssl.create_default_context(cafile=str(folder.path / "ca.pem"))
        assert handshake(client, server, name) == accepted
    assert not handshake(ssl.create_default_context(), server, "fleet.local")


def test_a_host_name_that_a_certificate_cannot_contain_is_refused(
    tmp_path: Path, without_flower: None
) -> None:
    """The message contains the name."""
    folder = FleetFolder.open(tmp_path / "fleet", create=True)
    with pytest.raises(FleetError, match=r"host names in ASCII, got .*flöte\.local"):
        next(serving.serve(tiny.TINY, folder.path, addresses=["flöte.local"]))


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bool:
    """Return whether a client accepts a server under a name, in memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    mine = client.wrap_bio(down, up, server_hostname=name)
    theirs = server.wrap_bio(up, down, server_side=True)
    try:
        for _ in range(4):
            for end in (mine, theirs):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        mine.do_handshake()
    except ssl.SSLError:
        return False
    return True


def test_private_files_can_be_read_by_their_owner_alone(tmp_path: Path, without_flower: None) -> None:
    """Keys of the authority and the server, the invitation, and the folder itself."""
    path = invite(tmp_path / "fleet", "shed", "fleet.local:8765", tmp_path / "shed.invitation")
    folder = FleetFolder.open(tmp_path / "fleet")
    make_server_certificate(folder, ())
    for private in (path, folder.path / "ca.key", folder.path / "server.key"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_an_invitation_has_all_that_a_device_needs_and_the_server_keeps_the_public_key(
    tmp_path: Path, without_flower: None
) -> None:
    """The authority stays the same for the next device."""
    first = invite(tmp_path / "fleet", "shed", "fleet.local:8765", tmp_path / "shed.invitation")
    second = invite(tmp_path / "fleet", "barn", "fleet.local:8765", tmp_path / "barn.invitation")
    read, other = Invitation.read(first), Invitation.read(second)
    assert (read.name, read.address) == ("shed", "fleet.local:8765")
    assert read.authority == other.authority
    assert read.key != other.key
    folder = FleetFolder.open(tmp_path / "fleet")
    assert folder.names() == ["barn", "shed"]
    assert public_key_bytes(folder.public_key("shed")).startswith(b"-----BEGIN PUBLIC KEY-----")
    assert "PRIVATE" not in folder.public_key("shed").read_text()


def test_a_second_invitation_of_the_same_name_needs_force(tmp_path: Path, without_flower: None) -> None:
    """With it, the first invitation is void."""
    invite(tmp_path / "fleet", "shed", "a:1", tmp_path / "one")
    with pytest.raises(FleetError, match="invited to this fleet before"):
        invite(tmp_path / "fleet", "shed", "a:1", tmp_path / "two")
    with pytest.raises(OutputExistsError):
        invite(tmp_path / "fleet", "barn", "a:1", tmp_path / "one")
    before = FleetFolder.open(tmp_path / "fleet").public_key("shed").read_bytes()
    invite(tmp_path / "fleet", "shed", "a:1", tmp_path / "one", force=True)
    assert FleetFolder.open(tmp_path / "fleet").public_key("shed").read_bytes() != before


@pytest.mark.parametrize("name", ["", "../shed", "a b", ".hidden", "-o", "a/b", "ü", "x" * 101])
def test_a_name_that_cannot_be_a_file_is_refused(name: str, tmp_path: Path) -> None:
    """Names of devices are names of files on the server."""
    with pytest.raises(FleetError, match="name of a device"):
        check_name(name)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"format": 1}', None])
def test_a_file_that_is_no_invitation_is_refused_with_the_next_step(
    content: bytes | None, tmp_path: Path
) -> None:
    """The message contains the command that makes one."""
    path = tmp_path / "x.invitation"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FleetError, match="edgetl fleet invite"):
        Invitation.read(path)


def test_an_invitation_of_another_format_is_refused(tmp_path: Path) -> None:
    """It may be of a newer version."""
    fields = {"format": 2, "name": "shed", "address": "a:1", "authority": "", "key": ""}
    (tmp_path / "x").write_text(json.dumps(fields))
    with pytest.raises(FleetError, match="format 2"):
        Invitation.read(tmp_path / "x")


def test_without_flower_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both on the server and on a device."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install"):
        invite(tmp_path / "fleet", "shed", "a:1", tmp_path / "x")
    with pytest.raises(MissingExtraError, match="pip install"):
        next(serving.serve(tiny.TINY, tmp_path / "fleet"))


def test_a_folder_of_another_model_is_refused(tmp_path: Path, without_flower: None) -> None:
    """Its contributions cannot be added to those of this model."""
    folder = FleetFolder.open(tmp_path / "fleet", create=True)
    other = FleetModel("6" * 64, 2)
    data = pack_contribution(Contribution.of("shed", other, encode([[1.0, 0.0]]), ["mug"]))
    (folder.contributions / "shed.npz").write_bytes(data)
    with pytest.raises(FleetError, match="shed is refused: it was taught to the model 666666666666"):
        next(serving.serve(tiny.TINY, folder.path))


class FakeControl:
    """The calls of `edgetl.fleet.control.Control` that register devices."""

    def __init__(self) -> None:
        self.nodes: dict[int, str] = {}
        self.count = 0

    def register(self, name: str, public_key: bytes) -> int:
        """Remember a device."""
        self.count += 1
        self.nodes[self.count] = name
        return self.count

    def unregister(self, node: int) -> None:
        """Forget a device."""
        del self.nodes[node]


def test_devices_that_are_invited_removed_or_invited_again_are_registered_at_once(
    tmp_path: Path, without_flower: None
) -> None:
    """A new key of the same name is another node."""
    folder, control, settings = (
        FleetFolder.open(tmp_path / "fleet", create=True),
        FakeControl(),
        {"nodes": {}},
    )
    invite(folder.path, "shed", "a:1", tmp_path / "one")
    registered = serving._register(control, folder, settings, {})
    assert folder.read_settings()["nodes"] == {"1": "shed"}
    invite(folder.path, "barn", "a:1", tmp_path / "two")
    invite(folder.path, "shed", "a:1", tmp_path / "one", force=True)
    registered = serving._register(control, folder, settings, registered)
    assert (
        folder.read_settings()["nodes"]
        == {"2": "barn", "3": "shed"}
        == {str(k): v for k, v in control.nodes.items()}
    )
    folder.remove("barn")
    serving._register(control, folder, settings, registered)
    assert folder.read_settings()["nodes"] == {"3": "shed"}


def test_removing_a_device_removes_what_it_contributed(tmp_path: Path, without_flower: None) -> None:
    """An unknown name is an error that lists the known ones."""
    folder = FleetFolder.open(tmp_path / "fleet", create=True)
    invite(folder.path, "shed", "a:1", tmp_path / "one")
    (folder.contributions / "shed.npz").write_bytes(b"")
    with pytest.raises(FleetError, match="devices are: shed"):
        folder.remove("barn")
    folder.remove("shed")
    assert folder.names() == [] == list(folder.contributions.iterdir())


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    """Removing a device makes no fleet."""
    with pytest.raises(EdgetlError, match="there is no fleet"):
        FleetFolder.open(tmp_path / "none")


def test_events_are_read_line_by_line_also_while_one_is_written(tmp_path: Path) -> None:
    """An incomplete line is read the next time."""
    folder = FleetFolder.open(tmp_path / "fleet", create=True)
    folder.log({"event": "round", "number": 1})
    with folder.rounds.open("a") as file:
        file.write('{"event": "rou')
    events, seen = serving._events(folder, 0)
    assert [event["number"] for event in events] == [1]
    with folder.rounds.open("a") as file:
        file.write('nd", "number": 2}\n')
    assert [event["number"] for event in serving._events(folder, seen)[0]] == [2]
    assert serving._last_round(folder) == 2


def test_two_keys_of_devices_differ() -> None:
    """Each is drawn anew."""
    pytest.importorskip("cryptography")
    assert new_device_key() != new_device_key()


def test_an_ipv6_address_of_the_server_is_written_in_brackets() -> None:
    """Also where the server listens on all addresses."""
    assert serving._local("::", 1) == "[::1]:1"
    assert serving._local("0.0.0.0", 1) == "127.0.0.1:1"
    assert serving._local("fleet.local", 1) == "fleet.local:1"


def test_the_command_and_the_function_use_the_same_port() -> None:
    """And an invitation contains it."""
    defaults = {
        name: {each.name: each.default for each in command.commands[name].params}
        for name in ("serve", "invite")
    }
    assert defaults["serve"]["port"] == inspect.signature(serving.serve).parameters["port"].default
    assert defaults["invite"]["address"] == f"127.0.0.1:{defaults['serve']['port']}"


def test_leaving_without_a_state_file_makes_none(tmp_path: Path) -> None:
    """The device is in no fleet."""
    (tmp_path / "mugs.tflite").write_bytes(tiny.TINY.read_bytes())
    done = CliRunner().invoke(main, ["fleet", "leave", str(tmp_path / "mugs.tflite")])
    assert "is in no fleet; nothing changed" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["mugs.tflite"]


def test_a_service_can_serve_a_fleet_or_join_it_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other commands of ``edgetl fleet`` end at once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mugs.tflite").write_bytes(tiny.TINY.read_bytes())

    def show(*words: str) -> Any:
        return CliRunner().invoke(main, ["service", "show", "--user", "--", "fleet", *words])

    assert "fleet join mugs.tflite shed.invitation" in show("join", "mugs.tflite", "shed.invitation").output
    assert "fleet serve mugs.tflite --rounds 3" in show("serve", "mugs.tflite", "--rounds", "3").output
    assert "got 'fleet leave'" in show("leave", "mugs.tflite").output
    assert "got 'fleet'" in show().output

"""Commands and files over a real sshd: quoting, lost connections, and host keys."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from device.errors import OutputExistsError, StorageError
from edgetl.errors import RemoteCommandError, RemoteError
from edgetl.remote.program import find_place
from edgetl.remote.ssh import Ssh
from tests.sshd import Sshd, running_sshd

ODD = 'it\'s "odd"; $HOME `id` \\ * ü.bin'
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def ssh(sshd: Sshd) -> Ssh:
    """Return the device."""
    return Ssh(sshd.alias, sshd.config)


def test_words_arrive_unchanged(ssh: Ssh) -> None:
    """The shell there interprets none of them, not even line breaks."""
    words = [ODD, "-n", "", "two\nlines"]
    finished = ssh.run(["printf", "[%s]", *words])
    assert (finished.status, finished.stderr) == (0, "")
    assert finished.stdout == "".join(f"[{word}]" for word in words)


def test_a_failed_command_is_reported_with_its_message(ssh: Ssh) -> None:
    """Control characters in it cannot reach the terminal."""
    with pytest.raises(RemoteCommandError, match=r"^device: no \\u001b\[2J mug$") as caught:
        ssh.script(r"printf 'no \033[2J mug\n' >&2; exit 7")
    assert caught.value.status == 7


def test_a_file_arrives_complete_under_an_odd_name(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    """The progress ends with its size, and nothing else is left there."""
    content = os.urandom(700_000)
    (tmp_path / "a.bin").write_bytes(content)
    seen: list[tuple[int, int | None]] = []
    digest = ssh.send(
        tmp_path / "a.bin", f"{sshd.home}/{ODD}", lambda _, done, total: seen.append((done, total))
    )
    assert digest == hashlib.sha256(content).hexdigest()
    assert (sshd.home / ODD).read_bytes() == content
    assert [path.name for path in sshd.home.iterdir()] == [ODD]
    assert seen[0] == (0, 700_000)
    assert seen[-1] == (700_000, 700_000)
    assert ssh.fetch(f"{sshd.home}/{ODD}", tmp_path / "b.bin").read_bytes() == content


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_lost_connection_leaves_the_old_file(when: str, ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    """A part of the new one never gets the name."""
    (tmp_path / "a.bin").write_bytes(os.urandom(700_000))
    (sshd.home / "a.bin").write_text("old")
    sshd.kill_at(1, when)
    with pytest.raises(RemoteError, match=r"device: .*; check that the device is on"):
        ssh.send(tmp_path / "a.bin", f"{sshd.home}/a.bin")
    assert (sshd.home / "a.bin").read_text() == "old"


def test_a_lost_connection_leaves_no_part_of_a_fetched_file(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    """An existing file is not replaced, even without a fault, unless asked for."""
    (sshd.home / "a.bin").write_bytes(b"new" * 100_000)
    (tmp_path / "a.bin").write_text("old")
    with pytest.raises(OutputExistsError):
        ssh.fetch(f"{sshd.home}/a.bin", tmp_path / "a.bin")
    sshd.kill_at(1, "after")
    with pytest.raises(RemoteError):
        ssh.fetch(f"{sshd.home}/a.bin", tmp_path / "a.bin", force=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_missing_files_are_reported_on_their_side(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    """The message names the path."""
    with pytest.raises(StorageError, match=r"nowhere\.bin"):
        ssh.send(tmp_path / "nowhere.bin", f"{sshd.home}/a.bin")
    with pytest.raises(RemoteCommandError, match=r"device: .*nowhere\.bin"):
        ssh.fetch(f"{sshd.home}/nowhere.bin", tmp_path / "a.bin")
    (tmp_path / "b.bin").write_bytes(b"new")
    with pytest.raises(RemoteCommandError, match=r"device: .*nowhere"):
        ssh.send(tmp_path / "b.bin", f"{sshd.home}/nowhere/b.bin")


def test_another_host_key_is_refused(ssh: Ssh, sshd: Sshd) -> None:
    """So is a device whose key is not known yet; nothing asks."""
    known = sshd.config.parent / "known_hosts"
    other = (sshd.config.parent / "user.pub").read_text()
    known.write_text(f"{known.read_text().split()[0]} {other}")
    with pytest.raises(RemoteError, match="Host key verification failed; compare the key"):
        ssh.run(["true"])
    known.write_text("")
    with pytest.raises(RemoteError, match="Host key verification failed; compare the key"):
        ssh.run(["true"])
    assert known.read_text() == ""
    assert sshd.commands == []


def test_a_configuration_without_verification_is_reported(ssh: Ssh, sshd: Sshd) -> None:
    """The decision remains the user's."""
    assert ssh.unverified() == ""
    sshd.config.write_text(sshd.config.read_text() + "    StrictHostKeyChecking no\n")
    assert "its host key is not verified" in ssh.unverified()


def test_a_refused_user_gets_the_next_step(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    """No password is asked for."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "stranger"], check=True)
    text = sshd.config.read_text()
    sshd.config.write_text(text.replace(f"{sshd.config.parent}/user", f"{tmp_path}/stranger"))
    with pytest.raises(RemoteError, match=r"Permission denied .*; add your key .*ssh-copy-id device"):
        ssh.run(["true"])


@pytest.mark.parametrize("target", ["-oProxyCommand=touch hacked", "", "a b", "a\nb"])
def test_a_target_cannot_be_an_option(target: str) -> None:
    """The program ssh would read it as one."""
    with pytest.raises(RemoteError, match="a device is named user@host"):
        Ssh(target)


def test_a_slow_answer_ends_the_connection(ssh: Ssh) -> None:
    """The command there may not have ended."""
    with pytest.raises(RemoteError, match=r"device: no answer within 0\.1 s"):
        ssh.run(["sleep", "60"], timeout=0.1)


def program(folder: Path, text: str, name: str = "python3") -> Path:
    """Write a script that stands for a Python."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_python_and_edgetl_are_found(ssh: Ssh, sshd: Sshd) -> None:
    """A relative folder starts at the home there, and one with ~/ too."""
    place = find_place(ssh, "~/models dir", sys.executable)
    assert place.folder == f"{sshd.home}/models dir"
    assert place.python == sys.executable
    assert place.python_version == ".".join(map(str, sys.version_info[:3]))


def test_edgetl_of_the_deployment_comes_first(ssh: Ssh, sshd: Sshd) -> None:
    """A Python without edgetl is only used if none has it."""
    (sshd.home / "edgetl" / "bin").mkdir(parents=True)
    fake = 'case $1 in -c) echo 3.12.1 ;; *) echo "edgetl, version 9.8" ;; esac'
    mine = program(sshd.home / "edgetl" / "bin", fake, "python")
    place = find_place(ssh, "models")
    assert (place.python, place.python_version, place.edgetl) == (str(mine), "3.12.1", "9.8")
    assert place.edgetl_words("check") == [str(mine), "-m", "edgetl", "check"]


def test_the_python_of_the_command_edgetl_is_used(tmp_path: Path) -> None:
    """As pip installs it: its first line names the Python of its virtual environment."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "edgetl").write_text(f"#!{sys.executable}\n")
    (tmp_path / "bin" / "edgetl").chmod(0o755)
    with running_sshd(tmp_path / "device", path=f"{tmp_path}/bin:/usr/bin:/bin") as device:
        place = find_place(Ssh(device.alias, device.config), "models")
        assert place.edgetl_words() == [sys.executable, "-m", "edgetl"]


def test_the_command_edgetl_need_not_be_a_script_of_python(tmp_path: Path) -> None:
    """A wrapper in the path is used as it is, with any recent Python for the steps."""
    program(tmp_path / "bin", 'echo "edgetl, version 9.7"', "edgetl")
    program(tmp_path / "bin", "case $1 in -c) echo 3.12.1 ;; *) exit 1 ;; esac")
    with running_sshd(tmp_path / "device", path=f"{tmp_path}/bin:/usr/bin:/bin") as device:
        place = find_place(Ssh(device.alias, device.config), "models")
        assert (place.edgetl, place.edgetl_words("check")) == ("9.7", [f"{tmp_path}/bin/edgetl", "check"])
        assert place.python == f"{tmp_path}/bin/python3"
        with pytest.raises(RemoteCommandError, match="has no edgetl"):
            find_place(Ssh(device.alias, device.config), "models", "python3").edgetl_words()


def test_a_device_without_edgetl_gets_the_next_step(ssh: Ssh, sshd: Sshd) -> None:
    """The message names the Python that was found."""
    path = program(sshd.home / "bin", "case $1 in -c) echo 3.11.2 ;; *) exit 1 ;; esac")
    place = find_place(ssh, "models", str(path))
    assert place.edgetl == ""
    with pytest.raises(RemoteCommandError, match=r"\(Python 3\.11\.2\) has no edgetl; install it with"):
        place.run_edgetl("check")


def test_an_old_python_is_refused(ssh: Ssh, sshd: Sshd) -> None:
    """The message has both versions."""
    path = program(sshd.home / "bin", "echo 3.9.2")
    with pytest.raises(RemoteCommandError, match=r"is Python 3\.9\.2, and edgetl needs 3\.11 or later"):
        find_place(ssh, "models", str(path))


def test_a_device_without_python_is_refused(tmp_path: Path) -> None:
    """The message has the command that installs it."""
    (tmp_path / "bin").mkdir()
    for name in ("sh", "cat", "sed"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    with running_sshd(tmp_path / "device", path=str(tmp_path / "bin")) as device:
        with pytest.raises(RemoteCommandError, match="device: there is no Python; install it"):
            find_place(Ssh(device.alias, device.config), "models")
        with pytest.raises(RemoteCommandError, match="/no/python is not a Python that runs there"):
            find_place(Ssh(device.alias, device.config), "models", "/no/python")

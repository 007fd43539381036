"""Signed model files: every byte is covered, and a machine with a pinned key opens no other file."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="no cryptography: pip install 'edgetl[sign]'")
pytest.importorskip("click", reason="the command line needs click")
from click.testing import CliRunner

from device.cameras.fake import draw
from device.errors import ModelFileError, OutputExistsError, SignatureError
from device.learner import Learner
from device.model.modelfile import ModelFile
from device.model.signature import LENGTH, PublicKey, read_signature
from device.model.trust import examine_signature, pinned_keys, user_file, write_keys
from device.system.checks import Subject, self_test
from edgetl.cli import main
from edgetl.signing import new_key, sign
from tests.tiny import TINY_TAUGHT


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("device.model.trust.SYSTEM_FILE", tmp_path / "system" / "trusted-keys")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Return the file of a private key."""
    new_key(tmp_path / "key", name="bench")
    return tmp_path / "key"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return an unsigned model file."""
    return Path(shutil.copy(TINY_TAUGHT, tmp_path / "mugs.tflite"))


def pin(public: PublicKey) -> None:
    """Trust a key."""
    path = user_file()
    assert path is not None
    write_keys(path, [public])


def public(key: Path) -> PublicKey:
    """Return the public key in the file beside the private one."""
    return PublicKey.parse(key.with_name(f"{key.name}.pub").read_text())


def invoke(*words: object) -> tuple[int, str]:
    """Run a command, and return its exit code and output."""
    done = CliRunner().invoke(main, [*map(str, words)])
    return done.exit_code, done.output


def test_a_signed_file_opens_where_its_key_is_pinned(model: Path, key: Path) -> None:
    """An unsigned one and one of another key do not."""
    pin(public(key))
    with pytest.raises(
        SignatureError, match=r"mugs\.tflite: the file is not signed, .* \(bench\); sign it with"
    ):
        ModelFile.open(model)
    assert sign(model, key) == public(key)
    assert ModelFile.open(model).signer == public(key).fingerprint
    other = key.with_name("other")
    pin(new_key(other))
    with pytest.raises(SignatureError, match=r"signed by SHA256:.*, and this device accepts only SHA256:"):
        ModelFile.open(model)
    with pytest.raises(ModelFileError):
        Learner.open(model, None)


def test_a_signature_changes_nothing_else(model: Path, key: Path) -> None:
    """Readers of zip files and older readers of model files see the same content."""
    plain = model.read_bytes()
    before = ModelFile.open(model)
    sign(model, key)
    after, content = ModelFile.open(model), model.read_bytes()
    assert (after.digest, after.part, after.labels) == (before.digest, before.part, before.labels)
    assert content[: len(plain) - 2] == plain[:-2]
    assert len(content) == len(plain) + LENGTH
    with zipfile.ZipFile(model) as archive:
        assert archive.testzip() is None
        assert len(archive.comment) == LENGTH
    sign(model, key)
    assert model.read_bytes() == content


def test_every_byte_is_covered(model: Path, key: Path) -> None:
    """Also the bytes between the parts, which no checksum of the model file covers."""
    sign(model, key)
    pin(public(key))
    content = model.read_bytes()
    places = [*range(0, len(content), 997), *range(len(content) - LENGTH - 60, len(content))]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1
        model.write_bytes(changed)
        with pytest.raises(SignatureError):
            ModelFile.open(model)
    for longer in (content + b"\0", content[:100] + b"\0" + content[100:], content[:-1], b""):
        model.write_bytes(longer)
        with pytest.raises(SignatureError):
            ModelFile.open(model)


def test_the_signature_of_another_file_is_refused(model: Path, key: Path, tmp_path: Path) -> None:
    """It cannot be moved to another file."""
    sign(model, key)
    pin(public(key))
    other = tmp_path / "other.tflite"
    with Learner.open(model, None) as learner:
        learner.learn_one(draw("red", 1), "red")
        learner.export(other)
    signed = other.read_bytes()[:-2] + model.read_bytes()[-LENGTH - 2 :]
    other.write_bytes(signed)
    assert read_signature(io.BytesIO(signed)) is not None
    with pytest.raises(SignatureError, match=r"was changed after .* \(bench\) signed it"):
        ModelFile.open(other)


def test_another_key_replaces_a_signature_only_if_asked(model: Path, key: Path, tmp_path: Path) -> None:
    """A copy may be signed by anyone."""
    sign(model, key)
    other = new_key(tmp_path / "other")
    with pytest.raises(SignatureError, match=r"is signed by another key, .*use --force"):
        sign(model, tmp_path / "other")
    sign(model, tmp_path / "other", tmp_path / "copy.tflite")
    sign(model, tmp_path / "other", force=True)
    assert examine_signature(model).key == other.fingerprint
    assert model.read_bytes() == (tmp_path / "copy.tflite").read_bytes()


def test_only_a_model_file_is_signed(tmp_path: Path, key: Path, model: Path) -> None:
    """A damaged one is not either."""
    content = model.read_bytes()
    model.write_bytes(content[:2000] + bytes([content[2000] ^ 1]) + content[2001:])
    with pytest.raises(ModelFileError):
        sign(model, key)


def test_keys_have_the_format_of_openssh(key: Path) -> None:
    """ssh-keygen reads them and shows the same fingerprint; only the owner can read the private one."""
    assert key.stat().st_mode & 0o777 == 0o600
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen: sudo apt-get install openssh-client")
    for path in (key, key.with_name("key.pub")):
        listed = subprocess.run(
            ["ssh-keygen", "-l", "-f", path], capture_output=True, text=True, check=True
        ).stdout
        assert listed.split()[1] == public(key).fingerprint
    made = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True).stdout
    assert PublicKey.parse(made) == public(key)


def test_a_key_is_not_overwritten(key: Path) -> None:
    """Devices that pin it would refuse every later signature."""
    before = key.read_bytes()
    with pytest.raises(OutputExistsError):
        new_key(key)
    assert key.read_bytes() == before


def test_unusable_keys_are_refused_with_the_reason(model: Path, key: Path, tmp_path: Path) -> None:
    """Missing, readable by others, with a passphrase, of another kind, and damaged."""
    with pytest.raises(SignatureError, match=r"there is no key .*edgetl key new"):
        sign(model, tmp_path / "nowhere")
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(SignatureError, match="is no private key of OpenSSH"):
        sign(model, tmp_path / "text")
    key.chmod(0o640)
    with pytest.raises(SignatureError, match=r"other users can read the key .*chmod 600"):
        sign(model, key)
    if shutil.which("ssh-keygen"):
        words = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "ecdsa"]
        subprocess.run(words, check=True)
        with pytest.raises(SignatureError, match="is no Ed25519 key"):
            sign(model, tmp_path / "ecdsa")


@pytest.mark.parametrize(
    "text", ["", "ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 !!!!", "ssh-ed25519 AAAA me"]
)
def test_other_text_is_no_public_key(text: str) -> None:
    """The message has the expected form."""
    with pytest.raises(SignatureError, match=r"a public key is a line 'ssh-ed25519 AAAA\.\.\. NAME'"):
        PublicKey.parse(text)


@pytest.mark.parametrize("content", ["", "# nothing\n", "ssh-ed25519 AAAA me\n", b"\xff\xfe"])
def test_damaged_pinned_keys_refuse_every_model(content: str | bytes, model: Path) -> None:
    """Otherwise a half-written file would accept every model."""
    path = user_file()
    assert path is not None
    path.parent.mkdir(parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SignatureError, match="no model file is accepted"):
        ModelFile.open(model)


def test_keys_for_all_users_count_too(key: Path, tmp_path: Path, model: Path) -> None:
    """The keys of both files are accepted."""
    write_keys(tmp_path / "system" / "trusted-keys", [public(key)])
    other = new_key(tmp_path / "other")
    pin(other)
    assert set(pinned_keys()) == {public(key), other}
    for each in (key, tmp_path / "other"):
        sign(model, each, force=True)
        ModelFile.open(model)


def test_files_written_here_need_no_signature(model: Path, key: Path, tmp_path: Path) -> None:
    """A device with a pinned key still exports; the export has to be signed before it is opened."""
    sign(model, key)
    pin(public(key))
    assert invoke("export", model, "--out", tmp_path / "personal.tflite")[0] == 0
    code, output = invoke("status", tmp_path / "personal.tflite")
    assert code == 1
    assert "the file is not signed" in output
    assert invoke("sign", tmp_path / "personal.tflite", "--key", key)[0] == 0
    assert invoke("status", tmp_path / "personal.tflite")[0] == 0


def test_without_the_package_a_pinned_key_refuses_models(
    model: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the command that installs it; without a pinned key nothing needs the package."""
    sign(model, key)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    ModelFile.open(model)
    assert examine_signature(model).valid is None
    pin(public(key))
    with pytest.raises(ImportError, match=r"pip install 'edgetl\[sign\]'"):
        ModelFile.open(model)


def test_the_commands_make_sign_pin_and_unpin(model: Path, tmp_path: Path) -> None:
    """The text that `key new` prints can be pinned, and so can its file."""
    code, output = invoke("key", "new", "--json")
    assert code == 0, output
    made = json.loads(output)
    assert invoke("key", "list") == (0, "No key is pinned: every model file is accepted.\n")
    assert invoke("sign", model)[0] == 0
    assert "valid, by SHA256:" in invoke("inspect", model)[1]
    assert invoke("key", "pin", made["key"])[0] == 0
    assert invoke("key", "pin", made["public"])[0] == 0
    listed = json.loads(invoke("key", "list", "--json")[1])
    assert [entry["fingerprint"] for entry in listed] == [made["fingerprint"]]
    assert "pinned here" in invoke("inspect", model)[1]
    assert json.loads(invoke("inspect", model, "--json")[1])["signature"]["pinned"] is True
    code, output = invoke("key", "unpin", "SHA256:other")
    assert (code, made["fingerprint"] in output) == (1, True)
    assert invoke("key", "unpin", made["fingerprint"])[0] == 0
    assert pinned_keys() == ()


@pytest.mark.parametrize(
    ("pinned", "signed", "result", "finding"),
    [
        (False, False, "note", "none"),
        (False, True, "good", "which is not pinned here"),
        (True, True, "good", "pinned here"),
        (True, False, "failed", "this machine requires one"),
    ],
)
def test_check_shows_the_signature(
    pinned: bool, signed: bool, result: str, finding: str, model: Path, key: Path
) -> None:
    """The check fails where the model would be refused."""
    if signed:
        sign(model, key)
    if pinned:
        pin(public(key))
    (check,) = [each for each in self_test(Subject(model=model, look=False)) if each.name == "signature"]
    assert check.result == result
    assert finding in check.finding


def test_check_shows_a_wrong_signature(model: Path, key: Path) -> None:
    """Also where no key is pinned."""
    sign(model, key)
    content = bytearray(model.read_bytes())
    content[2000] ^= 1
    model.write_bytes(content)
    (check,) = [each for each in self_test(Subject(model=model, look=False)) if each.name == "signature"]
    assert check.result == "failed"
    assert "was changed after SHA256:" in check.finding

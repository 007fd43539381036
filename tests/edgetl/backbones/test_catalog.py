"""The catalog of backbones: its figures agree with the networks, and it reports what is on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("click", reason="the command line needs click")
from click.testing import CliRunner

from edgetl.backbones import BACKBONES, load_backbone
from edgetl.backbones.applications import ALIASES, APPLICATIONS, keras_folder, load_application
from edgetl.backbones.catalog import Entry, list_backbones
from edgetl.backbones.hdf5_weights import SIGNATURE
from edgetl.backbones.registry import check_backbone
from edgetl.backbones.small import SMALL
from edgetl.cli import main
from edgetl.errors import BackboneError, MissingExtraError

NEEDS_KERAS = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="the networks are Keras models; run: pip install 'edgetl[host]'",
)


def entries() -> dict[str, Entry]:
    """Return the catalog by name."""
    return {entry.name: entry for entry in list_backbones()}


def test_every_backbone_is_listed_once() -> None:
    """The catalog contains every name that load_backbone accepts."""
    names = [entry.name for entry in list_backbones()]
    assert len(names) == len(set(names))
    for name in names:
        # a package that is not installed is another matter
        with contextlib.suppress(MissingExtraError):
            check_backbone(name)
    assert {*BACKBONES, *SMALL, *ALIASES} <= set(names)
    assert len(names) == len(BACKBONES) + len(SMALL) + len(APPLICATIONS)


@NEEDS_KERAS
@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_figures_of_a_packaged_backbone_agree_with_its_network(name: str) -> None:
    """Parameters, D and input are those of the Keras model."""
    model = BACKBONES[name].build(name)
    entry = entries()[name]
    assert model.count_params() == entry.parameters
    assert model.output_shape == (None, entry.dimensions)
    assert model.input_shape == (None, entry.height, entry.width, entry.channels)


@NEEDS_KERAS
@pytest.mark.parametrize("name", SMALL)
def test_figures_of_a_small_backbone_agree_with_its_network(name: str) -> None:
    """Parameters, D and the gray input are those of the Keras model; there are no weights to fetch."""
    model, prepared = load_backbone(name)
    entry = entries()[name]
    assert model.count_params() == entry.parameters
    assert model.output_shape == (None, entry.dimensions)
    assert model.input_shape == (None, entry.height, entry.width, 1) == (None, 28, 28, prepared.channels)
    assert (entry.weights, entry.source, entry.at_hand) == ("trained here", "", False)


@NEEDS_KERAS
@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV3Small"])
def test_figures_of_an_application_agree_with_its_network(name: str) -> None:
    """Parameters and D are those of the Keras model without its classifier."""
    import keras

    model = getattr(keras.applications, name)(
        include_top=False, pooling="avg", weights=None, input_shape=(224, 224, 3)
    )
    entry = entries()[APPLICATIONS[name].alias or f"keras:{name}"]
    assert model.count_params() == entry.parameters
    assert model.output_shape == (None, entry.dimensions)


@NEEDS_KERAS
@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_named_file_is_the_one_that_keras_downloads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras asks for the address, file name and checksum in the catalog; the message shows what to fetch, and where to put it."""
    from keras.src.utils import file_utils

    asked = []

    def refuse(file: str, origin: str, file_hash: str | None = None, **_: object) -> str:
        asked.append((file, origin, file_hash or ""))
        raise OSError("no network")

    monkeypatch.setattr(file_utils, "get_file", refuse)
    application = APPLICATIONS[name]
    with pytest.raises(BackboneError) as caught:
        load_application(f"keras:{name}")
    assert asked == [(application.file, application.url, application.checksum)]
    for part in (
        "no network",
        application.url,
        f"as {application.file}",
        str(keras_folder() / "models"),
        "--weights",
    ):
        assert part in str(caught.value)


def write_signature(path: Path) -> None:
    """Write a file that starts as an HDF5 file does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SIGNATURE)


@pytest.mark.parametrize("place", ["KERAS_HOME", "EDGETL_WEIGHTS"])
def test_downloaded_weights_are_at_hand(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in one of the two folders counts, and only for its own backbone; an error page saved as .h5 does not."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "none"))
    monkeypatch.setenv(place, str(tmp_path))
    downloads = {name: entry for name, entry in entries().items() if entry.weights == "download"}
    assert len(downloads) == len(APPLICATIONS)
    assert not any(entry.at_hand for entry in downloads.values())
    folder = tmp_path / "models" if place == "KERAS_HOME" else tmp_path
    write_signature(folder / APPLICATIONS["ResNet50"].file)
    (folder / APPLICATIONS["MobileNet"].file).write_text("<html>not found</html>")
    assert [name for name, entry in entries().items() if name in downloads and entry.at_hand] == ["resnet50"]


def test_packaged_weights_are_at_hand_when_the_file_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package without its file of weights does not count."""
    monkeypatch.delenv("EDGETL_WEIGHTS", raising=False)
    backbone = BACKBONES["efficientnet-lite0"]
    package = tmp_path / backbone.module
    (package / backbone.file).parent.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert not entries()["efficientnet-lite0"].at_hand
    (package / backbone.file).touch()
    assert entries()["efficientnet-lite0"].at_hand


def test_a_file_in_the_folder_of_weights_is_at_hand_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EDGETL_WEIGHTS replaces the package; a file that is not the published one is refused with both checksums."""
    monkeypatch.setenv("EDGETL_WEIGHTS", str(tmp_path))
    backbone = BACKBONES["mobilenet-v2"]
    path = tmp_path / Path(backbone.file).name
    path.write_bytes(b"another file")
    assert entries()["mobilenet-v2"].at_hand
    for weights in (None, path):
        with pytest.raises(
            BackboneError, match=f"{path.name} is not the published file.*{backbone.sha256}; replace"
        ):
            load_backbone("mobilenet-v2", weights=weights)


def test_the_command_shows_every_backbone() -> None:
    """The table and the JSON have one entry per backbone."""
    shown = CliRunner().invoke(main, ["backbones"])
    assert shown.exit_code == 0
    listed = json.loads(CliRunner().invoke(main, ["backbones", "--json"]).stdout)["backbones"]
    assert [entry["name"] for entry in listed] == list(entries())
    assert all(entry["name"] in shown.output for entry in listed)
    lite = listed[0]
    assert (lite["input"], lite["dimensions"], lite["top1"]) == ("224x224x3", 1280, 75.1)

"""Photos of Frigate, Teachable Machine and Edge Impulse become samples; hostile archives do no harm."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip("click", reason="the command line needs click")
from click.testing import CliRunner, Result

from device.cameras.fake import draw
from device.errors import LabelError, PhotoError
from device.images import encode_jpeg
from device.learner import Learner
from edgetl.cli import main
from edgetl.exchange.archive import Archive
from edgetl.exchange.edge_impulse import read_export
from edgetl.exchange.frigate import folder_names, read_dataset
from edgetl.exchange.photos import decode
from edgetl.exchange.teachable_machine import read_samples
from tests.tiny import TINY


def encoded(scene: str, number: int, suffix: str = ".jpg") -> bytes:
    """Return a picture of a scene in a format."""
    done, data = cv2.imencode(suffix, cv2.cvtColor(draw(scene, number), cv2.COLOR_RGB2BGR))
    assert done
    return bytes(data)


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a zip archive."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def black_png(width: int, height: int) -> bytes:
    """Return a small PNG whose decoded image is large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def edgetl(*words: object) -> Result:
    """Run a command and return its result."""
    return CliRunner().invoke(main, [str(word) for word in words])


def imported(*words: object) -> Any:
    """Run an import that must succeed, and return its JSON."""
    done = edgetl("import", *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file without labels."""
    return Path(shutil.copy(TINY, tmp_path / "mugs.tflite"))


def write_frigate(folder: Path, none: int = 2) -> Path:
    """Write a dataset as Frigate keeps it, and return the folder of the model."""
    for label, scene, suffix in (("red car", "red", ".webp"), ("Müllauto", "blue", ".png")):
        (folder / "dataset" / label).mkdir(parents=True)
        for number in range(3):
            place = folder / "dataset" / label / f"{label}-{number}{suffix}"
            place.write_bytes(encoded(scene, number, suffix))
    for number in range(none):
        (folder / "dataset" / "none").mkdir(exist_ok=True)
        (folder / "dataset" / "none" / f"none-{number}.png").write_bytes(encoded("gray", number, ".png"))
    (folder / "train").mkdir()
    (folder / "train" / "waiting.webp").write_bytes(encoded("green", 1, ".webp"))
    return folder


# Frigate


def test_a_dataset_of_frigate_is_taught(model: Path, tmp_path: Path) -> None:
    """WebP and PNG; pictures that wait for a class in `train` are not taught; a second run teaches nothing new."""
    folder = write_frigate(tmp_path / "mugs")
    first = imported("frigate", model, folder)
    assert first["taught"] == {"Müllauto": 3, "red car": 3}
    assert first["background"] == 2
    again = imported("frigate", model, folder / "dataset")
    assert (again["taught"], again["background"], again["known_already"]) == ({}, 0, 8)
    assert (again["samples"], again["total_background"]) == ({"Müllauto": 3, "red car": 3}, 2)
    assert (
        "In total: Müllauto 3, red car 3, background 2." in edgetl("import", "frigate", model, folder).stdout
    )
    with Learner.open(model) as learner:
        assert learner.predict_one(draw("red", 9)).label == "red car"
        assert {sample.source for sample in learner.samples("red car")} == {
            f"frigate:red car/red car-{number}.webp" for number in range(3)
        }


def test_a_folder_without_classes_is_refused(model: Path, tmp_path: Path) -> None:
    """The message names the folder that is expected."""
    (tmp_path / "empty").mkdir()
    done = edgetl("import", "frigate", model, tmp_path / "empty")
    assert (done.exit_code, "clips/MODEL/dataset" in done.stderr) == (1, True)


def test_damaged_photos_are_skipped_with_the_reason(model: Path, tmp_path: Path) -> None:
    """A cut-off JPEG, a PNG of a billion pixels, and text with the name of a photo."""
    folder = write_frigate(tmp_path / "mugs", none=0) / "dataset" / "red car"
    (folder / "cut.jpg").write_bytes(encoded("red", 5)[:-100])
    (folder / "huge.png").write_bytes(black_png(40_000, 40_000))
    (folder / "notes.jpg").write_text("not a photo")
    found = imported("frigate", model, tmp_path / "mugs")
    assert found["taught"]["red car"] == 3
    reasons = {Path(item["file"]).name: item["reason"] for item in found["skipped"]}
    assert reasons == {"cut.jpg": "cut-off", "huge.png": "too-large", "notes.jpg": "not-an-image"}


def test_the_samples_are_exported_as_a_dataset_and_imported_again(model: Path, tmp_path: Path) -> None:
    """One folder per label with PNG files; labels that cannot be folder names are changed."""
    with Learner.open(model) as learner:
        for label, scene in (("a/b", "red"), ("mug", "blue"), ("..", "green")):
            learner.learn_many([draw(scene, number) for number in range(3)], [label] * 3)
        learner.learn_one(draw("gray"), None)
    done = edgetl("export", model, "--frigate", "--out", tmp_path / "out", "--json")
    written = json.loads(done.stdout)
    assert written["pictures"] == 10
    assert {label: found["folder"] for label, found in written["labels"].items()} == {
        "..": "_", "a/b": "a_b", "mug": "mug", "": "none",
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["out"]
    found = read_dataset(tmp_path / "out")
    assert sorted({str(photo.label) for photo in found.photos}) == ["None", "_", "a_b", "mug"]
    assert all(photo.image().shape[2] == 3 for photo in found.photos)
    again = edgetl("export", model, "--frigate", "--out", tmp_path / "out")
    assert (again.exit_code, "--force" in again.stderr) == (1, True)


def test_folder_names_are_different_and_short() -> None:
    """Also where only the case differs, because some file systems ignore it."""
    labels = ["mug", "MUG", "m:g", "m?g", "none", "😀" * 100, "x" * 100, " . "]
    names = folder_names(labels)
    assert len({name.casefold() for name in names.values()}) == len(labels)
    assert all(0 < len(name.encode()) <= 130 for name in names.values())
    assert not set("/:?") & set("".join(names.values()))


# Teachable Machine


def test_samples_of_teachable_machine_are_taught(model: Path, tmp_path: Path) -> None:
    """An archive per class, whose name is the label, and one with a folder per class."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    zipped(folder / "Class 1-samples.zip", {f"{number}.jpg": encoded("red", number) for number in range(3)})
    zipped(
        folder / "project.tm",
        {"manifest.json": b"{}"}
        | {f"blauer Becher/{number}.png": encoded("blue", number, ".png") for number in range(3)},
    )
    found = imported("teachable-machine", model, folder)
    assert found["taught"] == {"Class 1": 3, "blauer Becher": 3}
    assert [item["reason"] for item in found["skipped"]] == ["not-a-photo"]
    assert imported("teachable-machine", model, folder / "project.tm")["known_already"] == 3


def test_nothing_is_written_outside_and_no_path_is_trusted(model: Path, tmp_path: Path) -> None:
    """Names with .., from the root and of Windows, and a symbolic link: only the folder's name is used, as a label."""
    photo = encoded("red", 1)
    link = zipfile.ZipInfo("mug/link.jpg")
    link.external_attr = 0o120777 << 16
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../../evil/0.jpg", "/etc/1.jpg", "C:\\Windows\\2.jpg"):
            archive.writestr(name, photo)
        archive.writestr(link, "/etc/passwd")
    before = sorted(tmp_path.rglob("*"))
    with ExitStack() as stack:
        found = read_samples(path, stack)
        assert [str(photo.label) for photo in found.photos] == ["Windows", "etc", "evil", "mug"]
    assert sorted(tmp_path.rglob("*")) == before
    taught = imported("teachable-machine", model, path)
    assert taught["taught"] == {"Windows": 1, "etc": 1, "evil": 1}
    assert [item["reason"] for item in taught["skipped"]] == ["not-a-photo"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(model: Path, tmp_path: Path) -> None:
    """A file that shrinks a thousand times, and one whose header has a wrong size."""
    bomb = zipped(tmp_path / "mug.zip", {"0.jpg": bytes(30 * 2**20), "1.jpg": encoded("red", 1)})
    found = imported("teachable-machine", model, bomb)
    assert found["taught"] == {"mug": 1}
    assert [item["reason"] for item in found["skipped"]] == ["too-large"]
    lying = bytearray(zipped(tmp_path / "b.zip", {"0.jpg": bytes(2**20)}).read_bytes())
    at = lying.rfind(b"PK\x01\x02")
    lying[at + 24 : at + 28] = struct.pack("<I", 1000)  # the unpacked size in the directory
    (tmp_path / "lying.zip").write_bytes(lying)
    with Archive(tmp_path / "lying.zip") as archive, pytest.raises(PhotoError):
        archive.files["0.jpg"]()


def test_an_archive_with_too_much_in_it_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the number of files, and by their size together."""
    path = zipped(tmp_path / "many.zip", {f"{number}.jpg": b"x" * 100 for number in range(20)})
    monkeypatch.setattr("edgetl.exchange.archive._MOST_TOTAL", 1999)
    with pytest.raises(PhotoError, match="2000 bytes unpacked"):
        Archive(path)
    monkeypatch.setattr("edgetl.exchange.archive._MOST_FILES", 19)
    with pytest.raises(PhotoError, match="20 files"):
        Archive(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip" * 100])
def test_a_file_that_is_no_archive_is_refused(content: bytes, model: Path, tmp_path: Path) -> None:
    """Without a traceback."""
    (tmp_path / "a.zip").write_bytes(content)
    for tool in ("teachable-machine", "edge-impulse"):
        done = edgetl("import", tool, model, tmp_path / "a.zip")
        assert (done.exit_code, "not a zip archive" in done.stderr) == (1, True), done.output


def test_damaged_entries_of_an_archive_are_skipped(model: Path, tmp_path: Path) -> None:
    """A wrong checksum, and an encrypted file."""
    whole = bytearray(
        zipped(
            tmp_path / "a.zip", {f"mug/{n}.jpg": encoded("red", n) for n in range(3)}, zipfile.ZIP_STORED
        ).read_bytes()
    )
    at = whole.find(b"mug/0.jpg") + 500
    whole[at] ^= 0xFF
    second = whole.find(b"PK\x03\x04", 10)
    directory = whole.find(b"PK\x01\x02", whole.find(b"PK\x01\x02") + 4)
    whole[second + 6] |= 1  # "encrypted"
    whole[directory + 8] |= 1
    (tmp_path / "b.zip").write_bytes(whole)
    found = imported("teachable-machine", model, tmp_path / "b.zip")
    assert found["taught"] == {"mug": 1}
    assert len(found["skipped"]) == 2


# Edge Impulse


def entry(path: str, label: Any, category: str = "training") -> dict[str, Any]:
    """Return an entry of info.labels."""
    return {"path": path, "category": category, "label": label, "metadata": {}}


def labeled(label: str) -> dict[str, str]:
    """Return a label as info.labels has it."""
    return {"type": "label", "label": label}


def write_edge_impulse(folder: Path) -> Path:
    """Write an export of an image project."""
    entries = []
    for scene, label in (("red", "mug"), ("blue", "a/b")):
        for number in range(3):
            part = "testing" if number == 2 else "training"
            (folder / part).mkdir(parents=True, exist_ok=True)
            path = f"{part}/{scene}.{number}.jpg"
            (folder / path).write_bytes(encoded(scene, number))
            entries.append(entry(path, labeled(label), part))
    entries.append(entry("training/none.jpg", {"type": "unlabeled"}))
    entries.append(entry("training/gone.jpg", labeled("mug")))
    entries.append(entry("../../etc/passwd", labeled("mug")))
    entries.append(entry("/etc/passwd", labeled("mug")))
    (folder / "info.labels").write_text(json.dumps({"version": 1, "files": entries}))
    return folder


def test_an_export_of_edge_impulse_is_taught(model: Path, tmp_path: Path) -> None:
    """The training photos by default; what is unlabeled, missing or outside is skipped with its reason."""
    folder = write_edge_impulse(tmp_path / "export")
    found = imported("edge-impulse", model, folder)
    assert found["taught"] == {"a/b": 2, "mug": 2}
    assert {item["file"]: item["reason"] for item in found["skipped"]} == {
        "training/none.jpg": "without-one-label",
        "training/gone.jpg": "missing",
        "../../etc/passwd": "outside-the-export",
        "/etc/passwd": "outside-the-export",
    }
    everything = imported("edge-impulse", model, folder / "info.labels", "--part", "all")
    assert (everything["taught"], everything["known_already"]) == ({"a/b": 1, "mug": 1}, 4)


def test_a_zip_archive_of_edge_impulse_is_the_same(model: Path, tmp_path: Path) -> None:
    """Also where the export is in a folder of the archive."""
    folder = write_edge_impulse(tmp_path / "export")
    files = {
        f"project/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    found = imported("edge-impulse", model, zipped(tmp_path / "export.zip", files))
    assert found["taught"] == {"a/b": 2, "mug": 2}


def test_a_link_out_of_the_export_is_not_followed(tmp_path: Path) -> None:
    """The photo is there, but not in the export."""
    folder = write_edge_impulse(tmp_path / "export")
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(encoded("red", 1))
    (folder / "training" / "gone.jpg").symlink_to(secret)
    with ExitStack() as stack:
        found = read_export(folder, stack)
    assert "training/gone.jpg" in {item.name for item in found.skipped if item.reason == "missing"}


@pytest.mark.parametrize(
    "info", ["", "[]", "{}", '{"version": 2, "files": []}', '{"version": 1, "files": 3}', "[" * 100_000]
)
def test_a_damaged_info_file_is_refused(info: str, model: Path, tmp_path: Path) -> None:
    """Without a traceback."""
    (tmp_path / "info.labels").write_text(info)
    done = edgetl("import", "edge-impulse", model, tmp_path)
    assert (done.exit_code, "info.labels" in done.stderr, "bug" in done.stderr) == (1, True, False)


def test_strange_entries_are_skipped(tmp_path: Path) -> None:
    """Entries that are no objects, have no path, or have labels of other types."""
    (tmp_path / "a.jpg").write_bytes(encoded("red", 1))
    strange = [
        3,
        None,
        {},
        {"path": 7},
        {"path": ""},
        entry("a.jpg", "mug"),
        entry("a.jpg", {"type": "label", "label": 3}),
    ]
    strange += [entry("a.jpg", {"type": "multi-label", "labels": []}), entry("a.jpg", labeled("mug"))]
    (tmp_path / "info.labels").write_text(json.dumps({"version": 1, "files": strange}))
    with ExitStack() as stack:
        found = read_export(tmp_path, stack)
    assert len(found.photos) == 1
    assert len(found.skipped) == 8


@pytest.mark.parametrize("label", ["", "x" * 10_000, "two\nlines", "right\u202e left"])
def test_a_label_that_cannot_be_one_is_refused_with_its_place(label: str, tmp_path: Path) -> None:
    """Before anything is taught."""
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(draw("red")))
    (tmp_path / "info.labels").write_text(
        json.dumps({"version": 1, "files": [entry("a.jpg", labeled(label))]})
    )
    with ExitStack() as stack, pytest.raises(LabelError, match=r"label of a\.jpg"):
        read_export(tmp_path, stack)


def test_a_photo_of_another_format_is_refused() -> None:
    """GIF and TIFF may contain several pictures."""
    buffer = io.BytesIO(b"GIF89a" + bytes(100))
    with pytest.raises(PhotoError, match="not a JPEG"):
        decode(buffer.getvalue(), "a.gif")

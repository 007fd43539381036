"""How the demo selects and splits its photos."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device.photos import list_photos
from edgetl.demo import data
from edgetl.demo.data import crisp_cells, lay_out, split_cells
from edgetl.errors import MissingExtraError, PhotoFolderError
from tests.edgetl.demo.fake import elpv


def test_only_crisp_labels_are_used(tmp_path: Path) -> None:
    """Cells whose defect probability is a third or two thirds are left out."""
    cells = crisp_cells(elpv(tmp_path / "elpv"))
    assert len(cells) == 48 * 4 // 6
    assert {cell.label for cell in cells} == {"intact", "defective"}


def test_the_four_parts_are_disjoint_and_complete(tmp_path: Path) -> None:
    """No cell is in two parts, and together they contain all crisp cells; lab is mono, field is poly."""
    cells = crisp_cells(elpv(tmp_path / "elpv"))
    split = split_cells(cells, seed=3)
    parts = [split.lab, split.lab_held_out, split.field, split.field_held_out]
    paths = [cell.path for part in parts for cell in part]
    assert sorted(paths) == sorted(cell.path for cell in cells)
    assert len(set(paths)) == len(paths)
    assert [{cell.kind for cell in part} for part in parts] == [{"mono"}, {"mono"}, {"poly"}, {"poly"}]


def test_every_fourth_mono_and_every_third_poly_cell_is_held_out(tmp_path: Path) -> None:
    """The documented rule applies in the order of the data set's list."""
    cells = crisp_cells(elpv(tmp_path / "elpv"))
    split = split_cells(cells, seed=0)
    mono = [cell for cell in cells if cell.kind == "mono"]
    poly = [cell for cell in cells if cell.kind == "poly"]
    assert list(split.lab_held_out) == mono[3::4]
    assert list(split.field_held_out) == poly[2::3]


def test_the_seed_affects_only_the_teaching_order(tmp_path: Path) -> None:
    """The same seed produces the same split; another seed produces another order of the same cells."""
    cells = crisp_cells(elpv(tmp_path / "elpv"))
    one, same, other = (split_cells(cells, seed) for seed in (1, 1, 2))
    assert one == same
    assert one.field != other.field
    assert set(one.field) == set(other.field)
    assert (one.lab, one.lab_held_out, one.field_held_out) == (
        other.lab,
        other.lab_held_out,
        other.field_held_out,
    )


def test_the_device_sees_photos_without_labels_in_teaching_order(tmp_path: Path) -> None:
    """Its folders contain only photos; the labels are in a separate file."""
    split = split_cells(crisp_cells(elpv(tmp_path / "elpv")), seed=1)
    layout = lay_out(split, tmp_path / "cells")
    shown = [path.name.partition("-")[2] for path in list_photos(layout.field)]
    assert shown == [cell.path.name for cell in split.field]
    answers = json.loads(layout.answers.read_text())
    assert [answers[f"field/{path.name}"] for path in list_photos(layout.field)] == [
        cell.label for cell in split.field
    ]
    assert not any(path.is_dir() for path in layout.field_held_out.iterdir())
    assert not any(name.startswith("lab/") for name in answers)


def test_the_error_for_missing_photos_names_their_license(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message shows the command that installs the photos, and their license."""
    monkeypatch.setattr(data, "_PACKAGE", "no_such_package_of_photos")
    with pytest.raises(MissingExtraError, match=r"edgetl\[demo\].*CC BY-NC-SA 4\.0"):
        data.elpv_folder()


@pytest.mark.parametrize(
    "line", ["images/cell0001.png 1.0", "images/a.png much mono", "images/a.png 1.0 amorphous"]
)
def test_a_list_in_another_format_is_refused(tmp_path: Path, line: str) -> None:
    """The error names the file."""
    (tmp_path / "labels.csv").write_text(line)
    with pytest.raises(PhotoFolderError, match=r"labels\.csv"):
        crisp_cells(tmp_path)


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(PhotoFolderError, match=r"labels\.csv"):
        crisp_cells(tmp_path)

"""The demo's photos: electroluminescence images of solar cells (ELPV), and how they are split.

The lab has only monocrystalline cells; in the field the device sees polycrystalline ones. Only crisp labels are
used: cells whose defect probability is 0 (``intact``) or 1 (``defective``).

In the order of the data set's own list, every fourth mono cell and every third poly cell is held out. Training,
calibration and teaching never use those. The other mono cells are the lab's photos; the other poly cells are taught
in an order drawn from the seed.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import MissingExtraError, PhotoFolderError

LABELS = ("defective", "intact")
LICENSE = "CC BY-NC-SA 4.0"
NOTICE = (
    "Photos: ELPV, electroluminescence images of solar cells (Buerhop-Lutz et al. 2018; Deitsch et al. 2019, 2021), "
    f"license {LICENSE}: not for commercial use. They stay on this computer."
)
LAB_EVERY = 4  # every fourth mono cell is held out
FIELD_EVERY = 3  # every third poly cell is held out
ANSWERS = "answers.json"

_PACKAGE = "elpv_dataset"
_CRISP = {0.0: "intact", 1.0: "defective"}
_TYPES = ("mono", "poly")


@dataclass(frozen=True)
class Cell:
    """One photo of a solar cell.

    Attributes:
        path: The PNG.
        label: ``intact`` or ``defective``.
        kind: ``mono`` or ``poly``.
    """

    path: Path
    label: str
    kind: str


@dataclass(frozen=True)
class Split:
    """The four parts of the cells; no cell is in two of them.

    Attributes:
        lab: Mono cells the host trains on.
        lab_held_out: Mono cells for testing.
        field: Poly cells the device is taught, in teaching order.
        field_held_out: Poly cells for testing.
    """

    lab: tuple[Cell, ...]
    lab_held_out: tuple[Cell, ...]
    field: tuple[Cell, ...]
    field_held_out: tuple[Cell, ...]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of cells per part and label."""
        return {
            name: {label: sum(cell.label == label for cell in cells) for label in LABELS}
            for name, cells in vars(self).items()
        }


@dataclass(frozen=True)
class Layout:
    """The folders that the photos are copied to.

    Attributes:
        lab: One folder per label, as `edgetl finetune` expects.
        lab_held_out: Photos without labels, as a camera shows them.
        field: Photos without labels; their names sort in teaching order.
        field_held_out: Photos without labels.
        answers: The labels that the person beside the device knows: JSON, photo name -> label.
    """

    lab: Path
    lab_held_out: Path
    field: Path
    field_held_out: Path
    answers: Path

    @classmethod
    def of(cls, root: Path) -> Layout:
        """Return the layout below the folder `root`."""
        return cls(
            root / "lab", root / "lab-held-out", root / "field", root / "field-held-out", root / ANSWERS
        )


def elpv_folder() -> Path:
    """Return the folder of the installed photos.

    Raises:
        MissingExtraError: The package elpv-dataset is not installed.
    """
    found = importlib.util.find_spec(_PACKAGE)
    places = found.submodule_search_locations if found else None
    if not places:
        raise MissingExtraError(
            "the demo's photos are not installed; install them with: pip install 'edgetl[demo]' "
            f"(ELPV solar cells, 91 MB, license {LICENSE})"
        )
    return Path(next(iter(places))) / "data"


def crisp_cells(folder: Path) -> list[Cell]:
    """Return the cells with a crisp label, in the order of ``labels.csv``.

    Args:
        folder: Contains ``labels.csv`` (path, defect probability, type; separated by spaces) and the photos.

    Raises:
        PhotoFolderError: The list is missing or not as expected.
    """
    listing = folder / "labels.csv"
    try:
        rows = [line.split() for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
        cells = [_cell(folder, *row) for row in rows]
    except (OSError, TypeError, ValueError) as error:
        raise PhotoFolderError(
            f"{listing} is not a list of ELPV cells ({error}); "
            "install it again: pip install --force-reinstall elpv-dataset"
        ) from error
    return [cell for cell in cells if cell is not None]


def split_cells(cells: Iterable[Cell], seed: int) -> Split:
    """Split the cells by the rules above; the same seed produces the same teaching order."""
    cells = list(cells)
    mono, poly = ([cell for cell in cells if cell.kind == kind] for kind in _TYPES)
    lab, lab_held_out = _hold_out(mono, LAB_EVERY)
    pool, field_held_out = _hold_out(poly, FIELD_EVERY)
    order = np.random.default_rng(seed).permutation(len(pool))
    return Split(
        tuple(lab), tuple(lab_held_out), tuple(pool[place] for place in order), tuple(field_held_out)
    )


def lay_out(split: Split, root: Path) -> Layout:
    """Copy the photos into folders below `root`, which must not exist yet.

    Only the lab's folder has a subfolder per label. The device's folders contain only photos; their labels are in
    `Layout.answers`.
    """
    layout = Layout.of(root)
    for label in LABELS:
        _copy([cell for cell in split.lab if cell.label == label], layout.lab / label)
    answers: dict[str, str] = {}
    for cells, folder, numbered in (
        (split.lab_held_out, layout.lab_held_out, False),
        (split.field, layout.field, True),
        (split.field_held_out, layout.field_held_out, False),
    ):
        names = _copy(cells, folder, numbered=numbered)
        answers |= {f"{folder.name}/{name}": cell.label for name, cell in zip(names, cells, strict=True)}
    layout.answers.write_text(json.dumps(answers, indent=0), encoding="utf-8")
    return layout


def describe(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return one line with the number of cells per part."""
    sums = {name: sum(labels.values()) for name, labels in counts.items()}
    return (
        f"{sums['lab']} mono cells in the lab and {sums['lab_held_out']} held out, "
        f"{sums['field']} poly cells to teach in the field and {sums['field_held_out']} held out"
    )


def _cell(folder: Path, path: str, probability: str, kind: str) -> Cell | None:
    if kind not in _TYPES:
        raise ValueError(f"the type of a cell is mono or poly, got {kind!r}")
    label = _CRISP.get(float(probability))
    return Cell(folder / path, label, kind) if label else None


def _hold_out(cells: Sequence[Cell], every: int) -> tuple[list[Cell], list[Cell]]:
    last = every - 1
    kept = [cell for place, cell in enumerate(cells) if place % every != last]
    return kept, [cell for place, cell in enumerate(cells) if place % every == last]


def _copy(cells: Sequence[Cell], folder: Path, *, numbered: bool = False) -> list[str]:
    folder.mkdir(parents=True)
    names = [
        f"{place:04d}-{cell.path.name}" if numbered else cell.path.name for place, cell in enumerate(cells)
    ]
    for cell, name in zip(cells, names, strict=True):
        shutil.copyfile(cell.path, folder / name)
    return names

"""The demo from end to end: photos, laptop, field, report; each stage kept for the next run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.files import atomic_output
from device.model.runtime import load_runtime
from device.progress import Progress

from ..errors import TrainingError
from . import host
from .cache import digest_files, kept_or_made, source_digest, versions
from .data import FIELD_EVERY, LAB_EVERY, Layout, Split, crisp_cells, elpv_folder, lay_out, split_cells
from .field import Plan
from .host import Recipe
from .report import render
from .results import DemoResult, FieldResult, HostResult

STEPS = (20, 50, 100, 200)
FIELD_RESULT, STATE, REPORT = "field.json", "cells.db", "report.html"


@dataclass(frozen=True)
class Story:
    """What `tell` plays.

    Attributes:
        cache: Where everything is kept.
        recipe: How the lab trains.
        source: The folder of the ELPV photos; None is the installed package.
        steps: Numbers of cells after which the device is tested; all of them is always added.
        fresh: Use nothing of what an earlier run left.
        command: What the report tells the reader to type.
    """

    cache: Path
    recipe: Recipe = field(default_factory=Recipe)
    source: Path | None = None
    steps: tuple[int, ...] = STEPS
    fresh: bool = False
    command: str = "edgetl demo"

    def tell(self, progress: Progress, report: Path | None = None, *, force: bool = False) -> DemoResult:
        """Play the demo and write its report.

        Args:
            progress: Called as the demo advances; a task begins with ``laptop`` or ``device``.
            report: Where to write the report; None is in the cache, where it replaces the last one.
            force: Overwrite `report`.

        Raises:
            EdgetlError: The photos or a package are missing, a stage failed, or a file cannot be written.
        """
        cells = crisp_cells(self.source or elpv_folder())
        split = split_cells(cells, self.recipe.seed)
        key: dict[str, Any] = {
            "photos": digest_files(cell.path for cell in cells),
            "rules": [LAB_EVERY, FIELD_EVERY],
        }
        reused = []
        photos = self.cache / f"photos-{self.recipe.seed}"
        if self._kept(photos, key, lambda folder: self._photos(split, folder, progress)):
            reused.append("photos")
        key = key | {
            "recipe": vars(self.recipe),
            "versions": versions(host.PACKAGES),
            "source": source_digest(),
        }
        laptop = self.cache / f"laptop-{self.recipe.slug()}"
        if self._kept(laptop, key, lambda folder: self._laptop(photos, folder, progress)):
            reused.append("laptop")
        key = key | {"steps": self.steps, "runtime": str(load_runtime())}
        device = self.cache / f"field-{self.recipe.slug()}"
        fresh = "laptop" not in reused
        if self._kept(device, key, lambda folder: self._field(photos, laptop, folder, progress), fresh=fresh):
            reused.append("field")
        out = report or self.cache / REPORT
        result = DemoResult(
            seed=self.recipe.seed,
            cells=split.counts(),
            host=_host_result(laptop / host.RESULT),
            field=_field_result(device / FIELD_RESULT),
            model=str(laptop / host.MODEL),
            state=str(device / STATE),
            report=str(out),
            reused=reused,
        )
        page = render(result, photos / "cells", command=self.command)
        with atomic_output(out, force=force or report is None) as temporary:
            temporary.write_text(page, encoding="utf-8")
        return result

    def _kept(
        self, folder: Path, key: dict[str, Any], make: Callable[[Path], Any], *, fresh: bool = False
    ) -> bool:
        return kept_or_made(folder, key, make, fresh=fresh or self.fresh)

    def _photos(self, split: Split, folder: Path, progress: Progress) -> None:
        progress("laptop lays out the photos", 0, 1)
        lay_out(split, folder / "cells")
        progress("laptop lays out the photos", 1, 1)

    def _laptop(self, photos: Path, folder: Path, progress: Progress) -> None:
        lab = Layout.of(photos / "cells").lab
        host.train_and_convert(
            lab, folder, self.recipe, lambda task, done, total: progress(f"laptop {task}", done, total)
        )

    def _field(self, photos: Path, laptop: Path, folder: Path, progress: Progress) -> None:
        plan = Plan(
            model=laptop / host.MODEL,
            state=folder / STATE,
            photos=photos / "cells",
            steps=self.steps,
            seed=self.recipe.seed,
            out=folder / FIELD_RESULT,
        )
        plan.save(folder / "plan.json")
        run_field_process(folder / "plan.json", progress)


def run_field_process(plan: Path, progress: Progress) -> None:
    """Run the device's half in a process of its own.

    Raises:
        TrainingError: It failed; the message is what it said.
    """
    command = [sys.executable, "-m", "edgetl.demo.field", str(plan)]
    # where edgetl is not installed but run from its source, the child finds it as we did
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    )
    said = ""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        # one thread for the head, as the device's commands take it
        env={"OPENBLAS_NUM_THREADS": "1", **os.environ, "PYTHONPATH": paths},
    ) as process:
        for line in process.stdout or ():
            told = _read_line(line)
            if "error" in told:
                said = str(told["error"])
            elif "stage" in told:
                progress(f"device {told['stage']}", told["done"], told["total"])
    if process.returncode:
        raise TrainingError(said or f"the device's process ended with code {process.returncode}; see above")


def _read_line(line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _host_result(path: Path) -> HostResult:
    result: HostResult = json.loads(path.read_text(encoding="utf-8"))
    return result


def _field_result(path: Path) -> FieldResult:
    result: FieldResult = json.loads(path.read_text(encoding="utf-8"))
    return result

"""The demo from end to end: photos, host, field, report. Each stage is kept in the cache for the next run."""

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
class Demo:
    """The stages of the demo and their settings.

    Attributes:
        cache: The folder for the results of all stages.
        recipe: The settings of the training.
        source: The folder of the ELPV photos; None means the installed package.
        steps: Numbers of taught cells after which the device is tested; a test after all cells is always added.
        fresh: Use no results of an earlier run.
        command: The command that the report shows to reproduce it.
    """

    cache: Path
    recipe: Recipe = field(default_factory=Recipe)
    source: Path | None = None
    steps: tuple[int, ...] = STEPS
    fresh: bool = False
    command: str = "edgetl demo"

    def run(self, progress: Progress, report: Path | None = None, *, force: bool = False) -> DemoResult:
        """Run the demo and write its report.

        Args:
            progress: Called as the demo advances; a task begins with ``host:`` or ``device:``.
            report: File for the report; None writes it to the cache, where it replaces the last one.
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
        on_host = self.cache / f"host-{self.recipe.slug()}"
        if self._kept(on_host, key, lambda folder: self._host(photos, folder, progress)):
            reused.append("host")
        key = key | {"steps": self.steps, "runtime": str(load_runtime())}
        in_field = self.cache / f"field-{self.recipe.slug()}"
        fresh = "host" not in reused
        if self._kept(
            in_field, key, lambda folder: self._field(photos, on_host, folder, progress), fresh=fresh
        ):
            reused.append("field")
        out = report or self.cache / REPORT
        result = DemoResult(
            seed=self.recipe.seed,
            cells=split.counts(),
            host=_host_result(on_host / host.RESULT),
            field=_field_result(in_field / FIELD_RESULT),
            model=str(on_host / host.MODEL),
            state=str(in_field / STATE),
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
        progress("host: copying the photos", 0, 1)
        lay_out(split, folder / "cells")
        progress("host: copying the photos", 1, 1)

    def _host(self, photos: Path, folder: Path, progress: Progress) -> None:
        lab = Layout.of(photos / "cells").lab
        host.train_and_convert(
            lab, folder, self.recipe, lambda task, done, total: progress(f"host: {task}", done, total)
        )

    def _field(self, photos: Path, model_folder: Path, folder: Path, progress: Progress) -> None:
        plan = Plan(
            model=model_folder / host.MODEL,
            state=folder / STATE,
            photos=photos / "cells",
            steps=self.steps,
            seed=self.recipe.seed,
            out=folder / FIELD_RESULT,
        )
        plan.save(folder / "plan.json")
        run_field_process(folder / "plan.json", progress)


def run_field_process(plan: Path, progress: Progress) -> None:
    """Run the field part in a separate process.

    Raises:
        TrainingError: The process failed; the message is its own error.
    """
    command = [sys.executable, "-m", "edgetl.demo.field", str(plan)]
    # the child finds edgetl even if it is not installed but runs from its source
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    )
    message = ""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:
        for line in process.stdout or ():
            event = _read_line(line)
            if "error" in event:
                message = str(event["error"])
            elif "stage" in event:
                progress(f"device: {event['stage']}", event["done"], event["total"])
    if process.returncode:
        raise TrainingError(
            message or f"the device process ended with status {process.returncode}; see above"
        )


def _read_line(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _host_result(path: Path) -> HostResult:
    result: HostResult = json.loads(path.read_text(encoding="utf-8"))
    return result


def _field_result(path: Path) -> FieldResult:
    result: FieldResult = json.loads(path.read_text(encoding="utf-8"))
    return result

"""Does the page stay smooth with 100 labels and 10,000 samples, in a real browser?

Usage: ``python -m benchmarks.page_scale [MODEL] [--labels 100] [--samples 100] [--slower 1 4]``

A learner is taught random embeddings around one mean per label, with pictures of 96x96, and serves its page with the fake
camera at 15 frames per second. A headless Chromium opens it, and the benchmark acts as a user. `--slower 4` repeats everything
with the processor of the browser slowed down by that factor, for a phone. The steps:

- *open*: from the request of the page until all labels and the first pictures of samples are in the document;
- *live*: the milliseconds per second that the page computes while predictions arrive, for five seconds;
- *lesson*: from a sample that another program has taught until the page shows the new count; the page waits at most 1.2
  seconds, so that it does not follow every sample of a held button;
- *search*: a letter typed in the search until the list is drawn;
- *scroll labels*, *scroll page*: the time between two frames while it scrolls, the 95th percentile;
- *browse*: from the click for older samples until they are in the document;
- *select*: all samples shown are selected and relabeled, until the page shows it;
- *matrix*: from the click until the confusion matrix is drawn.

Next to each time is the processor time of the page's thread, which other programs do not change, and the longest task of the
page meanwhile: for so long it does not react. The browser does not report tasks below 50 ms, which count as 0.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from device.cameras import open_camera
from device.learner import Learner
from device.page.server import PageServer
from tests.device.page.browser import Browser, start_chromium, why_not

from .figures import Figure
from .machine import model_to_measure
from .measurement import Measurement, Table, question_parser

SEED = 0
LESSONS = 5
LIVE_SECONDS = 5.0
PATIENCE = 120.0
_PICTURE = 96  # pixels
# before the page's own scripts: the longest task, and the time when the content is there
_OBSERVE = """
window.longest = 0;
new PerformanceObserver((list) => {
  window.longest = Math.max(window.longest, ...list.getEntries().map((task) => task.duration));
}).observe({ type: "longtask", buffered: true });
window.since = (test, begin = performance.now()) => new Promise((resolve) => {
  const look = () => (test() ? requestAnimationFrame(() => resolve(performance.now() - begin)) : setTimeout(look, 5));
  look();
});
window.gaps = (step, steps = 90) => new Promise((resolve) => {
  const found = [];
  let before = null;
  const draw = (now) => {
    if (before !== null) found.push(now - before);
    before = now;
    if (found.length < steps) { step(found.length / steps); requestAnimationFrame(draw); }
    else resolve(found.sort((one, other) => one - other)[Math.floor(0.95 * found.length)]);
  };
  requestAnimationFrame(draw);
});
"""
_CONTENT = (
    "document.querySelectorAll('.row').length >= {labels} && document.querySelectorAll('#grid li').length > 0"
)


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("page_scale", __doc__, model=True)
    parser.add_argument("--labels", type=int, default=100, help="Number of labels.  [default: 100]")
    parser.add_argument("--samples", type=int, default=100, help="Samples per label.  [default: 100]")
    parser.add_argument(
        "--slower",
        type=float,
        nargs="+",
        default=[1, 4],
        metavar="FACTOR",
        help="Factors by which the browser's processor is slowed down.  [default: 1 4]",
    )
    given = parser.parse_args()
    if why_not():
        parser.error(why_not())
    measurement = Measurement("page_scale", SEED)
    rows = measure(model_to_measure(given.model), given)
    result = {"labels": given.labels, "samples": given.labels * given.samples, "rows": rows}
    measurement.finish(measurement.result(figures(rows), [table(rows)], result), given)


def measure(model: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row per step and factor: its name, value and unit, and the processor time and the longest task in ms."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        learner = stack.enter_context(Learner.open(model, folder / "state.db"))
        stack.enter_context(learner.settling())
        teach(learner, given.labels, given.samples)
        learner.status()  # as after a restart, when they were stored
        server = stack.enter_context(PageServer(learner, lambda: open_camera("fake"), port=0))
        driver = start_chromium(folder / "profile")
        stack.callback(driver.quit)
        driver.set_script_timeout(PATIENCE)
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _OBSERVE})
        driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        return [
            row
            for factor in given.slower
            for row in Steps(Browser(driver), server, given.labels, factor).rows()
        ]


def teach(learner: Learner, labels: int, samples: int) -> None:
    """Teach random embeddings around one mean per label, each with a picture of one color."""
    random = np.random.default_rng(SEED)
    width = learner.model.manifest.dimensions
    for number in range(labels):
        mean = random.gamma(0.5, 1.0, width)
        noise = random.gamma(0.5, 1.0, (samples, width))
        embeddings = (0.7 * mean + 0.6 * noise).astype(np.float32)
        picture = np.full((_PICTURE, _PICTURE, 3), random.integers(0, 256, 3), np.uint8)
        learner.learn_many([picture] * samples, [f"thing {number:03d}"] * samples, embeddings=embeddings)


class Steps:
    """The steps of a user, with the browser's processor slowed down by a factor."""

    def __init__(self, browser: Browser, server: PageServer, labels: int, slower: float) -> None:
        self._browser, self._server, self._slower = browser, server, slower
        self._content = _CONTENT.format(labels=labels)
        browser.driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": slower})

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows, in the order of the steps."""
        steps: dict[str, tuple[Callable[[], float], str]] = {
            "open": (self._open, "ms"),
            "live": (self._live, "ms per second"),
            "lesson": (self._lesson, "ms"),
            "search": (self._search, "ms"),
            "scroll labels": (self._scroll_labels, "ms between frames"),
            "scroll page": (self._scroll_page, "ms between frames"),
            "browse": (self._browse, "ms"),
            "select": (self._select, "ms"),
            "matrix": (self._matrix, "ms"),
        }
        for name, (step, unit) in steps.items():
            before = self._computed()
            with self._longest() as longest:
                value = step()
            # a new document starts at 0
            processor = self._computed() - (0.0 if name == "open" else before)
            yield self._row(name, value, unit, round(processor, 1), longest[0])
        yield self._row("memory", self._metric("JSHeapUsedSize") / 1e6, "MB")
        yield self._row("elements", self._metric("Nodes"), "nodes")

    def _row(
        self, step: str, value: float, unit: str, processor: float | None = None, longest: float | None = None
    ) -> dict[str, Any]:
        measured = {"value": round(value, 1), "unit": unit, "processor_ms": processor, "longest_ms": longest}
        return {"step": step, "slower": self._slower, **measured}

    def _computed(self) -> float:
        """Return the milliseconds of processor time of the page's thread."""
        return 1000 * self._metric("TaskDuration")

    @contextmanager
    def _longest(self) -> Iterator[list[float]]:
        """Yield a list that has the milliseconds of the longest task in the block, afterwards."""
        found: list[float] = []
        self._browser.run("window.longest = 0")
        yield found
        time.sleep(0.3)  # the browser reports a task after its end
        found.append(round(self._browser.run("return window.longest"), 1))

    def _metric(self, name: str) -> float:
        metrics = self._browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        return float({one["name"]: one["value"] for one in metrics}[name])

    def _later(self, script: str, *values: Any) -> float:
        """Run JavaScript that returns a promise of a number, and return the number."""
        wrapped = f"const done = arguments[arguments.length - 1]; ({script}).then(done, (error) => done(String(error)))"
        found = self._browser.driver.execute_async_script(wrapped, *values)
        if not isinstance(found, int | float):
            raise RuntimeError(f"a step failed in the browser: {found}")
        return float(found)

    def _after(self, action: str, test: str) -> float:
        """Run JavaScript, and return the milliseconds from its start until an expression is true and drawn."""
        return self._later(
            f"(async () => {{ const begin = performance.now(); {action} return window.since(() => {test}, begin); }})()"
        )

    def _open(self) -> float:
        self._browser.driver.get("about:blank")
        self._browser.driver.get(self._server.url)
        return self._later(f"window.since(() => {self._content}, 0)")

    def _live(self) -> float:
        before = self._computed()
        time.sleep(LIVE_SECONDS)
        return (self._computed() - before) / LIVE_SECONDS

    def _lesson(self) -> float:
        times = []
        for _ in range(LESSONS):
            taught = self._server.page.lessons.teach("thing 001", "")["samples"]
            count = "document.querySelector('[data-label=\"thing 001\"] .count').textContent"
            times.append(self._later(f"window.since(() => {count} === '{taught} samples')"))
        return float(np.median(times))

    def _search(self) -> float:
        typed = "const f = document.querySelector('#search'); f.value = {!r}; f.dispatchEvent(new Event('input'));"
        return max(self._after(typed.format(text), "true") for text in ("0", "05", "7", ""))

    def _scroll_labels(self) -> float:
        return self._later(
            "window.gaps((s) => { const r = document.querySelector('#rows'); r.scrollTop = s * r.scrollHeight; })"
        )

    def _scroll_page(self) -> float:
        return self._later(
            "window.gaps((s) => window.scrollTo(0, s * document.documentElement.scrollHeight))"
        )

    def _browse(self) -> float:
        first = "document.querySelector('#grid li:last-child').dataset.key"
        return self._after(
            f"const old = {first}; document.querySelector('#older').click();", f"{first} !== old"
        )

    def _select(self) -> float:
        buttons = ("#select", "#select-all", "#select-relabel", "#dialog-choices button")
        return self._after(
            " ".join(f"document.querySelector('{button}').click();" for button in buttons),
            "document.querySelector('#toasts').textContent.includes('relabeled')",
        )

    def _matrix(self) -> float:
        self._browser.wait(lambda: self._browser.run("return !document.querySelector('#confusions').hidden"))
        return self._after(
            "document.querySelector('#confusions-title').click();",
            "document.querySelectorAll('#confusion td').length > 0",
        )


def figures(rows: list[dict[str, Any]]) -> list[Figure]:
    """Return what is compared."""
    found = []
    for row in rows:
        if row["longest_ms"] is not None:
            name = f"longest task, {row['step']}, browser {row['slower']:g}x slower"
            found.append(Figure(name, row["longest_ms"], "ms", tolerance=2, slack=50))
    return found


def table(rows: list[dict[str, Any]]) -> Table:
    """Return the steps, with the factors side by side."""
    factors = list(dict.fromkeys(row["slower"] for row in rows))
    columns = ["step", "unit"]
    for factor in factors:
        columns += [f"{factor:g}x slower" if factor != 1 else "browser", "processor, ms", "longest task, ms"]
    cells = []
    for step in dict.fromkeys(row["step"] for row in rows):
        own = [row for row in rows if row["step"] == step]
        values = [value for row in own for value in (row["value"], row["processor_ms"], row["longest_ms"])]
        cells.append((step, own[0]["unit"], *values))
    return Table(
        "The page with many labels and samples", tuple(columns), tuple(cells), "Tasks below 50 ms count as 0."
    )


if __name__ == "__main__":
    main()

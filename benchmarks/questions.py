"""The benchmarks that `python -m benchmarks.run` runs, each of which answers a question; a new one joins with one line here.

The text of a question is the first sentence of its module, and its result is ``benchmarks/results/NAME.json``.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"


@dataclass(frozen=True)
class Question:
    """A benchmark.

    Attributes:
        name: Its module in `benchmarks`, and its result in `benchmarks/results`.
        arguments: Arguments with which `make bench` or `make bench-all` runs it.
        quick: Whether it belongs to `make bench`, which takes less than ten minutes on two cores.
        needs: Photos or files that the user must name, so that no ``make`` target can run it; or None.
        page: The page of the docs that shows its result, if that is not `RESULTS.md`.
    """

    name: str
    arguments: tuple[str, ...] = ()
    quick: bool = False
    needs: str | None = None
    page: str | None = None

    @property
    def text(self) -> str:
        """The question itself: the first paragraph of the module's docstring, on one line."""
        source = (FOLDER / f"{self.name}.py").read_text(encoding="utf-8")
        return " ".join((ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0].split())

    @property
    def result(self) -> Path:
        """The file of its result."""
        return RESULTS / f"{self.name}.json"


QUESTIONS = (
    Question("overhead", quick=True),
    Question("update", quick=True),
    Question("roofline", quick=True),
    Question("footprint", quick=True),
    Question("camera", quick=True),
    Question("convert", quick=True),
    Question("store", quick=True),
    Question("scale", quick=True),
    Question("finetune", ("--measured-epochs", "1"), quick=True),
    Question("soak", ("--frames", "100000")),
    Question("page"),
    Question("page_scale"),
    Question("crash", ("--kills", "500")),
    Question("size"),
    Question("http_api", page="http-api.md"),
    Question("embed", page="embed.md"),
    Question("fleet_scale", page="fleet.md", needs="Flower's simulation: make .venv-simulation/ready"),
    Question("fleet_trust", page="fleet.md"),
    Question("fleet_flower", needs="the environment of Flower, .venv-fleet", page="fleet.md"),
    Question("fleet_secagg", needs="the environment of Flower, .venv-fleet", page="fleet.md"),
    Question("regions", page="several-cameras.md"),
    Question("heads", page="heads.md"),
    Question("lesson", page="heads.md"),
    Question("few", page="heads.md"),
    Question("maps", page="heads.md"),
    Question("forecast", page="heads.md"),
    Question("splits", page="heads.md"),
    Question("views", page="heads.md"),
    Question("deep", page="heads.md"),
    Question("negatives", page="heads.md"),
    Question("doubts", page="corrections.md"),
    Question("mislabels", page="corrections.md"),
    Question("export", ("--samples", "20000", "100000"), page="model-file.md"),
    Question("mutations"),
    Question("digits", page="gray.md"),
    Question("quantize", page="quantize.md"),
    Question("applications", page="backbones.md", needs="Keras weights from a network"),
    Question("augmentation", page="finetune.md", needs="PHOTOS"),
    Question("backbones", page="backbones.md", needs="PHOTOS"),
    Question("classifier", page="export.md", needs="PHOTOS"),
    Question("coverage", page="heads.md", needs="PHOTOS"),
    Question("gain", page="finetune.md", needs="PHOTOS"),
    Question("kept", page="own-model.md", needs="a .tflite and PHOTOS"),
    Question("motion", page="several-cameras.md", needs="VIDEO files"),
    Question("preserve", page="finetune.md", needs="PHOTOS"),
    Question("reembedding", page="state-file.md", needs="PHOTOS"),
    Question("replay", page="gray.md", needs="DIGITS.npz"),
    Question("surgery", page="own-model.md", needs=".tflite files"),
    Question("unseen_labels", page="finetune.md", needs="PHOTOS"),
)


def find(name: str) -> Question:
    """Return the question with this name.

    Raises:
        SystemExit: There is none.
    """
    for question in QUESTIONS:
        if question.name == name:
            return question
    names = ", ".join(question.name for question in QUESTIONS)
    raise SystemExit(f"there is no benchmark {name!r}; expected one of {names}")

"""What the two halves of the demo find out, as they write it to JSON and the report reads it."""

from __future__ import annotations

from typing import Any, TypedDict

Matrix = list[list[int]]


class Score(TypedDict):
    """How well one row of held-out cells is told apart.

    Attributes:
        cells: How many there are.
        accuracy: Share answered right.
        balanced: Mean of the labels' shares answered right; .5 is guessing.
        unknown: Share the device called unlike everything it was taught.
    """

    cells: int
    accuracy: float
    balanced: float
    unknown: float


class Step(TypedDict):
    """The device after it was taught `taught` cells in the field."""

    taught: int
    field: Score
    lab: Score


class Spread(TypedDict):
    """Accuracy in the field after `taught` cells, over other teaching orders."""

    taught: int
    orders: int
    mean: float
    low: float
    high: float


class Times(TypedDict):
    """Times in milliseconds."""

    p50: float
    p95: float
    count: int


class Guess(TypedDict):
    """What the device said of one cell."""

    label: str
    probability: float
    known: bool


class Example(TypedDict):
    """A held-out cell, and what the device said before and after it was taught in the field."""

    photo: str
    truth: str
    before: Guess
    after: Guess


class FieldResult(TypedDict):
    """What the device process found out.

    Attributes:
        labels: Rows and columns of the matrices.
        runtime: Name and version.
        threads: CPU threads of the backbone.
        machine: cpu, board, cores, system, python, load.
        tensorflow_imported: Always false; the process refuses to go on otherwise.
        steps: Before, and after each number of cells.
        spread: The same numbers in other orders.
        confusion_before: Held-out field cells, true label a row, answer a column.
        confusion_after: The same after all cells.
        times: ``embedding``, ``head`` (learn and solve) and ``durable`` (learned and on the disk).
        taught: Cells taught in the field, a label.
        lab_memory: Cells the host taught, a label.
        estimate: The accuracy the device claims for itself, by leave-one-out over all it was taught.
        examples: Cells spread evenly over the held-out ones.
        state_bytes: Size of the state file.
        head: Name and digest.
        seconds: How long it took.
        when: Local time at the end.
    """

    labels: list[str]
    runtime: str
    threads: int
    machine: dict[str, Any]
    tensorflow_imported: bool
    steps: list[Step]
    spread: list[Spread]
    confusion_before: Matrix
    confusion_after: Matrix
    times: dict[str, Times]
    taught: dict[str, int]
    lab_memory: dict[str, int]
    estimate: float | None
    examples: list[Example]
    state_bytes: int
    head: dict[str, str]
    seconds: float
    when: str


class HostResult(TypedDict):
    """What the host found out.

    Attributes:
        backbone: Its name.
        last_blocks: How many of its last blocks were to be fine-tuned; 0 is none.
        fine_tuned: Whether an epoch of that was better on the lab's validation cells than none, and was kept.
        training: What fine-tuning reports.
        conversion: What the conversion reports, parity included.
        model_bytes: Size of the model file.
        memory_bytes: Of which for what the host taught.
        seconds: Of ``finetune`` and ``convert``.
        versions: Of the packages.
        when: Local time at the end.
    """

    backbone: str
    last_blocks: int
    fine_tuned: bool
    training: dict[str, Any]
    conversion: dict[str, Any]
    model_bytes: int
    memory_bytes: int
    seconds: dict[str, float]
    versions: dict[str, str | None]
    when: str


class DemoResult(TypedDict):
    """The whole: what ``edgetl demo --json`` prints.

    Attributes:
        seed: Of training, splits and teaching order.
        cells: Labels of each part of the photos.
        host: The laptop's half.
        field: The device's half.
        model: The model file.
        state: The state file.
        report: The HTML report.
        reused: Stages that came from the cache.
    """

    seed: int
    cells: dict[str, dict[str, int]]
    host: HostResult
    field: FieldResult
    model: str
    state: str
    report: str
    reused: list[str]

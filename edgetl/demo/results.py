"""The results of the two parts of the demo, as written to JSON and read by the report."""

from __future__ import annotations

from typing import Any, TypedDict

Matrix = list[list[int]]


class Score(TypedDict):
    """The accuracy on one set of held-out cells.

    Attributes:
        cells: Number of cells.
        accuracy: Share of correct predictions.
        balanced: Mean of the accuracies per label; guessing scores .5.
        unknown: Share of cells that were predicted as unknown.
    """

    cells: int
    accuracy: float
    balanced: float
    unknown: float


class Step(TypedDict):
    """The accuracy of the device after it was taught `taught` cells in the field."""

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
    """The device's prediction for one cell."""

    label: str
    probability: float
    known: bool


class Example(TypedDict):
    """A held-out cell, and the device's predictions before and after it was taught in the field."""

    photo: str
    truth: str
    before: Guess
    after: Guess


class FieldResult(TypedDict):
    """The result of the device process.

    Attributes:
        labels: Labels of the rows and columns of the matrices.
        runtime: Name and version of the runtime.
        threads: CPU threads of the backbone.
        machine: cpu, board, cores, system, python, load.
        tensorflow_imported: Always false; otherwise the process exits with an error.
        steps: The accuracy before teaching, and after each number of cells.
        spread: The accuracy after the same numbers of cells, in other teaching orders.
        confusion_before: Held-out field cells; one row per true label, one column per prediction.
        confusion_after: The same after all cells were taught.
        times: ``embedding``, ``head`` (learn and solve) and ``durable`` (learned and on the disk).
        taught: Number of cells taught in the field, per label.
        host_memory: Number of cells that the host taught, per label.
        estimate: The device's estimate of its own accuracy, by leave-one-out over all samples.
        examples: Cells spread evenly over the held-out ones.
        state_bytes: Size of the state file.
        head: Name and digest of the head.
        seconds: Duration of the process.
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
    host_memory: dict[str, int]
    estimate: float | None
    examples: list[Example]
    state_bytes: int
    head: dict[str, str]
    seconds: float
    when: str


class HostResult(TypedDict):
    """The result of the host.

    Attributes:
        backbone: Name of the backbone.
        last_blocks: Number of last blocks to fine-tune; 0 means none.
        fine_tuned: Whether fine-tuning improved the accuracy on the lab's validation cells and was kept.
        training: The report of the training.
        conversion: The report of the conversion, with the parity.
        model_bytes: Size of the model file.
        memory_bytes: Size of the memory in the model file: what the host taught.
        seconds: Duration of ``finetune`` and ``convert``.
        versions: Versions of the packages.
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
    """The complete result, which ``edgetl demo --json`` prints.

    Attributes:
        seed: Seed for the training, the split and the teaching order.
        cells: Number of cells per part and label.
        host: The result of the host.
        field: The result of the device in the field.
        model: Path of the model file.
        state: Path of the state file.
        report: Path of the HTML report.
        reused: Stages that were taken from the cache: ``photos``, ``host``, ``field``.
    """

    seed: int
    cells: dict[str, dict[str, int]]
    host: HostResult
    field: FieldResult
    model: str
    state: str
    report: str
    reused: list[str]

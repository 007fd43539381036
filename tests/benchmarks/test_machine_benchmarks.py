"""The benchmarks of runtime, start-up, endurance and size run on small inputs and judge correctly."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import footprint, installed, overhead, processes, reembedding, size, soak
from benchmarks.machine import machine_info, parser_of, percentiles, warn_of_noise, write_result
from device.model.codes import encode
from tests.tiny import TINY


def test_the_machine_is_described_as_json() -> None:
    """It contains board, governor, runtime and versions, without which a time means nothing."""
    info = json.loads(json.dumps(machine_info(7)))
    assert info["seed"] == 7
    assert {"board", "governor", "cores", "runtime", "python", "load"} <= set(info)
    assert info["versions"]["numpy"]


def test_a_result_is_written_to_the_file_or_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a file, the result goes to stdout."""
    write_result({"a": 1}, tmp_path / "new" / "r.json")
    assert json.loads((tmp_path / "new" / "r.json").read_text()) == {"a": 1}
    capsys.readouterr()
    write_result({"a": 1}, None)
    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_a_parser_shows_its_module_and_no_second_usage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The help starts with ``python -m benchmarks.NAME`` and ends with the default of ``--out``."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/soak.py", "--help"])
    with pytest.raises(SystemExit):
        parser_of("What leaks?\n\nUsage: ``python``\n\nMore.\n", model=True).parse_args()
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("usage: python -m benchmarks.soak [-h]")
    assert "What leaks? More." in text
    assert text.endswith("[default: stdout]")


def test_warnings_about_noise_go_to_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout is reserved for the result."""
    warn_of_noise()
    assert capsys.readouterr().out == ""
    assert percentiles([0.002]) == {"p50_ms": 2.0, "p95_ms": 2.0, "p99_ms": 2.0}


def test_bare_and_ours_do_the_same_work() -> None:
    """Both return equal embeddings, which the comparison requires."""
    result = overhead.measure(TINY, threads=1, pairs=4, warm_up=1)
    assert min(result["ratios"].values()) > 0
    assert result["pairs"] == 4
    figures = overhead.figures([result], [])
    assert [figure.name for figure in figures] == [
        "embed, 1 thread",
        "predict, 1 thread",
        "bare pass, 1 thread",
    ]
    assert len(overhead.table([result]).rows) == 3


def test_runs_are_interleaved_in_alternating_order() -> None:
    """What disturbs the machine then disturbs all alike."""
    order: list[str] = []
    clock, processor = overhead.interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, 1
    )
    assert "".join(order) in ("abbaabba", "baabbaab")
    assert [len(times["a"]) for times in (clock, processor)] == [3, 3]
    assert overhead.paired_ratio([2, 4, 30], [1, 2, 3]) == 2


def test_the_gain_of_xnnpack_is_measured_per_number_of_threads() -> None:
    """Both sides run the same backbone."""
    gained = overhead.xnnpack_gain(TINY, threads=1, pairs=3)
    assert gained["gain"] > 0
    assert gained["threads"] == 1


@pytest.fixture(scope="module")
def started() -> tuple[dict[str, Any], list[footprint.Competitor]]:
    """Return the measured footprints, and the competitor: a program that reads the three files that it receives."""
    program = "import sys; assert all(open(name, 'rb').read() for name in sys.argv[1:4])"
    other = footprint.Competitor("other", "numpy", Path(sys.executable), "import numpy", program)
    return footprint.measure(TINY, 1, 10, [other]), [other]


def test_start_up_compares_two_new_processes(
    started: tuple[dict[str, Any], list[footprint.Competitor]],
) -> None:
    """One process only runs the backbone; the other runs the command with a state."""
    result, _ = started
    assert result["first_prediction"]["edgetl"]["processor"] > 0
    assert result["imports"]["bare"]["memory"] > 0
    assert min(result["imports_ms"].values()) > 0
    assert "cv2" not in {row["module"] for row in result["costliest_imports_above_bare"]}


def test_a_process_that_fails_is_not_measured() -> None:
    """A process that fails is fast, so it must not count."""
    with pytest.raises(SystemExit, match="ended with"):
        processes.start([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_ram_of_a_process_excludes_its_parent() -> None:
    """The parent has NumPy and more in RAM, which must not count."""
    small = processes.start([sys.executable, "-I", "-S", "-c", "pass"])
    large = processes.start([sys.executable, "-I", "-S", "-c", "held = bytearray(b'x' * 100_000_000)"])
    assert small.memory < 50
    assert large.memory > 95
    assert small.processor > 0


def test_a_program_that_does_not_exist_is_named() -> None:
    """The message is a sentence, not a traceback."""
    with pytest.raises(SystemExit, match="cannot start /no/such/program: FileNotFoundError"):
        processes.start(["/no/such/program"])


def test_the_footprint_of_another_program_is_measured_on_the_classifier_that_edgetl_exports(
    started: tuple[dict[str, Any], list[footprint.Competitor]],
) -> None:
    """It is compared like the others."""
    measured, others = started
    result = {**measured, "disk_mb": footprint.disk(others)}
    names = [figure.name for figure in footprint.figures(result)]
    assert "first prediction, RAM / other" in names
    rows = {row[0]: row for row in footprint.table(result).rows}
    assert list(rows) == ["bare", "edgetl", "other"]
    assert rows["edgetl"][1] > rows["other"][1] > 1  # NumPy alone is some 20 MB


def test_the_size_of_a_distribution_includes_what_it_requires() -> None:
    """Extras count only if they are asked for."""
    alone, extended = installed.closure("edgetl"), installed.closure("edgetl[device]")
    assert {"click", "numpy"} <= set(alone)
    assert "tensorflow" not in extended
    assert set(alone) < set(extended)
    assert installed.closure("no-such-distribution") == {}


def test_a_short_soak_teaches_and_predicts() -> None:
    """The latency of so short a run is not judged here."""
    result = soak.soak(TINY, frames=60, teach_every=20)
    assert result["frames"] == 60
    assert result["descriptors_leaked"] == 0
    assert result["state_bytes"] > 0


@pytest.mark.parametrize(
    ("memory", "descriptors", "slow", "passed"),
    [(1000, 9, 1, True), (1100, 9, 1, False), (1000, 12, 1, False), (1000, 9, 2, False)],
)
def test_growth_leaks_and_slowing_down_fail_a_soak(
    memory: int, descriptors: int, slow: int, passed: bool
) -> None:
    """Each of them alone makes the run fail."""
    trace = [
        {"frame": 0, "memory_kb": 500, "descriptors": 9},
        {"frame": 1000, "memory_kb": 1000, "descriptors": 9},
        {"frame": 5000, "memory_kb": memory, "descriptors": descriptors},
    ]
    seconds = [0.001] * 9000 + [0.001 * slow] * 1000
    assert soak._judged(trace, seconds)["passed"] is passed


def test_size_counts_every_file_once(tmp_path: Path) -> None:
    """The size of a folder is the sum of its files; a single file counts by itself."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(bytes(500_000))
    (tmp_path / "a" / "y").write_bytes(bytes(500_000))
    assert size.weigh(tmp_path / "a") == 1.0
    assert size.weigh(tmp_path / "a" / "x") == 0.5


def test_the_cost_of_thumbnails_is_measured_on_photos_that_no_head_learned() -> None:
    """Thumbnails equal to the photos cost nothing; thumbnails of noise cost all accuracy."""
    rng = np.random.default_rng(0)
    labels = [label for label in ("a", "b") for _ in range(30)]
    means = np.repeat(rng.normal(size=(2, 16)), 30, axis=0)
    whole = encode(means + 0.1 * rng.normal(size=(60, 16)))
    noise = encode(rng.normal(size=(60, 16)))
    same = reembedding.compare(whole, whole, labels, taught=5, fresh=2, draws=2)
    assert same["photos"] == same["thumbnails"]
    assert same["photos"]["accuracy"] == 1
    blind = reembedding.compare(whole, noise, labels, taught=5, fresh=2, draws=2)
    assert blind["thumbnails"]["accuracy"] < blind["photos"]["accuracy"]
    taught, asked = reembedding.draw(labels, 5, rng)
    assert sorted([*taught, *asked]) == list(range(60))

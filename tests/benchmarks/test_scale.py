"""The benchmark of growth, and its exponents."""

from __future__ import annotations

import pytest

from benchmarks import scale


def test_the_exponent_is_the_slope_on_logarithmic_scales() -> None:
    """Eight times the time for twice the number is an exponent of three; heads below their dimensions do not count."""
    rows = [{"samples": 100, "dimensions": size, "fit": 5.0 * size**3} for size in (16, 32, 64)]
    rows.append({"samples": 100, "dimensions": 128, "fit": 1.0})
    assert scale.exponent(rows, "dimensions", "fit") == 3.0
    assert scale.exponent(rows[:1], "dimensions", "fit") is None


def test_every_step_of_a_small_head_is_timed() -> None:
    """The state grows with the dimensions."""
    rows = [scale.measure(200, 4, dimensions, lessons=3) for dimensions in (16, 32)]
    assert all(set(row) == set(scale.STEPS) for row in rows)
    assert rows[0]["state"] < rows[1]["state"]


def test_samples_are_drawn_the_same_each_time_and_in_batches() -> None:
    """The labels follow each other in turn."""
    first, second = (list(scale.drawn(150, 3, 8)) for _ in range(2))
    assert [len(names) for _, names in first] == [100, 100]
    assert (first[1][0] == second[1][0]).all()
    assert first[0][1][:4] == ["label 0000", "label 0001", "label 0002", "label 0000"]


def test_measured_exponents_are_shown_beside_the_theory(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are enough samples for every label."""
    monkeypatch.setattr(scale, "SAMPLES", 100)
    monkeypatch.setattr(scale, "DIMENSIONS", 16)
    grown = {"labels": scale.grow("labels", [64, 4], lessons=2)}
    assert [row["samples"] for row in grown["labels"]] == [100, 256]
    figures = scale.figures(grown)
    assert [figure.name for figure in figures] == [f"{step} over labels" for step in scale.STEPS]
    exponents, times = scale.tables(grown)
    assert exponents.rows[3][2].endswith("(1)")
    assert exponents.rows[0][1] == "–"
    assert [row[0] for row in times.rows] == [4, 64]

"""A measurement as one self-contained HTML file, for light and dark screens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from device.system.grid import name_results

from .. import charts
from ..evaluation.page import escape, html_page, list_warnings
from .pictures import (
    STYLE,
    draw_accuracy,
    draw_distributions,
    draw_growth,
    draw_lessons,
    draw_ops,
    draw_stages,
)
from .text import COLUMNS, FRAME, LESSON, median_of, most_expensive, short_layer, shot_name, shown_megabytes

Found = Mapping[str, Any]

_STYLE = f"""
:root {{ color-scheme: light dark; {charts.LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {charts.DARK} }} }}
body {{ margin: 2rem auto; max-width: 56rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--card); overflow-wrap: anywhere }}
h2 {{ margin: 2.2rem 0 .6rem }} .scroll {{ overflow-x: auto }} svg {{ display: block; width: 100%; min-width: 34rem }}
table {{ border-collapse: collapse }} th {{ text-align: left; font-weight: 600 }} p.soft {{ color: var(--soft) }}
td, th {{ padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line) }}
td, th + th {{ text-align: right; white-space: nowrap }} th:first-child {{ overflow-wrap: normal; min-width: 9rem }}
summary {{ cursor: pointer; margin: .4rem 0 }}
{charts.STYLE}{STYLE}
"""


def render(result: Found) -> str:
    """Return the page of a measurement.

    Args:
        result: The JSON of the measurement.

    Returns:
        HTML without any reference to another file.
    """
    names = name_results(result["results"])
    title = escape(f"Measured on {result['machine']['board'] or result['machine']['cpu']}")
    parts = [
        *_conditions(result),
        *_warnings(result),
        *_summary(names, result["results"]),
        *_pictures(names, result),
        *_accuracy(result.get("accuracy")),
        *_profiles(result.get("profile")),
        *_steps(names, result["results"]),
        *_missing(result.get("unavailable") or ()),
    ]
    return html_page(title, _STYLE, parts)


def _conditions(result: Found) -> Iterator[str]:
    machine, frames, conditions = result["machine"], result["frames"], result["conditions"]
    before, after = conditions["before"], conditions["after"]
    others = (
        "" if conditions["others"] is None else f", other programs used {conditions['others']:.0%} of the CPU"
    )
    facts = [
        f"{machine['cpu']}, {machine['cores']} cores, governor {machine['governor']}, {machine['system']}",
        f"load {before['load']} before and {after['load']} after{others}",
        f"frames of {frames['source']}, {frames['width']}x{frames['height']}",
        "CPU time of one thread, without waits" if result.get("clock") == "cpu" else "elapsed time",
        str(result["when"]),
    ]
    yield f'<p class="soft">{escape("; ".join(facts))}</p>'


def _warnings(result: Found) -> Iterator[str]:
    warnings = [*result["notes"], *((result.get("accuracy") or {}).get("notes") or ())]
    if result["partial"]:
        warnings.insert(
            0, f"This result is partial: {result.get('error') or 'the measurement was interrupted'}."
        )
    yield from list_warnings(warnings)


def _summary(names: Sequence[str], results: Sequence[Found]) -> Iterator[str]:
    yield '<h2>Overview</h2><div class="scroll"><table><thead><tr><th></th><th>Prediction</th><th>95 %</th><th>Lesson</th>'
    yield "<th>Above bare</th><th>File</th><th>RAM</th><th>Cold start</th><th>Energy</th></tr></thead><tbody>"
    for name, found in zip(names, results, strict=True):
        overhead, footprint, energy = found.get("overhead"), found.get("footprint"), found.get("energy")
        cells = [
            _milliseconds(median_of(found, FRAME)),
            _milliseconds(median_of(found, FRAME, "p95")),
            _milliseconds(median_of(found, LESSON)),
            _overhead(overhead),
            shown_megabytes(found["model"]["bytes"] / 1e6),
            f"{footprint['peak_ram_bytes'] / 1e6:.0f} MB" if footprint else "–",
            _milliseconds(footprint["start_ms"] if footprint else None),
            f"{energy['frame_millijoules']:.1f} mJ" if energy else "–",
        ]
        yield f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</tbody></table></div>"


def _pictures(names: Sequence[str], result: Found) -> Iterator[str]:
    results = result["results"]
    for heading, picture in (
        ("Accuracy against latency", draw_accuracy(names, results, result.get("accuracy"))),
        ("Time per prediction", draw_distributions(names, results)),
        ("Stages of a prediction", draw_stages(names, results)),
        ("Stages of a lesson", draw_lessons(names, results)),
        ("How teaching grows", draw_growth(names, results)),
    ):
        if picture:
            yield f'<h2>{heading}</h2><div class="scroll">{picture}</div>'


def _accuracy(accuracy: Found | None) -> Iterator[str]:
    if not accuracy:
        return
    yield (
        f"<h2>Accuracy</h2><p>{accuracy['judged']} photos of {escape(accuracy['folder'])} judge ({accuracy['views']} separate "
        f"views), {accuracy['taught']} others may be taught. By number per label: mean of the draws and 95 % interval.</p>"
    )
    yield '<div class="scroll"><table><thead><tr><th>Model</th>'
    yield "".join(f"<th>{shot_name(shot)}</th>" for shot in accuracy["models"][0]["shots"])
    yield "</tr></thead><tbody>"
    for model in accuracy["models"]:
        cells = "".join(
            f"<td>{s['accuracy']:.1%} ({s['interval'][0]:.0%} to {s['interval'][1]:.0%})</td>"
            for s in model["shots"]
        )
        yield f"<tr><th>{escape(model['name'])}, {escape(model['head'])} head</th>{cells}</tr>"
    yield "</tbody></table></div>"


def _profiles(profile: Found | None) -> Iterator[str]:
    if not profile:
        return
    yield f"<h2>Layers</h2><p>{escape(profile['method'])}.</p>"
    for found in profile["models"]:
        yield f"<h3>{escape(found['name'])}: {found['total_ms']:.3g} ms</h3>"
        yield (
            f'<p class="soft">{escape(found["runtime"])}, threads {found["threads"]}, {escape(found["clock"])}; less than '
            f"{found['resolution_ms']:.2g} ms is not distinguishable from 0.</p>"
        )
        yield f'<div class="scroll">{draw_ops(found)}</div><div class="scroll"><table><thead><tr>'
        yield "<th>Most expensive layers</th><th>Op</th><th>Time</th><th>Share</th></tr></thead><tbody>"
        for layer in most_expensive(found):
            cells = (escape(layer["op"]), f"{layer['ms']:.3f} ms", f"{layer['share']:.1%}")
            name = f"{layer['index']} {escape(short_layer(layer['name']))}"
            yield f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        yield "</tbody></table></div>"


def _steps(names: Sequence[str], results: Sequence[Found]) -> Iterator[str]:
    yield "<h2>All steps</h2><p>Milliseconds; spread is the interquartile range.</p>"
    for name, found in zip(names, results, strict=True):
        runtime = found["runtime"]
        yield (
            f"<details{' open' if len(names) == 1 else ''}><summary>{escape(name)}: {escape(runtime['name'])} "
            f"{escape(runtime['version'])}, {escape(runtime['delegate'])}, threads {runtime['threads']}</summary>"
            '<div class="scroll"><table><thead><tr><th>Step</th>'
        )
        yield "".join(f"<th>{column}</th>" for column in (*COLUMNS, "median, 95 %", "runs"))
        yield "</tr></thead><tbody>"
        for timing in found["timings"]:
            low, high = timing["interval"]
            cells = [
                *(f"{timing[column]:.3f}" for column in COLUMNS),
                f"{low:.3f} to {high:.3f}",
                str(timing["runs"]),
            ]
            yield f"<tr><th>{escape(timing['step'])}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        yield "</tbody></table></div></details>"


def _missing(unavailable: Sequence[Found]) -> Iterator[str]:
    if unavailable:
        yield "<h2>Not measured</h2><ul>"
        for found in unavailable:
            what = ", ".join(str(found[name]) for name in ("model", "runtime", "delegate", "head"))
            yield f"<li>{escape(what)}, {found['samples']} samples: {escape(found['reason'])}</li>"
        yield "</ul>"


def _overhead(overhead: Found | None) -> str:
    if not overhead:
        return "–"
    cpu = "" if overhead["cpu_ratio"] is None else f" (CPU {overhead['cpu_ratio']:.2f}x)"
    return f"{overhead['ratio']:.2f}x{cpu}"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"

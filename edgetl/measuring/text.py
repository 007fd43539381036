"""Measurements as text and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

COLUMNS = ("minimum", "p50", "p90", "p95", "p99", "spread")
FRAME, LESSON = "frame to prediction", "lesson to new head"

Found = Mapping[str, Any]


def describe_bench(result: Found) -> str:
    """Return the tables of a measurement.

    Args:
        result: The JSON of the measurement.
    """
    from device.system.grid import name_results

    names = name_results(result["results"])
    lines = list(_head(result))
    for name, found in zip(names, result["results"], strict=True):
        lines += ["", *_tables(name, found)]
    if len(names) > 1:
        lines += ["", *_summary(names, result["results"])]
    if result.get("accuracy"):
        lines += ["", *_accuracies(result["accuracy"])]
    for profile in (result.get("profile") or {}).get("models", ()):
        lines += ["", *_profile(profile)]
    if result.get("unavailable"):
        lines += ["", "not measured:", *_missing(result["unavailable"])]
    return "\n".join(lines)


def shown_megabytes(size: float) -> str:
    """Return a size in megabytes as text, with two digits also for a small model.

    Example:
        >>> shown_megabytes(4.312), shown_megabytes(0.0279)
        ('4.3 MB', '0.028 MB')
    """
    return f"{size:.1f} MB" if size >= 1 else f"{size:.2g} MB"


def describe_csv(result: Found) -> str:
    """Return one row per combination and step."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    traits = ("runtime", "version", "threads", "delegate", "head", "samples", "labels", "host")
    figures = (*(f"{name}_ms" for name in COLUMNS), "median_low_ms", "median_high_ms")
    table.writerow(["model", "step", "runs", *figures, *traits])
    for found in result["results"]:
        runtime, head = found["runtime"], found["head"]
        place = [
            runtime["name"],
            *(runtime[name] for name in ("version", "threads", "delegate")),
            head["name"],
        ]
        place += [head[name] for name in ("samples", "labels", "host")]
        for timing in found["timings"]:
            times = [*(timing[name] for name in COLUMNS), *timing["interval"]]
            table.writerow([found["model"]["name"], timing["step"], timing["runs"], *times, *place])
    return stream.getvalue()


def median_of(found: Found, step: str, name: str = "p50") -> float | None:
    """Return the median, or another figure, of a step of a result; None if it was not timed."""
    return next((timing[name] for timing in found["timings"] if timing["step"] == step), None)


def _head(result: Found) -> Iterator[str]:
    machine, frames, conditions = result["machine"], result["frames"], result["conditions"]
    board = machine["board"] or "not a single-board computer"
    yield f"{board}, {machine['cpu']}, {machine['cores']} cores, governor {machine['governor']}"
    before, after = conditions["before"], conditions["after"]
    shown = [f"load {before['load']} before, {after['load']} after"]
    for name, unit in (("frequency", "MHz"), ("temperature", "°C")):
        if before[name] is not None and after[name] is not None:
            shown.append(f"{name} {before[name]:.0f} and {after[name]:.0f} {unit}")
    yield f"frames of {frames['source']}, {frames['width']}x{frames['height']}; {', '.join(shown)}"
    if result.get("clock") == "cpu":
        yield "all times are CPU time of one thread, without waits"


def _tables(name: str, found: Found) -> Iterator[str]:
    model, runtime, head, warm = found["model"], found["runtime"], found["head"], found["warm_up"]
    size = shown_megabytes(model["bytes"] / 1e6)
    yield f"{name}: {model['backbone']}, {model['quantization']}, {model['dimensions']} dimensions, {size}"
    host = f" and {head['host_samples']} of the host" if head["host_samples"] else ""
    yield (
        f"{runtime['name']} {runtime['version']}, {runtime['delegate']}, threads {runtime['threads']}; "
        f"{head['name']} head with {head['samples']} samples of {head['labels']} labels{host}"
    )
    yield "; ".join(_costs(found))
    yield f"warm-up: {warm['runs']} frames, {warm['seconds']:.1f} s{' (not steady)' if warm['steady'] is False else ''}"
    yield ""
    yield f"{'milliseconds':33}{''.join(f'{column:>9}' for column in COLUMNS)}{'median, 95 %':>19}{'runs':>7}"
    for timing in found["timings"]:
        low, high = timing["interval"]
        figures = "".join(f"{timing[column]:>9.3f}" for column in COLUMNS)
        yield f"{timing['step']:33}{figures}{f'{low:.3f}..{high:.3f}':>19}{timing['runs']:>7}"


def _costs(found: Found) -> Iterator[str]:
    footprint, overhead, energy = found["footprint"], found["overhead"], found["energy"]
    if footprint is None:
        yield f"opened in {found['model']['cold_start_ms']:.0f} ms"
    else:
        yield (
            f"cold start {footprint['start_ms']:.0f} ms ({footprint['open_ms']:.0f} ms of it to open the model and predict), "
            f"peak RAM {footprint['peak_ram_bytes'] / 1e6:.0f} MB"
        )
    if overhead is not None:
        low, high = overhead["interval"]
        cpu = "" if overhead["cpu_ratio"] is None else f", {overhead['cpu_ratio']:.3f} in CPU time"
        yield (
            f"a prediction takes {overhead['ratio']:.3f} times as long as the bare interpreter with preprocessing "
            f"({low:.3f} to {high:.3f}{cpu}; goal {overhead['limit']:g})"
        )
    if energy is not None:
        yield (
            f"{energy['frame_millijoules']:.1f} mJ per prediction, {energy['extra_millijoules']:.1f} mJ above rest "
            f"({energy['meter']}, {energy['rest_watts']:.2f} W at rest, {energy['busy_watts']:.2f} W busy)"
        )


def _summary(names: Sequence[str], results: Sequence[Found]) -> Iterator[str]:
    width = max(12, *(len(name) for name in names)) + 2
    yield f"{'milliseconds':{width}}{'prediction':>12}{'p95':>9}{'lesson':>9}{'p95':>9}{'MB':>7}{'RAM, MB':>9}"
    for name, found in zip(names, results, strict=True):
        times = [median_of(found, step, figure) for step in (FRAME, LESSON) for figure in ("p50", "p95")]
        cells = ["–" if time is None else f"{time:.2f}" for time in times]
        footprint = found["footprint"]
        ram = "–" if footprint is None else f"{footprint['peak_ram_bytes'] / 1e6:.0f}"
        yield (
            f"{name:{width}}{cells[0]:>12}{cells[1]:>9}{cells[2]:>9}{cells[3]:>9}"
            f"{shown_megabytes(found['model']['bytes'] / 1e6).removesuffix(' MB'):>7}{ram:>9}"
        )


def _accuracies(found: Found) -> Iterator[str]:
    yield (
        f"accuracy on {found['judged']} photos of {found['folder']} ({found['views']} views), taught photos per label; "
        "the mean of several draws, with its 95 % interval"
    )
    names = [f"{model['name']}, {model['head']} head" for model in found["models"]]
    width = max(len(name) for name in names) + 2
    shots = found["models"][0]["shots"]
    yield f"{'':{width}}{''.join(f'{shot_name(shot):>20}' for shot in shots)}"
    for name, model in zip(names, found["models"], strict=True):
        cells = (
            f"{s['accuracy']:.1%} ({s['interval'][0]:.0%} to {s['interval'][1]:.0%})" for s in model["shots"]
        )
        yield f"{name:{width}}{''.join(f'{cell:>20}' for cell in cells)}"


def most_expensive(profile: Found, count: int = 10) -> list[Found]:
    """Return the most expensive layers of a profile."""
    return sorted(profile["layers"], key=lambda layer: -layer["ms"])[:count]


def short_layer(name: str) -> str:
    """Return the last parts of the name of a layer, which a converter may have joined from several."""
    return "/".join(name.partition(";")[0].split("/")[-2:])[:48]


def _profile(found: Found) -> Iterator[str]:
    yield (
        f"{found['name']}, {found['runtime']}, threads {found['threads']}: {found['total_ms']:.2f} ms in {len(found['layers'])} "
        f"layers ({found['clock']}); less than {found['resolution_ms']:.3f} ms is not distinguishable from 0"
    )
    yield f"{'op':26}{'layers':>7}{'ms':>9}{'share':>8}"
    for row in found["by_op"]:
        yield f"{row['op']:26}{row['layers']:>7}{row['ms']:>9.3f}{row['share']:>8.1%}"
    yield f"{'most expensive layers':56}{'op':20}{'ms':>9}{'share':>8}{'million multiply-adds':>24}"
    for layer in most_expensive(found):
        count = "–" if layer["multiply_adds"] is None else f"{layer['multiply_adds'] / 1e6:.1f}"
        place = f"{layer['index']:>3}  {short_layer(layer['name'])}"
        yield f"{place:56}{layer['op']:20}{layer['ms']:>9.3f}{layer['share']:>8.1%}{count:>24}"


def shot_name(shot: Found) -> str:
    """Return the number of photos per label of an accuracy, or ``all``."""
    return str(shot["shots"] or "all")


def _missing(unavailable: Sequence[Found]) -> Iterator[str]:
    """Yield a line per model, runtime, threads, delegate and head; their numbers of samples share it."""
    lines: dict[str, str] = {}
    for found in unavailable:
        threads = "default" if found["threads"] is None else found["threads"]
        where = f"{found['runtime']} runtime, threads {threads}, {found['delegate']}"
        what = f"{found['model']}, {where}, {found['head']} head"
        lines.setdefault(what, found["reason"])
    yield from (f"  {what}: {reason}" for what, reason in lines.items())

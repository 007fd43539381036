"""The demo's report: one self-contained HTML file for light and dark mode and for large and small screens."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from device.images import read_photo, thumbnail

from .. import charts
from .curve import NARROW, STYLE, WIDE, always_share, inline_curve, percent
from .data import FIELD_EVERY, LAB_EVERY, LICENSE, describe
from .results import DemoResult, Example, FieldResult, Guess, HostResult, Matrix, Times

TITLE = "Trained in the lab, taught in the field"
_SIDE = 192  # pixels per side of an example's picture


def render(result: DemoResult, photos: Path, *, command: str = "edgetl demo") -> str:
    """Return the report as HTML.

    Args:
        result: The result of the demo.
        photos: The folder that `data.lay_out` filled; the examples' pictures are embedded from there.
        command: The command that reproduces the report.

    Returns:
        HTML without any reference to another file or address.
    """
    field, host = result["field"], result["host"]
    parts = {
        "title": escape(TITLE),
        "light": charts.LIGHT,
        "dark": charts.DARK,
        "curve_style": charts.STYLE + STYLE,
        "lead": _lead(result),
        "numbers": _numbers(result),
        "curve_intro": _curve_intro(result),
        "curve_wide": inline_curve(field, WIDE, "wide"),
        "curve_narrow": inline_curve(field, NARROW, "narrow"),
        "curve_note": _curve_note(field),
        "matrix_intro": f"{field['steps'][0]['field']['cells']} polycrystalline cells that were never taught. "
        "One row per true label, one column per prediction of the device.",
        "matrices": _matrices(field),
        "examples_intro": f"{len(field['examples'])} of those cells, spread evenly over them and not selected by hand.",
        "examples": "\n".join(_figure(example, photos) for example in field["examples"]),
        "speed": _rows(_speed(result)),
        "speed_note": _speed_note(field),
        "taught": _taught(result),
        "taught_note": _taught_note(field),
        "made": _rows(_made(result)),
        "command": escape(command),
        "footer": _footer(host["when"], field["when"]),
    }
    template = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    return Template(template).substitute(parts)


def _lead(result: DemoResult) -> str:
    first, last = result["field"]["steps"][0], result["field"]["steps"][-1]
    return (
        "A model was trained on a laptop to distinguish defective from intact solar cells, on photos of monocrystalline "
        "cells only. In the field, the device sees polycrystalline cells, which look different: at first its accuracy "
        f"on them is <b>{percent(first['field']['accuracy'])} %</b>. A person then labels the cells one by one. "
        f"After {last['taught']} cells its accuracy is <b>{percent(last['field']['accuracy'])} %</b>, "
        f"and {percent(last['lab']['accuracy'])} % on the lab's cells, where it was "
        f"{percent(first['lab']['accuracy'])} %. The device learned by itself, with the light runtime only."
    )


def _numbers(result: DemoResult) -> str:
    field, host = result["field"], result["host"]
    first, last = field["steps"][0], field["steps"][-1]
    tiles = [
        ("field", f"{percent(first['field']['accuracy'])} → {percent(last['field']['accuracy'])} %",
         f"accuracy in the field, before and after teaching{_soonest(field)}"),
        ("lab", f"{percent(first['lab']['accuracy'])} → {percent(last['lab']['accuracy'])} %",
         "accuracy in the lab, before and after teaching"),
        ("", f"{field['times']['embedding']['p50']:.1f} ms", "per frame for the embedding (median)"),
        ("", _megabytes(host["model_bytes"]), "size of the model file, with the lab's cells"),
    ]  # fmt: skip
    return "\n".join(
        f'<div class="{style}"><b>{value}</b><span>{escape(text)}</span></div>'
        for style, value, text in tiles
    )


def _soonest(field: FieldResult) -> str:
    if len(field["steps"]) < 3:
        return ""
    step = field["steps"][1]
    early = f"; {percent(step['field']['accuracy'])} % after {step['taught']} cells"
    if not field["spread"]:
        return early
    return f"{early} ({percent(field['spread'][0]['mean'])} % on average in other orders)"


def _curve_intro(result: DemoResult) -> str:
    cells = {name: sum(labels.values()) for name, labels in result["cells"].items()}
    return (
        f"Accuracy on {cells['field_held_out']} polycrystalline cells (field) and {cells['lab_held_out']} monocrystalline "
        "cells (lab) that neither training nor teaching ever used."
    )


def _curve_note(field: FieldResult) -> str:
    label, share = always_share(field)
    note = (
        "“Balanced” is the mean of the accuracies per label, where guessing scores 50 %. "
        f"Always answering “{escape(label)}” would be correct for {percent(share)} % of the cells in the field. "
    )
    if field["spread"]:
        note += f"Shaded: the range over {field['spread'][0]['orders']} other teaching orders. "
    return note + "The horizontal axis is a square root, which spreads the first steps."


def _matrices(field: FieldResult) -> str:
    last = field["steps"][-1]["taught"]
    return "\n".join(
        f"<div><p><b>{escape(name)}</b></p>{_matrix(matrix, field['labels'])}</div>"
        for name, matrix in (
            ("Before", field["confusion_before"]),
            (f"After {last} cells", field["confusion_after"]),
        )
    )


def _matrix(matrix: Matrix, labels: list[str]) -> str:
    head = "".join(f'<th scope="col">predicted {escape(label)}</th>' for label in labels)
    rows = []
    for row, (label, counts) in enumerate(zip(labels, matrix, strict=True)):
        total = max(1, sum(counts))
        cells = "".join(
            f'<td class="{"right" if row == column else "wrong"}" style="--share:{count / total:.3f}">'
            f"<b>{count}</b>{percent(count / total)} %</td>"
            for column, count in enumerate(counts)
        )
        rows.append(f'<tr><th scope="row">truly {escape(label)}</th>{cells}</tr>')
    return (
        f'<table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _figure(example: Example, photos: Path) -> str:
    picture = base64.b64encode(thumbnail(read_photo(photos / example["photo"]), _SIDE)).decode()
    truth = escape(example["truth"])
    return (
        f'<figure><img alt="a cell that is {truth}" src="data:image/jpeg;base64,{picture}">'
        f"<figcaption><b>{truth}</b><br>{_guess('before', example['before'], example['truth'])}<br>"
        f"{_guess('after', example['after'], example['truth'])}</figcaption></figure>"
    )


def _guess(when: str, guess: Guess, truth: str) -> str:
    right = guess["label"] == truth
    mark, style = ("✓", "good") if right else ("✗", "bad")
    doubt = "" if guess["known"] else " · unknown"
    return (
        f'<span class="soft">{when}:</span> <span class="{style}">{mark} {escape(guess["label"])}</span> '
        f'<span class="soft">{percent(guess["probability"])} %{doubt}</span>'
    )


def _speed(result: DemoResult) -> list[tuple[str, str]]:
    field, host = result["field"], result["host"]
    spans = field["times"]
    return [
        ("Embedding", f"{_span(spans['embedding'])}: crop and resize one frame and run the backbone"),
        ("Head update", f"{_span(spans['head'])}: learn a cell, write it to the disk, solve, and predict"),
        (
            "Teaching",
            f"{_span(spans['durable'])}: learn a cell and write it to the disk (solved later)",
        ),
        (
            "Model file",
            f"{_megabytes(host['model_bytes'])}, of which {_megabytes(host['memory_bytes'])} for the lab's cells",
        ),
        (
            "State file",
            f"{_megabytes(field['state_bytes'])} for {sum(field['taught'].values())} cells with their pictures",
        ),
    ]


def _speed_note(field: FieldResult) -> str:
    machine = field["machine"]
    where = machine.get("board") or machine["cpu"]
    return escape(
        f"{field['runtime']}, {field['threads']} threads, on {where} ({machine['architecture']}, "
        f"{machine['cores']} cores), {machine['system']}, Python {machine['python']}; load {machine['load']} "
        "at the end. To measure a Raspberry Pi, run “edgetl bench” on it."
    )


def _taught(result: DemoResult) -> str:
    field, cells = result["field"], result["cells"]
    labels = field["labels"]
    head = "".join(f'<th class="n">{escape(label)}</th>' for label in labels)
    rows = [
        ("in the lab (mono)", field["host_memory"]),
        ("in the field (poly)", field["taught"]),
        ("held out, lab", cells["lab_held_out"]),
        ("held out, field", cells["field_held_out"]),
    ]
    body = "".join(
        f"<tr><th>{name}</th>{''.join(f'<td class=n>{counts.get(label, 0)}</td>' for label in labels)}</tr>"
        for name, counts in rows
    ).replace("<td class=n>", '<td class="n">')
    return f"<tr><th>cells</th>{head}</tr>{body}"


def _taught_note(field: FieldResult) -> str:
    estimate = field["estimate"]
    own = (
        ""
        if estimate is None
        else f"The device’s estimate of its own accuracy is {percent(estimate)} %: every cell taught in the lab and in the "
        "field is predicted as if it had not been taught. "
    )
    return own + (
        f"Head: {escape(field['head']['name'])}. Its state is a sum over cells, so the order of teaching does not affect "
        f"the final state and no cell is forgotten. Fingerprint: <code>{escape(field['head']['digest'][:16])}</code>. "
        f"TensorFlow was {'imported' if field['tensorflow_imported'] else 'not imported'} in the device process."
    )


def _made(result: DemoResult) -> list[tuple[str, str]]:
    host, field = result["host"], result["field"]
    versions = ", ".join(f"{name} {version}" for name, version in host["versions"].items() if version)
    return [
        ("Photos", f"{describe(result['cells'])} (every {_nth(LAB_EVERY)} mono and every {_nth(FIELD_EVERY)} poly cell)"),
        ("Backbone", f"{host['backbone']}, ImageNet weights, {_tuned(host)}"),
        ("Quantization", _quantization(host["conversion"])),
        ("Time", f"training {host['seconds']['finetune']:.0f} s, conversion {host['seconds']['convert']:.0f} s, "
                 f"field {field['seconds']:.0f} s"),
        ("Versions", versions),
        ("Seed", str(result["seed"])),
    ]  # fmt: skip


def _tuned(host: HostResult) -> str:
    blocks = host["last_blocks"]
    if not blocks:
        return "frozen; a head trained on its embeddings"
    if host["fine_tuned"]:
        return f"its last {blocks} blocks fine-tuned on the lab's cells"
    return f"frozen: fine-tuning its last {blocks} blocks did not help on the lab's validation cells"


def _quantization(conversion: Mapping[str, Any]) -> str:
    parity = conversion.get("parity") or {}
    figures = [
        f"{name.replace('_', ' ')} {value:.4g}" for name, value in parity.items() if isinstance(value, float)
    ]
    return ", ".join([str(conversion.get("quantization", "")), *figures])


def _footer(host: str, field: str) -> str:
    return (
        f"Photos: ELPV data set (Buerhop-Lutz et al. 2018, Deitsch et al. 2019 and 2021), license {LICENSE}, not for "
        "commercial use. edgetl does not redistribute them: the pictures on this page come from the copy that you "
        "installed. If you share this page, share it under the same license. "
        f"Trained {escape(host)}, taught in the field {escape(field)}."
    )


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)


def _span(times: Times) -> str:
    return f"p50 {times['p50']:.1f} ms, p95 {times['p95']:.1f} ms (n = {times['count']})"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _nth(number: int) -> str:
    return {2: "second", 3: "third", 4: "fourth", 5: "fifth"}.get(number, f"{number}th")

"""The demo's report: one HTML file that needs nothing else, for light and dark, for desk and phone."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from device.images import read_photo, thumbnail

from .curve import DARK, LIGHT, NARROW, STYLE, WIDE, always_share, inline_curve, percent
from .data import FIELD_EVERY, LAB_EVERY, LICENSE, describe
from .results import DemoResult, Example, FieldResult, Guess, HostResult, Matrix, Times

TITLE = "Trained in the lab, taught in the field"
_SIDE = 192  # pixels of an example's picture


def render(result: DemoResult, photos: Path, *, command: str = "edgetl demo") -> str:
    """Write the report.

    Args:
        result: What the demo found out.
        photos: The folder `data.lay_out` filled; the examples' pictures are embedded from there.
        command: What the reader types to get this page again.

    Returns:
        HTML without any reference to another file or place.
    """
    field, host = result["field"], result["host"]
    parts = {
        "title": escape(TITLE),
        "light": LIGHT,
        "dark": DARK,
        "curve_style": STYLE,
        "lead": _lead(result),
        "numbers": _numbers(result),
        "curve_intro": _curve_intro(result),
        "curve_wide": inline_curve(field, WIDE).replace('class="curve"', 'class="curve wide"', 1),
        "curve_narrow": inline_curve(field, NARROW).replace('class="curve"', 'class="curve narrow"', 1),
        "curve_note": _curve_note(field),
        "matrix_intro": f"{field['steps'][0]['field']['cells']} poly-crystalline cells that were never taught. "
        "Rows are what a cell is, columns what the device says.",
        "matrices": _matrices(field),
        "examples_intro": f"{len(field['examples'])} of those cells, spread evenly over them and not chosen for their looks.",
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
        "On the laptop a network learned to tell defective solar cells from intact ones, and saw mono-crystalline "
        "cells only. In the field the device meets poly-crystalline ones, which look different: of those it gets "
        f"<b>{percent(first['field']['accuracy'])} %</b> right. A person beside it then says what each cell is. "
        f"After {last['taught']} cells it gets <b>{percent(last['field']['accuracy'])} %</b> right, "
        f"and {percent(last['lab']['accuracy'])} % in the lab, where it had "
        f"{percent(first['lab']['accuracy'])} %. It learned on the device, with the light runtime alone."
    )


def _numbers(result: DemoResult) -> str:
    field, host = result["field"], result["host"]
    first, last = field["steps"][0], field["steps"][-1]
    tiles = [
        ("field", f"{percent(first['field']['accuracy'])} → {percent(last['field']['accuracy'])} %",
         f"right in the field, before and after{_soonest(field)}"),
        ("lab", f"{percent(first['lab']['accuracy'])} → {percent(last['lab']['accuracy'])} %",
         "right in the lab, before and after: what was known"),
        ("", f"{field['times']['embedding']['p50']:.1f} ms", "to look at a cell (median, one frame)"),
        ("", _megabytes(host["model_bytes"]), "the model file, lab memory included"),
    ]  # fmt: skip
    return "\n".join(
        f'<div class="{style}"><b>{value}</b><span>{escape(text)}</span></div>'
        for style, value, text in tiles
    )


def _soonest(field: FieldResult) -> str:
    if len(field["steps"]) < 3:
        return ""
    step = field["steps"][1]
    told = f"; {percent(step['field']['accuracy'])} % after {step['taught']} cells"
    if not field["spread"]:
        return told
    return f"{told} ({percent(field['spread'][0]['mean'])} % in the mean of other orders)"


def _curve_intro(result: DemoResult) -> str:
    cells = {name: sum(labels.values()) for name, labels in result["cells"].items()}
    return (
        f"Share answered right, of {cells['field_held_out']} poly cells (field) and {cells['lab_held_out']} mono cells "
        "(lab) that neither training nor teaching ever saw."
    )


def _curve_note(field: FieldResult) -> str:
    label, share = always_share(field)
    note = (
        "“Balanced” is the mean over the two kinds of cells, where guessing gives 50 %. "
        f"Always answering “{escape(label)}” would be right for {percent(share)} % in the field. "
    )
    if field["spread"]:
        note += (
            f"Shaded: the lowest and the highest of {field['spread'][0]['orders']} other teaching orders. "
        )
    return note + "Cells along the square root, so that the first steps have room."


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
    head = "".join(f'<th scope="col">says {escape(label)}</th>' for label in labels)
    rows = []
    for row, (label, counts) in enumerate(zip(labels, matrix, strict=True)):
        whole = max(1, sum(counts))
        cells = "".join(
            f'<td class="{"right" if row == column else "wrong"}" style="--share:{count / whole:.3f}">'
            f"<b>{count}</b>{percent(count / whole)} %</td>"
            for column, count in enumerate(counts)
        )
        rows.append(f'<tr><th scope="row">is {escape(label)}</th>{cells}</tr>')
    return (
        f'<table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _figure(example: Example, photos: Path) -> str:
    picture = base64.b64encode(thumbnail(read_photo(photos / example["photo"]), _SIDE)).decode()
    truth = escape(example["truth"])
    return (
        f'<figure><img alt="a cell that is {truth}" src="data:image/jpeg;base64,{picture}">'
        f"<figcaption>is <b>{truth}</b><br>{_said('before', example['before'], example['truth'])}<br>"
        f"{_said('after', example['after'], example['truth'])}</figcaption></figure>"
    )


def _said(when: str, guess: Guess, truth: str) -> str:
    right = guess["label"] == truth
    mark, style = ("✓", "good") if right else ("✗", "bad")
    doubt = "" if guess["known"] else " · unlike all it knows"
    return (
        f'<span class="soft">{when}:</span> <span class="{style}">{mark} {escape(guess["label"])}</span> '
        f'<span class="soft">{percent(guess["probability"])} %{doubt}</span>'
    )


def _speed(result: DemoResult) -> list[tuple[str, str]]:
    field, host = result["field"], result["host"]
    spans = field["times"]
    return [
        ("Embedding", f"{_span(spans['embedding'])}: cut, resize and run the backbone for one frame"),
        ("Head update", f"{_span(spans['head'])}: learn a cell, write it to disk, solve, and answer again"),
        (
            "Teaching",
            f"{_span(spans['durable'])}: learn a cell and return once it survives a power cut (solved later)",
        ),
        (
            "Model file",
            f"{_megabytes(host['model_bytes'])}, of which {_megabytes(host['memory_bytes'])} is what the lab taught",
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
        "at the end. This is no Raspberry Pi, unless that line says so: run “edgetl bench” on yours."
    )


def _taught(result: DemoResult) -> str:
    field, cells = result["field"], result["cells"]
    labels = field["labels"]
    head = "".join(f'<th class="n">{escape(label)}</th>' for label in labels)
    rows = [
        ("in the lab (mono)", field["lab_memory"]),
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
        else f"Asked how good it is, the device says {percent(estimate)} %: each cell it was taught, in lab and "
        "field, judged as if it had never seen it. "
    )
    return own + (
        f"Head: {escape(field['head']['name'])}. Its state is a sum over cells, so in the end their order does not "
        f"matter and nothing is forgotten; fingerprint <code>{escape(field['head']['digest'][:16])}</code>. TensorFlow was "
        f"{'imported' if field['tensorflow_imported'] else 'not imported'} in the device’s process."
    )


def _made(result: DemoResult) -> list[tuple[str, str]]:
    host, field = result["host"], result["field"]
    versions = ", ".join(f"{name} {version}" for name, version in host["versions"].items() if version)
    return [
        ("Photos", f"{describe(result['cells'])}: every {_nth(LAB_EVERY)} mono and every {_nth(FIELD_EVERY)} poly cell"),
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
    told = [
        f"{name.replace('_', ' ')} {value:.4g}" for name, value in parity.items() if isinstance(value, float)
    ]
    return ", ".join([str(conversion.get("quantization", "")), *told])


def _footer(host: str, field: str) -> str:
    return (
        f"Photos: ELPV data set (Buerhop-Lutz et al. 2018, Deitsch et al. 2019 and 2021), license {LICENSE}, not for "
        "commercial use. edgetl does not redistribute them: the pictures on this page come from the copy that you "
        "installed, and this page is yours too. Pass it on under the same license only. "
        f"Trained {escape(host)}, played in the field {escape(field)}."
    )


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)


def _span(times: Times) -> str:
    return f"p50 {times['p50']:.1f} ms, p95 {times['p95']:.1f} ms (n = {times['count']})"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _nth(number: int) -> str:
    return {2: "second", 3: "third", 4: "fourth", 5: "fifth"}.get(number, f"{number}th")

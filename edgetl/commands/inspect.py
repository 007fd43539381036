"""``edgetl inspect``: show what a .tflite contains, and whether it can be taught."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device.files import shown
from device.labels import listed

from .options import emit, json_option, model_argument

if TYPE_CHECKING:
    from converters.edgetpu_report import EdgeTpuReport
    from converters.inspection import Inspection, Plan
    from converters.op_versions import OpVersion

_OPS_SHOWN = 12
_CANDIDATES_SHOWN = 6


@click.command()
@model_argument
@json_option
def command(model: Path, as_json: bool) -> None:
    """Show what MODEL, any .tflite, contains: signatures, labels, sizes and origin.

    The checksums of a model file are verified. For another .tflite it is shown what convert would make of it: where it
    cuts, what it removes, and other tensors for convert --cut; or why it cannot be converted.

    The Edge TPU report shows which ops the Edge TPU compiler would map to the Edge TPU, by Coral's published table of
    supported operations, and why not the others. Ops that are too new for tflite-runtime 2.14 are named.

    \b
    Example:
      edgetl inspect mugs.tflite
    """
    from converters.inspection import inspect

    found = inspect(model)
    emit(found.to_dict(), as_json, lambda: _text(found))


def _text(found: Inspection) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(found):
        facts.add_row(name, Text(value))
    table = Table("Signature", "Inputs", "Outputs", show_lines=True)
    for name, sides in found.signatures.items():
        table.add_row(shown(name) or "(none)", _side(sides["inputs"]), _side(sides["outputs"]))
    console = Console()
    with console.capture() as capture:
        console.print(facts)
        if found.signatures:
            console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def _facts(found: Inspection) -> Iterator[tuple[str, str]]:
    yield "File", f"{found.path} ({_megabytes(found.sizes['total'])})"
    yield "Can be taught", "yes" if found.teachable else f"no: {found.reason}"
    if found.manifest:
        yield from _of_manifest(found, found.manifest)
    if found.surgery:
        yield from _plan(found.surgery)
    if found.ops:
        yield "Ops", _ops(found.ops)
    if found.edgetpu:
        yield from _edgetpu(found.edgetpu, found.manifest is not None)
    yield "tflite-runtime", _versions(found.too_new)
    yield "Runtime", found.runtime


def _edgetpu(report: EdgeTpuReport, teachable: bool) -> Iterator[tuple[str, str]]:
    if report.compiled:
        left = ", ".join(shown(entry["op"]) for entry in report.cpu) or "none"
        yield "Edge TPU", f"compiled for it; ops that run on the CPU: {left}"
        return
    yield "Edge TPU", f"{report.mapped} of {report.ops} ops would be mapped{_first_on_cpu(report)}"
    for obstacle in report.obstacles:
        yield "", obstacle
    if report.obstacles and teachable:
        yield "", "'edgetl convert --edgetpu' writes the backbone with fixed sizes, in a file of its own"


def _first_on_cpu(report: EdgeTpuReport) -> str:
    if not report.cpu:
        return ""
    first, rest = report.cpu[0], len(report.cpu) - 1
    after = f" and the {rest} ops after it" if rest > 1 else " and the op after it" if rest else ""
    run = "run" if rest else "runs"
    return f"; {shown(first['op'])} (op {first['position'] + 1}){after} {run} on the CPU: {first['reason']}"


def _versions(found: Sequence[OpVersion]) -> str:
    if not found:
        return "2.14 has every builtin op in the version that the file needs"
    parts = (
        f"{entry.name} version {entry.version} ({f'it has version {entry.newest}' if entry.newest else 'it lacks this op'})"
        for entry in found
    )
    return f"too new for 2.14: {', '.join(parts)}"


def _plan(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "convert cuts at", f"{shown(plan.cut.name)}, {plan.cut.dimensions} numbers"
    yield "and removes", plan.removed
    yield "Input", plan.warning or plan.pixels
    if plan.labels:
        yield "Labels", f"{plan.labels} in its metadata"
    others = [entry for entry in plan.candidates if entry.tensor != plan.cut.tensor]
    for entry in others[:_CANDIDATES_SHOWN]:
        averaged = ", averaged over its places" if entry.averaged else ""
        yield "Or --cut", f"{entry.tensor}: {shown(entry.name)}, {entry.dimensions} numbers{averaged}"


def _of_manifest(found: Inspection, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    size = manifest["preprocessing"]
    yield (
        "Backbone",
        f"{manifest['backbone']}, {manifest['quantization']}, {_megabytes(found.sizes['backbone'])}",
    )
    if manifest["origin"]:
        yield "Origin", f"{manifest['origin']}, family {manifest['family'] or 'unknown'}"
    colors = "RGB" if size["channels"] == 3 else "gray"
    yield "Image", f"{size['height']} x {size['width']} pixels, {colors}, {size['resize']}"
    yield "Embedding", f"{manifest['dimensions']} numbers, {manifest['embedding_map']}"
    if manifest["views"] != "one":
        yield "Views", f"{manifest['views']}: a frame and its mirror image"
    yield "Labels", f"{len(found.labels)} of {manifest['capacity']}: {listed(found.labels)}"
    yield "Head", f"float32, {_megabytes(found.sizes['head'])}"
    yield (
        "Memory",
        f"{found.memory}, {_megabytes(found.sizes['memory'])}" if found.sizes["memory"] else "none",
    )
    if "cosine_mean" in manifest["parity"]:
        yield "Parity", _parity(manifest["parity"])
    if held_out := manifest["held_out"]:
        yield (
            "Held out",
            f"{held_out['correct']} of {held_out['photos']} photos correct ({held_out['accuracy']:.1%}): {held_out['how']}",
        )
    yield "Made with", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    yield from _checks(found, manifest)


def _checks(found: Inspection, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if found.signature:
        from device.model.trust import describe_signature

        yield "Signature", describe_signature(found.signature)
    if found.digest:
        yield "Checksum", f"matches and covers the whole file, sha256 {found.digest[:16]}..."
        return
    yield "Checksum", f"matches, sha256 of the model part {manifest['model_sha256'][:16]}..."
    yield (
        "Not checked",
        f"{', '.join(found.unchecked)}: format version {manifest['format_version']} has no checksum of them; "
        "'edgetl export' or 'edgetl convert' writes a file that has one",
    )


def _side(entries: dict[str, str]) -> str:
    return "\n".join(f"{shown(name)} {described}" for name, described in entries.items())


def _ops(ops: dict[str, int]) -> str:
    first = [f"{count} {shown(name)}" for name, count in list(ops.items())[:_OPS_SHOWN]]
    more = len(ops) - len(first)
    return ", ".join(first) + (f" and {more} more kinds" if more > 0 else "")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


def _parity(figures: dict[str, Any]) -> str:
    centered = figures.get("centered_cosine")  # older files have none
    more = "" if centered is None else f", {centered:.4f} without the part all photos share"
    return f"cosine {figures['cosine_mean']:.4f} to the source model{more}"

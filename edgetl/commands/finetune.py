"""``edgetl finetune``: a folder of photos becomes a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import emit, force_option, json_option, skip_empty_option
from .progress import stages
from .session import warn

_NO_FIGURE = "No figure: no photo was held out from training."
_NO_JUDGE = (
    " All photos tuned the backbone, so no photo may judge it on the device either; "
    "add validation photos, or train with --head-only."
)


@click.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.option(
    "--backbone",
    default="efficientnet-lite0",
    show_default=True,
    help="efficientnet-lite0, -lite1, -lite2, keras:NAME or keras:NAME=WEIGHTS.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the trained model to make."
)
@click.option(
    "--split", type=click.Path(path_type=Path), help="CSV of lines path,part with train, val or test."
)
@click.option(
    "--resize",
    type=click.Choice(["crop", "squash", "pad"]),
    default="crop",
    show_default=True,
    help="How a photo becomes the backbone's shape.",
)
@click.option(
    "--head-epochs", type=click.IntRange(1), default=40, show_default=True, help="Epochs of the head alone."
)
@click.option(
    "--epochs", type=click.IntRange(0), default=8, show_default=True, help="Epochs of the last blocks."
)
@click.option(
    "--blocks",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    metavar="N",
    help="Train the last N blocks of the backbone.",
)
@click.option("--head-only", is_flag=True, help="Leave the backbone as it is: --blocks 0 --copies 0.")
@click.option("--rate", type=float, default=2e-4, show_default=True, help="Learning rate of the last blocks.")
@click.option("--head-rate", type=float, default=0.02, show_default=True, help="Learning rate of the head.")
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Photos in a step.")
@click.option(
    "--validation", type=float, default=0.2, show_default=True, help="Part of each class to judge by."
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Epochs without improvement before stopping.",
)
@click.option(
    "--class-weights/--no-class-weights",
    default=True,
    show_default=True,
    help="Weigh classes alike, however uneven.",
)
@click.option("--no-augment", is_flag=True, help="Train on the photos as they are.")
@click.option(
    "--copies",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    help="Varied copies of each training photo.",
)
@click.option("--flip/--no-flip", default=True, show_default=True, help="Swap left and right in copies.")
@click.option("--vertical-flip", is_flag=True, help="Swap top and bottom in copies.")
@click.option(
    "--crop", type=float, default=0.7, show_default=True, help="Smallest part of a photo a copy shows."
)
@click.option("--colour", type=float, default=0.15, show_default=True, help="How far light and colours vary.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything drawn.")
@click.option("--restart", is_flag=True, help="Begin anew where an interrupted run would be continued.")
@skip_empty_option
@force_option
@json_option
def command(
    photos: Path,
    out: Path,
    split: Path | None,
    skip_empty: bool,
    force: bool,
    restart: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Teach a backbone the classes in PHOTOS, a folder with one folder of photos a class.

    First the head is trained on embeddings that are computed once, then the backbone's last blocks with
    it. PHOTOS may instead hold train, val and test folders. A run that was interrupted is continued when
    the same command is given again. OUT gets the model, metrics.json and curve.png; convert it next.

    \b
    Example:
      edgetl finetune photos --out mugs
      edgetl convert mugs --quantize int8 --out mugs.tflite
    """
    from ..training import finetune

    settings = _settings(options)
    try:
        with stages() as progress:
            outcome = finetune(
                photos,
                out,
                settings,
                split=split,
                skip_empty=skip_empty,
                force=force,
                restart=restart,
                progress=progress,
            )
    except KeyboardInterrupt:
        click.echo("Interrupted. The same command goes on from here; --restart begins anew.", err=True)
        raise
    for warning in outcome.warnings:
        warn(warning)
    emit(
        {"out": str(outcome.folder), **outcome.metrics},
        as_json,
        lambda: _summary(outcome.folder, outcome.metrics),
    )


def _settings(options: dict[str, Any]) -> Any:
    from ..training import Augmentation, Settings

    varied = {name: options.pop(name) for name in ("copies", "flip", "vertical_flip", "crop", "colour")}
    head_only, no_augment = options.pop("head_only"), options.pop("no_augment")
    if head_only:
        options["blocks"] = 0
    if head_only or no_augment:
        varied["copies"] = 0
    return Settings(**options, augmentation=Augmentation(**varied))


def _summary(folder: Path, metrics: dict[str, Any]) -> str:
    from device.heads.report import BLIND

    counts = metrics["photos"]["training"]
    lines = [f"{len(counts)} classes, {sum(counts.values())} training photos: {', '.join(counts)}"]
    for part in ("validation", "test"):
        if judged := metrics[part]:
            lines.append(f"{part}: {_figure(judged)}")
    if not any(metrics[part] for part in ("validation", "test")):
        lines.append(_NO_FIGURE + (_NO_JUDGE if metrics["epochs"]["blocks_kept"] else ""))
    if any(metrics[part] for part in ("validation", "test")):
        lines.append(BLIND)
    lines.append(f"{_epochs(metrics['epochs'])}, {sum(metrics['seconds'].values()):.0f} s")
    lines.append(
        f"Written to {folder}. Next: edgetl convert {folder} --quantize int8 --out {folder.name}.tflite"
    )
    return "\n".join(lines)


def _figure(judged: dict[str, Any]) -> str:
    low, high = judged["interval"]
    balanced = "" if judged["unjudged"] else f", balanced {judged['balanced_accuracy']:.3f}"
    views = f", {judged['views']} separate views" if judged["views"] < judged["photos"] else ""
    figure = (
        f"accuracy {judged['accuracy']:.3f} (95 % interval {low:.2f} to {high:.2f}){balanced} "
        f"on {judged['photos']} photos{views}"
    )
    return figure + (f"; not judged: {', '.join(judged['unjudged'])}" if judged["unjudged"] else "")


def _epochs(epochs: dict[str, int]) -> str:
    head, blocks, kept = epochs["head"], epochs["blocks"], epochs["blocks_kept"]
    if not blocks:
        return f"{head} epochs of the head, the backbone as it was"
    ending = (
        f"kept as it was after epoch {kept}"
        if kept
        else "none better than the head alone: backbone unchanged"
    )
    return f"{head} epochs of the head, {blocks} of the last blocks ({ending})"

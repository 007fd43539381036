"""``edgetl finetune``: train a model on a folder of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import emit, force_option, json_option, own_model_options, skip_empty_option, weights_option
from .progress import stages
from .session import warn
from .ways import compare_ways

_NO_FIGURE = "No accuracy can be reported: no photo was held out from training."
_NO_JUDGE = (
    " All photos tuned the backbone, so none of them can be used to estimate the accuracy on the device either; "
    "add validation photos, or train with --head-only."
)


@click.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the trained model to write."
)
@click.option(
    "--backbone",
    default="efficientnet-lite0",
    show_default=True,
    metavar="NAME",
    help="Backbone to start from: a name that 'edgetl backbones' lists, or a Keras model of yours (.keras or .h5).",
)
@weights_option
@own_model_options
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Continue from an earlier trained model: its backbone, and its labels as far as its photos still exist.",
)
@click.option(
    "--preserve",
    type=click.Choice(["none", "weights", "distill", "replay"]),
    help="How the task of --from is preserved: distance to the old weights, distance to the old embeddings of the new "
    "photos, or replay of old photos.  [default: replay, or distill where the old photos are gone]",
)
@click.option(
    "--split",
    type=click.Path(path_type=Path),
    help="CSV file with lines path,part; a part is train, val or test.",
)
@click.option(
    "--unlabeled",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder of further photos without labels, for gan-28.",
)
@click.option(
    "--resize",
    type=click.Choice(["crop", "squash", "pad"]),
    default="crop",
    show_default=True,
    help="How a photo is fitted to the input of the backbone.",
)
@click.option(
    "--layers",
    type=click.Choice(["auto", "head", "blocks", "all"]),
    default="auto",
    show_default=True,
    help="Layers to train. auto: all if photos and time are enough, else the last blocks or the head.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Time for training all layers; decides the number of epochs.  [default: 15; 10 for gan-28]",
)
@click.option(
    "--head-epochs",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="Epochs in which the head alone is trained.",
)
@click.option(
    "--epochs",
    type=click.IntRange(0),
    help="Epochs in which layers of the backbone are trained.  [default: 8 for the last blocks; all layers: as many as fit "
    "into --minutes, at most 12; 30 from scratch; gan-28: 3,000 steps, as far as they fit into --minutes]",
)
@click.option(
    "--blocks",
    type=click.IntRange(0),
    metavar="N",
    help="Train the last N blocks of the backbone.  [default: 2]",
)
@click.option(
    "--head-only", is_flag=True, help="Leave the backbone unchanged; the same as --blocks 0 --copies 0."
)
@click.option(
    "--rate",
    type=float,
    help="Highest learning rate of the backbone.  [default: 0.001 for all layers with adamw, 0.02 with sgd, 0.0001 with "
    "lion; a fifth of it for the last blocks, twice as much from scratch; 0.0005 for gan-28]",
)
@click.option(
    "--head-rate", type=float, default=0.02, show_default=True, help="Initial learning rate of the head."
)
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "sgd", "lion"]),
    default="adamw",
    show_default=True,
    help="Optimizer of the backbone's layers.",
)
@click.option(
    "--mixup",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Blend photos and their labels when all layers are trained: parameter of the beta distribution, such as 0.2.",
)
@click.option(
    "--batch", type=click.IntRange(1), default=32, show_default=True, help="Number of photos per step."
)
@click.option(
    "--validation",
    type=float,
    help="Fraction of each label that is held out for validation.  [default: 0.2; about 200 photos from 1,000 on, 0.1 "
    "from 2,000 on; --compare: 0.2]",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    help="Stop after this number of epochs without improvement.  [default: 3; all layers of a pretrained backbone: never]",
)
@click.option(
    "--class-weights/--no-class-weights",
    default=True,
    show_default=True,
    help="Weight all labels equally, whatever their number of photos.",
)
@click.option(
    "--augment",
    type=click.Choice(["none", "light", "strong"]),
    help="Strength of the augmentation.  [default: strong for all layers, light for copies]",
)
@click.option(
    "--copies",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    help="Number of augmented copies of each training photo, for the head and the last blocks.",
)
@click.option(
    "--flip/--no-flip", default=True, show_default=True, help="Mirror copies left to right at random."
)
@click.option("--vertical-flip", is_flag=True, help="Mirror copies top to bottom at random.")
@click.option(
    "--crop",
    type=float,
    help="Smallest fraction of a photo's area that is shown.  [default: 0.7 light, 0.5 strong; all layers: 0.35 to 0.8, "
    "fitted to the photos]",
)
@click.option(
    "--color",
    type=float,
    help="Range of the brightness, and in copies of contrast and color balance.  [default: 0.15 light, 0.25 strong]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed for splitting, shuffling and augmentation.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Train with N seeds, from --seed on, and report mean and spread of the accuracy; the model of the first is kept.",
)
@click.option(
    "--compare",
    "comparing",
    is_flag=True,
    help="Train from scratch, frozen, with the last blocks and with all layers, within --minutes (60 by default); compare "
    "them and recommend one.",
)
@click.option("--restart", is_flag=True, help="Start again instead of continuing an interrupted run.")
@skip_empty_option
@force_option
@json_option
def command(photos: Path, out: Path, comparing: bool, as_json: bool, **options: Any) -> None:
    """Train a model on PHOTOS, a folder with one folder of photos per label.

    All layers of the backbone but the early ones are trained for up to 15 minutes (--minutes), and the result is kept
    if it recognizes more of the held-out photos than the unchanged backbone. With fewer than 100 training photos, the
    last blocks are trained, which takes seconds. PHOTOS may instead contain train, val and test folders. Ctrl-C while all
    layers are trained keeps the best so far. To continue a run that ended otherwise, run the same command again. OUT
    receives the model, metrics.json and curve.png; the next step is to convert it.

    --compare writes a folder with a model of each way, comparison.html and comparison.svg. Ctrl-C ends it with the
    ways that are done.

    cnn-28 and resnet-28 are small networks for gray images of 28x28 pixels, such as digits. They have no
    pretrained weights: all their layers are trained from scratch. gan-28 learns from such images without their
    labels, and from those in --unlabeled: its features come from a GAN, whose generated images OUT receives as
    samples.png. Ctrl-C keeps the best epoch so far here too.

    \b
    Examples:
      edgetl finetune photos --out mugs
      edgetl finetune photos --out mugs --layers all --minutes 30
      edgetl convert mugs --quantize int8 --out mugs.tflite
      edgetl finetune more-photos --from mugs --out mugs2
      edgetl finetune photos --compare --minutes 40 --out comparison
      edgetl finetune digits --backbone cnn-28 --no-flip --out digits
      edgetl finetune few-digits --backbone gan-28 --unlabeled many-digits --out digits
      edgetl finetune photos --backbone mine.keras --out mugs
    """
    from ..training import finetune

    if comparing:
        compare_ways(photos, out, options, as_json)
        return
    try:
        with stages() as progress:
            outcome = finetune(photos, out, **options, progress=progress)
    except KeyboardInterrupt:
        click.echo(
            "Interrupted. Run the same command again to continue; --restart starts from the beginning.",
            err=True,
        )
        raise
    for warning in outcome.warnings:
        warn(warning)
    emit(
        {"out": str(outcome.folder), **outcome.metrics},
        as_json,
        lambda: _summary(outcome.folder, outcome.metrics),
    )


def _summary(folder: Path, metrics: dict[str, Any]) -> str:
    from device.heads.report import BLIND

    counts = metrics["photos"]["training"]
    lines = [f"{len(counts)} labels, {sum(counts.values())} training photos: {', '.join(counts)}"]
    for part in ("validation", "test"):
        if judged := metrics[part]:
            lines.append(f"{part}: {_figure(judged)}")
        if metrics["seeds"] and (spread := metrics["seeds"][part]):
            lines.append(
                f"{part} of {metrics['seeds']['count']} seeds: accuracy {spread['mean']:.3f} on average, standard deviation "
                f"{spread['deviation']:.3f}; the model is that of the first seed"
            )
    if not any(metrics[part] for part in ("validation", "test")):
        tuned = metrics["epochs"]["blocks_kept"] or metrics["epochs"]["all_kept"]
        lines.append(_NO_FIGURE + (_NO_JUDGE if tuned and not metrics["gan"] else ""))
    if any(metrics[part] for part in ("validation", "test")):
        lines.append(BLIND)
    if metrics["source"]:
        lines += [
            f"{metrics['settings']['backbone']}, {name}: {fact}" for name, fact in metrics["source"].items()
        ]
    if metrics["old_task"]:
        lines.append(_old_task(metrics["old_task"]))
    if metrics["comparison"]:
        lines.append(_comparison(metrics["comparison"]))
    if metrics["gan"]:
        lines.append(_gan(metrics["gan"]))
    lines.append(
        f"{_epochs(metrics['epochs'], bool(metrics['gan']))}, {sum(metrics['seconds'].values()):.0f} s"
    )
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


def _old_task(old: dict[str, Any]) -> str:
    name = f"labels of {old['from']} ({', '.join(old['labels'])})"
    if judged := old["accuracy"]:
        photos = judged["judged"]
        return (
            f"{name}: exact head on {photos} old photos that tuned no backbone: {judged['before'] / photos:.3f} before, "
            f"{judged['after'] / photos:.3f} now (preserve: {old['preserve']})"
        )
    if agreed := old["agreement"]:
        return (
            f"{name}: the old photos no longer exist; its old head predicts the same as before for {agreed['same']} of "
            f"{agreed['new_photos']} new photos (preserve: {old['preserve']})"
        )
    return f"{name}: no accuracy can be reported, because no old photo was held out from training"


def _comparison(compared: dict[str, Any]) -> str:
    photos, better = compared["photos"], compared["kept"] == "tuned"
    return (
        f"exact head on {photos} held-out photos: {compared['frozen'] / photos:.3f} with the backbone unchanged, "
        f"{compared['tuned'] / photos:.3f} with all layers trained; kept: {'all layers trained' if better else 'unchanged'}"
    )


def _gan(figures: dict[str, Any]) -> str:
    judged = "held-out photos" if figures["held_out"] else "photos, each left out of the head"
    return (
        f"GAN trained on {figures['photos']} photos, {figures['unlabeled']} of them without a label; exact head on "
        f"{figures['judged']} {judged}: {figures['features']:.3f} with its features, {figures['untrained']:.3f} with untrained "
        f"features, {figures['pixels']:.3f} with raw pixels. Generated images: samples.png"
    )


def _epochs(epochs: dict[str, int], gan: bool) -> str:
    head, blocks, kept = epochs["head"], epochs["blocks"], epochs["blocks_kept"]
    if epochs["all"]:
        ending = f"kept epoch {epochs['all_kept']}" if epochs["all_kept"] else "backbone unchanged"
        return (
            f"{epochs['all']} epochs of {'the GAN' if gan else 'all layers'} ({ending}), {head} of the head"
        )
    if not blocks:
        return f"{head} epochs of the head, the backbone unchanged"
    ending = (
        f"kept as it was after epoch {kept}"
        if kept
        else "none better than the head alone: backbone unchanged"
    )
    return f"{head} epochs of the head, {blocks} of the last blocks ({ending})"

"""``edgetl views``: what a second look at each frame, mirrored, would gain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import emit, json_option, model_argument, state_option, state_path, threads_option
from .progress import stages
from .session import plural, wrapped

if TYPE_CHECKING:
    from device.learner.views import ViewsComparison


@click.command()
@model_argument
@state_option
@click.option(
    "--photos",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of an earlier `teach --photos`; its photos are used instead of their thumbnails.",
)
@threads_option
@json_option
def command(model: Path, as_json: bool, **options: Any) -> None:
    """Measure what --views flip would gain on the samples that MODEL was taught.

    With flip, the embeddings of a frame and of its mirror image are averaged, in teaching and in predicting, which takes
    twice the time. Every sample that has a picture is embedded both ways, and each is predicted by a head that learned
    neither it nor its look-alikes. Nothing is changed. Do not use flip where left and right differ, as with
    letters.

    \b
    Example:
      edgetl views mugs.tflite
      edgetl views mugs.tflite --photos photos --json
    """
    from device.learner.views import compare_views

    state = state_path(model, options["state"])
    with stages(lines=False, transient=True) as progress:
        found = compare_views(
            model,
            state,
            photos=options["photos"],
            threads=options["threads"],
            delegate="edgetpu" if options["edgetpu"] else None,
            progress=progress,
        )
    emit(found.to_dict(), as_json, lambda: _text(found, model, state))


def _text(found: ViewsComparison, model: Path, state: Path) -> str:
    lines = [wrapped(f"{views_text(found)}.")]
    if found.milliseconds is not None:
        lines.append(
            f"An embedding takes {found.milliseconds:.1f} ms, with the mirror image {2 * found.milliseconds:.1f} ms."
        )
    if found.without_picture:
        lines.append(f"{plural(found.without_picture, 'sample')} without a picture left out.")
    if found.current == "flip":
        lines.append(f"{state} uses the mirror image already.")
    elif found.pays:
        lines.append(
            f"To use it: edgetl reembed {model} {state} --views flip --state {state.with_stem(state.stem + '-flip')}"
        )
    return "\n".join(lines)


def views_text(found: ViewsComparison) -> str:
    """Return a comparison as a sentence without a full stop."""
    if found.gain is None or found.one is None or found.flip is None or found.error is None:
        views = plural(found.groups, "separate view")
        return f"too few samples to compare the mirror image with one view: {views} of labels with several"
    advice = "a clear gain" if found.pays else "not a clear gain on these samples"
    return (
        f"with the mirror image {found.flip:.1%} of {plural(found.samples, 'sample')} are predicted correctly when left out, "
        f"with one view {found.one:.1%}: {100 * found.gain:+.1f} points (standard error {100 * found.error:.1f}); {advice}"
    )

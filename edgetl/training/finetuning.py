"""`finetune`: from a folder of photos to the folder of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from device.progress import Progress, no_progress

from ..backbones.registry import require_keras
from ..photos import find_photos
from ..split import split_photos
from .run import Outcome, Run, installed_versions
from .settings import Augmentation, Settings
from .workfolder import WorkFolder, check_output, fingerprint


def finetune(
    photos: str | Path,
    out: str | Path,
    *,
    backbone: str = "efficientnet-lite0",
    split: str | Path | None = None,
    resize: Literal["crop", "squash", "pad"] = "crop",
    head_epochs: int = 40,
    epochs: int = 8,
    blocks: int = 2,
    head_only: bool = False,
    rate: float = 2e-4,
    head_rate: float = 0.02,
    batch: int = 32,
    validation: float = 0.2,
    patience: int = 3,
    class_weights: bool = True,
    augment: bool = True,
    copies: int = 3,
    flip: bool = True,
    vertical_flip: bool = False,
    crop: float = 0.7,
    color: float = 0.15,
    seed: int = 0,
    restart: bool = False,
    skip_empty: bool = False,
    force: bool = False,
    progress: Progress = no_progress,
) -> Outcome:
    """Train a backbone and a head on a folder of photos.

    Phase 1 trains a softmax head on cached embeddings. Phase 2 trains the last blocks together with the head, at a
    lower learning rate and with batch normalization frozen, on features cached in front of these blocks. An
    interrupted run continues when `finetune` is called again with the same arguments.

    Args:
        photos: A folder with one folder of photos per label, or with ``train``, ``val`` and ``test`` folders.
        out: The folder of the trained model to write.
        backbone: ``efficientnet-lite0``, ``-lite1``, ``-lite2``, ``keras:NAME`` or ``keras:NAME=WEIGHTS``.
        split: A CSV file with lines ``path,part``; a part is ``train``, ``val`` or ``test``.
        resize: How a photo is fitted to the input of the backbone: ``crop``, ``squash`` or ``pad``.
        head_epochs: Number of epochs of phase 1.
        epochs: Number of epochs of phase 2.
        blocks: Number of blocks at the end of the backbone to train.
        head_only: Leave the backbone unchanged; the same as ``blocks=0, copies=0``.
        rate: Initial learning rate of phase 2.
        head_rate: Initial learning rate of phase 1.
        batch: Number of photos per step.
        validation: Fraction of each label that is held out for validation.
        patience: Number of epochs without improvement after which phase 2 stops.
        class_weights: Weight all labels equally, whatever their number of photos.
        augment: Train on augmented copies too; False is the same as ``copies=0``.
        copies: Number of augmented copies of each training photo.
        flip: Mirror copies left to right at random.
        vertical_flip: Mirror copies top to bottom at random.
        crop: Smallest fraction of a photo's area that a copy shows.
        color: Range of brightness, contrast and color balance in copies; 0 leaves them unchanged.
        seed: Seed for splitting, shuffling and augmentation.
        restart: Start again instead of continuing an interrupted run.
        skip_empty: Skip labels without a readable photo instead of raising.
        force: Replace an existing trained model.
        progress: Called as the run advances.

    Returns:
        The trained model with its folder, metrics and warnings.

    Raises:
        PhotoFolderError: The photos cannot be used.
        BackboneError: The backbone is unknown.
        MissingExtraError: TensorFlow or the package with the weights is not installed.
        OutputExistsError: `out` exists and `force` is false.
        TrainingError: An argument is out of range, or the interrupted run had other arguments.
        StorageError: The disk is full or not writable.

    Example:
        >>> import edgetl
        >>> edgetl.finetune("photos", "mugs", epochs=4).metrics["validation"]["accuracy"]  # doctest: +SKIP
        0.97
    """
    augmentation = Augmentation(
        copies=copies if augment and not head_only else 0,
        flip=flip,
        vertical_flip=vertical_flip,
        crop=crop,
        color=color,
    )
    settings = Settings(
        backbone=backbone,
        resize=resize,
        head_epochs=head_epochs,
        epochs=epochs,
        blocks=0 if head_only else blocks,
        head_rate=head_rate,
        rate=rate,
        batch=batch,
        validation=validation,
        patience=patience,
        class_weights=class_weights,
        seed=seed,
        augmentation=augmentation,
    )
    return _train(
        photos,
        out,
        settings,
        split=split,
        restart=restart,
        skip_empty=skip_empty,
        force=force,
        progress=progress,
    )


def _train(
    photos: str | Path,
    out: str | Path,
    settings: Settings,
    *,
    split: str | Path | None = None,
    restart: bool = False,
    skip_empty: bool = False,
    force: bool = False,
    progress: Progress = no_progress,
) -> Outcome:
    """Train with `settings`; the other arguments and the errors are those of `finetune`."""
    out = Path(out).absolute()
    check_output(out, force)
    found = find_photos(Path(photos).absolute(), split, skip_empty=skip_empty)
    photo_set = split_photos(found, settings.validation, settings.seed, progress)
    require_keras()
    identity = {
        "settings": settings.to_dict(),
        "photos": fingerprint(photo_set.photos, photo_set.root),
        "versions": installed_versions(),
    }
    with WorkFolder(out).open(identity, restart) as work:
        return Run(photo_set, settings, work, progress).run()

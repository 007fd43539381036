"""`finetune`: from a folder of photos to the folder of a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from device.progress import Progress, no_progress

from ..backbones.own import is_own_model, load_own, refuse_own_options
from ..backbones.registry import check_backbone, find_keras, require_keras
from ..backbones.small import SMALL, is_unsupervised
from ..backbones.weights import digest_of
from ..errors import BackboneError, TrainingError
from ..photos import TRAINING, VALIDATION, Photo, PhotoSet, find_photos, find_unlabeled
from ..split import split_photos
from .continuing import Start, add_old_photos, choose_preserve
from .optimizers import BLOCKS_RATE, RATES, SCRATCH_RATE
from .planning import (
    ALL,
    AUTO,
    DEFAULT_MINUTES,
    GAN_MINUTES,
    GAN_RATE,
    SCRATCH_EPOCHS,
    may_train_all,
    resolve_layers,
    train_from_scratch,
)
from .replicas import find_replicas
from .run import Outcome, Run, installed_versions
from .seeds import seeds_folder, train_others
from .settings import Settings, augment_as, held_out_fraction
from .workfolder import WorkFolder, check_output, fingerprint, remove_folder


def finetune(
    photos: str | Path,
    out: str | Path,
    *,
    backbone: str | Path = "efficientnet-lite0",
    weights: str | Path | None = None,
    embedding_layer: str | None = None,
    input_range: str | None = None,
    size: str | int | None = None,
    start: str | Path | None = None,
    preserve: Literal["none", "weights", "distill", "replay"] | None = None,
    split: str | Path | None = None,
    unlabeled: str | Path | None = None,
    resize: Literal["crop", "squash", "pad"] = "crop",
    layers: Literal["auto", "head", "blocks", "all"] = "auto",
    minutes: float | None = None,
    head_epochs: int = 40,
    epochs: int | None = None,
    blocks: int | None = None,
    head_only: bool = False,
    rate: float | None = None,
    head_rate: float = 0.02,
    optimizer: Literal["adamw", "sgd", "lion"] = "adamw",
    mixup: float = 0.0,
    batch: int = 32,
    validation: float | None = None,
    patience: int | None = None,
    class_weights: bool = True,
    augment: Literal["none", "light", "strong"] | None = None,
    copies: int = 3,
    flip: bool = True,
    vertical_flip: bool = False,
    crop: float | None = None,
    color: float | None = None,
    seed: int = 0,
    seeds: int = 1,
    restart: bool = False,
    skip_empty: bool = False,
    force: bool = False,
    progress: Progress = no_progress,
) -> Outcome:
    """Train a backbone and a head on a folder of photos.

    The head is trained on cached embeddings. Before that, `layers="all"` trains all layers on a fresh crop of each
    photo in each epoch; the exact head then judges the tuned and the frozen backbone on the same held-out photos, and
    the better one is kept. `layers="blocks"` trains the last blocks together with the head, on features cached in
    front of these blocks. Batch normalization is frozen in both. An interrupted run continues when `finetune` is
    called again with the same arguments; Ctrl-C while all layers are trained keeps the best epoch so far.

    Args:
        photos: A folder with one folder of photos per label, or with ``train``, ``val`` and ``test`` folders.
        out: The folder of the trained model to write.
        backbone: A name that ``edgetl backbones`` lists. ``cnn-28`` and ``resnet-28`` have no pretrained weights: all
            their layers are trained from scratch, 30 epochs by default, with the highest rate 2e-3 and light augmentation.
            ``gan-28`` is trained as the discriminator of a GAN, without labels, on the training photos and those of
            `unlabeled`: 10 minutes or 3,000 steps of twice `batch` photos, whichever ends first, or `epochs`, at the
            rate 5e-4 and without augmentation.
            Or a Keras model of yours, a ``.keras`` or ``.h5`` file; code from a file is never run.
        weights: A file of weights for the backbone, in place of the published ones: PyTorch's for a backbone whose
            weights are in a package, HDF5 for one of `keras.applications`.
        embedding_layer: Name of the layer of a Keras model whose output is the embedding; by default the last pooled
            layer before the classifier.
        input_range: Pixel values that a Keras model expects: ``0..255``, ``0..1``, ``-1..1``, ``imagenet`` or any
            ``LOW..HIGH``; by default found from the scaling inside the model.
        size: ``HEIGHTxWIDTH`` or one side in pixels, for a Keras model without a fixed size.
        start: The folder of an earlier trained model: its backbone and its `resize` are used, and the new model knows its
            labels too, as far as its photos still exist. ``metrics["old_task"]`` has what is left of its accuracy.
        preserve: How the earlier task is preserved while layers of the backbone are trained: by the distance to the old
            ``weights``, by the distance to the old embeddings of the new photos (``distill``), by a ``replay`` of old
            photos, or not at all (``none``). By default ``replay``, or ``distill`` where the old photos are gone.
        split: A CSV file with lines ``path,part``; a part is ``train``, ``val`` or ``test``.
        unlabeled: A folder of further photos without labels, at any depth, for ``gan-28``.
        resize: How a photo is fitted to the input of the backbone: ``crop``, ``squash`` or ``pad``.
        layers: ``head`` leaves the backbone unchanged, ``blocks`` trains its last blocks, ``all`` trains all of it but
            the early blocks. ``auto`` trains all layers if there are 100 training photos or more and at least 4 epochs
            fit into `minutes`, else the last blocks, or the head alone if fewer than 3 fit.
        minutes: Time for training all layers. The speed measured at the start decides how many epochs fit, at most 12.
            By default 15.
        head_epochs: Number of epochs of the head.
        epochs: Number of epochs of the backbone's layers; by default 8 for the last blocks, and as many as fit into
            `minutes` for all layers.
        blocks: Number of blocks at the end of the backbone to train; by default 2.
        head_only: Leave the backbone unchanged; the same as ``blocks=0, copies=0``.
        rate: Highest learning rate of the backbone's layers; by default 1e-3 for all layers with ``adamw``, 2e-2 with
            ``sgd`` and 1e-4 with ``lion``, a fifth of it for the last blocks, and twice as much from scratch.
        head_rate: Initial learning rate of the head.
        optimizer: Optimizer of the backbone's layers: ``adamw``, ``sgd`` (with Nesterov's momentum) or ``lion``.
        mixup: Blend each photo with another one, and their labels, when all layers are trained: parameter of the beta
            distribution of the ratio, such as 0.2; 0 blends none.
        batch: Number of photos per step.
        validation: Fraction of each label that is held out for validation. By default 0.2 of up to 1,000 photos, 200 photos
            of up to 2,000, and 0.1 of more.
        patience: Number of epochs without improvement after which training stops; for all layers, in the second half. By
            default 3, but all layers of a pretrained backbone are trained for the complete schedule.
        class_weights: Weight all labels equally, whatever their number of photos.
        augment: Strength of the augmentation, ``none``, ``light`` or ``strong``; by default strong for all layers and
            light for copies. ``light`` shows at least 70 % of a photo's area and changes the brightness by up to 15 %,
            ``strong`` shows at least half and changes it by up to 25 %.
        copies: Number of augmented copies of each training photo, for the head and the last blocks.
        flip: Mirror copies left to right at random.
        vertical_flip: Mirror copies top to bottom at random.
        crop: Smallest fraction of a photo's area that a crop or a copy shows, in place of that of `augment`.
        color: Range of the brightness, and in copies of contrast and color balance, in place of that of `augment`;
            0 leaves them unchanged.
        seed: Seed for splitting, shuffling and augmentation.
        seeds: Number of seeds, from `seed` on: the training is repeated with each, `minutes` is divided among them, and
            ``metrics["seeds"]`` has mean and standard deviation of the accuracy. The model of the first one is kept,
            because each seed has held-out photos of its own: the best figure is that of the luckiest split.
        restart: Start again instead of continuing an interrupted run.
        skip_empty: Skip labels without a readable photo instead of raising.
        force: Replace an existing trained model.
        progress: Called as the run advances.

    Returns:
        The trained model with its folder, metrics and warnings.

    Raises:
        PhotoFolderError: The photos cannot be used.
        BackboneError: The backbone is unknown, or `weights` do not fit it.
        MissingExtraError: TensorFlow or the package with the weights is not installed.
        OutputExistsError: `out` exists and `force` is false.
        TrainingError: An argument is out of range, or the interrupted run had other arguments.
        StorageError: The disk is full or not writable.

    Example:
        >>> import edgetl
        >>> edgetl.finetune("photos", "mugs", epochs=4).metrics["validation"]["accuracy"]  # doctest: +SKIP
        0.97
    """
    if seeds < 1:
        raise TrainingError(f"seeds must be 1 or more, got {seeds}")
    chosen = resolve_layers(layers, head_only=head_only, blocks=blocks, epochs=epochs)
    backbone = str(Path(backbone).absolute() if is_own_model(backbone) else backbone)
    if start is not None:
        _check_start(backbone, weights, embedding_layer, input_range, size)
    elif preserve is not None:
        raise TrainingError("preserve needs an earlier trained model to start from")
    scratch, gan = backbone in SMALL, is_unsupervised(backbone)
    if unlabeled is not None and not gan:
        raise TrainingError(
            f"{backbone} cannot learn from photos without labels; use --backbone gan-28, or leave out --unlabeled"
        )
    if scratch:
        chosen = train_from_scratch(backbone, chosen)
    augmentation, crops = augment_as(
        "light" if scratch and augment is None else augment,
        copies=0 if head_only else copies,
        flip=flip,
        vertical_flip=vertical_flip,
        crop=crop,
        color=color,
    )
    settings = Settings(
        backbone=backbone,
        embedding_layer=embedding_layer,
        input_range=input_range,
        size=size,
        weights=Path(weights).absolute() if weights else None,
        resize=resize,
        layers=chosen,
        minutes=((GAN_MINUTES if gan else DEFAULT_MINUTES) if minutes is None else minutes) / max(1, seeds),
        head_epochs=head_epochs,
        epochs=Settings.epochs if epochs is None else epochs,
        blocks=Settings.blocks if blocks is None else blocks,
        whole_epochs=epochs or (SCRATCH_EPOCHS if scratch and not gan else None),
        head_rate=head_rate,
        rate=_default_rate(optimizer, BLOCKS_RATE) if rate is None else rate,
        whole_rate=_whole_rate(backbone, optimizer) if rate is None else rate,
        optimizer=optimizer,
        mixup=mixup,
        batch=batch,
        validation=validation,
        patience=patience,
        class_weights=class_weights,
        seed=seed,
        augmentation=augmentation,
        crops=crops,
    )
    return _train(
        photos,
        out,
        settings,
        minutes=minutes,
        seeds=seeds,
        start=start,
        preserve=preserve,
        split=split,
        unlabeled=unlabeled,
        restart=restart,
        skip_empty=skip_empty,
        force=force,
        progress=progress,
    )


def _settle(settings: Settings, photo_set: PhotoSet) -> Settings:
    """Return settings that name the last blocks where the photos rule out all layers: no time was granted for them."""
    counts = [len(photo_set.part(part)) for part in (TRAINING, VALIDATION)]
    ruled_out = may_train_all(*counts) if settings.layers == AUTO else None
    return replace(settings, layers=ruled_out.layers) if ruled_out else settings


def _whole_rate(backbone: str, optimizer: str) -> float:
    if is_unsupervised(backbone):
        return GAN_RATE
    return _default_rate(optimizer, SCRATCH_RATE if backbone in SMALL else 1)


def _default_rate(optimizer: str, factor: float) -> float:
    """Return the rate of an optimizer; `Settings` reports an unknown one."""
    return factor * RATES.get(optimizer, 1.0)


def _train(
    photos: str | Path,
    out: str | Path,
    settings: Settings,
    *,
    minutes: float | None,
    seeds: int = 1,
    start: str | Path | None = None,
    preserve: str | None = None,
    split: str | Path | None = None,
    unlabeled: str | Path | None = None,
    restart: bool = False,
    skip_empty: bool = False,
    force: bool = False,
    progress: Progress = no_progress,
) -> Outcome:
    """Train with `settings`; the other arguments and the errors are those of `finetune`."""
    out = Path(out).absolute()
    check_output(out, force)
    earlier = None
    if start is not None:
        require_keras()
        find_replicas()  # before TensorFlow runs its first operation
        settings = continue_settings(settings, Start.open(start), preserve)

    def read(settings: Settings, progress: Progress) -> tuple[PhotoSet, Start | None]:
        found = read_photos(
            photos, settings, split=split, unlabeled=unlabeled, skip_empty=skip_empty, progress=progress
        )
        if start is None:
            return found, None
        earlier = Start.open(start)  # anew for each seed, because its backbone is trained in place
        return add_old_photos(found, earlier, settings.preserve, settings.seed, progress), earlier

    def train_one(folder: Path, settings: Settings, progress: Progress) -> Outcome:
        photo_set, earlier = read(settings, progress)
        return train(photo_set, folder, settings, start=earlier, progress=progress)

    photo_set, earlier = read(settings, progress)
    if minutes is None:
        settings = _settle(settings, photo_set)
    others = []
    folder = seeds_folder(out)
    if seeds > 1:
        require_keras()
        folder = seeds_folder(out, find_replicas().worker)
        identity = identify(photo_set, settings) | {"seeds": seeds}
        others = train_others(
            folder, settings, seeds, train_one, identity=identity, restart=restart, progress=progress
        )
    outcome = train(
        photo_set, out, settings, start=earlier, others=others, restart=restart, progress=progress
    )
    remove_folder(folder)
    return outcome


def _check_start(backbone: str, *others: str | Path | int | None) -> None:
    """Raise where the options name another backbone than that of the earlier model, or describe it."""
    if backbone != Settings.backbone or any(other is not None for other in others):
        raise TrainingError(
            "the backbone is that of the earlier model to start from; leave out the backbone and its options"
        )


def continue_settings(settings: Settings, start: Start, preserve: str | None) -> Settings:
    """Return the settings for the backbone of an earlier model."""
    return replace(
        settings,
        backbone=start.model.backbone_name,
        resize=start.model.preprocessing.resize,
        start=start.folder.name,
        preserve=choose_preserve(preserve, start),
    )


def read_photos(
    photos: str | Path,
    settings: Settings,
    *,
    split: str | Path | None,
    skip_empty: bool,
    progress: Progress,
    unlabeled: str | Path | None = None,
) -> PhotoSet:
    """Return the photos of a folder, each in its part, after a check of the backbone, which takes no time.

    Raises:
        PhotoFolderError: The photos cannot be used.
        BackboneError: The backbone is unknown, or does not fit the weights.
        MissingExtraError: TensorFlow is not installed.
    """
    find_keras()
    if settings.start is None:
        _check_backbone(settings)
    found = find_photos(Path(photos).absolute(), split, skip_empty=skip_empty)
    fraction = held_out_fraction(len(found.photos)) if settings.validation is None else settings.validation
    photo_set = split_photos(found, fraction, settings.seed, progress)
    _check_number(photo_set, settings)
    if unlabeled is None:
        return photo_set
    return replace(photo_set, unlabeled=find_unlabeled(Path(unlabeled).absolute(), photo_set))


def _check_number(photo_set: PhotoSet, settings: Settings) -> None:
    """Raise where there are too few photos to train all layers on."""
    training, labels = len(photo_set.part(TRAINING)), len(photo_set.labels)
    if settings.layers == ALL and not is_unsupervised(settings.backbone) and training < 2 * labels:
        raise TrainingError(
            f"{training} training photos of {labels} labels are too few to train all layers, expected at least two per "
            "label; add photos, or train the head alone with --head-only"
        )


def _check_backbone(settings: Settings) -> None:
    """Raise where the backbone cannot be loaded; a model of the user's is loaded to find out."""
    if not is_own_model(settings.backbone):
        refuse_own_options(**settings.own)
        check_backbone(settings.backbone, settings.weights)
        return
    if settings.weights:
        raise BackboneError(f"{settings.backbone} contains its own weights; leave out {settings.weights}")
    if Path(settings.backbone).is_dir():
        raise BackboneError(
            f"{settings.backbone} is a SavedModel, which cannot be trained; use the model's .keras file, or convert the "
            "folder and teach it on a device"
        )
    load_own(settings.backbone, resize=settings.resize, **settings.own)


def train(
    photo_set: PhotoSet,
    out: Path,
    settings: Settings,
    *,
    start: Start | None = None,
    others: Sequence[dict[str, Any]] = (),
    restart: bool = False,
    progress: Progress = no_progress,
) -> Outcome:
    """Train with `settings` on photos that have their parts, and replace what is at `out`; errors are those of `finetune`."""
    require_keras()
    replicas = find_replicas()
    identity = identify(photo_set, settings) | ({"start": start.identity} if start else {})
    with WorkFolder(out, replicas.worker).open(identity, restart) as work:
        return Run(photo_set, settings, work, progress, replicas, start, tuple(others)).run()


def identify(photo_set: PhotoSet, settings: Settings) -> dict[str, Any]:
    """Return what must be the same for a run to be continued."""
    identity = {
        "settings": settings.to_dict(),
        "photos": fingerprint(photo_set.photos, photo_set.root),
        "versions": installed_versions(),
    }
    if settings.weights:
        identity["weights"] = digest_of(settings.weights)
    if photo_set.unlabeled:
        more = [Photo(path, "") for path in photo_set.unlabeled]
        identity["unlabeled"] = fingerprint(more, Path(more[0].path.anchor))
    if is_own_model(settings.backbone):
        identity["backbone"] = digest_of(Path(settings.backbone))
    return identity

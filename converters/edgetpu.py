"""Stage 8: the twin, which is the backbone alone and int8 throughout, and the compiler for the Edge TPU."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from device.files import atomic_output
from device.images import Image

from .backbone import convert_backbone
from .errors import ConversionError
from .source import TrainedModel

COMPILER = "edgetpu_compiler"
_PATIENCE = 600  # seconds; EfficientNet-Lite2 takes about one minute


def twin_path(path: Path) -> Path:
    """Return the path of the twin: ``NAME.backbone.tflite`` beside ``NAME.tflite``."""
    return path.with_name(f"{path.stem}.backbone.tflite")


def write_twin(model: TrainedModel, path: Path, images: Sequence[Image], *, force: bool = False) -> Path:
    """Write the twin of a model file.

    It is quantized with the same photos, but for one image at a time and without float ops, because the
    compiler accepts static shapes only and maps int8 ops only. The head runs on the CPU.

    Raises:
        ConversionError: The conversion failed.
        StorageError: The twin exists, or cannot be written.
    """
    data = convert_backbone(model.backbone, model.preprocessing, "int8", images, twin=True)
    target = twin_path(path)
    with atomic_output(target, force=force) as temporary:
        temporary.write_bytes(data)
    return target


def compile_twin(twin: Path) -> Path | None:
    """Compile a twin for the Edge TPU.

    Returns:
        ``NAME.backbone_edgetpu.tflite`` beside it, or None where the compiler is not installed.

    Raises:
        ConversionError: The compiler refused the model.
    """
    compiler = shutil.which(COMPILER)
    if compiler is None:
        return None
    command = [compiler, "--show_operations", "--out_dir", str(twin.parent), str(twin)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConversionError(f"{COMPILER} did not finish: {error}") from error
    compiled = twin.with_name(f"{twin.stem}_edgetpu.tflite")
    if done.returncode or not compiled.is_file():
        raise ConversionError(f"{COMPILER} refused {twin}: {(done.stdout + done.stderr).strip()[-800:]}")
    return compiled


def how_to_compile(twin: Path) -> str:
    """Return instructions to compile the twin where the compiler is not installed."""
    return (
        f"{COMPILER} is not installed here; on x86-64 Debian add Coral's package source, install edgetpu-compiler, "
        f"then run: {COMPILER} {twin}"
    )

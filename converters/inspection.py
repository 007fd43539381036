"""Inspect a .tflite: its signatures, ops, sizes and manifest, and whether edgetl can teach it.

This runs on a device: it needs a TFLite runtime, but neither TensorFlow nor the classes of the schema.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from device.errors import DelegateError, EdgetlError, ModelFileError, SignatureError
from device.model.container import MANIFEST, named, read_tflite
from device.model.contract import SIGNATURES
from device.model.graph import read_graphs
from device.model.memory import Samples
from device.model.modelfile import ModelFile
from device.model.runtime import Runtime, load_runtime, open_interpreter
from device.model.trust import Signed, examine_signature

from .anatomy import Candidate
from .edgetpu_report import EdgeTpuReport, report_edgetpu
from .errors import ConversionError
from .flatbuffer import count_ops, parse, schema
from .foreign import Source
from .op_versions import OpVersion, too_new
from .pixels import find_pixels

_ENTRY_BYTES = 30  # of a zip entry before its name


@dataclass(frozen=True)
class Plan:
    """What ``edgetl convert`` would do with a foreign .tflite.

    Attributes:
        cut: The tensor with the embedding.
        removed: What would be removed after it, in words.
        pixels: How pixels would become its input, in words.
        labels: Number of labels in its metadata.
        candidates: Tensors for ``--cut``, latest first.
        warning: What would be assumed; empty when everything is known.
    """

    cut: Candidate
    removed: str
    pixels: str
    labels: int
    candidates: tuple[Candidate, ...]
    warning: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-serializable dict."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        candidates = [entry.to_dict() for entry in self.candidates]
        return {**fields, "cut": self.cut.to_dict(), "candidates": candidates}


@dataclass(frozen=True)
class Inspection:
    """The findings about a file.

    Attributes:
        path: The file.
        teachable: Whether edgetl can teach it.
        reason: Why edgetl cannot teach it; empty when it can.
        runtime: The runtime that read the file.
        signatures: Name -> ``inputs`` and ``outputs``, each name -> ``dtype shape``; an older file without
            signatures has one with an empty name.
        ops: Name of each op -> number of times it occurs in the file; empty where that is unknown.
        sizes: Bytes of ``total`` and, of a model file, ``backbone``, ``head`` and ``memory``.
        labels: Labels of the head.
        memory: Content of the memory, in words.
        manifest: The manifest's fields, or None.
        digest: sha256 of everything that decides an answer, in hexadecimal; empty where there is none.
        unchecked: Parts that no checksum covers, in a model file of version 1.
        surgery: What ``edgetl convert`` would do with a file that edgetl did not write, or None.
        edgetpu: What the Edge TPU compiler would do with ``features`` or, in another file, the first graph; or None.
        too_new: Ops that tflite-runtime 2.14 lacks, or has only in an older version.
        signature: Who signed a model file, or None for another .tflite.
    """

    path: Path
    teachable: bool
    reason: str
    runtime: str
    signatures: dict[str, dict[str, dict[str, str]]]
    ops: dict[str, int]
    sizes: dict[str, int]
    labels: tuple[str, ...] = ()
    memory: str = "none"
    manifest: dict[str, Any] | None = field(default=None, repr=False)
    digest: str = ""
    unchecked: tuple[str, ...] = ()
    surgery: Plan | None = None
    edgetpu: EdgeTpuReport | None = None
    too_new: tuple[OpVersion, ...] = ()
    signature: Signed | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as a JSON-serializable dict."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        lists = {"labels": list(self.labels), "unchecked": list(self.unchecked)}
        reports = {
            "surgery": self.surgery.to_dict() if self.surgery else None,
            "edgetpu": self.edgetpu.to_dict() if self.edgetpu else None,
            "too_new": [entry.to_dict() for entry in self.too_new],
            "signature": self.signature.to_dict() if self.signature else None,
        }
        return {**fields, "path": str(self.path), **lists, **reports}


def inspect(path: str | Path) -> Inspection:
    """Inspect a .tflite.

    A file that edgetl did not write is described as far as possible, with the reason why it cannot be taught.

    Raises:
        ModelFileError: The file is missing, not a .tflite, truncated, or an altered model file.
    """
    path = Path(path)
    runtime = load_runtime()
    try:
        model = ModelFile.open(path)
    except SignatureError:
        raise
    except ModelFileError as error:
        return _foreign(path, runtime, error)
    signatures = _signatures(_interpreter(model.model_part(), path, runtime))
    missing = ", ".join(model.missing)
    reason = f"the signatures {missing} are missing; convert the model again" if missing else ""
    return Inspection(
        path=path,
        teachable=not missing,
        reason=reason,
        runtime=str(runtime),
        signatures=signatures,
        ops=_ops(model.model_part(), path, runtime),
        sizes=sizes(model),
        labels=model.labels,
        memory=_memory(model),
        manifest=model.manifest.described(),
        digest=model.digest,
        unchecked=model.unchecked,
        edgetpu=report_edgetpu(model.model_part(), "features"),
        too_new=too_new(model.model_part()),
        signature=examine_signature(path),
    )


def sizes(model: ModelFile) -> dict[str, int]:
    """Return the bytes of ``total``, ``backbone``, ``head`` (initial values of its variables) and ``memory``."""
    head = sum(length for _, length in model.manifest.head_weights.values())
    return {
        "total": model.path.stat().st_size,
        "backbone": model.manifest.model_bytes - head,
        "head": head,
        "memory": model.memory_bytes,
    }


def _foreign(path: Path, runtime: Runtime, error: ModelFileError) -> Inspection:
    try:
        data = read_tflite(path)
    except ModelFileError:
        raise error from None  # missing, or something else
    if MANIFEST.encode() in data or b"PK\3\4" in data[-_ENTRY_BYTES:]:
        raise error  # a model file of ours that was damaged
    with named(path):
        read_graphs(data)
    total = {"total": len(data)}
    plan, refusal = _plan(path)
    reports: dict[str, Any] = {"surgery": plan, "edgetpu": report_edgetpu(data), "too_new": too_new(data)}
    try:
        interpreter = _interpreter(data, path, runtime)
    except (DelegateError, ModelFileError) as refused:
        ops = _ops(data, path, runtime)
        if not ops:  # truncated: there is nothing to show
            raise
        reason = str(refused) if plan is None else _why_not({}, path, plan, refusal)
        return Inspection(path, False, reason, str(runtime), {}, ops, total, **reports)
    signatures = _signatures(interpreter)
    reason, ops = _why_not(signatures, path, plan, refusal), _ops(data, path, runtime)
    return Inspection(path, False, reason, str(runtime), signatures, ops, total, **reports)


def _plan(path: Path) -> tuple[Plan | None, str]:
    """Return what convert would do; or None, and why it would refuse."""
    try:
        source = Source.open(path)
        anatomy = source.anatomy
        cut = anatomy.candidate(anatomy.default_cut())
        how, warning = _input(source)
    except ConversionError as error:
        return None, str(error).removeprefix(f"{path} cannot be converted: ")
    labels, candidates = len(source.metadata.labels), anatomy.candidates()
    return Plan(cut, anatomy.removed(cut.tensor), how, labels, candidates, warning), ""


def _input(source: Source) -> tuple[str, str]:
    """Return how pixels would become the input, and a warning; only the warning where LiteRT is not installed."""
    try:
        schema()
    except ConversionError as error:
        return "", str(error)
    pixels = find_pixels(parse(source.data), source.anatomy, source.metadata, None)
    return pixels.how, pixels.warning


def _interpreter(data: bytes, path: Path, runtime: Runtime) -> Any:
    return open_interpreter(data, runtime=runtime, threads=1, name=str(path))


def _why_not(signatures: dict[str, Any], path: Path, plan: Plan | None, refusal: str) -> str:
    missing = [name for name in SIGNATURES if name not in signatures]
    lacking = (
        f"it lacks the signatures {', '.join(missing)} and edgetl's manifest"
        if missing
        else "it has no manifest"
    )
    if plan is None:
        return f"{lacking}, and it cannot be converted: {refusal}"
    return f"{lacking}; make a file that can be taught from it with: edgetl convert {path} --out NEW.tflite"


def _signatures(interpreter: Any) -> dict[str, dict[str, dict[str, str]]]:
    listed = interpreter.get_signature_list()
    if not listed:
        return {
            "": {
                "inputs": {entry["name"]: _described(entry) for entry in interpreter.get_input_details()},
                "outputs": {entry["name"]: _described(entry) for entry in interpreter.get_output_details()},
            }
        }
    order = [*(name for name in SIGNATURES if name in listed), *sorted(set(listed) - set(SIGNATURES))]
    found = {}
    for name in order:
        try:
            runner = interpreter.get_signature_runner(name)
            sides = {"inputs": runner.get_input_details(), "outputs": runner.get_output_details()}
            found[name] = {
                side: {entry: _described(details) for entry, details in entries.items()}
                for side, entries in sides.items()
            }
        except (ValueError, RuntimeError, AttributeError):  # such as a signature that needs Flex ops
            found[name] = {side: dict.fromkeys(listed[name][side], "?") for side in ("inputs", "outputs")}
    return found


def _described(details: dict[str, Any]) -> str:
    signature = details.get("shape_signature")
    shape = details["shape"] if signature is None or not len(signature) else signature
    sides = ", ".join("N" if side < 0 else str(side) for side in shape)
    return f"{np.dtype(details['dtype']).name} [{sides}]"


def _ops(part: bytes, path: Path, runtime: Runtime) -> dict[str, int]:
    try:
        return count_ops(part)
    except (ConversionError, ImportError):
        return _ops_of_interpreter(part, path, runtime)


def _ops_of_interpreter(part: bytes, path: Path, runtime: Runtime) -> dict[str, int]:
    # a private method of both runtimes; of the first graph only
    try:
        details = _interpreter(part, path, runtime)._get_ops_details()
        counted = Counter(str(entry["op_name"]) for entry in details)
    except (AttributeError, KeyError, ValueError, RuntimeError, EdgetlError):
        return {}
    counted.pop("DELEGATE", None)
    return dict(counted.most_common())


def _memory(model: ModelFile) -> str:
    memory = model.memory
    if memory is None:
        return "none"
    hidden = (
        "" if model.negatives is None else f", {len(model.negatives.stored)} negatives and background samples"
    )
    if isinstance(memory, Samples):
        return f"{len(memory.labels)} samples of {len(set(memory.labels))} labels{hidden}"
    return f"sums over {sum(memory.counts().values())} samples of {len(memory.labels)} labels{hidden}"

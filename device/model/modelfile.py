"""The model file: one .tflite with a zip appended that holds its labels, manifest and memory.

Nothing in a file is trusted before its size and checksum are checked, and nothing is unpickled. Since version 2 one digest
covers every byte that decides an answer: ``edgetl.sha256`` holds that of the manifest, and the manifest those of the
flatbuffer, the labels and the memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import LabelError, ModelFileError, SignatureError
from ..files import atomic_output
from ..labels import check_labels
from .container import (
    LABELS,
    MANIFEST,
    MEMORY,
    NEGATIVES,
    SEAL,
    named,
    open_plain,
    read_members,
    read_part,
    read_whole,
    require_identifier,
    sha256,
    write_container,
)
from .contract import check_contract, missing_signatures
from .graph import Graphs, read_graphs
from .hidden import HiddenSamples, pack_hidden, unpack_hidden
from .manifest import FORMAT_VERSION, WITH_NEGATIVES, Manifest, Part
from .memory import Memory
from .packing import pack_memory, unpack_memory
from .signature import PublicKey, require_signature
from .trust import pinned_keys

UNCHECKED_BY_VERSION_1 = ("labels", "manifest", "memory")


@dataclass(frozen=True)
class ModelFile:
    """An opened model file, checked.

    Attributes:
        path: Path of the file.
        manifest: Description of the file, from ``edgetl.json``.
        labels: Labels the host taught, sorted; the first columns of the head in the file.
        memory: What the host taught, or None.
        memory_bytes: Size of the memory in the file.
        part: The flatbuffer as it was checked; interpreters run these bytes even if the file changes.
        digest: sha256 of everything that decides an answer, in hexadecimal; empty for version 1.
        unchecked: Parts that no checksum covers: none, except in files of version 1.
        missing: Required signatures that this file lacks.
        negatives: Negatives and background that the host taught, or None.
        signer: Fingerprint of the pinned key that signed the file; "" if this machine requires no signature.
        first_graph: Numbers of the input and the output of ``features`` if it is the first graph and made for one image,
            so that interpreters run it without the detour through a signature; None otherwise.
    """

    path: Path
    manifest: Manifest
    labels: tuple[str, ...]
    memory: Memory | None
    memory_bytes: int = 0
    part: bytes = field(default=b"", repr=False)
    digest: str = ""
    unchecked: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    negatives: HiddenSamples | None = None
    signer: str = ""
    first_graph: tuple[int, int] | None = None

    def __repr__(self) -> str:
        labels = f"{len(self.labels)} of {self.manifest.capacity} labels"
        return (
            f"<ModelFile {self.path.name}: {self.manifest.backbone}, {self.manifest.quantization}, {labels}>"
        )

    @property
    def sha256(self) -> str:
        """Checksum of the model part, in hexadecimal; a state file belongs to a model by it."""
        return self.manifest.model_sha256

    def backbone_digest(self) -> str:
        """Return a checksum of all that decides an embedding: the model part without the head's weights, and the pixels.

        Models with the same one make the same embeddings, such as a model and its exports.
        """
        part = bytearray(self.part)
        for start, length in self.manifest.head_weights.values():
            part[start : start + length] = bytes(length)
        described = self.manifest.described()
        how = {name: described[name] for name in ("preprocessing", "dimensions", "embedding_map")}
        return sha256(bytes(part) + json.dumps(how, sort_keys=True).encode())

    @classmethod
    def open(cls, path: str | Path, *, trusted: bool = False) -> ModelFile:
        """Read and check a model file: its signature, its checksums, its structure, and whether its parts fit one another.

        The file is read once, and no interpreter is needed. A signature is required only where a key is pinned
        (``edgetl key pin``).

        Args:
            path: The file.
            trusted: The caller has just written the file itself, so that no signature is required.

        Raises:
            ModelFileError: The file is missing, truncated, foreign, altered, or of an unknown version.
            SignatureError: A key is pinned here, and none of the pinned keys signed the file.
            MissingPackageError: A key is pinned here, and the package cryptography is not installed.
        """
        path, keys = Path(path), () if trusted else pinned_keys()
        with open_plain(path) as opened:
            stream, signer = _verified(path, opened, keys)
            members = read_members(path, stream)
            with named(path):
                _check_seal(members)
                manifest = Manifest.from_json(members[MANIFEST])
                _check_members(manifest, members)
                part = read_part(stream, manifest.model_bytes)
        if sha256(part) != manifest.model_sha256:
            raise ModelFileError(
                f"{path} was altered or damaged: its model part does not match the checksum in its manifest; "
                "copy or convert it again"
            )
        with named(path):
            graphs = read_graphs(part)
            check_contract(graphs, manifest)
            labels = _labels(members[LABELS], manifest)
            packed = members.get(MEMORY)
            memory = None if packed is None else unpack_memory(packed, manifest.dimensions)
            _check_labels_of(memory, labels, manifest)
            hidden = members.get(NEGATIVES)
            negatives = None if hidden is None else unpack_hidden(hidden, manifest.dimensions)
        sealed = manifest.format_version > 1
        return cls(
            path,
            manifest,
            labels,
            memory,
            len(packed or b""),
            part,
            members[SEAL].decode() if sealed else "",
            () if sealed else UNCHECKED_BY_VERSION_1,
            missing_signatures(graphs),
            negatives,
            signer,
            _first_graph(graphs),
        )

    def old_head(self) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[str, ...]] | None:
        """Return W [D, K], b [K] and the K labels of the classifier that the file keeps; None without one."""
        kept = self.manifest.kept_labels
        if not kept or not {"W", "b"} <= self.manifest.head_weights.keys():
            return None
        weights, bias = (self._weight(name) for name in ("W", "b"))
        columns = [self.labels.index(label) for label in kept]
        return weights.reshape(self.manifest.dimensions, -1)[:, columns], bias[columns], kept

    def _weight(self, name: str) -> NDArray[np.float64]:
        start, length = self.manifest.head_weights[name]
        return np.frombuffer(self.part, "<f4", length // 4, start).astype(np.float64)

    def model_part(self) -> bytes:
        """Return the flatbuffer alone, without the appended archive: the bytes that were checked."""
        return self.part


def write_model_file(
    path: str | Path,
    model: bytes,
    manifest: Manifest,
    labels: tuple[str, ...] = (),
    memory: Memory | None = None,
    *,
    negatives: HiddenSamples | None = None,
    force: bool = False,
) -> ModelFile:
    """Write a model file; it gets its name only once it is complete.

    Args:
        path: The new file.
        model: The flatbuffer.
        manifest: The manifest; checksums and lengths are filled in here.
        labels: Columns of the head that are in use, in order.
        memory: What the host taught.
        negatives: Its negatives and background; versions of edgetl without them refuse a file that has some.
        force: Overwrite an existing file.

    Raises:
        StorageError: The file exists, or cannot be written.
        ModelFileError: `model` is no flatbuffer of TFLite, or there are more labels than capacity.
    """
    require_identifier(Path(path), model[:8])
    members = {LABELS: "\n".join(check_labels(labels, stored=True)).encode()}
    if memory is not None:
        members[MEMORY] = pack_memory(memory)
    if negatives is not None and negatives.stored:
        members[NEGATIVES] = pack_hidden(negatives)
    version = WITH_NEGATIVES if NEGATIVES in members else FORMAT_VERSION
    promised = {name: Part(sha256(content), len(content)) for name, content in members.items()}
    sealed = manifest.sealed(sha256(model), len(model), promised, version).to_json().encode()
    # the manifest comes first, so that a truncated file is not mistaken for a foreign one
    members = {MANIFEST: sealed, SEAL: sha256(sealed).encode(), **members}
    with named(Path(path)):
        _labels(members[LABELS], manifest)
        _check_labels_of(memory, labels, manifest)
    with atomic_output(path, force=force) as temporary, temporary.open("wb") as stream:
        write_container(stream, model, members)
    return ModelFile.open(path, trusted=True)


def _first_graph(graphs: Graphs) -> tuple[int, int] | None:
    features = graphs.signatures.get("features")
    if features is None or features.graph != 0:
        return None
    image, embedding = features.inputs["image"], features.outputs["embedding"]
    tensors = graphs.graphs[0].tensors
    return (image, embedding) if tensors[image].shape[0] == tensors[embedding].shape[0] == 1 else None


def _verified(path: Path, stream: BinaryIO, keys: Sequence[PublicKey]) -> tuple[BinaryIO, str]:
    """Return the stream to read and the fingerprint of its signer; with pinned keys the content is in RAM, and verified."""
    if not keys:
        return stream, ""
    try:
        whole = read_whole(stream)
        signer = require_signature(whole, keys)
    except SignatureError as error:
        raise SignatureError(f"{path}: {error}") from error
    whole.seek(0)
    return whole, signer.fingerprint


def _check_seal(members: dict[str, bytes]) -> None:
    """Refuse a manifest that does not match its own checksum, which files of version 1 lack."""
    seal = members.get(SEAL)
    if seal is not None and seal != sha256(members[MANIFEST]).encode():
        raise ModelFileError(
            f"{MANIFEST} was altered or damaged: it does not match the checksum in {SEAL}; copy or convert the file again"
        )


def _check_members(manifest: Manifest, members: dict[str, bytes]) -> None:
    """Refuse a member that is not what the manifest promises; version 1 promises none."""
    if manifest.format_version == 1:
        return
    if SEAL not in members:
        raise ModelFileError(
            f"{SEAL} is missing, so nothing covers the manifest; copy or convert the file again"
        )
    expected, found = manifest.members.keys(), members.keys() - {MANIFEST, SEAL}
    if expected != found:
        raise ModelFileError(
            f"the manifest promises {', '.join(sorted(expected))}, the file holds {', '.join(sorted(found))}; "
            "copy or convert the file again"
        )
    for name, promised in manifest.members.items():
        if (len(members[name]), sha256(members[name])) != (promised.bytes, promised.sha256):
            raise ModelFileError(
                f"{name} was altered or damaged: it does not match the checksum in the manifest; copy or convert the file"
                " again"
            )


def _labels(content: bytes, manifest: Manifest) -> tuple[str, ...]:
    try:
        labels = check_labels(content.decode().splitlines(), stored=True)
    except (LabelError, UnicodeDecodeError) as error:
        raise ModelFileError(f"labels.txt is damaged: {error}; copy or convert the file again") from error
    if len(labels) > manifest.capacity:
        raise ModelFileError(
            f"the head has {manifest.capacity} columns, got {len(labels)} labels; raise the capacity"
        )
    return labels


def _check_labels_of(memory: Memory | None, labels: tuple[str, ...], manifest: Manifest) -> None:
    """Refuse labels that do not fit the memory; in version 1 no checksum covers them."""
    missing = sorted(set(manifest.kept_labels) - set(labels))
    if missing:
        raise ModelFileError(
            f"the manifest keeps the labels {', '.join(missing[:3])}, which labels.txt does not list; copy or convert the "
            "file again"
        )
    strangers = set(memory.labels if memory else ()) - set(labels)
    if strangers:
        raise ModelFileError(
            f"the memory holds samples of {', '.join(sorted(strangers))}, which labels.txt does not list; "
            "copy or convert the file again"
        )
    if memory and manifest.format_version == 1 and list(labels) != sorted(labels):
        raise ModelFileError("the labels in labels.txt are not in order; copy or convert the file again")

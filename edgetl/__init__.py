"""edgetl: on-device transfer learning, from a folder of photos to a device that learns.

This package exports the public API. Only the names in `edgetl.__all__` are stable: a change to them raises the minor
version and is described in CHANGELOG.md. Everything else in `edgetl`, `converters` and `device` is internal.

On the device:
    `Learner`: a model file and its state file. Teach, predict, forget, undo, merge, export.
    `open_camera`: frames from a camera, a video, a folder of photos, a stream, or a fake camera.
    `Client`: a server that `edgetl serve` runs, on this machine or another.
    `reembed`: a state file for a new model, from the pictures that the old state file keeps.
    `compare_views`: what the average with the mirror image would gain on the samples of a state file.

On the host or a cluster, with the extra ``edgetl[device]``:
    `embed`: embed every photo of a large folder with several workers, and sum up the embeddings exactly.

On the host, with the extra ``edgetl[host]``:
    `finetune`: train a backbone and a head on a folder of photos.
    `compare`: train a model in four ways on the same photos, and recommend one.
    `convert`: write the model file for the device.
    `compare_quantization`: compare the formats of a backbone on the same photos, and recommend one.
    `evaluate`: measure the accuracy of a model on labeled photos.

Every error that edgetl raises on purpose is an `EdgetlError`; the docstring of `device.errors` shows the tree.
docs/api.md explains each name, with examples.

Names are imported when they are first used, so ``import edgetl`` is fast and works where neither TensorFlow nor a TFLite
runtime is installed.

Example:
    >>> import edgetl
    >>> with edgetl.open_camera("fake:red,blue") as camera:
    ...     camera.read().image.shape
    (240, 320, 3)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.errors import ConversionError
    from converters.formats import FormatResult, QuantizationComparison
    from converters.parity import Parity
    from converters.report import ConversionReport, Surgery
    from converters.sensitivity import LayerError
    from converters.source import KerasModel, TrainedModel
    from device.cameras import Camera, Frame, open_camera
    from device.errors import (
        AddressError,
        ArraysError,
        CameraError,
        CertificateError,
        DelegateError,
        EdgetlError,
        EmbeddingError,
        EndOfSource,
        FleetError,
        FrameTimeout,
        HeadError,
        LabelError,
        MeasurementError,
        MissingPackageError,
        ModelFileError,
        ModelNotFoundError,
        OutputExistsError,
        PeripheralError,
        PhotoError,
        RuntimeMissingError,
        SampleNotFoundError,
        SelectionError,
        ServerError,
        ServiceError,
        SignatureError,
        StateBusyError,
        StateError,
        StateNotFoundError,
        StorageError,
    )
    from device.formats import Reason
    from device.heads import Head, Prediction
    from device.heads.extrapolate import ExpectedAccuracy
    from device.heads.forecast import Forecast, LabelForecast
    from device.heads.report import MixedLabels, Report
    from device.heads.splits import SplitLabel
    from device.learner import Learner
    from device.learner.classifier import Classifier
    from device.learner.correcting import Correction
    from device.learner.doubt import Doubt
    from device.learner.doubts import Doubts
    from device.learner.reembedding import Reembedding, reembed
    from device.learner.selecting import SampleFilter
    from device.learner.status import Status
    from device.learner.views import ViewsComparison, compare_views
    from device.live.watching import Observation
    from device.model.hidden import HiddenSamples
    from device.model.manifest import HeldOut, Manifest, Part
    from device.model.memory import Memory
    from device.model.modelfile import ModelFile
    from device.model.preprocess import Preprocessing
    from device.model.runtime import Runtime
    from device.photos import LeftOut
    from device.progress import Progress
    from device.store import Entry, HostChange, Sample, SampleRun, Version
    from edgetl.client import Client
    from edgetl.conversion import compare_quantization, convert
    from edgetl.embedding import Embedded, embed
    from edgetl.errors import (
        BackboneError,
        MissingExtraError,
        PhotoFolderError,
        RemoteCommandError,
        RemoteError,
        TrainingError,
        WorkerError,
    )
    from edgetl.evaluation import Evaluation, Mistake, evaluate
    from edgetl.training import Outcome, finetune
    from edgetl.ways import WayComparison, WayResult, compare

__version__ = "0.2.0"

__all__ = [
    "AddressError",
    "ArraysError",
    "BackboneError",
    "Camera",
    "CameraError",
    "CertificateError",
    "Classifier",
    "Client",
    "ConversionError",
    "ConversionReport",
    "Correction",
    "DelegateError",
    "Doubt",
    "Doubts",
    "EdgetlError",
    "Embedded",
    "EmbeddingError",
    "EndOfSource",
    "Entry",
    "Evaluation",
    "ExpectedAccuracy",
    "FleetError",
    "Forecast",
    "FormatResult",
    "Frame",
    "FrameTimeout",
    "Head",
    "HeadError",
    "HeldOut",
    "HiddenSamples",
    "HostChange",
    "KerasModel",
    "LabelError",
    "LabelForecast",
    "LayerError",
    "Learner",
    "LeftOut",
    "Manifest",
    "MeasurementError",
    "Memory",
    "MissingExtraError",
    "MissingPackageError",
    "Mistake",
    "MixedLabels",
    "ModelFile",
    "ModelFileError",
    "ModelNotFoundError",
    "Observation",
    "Outcome",
    "OutputExistsError",
    "Parity",
    "Part",
    "PeripheralError",
    "PhotoError",
    "PhotoFolderError",
    "Prediction",
    "Preprocessing",
    "Progress",
    "QuantizationComparison",
    "Reason",
    "Reembedding",
    "RemoteCommandError",
    "RemoteError",
    "Report",
    "Runtime",
    "RuntimeMissingError",
    "Sample",
    "SampleFilter",
    "SampleNotFoundError",
    "SampleRun",
    "SelectionError",
    "ServerError",
    "ServiceError",
    "SignatureError",
    "SplitLabel",
    "StateBusyError",
    "StateError",
    "StateNotFoundError",
    "Status",
    "StorageError",
    "Surgery",
    "TrainedModel",
    "TrainingError",
    "Version",
    "ViewsComparison",
    "WayComparison",
    "WayResult",
    "WorkerError",
    "__version__",
    "compare",
    "compare_quantization",
    "compare_views",
    "convert",
    "embed",
    "evaluate",
    "finetune",
    "open_camera",
    "reembed",
]

# module -> the public names it defines
_NAMES = {
    "converters.errors": ("ConversionError",),
    "converters.formats": (
        "FormatResult",
        "QuantizationComparison",
    ),
    "converters.parity": ("Parity",),
    "converters.report": ("ConversionReport", "Surgery"),
    "converters.sensitivity": ("LayerError",),
    "converters.source": (
        "KerasModel",
        "TrainedModel",
    ),
    "device.cameras": (
        "Camera",
        "Frame",
        "open_camera",
    ),
    "device.errors": (
        "AddressError",
        "ArraysError",
        "CameraError",
        "CertificateError",
        "DelegateError",
        "EdgetlError",
        "EmbeddingError",
        "EndOfSource",
        "FleetError",
        "FrameTimeout",
        "HeadError",
        "LabelError",
        "MeasurementError",
        "MissingPackageError",
        "ModelFileError",
        "ModelNotFoundError",
        "OutputExistsError",
        "PeripheralError",
        "PhotoError",
        "RuntimeMissingError",
        "SampleNotFoundError",
        "SelectionError",
        "ServerError",
        "ServiceError",
        "SignatureError",
        "StateBusyError",
        "StateError",
        "StateNotFoundError",
        "StorageError",
    ),
    "device.formats": ("Reason",),
    "device.heads": (
        "Head",
        "Prediction",
    ),
    "device.heads.extrapolate": ("ExpectedAccuracy",),
    "device.heads.forecast": ("Forecast", "LabelForecast"),
    "device.heads.report": ("MixedLabels", "Report"),
    "device.heads.splits": ("SplitLabel",),
    "device.learner": ("Learner",),
    "device.learner.classifier": ("Classifier",),
    "device.learner.correcting": ("Correction",),
    "device.learner.doubt": ("Doubt",),
    "device.learner.doubts": ("Doubts",),
    "device.learner.reembedding": (
        "Reembedding",
        "reembed",
    ),
    "device.learner.selecting": ("SampleFilter",),
    "device.learner.status": ("Status",),
    "device.learner.views": (
        "ViewsComparison",
        "compare_views",
    ),
    "device.live.watching": ("Observation",),
    "device.model.hidden": ("HiddenSamples",),
    "device.model.manifest": (
        "HeldOut",
        "Manifest",
        "Part",
    ),
    "device.model.memory": ("Memory",),
    "device.model.modelfile": ("ModelFile",),
    "device.model.preprocess": ("Preprocessing",),
    "device.model.runtime": ("Runtime",),
    "device.photos": ("LeftOut",),
    "device.progress": ("Progress",),
    "device.store": (
        "Entry",
        "HostChange",
        "Sample",
        "SampleRun",
        "Version",
    ),
    "edgetl.client": ("Client",),
    "edgetl.conversion": (
        "compare_quantization",
        "convert",
    ),
    "edgetl.embedding": ("Embedded", "embed"),
    "edgetl.errors": (
        "BackboneError",
        "MissingExtraError",
        "PhotoFolderError",
        "RemoteCommandError",
        "RemoteError",
        "TrainingError",
        "WorkerError",
    ),
    "edgetl.evaluation": (
        "Evaluation",
        "Mistake",
        "evaluate",
    ),
    "edgetl.training": (
        "Outcome",
        "finetune",
    ),
    "edgetl.ways": (
        "WayComparison",
        "WayResult",
        "compare",
    ),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgetl' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

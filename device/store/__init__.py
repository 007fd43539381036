"""The state file: what a device was taught, durable in one SQLite file."""

from __future__ import annotations

from .records import Entry, HostChange, ModelIdentity, NewSample, Sample, SampleRun, Version
from .store import Store

__all__ = ["Entry", "HostChange", "ModelIdentity", "NewSample", "Sample", "SampleRun", "Store", "Version"]

"""Model files that are taken apart, changed, and put together again with matching checksums."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device.arrays import pack_arrays, unpack_arrays


@dataclass(frozen=True)
class TakenApart:
    """The flatbuffer of a model file and the members of its archive."""

    part: bytes
    members: dict[str, bytes]

    @classmethod
    def read(cls, path: Path) -> TakenApart:
        """Split a valid model file into its parts."""
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        return cls(data[: json.loads(members["edgetl.json"])["model_bytes"]], members)

    def with_member(self, name: str, content: bytes) -> TakenApart:
        """Replace or add a member."""
        return replace(self, members={**self.members, name: content})

    def without(self, name: str) -> TakenApart:
        """Remove a member."""
        return replace(self, members={key: body for key, body in self.members.items() if key != name})

    def with_manifest(self, **fields: Any) -> TakenApart:
        """Change fields of the manifest."""
        manifest = json.loads(self.members["edgetl.json"]) | fields
        return self.with_member("edgetl.json", json.dumps(manifest).encode())

    def with_arrays(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> TakenApart:
        """Replace the arrays of the memory by the result of `change`."""
        arrays = unpack_arrays(self.members["taught.npz"])
        return self.with_member("taught.npz", pack_arrays(change(arrays)))

    def mended(self) -> TakenApart:
        """Correct every checksum, so that the file can be refused only for its content."""
        manifest = json.loads(self.members["edgetl.json"])
        manifest |= {"model_sha256": _sha256(self.part), "model_bytes": len(self.part)}
        if "members" in manifest:
            manifest["members"] = {
                name: {"sha256": _sha256(body), "bytes": len(body)}
                for name, body in self.members.items()
                if not name.startswith("edgetl.")
            }
        whole = self.with_manifest(**manifest)
        if "edgetl.sha256" not in self.members:
            return whole
        return whole.with_member("edgetl.sha256", _sha256(whole.members["edgetl.json"]).encode())

    def packed(self) -> bytes:
        """Return the file; no checksum is changed."""
        target = io.BytesIO(self.part)
        with zipfile.ZipFile(target, "a") as archive:
            for name, content in self.members.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        return target.getvalue()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

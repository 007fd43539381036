"""What tests of receivers show to them."""

from __future__ import annotations

from device.live.watching import Sighting


def sighting(label: str, changed: bool = True) -> Sighting:
    """A frame in which `label` is seen."""
    return Sighting(3, 5.0, "0", label, label, 0.9, True, True, 0.0, {label: 0.9}, None, 1.0, 0.1, changed)

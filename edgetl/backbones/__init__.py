"""Backbones: networks with ImageNet weights that turn a photo into an embedding."""

from __future__ import annotations

from .registry import BACKBONES, Backbone, load_backbone

__all__ = ["BACKBONES", "Backbone", "load_backbone"]

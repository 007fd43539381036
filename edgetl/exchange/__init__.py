"""Photos from other tools, and photos for them: Frigate, Teachable Machine, Edge Impulse; docs/exchange.md."""

from .photos import Collection, Photo, Skipped

__all__ = ["Collection", "Photo", "Skipped"]

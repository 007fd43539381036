"""Make PNG pictures smaller: 256 colors are enough for charts, and with dithering for screenshots."""

from __future__ import annotations

import io


def shrink(png: bytes, colors: int = 256, *, dither: bool = False) -> bytes:
    """Return a PNG with a palette of at most `colors` colors, or `png` itself if that is not smaller.

    Args:
        png: The picture.
        colors: Size of the palette.
        dither: Mix neighboring colors, so that soft shadows have no visible steps; the file is larger.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    reduced = picture.quantize(colors, Image.Quantize.MEDIANCUT)
    if dither:  # Pillow dithers only to a palette that is given
        reduced = picture.quantize(palette=reduced, dither=Image.Dither.FLOYDSTEINBERG)
    out = io.BytesIO()
    reduced.save(out, "PNG", optimize=True)
    return min(png, out.getvalue(), key=len)

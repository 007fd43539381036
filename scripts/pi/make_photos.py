"""Draw the photos for the complete round: ``python -m scripts.pi.make_photos FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from tests.tiny import photo

# at 256 pixels, the 224 of Lite0 are a plain crop, so that only the runtimes are compared
SIDE = 256
LABELS = ("blue", "red")
COUNTS = {"teach": 4, "ask": 2}


def main(folder: Path) -> None:
    """Write PNG photos to teach and to predict, with one folder per label."""
    for part, count in COUNTS.items():
        for label in LABELS:
            (folder / part / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                drawn = photo(label, number + (100 if part == "ask" else 0), SIDE)
                cv2.imwrite(
                    str(folder / part / label / f"{number}.png"), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

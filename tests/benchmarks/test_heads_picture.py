"""The picture of docs/heads.md: its title claims what the figures show, and it is current."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

from benchmarks import heads_picture
from benchmarks.heads import RESULT
from benchmarks.heads_page import PICTURE
from benchmarks.heads_targets import OFFLINE

CLAIM = "Sample by sample, the exact head is as accurate as training on all of them at once"


def k_shot(deep: float, offline: float) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Return results of two sets, where exact has an accuracy of .8."""
    shares = {"exact": 0.8, "Deep SLDA": deep, OFFLINE: offline}
    rows = {name: {k: {"accuracy": share} for k in heads_picture.SHOTS} for name, share in shares.items()}
    return {"flowers": rows, "<cells>": rows}


def texts(drawn: str) -> list[str]:
    """Return the texts of the picture."""
    return [node.text or "" for node in ET.fromstring(drawn).iter() if node.tag.endswith("text")]


def test_the_title_claims_only_what_the_figures_show() -> None:
    """Another head that is ahead, and a gap to offline training, are no conclusion in favor of exact."""
    assert CLAIM in texts(heads_picture.draw(k_shot(deep=0.75, offline=0.802)))
    for deep, offline in ((0.82, 0.8), (0.75, 0.83)):
        found = texts(heads_picture.draw(k_shot(deep, offline)))
        assert CLAIM not in found
        assert found[0] == "The accuracy of other heads, compared with the exact head"


def test_each_head_has_its_mean_difference_and_far_ones_are_arrows() -> None:
    """A head that is 60 points behind is at the end of the axis."""
    drawn = heads_picture.draw(k_shot(deep=0.2, offline=0.81))
    assert texts(drawn).count("−60.0") == texts(drawn).count("+1.0") == len(heads_picture.SHOTS)
    assert drawn.count('l9 -7v14z"') == len(heads_picture.SHOTS)


def test_the_picture_is_that_of_the_result() -> None:
    """`python -m benchmarks.heads_page` writes it."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    assert PICTURE.read_text(encoding="utf-8") == heads_picture.draw(result["k_shot"])

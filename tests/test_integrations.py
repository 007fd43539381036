"""The files in docs/integrations/ fit what edgetl publishes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the page needs its extra: pip install 'edgetl[serve]'")

from device.live.watching import UNKNOWN
from device.page.metrics import Meter, camera_metrics, machine_metrics, sample_metrics, text_of
from tests.device.live.seen import observation

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "integrations"
PAGE = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
FLOWS = sorted(path.name for path in FOLDER.glob("node-red-*.json"))


def metrics() -> dict[str, set[str]]:
    """Return the metrics by name, each with the names of its labels."""
    meter = Meter("camera")
    meter.see(observation("mug"))
    meter.see(observation(UNKNOWN))
    every = [*meter.metrics(), *camera_metrics("camera", "live", 15.0)]
    every += sample_metrics("camera", {"mug": 1}, {"mug": 1}, 1)
    every += machine_metrics({"model": "m", "backbone": "b", "runtime": "r"}, 50.0)
    found: dict[str, set[str]] = {}
    for line in text_of(every).splitlines():
        if not line.startswith("#"):
            name = re.match(r"\w+", line)
            assert name
            found.setdefault(name[0], set()).update(re.findall(r"(\w+)=\"", line))
    return found


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    """Every metric of the dashboard, with the labels by which it selects, groups and names."""
    dashboard = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
    known = metrics()
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    used = set()
    for target in targets:
        names = re.findall(r"edgetl_\w+", target["expr"])
        assert names
        used |= set(names)
        labels = set(
            re.findall(r"(\w+)=~", target["expr"]) + re.findall(r"{{(\w+)}}", target["legendFormat"])
        )
        for name in names:
            assert name in known, name
            assert labels - {"instance"} <= known[name], target
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert {"edgetl_temperature_celsius", "edgetl_unknown_ratio", "edgetl_samples"} <= used


def test_every_metric_is_documented() -> None:
    """And no other."""
    listed = set(re.findall(r"^\| `(edgetl_\w+)`", PAGE, re.MULTILINE))
    assert listed == {re.sub("_(bucket|sum|count)$", "", name) for name in metrics()}


def nodes(name: str) -> dict[str, dict[str, Any]]:
    """Return the nodes of a flow by their ids."""
    found = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    assert len({node["id"] for node in found}) == len(found)
    return {node["id"]: node for node in found}


@pytest.mark.parametrize("name", FLOWS)
def test_the_wires_of_a_flow_end_at_its_nodes(name: str) -> None:
    """And each node is on the tab."""
    found = nodes(name)
    (tab,) = (node["id"] for node in found.values() if node["type"] == "tab")
    for node in found.values():
        if node["type"] in ("tab", "mqtt-broker"):
            continue
        assert node["z"] == tab
        assert {target for port in node["wires"] for target in port} <= found.keys()
        assert found[node["broker"]]["type"] == "mqtt-broker" if "broker" in node else True


def test_the_flows_use_addresses_and_topics_that_exist() -> None:
    """The addresses of openapi.json with their methods, and the topics of docs/home-assistant.md."""
    specified = json.loads((ROOT / "device" / "page" / "openapi.json").read_text(encoding="utf-8"))
    asked = {
        (node["method"], node["url"].split(":8080")[1])
        for node in nodes("node-red-http.json").values()
        if node["type"] == "http request" and node["url"]
    }
    for method, path in asked:
        assert method.lower() in specified["paths"][path]
    topics = {node["topic"] for node in nodes("node-red-mqtt.json").values() if "topic" in node}
    documented = (ROOT / "docs" / "home-assistant.md").read_text(encoding="utf-8")
    for topic in topics:
        assert f"`{topic.replace('shed/camera', 'TOPIC')}`" in documented
    assert len(asked) == 2
    assert len(topics) == 5

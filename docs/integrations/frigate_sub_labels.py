"""Name what Frigate detects: predict the snapshot of each event, and set its sub label.

python frigate_sub_labels.py --frigate http://127.0.0.1:5000 --edgetl http://127.0.0.1:8080 --object person

Needs edgetl only as a client (`pip install edgetl`); `edgetl serve MODEL --no-camera` is the server.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections import OrderedDict
from typing import Any
from urllib.parse import quote, urlencode

from edgetl import Client, EdgetlError

_REMEMBERED = 1000  # events that are not asked for again


def main(words: list[str] | None = None) -> None:
    """Answer Frigate until Ctrl-C."""
    given = _arguments(words)
    client = Client(given.edgetl, token=given.token)
    done: OrderedDict[str, None] = OrderedDict()
    since = time.time() - given.back
    while True:
        try:
            for event in _events(given, since):
                if event["id"] not in done and not event.get("sub_label"):
                    done[event["id"]] = None
                    _answer(given, client, event)
            while len(done) > _REMEMBERED:
                done.popitem(last=False)
        except (OSError, ValueError, EdgetlError) as error:  # Frigate or edgetl is away: try again
            print(f"trying again: {error}", file=sys.stderr)
        if given.once:
            return
        time.sleep(given.every)


def _answer(given: argparse.Namespace, client: Client, event: dict[str, Any]) -> None:
    snapshot = f"{given.frigate}/api/events/{quote(event['id'])}/snapshot.jpg?crop=1"
    with urllib.request.urlopen(snapshot, timeout=10) as response:
        prediction = client.predict(response.read())
    if not prediction.known or prediction.probability < given.threshold:
        print(f"{event['id']}: unknown")
        return
    body = {"subLabel": prediction.label, "subLabelScore": round(prediction.probability, 4)}
    request = urllib.request.Request(
        f"{given.frigate}/api/events/{quote(event['id'])}/sub_label",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):
        print(f"{event['id']}: {prediction.label} {prediction.probability:.0%}")


def _events(given: argparse.Namespace, since: float) -> list[dict[str, Any]]:
    query = {"labels": given.object, "has_snapshot": 1, "after": since, "limit": 100}
    with urllib.request.urlopen(f"{given.frigate}/api/events?{urlencode(query)}", timeout=10) as response:
        found: list[dict[str, Any]] = json.load(response)
        return found


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frigate", default="http://127.0.0.1:5000", help="address of Frigate")
    parser.add_argument("--edgetl", default="http://127.0.0.1:8080", help="address of edgetl serve")
    parser.add_argument("--token", help="token of edgetl serve, where it needs one")
    parser.add_argument("--object", default="person", help="objects of Frigate to name, separated by commas")
    parser.add_argument("--threshold", type=float, default=0.8, help="minimum probability")
    parser.add_argument("--back", type=float, default=60, help="also answer events of the last seconds")
    parser.add_argument("--every", type=float, default=2, help="seconds between two requests")
    parser.add_argument("--once", action="store_true", help="ask once and end")
    given = parser.parse_args(words)
    given.frigate = given.frigate.rstrip("/")
    return given


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

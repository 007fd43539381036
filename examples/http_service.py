"""Teach and ask a device over the network: python examples/http_service.py http://localhost:8080 --label mug mug.jpg ...

On the device: edgetl serve mugs.tflite --no-camera
"""

import argparse

from edgetl import Client, ServerError

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("server")
parser.add_argument("photos", nargs="+")
parser.add_argument("--label", help="teach the photos this label instead of predicting them")
parser.add_argument("--token", help="needed for a server that was started with --host")
options = parser.parse_args()

client = Client(options.server, token=options.token)
for photo in options.photos:
    try:
        if options.label:
            print(f"{photo}: taught as sample {client.teach(photo, options.label).id}")
        else:
            seen = client.predict(photo)
            print(f"{photo}: {seen.label if seen.known else 'unknown'}, probability {seen.probability:.2f}")
    except ServerError as error:
        print(f"{photo}: {error}")

"""Do a fleet's integers survive Flower's secure aggregation (SecAgg+) exactly, and what does it cost?

Usage: ``.venv-fleet/bin/python -m benchmarks.fleet_secagg [--dimensions 1280] [--labels 10] [--devices 10]``

SecAgg+ adds vectors of numbers that are clipped, quantized and masked, so that the server learns only their sum. It is run here
with the functions of Flower that its workflow and its client modifier call, on both ends, without the exchange of keys: each
device adds the masks that it shares with every other device, and the server adds everything modulo 2**32. Integers larger than
the quantization range are split into parts of 16 bits, of which SecAgg+ adds up to 65,536 exactly.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine_info, parser_of, write_result
from device.model.codes import encode
from device.model.memory import Sums

RESULT = Path(__file__).parent / "results" / "fleet_secagg.json"
BITS = 16  # per part
PARTS = 4  # of an integer of 64 bits
_RANGE = 2**BITS
_MODULUS = 2**32
_SAMPLES = 50

Integers = NDArray[np.int64]


def split(values: Integers) -> NDArray[np.float64]:
    """Return the parts of integers [n], float64 [n, 4], each within half of 2**16 around 0; the last has the sign."""
    parts = np.empty((len(values), PARTS))
    rest = values.copy()
    for part in range(PARTS - 1):
        parts[:, part] = (rest + _RANGE // 2) % _RANGE - _RANGE // 2
        rest = (rest - parts[:, part].astype(np.int64)) >> BITS
    parts[:, -1] = rest
    return parts


def join(parts: Integers) -> Integers:
    """Return the integers [n] of parts, or of sums of parts, [n, 4]."""
    weights = np.array([1 << (BITS * part) for part in range(PARTS)], np.int64)
    values: Integers = parts @ weights
    return values


def vector(sums: Sums) -> Integers:
    """Return the numbers of statistics as one vector: counts, sums and the triangle of the second moment."""
    upper = np.triu_indices(sums.dimensions)
    return np.concatenate([sums.numbers, sums.sums.ravel(), sums.gram[upper].astype(np.int64)])


def main() -> None:
    """Add the statistics of devices by SecAgg+ and compare the sum with the exact one."""
    parser = parser_of(__doc__, out=RESULT)
    parser.add_argument("--dimensions", type=int, default=1280)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--devices", type=int, default=10)
    options = parser.parse_args()
    from flwr.common.secure_aggregation.ndarrays_arithmetic import (
        factor_combine,
        factor_extract,
        parameters_addition,
        parameters_mod,
        parameters_subtraction,
    )
    from flwr.common.secure_aggregation.quantization import dequantize, quantize
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

    rng = np.random.default_rng(0)
    devices, half = range(options.devices), _RANGE / 2
    vectors, uploads, seconds = [], [], []
    for device in devices:
        codes = encode(rng.standard_normal((_SAMPLES, options.dimensions)))
        # every device has every label: SecAgg+ adds vectors, so their meaning must be agreed on before
        labels = [f"label {number % options.labels}" for number in range(_SAMPLES)]
        vectors.append(vector(Sums.of(codes, labels)))
        started = time.process_time()
        quantized = quantize([split(vectors[-1])], half, _RANGE)
        masked = factor_combine(_RANGE, quantized)
        shapes = [part.shape for part in masked]
        for one, other in itertools.combinations(devices, 2):
            if device in (one, other):
                mask = pseudo_rand_gen(f"{one} {other}".encode().ljust(32), _MODULUS, shapes)
                masked = (
                    parameters_addition(masked, mask)
                    if device == one
                    else parameters_subtraction(masked, mask)
                )
        uploads.append(parameters_mod(masked, _MODULUS))
        seconds.append(time.process_time() - started)
    total = uploads[0]
    for upload in uploads[1:]:
        total = parameters_addition(total, upload)
    factor, recovered = factor_extract(parameters_mod(total, _MODULUS))
    mean = (dequantize(recovered, half, _RANGE)[0] - (options.devices - 1) * half) * (_RANGE / factor)
    parts = np.rint(mean * options.devices).astype(np.int64)
    exact = np.sum(vectors, axis=0)
    # Flower sends them as int64, of which 32 bits are used
    upload_bytes = sum(part.size * 4 for part in uploads[0])
    result: dict[str, Any] = {
        "machine": machine_info(0),
        "equal": bool(np.array_equal(join(parts), exact)),
        "numbers": len(exact),
        "megabytes": upload_bytes / 1e6,
        "seconds_per_device": float(np.mean(seconds)),
        "hidden": float(np.abs(np.corrcoef(uploads[0][1][:, 0], split(vectors[0])[:, 0])[0, 1])),
    }
    print(
        f"sum equal: {result['equal']}; {result['numbers']} numbers, {result['megabytes']:.1f} MB and"
        f" {result['seconds_per_device']:.1f} s of processor time per device"
    )
    write_result(result, options.out)
    sys.exit(0 if result["equal"] else 1)


if __name__ == "__main__":
    main()

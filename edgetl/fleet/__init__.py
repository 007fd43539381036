"""Fleets: devices that learn together over Flower; `device.fleet` has the statistics, this package the network.

Flower is imported only by the processes that this package starts, so that everything else works without it.
"""

PORT = 8765
"""Port of a fleet's server, if no other is chosen."""

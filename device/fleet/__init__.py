"""A fleet: devices that add their exact statistics and so learn together, without sending their samples."""

from .checks import check_contribution
from .contribution import Contribution, FleetModel, contribution_of, head_of
from .packing import pack_contribution, unpack_contribution
from .total import Total

__all__ = [
    "Contribution",
    "FleetModel",
    "Total",
    "check_contribution",
    "contribution_of",
    "head_of",
    "pack_contribution",
    "unpack_contribution",
]

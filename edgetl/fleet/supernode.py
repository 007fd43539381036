"""The process of Flower's SuperNode, which ends when edgetl does.

Run as ``python -m edgetl.fleet.supernode`` with the options of ``flower-supernode``.
"""

from __future__ import annotations

from .processes import follow_parent


def main() -> None:
    """Run the SuperNode."""
    from flwr.supernode.cli import flower_supernode

    follow_parent()
    flower_supernode()


if __name__ == "__main__":
    main()

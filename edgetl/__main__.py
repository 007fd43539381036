"""``python -m edgetl``: the same as the ``edgetl`` command."""

from edgetl.cli import main

if __name__ == "__main__":
    main()

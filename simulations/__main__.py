"""`wayword-sim` and `python -m simulations`: starts even without its libraries, to say which one is missing."""

from __future__ import annotations

import sys

from shared import cli


def entry() -> int:
    """Console script."""
    return cli.run("wayword-sim", _main)


def _main() -> int:
    from simulations.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(entry())

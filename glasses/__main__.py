"""`wayword-glasses` and `python -m glasses`: starts even without its libraries, to say which one is missing."""

from __future__ import annotations

import sys

from shared import cli


def entry() -> int:
    """Console script."""
    return cli.run("wayword-glasses", _main)


def _main() -> int:
    from glasses.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(entry())

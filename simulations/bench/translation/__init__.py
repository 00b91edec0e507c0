"""`wayword-sim bench translation`: what is translated how well, how fast and out of what.

Parts are modules of this package; `parts` says what one looks like, `command` runs them.
"""

from simulations.bench.translation.command import add_parser

__all__ = ["add_parser"]

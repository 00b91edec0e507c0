"""The glasses-phone link on the emulated air: what it carries, how soon, and what it says of itself."""

from simulations.bench.link.command import add_parser

__all__ = ["add_parser"]

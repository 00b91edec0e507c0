"""Whether Apertium may be used: a module of its own, because settings must not wait for the runtimes of models."""

from __future__ import annotations

from enum import StrEnum


class ApertiumUse(StrEnum):
    """Whether Apertium may be used."""

    AUTO = "auto"
    """Where it is installed, for directions without a pack."""
    OFF = "off"

"""What an external model can do; apart, so that the settings need not import the model's client."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What the endpoint is asked for."""

    TEXT = "text"
    VISION = "vision"
    """Pictures of lines, and text."""

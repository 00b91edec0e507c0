"""What may be chosen of the ensemble: a module of its own, as settings must not wait for the runtimes of models."""

from __future__ import annotations

from enum import StrEnum


class TesseractUse(StrEnum):
    """Whether Tesseract may be used."""

    AUTO = "auto"
    """Where it is installed."""
    OFF = "off"


class Combining(StrEnum):
    """How the readings of one line are combined; see `shared.models.ensemble`."""

    RULE = "rule"
    WEIGHTS = "weights"

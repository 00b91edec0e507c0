"""What a model runs on. Apart from `session`, so that settings can name it without loading ONNX Runtime."""

from __future__ import annotations

from enum import StrEnum


class Device(StrEnum):
    """What a model runs on."""

    AUTO = "auto"
    """A GPU where ONNX Runtime has a provider for one, else the CPU."""
    CPU = "cpu"
    GPU = "gpu"

"""How a sign is to be read and translated: what an experiment may vary from call to call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Which of the installed means are used for one call. A mean that is not installed is left out silently.

    Attributes:
        beam: width of the translator's search; None for the service's own.
        second_engine: whether a second recogniser (Tesseract) reads what the packs cannot, or are unsure of.
        rerank: whether candidate translations are ordered with the help of the reverse direction.
        endpoint: whether an external model may be asked.
        arm: name of the experiment's arm that says so, for those who count; how to read does not hang on it.
    """

    beam: int | None = None
    second_engine: bool = True
    rerank: bool = True
    endpoint: bool = True
    arm: str = ""


DEFAULT_PLAN: Final = ReadPlan()

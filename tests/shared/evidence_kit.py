"""Evidence of signs for tests: plausible by default, any number replaceable."""

from __future__ import annotations

from typing import Any

from shared.models.sign_evidence import LineEvidence, SignEvidence


def line_of(**changes: Any) -> LineEvidence:
    """A clear line of Latin text."""
    fields: dict[str, Any] = {
        "characters": (0.99, 0.95, 0.97),
        "script": "latin",
        "script_probability": 0.98,
        "height_px": 24.0,
        "sharpness": 0.3,
        "contrast": 0.6,
        "brightness": 0.5,
        "noise": 0.01,
        "known_words": 1.0,
        "spaces": 3.0,
        "agreement": None,
        "detection": 0.9,
        "recognition": 0.9,
        "withheld": False,
    }
    return LineEvidence(**{**fields, **changes})


def sign_of(*lines: LineEvidence, **changes: Any) -> SignEvidence:
    """A Portuguese sign that the phrasebook knows; of one clear line unless lines are given."""
    fields: dict[str, Any] = {
        "recogniser": "ocr-small-rec",
        "lines": lines or (line_of(),),
        "source": "pt",
        "language": 0.98,
        "engine": "phrasebook",
        "complete": True,
        "translation": 0.95,
        "phrase_score": 1.0,
        "mean_log_probability": None,
        "minimum_log_probability": None,
        "quality": None,
    }
    return SignEvidence(**{**fields, **changes})

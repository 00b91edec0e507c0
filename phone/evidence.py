"""What one look at a line was seen to be like, for whoever has to judge it."""

from __future__ import annotations

from shared.geometry import ImageBgr
from shared.models.calibration import LineSignals
from shared.models.picture_quality import picture_quality
from shared.models.seen_lines import Look
from shared.models.sign_evidence import LineEvidence


def line_evidence(
    look: Look | None,
    signals: LineSignals | None,
    *,
    height_px: float,
    detection: float,
    right: float,
    crop: ImageBgr | None,
    withheld: bool,
) -> LineEvidence:
    """Put the evidence of a line together.

    Args:
        look: None where the line was not looked at, or nothing was read.
        signals: those of its calibration; None where nothing was read.
        height_px: of the line as the camera saw it, in pixels.
        detection: the detector's confidence, 0..1.
        right: P(the line was read right), calibrated.
        crop: its picture, BGR uint8; None where it is not at hand.
        withheld: whether the wearer is not shown it.
    """
    quality = None if crop is None else picture_quality(crop)
    return LineEvidence(
        characters=() if look is None else look.recognition.character_confidences,
        script=None if signals is None or signals.script is None else signals.script.value,
        script_probability=1.0 if look is None else look.script.probability,
        height_px=height_px,
        sharpness=None if quality is None else quality.sharpness,
        contrast=None if quality is None else quality.contrast,
        brightness=None if quality is None else quality.brightness,
        noise=None if quality is None else quality.noise,
        known_words=None if signals is None else signals.known,
        spaces=None if signals is None else signals.spaces,
        agreement=None if signals is None else signals.agreement,
        detection=detection,
        recognition=right,
        withheld=withheld,
    )

"""What asking the cloud is expected to put right: the metamodel's estimate, or hand-set chances in its place."""

from __future__ import annotations

from phone.cascade.constants import Policy
from phone.cascade.inputs import Recogniser, Signals, Trouble


def expected_gain(signals: Signals, policy: Policy) -> float:
    """Signs put right by asking, per sign asked about; with a sound estimate its gain, which may be negative.

    Without one, falls as any confidence rises::

        P(text wrong) * P(cloud reads it) + P(text right, translation wrong) * P(cloud translates it)

    The metamodel learned from a cloud that read few scripts more than the phone. So where the picture shows one that
    the phone's recogniser cannot write, the gain is no less than P(wrong) * P(cloud reads it); the latter by hand, too.

    Args:
        signals: sound (`soundness`), with sound confidences where there is no estimate.
        policy: the constants.
    """
    if signals.estimate is not None:
        if signals.trouble is Trouble.SCRIPT and signals.foreign_script is not None:
            return max(signals.estimate.gain, (1.0 - signals.estimate.right) * policy.help_script)
        return signals.estimate.gain
    text_right = signals.recognition * signals.script
    translation_wrong = 1.0 - signals.language * signals.translation
    with_reading = _help_with_reading(signals, policy)
    # Never more than with the reading: else a better reading would make asking more attractive.
    with_translation = min(_help_with_translation(signals, policy), with_reading)
    return (1.0 - text_right) * with_reading + text_right * translation_wrong * with_translation


def chance_right(signals: Signals) -> float:
    """P(the phone's reading is right): the estimate's, else the product of the stages."""
    return plain_confidence(signals) if signals.estimate is None else signals.estimate.right


def plain_confidence(signals: Signals) -> float:
    """The product of the calibrated stages."""
    return signals.recognition * signals.script * signals.language * signals.translation


def _help_with_reading(signals: Signals, policy: Policy) -> float:
    if signals.trouble is Trouble.TOO_SMALL:
        return policy.help_small_text
    if signals.trouble is Trouble.SCRIPT:
        return policy.help_script
    return policy.help_reading_tiny if signals.recogniser is Recogniser.TINY else policy.help_reading_small


def _help_with_translation(signals: Signals, policy: Policy) -> float:
    return policy.help_language if signals.trouble is Trouble.LANGUAGE_UNKNOWN else policy.help_translation

"""Whether a sign is kept on the phone or escalated to the cloud: one pure function.

The cloud is asked when what it is expected to put right is worth more than what asking costs. Both sides are in one
unit, *the chance of one more sign read and translated correctly*::

    gain  = P(text wrong) * P(cloud reads it) + P(text right, translation wrong) * P(cloud translates it)
    price = base + delay + energy + data

Before the two are compared, every rule that forbids the call is tried, the wearer's will first. No I/O, no clock, no
globals: the daemon and the simulator run the very same function.
"""

from __future__ import annotations

from dataclasses import dataclass

from phone.cascade.decision import Action, Decision, Rule
from phone.cascade.inputs import CloudState, Conditions, Recogniser, Signals, Trouble
from phone.cascade.privacy import CloudUse

__all__ = ["CloudState", "Conditions", "Decision", "Policy", "Recogniser", "Rule", "Signals", "Trouble", "decide"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The cascade's constants. Chances and prices share the unit of the module's formula.

    Attributes:
        help_reading_tiny: chance that the cloud reads a text that the phone's tiny recogniser read wrongly: the cloud
            has the small one, which reads half of what tiny misses.
        help_reading_small: the same where the phone used the small recogniser, and the cloud has little to add.
        help_script: the same for a script that the phone's recogniser does not know.
        help_small_text: the same for letters too small to read; nobody reads those.
        help_translation: chance that the cloud translates a text that the phone translated wrongly or not at all.
        help_language: the same where the language is not clear: the cloud has no more to go by than the phone.
        base_price: what asking at all must be worth.
        price_per_second: of waiting for an answer that then replaces the one on show.
        price_per_budget: of spending all of what may still leave today.
        price_of_energy: of one call on an empty battery; grows as the battery empties, zero while charging.
        lowest_battery_percent: below it, and not charging, nothing is escalated.
    """

    help_reading_tiny: float = 0.5
    help_reading_small: float = 0.25
    help_script: float = 0.5
    help_small_text: float = 0.02
    help_translation: float = 0.2
    help_language: float = 0.02
    base_price: float = 0.03
    price_per_second: float = 0.01
    price_per_budget: float = 1.0
    price_of_energy: float = 0.10
    lowest_battery_percent: int = 5

    def __post_init__(self) -> None:
        # A better reading must never make escalation more attractive: `decide` is monotone in every confidence only so.
        with_reading = min(self.help_reading_tiny, self.help_reading_small, self.help_script)
        if not self.help_language <= self.help_translation <= with_reading:
            raise ValueError("the cloud must help most with the reading, and least with the language")


def decide(signals: Signals, conditions: Conditions, policy: Policy) -> Decision:
    """Keep the phone's reading or ask the cloud."""
    forbidden = _wearer_forbids(signals, conditions) or _cloud_cannot(signals, conditions, policy)
    if forbidden is not None:
        rule, reason = forbidden
        return Decision(Action.KEEP, rule, reason, 0.0, 0.0)
    gain = expected_gain(signals, policy)
    price = price_of_asking(signals, conditions, policy)
    numbers = f"expected gain {gain:.3f}, price {price:.3f}"
    if gain > price:
        return Decision(Action.ESCALATE, Rule.UNSURE, f"{_doubt(signals)}; {numbers}", gain, price)
    right = signals.recognition * signals.script * signals.language * signals.translation
    if right >= 0.5:
        return Decision(Action.KEEP, Rule.SURE, f"sure enough: {min(right, 0.99):.0%} right; {numbers}", gain, price)
    return Decision(
        Action.KEEP, Rule.HOPELESS, f"the cloud would hardly help: {_doubt(signals)}; {numbers}", gain, price
    )


def expected_gain(signals: Signals, policy: Policy) -> float:
    """Chance that asking the cloud makes a wrong answer right, 0..1; falls as any confidence rises."""
    text_right = signals.recognition * signals.script
    translation_wrong = 1.0 - signals.language * signals.translation
    with_reading = _help_with_reading(signals, policy)
    # Never more than with the reading: else a better reading would make asking more attractive.
    with_translation = min(_help_with_translation(signals, policy), with_reading)
    return (1.0 - text_right) * with_reading + text_right * translation_wrong * with_translation


def price_of_asking(signals: Signals, conditions: Conditions, policy: Policy) -> float:
    """What the call costs, in the unit of the gain; grows with delay, an emptying battery and the size of the call."""
    empty = 0.0 if conditions.charging or conditions.battery_percent is None else 1.0 - conditions.battery_percent / 100
    share = signals.request_bytes / max(conditions.budget_left_bytes, 1)
    return (
        policy.base_price
        + policy.price_per_second * conditions.expected_seconds
        # Squared: the first half of the battery is cheap, the last tenth dear.
        + policy.price_of_energy * empty**2
        + policy.price_per_budget * share
    )


def _help_with_reading(signals: Signals, policy: Policy) -> float:
    if signals.trouble is Trouble.TOO_SMALL:
        return policy.help_small_text
    if signals.trouble is Trouble.SCRIPT:
        return policy.help_script
    return policy.help_reading_tiny if signals.recogniser is Recogniser.TINY else policy.help_reading_small


def _help_with_translation(signals: Signals, policy: Policy) -> float:
    return policy.help_language if signals.trouble is Trouble.LANGUAGE_UNKNOWN else policy.help_translation


def _wearer_forbids(signals: Signals, conditions: Conditions) -> tuple[Rule, str] | None:
    if conditions.cloud_use is CloudUse.NEVER:
        return Rule.NEVER, "nothing leaves the phone: the wearer switched the cloud off"
    if conditions.cloud_use is CloudUse.ASK and not conditions.consent:
        return Rule.CONSENT, "the wearer's consent is asked for and not given"
    if signals.private is not None:
        return Rule.PRIVATE, f"private: the text looks like {signals.private}"
    if signals.whole_frame:
        return Rule.FRAME, "whole frames never leave the phone, and no line could be cut out of this one"
    if not conditions.ledger_writable:
        return Rule.NO_LEDGER, "the ledger cannot be written, and nothing leaves unrecorded"
    return None


def _cloud_cannot(signals: Signals, conditions: Conditions, policy: Policy) -> tuple[Rule, str] | None:
    if conditions.cloud is CloudState.NOT_CONFIGURED:
        return Rule.NO_CLOUD, "no cloud"
    if conditions.cloud is CloudState.DOWN:
        return Rule.CLOUD_DOWN, "the cloud did not answer lately"
    if conditions.cloud is CloudState.BUSY:
        return Rule.CLOUD_BUSY, "enough calls to the cloud are under way"
    if signals.direction_refused:
        return Rule.DIRECTION, "the cloud does not serve this direction either"
    if signals.request_bytes > conditions.budget_left_bytes:
        left = conditions.budget_left_bytes
        return Rule.BUDGET, f"{signals.request_bytes} bytes exceed today's remaining budget of {left} bytes"
    if conditions.expected_seconds >= conditions.life_left_seconds:
        return Rule.LATE, f"the answer would come too late: about {conditions.expected_seconds:.1f} s"
    battery = conditions.battery_percent
    if battery is not None and not conditions.charging and battery < policy.lowest_battery_percent:
        return Rule.BATTERY, f"the battery is at {battery} %"
    return None


def _doubt(signals: Signals) -> str:
    """What is most in doubt, in words."""
    match signals.trouble:
        case Trouble.NO_TEXT:
            return "no text could be read"
        case Trouble.TOO_SMALL:
            return "the letters are too small"
        case Trouble.SCRIPT:
            return "the script is not one the phone reads"
        case Trouble.DIRECTION:
            return "the phone has no pack for this language"
        case Trouble.LANGUAGE_UNKNOWN:
            return "the language is not clear"
        case Trouble.LOW_CONFIDENCE:
            return f"the text is hardly legible ({signals.recognition:.0%} sure)"
        case None:
            pass
    stages = {
        "the text": signals.recognition,
        "the script": signals.script,
        "the language": signals.language,
        "the translation": signals.translation,
    }
    stage = min(stages, key=lambda name: stages[name])
    return f"unsure of {stage} ({stages[stage]:.0%})"

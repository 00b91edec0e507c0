"""Each decision in one line that the wearer understands, with the numbers that decided.

Gains and prices are said as signs right of a hundred such signs.
"""

from __future__ import annotations

from phone.cascade.inputs import Conditions, NetworkKind, Signals, Thermal, Trouble
from phone.cascade.price import Price
from phone.cascade.soundness import is_chance


def asked(signals: Signals, gain: float, price: Price) -> str:
    """Why the cloud is asked."""
    return f"{doubt(signals)}; asking should put {_points(gain)} of 100 such signs right, at a price of {_bill(price)}"


def asked_uncertified(right: float, alpha: float, gain: float, price: Price) -> str:
    """Why the cloud is asked about a reading that would do for a small gain, were it certified."""
    return (
        f"not among the readings of which at most {alpha:.0%} are wrong ({_sure(right)} right); asking should put "
        f"{_points(gain)} of 100 such signs right, at a price of {_bill(price)}"
    )


def held(signals: Signals, gain: float, price: Price, seconds: float) -> str:
    """Why the cloud is not asked yet."""
    return (
        f"{doubt(signals)}; worth asking along with others ({_points(gain)} of 100 such signs right, price "
        f"{_points(price.shared)}), not alone ({_points(price.alone)}): waits up to {seconds:.1f} s for company"
    )


def sure(right: float, alpha: float | None, gain: float, price: Price) -> str:
    """Why a reading is kept that is probably right.

    Args:
        right: P(right).
        alpha: error rate of the certificate that covers it; None where none does.
        gain: of asking.
        price: of asking.
    """
    proof = "" if alpha is None else f", and of readings like it at most {alpha:.0%} are wrong"
    return f"sure enough: {_sure(right)} right{proof}; {_not_worth(gain, price)}"


def hopeless(signals: Signals, gain: float, price: Price) -> str:
    """Why a reading is kept that is probably wrong."""
    return f"the cloud would hardly help: {doubt(signals)}; {_not_worth(gain, price)}"


def dear(signals: Signals, conditions: Conditions, gain: float, price: Price, *, slow: bool) -> str:
    """Why a call that would help is not made; names what makes it dear."""
    parts = {
        _battery(conditions): price.energy,
        f"the wait of about {conditions.expected_seconds + conditions.delivery_seconds:.1f} s": price.waiting,
        f"{signals.request_bytes} of the {conditions.budget_left_bytes} bytes left today": price.data,
        "a slow cloud or network" if slow else "the picture that would leave": price.asking,
    }
    reason = max(parts, key=lambda name: parts[name])
    return (
        f"{doubt(signals)}; asking should put {_points(gain)} of 100 such signs right but its price is "
        f"{_points(price.alone)}, most of it for {reason}"
    )


def late(signals: Signals, chance: float, gain: float, price: Price) -> str:
    """Why a call is not made that would be worth its price if only its answer came in time for sure.

    Args:
        signals: of the sign.
        chance: P(the answer comes in time).
        gain: with that chance.
        price: of asking.
    """
    return (
        f"{doubt(signals)}, but its answer would be in time only in {100 * chance:.0f} of 100 cases and then be worth "
        f"{_points(gain)}, for a price of {_points(price.alone)}"
    )


def doubt(signals: Signals) -> str:
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
            return f"the text is hardly legible{_percent(signals.recognition)}"
        case None:
            pass
    stages = {
        "the text": signals.recognition,
        "the script": signals.script,
        "the language": signals.language,
        "the translation": signals.translation,
    }
    known = {stage: chance for stage, chance in stages.items() if is_chance(chance)}
    if not known:
        return "unsure" if signals.estimate is None else f"{_sure(signals.estimate.right)} sure of it"
    stage = min(known, key=lambda name: known[name])
    if signals.estimate is not None:
        return f"{_sure(signals.estimate.right)} sure of it, least of {stage}"
    return f"unsure of {stage}{_percent(known[stage])}"


def _percent(chance: float) -> str:
    return f" ({chance:.0%})" if is_chance(chance) else ""


def _sure(right: float) -> str:
    # Nothing a machine has read is certain.
    return f"{min(right, 0.99):.0%}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _not_worth(gain: float, price: Price) -> str:
    if gain <= 0:
        return "asking would put nothing right"
    return f"asking would put {_points(gain)} of 100 such signs right, for a price of {_points(price.alone)}"


def _bill(price: Price) -> str:
    """The price with its parts, the largest first."""
    parts = {"asking": price.asking, "waiting": price.waiting, "battery": price.energy, "data": price.data}
    named = sorted(parts.items(), key=lambda part: -part[1])
    return f"{_points(price.alone)} ({', '.join(f'{name} {_points(part)}' for name, part in named if part >= 5e-4)})"


def _battery(conditions: Conditions) -> str:
    percent = conditions.battery_percent
    level = "a battery of unknown charge" if percent is None else f"the battery at {percent:.0f} %"
    warm = " in a warm phone" if conditions.thermal is Thermal.WARM else ""
    asleep = conditions.network is NetworkKind.CELLULAR and conditions.radio_open_seconds <= 0
    return f"{level}{warm}, with the mobile radio asleep" if asleep else f"{level}{warm}"

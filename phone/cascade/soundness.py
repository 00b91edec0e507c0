"""Numbers that are missing or impossible, before anybody calculates with them.

What can be replaced by a safe guess is; what cannot is named, and the reading is then kept on the phone. Nothing here
raises, whatever it is given.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from phone.cascade.inputs import Conditions, Signals
from shared.models.estimate import Estimate

MAX_BYTES: Final = 1 << 40
"""No call and no budget is larger; a number beyond it is taken for it."""
MAX_SECONDS: Final = 1e6
"""No time is longer; a number beyond it is taken for it."""
MAX_VALUE: Final = 100.0
"""No sign is worth more than so many ordinary ones."""


def sound_estimate(estimate: Estimate | None) -> Estimate | None:
    """The estimate; None where a number of it is missing or no probability."""
    if estimate is None or not all(map(is_chance, (estimate.right, estimate.helped, estimate.harmed))):
        return None
    return estimate


def sound_signals(signals: Signals) -> Signals:
    """The signals, without an impossible estimate or value."""
    value = signals.value if _is_number(signals.value) and 0 <= signals.value <= MAX_VALUE else 1.0
    return replace(signals, estimate=sound_estimate(signals.estimate), value=value)


def sound_conditions(conditions: Conditions) -> Conditions:
    """The conditions, with a safe guess for every number that has one.

    An impossible battery is an unknown one, an impossible radio window a closed one, an impossible budget a spent one,
    an impossible 90th percentile an unknown one. Times stay as they are (`unknown_time`), but for their size.
    """
    battery, late, budget = conditions.battery_percent, conditions.late_seconds, conditions.budget_left_bytes
    window = conditions.radio_open_seconds
    return replace(
        conditions,
        battery_percent=battery if battery is not None and _is_number(battery) and 0 <= battery <= 100 else None,
        late_seconds=min(late, MAX_SECONDS) if late is not None and _is_number(late) and late >= 0 else None,
        budget_left_bytes=min(budget, MAX_BYTES) if _is_number(budget) and budget > 0 else 0,
        radio_open_seconds=min(window, MAX_SECONDS) if _is_number(window) and window > 0 else 0.0,
        expected_seconds=min(conditions.expected_seconds, MAX_SECONDS),
        delivery_seconds=min(conditions.delivery_seconds, MAX_SECONDS),
        life_left_seconds=min(conditions.life_left_seconds, MAX_SECONDS),
    )


def unknown_size(signals: Signals) -> bool:
    """Whether it is not known how much would leave the phone."""
    return not (_is_number(signals.request_bytes) and 0 <= signals.request_bytes <= MAX_BYTES)


def unknown_time(conditions: Conditions) -> bool:
    """Whether it is not known when an answer would come, or until when it is of use."""
    times = (conditions.expected_seconds, conditions.delivery_seconds)
    return not all(_is_number(time) and time >= 0 for time in times) or math.isnan(conditions.life_left_seconds)


def unknown_confidence(signals: Signals) -> str | None:
    """The first basic confidence that is no probability, in words; None where all are."""
    stages = {
        "the text": signals.recognition,
        "the script": signals.script,
        "the language": signals.language,
        "the translation": signals.translation,
    }
    return next((stage for stage, chance in stages.items() if not is_chance(chance)), None)


def is_chance(value: float) -> bool:
    """Whether a number is a probability."""
    return _is_number(value) and 0 <= value <= 1


def _is_number(value: float) -> bool:
    # Booleans are integers to Python; a comparison with infinity sorts out nan without converting a huge integer.
    return not isinstance(value, bool) and -math.inf < value < math.inf

"""What outlasts one decision: states that are left later than they are entered, so that nothing flaps."""

from __future__ import annotations

from phone.cascade.constants import Policy
from phone.cascade.decision import CascadeMemory
from phone.cascade.inputs import Conditions
from phone.cascade.price import late_seconds
from phone.cascade.soundness import unknown_time


def remember(memory: CascadeMemory, conditions: Conditions, policy: Policy) -> CascadeMemory:
    """The states as of now.

    A battery or a delay that is not known leaves its state as it was.

    Args:
        memory: the states as they were.
        conditions: sound (`soundness.sound_conditions`).
        policy: the constants.
    """
    saving, empty, slow = memory.saving, memory.empty, memory.slow
    battery = conditions.battery_percent
    if conditions.charging:
        saving = empty = False
    elif battery is not None:
        saving = battery < policy.save_below_percent or (saving and battery <= policy.save_until_percent)
        empty = battery < policy.lowest_battery_percent or (empty and battery < policy.awake_from_percent)
    if not unknown_time(conditions):
        late = late_seconds(conditions, policy)
        slow = late >= policy.slow_seconds or (slow and late >= policy.slow_leave * policy.slow_seconds)
    return CascadeMemory(saving=saving, slow=slow, empty=empty)

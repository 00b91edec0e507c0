"""What forbids a call, whatever it would gain: the wearer's will first. Every policy obeys these."""

from __future__ import annotations

from phone.cascade.constants import Policy
from phone.cascade.decision import CascadeMemory, Rule
from phone.cascade.inputs import CloudState, Conditions, NetworkKind, Signals, Thermal
from phone.cascade.privacy import CloudUse
from phone.cascade.soundness import unknown_size, unknown_time

Forbidden = tuple[Rule, str]
"""Which rule forbids, and why in one line that the wearer understands."""


def forbidden(signals: Signals, conditions: Conditions, memory: CascadeMemory, policy: Policy) -> Forbidden | None:
    """The first rule that forbids the call; None where it is allowed.

    Args:
        signals: sound (`soundness`).
        conditions: sound.
        memory: as of now (`hysteresis.remember`).
        policy: the constants.
    """
    return (
        _wearer_forbids(signals, conditions)
        or _cloud_cannot(signals, conditions)
        or _not_known(signals, conditions)
        or _too_late(conditions)
        or _phone_cannot(conditions, memory, policy)
    )


def _wearer_forbids(signals: Signals, conditions: Conditions) -> Forbidden | None:
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


def _cloud_cannot(signals: Signals, conditions: Conditions) -> Forbidden | None:
    if conditions.cloud is CloudState.NOT_CONFIGURED:
        return Rule.NO_CLOUD, "no cloud"
    if conditions.network is NetworkKind.NONE:
        return Rule.NO_NETWORK, "the phone is offline"
    if conditions.network is NetworkKind.CAPTIVE:
        return Rule.NO_NETWORK, "the network wants a sign-in first"
    if conditions.cloud is CloudState.DOWN:
        return Rule.CLOUD_DOWN, "the cloud did not answer lately"
    if conditions.cloud is CloudState.BUSY:
        return Rule.CLOUD_BUSY, "enough calls to the cloud are under way"
    if signals.direction_refused:
        return Rule.DIRECTION, "the cloud does not serve this direction or read this script either"
    return None


def _not_known(signals: Signals, conditions: Conditions) -> Forbidden | None:
    if unknown_size(signals):
        return Rule.FALLBACK, "kept to be safe: it is not known how much would leave the phone"
    if unknown_time(conditions):
        return Rule.FALLBACK, "kept to be safe: it is not known how long an answer would take"
    left = conditions.budget_left_bytes
    if signals.request_bytes > left:
        return Rule.BUDGET, f"{signals.request_bytes} bytes exceed today's remaining budget of {left} bytes"
    return None


def _too_late(conditions: Conditions) -> Forbidden | None:
    """Where the expected answer is too late, it comes in time less often than not."""
    expected = conditions.expected_seconds + conditions.delivery_seconds
    left = max(conditions.life_left_seconds, 0.0)
    if expected < left:
        return None
    return Rule.LATE, f"the answer would come too late: in about {expected:.1f} s, of use for {left:.1f} s"


def _phone_cannot(conditions: Conditions, memory: CascadeMemory, policy: Policy) -> Forbidden | None:
    if conditions.thermal is Thermal.HOT:
        return Rule.HOT, "the phone is hot and does nothing that can be left undone"
    if memory.empty:
        battery = conditions.battery_percent
        level = "nearly empty" if battery is None else f"at {battery:.0f} %"
        return Rule.BATTERY, f"the battery is {level}: nothing is asked until {policy.awake_from_percent} % or charging"
    return None

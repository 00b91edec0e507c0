"""What asking the cloud costs: joules of the radio, and prices in the unit of the gain.

The radio's power model is that of Huang et al. 2012, "A Close Examination of Performance and Power Characteristics of
4G LTE Networks" (MobiSys), measured on LTE phones of its time: a cellular radio that wakes pays for a promotion, and
after its last byte stays in a high-power tail that takes far more energy than a strip of a few kilobytes. Newer phones
and 5G differ; what that changes is studied by `wayword-sim sweep`, where such constants carry their uncertainty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from phone.cascade.constants import Policy
from phone.cascade.inputs import Conditions, NetworkKind, Signals, Thermal
from shared.link import NINE_IN_TEN

CELLULAR_TAIL_S: Final = 11.576
"""How long an LTE radio stays awake after its last byte (Huang et al. 2012)."""
REPLY_BYTES: Final = 1_000
"""Assumed size of the cloud's answer."""
MAX_ACTIVE_S: Final = 20.0
"""A call is never under way longer."""


@dataclass(frozen=True, slots=True)
class RadioPower:
    """Power model of one radio (Huang et al. 2012).

    Attributes:
        promotion_s, promotion_w: waking up.
        tail_s, tail_w: staying awake after the last byte.
        base_w: while a call is under way.
        up_j_per_byte, down_j_per_byte: on top, for what is sent and received.
    """

    promotion_s: float
    promotion_w: float
    tail_s: float
    tail_w: float
    base_w: float
    up_j_per_byte: float
    down_j_per_byte: float


_MW_PER_MBPS: Final = 1e-3 / 125_000
"""One mW per Mbit/s is so many joules per byte."""
CELLULAR: Final = RadioPower(
    0.2601, 1.2107, CELLULAR_TAIL_S, 1.0600, 1.2880, 438.39 * _MW_PER_MBPS, 51.97 * _MW_PER_MBPS
)
WIFI: Final = RadioPower(0.0791, 0.1244, 0.2381, 0.1193, 0.1329, 283.17 * _MW_PER_MBPS, 137.01 * _MW_PER_MBPS)


@dataclass(frozen=True, slots=True)
class CallEnergy:
    """Joules of one call.

    Attributes:
        shared: when it goes along with another call, which pays for waking and tail.
        alone: when it goes now, by itself.
    """

    shared: float
    alone: float


@dataclass(frozen=True, slots=True)
class Price:
    """What one call costs, in signs right.

    Attributes:
        asking: the base price.
        waiting: for the answer.
        energy: of the battery, going now and alone.
        energy_shared: of the battery, going along with another call.
        data: of the bytes.
    """

    asking: float
    waiting: float
    energy: float
    energy_shared: float
    data: float

    @property
    def alone(self) -> float:
        """Of asking now and alone."""
        return self.asking + self.waiting + self.energy + self.data

    @property
    def shared(self) -> float:
        """Of asking along with another call."""
        return self.asking + self.waiting + self.energy_shared + self.data


def call_energy(
    network: NetworkKind, *, request_bytes: int, active_seconds: float, radio_open_seconds: float
) -> CallEnergy:
    """Joules of one call.

    Args:
        network: an unknown one is taken for cellular, the dearer.
        request_bytes: sent.
        active_seconds: from the call to its answer.
        radio_open_seconds: how long a cellular radio would stay awake without the call; the call begins its tail anew.
    """
    radio = WIFI if network is NetworkKind.WIFI else CELLULAR
    shared = (
        radio.base_w * min(max(active_seconds, 0.0), MAX_ACTIVE_S)
        + radio.up_j_per_byte * request_bytes
        + radio.down_j_per_byte * REPLY_BYTES
    )
    awake = 0.0 if radio is WIFI else min(max(radio_open_seconds, 0.0), radio.tail_s)
    promotion = 0.0 if awake > 0 else radio.promotion_w * radio.promotion_s
    return CallEnergy(shared, shared + promotion + radio.tail_w * (radio.tail_s - awake))


def price_per_joule(conditions: Conditions, *, saving: bool, policy: Policy) -> float:
    """Grows as the battery empties and the phone warms up; nothing while charging."""
    if conditions.charging:
        return 0.0
    percent = conditions.battery_percent
    level = (policy.unknown_battery_percent if percent is None else max(percent, 1)) / 100
    price = policy.price_per_joule / level
    if saving:
        price *= policy.saving_factor
    return price * policy.warm_factor if conditions.thermal is Thermal.WARM else price


def price_of_asking(signals: Signals, conditions: Conditions, policy: Policy, *, asking: float, saving: bool) -> Price:
    """What the call costs.

    Args:
        signals: sound (`soundness`).
        conditions: sound.
        policy: the constants.
        asking: the base price that applies to this reading.
        saving: whether the battery is being saved.
    """
    energy = call_energy(
        conditions.network,
        request_bytes=signals.request_bytes,
        active_seconds=conditions.expected_seconds,
        radio_open_seconds=conditions.radio_open_seconds,
    )
    joule = price_per_joule(conditions, saving=saving, policy=policy)
    budget = policy.price_per_budget * (1.0 if conditions.metered else policy.unmetered_share)
    return Price(
        asking=asking,
        waiting=policy.price_per_second * (conditions.expected_seconds + conditions.delivery_seconds),
        energy=energy.alone * joule,
        energy_shared=energy.shared * joule,
        data=budget * min(signals.request_bytes / max(conditions.budget_left_bytes, 1), 1.0),
    )


def late_seconds(conditions: Conditions, policy: Policy) -> float:
    """Nine calls in ten are answered within this; assumed where it is not known, and never below the expected time."""
    if conditions.late_seconds is None:
        return conditions.expected_seconds * policy.unknown_late_factor
    return max(conditions.late_seconds, conditions.expected_seconds)


def chance_in_time(conditions: Conditions, policy: Policy) -> float:
    """P(the answer is on show while the sign is still worth it), 0..1.

    Up to the time that nine in ten keep, answer times are lognormal, by their median and that quantile. Beyond it they
    are taken to fall off as 1 / t^2: retries and lost connections make longer tails than a lognormal has. Never below
    one half where the expected answer is in time, and then it rises with every quicker number.
    """
    left = conditions.life_left_seconds - conditions.delivery_seconds
    median, late = conditions.expected_seconds, late_seconds(conditions, policy)
    if left <= 0:
        return 0.0
    if left >= late:
        return 1.0 - 0.1 * (late / left) ** 2
    if median <= 0:
        return 0.9  # to which the lognormal tends
    if late == median:
        return 0.0
    # Differences of logarithms: a quotient may overflow.
    spread = (math.log(late) - math.log(median)) / NINE_IN_TEN
    return _normal((math.log(left) - math.log(median)) / spread)


def _normal(z: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-z / math.sqrt(2))

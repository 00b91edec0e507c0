"""The two devices of a run: what they are, what they have spent, and what the phone's battery says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from phone.battery import Battery
from shared.clock import Clock
from simulations.energy.battery import SimulatedBattery
from simulations.energy.constants import Constants
from simulations.energy.devices import DeviceClass, device
from simulations.sweep.arms import Arm
from simulations.world.day import Wear

GAUGE_S: Final = 60.0
"""A phone's gauge says something new about once a minute."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Glasses and phone of an arm."""

    glasses: DeviceClass
    phone: DeviceClass

    @classmethod
    def of(cls, arm: Arm, constants: Constants) -> Pair:
        """Those of an arm.

        Raises:
            UsageError: there is no such class.
        """
        return cls(device(arm.glasses, constants), device(arm.phone, constants))


class PhoneGauge:
    """The phone's battery over a run: full in the morning, on its charger where the wearer's day says so.

    What is on a charger is full: nothing of a day depends on how fast it got there. Nor does a phone die in a run; at
    its reserve it says so, and policies that look at the battery have nothing left to spend.

    Args:
        phone: the device.
        wear: the days.
        constants: of the run.
        spent: joules that the product's own work has cost so far.
        clock: of the loop.
        start_s: the first midnight on the clock.
    """

    def __init__(
        self,
        phone: DeviceClass,
        wear: Wear,
        constants: Constants,
        *,
        spent: Callable[[], float],
        clock: Clock,
        start_s: float,
    ) -> None:
        self._phone = phone
        self._wear = wear
        self._base_watts = phone.idle_watts + constants["phone.base_watts"]
        self._spent = spent
        self._clock = clock
        self._start = start_s
        self._battery = SimulatedBattery(phone.battery_joules)
        self._read_at: float | None = None
        self._told = 0.0  # of `spent`, by the last reading

    def __call__(self) -> Battery:
        """What the gauge says."""
        now = self._clock.monotonic() - self._start
        if self._read_at is None or now - self._read_at >= GAUGE_S:
            self._renew(now)
        return self._battery.as_read()

    def _renew(self, now: float) -> None:
        since = 0.0 if self._read_at is None else self._read_at
        spent = self._spent()
        used, self._told, self._read_at = spent - self._told, spent, now
        # From the last charger on.
        charged = max((s.end_s for s in self._wear.segments if s.charging and s.end_s <= now), default=0.0)
        segment = self._wear.segment_at(now)
        self._battery.charging = segment.charging
        if segment.charging or charged > since:
            self._battery.charge(self._battery.capacity_joules)
            since, used = max(since, charged), 0.0 if segment.charging else used
        if not segment.charging:
            self._battery.drain((now - since) * self._base_watts + max(used, 0.0))

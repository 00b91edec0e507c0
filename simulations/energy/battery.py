"""A battery as a bucket of joules: linear, with a reserve below which the device is off."""

from __future__ import annotations

import math
from typing import Final

from phone.battery import Battery
from shared.errors import InputError

RESERVE_SHARE: Final = 0.01
"""Share of the capacity at which a device switches itself off; an assumption."""


class SimulatedBattery:
    """What is left in a battery.

    Args:
        capacity_joules: when full; positive.
        share: how full it is at first, 0..1.
        reserve: share of the capacity that cannot be used, 0..1.

    Raises:
        InputError: a number is out of range.
    """

    def __init__(self, capacity_joules: float, share: float = 1.0, *, reserve: float = RESERVE_SHARE) -> None:
        if not 0 < capacity_joules < math.inf or not 0 <= share <= 1 or not 0 <= reserve < 1:
            raise InputError(f"no battery has {capacity_joules} J, {share} of it full and {reserve} reserved")
        self.capacity_joules = capacity_joules
        self.reserve = reserve
        self.joules = share * capacity_joules
        self.charging = False

    def drain(self, joules: float) -> float:
        """Take out what is there.

        Returns:
            What could be taken: less than asked for when the battery ran down to its reserve.

        Raises:
            InputError: negative or not finite.
        """
        if not 0 <= joules < math.inf:
            raise InputError(f"{joules} J cannot be drained")
        taken = min(joules, max(0.0, self.joules - self.reserve * self.capacity_joules))
        self.joules -= taken
        return taken

    def charge(self, joules: float) -> None:
        """Put in, up to the capacity.

        Raises:
            InputError: negative or not finite.
        """
        if not 0 <= joules < math.inf:
            raise InputError(f"{joules} J cannot be charged")
        self.joules = min(self.capacity_joules, self.joules + joules)

    @property
    def percent(self) -> float:
        """0..100, of the capacity."""
        return 100 * self.joules / self.capacity_joules

    @property
    def empty(self) -> bool:
        """Whether the device is off."""
        return self.joules <= self.reserve * self.capacity_joules

    def as_read(self) -> Battery:
        """As the phone's own sensor would report it: whole per cent, rounded up so that 0 means empty."""
        return Battery(0 if self.empty else min(100, math.ceil(self.percent)), self.charging)

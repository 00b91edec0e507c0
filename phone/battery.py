"""The phone's battery, as Linux reports it, and what is made of a gauge that lies.

Rules of `BatteryWatch`:

1. A level far outside 0..100 is no level; gauges that overshoot a little ("101 %") are clamped.
2. A battery cannot jump. A level that could not have come about since the last one believed, at a generous rate, is
   not believed until the gauge has stood by it for `CONFIRM_S`; meanwhile the last one holds. A gauge that jumps about
   and comes to nothing for `GIVE_UP_S` is unknown.
3. A gauge that does not move for `STUCK_S` while it says that the battery is emptied is stuck: unknown, until it moves.
4. A battery that falls while "charging" is not being charged, as far as saving energy goes: the charger is weaker than
   the phone. "Full" with half of the charge missing is a contradiction: unknown.

Unknown is a percentage of None; what that means is the policy's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.clock import Clock

POWER_SUPPLIES: Final = Path("/sys/class/power_supply")

OVERSHOOT: Final = 110
"""Percent up to which a level above 100 is a full battery with an old idea of its capacity; beyond, nonsense."""
FASTEST_PERCENT_PER_S: Final = 0.1
"""Full to empty, or back, in 17 minutes: 3.6 times the rated current. An assumption, generous on purpose: phones empty
at less than once the rated current, and all but the quickest chargers fill at less than three times."""
SLACK_PERCENT: Final = 3
"""What a gauge may be off from one reading to the next without having lied."""
CONFIRM_S: Final = 30.0
"""A jump is believed when the gauge has stood by it so long: a cold battery really does fall at once."""
GIVE_UP_S: Final = 120.0
STUCK_S: Final = 4 * 3600.0
"""A phone that reads signs all day uses more than one percent in so long; an idle one may not, so not less."""
FALLS_WHILE_CHARGING: Final = 3
"""Percent lost since the charger was plugged in."""
_FULL_IS_ABOVE: Final = 50


@dataclass(frozen=True, slots=True)
class Battery:
    """State of charge.

    Attributes:
        percent: 0..100; None when there is no battery, or none that reports.
        charging: whether the phone is plugged in.
        full: whether the gauge calls it full.
    """

    percent: int | None
    charging: bool
    full: bool = False


UNKNOWN: Final = Battery(None, charging=False)


def read_battery(supplies: Path = POWER_SUPPLIES) -> Battery:
    """The first battery of the machine (kernel documentation, ABI/testing/sysfs-class-power)."""
    try:
        for supply in sorted(supplies.iterdir()):
            if (supply / "type").read_text().strip() == "Battery" and _of_the_machine(supply):
                percent = int((supply / "capacity").read_text())
                status = (supply / "status").read_text().strip()
                charging = status in {"Charging", "Full", "Not charging"}
                if not 0 <= percent <= OVERSHOOT:
                    return Battery(None, charging)
                return Battery(min(percent, 100), charging, full=status == "Full")
    except (OSError, ValueError):
        # Supplies come and go with their cables; a battery that cannot be read is an unknown one.
        return UNKNOWN
    return UNKNOWN


def _of_the_machine(supply: Path) -> bool:
    """Wireless mice and headphones list their batteries too, with the scope "Device"."""
    scope = supply / "scope"
    return not scope.exists() or scope.read_text().strip() != "Device"


@dataclass(frozen=True, slots=True)
class _Level:
    percent: int
    at: float

    def may_become(self, percent: int, now: float) -> bool:
        allowed = SLACK_PERCENT + FASTEST_PERCENT_PER_S * max(now - self.at, 0.0)
        return abs(percent - self.percent) <= allowed


class BatteryWatch:
    """Reads a gauge and believes it only as far as a battery can go. Rules in the module's docstring.

    Args:
        read: the gauge.
        clock: measures how long ago the last level was; wall time plays no part.
    """

    def __init__(self, read: Callable[[], Battery], *, clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._believed: _Level | None = None
        self._claimed: _Level | None = None
        """What the gauge says since when, where that is not believed."""
        self._moved_at = clock.monotonic()
        """When the gauge last moved, or was not discharging."""
        self._plugged_percent: int | None = None

    def __call__(self) -> Battery:
        """The battery as far as the gauge can be believed."""
        said = self._read()
        now = self._clock.monotonic()
        if said.percent is None or (said.full and said.percent <= _FULL_IS_ABOVE):
            return Battery(None, said.charging)
        percent = self._level(said.percent, now)
        if self._is_stuck(said, now):
            percent = None
        return Battery(percent, self._is_charged(said, percent), said.full)

    def _level(self, percent: int, now: float) -> int | None:
        believed = self._believed
        if believed is None or believed.may_become(percent, now):
            if believed is None or believed.percent != percent:
                self._moved_at = now
            self._believed, self._claimed = _Level(percent, now), None
            return percent
        claimed = self._claimed
        if claimed is None or not claimed.may_become(percent, now):
            self._claimed = claimed = _Level(percent, now)
        if now - claimed.at >= CONFIRM_S:
            self._believed, self._claimed, self._moved_at = _Level(percent, now), None, now
            return percent
        return believed.percent if now - believed.at < GIVE_UP_S else None

    def _is_stuck(self, said: Battery, now: float) -> bool:
        if said.charging:
            self._moved_at = now
        return now - self._moved_at > STUCK_S

    def _is_charged(self, said: Battery, percent: int | None) -> bool:
        if not said.charging:
            self._plugged_percent = None
            return False
        if percent is None:
            return True
        if self._plugged_percent is None or percent > self._plugged_percent:
            self._plugged_percent = percent
        return percent > self._plugged_percent - FALLS_WHILE_CHARGING

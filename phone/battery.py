"""The phone's battery, as Linux reports it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

POWER_SUPPLIES: Final = Path("/sys/class/power_supply")


@dataclass(frozen=True, slots=True)
class Battery:
    """State of charge.

    Attributes:
        percent: 0..100; None when there is no battery, or none that reports.
        charging: whether the phone is plugged in.
    """

    percent: int | None
    charging: bool


def read_battery(supplies: Path = POWER_SUPPLIES) -> Battery:
    """The first battery of the machine (kernel documentation, ABI/testing/sysfs-class-power)."""
    try:
        for supply in sorted(supplies.iterdir()):
            if (supply / "type").read_text().strip() == "Battery" and _of_the_machine(supply):
                percent = int((supply / "capacity").read_text())
                charging = (supply / "status").read_text().strip() in {"Charging", "Full", "Not charging"}
                return Battery(min(max(percent, 0), 100), charging)
    except (OSError, ValueError):
        # Supplies come and go with their cables; a battery that cannot be read is an unknown one.
        return Battery(None, charging=False)
    return Battery(None, charging=False)


def _of_the_machine(supply: Path) -> bool:
    """Wireless mice and headphones list their batteries too, with the scope "Device"."""
    scope = supply / "scope"
    return not scope.exists() or scope.read_text().strip() != "Device"

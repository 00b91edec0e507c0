"""How warm the phone is, from the kernel's thermal zones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from phone.cascade.inputs import Thermal

ZONES: Final = Path("/sys/class/thermal")
WARM_BELOW_C: Final = 10.0
"""Kelvin below the point where the kernel begins to throttle from which on the phone counts as warm. An assumption:
about what a minute of full load adds to a handheld device."""
PLAUSIBLE_C: Final = (-40.0, 150.0)
"""Sensors that are not wired up say 0 K, -273 °C or 65535 m°C times something."""
MAX_ZONES: Final = 64
MAX_TRIPS: Final = 16
_THROTTLES: Final = frozenset({"passive", "hot"})
"""Trip points at which the kernel slows the machine or tells everybody to (kernel documentation,
driver-api/thermal/sysfs-api: active, passive, hot, critical). At "critical" it shuts down; "active" starts a fan."""


def read_thermal(zones: Path = ZONES) -> Thermal:
    """The warmest zone that has a throttling point; UNKNOWN where none has."""
    margins = list(_margins(zones))
    if not margins:
        return Thermal.UNKNOWN
    margin = min(margins)
    if margin <= 0:
        return Thermal.HOT
    return Thermal.WARM if margin <= WARM_BELOW_C else Thermal.NORMAL


def _margins(zones: Path) -> Iterator[float]:
    """Kelvin left to the lowest throttling point of each zone that has one."""
    try:
        folders = sorted(zones.glob("thermal_zone*"))[:MAX_ZONES]
    except OSError:
        return
    for zone in folders:
        temperature = _celsius(zone / "temp")
        trips = [
            trip
            for number in range(MAX_TRIPS)
            if _text(zone / f"trip_point_{number}_type") in _THROTTLES
            and (trip := _celsius(zone / f"trip_point_{number}_temp")) is not None
            # A trip at zero or below is one that the firmware left unset.
            and trip > 0
        ]
        if temperature is not None and trips and _text(zone / "mode") != "disabled":
            yield min(trips) - temperature


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""  # a zone need not have this file, and a sensor that is off refuses to be read


def _celsius(path: Path) -> float | None:
    """Thousandths of a degree as degrees; None where there is nothing sensible."""
    try:
        value = int(_text(path)) / 1000
    except ValueError:
        return None
    least, most = PLAUSIBLE_C
    return value if least < value < most else None

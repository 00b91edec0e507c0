"""Who spent how many joules on what, on the glasses and on the phone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from simulations.energy.battery import RESERVE_SHARE
from simulations.energy.ble import BleEnd, BleRadio, ble_model
from simulations.energy.constants import Constants
from simulations.energy.devices import DeviceClass, Tier

GLASSES_PARTS: Final = (
    "idle",
    "camera",
    "display",
    "stabiliser",
    "detection",
    "reading",
    "encoder",
    "bluetooth",
    "wifi",
)
PHONE_PARTS: Final = ("idle", "base", "reading", "bluetooth", "wifi", "internet")
_CARRIED_PARTS: Final = frozenset({"idle", "base"})
"""What a phone spends whatever the design."""


@dataclass(slots=True)
class Account:
    """Joules of one device by component.

    Attributes:
        device: whose.
        parts: joules by component.
    """

    device: DeviceClass
    parts: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        names = GLASSES_PARTS if self.device.tier is Tier.GLASSES else PHONE_PARTS
        self.parts = dict.fromkeys(names, 0.0)

    def spend(self, part: str, joules: float) -> None:
        """Add to a component."""
        self.parts[part] += joules

    @property
    def joules(self) -> float:
        """All of it."""
        return math.fsum(self.parts.values())

    @property
    def added_joules(self) -> float:
        """What a phone spends on top of being carried and of its wearer's other use."""
        return math.fsum(joules for part, joules in self.parts.items() if part not in _CARRIED_PARTS)

    def hours(self, seconds: float) -> float:
        """Battery life in hours, at the mean rate of `seconds` that this account covers."""
        usable = self.device.battery_joules * (1 - RESERVE_SHARE)
        return usable / (self.joules / seconds) / 3600 if self.joules > 0 else math.inf


def bluetooth_joules(end: BleEnd, constants: Constants, *, seconds: float, interval_s: float, carried: float) -> float:
    """What the link costs one end that is connected for `seconds` and carries so many bytes both ways."""
    radio = BleRadio(ble_model(end, constants))
    radio.connected(seconds, interval_s)
    radio.carried(round(carried))
    return radio.joules


def worn(account: Account, constants: Constants, *, seconds: float) -> None:
    """What glasses spend on being worn for `seconds`, whatever the design: on, camera, display, stabiliser."""
    device = account.device
    filming = seconds * constants["glasses.camera_duty"]
    account.spend("idle", seconds * device.idle_watts)
    account.spend("camera", filming * device.camera_watts)
    account.spend("display", seconds * constants["glasses.display_duty"] * device.display_watts)
    if device.runs_models:
        milliseconds = filming * constants["glasses.follow_milliseconds_per_second"]
        account.spend("stabiliser", device.compute_joules(milliseconds))


def carried(account: Account, constants: Constants, *, seconds: float) -> None:
    """What a phone spends in the pocket for `seconds`, whatever the design: on, and the wearer's other use of it."""
    account.spend("idle", seconds * account.device.idle_watts)
    account.spend("base", seconds * constants["phone.base_watts"])

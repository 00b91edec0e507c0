"""Classes of phones and glasses: battery, speed and powers, and how many readings a charge is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.errors import UsageError
from simulations.energy.constants import Constants

PHONES: Final = ("phone-low", "phone-mid", "phone-flagship")
GLASSES: Final = ("glasses-mcu", "glasses-sbc", "glasses-xr")


class Tier(StrEnum):
    """What is worn or carried."""

    PHONE = "phone"
    GLASSES = "glasses"


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """One class of devices with one set of constants.

    Attributes:
        name: of `PHONES` or `GLASSES`.
        tier: which of the two.
        battery_joules: of a full battery in use, ageing taken off.
        speed: of a core relative to one of the machine that made the traces.
        compute_watts: one core busy, above idle.
        idle_watts: switched on and doing nothing.
        camera_watts, display_watts, encoder_watts: while on, above idle; 0 for a phone, whose screen is off.
        runs_models: whether it could hold and run the product's models at all.
    """

    name: str
    tier: Tier
    battery_joules: float
    speed: float
    compute_watts: float
    idle_watts: float
    camera_watts: float
    display_watts: float
    encoder_watts: float
    runs_models: bool

    def compute_seconds(self, milliseconds: float) -> float:
        """How long it takes here what took `milliseconds` of one core of the trace machine."""
        return milliseconds / 1000 / self.speed

    def compute_joules(self, milliseconds: float) -> float:
        """What that costs, above idle."""
        return self.compute_seconds(milliseconds) * self.compute_watts


def device(name: str, constants: Constants) -> DeviceClass:
    """A class of devices.

    Raises:
        UsageError: there is no such class.
    """
    if name not in PHONES + GLASSES:
        raise UsageError(f"there is no device {name!r}", hint=f"devices: {', '.join(PHONES + GLASSES)}")
    phone = name in PHONES
    return DeviceClass(
        name=name,
        tier=Tier.PHONE if phone else Tier.GLASSES,
        battery_joules=constants[f"{name}.battery_joules"] * constants["battery.health"],
        speed=constants[f"{name}.speed"],
        compute_watts=constants[f"{name}.compute_watts"],
        idle_watts=constants["phone.idle_watts" if phone else f"{name}.idle_watts"],
        camera_watts=0.0 if phone else constants[f"{name}.camera_watts"],
        display_watts=0.0 if phone else constants[f"{name}.display_watts"],
        encoder_watts=0.0 if phone else constants[f"{name}.encoder_watts"],
        # 256 kB of memory hold none of them: the smallest has 1.8 MB.
        runs_models=name != "glasses-mcu",
    )


def ocr_runs_per_charge(of: DeviceClass, milliseconds: float) -> float:
    """How many readings of one sign a full battery would pay for if it paid for nothing else.

    Args:
        of: the device.
        milliseconds: CPU time of one reading on the trace machine; more than 0.

    Returns:
        0 for a device that cannot run the models.
    """
    return of.battery_joules / of.compute_joules(milliseconds) if of.runs_models else 0.0


@dataclass(frozen=True, slots=True)
class RunsRow:
    """One line of the table "OCR runs per charge".

    Attributes:
        device: name of the class.
        runs: by pipeline: nominal, and the tenth and ninetieth percentile of the draws.
    """

    device: str
    runs: Mapping[str, tuple[float, float, float]]


def runs_table(milliseconds: Mapping[str, float], nominal: Constants, drawn: Sequence[Constants]) -> list[RunsRow]:
    """OCR runs per charge for each device.

    Args:
        milliseconds: CPU time of one reading on the trace machine, by name of the pipeline.
        nominal: constants for the middle figure.
        drawn: sets for the range; at least one.
    """
    rows = []
    for name in GLASSES + PHONES:
        runs = {}
        for pipeline, taken in milliseconds.items():
            spread = sorted(ocr_runs_per_charge(device(name, constants), taken) for constants in drawn)
            last = len(spread) - 1
            middle = ocr_runs_per_charge(device(name, nominal), taken)
            runs[pipeline] = (middle, spread[round(0.1 * last)], spread[round(0.9 * last)])
        rows.append(RunsRow(name, runs))
    return rows

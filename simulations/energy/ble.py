"""What the Bluetooth LE link costs at either end: connection events, and the air time of the bytes. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import InputError
from simulations.energy.constants import Constants


class BleEnd(StrEnum):
    """Whose radio."""

    GLASSES = "glasses"
    PHONE = "phone"


@dataclass(frozen=True, slots=True)
class BleModel:
    """Powers of one end.

    Attributes:
        on_watts: while the radio sends or receives.
        air_seconds_per_byte: on the air, with the packets' headers, spacing and acknowledgements.
        event_joules: of a connection event in which nothing is said.
        idle_watts: between events.
    """

    on_watts: float
    air_seconds_per_byte: float
    event_joules: float
    idle_watts: float

    @property
    def joules_per_byte(self) -> float:
        """Of a byte sent or received; the two cost nearly the same."""
        return self.on_watts * self.air_seconds_per_byte


def ble_model(end: BleEnd, constants: Constants) -> BleModel:
    """The model of one end with these constants."""
    return BleModel(
        on_watts=constants[f"ble.{end}_watts"],
        air_seconds_per_byte=constants["ble.air_microseconds_per_byte"] * 1e-6,
        event_joules=constants[f"ble.{end}_event_microjoules"] * 1e-6,
        idle_watts=constants[f"ble.{end}_idle_watts"],
    )


class BleRadio:
    """One end of the link over a run; it adds up what it is told.

    Args:
        model: its powers.
    """

    def __init__(self, model: BleModel) -> None:
        self.model = model
        self.seconds = 0.0
        self.events = 0.0
        self.bytes = 0
        self.air_seconds = 0.0

    def connected(self, seconds: float, interval_s: float) -> None:
        """The link was up, with an event every `interval_s`.

        Raises:
            InputError: a number is not finite, or not positive.
        """
        if not (0 <= seconds < math.inf and 0 < interval_s < math.inf):
            raise InputError(f"no connection: {seconds} s with an event every {interval_s} s")
        self.seconds += seconds
        self.events += seconds / interval_s

    def carried(self, count: int, *, miss: float = 0.0) -> None:
        """Bytes crossed, in either direction.

        Args:
            count: how many.
            miss: share of the connection events that fail, 0 to below 1; what they carried is sent again.

        Raises:
            InputError: a number is out of range.
        """
        if count < 0 or not 0 <= miss < 1:
            raise InputError(f"{count} bytes with {miss} of the events missed cannot be")
        self.bytes += count
        self.air_seconds += count * self.model.air_seconds_per_byte / (1 - miss)

    @property
    def joules(self) -> float:
        """Energy so far."""
        model = self.model
        return self.seconds * model.idle_watts + self.events * model.event_joules + self.air_seconds * model.on_watts

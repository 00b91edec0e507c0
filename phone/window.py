"""How long the radio stays awake after the last bytes: a call that goes out meanwhile need not wake it."""

from __future__ import annotations

from typing import Final

from phone.cascade.inputs import NetworkKind
from phone.cascade.price import CELLULAR, WIFI
from shared.clock import Clock

TAILS_S: Final = {NetworkKind.CELLULAR: CELLULAR.tail_s, NetworkKind.WIFI: WIFI.tail_s, NetworkKind.UNKNOWN: 0.0}
"""Seconds that a radio stays awake after its last byte (sources at `phone.cascade.price`). Of an unknown network
nothing is promised."""


class RadioWindow:
    """Told whenever bytes of the daemon's own pass. What else the phone sends is not seen: it may be open longer.

    Args:
        clock: measures the tail.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._network = NetworkKind.NONE
        self._last_byte = 0.0

    def passed(self, network: NetworkKind) -> None:
        """Bytes left or arrived over this network."""
        self._network = network
        self._last_byte = self._clock.monotonic()

    def open_seconds(self, network: NetworkKind) -> float:
        """How long the radio of this network stays awake without another call; 0 when it sleeps.

        Args:
            network: that a call would go over now. Another radio's tail is of no use to it.
        """
        if network is not self._network:
            return 0.0
        tail = TAILS_S.get(network, 0.0)
        return max(tail - (self._clock.monotonic() - self._last_byte), 0.0)

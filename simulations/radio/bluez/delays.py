"""What bluetoothd takes its time for, as options of the façade."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds that pass where the façade need not wait; 0, the default, is at once, which keeps tests fast.

    Attributes:
        late_mtu_s: from resolved services to the ATT MTU exchange; 0: it comes before them, as it mostly does.
        disconnect_s: for which Device1.Disconnect keeps the link before it ends it and answers; 2 in bluetoothd
            (src/device.c: DISCONNECT_TIMER), which carries in that time what is queued. At 0 that is lost.
        busy_s: for which Device1.Connect fails after a disconnection of our own. With bluetoothd about 0.01: the
            kernel's connection ends a little after `Connected` has become false.
    """

    late_mtu_s: float = 0.0
    disconnect_s: float = 0.0
    busy_s: float = 0.0

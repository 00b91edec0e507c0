"""An emulated Bluetooth radio: the air, the phone's BlueZ, and the private D-Bus between them.

::

    glasses (Bumble host) ── HCI/TCP ── air: two controllers, shaped link ── HCI/TCP ── façade (Bumble host)
                                                                                            │ org.bluez on D-Bus
                                                              phone (unmodified bleak) ── dbus-daemon

Everything above the radio is the product's own code, unmodified: real HCI, L2CAP, ATT and GATT cross the air.
"""

from simulations.radio.processes import RadioProcesses
from simulations.radio.profile import LinkProfile

__all__ = ["LinkProfile", "RadioProcesses"]

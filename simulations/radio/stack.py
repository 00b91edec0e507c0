"""Which Bluetooth stack `RadioProcesses` puts under the phone: the org.bluez façade, or the real bluetoothd."""

from __future__ import annotations

import os
from enum import Enum
from typing import Final

from shared.errors import UsageError

STACK_VARIABLE: Final = "WAYWORD_RADIO_STACK"
BLUETOOTHD_VARIABLE: Final = "WAYWORD_BLUETOOTHD"
"""Path of the bluetoothd program."""


class RadioStack(Enum):
    """What speaks org.bluez.

    Attributes:
        FACADE: our own process on a Bumble host; the default.
        BLUETOOTHD: BlueZ's daemon on the kernel's Bluetooth, which gets its controller through /dev/vhci. It takes over
            the machine's Bluetooth, so only the virtual machine of `simulations.radio.vm` sets it.
    """

    FACADE = "facade"
    BLUETOOTHD = "bluetoothd"

    @classmethod
    def configured(cls) -> RadioStack:
        """The stack that ``$WAYWORD_RADIO_STACK`` names.

        Raises:
            UsageError: it names none.
        """
        value = os.environ.get(STACK_VARIABLE) or cls.FACADE.value
        try:
            return cls(value)
        except ValueError:
            choices = " or ".join(stack.value for stack in cls)
            raise UsageError(f"{STACK_VARIABLE}={value} names no Bluetooth stack", hint=f"use {choices}") from None

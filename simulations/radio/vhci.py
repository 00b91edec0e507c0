"""A controller on the air for the Linux kernel's own Bluetooth host, through /dev/vhci (needs root and hci_vhci)."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final

from bumble import hci
from bumble.core import InvalidPacketError
from bumble.transport.common import PacketParser

from shared.errors import RadioError
from simulations.radio.airlink import AirLink
from simulations.radio.controller import EmulatedController

logger = logging.getLogger(__name__)

DEVICE: Final = "/dev/vhci"
MAX_PACKET_BYTES: Final = 4096
"""One read gives one packet; the largest, an ACL packet, has a few bytes more than the controller's buffer."""
_VENDOR_PACKET: Final = 0xFF
_PRIMARY: Final = 0x00  # Linux, drivers/bluetooth/hci_vhci.c: kind of controller, with standard initialisation

_UNSUPPORTED: Final = hci.LeFeatureMask.LL_PRIVACY | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
"""Bumble's controller claims these and does them only in part: Linux would wait for events that never come."""


class VhciPort:
    """Connects a controller with the kernel as long as it is open: the kernel sees an adapter come and go.

    Raises:
        RadioError: there is no /dev/vhci, or it may not be opened.
    """

    def __init__(self, controller: EmulatedController, air: AirLink) -> None:
        self._controller = controller
        self._air = air
        self._parser = PacketParser(controller)
        controller.le_features &= ~_UNSUPPORTED
        try:
            self._file = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(self._file, bytes([_VENDOR_PACKET, _PRIMARY]))
        except OSError as error:
            raise RadioError(f"{DEVICE} cannot be used: {error.strerror}", hint="run: modprobe hci_vhci") from error
        controller.host = self
        asyncio.get_running_loop().add_reader(self._file, self._on_readable)

    def _on_readable(self) -> None:
        try:
            packet = os.read(self._file, MAX_PACKET_BYTES)
        except BlockingIOError:
            return
        if not packet or packet[0] == _VENDOR_PACKET:
            return  # the answer to the first write: the adapter's index
        try:
            self._parser.feed_data(packet)
        except InvalidPacketError as error:
            logger.warning("%s: packet of the kernel dropped: %s", self._controller.name, error)

    def on_packet(self, packet: bytes) -> None:
        """An HCI packet from the controller to the kernel, which takes it at once."""
        try:
            os.write(self._file, packet)
        except OSError as error:
            logger.warning("%s: packet to the kernel lost: %s", self._controller.name, error.strerror)

    def close(self) -> None:
        """Take the adapter away from the kernel."""
        asyncio.get_running_loop().remove_reader(self._file)
        self._controller.host = None
        os.close(self._file)

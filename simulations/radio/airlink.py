"""The air between emulated controllers: advertising, connections, outages, and the profile they are under."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.link import LocalLink

from simulations.radio.connection import AirConnection
from simulations.radio.controller import EmulatedController
from simulations.radio.outages import OutageSchedule
from simulations.radio.parameters import TIMEOUT_UNIT_S
from simulations.radio.profile import LinkProfile
from simulations.radio.trace import AirTrace

logger = logging.getLogger(__name__)


class AirLink(LocalLink):
    """Carries advertisements, link control and ACL data between controllers.

    Advertising and the making of connections are not shaped. What crosses a connection is the matter of
    `AirConnection`. While the air is out (by plan, by chance, or because it was cut), nothing crosses at all,
    advertisements included. The profile's outages are counted from the first connection under it.

    Args:
        profile: rate, interval and conditions.
        trace: file for the events of the link layer; None: none.

    Raises:
        StorageError: the trace cannot be written.
    """

    def __init__(self, profile: LinkProfile, *, trace: Path | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Bumble leaves it untyped
        self._loop = asyncio.get_running_loop()
        self.profile = profile
        self.trace = AirTrace(trace, start_s=self._loop.time())
        self._emulated: list[EmulatedController] = []
        self._connections: list[AirConnection] = []
        self._made = 0
        self._forming: dict[tuple[hci.Address, hci.Address], AirConnection] = {}  # by central and peripheral
        self._cut = False
        self._outages = OutageSchedule(profile)
        self._outages_from: float | None = None
        self._outage_change = 0.0
        self._outage_timer: asyncio.TimerHandle | None = None
        self._out_of_range = False

    def add_controller(self, controller: Controller) -> None:
        super().add_controller(controller)
        assert isinstance(controller, EmulatedController)
        self._emulated.append(controller)

    def close(self) -> None:
        """Write no more trace."""
        self.trace.close()

    def schedule(self) -> None:
        """Something that was in the way of data no longer is: a host reads again."""
        for connection in self._connections:
            connection.schedule()

    # Advertising and connecting -----------------------------------------------------------------------

    def send_advertising_pdu(self, sender_controller: Controller, packet: ll.AdvertisingPdu) -> None:
        if isinstance(packet, ll.ConnectInd):
            self._connect(sender_controller, packet)
        elif not self.out:
            super().send_advertising_pdu(sender_controller, packet)

    def _connect(self, central: Controller, packet: ll.ConnectInd) -> None:
        self._made += 1
        connection = AirConnection(self, self._made, requested_supervision_s=packet.timeout * TIMEOUT_UNIT_S)
        self._connections.append(connection)
        self._forming[packet.initiator_address, packet.advertiser_address] = connection
        self._loop.call_soon(self._confirm_connection, central, packet, connection)

    def _confirm_connection(self, central: Controller, packet: ll.ConnectInd, connection: AirConnection) -> None:
        if not self.out:
            for controller in self._emulated:
                if controller is not central:
                    controller.on_ll_advertising_pdu(packet)
        self._forming.pop((packet.initiator_address, packet.advertiser_address), None)
        if connection.complete:
            self._start_outages()
        elif (initiated := central.le_connections.get(packet.advertiser_address)) is not None:
            # The advertiser stopped, or the air was lost: Core, Vol 6, Part B, 4.5.2, "failed to be established".
            central.on_le_disconnected(initiated, hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR)

    def joined(self, controller: EmulatedController, connection: Connection) -> AirConnection | None:
        """The connection in which a controller has just taken a part; None: it was over before it began."""
        own, peer = connection.self_address, connection.peer_address
        central, peripheral = (own, peer) if connection.role == hci.Role.CENTRAL else (peer, own)
        if (found := self._forming.get((central, peripheral))) is not None:
            found.join(controller, connection)
        return found

    def connection_over(self, connection: AirConnection) -> None:
        """Neither end is left."""
        if connection in self._connections:
            self._connections.remove(connection)

    def scan_response(self, advertiser: hci.Address) -> bytes:
        """What the advertiser at this address answers to a scan request."""
        for controller in self._emulated:
            if (data := controller.scan_response_of(advertiser)) is not None:
                return data
        return b""

    def send_ll_control_pdu(
        self, sender_address: hci.Address, receiver_address: hci.Address, packet: ll.ControlPdu
    ) -> None:
        for connection in self._connections:
            if (role := connection.role_of(sender_address, receiver_address)) is not None:
                connection.control(role, packet)
                return

    # Outages and changes ------------------------------------------------------------------------------

    @property
    def out(self) -> bool:
        """Whether nothing crosses the air now."""
        return self._cut or self._out_of_range

    def cut(self) -> None:
        """Begin an outage by hand."""
        self._change_range(cut=True, out_of_range=self._out_of_range)

    def restore(self) -> None:
        """End the outage that was begun by hand; the profile's go on as planned."""
        self._change_range(cut=False, out_of_range=self._out_of_range)

    def set_profile(self, profile: LinkProfile) -> None:
        """Go on under another profile.

        Connections live on and their hosts are told of a changed interval or supervision timeout. Outages are counted
        anew, from now if devices are connected. A controller keeps the number of buffers that its host knows.
        """
        self.profile = profile
        self.trace.write("profile", self._loop.time(), profile=str(profile))
        self._outages = OutageSchedule(profile)
        self._outages_from = None
        if self._outage_timer is not None:
            self._outage_timer.cancel()
            self._outage_timer = None
        self._change_range(cut=self._cut, out_of_range=False)
        for connection in list(self._connections):
            connection.take_profile()
        if any(connection.complete for connection in self._connections):
            self._start_outages()

    def _start_outages(self) -> None:
        if self._outages_from is None:
            self._outages_from = self._loop.time()
            self._outage_change = 0.0
            self._apply_outages()

    def _apply_outages(self) -> None:
        """The schedule has come to `_outage_change`."""
        assert self._outages_from is not None
        self._change_range(cut=self._cut, out_of_range=self._outages.out(self._outage_change))
        if (change := self._outages.next_change_s(self._outage_change)) is not None:
            self._outage_change = change
            self._outage_timer = self._loop.call_at(self._outages_from + change, self._apply_outages)

    def _change_range(self, *, cut: bool, out_of_range: bool) -> None:
        before = self.out
        self._cut, self._out_of_range = cut, out_of_range
        if self.out == before:
            return
        self.trace.write("out" if self.out else "in", self._loop.time())
        for connection in list(self._connections):
            if self.out:
                connection.fall_silent()
            else:
                connection.resume()

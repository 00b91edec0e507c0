"""The air between emulated controllers: connection events, shaping, supervision and outages."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.link import LocalLink

from simulations.radio.controller import EmulatedController
from simulations.radio.lane import Lane
from simulations.radio.profile import LinkProfile

logger = logging.getLogger(__name__)

DEFAULT_SUPERVISION_S: Final = 0.72
"""Supervision timeout of a connection whose central asked for none."""
MAX_REMEMBERED_ADDRESSES: Final = 64
"""Devices change their random addresses; only the latest matter."""


class AirLink(LocalLink):
    """Carries advertisements, link control and ACL data between controllers.

    ACL data leaves at connection events, `LinkProfile.interval_s` apart on one grid for all connections, as the profile
    allows in each direction; advertising and link control are not shaped. A packet is reported complete to its host
    only once it is across, so the host's own queue feels the rate. Data waits, uncompleted, while the peer is gone,
    its host does not read, or the air is cut; a connection silenced for its supervision timeout ends where it lives on.
    """

    def __init__(self, profile: LinkProfile) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Bumble leaves it untyped
        self.profile = profile
        self._emulated: list[EmulatedController] = []
        self._tick: asyncio.TimerHandle | asyncio.Handle | None = None
        self._supervision: dict[int, asyncio.TimerHandle] = {}
        self._requested_supervision: dict[hci.Address, float] = {}
        self._cut = False

    def add_controller(self, controller: Controller) -> None:
        super().add_controller(controller)
        assert isinstance(controller, EmulatedController)
        self._emulated.append(controller)

    # ACL data -----------------------------------------------------------------------------------------

    def submit(self, controller: EmulatedController, connection: Connection, packet: hci.HCI_AclDataPacket) -> None:
        """Queue a packet of `controller`'s host for the next connection event."""
        lane = controller.lanes.get(connection.handle)
        if lane is None:
            lane = controller.lanes[connection.handle] = Lane()
        if len(lane) >= controller.total_num_le_acl_data_packets:
            logger.warning("%s: its host sends more than the buffers it was told of; data dropped", controller.name)
            return
        lane.push(packet, len(packet.data), event=self._event_now())
        self.schedule()

    def _event_now(self) -> int:
        interval = self.profile.interval_s
        return int(asyncio.get_running_loop().time() / interval) if interval else 0

    def schedule(self) -> None:
        """Make sure the next connection event happens if anything waits for it."""
        if self._tick is not None or not any(len(lane) for c in self._emulated for lane in c.lanes.values()):
            return
        loop = asyncio.get_running_loop()
        interval = self.profile.interval_s
        if interval is None:
            self._tick = loop.call_soon(self._on_event)
        else:
            # The grid is absolute, so that late timers do not add up to a slower link.
            self._tick = loop.call_at((self._event_now() + 1) * interval, self._on_event)

    def _on_event(self) -> None:
        self._tick = None
        event = self._event_now()
        blocked = False
        for controller in self._emulated:
            for connection in list(controller.le_connections.values()):
                lane = controller.lanes.get(connection.handle)
                if not lane:
                    continue
                peer = self._peer(connection)
                if self._cut or peer is None or not peer[0].host_writable:
                    lane.hold(event=event)
                    blocked = True
                    continue
                self._carry(controller, connection, peer, lane.release(self.profile, event=event))
        # An unshaped lane that is blocked is woken by what unblocks it; polling it would spin.
        if self.profile.shaped or not blocked:
            self.schedule()

    def _carry(
        self,
        controller: EmulatedController,
        connection: Connection,
        peer: tuple[EmulatedController, Connection],
        packets: list[hci.HCI_AclDataPacket],
    ) -> None:
        receiver, received_on = peer
        for packet in packets:
            # To a host, a first fragment is always "automatically flushable" (Core, Vol 4, Part E, 5.4.2).
            continuation = packet.pb_flag == hci.HCI_ACL_PB_CONTINUATION
            flag = hci.HCI_ACL_PB_CONTINUATION if continuation else hci.HCI_ACL_PB_FIRST_FLUSHABLE
            receiver.send_hci_packet(hci.HCI_AclDataPacket(received_on.handle, flag, 0, len(packet.data), packet.data))
        if packets:
            controller.send_hci_packet(
                hci.HCI_Number_Of_Completed_Packets_Event(
                    connection_handles=[connection.handle], num_completed_packets=[len(packets)]
                )
            )

    def _peer(self, connection: Connection) -> tuple[EmulatedController, Connection] | None:
        for controller in self._emulated:
            candidate = controller.le_connections.get(connection.self_address)
            if candidate is not None and candidate.self_address == connection.peer_address:
                return controller, candidate
        return None

    # Advertising and link control ---------------------------------------------------------------------

    def send_advertising_pdu(self, sender_controller: Controller, packet: ll.AdvertisingPdu) -> None:
        if self._cut:
            return
        if isinstance(packet, ll.ConnectInd):
            for address in (packet.initiator_address, packet.advertiser_address):
                self._requested_supervision.pop(address, None)
                self._requested_supervision[address] = packet.timeout * 0.01 or DEFAULT_SUPERVISION_S
            while len(self._requested_supervision) > MAX_REMEMBERED_ADDRESSES:
                self._requested_supervision.pop(next(iter(self._requested_supervision)))
            asyncio.get_running_loop().call_soon(self._confirm_connection, sender_controller, packet)
            return
        super().send_advertising_pdu(sender_controller, packet)

    def _confirm_connection(self, central: Controller, packet: ll.ConnectInd) -> None:
        for controller in self._emulated:
            if controller is not central:
                controller.on_ll_advertising_pdu(packet)
        connection = central.le_connections.get(packet.advertiser_address)
        if connection is not None and self._peer(connection) is None:
            # The advertiser stopped in the meantime: Core, Vol 6, Part B, 4.5.2, "failed to be established".
            central.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR)

    def supervision_s(self, peer_address: hci.Address) -> float:
        """Supervision timeout agreed with the device at `peer_address`, in seconds."""
        return self._requested_supervision.get(peer_address, DEFAULT_SUPERVISION_S)

    def scan_response(self, advertiser: hci.Address) -> bytes:
        """What the advertiser at this address answers to a scan request."""
        for controller in self._emulated:
            if (data := controller.scan_response_of(advertiser)) is not None:
                return data
        return b""

    def send_ll_control_pdu(
        self, sender_address: hci.Address, receiver_address: hci.Address, packet: ll.ControlPdu
    ) -> None:
        if self._cut:
            return
        for controller in self._emulated:
            connection = controller.le_connections.get(sender_address)
            if connection is not None and connection.self_address == receiver_address:
                asyncio.get_running_loop().call_soon(self._control, controller, connection, packet)
                return

    @staticmethod
    def _control(controller: EmulatedController, connection: Connection, packet: ll.ControlPdu) -> None:
        if controller.le_connections.get(connection.peer_address) is connection:
            controller.on_ll_control_pdu(connection.peer_address, packet)

    # Supervision and outages --------------------------------------------------------------------------

    def on_side_lost(self, connection: Connection) -> None:
        """One end of `connection` went silent: the other end's supervision timeout starts."""
        self.on_side_ended(connection)
        if (peer := self._peer(connection)) is not None:
            self._supervise(*peer)

    def on_side_ended(self, connection: Connection) -> None:
        """One end of `connection` has ended it and needs no supervision any more."""
        if (timer := self._supervision.pop(id(connection), None)) is not None:
            timer.cancel()

    def _supervise(self, controller: EmulatedController, connection: Connection) -> None:
        if id(connection) in self._supervision:
            return
        seconds = controller.supervision_s.get(connection.handle, DEFAULT_SUPERVISION_S)
        self._supervision[id(connection)] = asyncio.get_running_loop().call_later(
            seconds, self._on_supervision_timeout, controller, connection
        )

    def _on_supervision_timeout(self, controller: EmulatedController, connection: Connection) -> None:
        self._supervision.pop(id(connection), None)
        logger.info("%s: supervision timeout on handle %d", controller.name, connection.handle)
        controller.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    def cut(self) -> None:
        """Begin an outage: nothing crosses the air, and every connection's supervision timeout runs."""
        self._cut = True
        for controller in self._emulated:
            for connection in controller.le_connections.values():
                self._supervise(controller, connection)

    def restore(self) -> None:
        """End an outage; connections that both ends still hold go on."""
        self._cut = False
        for controller in self._emulated:
            for connection in list(controller.le_connections.values()):
                if self._peer(connection) is not None:
                    self.on_side_ended(connection)
        self.schedule()

"""An emulated LE controller on the shaped air: Bumble's controller with what its link layer leaves out."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from bumble import hci, ll
from bumble.controller import Connection

from simulations.radio.parameters import interval_units, timeout_units
from simulations.radio.procedures import LinkProcedures
from simulations.radio.profile import MAX_BUFFERS, LinkProfile

if TYPE_CHECKING:
    from simulations.radio.airlink import AirLink

logger = logging.getLogger(__name__)

ACL_BYTES: Final = 251
"""Largest link layer payload with data length extension (Core 5.4, Vol 6, Part B, 4.5.10)."""
MIN_BUFFERS: Final = 8
UNSHAPED_BUFFERS: Final = 64
RSSI_DBM: Final = -50


def public_address(index: int) -> str:
    """Public address of the air's controller of this index, counted from 0."""
    return f"C0:DE:00:00:00:{index + 1:02X}"


def acl_buffers(profile: LinkProfile) -> int:
    """ACL buffers of a controller on such a link: the profile's number, or two connection events' worth.

    Real controllers have few (Nordic's takes 1 to 20 a connection, sdk-nrf, BT_CTLR_SDC_TX_PACKET_COUNT) and fill the
    link nevertheless, for a buffer is free again, and refilled, as soon as its packet is acknowledged, within the
    event. Here all that leaves at an event leaves at one moment, so the buffers must hold it, and as much again for a
    host that takes its time until the next.
    """
    if profile.buffers is not None:
        return profile.buffers
    if not profile.shaped:
        return UNSHAPED_BUFFERS
    return min(max(2 * math.ceil(profile.bytes_per_event / ACL_BYTES), MIN_BUFFERS), MAX_BUFFERS)


class EmulatedController(LinkProcedures):
    """A controller whose host may come and go.

    Beyond Bumble's own: ACL packets keep their fragments and are reported complete only when the air has carried them;
    reset and loss of the host clear all state; a connection attempt can be cancelled; the scan response is really sent;
    and connections report the interval and the supervision timeout in force.
    """

    def __init__(self, index: int, link: AirLink) -> None:
        super().__init__(f"controller {index}", link=link, public_address=public_address(index))
        self._air = link
        self.host_writable = True
        self._active_scan = True
        self.le_acl_data_packet_length = ACL_BYTES
        self.supported_max_tx_octets = self.supported_max_rx_octets = ACL_BYTES
        self.suggested_max_tx_octets = ACL_BYTES
        self.total_num_le_acl_data_packets = acl_buffers(link.profile)

    def power_cycle(self) -> None:
        """Forget everything, as a controller does without power. Peers notice after their supervision timeout."""
        if self.le_legacy_advertiser.enabled:
            self.le_legacy_advertiser.stop()
        for advertising_set in self.advertising_sets.values():
            advertising_set.stop()
        self.advertising_sets.clear()
        self.le_scan_enable = False
        self.pending_le_connection = None
        self.host_writable = True
        self.total_num_le_acl_data_packets = acl_buffers(self._air.profile)  # the next host asks
        ended = [(self.links.get(connection.handle), connection) for connection in self.le_connections.values()]
        self.le_connections.clear()
        self.links.clear()
        self.forget_procedures()
        for link, connection in ended:
            if link is not None:
                link.leave(connection, None)

    # Commands from the host ---------------------------------------------------------------------------

    def on_hci_reset_command(self, command: hci.HCI_Reset_Command) -> hci.HCI_StatusReturnParameters:
        self.power_cycle()
        return super().on_hci_reset_command(command)

    def on_hci_le_create_connection_cancel_command(
        self, command: hci.HCI_LE_Create_Connection_Cancel_Command
    ) -> hci.HCI_StatusReturnParameters:
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        # Core 5.4, Vol 4, Part E, 7.8.13: the attempt ends with a connection complete event of this status.
        self.send_hci_packet(
            hci.HCI_LE_Connection_Complete_Event(
                status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
                connection_handle=0,
                role=hci.Role.CENTRAL,
                peer_address_type=pending.peer_address.address_type,
                peer_address=pending.peer_address,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
                central_clock_accuracy=0,
            )
        )
        return super().on_hci_le_create_connection_cancel_command(command)

    def on_hci_le_set_extended_scan_parameters_command(
        self, command: hci.HCI_LE_Set_Extended_Scan_Parameters_Command
    ) -> hci.HCI_StatusReturnParameters:
        self._active_scan = any(command.scan_types)
        return super().on_hci_le_set_extended_scan_parameters_command(command)

    def on_hci_disconnect_command(self, command: hci.HCI_Disconnect_Command) -> None:
        """Core 5.4, Vol 4, Part E, 7.1.6: the peer is told the host's reason, and the host that it was the host."""
        connection = self.find_le_connection_by_handle(command.connection_handle)
        if connection is None:
            super().on_hci_disconnect_command(command)
            return
        self._send_hci_command_status(hci.HCI_COMMAND_STATUS_PENDING, command.op_code)
        connection.send_ll_control_pdu(ll.TerminateInd(command.reason))
        self.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR)

    def on_hci_acl_data_packet(self, packet: hci.HCI_AclDataPacket) -> None:
        connection = self.find_le_connection_by_handle(packet.connection_handle)
        if connection is None:
            logger.debug("%s: data for handle %d after its connection ended", self.name, packet.connection_handle)
            return
        if (link := self.links.get(connection.handle)) is not None:
            link.submit(self, connection, packet)

    # Connections --------------------------------------------------------------------------------------

    def on_le_connect_ind(self, packet: ll.ConnectInd) -> None:
        if (stale := self.le_connections.get(packet.initiator_address)) is not None:
            # The central restarted before our supervision timeout: the old connection is dead, whatever we believe.
            self.on_le_disconnected(stale, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
        super().on_le_connect_ind(packet)

    def on_le_disconnected(self, connection: Connection, reason: int) -> None:
        if self.le_connections.get(connection.peer_address) is not connection:
            return  # both ends may end a connection at the same moment
        link = self.links.pop(connection.handle, None)
        self.forget_procedures(connection.handle)
        if link is not None:
            link.flush(connection.role)  # what has been acknowledged is not lost
        super().on_le_disconnected(connection, reason)
        if link is not None:
            link.leave(connection, reason)

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        if isinstance(packet, hci.HCI_LE_Connection_Complete_Event) and packet.status == hci.HCI_ErrorCode.SUCCESS:
            packet = self._joined(packet)
        super().send_hci_packet(packet)

    def _joined(self, packet: hci.HCI_LE_Connection_Complete_Event) -> hci.HCI_LE_Connection_Complete_Event:
        """Take part in the new connection; Bumble reports fixed numbers, the host should see the link it is on."""
        connection = self.find_le_connection_by_handle(packet.connection_handle)
        link = None if connection is None else self._air.joined(self, connection)
        if link is None:
            return packet
        self.links[packet.connection_handle] = link
        return hci.HCI_LE_Connection_Complete_Event(
            status=packet.status,
            connection_handle=packet.connection_handle,
            role=packet.role,
            peer_address_type=packet.peer_address_type,
            peer_address=packet.peer_address,
            connection_interval=interval_units(link.interval_s),
            peripheral_latency=0,
            supervision_timeout=timeout_units(link.supervision_s),
            central_clock_accuracy=0,
        )

    # Advertisements -----------------------------------------------------------------------------------

    def on_advertising_pdu(self, pdu: ll.AdvInd | ll.AdvExtInd) -> None:
        if self.le_scan_enable:
            # Only the legacy PDUs are both connectable and scannable. Linux joins a scan response to its advertisement
            # only where both are said to be such, and else drops it when the scan is for a service.
            kinds = hci.HCI_LE_Extended_Advertising_Report_Event.EventType
            both = kinds.CONNECTABLE_ADVERTISING | kinds.SCANNABLE_ADVERTISING | kinds.LEGACY_ADVERTISING_PDU_USED
            self._report(pdu, both, pdu.data)
            if self._active_scan:
                self._report(pdu, both | kinds.SCAN_RESPONSE, self._air.scan_response(pdu.advertiser_address))
        pending = self.pending_le_connection
        if pending is not None and pending.peer_address == pdu.advertiser_address:
            self.create_le_connection(pdu.advertiser_address)

    def _report(self, pdu: ll.AdvInd | ll.AdvExtInd, event_type: int, data: bytes) -> None:
        self.send_hci_packet(
            hci.HCI_LE_Extended_Advertising_Report_Event(
                [
                    hci.HCI_LE_Extended_Advertising_Report_Event.Report(
                        event_type=event_type,
                        address_type=pdu.advertiser_address.address_type,
                        address=pdu.advertiser_address,
                        primary_phy=hci.Phy.LE_1M,
                        secondary_phy=hci.Phy.LE_1M,
                        advertising_sid=0,
                        tx_power=hci.HCI_LE_Extended_Advertising_Report_Event.TX_POWER_INFORMATION_NOT_AVAILABLE,
                        rssi=RSSI_DBM,
                        periodic_advertising_interval=0,
                        direct_address_type=0,
                        direct_address=hci.Address.ANY,
                        data=data,
                    )
                ]
            )
        )

    def scan_response_of(self, address: hci.Address) -> bytes | None:
        """Scan response this controller gives as advertiser `address`; None when it does not advertise so."""
        for advertising_set in self.advertising_sets.values():
            if advertising_set.enabled and advertising_set.address == address:
                return bytes(advertising_set.scan_response_data)
        legacy = self.le_legacy_advertiser
        if legacy.enabled and legacy.address == address:
            return legacy.scan_response_data
        return None

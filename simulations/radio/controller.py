"""An emulated LE controller on the shaped air: Bumble's controller with what its link layer leaves out."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from bumble import hci, ll
from bumble.controller import Connection, Controller

from simulations.radio.lane import Lane

if TYPE_CHECKING:
    from simulations.radio.airlink import AirLink

logger = logging.getLogger(__name__)

ACL_BYTES: Final = 251
"""Largest link layer payload with data length extension (Core 5.4, Vol 6, Part B, 4.5.10)."""
MIN_BUFFERS: Final = 8
MAX_BUFFERS: Final = 64
"""ACL buffers of a controller; real ones have 4 to 20."""
UNSHAPED_INTERVAL: Final = 6
"""Connection interval reported on an unshaped link, in units of 1.25 ms: the shortest legal one."""
RSSI_DBM: Final = -50


class EmulatedController(Controller):
    """A controller whose host may come and go.

    Beyond Bumble's own: ACL packets keep their fragments and are reported complete only when the air has carried them;
    reset and loss of the host clear all state; a connection attempt can be cancelled; the scan response is really sent;
    and connections report the interval and the supervision timeout in force.
    """

    def __init__(self, index: int, link: AirLink) -> None:
        super().__init__(f"controller {index}", link=link, public_address=f"C0:DE:00:00:00:{index + 1:02X}")
        self._air = link
        self.lanes: dict[int, Lane[hci.HCI_AclDataPacket]] = {}
        self.supervision_s: dict[int, float] = {}
        self.host_writable = True
        self._active_scan = True
        self.le_acl_data_packet_length = ACL_BYTES
        self.supported_max_tx_octets = self.supported_max_rx_octets = ACL_BYTES
        self.suggested_max_tx_octets = ACL_BYTES
        # Two events' worth: one on the air while the host refills the other.
        per_event = link.profile.bytes_per_event
        wanted = MAX_BUFFERS if math.isinf(per_event) else 2 * math.ceil(per_event / ACL_BYTES)
        self.total_num_le_acl_data_packets = min(max(wanted, MIN_BUFFERS), MAX_BUFFERS)

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
        connections = list(self.le_connections.values())
        self.le_connections.clear()
        self.lanes.clear()
        self.supervision_s.clear()
        for connection in connections:
            self._air.on_side_lost(connection)

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

    def on_hci_acl_data_packet(self, packet: hci.HCI_AclDataPacket) -> None:
        connection = self.find_le_connection_by_handle(packet.connection_handle)
        if connection is None:
            logger.debug("%s: data for handle %d after its connection ended", self.name, packet.connection_handle)
            return
        self._air.submit(self, connection, packet)

    # Connections --------------------------------------------------------------------------------------

    def on_le_connect_ind(self, packet: ll.ConnectInd) -> None:
        if (stale := self.le_connections.get(packet.initiator_address)) is not None:
            # The central restarted before our supervision timeout: the old connection is dead, whatever we believe.
            self.on_le_disconnected(stale, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
        super().on_le_connect_ind(packet)

    def on_le_disconnected(self, connection: Connection, reason: int) -> None:
        if self.le_connections.get(connection.peer_address) is not connection:
            return  # both ends may end a connection at the same moment
        super().on_le_disconnected(connection, reason)
        self.lanes.pop(connection.handle, None)
        self.supervision_s.pop(connection.handle, None)
        self._air.on_side_ended(connection)

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        if isinstance(packet, hci.HCI_LE_Connection_Complete_Event) and packet.status == hci.HCI_ErrorCode.SUCCESS:
            # Bumble reports fixed numbers to the peripheral; the host should see the link it is on.
            supervision = self._air.supervision_s(packet.peer_address)
            self.supervision_s[packet.connection_handle] = supervision
            interval = self._air.profile.interval_s
            packet = hci.HCI_LE_Connection_Complete_Event(
                status=packet.status,
                connection_handle=packet.connection_handle,
                role=packet.role,
                peer_address_type=packet.peer_address_type,
                peer_address=packet.peer_address,
                connection_interval=round(interval / 0.00125) if interval else UNSHAPED_INTERVAL,
                peripheral_latency=0,
                supervision_timeout=round(supervision / 0.01),
                central_clock_accuracy=0,
            )
        super().send_hci_packet(packet)

    # Advertisements -----------------------------------------------------------------------------------

    def on_advertising_pdu(self, pdu: ll.AdvInd | ll.AdvExtInd) -> None:
        if self.le_scan_enable:
            event_types = hci.HCI_LE_Extended_Advertising_Report_Event.EventType
            self._report(pdu, event_types.CONNECTABLE_ADVERTISING, pdu.data)
            if self._active_scan:
                self._report(pdu, event_types.SCAN_RESPONSE, self._air.scan_response(pdu.advertiser_address))
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

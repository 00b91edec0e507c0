"""Link layer procedures that Bumble's controller leaves out: connection parameters, PHY and data length."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Final

from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.link import LocalLink

from simulations.radio.connection import AirConnection
from simulations.radio.parameters import INTERVAL_UNIT_S, TIMEOUT_UNIT_S, ParameterRequest, interval_units
from simulations.radio.pdus import ConnectionParamReq, PhyReq, PhyUpdateInd

logger = logging.getLogger(__name__)

_DATA_TIME_US: Final = 2120
"""Air time of the largest packet on the 1M PHY (Core 5.4, Vol 6, Part B, 4.5.10)."""
_PARAMETER_REQUEST_BIT: Final = 1 << (hci.HCI_LE_REMOTE_CONNECTION_PARAMETER_REQUEST_EVENT - 1)
_ANY_TX: Final = 1
_ANY_RX: Final = 2
_Status = hci.HCI_ErrorCode
_HandleStatus = hci.HCI_StatusAndConnectionHandleReturnParameters


@dataclass(slots=True)
class _State:
    """Of one connection."""

    tx_phy: hci.Phy = hci.Phy.LE_1M
    rx_phy: hci.Phy = hci.Phy.LE_1M
    asked: ParameterRequest | None = field(default=None)  # by the peripheral, while the host thinks


class LinkProcedures(Controller):
    """A controller that carries the procedures out, over the air and at its pace.

    The interval is the profile's: a request that excludes it is refused with "unacceptable connection parameters"
    (0x3B), or granted where the profile frees the interval. Any PHY is granted, and the rate stays the profile's.
    """

    def __init__(self, name: str, *, link: LocalLink, public_address: str) -> None:
        super().__init__(name, link=link, public_address=public_address)
        self.links: dict[int, AirConnection] = {}
        self._states: dict[int, _State] = {}

    def forget_procedures(self, handle: int | None = None) -> None:
        """A connection is over, or all of them are."""
        if handle is None:
            self._states.clear()
        else:
            self._states.pop(handle, None)

    def _state(self, connection: Connection) -> _State:
        return self._states.setdefault(connection.handle, _State())

    def on_hci_command(self, command: hci.HCI_Command) -> Any:
        """Commands that neither Bumble nor this emulation knows are refused in the form that their host waits for."""
        if isinstance(command, hci.HCI_SyncCommand):
            return super().on_hci_command(command)
        logger.warning("%s: %s is not supported", self.name, command.name)
        self._send_hci_command_status(_Status.UNKNOWN_HCI_COMMAND_ERROR, command.op_code)
        return None

    def on_ll_control_pdu(self, sender_address: hci.Address, packet: ll.ControlPdu) -> None:
        connection = self.le_connections.get(sender_address)
        if connection is None:
            return  # it ended on the way
        match packet:
            case ll.ConnectionUpdateInd():
                self._apply_parameters(connection, packet)
            case ConnectionParamReq():
                self._on_parameters_asked(connection, packet)
            case ll.RejectExtInd(reject_opcode=ll.ControlPdu.Opcode.LL_CONNECTION_PARAM_REQ):
                self._parameters_refused(connection, packet.error_code)
            case PhyReq():
                self._on_phy_asked(connection, packet)
            case PhyUpdateInd():
                self._take_phys(connection, packet.tx, packet.rx, always=True)
            case _:
                super().on_ll_control_pdu(sender_address, packet)

    # Connection parameters ----------------------------------------------------------------------------

    def on_hci_le_connection_update_command(self, command: hci.HCI_LE_Connection_Update_Command) -> None:
        """Core 5.4, Vol 4, Part E, 7.8.18."""
        connection = self.find_le_connection_by_handle(command.connection_handle)
        request = ParameterRequest(
            interval_min=command.connection_interval_min,
            interval_max=command.connection_interval_max,
            latency=command.max_latency,
            timeout=command.supervision_timeout,
        )
        if connection is None:
            status = _Status.UNKNOWN_CONNECTION_IDENTIFIER_ERROR
        elif not request.valid:
            status = _Status.INVALID_COMMAND_PARAMETERS_ERROR
        else:
            status = _Status.SUCCESS
        self._send_hci_command_status(status, command.op_code)
        if connection is None or status != _Status.SUCCESS:
            return
        if connection.role == hci.Role.PERIPHERAL:
            connection.send_ll_control_pdu(
                ConnectionParamReq(request.interval_min, request.interval_max, request.latency, request.timeout)
            )
        elif not self._update(connection, request):
            self._parameters_refused(connection, _Status.UNACCEPTABLE_CONNECTION_PARAMETERS_ERROR)

    def _update(self, central: Connection, request: ParameterRequest) -> bool:
        """Tell the peripheral the parameters that a request gets; False when it gets none."""
        if (link := self.links.get(central.handle)) is None:
            return False
        profile = link.profile
        if (interval := request.choose(profile.interval_s, fixed=profile.interval_fixed)) is None:
            return False
        central.send_ll_control_pdu(ll.ConnectionUpdateInd(interval_units(interval), request.latency, request.timeout))
        return True

    def _apply_parameters(self, connection: Connection, update: ll.ConnectionUpdateInd) -> None:
        if (link := self.links.get(connection.handle)) is None:
            return
        interval = link.profile.interval_s
        if interval_units(interval) != update.interval:  # else the exact one, which HCI rounds
            interval = update.interval * INTERVAL_UNIT_S
        link.change(interval_s=interval, latency=update.latency, supervision_s=update.timeout * TIMEOUT_UNIT_S)

    def _on_parameters_asked(self, central: Connection, pdu: ConnectionParamReq) -> None:
        request = ParameterRequest(pdu.interval_min, pdu.interval_max, pdu.latency, pdu.timeout)
        if not self.le_event_mask & _PARAMETER_REQUEST_BIT:
            self._answer_parameters(central, request)
            return
        self._state(central).asked = request
        self.send_hci_packet(
            hci.HCI_LE_Remote_Connection_Parameter_Request_Event(
                connection_handle=central.handle,
                interval_min=pdu.interval_min,
                interval_max=pdu.interval_max,
                max_latency=pdu.latency,
                timeout=pdu.timeout,
            )
        )

    def on_hci_le_remote_connection_parameter_request_reply_command(
        self, command: hci.HCI_LE_Remote_Connection_Parameter_Request_Reply_Command
    ) -> _HandleStatus:
        """Core 5.4, Vol 4, Part E, 7.8.31."""
        request = ParameterRequest(command.interval_min, command.interval_max, command.max_latency, command.timeout)
        return self._host_answered(command.connection_handle, request, _Status.SUCCESS)

    def on_hci_le_remote_connection_parameter_request_negative_reply_command(
        self, command: hci.HCI_LE_Remote_Connection_Parameter_Request_Negative_Reply_Command
    ) -> _HandleStatus:
        """Core 5.4, Vol 4, Part E, 7.8.32."""
        return self._host_answered(command.connection_handle, None, command.reason)

    def _host_answered(self, handle: int, request: ParameterRequest | None, reason: int) -> _HandleStatus:
        connection = self.find_le_connection_by_handle(handle)
        if connection is None:
            return _HandleStatus(_Status.UNKNOWN_CONNECTION_IDENTIFIER_ERROR, handle)
        state = self._state(connection)
        if state.asked is None:
            return _HandleStatus(_Status.COMMAND_DISALLOWED_ERROR, handle)
        if request is not None and not request.valid:
            return _HandleStatus(_Status.INVALID_COMMAND_PARAMETERS_ERROR, handle)
        state.asked = None
        if request is None:
            self._reject_parameters(connection, reason)
        else:
            self._answer_parameters(connection, request)
        return _HandleStatus(_Status.SUCCESS, handle)

    def _answer_parameters(self, central: Connection, request: ParameterRequest) -> None:
        if not self._update(central, request):
            self._reject_parameters(central, _Status.UNACCEPTABLE_CONNECTION_PARAMETERS_ERROR)

    @staticmethod
    def _reject_parameters(central: Connection, reason: int) -> None:
        central.send_ll_control_pdu(ll.RejectExtInd(ll.ControlPdu.Opcode.LL_CONNECTION_PARAM_REQ, reason))

    def _parameters_refused(self, connection: Connection, reason: int) -> None:
        self.send_hci_packet(
            hci.HCI_LE_Connection_Update_Complete_Event(
                status=reason,
                connection_handle=connection.handle,
                connection_interval=0,
                peripheral_latency=0,
                supervision_timeout=0,
            )
        )

    # PHY and data length ------------------------------------------------------------------------------

    def on_hci_le_set_phy_command(self, command: hci.HCI_LE_Set_PHY_Command) -> None:
        """Core 5.4, Vol 4, Part E, 7.8.49."""
        connection = self.find_le_connection_by_handle(command.connection_handle)
        if connection is None:
            self._send_hci_command_status(_Status.UNKNOWN_CONNECTION_IDENTIFIER_ERROR, command.op_code)
            return
        state = self._state(connection)
        tx = state.tx_phy if command.all_phys & _ANY_TX else _fastest(command.tx_phys)
        rx = state.rx_phy if command.all_phys & _ANY_RX else _fastest(command.rx_phys)
        if tx is None or rx is None:
            self._send_hci_command_status(_Status.INVALID_COMMAND_PARAMETERS_ERROR, command.op_code)
            return
        self._send_hci_command_status(_Status.SUCCESS, command.op_code)
        connection.send_ll_control_pdu(PhyReq(tx, rx))

    def _on_phy_asked(self, connection: Connection, pdu: PhyReq) -> None:
        self._take_phys(connection, pdu.rx, pdu.tx, always=False)
        connection.send_ll_control_pdu(PhyUpdateInd(pdu.tx, pdu.rx))

    def _take_phys(self, connection: Connection, tx: hci.Phy, rx: hci.Phy, *, always: bool) -> None:
        """Use these PHYs and tell the host, if they are others or it asked."""
        state = self._state(connection)
        changed = (state.tx_phy, state.rx_phy) != (tx, rx)
        state.tx_phy, state.rx_phy = tx, rx
        if changed or always:
            self.send_hci_packet(
                hci.HCI_LE_PHY_Update_Complete_Event(
                    status=_Status.SUCCESS, connection_handle=connection.handle, tx_phy=tx, rx_phy=rx
                )
            )

    def on_hci_le_read_phy_command(self, command: hci.HCI_LE_Read_PHY_Command) -> hci.HCI_LE_Read_PHY_ReturnParameters:
        """Core 5.4, Vol 4, Part E, 7.8.47."""
        connection = self.find_le_connection_by_handle(command.connection_handle)
        state = _State() if connection is None else self._state(connection)
        return hci.HCI_LE_Read_PHY_ReturnParameters(
            status=_Status.SUCCESS if connection is not None else _Status.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
            connection_handle=command.connection_handle,
            tx_phy=state.tx_phy,
            rx_phy=state.rx_phy,
        )

    def on_hci_le_set_data_length_command(self, command: hci.HCI_LE_Set_Data_Length_Command) -> _HandleStatus:
        """Core 5.4, Vol 4, Part E, 7.8.33. The emulated link carries the largest packets from the start."""
        connection = self.find_le_connection_by_handle(command.connection_handle)
        if connection is None:
            return _HandleStatus(_Status.UNKNOWN_CONNECTION_IDENTIFIER_ERROR, command.connection_handle)
        self.send_hci_packet(
            hci.HCI_LE_Data_Length_Change_Event(
                connection_handle=connection.handle,
                max_tx_octets=self.supported_max_tx_octets,
                max_tx_time=_DATA_TIME_US,
                max_rx_octets=self.supported_max_rx_octets,
                max_rx_time=_DATA_TIME_US,
            )
        )
        return _HandleStatus(_Status.SUCCESS, command.connection_handle)


def _fastest(phys: int) -> hci.Phy | None:
    """The fastest PHY of a set of HCI's bits."""
    for phy, bit in ((hci.Phy.LE_2M, 2), (hci.Phy.LE_1M, 1), (hci.Phy.LE_CODED, 4)):
        if phys & bit:
            return phy
    return None

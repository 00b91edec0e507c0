"""Link layer control PDUs that Bumble's emulation lacks (Core 5.4, Vol 6, Part B, 2.4.2), in its manner."""

from __future__ import annotations

from dataclasses import dataclass

from bumble import hci, ll


@dataclass
class ConnectionParamReq(ll.ControlPdu):
    """The peripheral asks for other connection parameters; in the units of HCI."""

    opcode = ll.ControlPdu.Opcode.LL_CONNECTION_PARAM_REQ

    interval_min: int
    interval_max: int
    latency: int
    timeout: int


@dataclass
class PhyReq(ll.ControlPdu):
    """One side says on which PHYs it would send and receive."""

    opcode = ll.ControlPdu.Opcode.LL_PHY_REQ

    tx: hci.Phy
    rx: hci.Phy


@dataclass
class PhyUpdateInd(ll.ControlPdu):
    """The answer: the PHYs in force, as the side that asked sees them."""

    opcode = ll.ControlPdu.Opcode.LL_PHY_UPDATE_IND

    tx: hci.Phy
    rx: hci.Phy

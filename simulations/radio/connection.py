"""One connection on the emulated air, with both of its ends: its events, what crosses at them, and its supervision."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from bumble import hci, ll
from bumble.controller import Connection

from simulations.radio.conditions import Conditions, Direction, EventClock
from simulations.radio.delay import DelayLine
from simulations.radio.lane import Lane
from simulations.radio.parameters import interval_units, supervision_in_force, timeout_units
from simulations.radio.profile import LinkProfile
from simulations.radio.trace import AirTrace

if TYPE_CHECKING:
    from simulations.radio.controller import EmulatedController

logger = logging.getLogger(__name__)

MAX_CONTROL: Final = 32
"""Link layer control PDUs that may wait in one direction; hosts run one or two procedures at a time."""
MAX_JUDGED_EVENTS: Final = 1000
"""Events looked at after a scheduling gap; the machine may have slept for hours."""


class Air(Protocol):
    """What a connection needs of the air it is on."""

    profile: LinkProfile
    trace: AirTrace

    @property
    def out(self) -> bool:
        """Whether nothing crosses."""

    def connection_over(self, connection: AirConnection) -> None:
        """Neither end is left."""


@dataclass(frozen=True, slots=True)
class End:
    """One device's part of a connection."""

    controller: EmulatedController
    connection: Connection


@dataclass(slots=True)
class _Way:
    """What waits and travels in one direction."""

    data: Lane[hci.HCI_AclDataPacket] = field(default_factory=Lane)
    control: deque[ll.ControlPdu] = field(default_factory=deque)
    line: DelayLine[Callable[[], None]] = field(default_factory=DelayLine)
    timer: asyncio.TimerHandle | None = None
    carried: int = 0

    @property
    def waiting(self) -> bool:
        return bool(len(self.data) or self.control)


_SENDERS: Final = {
    Direction.TO_PERIPHERAL: hci.Role.CENTRAL,
    Direction.TO_CENTRAL: hci.Role.PERIPHERAL,
}


def _other(role: hci.Role) -> hci.Role:
    return hci.Role.PERIPHERAL if role == hci.Role.CENTRAL else hci.Role.CENTRAL


class AirConnection:
    """A connection, from the central's request until both ends know that it is over.

    At every connection event that is not missed, link layer control crosses first, then data as the lanes allow.
    Whatever crosses reaches the receiving host in order, after the profile's delays. A data packet is reported complete
    to its sender when it has crossed, so that the sender's queue feels the rate. While the air is out, an end is gone,
    or a host does not read, data waits uncompleted. An end that hears nothing for its supervision timeout loses the
    connection (HCI 0x08).

    Args:
        air: the air it is on.
        number: 1, 2, ... in the order in which connections are made; part of the address of every random draw.
        requested_supervision_s: what the central asks for; 0: nothing.
    """

    def __init__(self, air: Air, number: int, *, requested_supervision_s: float) -> None:
        self.number = number
        self._air = air
        self._loop = asyncio.get_running_loop()
        self._requested_supervision_s = requested_supervision_s
        self._clock = EventClock(self._loop.time(), air.profile.interval_s)
        self._conditions = Conditions(air.profile, connection=number)
        self._judged = 0
        self._latency = 0
        self.supervision_s = 0.0
        self._ends: dict[hci.Role, End] = {}
        self._ways = {direction: _Way() for direction in Direction}
        self._tick: asyncio.TimerHandle | asyncio.Handle | None = None
        self._silence: dict[hci.Role, asyncio.TimerHandle] = {}
        self._set_supervision()

    # Ends ---------------------------------------------------------------------------------------------

    @property
    def interval_s(self) -> float | None:
        """Connection interval in force; None on an unshaped link."""
        return self._clock.interval_s

    @property
    def profile(self) -> LinkProfile:
        """That of the air."""
        return self._air.profile

    @property
    def complete(self) -> bool:
        """Whether both ends hold the connection."""
        return len(self._ends) == 2

    def join(self, controller: EmulatedController, connection: Connection) -> None:
        """A device takes part."""
        self._ends[connection.role] = End(controller, connection)
        if self.complete:
            self._trace("up", interval_ms=self._interval_ms, supervision_ms=self.supervision_s * 1e3)
            self.schedule()

    def leave(self, connection: Connection, reason: int | None) -> None:
        """A device has no part any more; the other end's supervision timeout starts.

        Args:
            reason: HCI error code; None: the device lost power, and what was on its way to its host with it.
        """
        role = connection.role
        self._ends.pop(role, None)
        if (timer := self._silence.pop(role, None)) is not None:
            timer.cancel()
        for direction, way in self._ways.items():
            if _SENDERS[direction] == role:
                way.data = Lane()
                way.control.clear()
            elif reason is None:
                way.line.pop()
        self._trace("down", end="central" if role == hci.Role.CENTRAL else "peripheral", reason=reason)
        if self._ends:
            self.fall_silent()
        else:
            self._close()

    def _close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        for way in self._ways.values():
            if way.timer is not None:
                way.timer.cancel()
                way.timer = None
        self._air.connection_over(self)

    def role_of(self, own: hci.Address, peer: hci.Address) -> hci.Role | None:
        """The part that the device `own` has in a connection with `peer`; None: this is not that connection."""
        for role, end in self._ends.items():
            if end.connection.self_address == own and end.connection.peer_address == peer:
                return role
        return None

    def flush(self, role: hci.Role) -> None:
        """Hand the host of this end at once what has crossed and is on its way to it."""
        way = self._ways[_direction_to(role)]
        for deliver in way.line.pop():
            deliver()

    # What crosses -------------------------------------------------------------------------------------

    def submit(self, sender: EmulatedController, connection: Connection, packet: hci.HCI_AclDataPacket) -> None:
        """Queue a packet of a host for the next connection event."""
        lane = self._ways[_direction_to(_other(connection.role))].data
        if len(lane) >= sender.total_num_le_acl_data_packets:
            logger.warning("%s: its host sends more than the buffers it was told of; data dropped", sender.name)
            return
        lane.push(packet, len(packet.data), event=self._clock.passed(self._loop.time()))
        self.schedule()

    def control(self, sender: hci.Role, pdu: ll.ControlPdu) -> None:
        """Queue a link layer control PDU for the next connection event, before all data.

        The end of a connection does not wait: its sender is gone by then.
        """
        if isinstance(pdu, ll.TerminateInd):
            if not self._air.out:
                self._loop.call_soon(self._control_arrived, _other(sender), pdu)
            return
        queue = self._ways[_direction_to(_other(sender))].control
        if len(queue) >= MAX_CONTROL:
            logger.warning("connection %d: too much link control at once; dropped", self.number)
            return
        queue.append(pdu)
        self.schedule()

    def _control_arrived(self, receiver: hci.Role, pdu: ll.ControlPdu) -> None:
        if (end := self._ends.get(receiver)) is not None:
            end.controller.on_ll_control_pdu(end.connection.peer_address, pdu)

    def _data_arrived(self, receiver: hci.Role, packet: hci.HCI_AclDataPacket) -> None:
        if (end := self._ends.get(receiver)) is None:
            return
        # To a host, a first fragment is always "automatically flushable" (Core, Vol 4, Part E, 5.4.2).
        continuation = packet.pb_flag == hci.HCI_ACL_PB_CONTINUATION
        flag = hci.HCI_ACL_PB_CONTINUATION if continuation else hci.HCI_ACL_PB_FIRST_FLUSHABLE
        end.controller.send_hci_packet(
            hci.HCI_AclDataPacket(end.connection.handle, flag, 0, len(packet.data), packet.data)
        )

    # Connection events --------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Make sure the next connection event happens if it matters."""
        if self._tick is not None or self._air.out:
            return
        # Where events can be missed each must be looked at: enough of them in a row end even an idle connection.
        watching = self._air.profile.miss and self.complete
        if not watching and not any(way.waiting for way in self._ways.values()):
            return
        if self._clock.interval_s is None:
            self._tick = self._loop.call_soon(self._on_event)
        else:
            event = self._clock.passed(self._loop.time()) + 1
            self._tick = self._loop.call_at(self._clock.time_s(event), self._on_event)

    def _on_event(self) -> None:
        self._tick = None
        if self._air.out:
            return
        event = self._clock.passed(self._loop.time())
        if not self.complete:
            self._hold(event)
        elif self._heard(event):
            self.hear()
            self._cross(event)
        elif event > self._judged:
            self.fall_silent()
        self._judged = max(self._judged, event)
        # An unshaped lane that is blocked is woken by what unblocks it; polling it would spin.
        if self._clock.interval_s is not None:
            self.schedule()

    def _heard(self, event: int) -> bool:
        """Whether the two ends met since last time."""
        if self._clock.interval_s is None:
            return True
        if not self.profile.miss:
            return event > self._judged
        first = max(self._judged, event - MAX_JUDGED_EVENTS) + 1
        heard = False
        for number in range(first, event + 1):
            if self._conditions.missed(number):
                self._trace("missed", event=number)
            else:
                heard = True
        return heard

    def _cross(self, event: int) -> None:
        carried: dict[str, int] = {}
        control = 0
        for direction, way in self._ways.items():
            to = _other(_SENDERS[direction])
            if not self._ends[to].controller.host_writable or way.line.full:
                way.data.hold(event=event)
                continue
            while way.control:
                self._send_on(direction, event, partial(self._control_arrived, to, way.control.popleft()))
                control += 1
            packets = way.data.release(self._conditions, event=event) if len(way.data) else []
            for packet in packets:
                way.carried += 1
                self._send_on(direction, event, partial(self._data_arrived, to, packet))
            if packets:
                carried[direction.name.lower()] = sum(len(packet.data) for packet in packets)
                sender = self._ends[_SENDERS[direction]]
                sender.controller.send_hci_packet(
                    hci.HCI_Number_Of_Completed_Packets_Event(
                        connection_handles=[sender.connection.handle], num_completed_packets=[len(packets)]
                    )
                )
        if carried or control:
            self._trace("event", event=event, **carried, control=control)
        for direction in self._ways:
            self._deliver(direction)

    def _send_on(self, direction: Direction, event: int, arrival: Callable[[], None]) -> None:
        way = self._ways[direction]
        # An unshaped link has no event numbers; its packets have.
        index = event if self._clock.interval_s is not None else way.carried
        way.line.push(arrival, self._loop.time() + self._conditions.delay_s(index, direction))

    def _deliver(self, direction: Direction) -> None:
        """Hand the receiving host what is due, and wake up for the rest."""
        way = self._ways[direction]
        was_full = way.line.full
        if way.timer is not None:
            way.timer.cancel()
            way.timer = None
        for deliver in way.line.pop(self._loop.time()):
            deliver()
        if (due := way.line.due_s) is not None and way.timer is None:
            way.timer = self._loop.call_at(due, self._deliver, direction)
        if was_full:
            self.schedule()

    def _hold(self, event: int) -> None:
        for way in self._ways.values():
            way.data.hold(event=event)

    # Supervision, outages and changes -----------------------------------------------------------------

    def fall_silent(self) -> None:
        """The ends hear nothing from now on: supervision timeouts run."""
        for role, end in self._ends.items():
            if role not in self._silence:
                self._silence[role] = self._loop.call_later(self.supervision_s, self._on_supervision_timeout, end)

    def hear(self) -> None:
        """The ends hear each other."""
        for timer in self._silence.values():
            timer.cancel()
        self._silence.clear()

    def resume(self) -> None:
        """The air is back: whoever is still there goes on, and the time out is not paid back."""
        event = self._clock.passed(self._loop.time())
        self._hold(event)
        self._judged = event
        if self.complete:
            self.hear()
        self.schedule()

    def _on_supervision_timeout(self, end: End) -> None:
        self._silence.pop(end.connection.role, None)
        logger.info("%s: supervision timeout on handle %d", end.controller.name, end.connection.handle)
        end.controller.on_le_disconnected(end.connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    def _set_supervision(self) -> None:
        self.supervision_s = supervision_in_force(
            self._requested_supervision_s, self._clock.interval_s, override_s=self._air.profile.supervision_s
        )

    def change(
        self, *, interval_s: float | None, latency: int | None = None, supervision_s: float | None = None
    ) -> None:
        """Take other parameters from now on, and tell both hosts what is in force.

        Args:
            interval_s: new connection interval; ignored on an unshaped link.
            latency: peripheral latency to report; None: as before.
            supervision_s: what the devices agreed on; None: as before.
        """
        if self._air.profile.interval_s is not None:
            self._set_interval(interval_s)
        self._latency = self._latency if latency is None else latency
        self._requested_supervision_s = supervision_s or self._requested_supervision_s
        self._set_supervision()
        self._tell_parameters(interval_units(interval_s))

    def take_profile(self) -> None:
        """The air has another profile: go on under it."""
        before = (self._clock.interval_s, self.supervision_s)
        self._set_interval(self._air.profile.interval_s)
        self._set_supervision()
        if (self._clock.interval_s, self.supervision_s) != before:
            self._tell_parameters(interval_units(self._clock.interval_s))

    def _set_interval(self, interval_s: float | None) -> None:
        if interval_s != self._clock.interval_s:
            self._clock = self._clock.changed(self._loop.time(), interval_s)
        self._conditions = Conditions(self._air.profile, connection=self.number, interval_s=interval_s)
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self.schedule()

    def _tell_parameters(self, interval: int) -> None:
        self._trace("parameters", interval_ms=self._interval_ms, supervision_ms=self.supervision_s * 1e3)
        for end in self._ends.values():
            end.controller.send_hci_packet(
                hci.HCI_LE_Connection_Update_Complete_Event(
                    status=hci.HCI_ErrorCode.SUCCESS,
                    connection_handle=end.connection.handle,
                    connection_interval=interval,
                    peripheral_latency=self._latency,
                    supervision_timeout=timeout_units(self.supervision_s),
                )
            )

    @property
    def _interval_ms(self) -> float | None:
        return None if self._clock.interval_s is None else self._clock.interval_s * 1e3

    def _trace(self, kind: str, **facts: object) -> None:
        self._air.trace.write(kind, self._loop.time(), connection=self.number, **facts)


def _direction_to(receiver: hci.Role) -> Direction:
    return Direction.TO_PERIPHERAL if receiver == hci.Role.PERIPHERAL else Direction.TO_CENTRAL

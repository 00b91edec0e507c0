"""Two Bumble hosts on an emulated air in this process; under virtual time, so that seconds of radio take none."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from bumble import hci
from bumble.device import Connection, ConnectionParametersPreferences, Device, DeviceConfiguration
from bumble.host import Host
from bumble.transport.common import AsyncPipeSink

from simulations import virtual_time
from simulations.radio import LinkProfile
from simulations.radio.airlink import AirLink
from simulations.radio.controller import EmulatedController

PERIPHERAL = "F1:57:41:59:57:50"
CENTRAL = "F1:57:41:59:57:51"
CHANNEL = 0x3E
"""A fixed L2CAP channel that no protocol uses."""
L2CAP_HEADER = 4
PAYLOAD = 251 - L2CAP_HEADER
"""Fills one link packet."""
LINKS = [f"{rate}kBps/{interval}ms" for rate, interval in itertools.product((25, 40, 60, 100), (15, 30, 50))]
"""Every rate with every interval that must be filled."""
LIMIT_S = 600.0
"""Virtual seconds that any wait may take."""

T = TypeVar("T")


def under_virtual_time(scenario: Coroutine[Any, Any, T]) -> T:
    """Result of a scenario on a loop of its own."""
    return virtual_time.run(lambda _: asyncio.wait_for(scenario, LIMIT_S))


class Inbox:
    """What one device hears on the channel, with the loop's time, and how its connections end."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.got: list[tuple[float, bytes]] = []
        self.reasons: list[int] = []
        self._changed = asyncio.Event()
        device.l2cap_channel_manager.register_fixed_channel(CHANNEL, self._on_pdu)

    def watch(self, connection: Connection) -> None:
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)

    def _on_pdu(self, _: int, pdu: bytes) -> None:
        self.got.append((asyncio.get_running_loop().time(), pdu))
        self._changed.set()

    def _on_disconnection(self, reason: int) -> None:
        self.reasons.append(reason)
        self._changed.set()

    @property
    def values(self) -> list[bytes]:
        return [value for _, value in self.got]

    async def until(self, values: int = 0, reasons: int = 0) -> None:
        """Wait until it has heard that many values and ends of connections."""
        while len(self.got) < values or len(self.reasons) < reasons:
            self._changed.clear()
            await self._changed.wait()


class World:
    """The air, a central and a peripheral; `open` and `connect` bring them together."""

    def __init__(self, profile: str, *, trace: Path | None = None, air: type[AirLink] = AirLink) -> None:
        self.air = air(LinkProfile.parse(profile), trace=trace)
        self.controllers = [EmulatedController(index, self.air) for index in range(2)]
        self.peripheral, self.central = (
            _device(controller, address)
            for controller, address in zip(self.controllers, (PERIPHERAL, CENTRAL), strict=True)
        )
        self.at_peripheral = Inbox(self.peripheral)
        self.at_central = Inbox(self.central)

    @classmethod
    async def connected(cls, profile: str, *, trace: Path | None = None, supervision_ms: float = 1000) -> World:
        """A world whose devices have met."""
        world = cls(profile, trace=trace)
        await world.open()
        await world.connect(supervision_ms=supervision_ms)
        return world

    async def open(self) -> None:
        await self.peripheral.power_on()
        await self.central.power_on()
        await self.peripheral.start_advertising(auto_restart=True)

    async def connect(self, *, supervision_ms: float = 1000) -> None:
        preferences = ConnectionParametersPreferences(
            connection_interval_min=15, connection_interval_max=15, supervision_timeout=supervision_ms
        )
        arrived: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self.peripheral.once(Device.EVENT_CONNECTION, arrived.set_result)
        self.to_peripheral = await self.central.connect(
            PERIPHERAL, connection_parameters_preferences={hci.Phy.LE_1M: preferences}
        )
        self.to_central = await arrived
        self.at_central.watch(self.to_peripheral)
        self.at_peripheral.watch(self.to_central)

    def send(self, sender: Connection, *values: bytes) -> None:
        for value in values:
            sender.send_l2cap_pdu(CHANNEL, value)


def _device(controller: EmulatedController, address: str) -> Device:
    configuration = DeviceConfiguration(
        name="a device",
        address=hci.Address(address),
        advertising_interval_min=20,
        advertising_interval_max=20,
    )
    return Device(config=configuration, host=Host(controller, AsyncPipeSink(controller)))


def numbered(count: int, size: int = PAYLOAD) -> list[bytes]:
    """`count` values that are all different."""
    return [number.to_bytes(4, "little").ljust(size, b".") for number in range(count)]

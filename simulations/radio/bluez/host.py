"""The phone's Bluetooth host: a Bumble device on an HCI transport."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.hci import Address
from bumble.host import DataPacketQueue
from bumble.pairing import PairingConfig
from bumble.transport import open_transport

from shared.errors import RadioError
from simulations.radio.bluez.bonds import BondStore

OPEN_S: Final = 10.0
"""The controller answers within this time."""
BASE_UUID_TAIL: Final = "-0000-1000-8000-00805f9b34fb"
"""Bluetooth base UUID (Core, Vol 3, Part B, 2.5.1), after its first 32 bits."""


def uuid_text(uuid: UUID) -> str:
    """A UUID as BlueZ writes it: 128 bits, lower case."""
    if len(uuid.uuid_bytes) == 16:
        return uuid.to_hex_str("-").lower()
    return uuid.to_hex_str().lower().zfill(8) + BASE_UUID_TAIL


def advertised_uuids(data: AdvertisingData) -> list[str]:
    """Service UUIDs of an advertisement."""
    types = AdvertisingData.Type
    lists: list[Any] = []
    for kind in (
        types.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
        types.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
        types.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
        types.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
    ):
        lists.extend(data.get_all(kind))
    return list(dict.fromkeys(uuid_text(uuid) for uuids in lists for uuid in uuids))


class Host:
    """A powered Bumble device, its bonds, and the room in its queue to the controller.

    Attributes:
        device: the Bumble device.
        bonds: bonds and remembered properties of remote devices.
        lost: done when the transport to the controller has ended.
    """

    def __init__(self, device: Device, bonds: BondStore, lost: asyncio.Future[None]) -> None:
        self.device = device
        self.bonds = bonds
        self.lost = lost
        self._flow = asyncio.Event()
        self._pairing: dict[int, Callable[[], PairingConfig]] = {}
        device.pairing_config_factory = self._pairing_configuration
        queue = device.host.le_acl_packet_queue
        if queue is None:
            raise RadioError("the controller has no LE data buffers")
        self._queue: DataPacketQueue = queue
        queue.on("flow", self._flow.set)

    def on_pairing(self, handle: int, configuration: Callable[[], PairingConfig] | None) -> None:
        """Decide who says how to pair on a connection.

        Args:
            handle: the connection's.
            configuration: asked when a pairing begins; None: the connection has ended.
        """
        self._pairing.pop(handle, None)
        if configuration is not None:
            self._pairing[handle] = configuration

    def _pairing_configuration(self, connection: Connection) -> PairingConfig:
        configuration = self._pairing.get(connection.handle)
        if configuration is None:
            raise RadioError("a pairing on a connection that nobody knows")
        return configuration()

    def connection_over(self) -> None:
        """A connection has ended; its packets leave the queue, of which the queue itself tells nobody."""
        self._flow.set()

    async def room(self) -> None:
        """Wait until the controller has a free buffer, so that values do not pile up in the host.

        May wait for as long as the connection lives; callers bound it.
        """
        while self._queue.pending >= self._queue.max_in_flight:
            self._flow.clear()
            await self._flow.wait()


@asynccontextmanager
async def open_host(hci: str, address: str, keys: Path | None = None) -> AsyncIterator[Host]:
    """A powered host on the Bumble transport `hci`, with the random static `address`.

    Args:
        hci: Bumble transport name.
        address: random static address, six hexadecimal bytes.
        keys: Bumble key file; None: bonds are forgotten at the end.

    Raises:
        RadioError: the transport cannot be opened, the controller does not answer, or the key file is unreadable.
    """
    own = Address(address, Address.RANDOM_DEVICE_ADDRESS)
    bonds = BondStore(own, keys)
    await bonds.load()
    try:
        async with asyncio.timeout(OPEN_S):
            transport = await open_transport(hci)
    except (OSError, ValueError, TimeoutError) as error:
        raise RadioError(f"the controller at {hci} cannot be reached: {error}") from error
    try:
        configuration = DeviceConfiguration(
            name="phone",
            address=own,
            irk=secrets.token_bytes(16),
            identity_address_type=Address.RANDOM_DEVICE_ADDRESS,
        )
        device = Device.from_config_with_hci(configuration, transport.source, transport.sink)
        device.keystore = bonds.keystore
        try:
            async with asyncio.timeout(OPEN_S):
                await device.power_on()
        except TimeoutError as error:
            raise RadioError(f"the controller at {hci} does not answer") from error
        yield Host(device, bonds, transport.source.terminated)
    finally:
        await transport.close()
